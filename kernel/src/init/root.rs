//! The root: firmware below, changes above, and the filesystems that belong in every tree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use boot::{BootInfo, Options};
use fs_overlay::{Layer, Layers, OverlayFs};
use vfs::{AT_FDCWD, Errno, FileSystem, Location, MountFlags, Namespace, NamespaceOptions, Result};

use super::storage::Upper;
use super::{TaskWait, fs_context, kernel_context, namespace, types};
use crate::dev;
use crate::logging::phase;
use crate::memory::frames;
use crate::proc::ProcFs;

/// The firmware's layers, topmost first: every archive of every module that the loader brought.
pub(super) fn firmware(info: &'static BootInfo, options: &Options<'_>) -> Vec<Arc<dyn FileSystem>> {
    let mut lowers: Vec<Arc<dyn FileSystem>> = Vec::new();
    let mount_options = if options.firmware_oci { tarfs::MountOptions::oci() } else { tarfs::MountOptions::default() };
    for module in &info.modules {
        // SAFETY: the frame allocator was never given the module's memory, and nobody writes to it.
        let bytes: &'static [u8] = unsafe { info.module_bytes(module) };
        match tarfs::TarFs::mount_all(bytes, |_| fs_context(None), mount_options) {
            Ok(archives) => {
                for archive in archives {
                    let stats = archive.stats();
                    phase(
                        "firmware",
                        format_args!(
                            "{} entries in {} KiB, index {} KiB",
                            stats.entries,
                            stats.archive_bytes / 1024,
                            stats.index_bytes / 1024
                        ),
                    );
                    lowers.push(archive);
                }
            }
            Err(error) => log::error!("firmware: {error}"),
        }
    }
    if info.modules.is_empty() {
        log::error!("no firmware: the loader brought no initrd (QEMU: -initrd FILE.tar)");
    }
    lowers
}

/// Lays the overlay and begins the tree with it.
pub(super) fn assemble(mut lowers: Vec<Arc<dyn FileSystem>>, upper: Upper) -> Arc<Namespace> {
    let count = lowers.len();
    if lowers.is_empty() {
        match empty_layer() {
            Ok(layer) => lowers.push(layer),
            Err(error) => panic!("no memory for an empty root: {error}"),
        }
    }
    let mut layers = Layers { upper: None, work: None, lowers: lowers.iter().cloned().map(Layer::of).collect() };
    let what = upper.describe();
    match upper {
        Upper::None => {}
        Upper::Writable { upper, work, .. } => (layers.upper, layers.work) = (Some(upper), Some(work)),
        Upper::ReadOnly { changes } => layers.lowers.insert(0, changes),
    }
    let overlay = OverlayFs::mount(fs_context(None), layers.clone(), fs_overlay::Options::default()).or_else(|error| {
        log::error!("{error}; the firmware alone is mounted, read-only");
        layers.upper = None;
        layers.work = None;
        OverlayFs::mount(fs_context(None), layers, fs_overlay::Options::default())
    });
    let (root, source): (Arc<dyn FileSystem>, _) = match overlay {
        Ok(overlay) => (overlay, "overlay"),
        Err(error) => {
            log::error!("{error}; the topmost archive alone is mounted");
            (lowers.swap_remove(0), "firmware")
        }
    };
    let options = NamespaceOptions { wait: Arc::new(TaskWait), ..NamespaceOptions::default() };
    let namespace = Namespace::new(root, source.as_bytes(), options);
    phase("root", format_args!("{source} of {count} archive(s) and {what}"));
    namespace
}

/// A layer without anything in it.
fn empty_layer() -> Result<Arc<dyn FileSystem>> {
    Ok(ramfs::RamFs::new(fs_context(None), &ramfs::Options::default())?)
}

/// Registers drivers and filesystem types, and mounts `/dev`, `/proc` and `/tmp`.
pub(super) fn furnish() {
    dev::register(namespace());
    namespace().set_file_system_types(Arc::new(types::Types));
    let nosuid = MountFlags::MS_NOSUID;
    let mounts: [(&str, &str, MountFlags, fn() -> Result<Arc<dyn FileSystem>>); 3] = [
        ("/dev", "devtmpfs", nosuid | MountFlags::MS_NOEXEC, device_tree),
        ("/proc", "proc", nosuid | MountFlags::MS_NODEV | MountFlags::MS_NOEXEC, || Ok(ProcFs::new(fs_context(None)))),
        ("/tmp", "tmpfs", nosuid | MountFlags::MS_NODEV, || Ok(temporary()?)),
    ];
    for (path, source, flags, make) in mounts {
        let mounted = place(path).and_then(|place| {
            namespace().mount_at(&place, make()?, source.as_bytes(), flags | MountFlags::MS_RELATIME)
        });
        if let Err(error) = mounted {
            log::warn!("{path} is not mounted: {error}");
        }
    }
}

/// A directory of the root, made if it is missing and can be.
fn place(path: &str) -> Result<Location> {
    let context = kernel_context();
    match namespace().resolve(&context, AT_FDCWD, path.as_bytes()) {
        Err(error) if error == Errno::ENOENT => {
            namespace().mkdirat(&context, AT_FDCWD, path.as_bytes(), 0o755)?;
            namespace().resolve(&context, AT_FDCWD, path.as_bytes())
        }
        found => found,
    }
}

/// `/dev`: nodes in memory.
pub(super) fn device_tree() -> Result<Arc<dyn FileSystem>> {
    let options = ramfs::Options { size_limit: Some(1 << 20), inode_limit: Some(1024), ..ramfs::Options::default() };
    let fs = ramfs::RamFs::new(fs_context(None), &options)?;
    dev::fill(&*fs.root())?;
    Ok(fs)
}

/// A filesystem for temporary files: at most half of the memory.
pub(super) fn temporary() -> Result<Arc<ramfs::RamFs>> {
    let half = frames::usage().total / 2;
    let options = ramfs::Options { size_limit: Some(half), root_mode: 0o1777, ..ramfs::Options::default() };
    ramfs::RamFs::new(fs_context(None), &options)
}
