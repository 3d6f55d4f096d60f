//! The root: firmware below, changes above, and the filesystems that belong in every tree.

use alloc::sync::Arc;
use alloc::vec::Vec;

use boot::{BootInfo, Options};
use fs_overlay::OverlayFs;
use vfs::{AT_FDCWD, Errno, FileSystem, Location, MountFlags, Namespace, NamespaceOptions, Result};

use super::storage::Upper;
use super::{TaskWait, fs_context, kernel_context, namespace, types};
use crate::dev;
use crate::logging::phase;
use crate::memory::frames;
use crate::proc::ProcFs;
use crate::random;

/// What the loader brought.
pub(super) struct Firmware {
    /// Its layers, topmost first.
    pub(super) layers: Vec<Arc<dyn FileSystem>>,
    /// Whether that is all: none is missing, and none was refused. Only over the whole firmware is a disk used, whose
    /// changes were made to it.
    pub(super) whole: bool,
}

impl Firmware {
    /// None.
    pub(super) const fn none() -> Self {
        Self { layers: Vec::new(), whole: false }
    }
}

/// Mounts every archive of every module that the loader brought.
pub(super) fn firmware(info: &'static BootInfo, options: &Options<'_>) -> Firmware {
    let mut whole = !info.modules.is_empty();
    let mut lowers: Vec<Arc<dyn FileSystem>> = Vec::new();
    let mount_options = if options.firmware_oci { tarfs::MountOptions::oci() } else { tarfs::MountOptions::default() };
    for module in &info.modules {
        // SAFETY: the frame allocator was never given the module's memory, and nobody writes to it.
        let bytes: &'static [u8] = unsafe { info.module_bytes(module) };
        let begin = crate::time::monotonic();
        match tarfs::TarFs::mount_all(bytes, |_| fs_context(None), mount_options) {
            Ok(archives) => {
                let micros = (crate::time::monotonic() - begin) / 1000;
                let last = archives.len().saturating_sub(1);
                for (index, archive) in archives.into_iter().enumerate() {
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
                    if index == last {
                        log::info!("firmware: all indexed in {micros} us");
                    }
                    lowers.push(archive);
                }
            }
            Err(error) => {
                log::error!("firmware: {error}");
                whole = false;
            }
        }
    }
    if info.modules.is_empty() {
        log::error!("no firmware: the loader brought no initrd (QEMU: -initrd FILE.tar)");
    }
    Firmware { layers: lowers, whole }
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
    let Upper { changes, what } = upper;
    let mut layers = ::storage::stack(lowers.iter().cloned(), changes);
    let options = fs_overlay::Options { random: Some(random::bytes()), ..fs_overlay::Options::default() };
    let overlay = OverlayFs::mount(fs_context(None), layers.clone(), options).or_else(|error| {
        log::error!("{error}; the firmware alone is mounted, read-only");
        layers.upper = None;
        layers.work = None;
        OverlayFs::mount(fs_context(None), layers, options)
    });
    let (root, source): (Arc<dyn FileSystem>, _) = match overlay {
        Ok(overlay) => (overlay, "overlay"),
        Err(error) => {
            log::error!("{error}; the topmost archive alone is mounted");
            (lowers.swap_remove(0), "firmware")
        }
    };
    let options = NamespaceOptions {
        wait: Arc::new(TaskWait),
        dentry_capacity: dentry_capacity(),
        ..NamespaceOptions::default()
    };
    let namespace = Namespace::new(root, source.as_bytes(), options);
    phase("root", format_args!("{source} of {count} archive(s) and {what}"));
    namespace
}

/// How many names the cache keeps: with what each keeps of its filesystem, about a twelfth of memory.
fn dentry_capacity() -> usize {
    const BYTES_EACH: u64 = 16 << 10;
    usize::try_from(frames::usage().total / BYTES_EACH).unwrap_or(usize::MAX).clamp(1024, 1 << 20)
}

/// A layer without anything in it.
fn empty_layer() -> Result<Arc<dyn FileSystem>> {
    Ok(ramfs::RamFs::new(fs_context(None), &ramfs::Options::default())?)
}

/// Registers drivers and filesystem types, and mounts `/dev`, `/proc` and `/tmp`.
pub(super) fn furnish() {
    dev::register(namespace());
    namespace().set_file_system_types(Arc::new(types::Types));
    let common = MountFlags::MS_NOSUID | MountFlags::MS_RELATIME;
    let plain = MountFlags::MS_NODEV | common;
    put("/dev", "devtmpfs", MountFlags::MS_NOEXEC | common, device_tree);
    put("/proc", "proc", MountFlags::MS_NOEXEC | plain, || Ok(ProcFs::new(fs_context(None))));
    put("/tmp", "tmpfs", plain, || Ok(temporary(4)?));
}

/// Mounts what `make` makes.
fn put(path: &str, source: &str, flags: MountFlags, make: fn() -> Result<Arc<dyn FileSystem>>) {
    let mounted = place(path).and_then(|place| namespace().mount_at(&place, make()?, source.as_bytes(), flags));
    if let Err(error) = mounted {
        log::warn!("{path} is not mounted: {error}");
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

/// A filesystem for temporary files that takes one part in `share` of the memory at most.
pub(super) fn temporary(share: u64) -> Result<Arc<ramfs::RamFs>> {
    let limit = frames::usage().total / share;
    let options = ramfs::Options { size_limit: Some(limit), root_mode: 0o1777, ..ramfs::Options::default() };
    ramfs::RamFs::new(fs_context(None), &options)
}
