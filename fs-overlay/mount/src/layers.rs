//! Layers from what the command line names: archives and directories below, an image or memory above, the overlay of both.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ext4::{Ext4, FormatOptions, MountMode};
use fs_overlay::{MountOptions, Options, OverlayFs};
use host::{Access, HostClock};
use storage::{Changes, Prepared};
use vfs::{Clock as _, DeviceNumber, FileSystem, FsContext};

use crate::arguments::{Mount, Upper};
use crate::hostdir::HostDir;
use crate::image;

/// The merged tree, and what is to be unmounted after it.
pub(crate) struct Tree {
    pub(crate) overlay: Arc<OverlayFs>,
    pub(crate) disk: Option<Arc<Ext4>>,
}

impl Tree {
    /// Makes everything durable and marks the disk clean. Nothing may use the tree any more.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn unmount(&self) -> Result<(), String> {
        let overlay = self.overlay.unmount();
        let disk = self.disk.as_ref().map_or(Ok(()), |disk| disk.unmount());
        overlay.and(disk).map_err(|error| format!("not everything could be written: {error}"))
    }
}

/// What a filesystem is mounted with: a device number of no device, and the host's clock.
fn context() -> FsContext {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = DeviceNumber::new(0, NEXT.fetch_add(1, Ordering::Relaxed));
    FsContext { dev: number.encode(), clock: Arc::new(HostClock) }
}

/// Bytes that no one can guess.
fn random<const LEN: usize>() -> rustix::io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    // Up to 256 bytes come whole.
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

/// Opens all layers and mounts the overlay.
///
/// # Errors
/// In words, with the layer or option that is wrong.
pub(crate) fn open(mount: &Mount) -> Result<Tree, String> {
    let random = random().map_err(|error| error.to_string())?;
    let options = Options { random: Some(random), ..overlay_options(mount)? };
    let mut firmware = Vec::new();
    for path in &mount.firmware {
        open_firmware(path, mount.archives, &mut firmware).map_err(|why| format!("{}: {why}", path.display()))?;
    }
    let (disk, changes) = match &mount.upper {
        Upper::Disk(image) => open_disk(image, Access::ReadWrite, &firmware)?,
        Upper::ReadOnly(Some(image)) => open_disk(image, Access::ReadOnly, &firmware)?,
        Upper::ReadOnly(None) => (None, None),
        Upper::Memory => (None, Some(memory(&firmware).map_err(|error| format!("--ram-upper: {error}"))?)),
    };
    let layers = storage::stack(firmware, changes);
    match OverlayFs::mount(context(), layers, options) {
        Ok(overlay) => Ok(Tree { overlay, disk }),
        Err(error) => {
            if let Some(disk) = disk {
                disk.unmount().map_err(|failure| format!("{error}; and then {failure}"))?;
            }
            Err(error.to_string())
        }
    }
}

/// The options of `-o`, which say how and never where.
fn overlay_options(mount: &Mount) -> Result<Options, String> {
    const LOWER: &[u8] = b"--firmware";
    let mut text = [b"lowerdir=".as_slice(), LOWER].concat();
    if !matches!(mount.upper, Upper::ReadOnly(_)) {
        text.extend_from_slice(b",upperdir=--disk,workdir=--disk");
    }
    text.push(b',');
    text.extend_from_slice(&mount.options);
    let parsed = MountOptions::parse(&text).map_err(|error| error.to_string())?;
    let is = |path: &Option<Box<[u8]>>| path.as_deref().is_none_or(|path| path == b"--disk");
    let untouched = parsed.lowers.len() == 1 && *parsed.lowers[0] == *LOWER && is(&parsed.upper) && is(&parsed.work);
    if !untouched {
        return Err("-o: layers are given by --firmware and --disk, not as options".into());
    }
    Ok(parsed.options)
}

fn open_firmware(path: &Path, layer: tarfs::Layer, to: &mut Vec<Arc<dyn FileSystem>>) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        to.push(HostDir::open(path, &context()).map_err(|error| error.to_string())?);
        return Ok(());
    }
    if !metadata.is_file() {
        return Err("neither a file nor a directory".into());
    }
    let options = match layer {
        tarfs::Layer::Plain => tarfs::MountOptions::default(),
        tarfs::Layer::Oci => tarfs::MountOptions::oci(),
    };
    let bytes = read_whole(path, metadata.len())?;
    let archives = tarfs::TarFs::mount_all(bytes, |_| context(), options).map_err(|error| error.to_string())?;
    to.extend(archives.into_iter().map(|archive| archive as Arc<dyn FileSystem>));
    Ok(())
}

fn read_whole(path: &Path, len: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let room = usize::try_from(len).map_err(|_| "too large for this machine")?;
    bytes.try_reserve_exact(room).map_err(|_| "the archive does not fit into memory")?;
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    // A file that grows meanwhile is cut, which the archive's end marker will not like.
    file.take(len).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn open_disk(
    path: &Path,
    access: Access,
    firmware: &[Arc<dyn FileSystem>],
) -> Result<(Option<Arc<Ext4>>, Option<Changes>), String> {
    let refused = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let disk = image::open(path, access).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => refused(&"in use, by another mount or a machine that runs from it"),
        _ => refused(&error),
    })?;
    let seed = random().map_err(|error| refused(&error))?;
    let new = || FormatOptions::new(seed, HostClock.now());
    let untouched = |error: storage::Refusal| refused(&format_args!("{error}; it is left untouched"));
    if storage::prepare(&disk, new).map_err(untouched)? == Prepared::Formatted {
        eprintln!("strata-mount: {} was blank and is formatted: ext4", path.display());
    }
    let mode = match access {
        Access::ReadWrite => MountMode::ReadWrite,
        Access::ReadOnly => MountMode::ReadOnly,
    };
    let options = ext4::MountOptions { mode, cache_bytes: cache_bytes(), ..ext4::MountOptions::default() };
    let (fs, changes) = storage::mount(Arc::new(disk), context(), options, firmware).map_err(untouched)?;
    if matches!((access, &changes), (Access::ReadWrite, Changes::ReadOnly(_))) {
        log::warn!("{}: read-only: its changes are shown and cannot be added to", path.display());
    }
    Ok((Some(fs), Some(changes)))
}

/// A layer in memory: at most half of it.
fn memory(firmware: &[Arc<dyn FileSystem>]) -> vfs::Result<Changes> {
    let options = ramfs::Options { size_limit: Some(memory_bytes() / 2), ..ramfs::Options::default() };
    storage::layers(ramfs::RamFs::new(context(), &options)?, firmware)
}

/// Memory for a disk's cache: an eighth of what there is.
fn cache_bytes() -> usize {
    usize::try_from(memory_bytes() / 8).unwrap_or(usize::MAX).clamp(16 << 20, 1 << 30)
}

fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    #[expect(clippy::useless_conversion, reason = "the field's width is the platform's")]
    u64::try_from(info.totalram).unwrap_or(u64::MAX).saturating_mul(u64::from(info.mem_unit).max(1))
}
