//! The filesystem types of `mount(2)`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::RefCell;

use ext4::MountMode;
use fs_overlay::{Layer, Layers, OverlayFs};
use vfs::{AT_FDCWD, Errno, Error, FileSystem, FileSystemTypes, FileType, Location, MountRequest, Node, Result};

use super::{fs_context, root, storage};
use crate::proc::ProcFs;
use crate::{dev, random};

/// Every type, and whether it needs a device.
const TYPES: [(&str, bool); 7] = [
    ("overlay", false),
    ("tmpfs", false),
    ("ramfs", false),
    ("devtmpfs", false),
    ("proc", false),
    ("tarfs", false),
    ("ext4", true),
];

/// The text of `/proc/filesystems`.
pub(crate) fn file_system_list() -> String {
    TYPES.iter().map(|(name, device)| alloc::format!("{}\t{name}\n", if *device { "" } else { "nodev" })).collect()
}

/// Serves `mount(2)`.
pub(super) struct Types;

impl FileSystemTypes for Types {
    fn open(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
        match request.fs_type {
            b"overlay" => overlay(request),
            b"tmpfs" | b"ramfs" => tmpfs(request),
            b"devtmpfs" => root::device_tree(),
            b"proc" => Ok(ProcFs::new(fs_context(None))),
            b"tarfs" => tar(request),
            b"ext4" => disk(request),
            _ => Err(Errno::ENODEV.into()),
        }
    }

    fn remount(&self, fs: &Arc<dyn FileSystem>, request: &MountRequest<'_>) -> Result<()> {
        if !request.data.is_empty() {
            log::warn!(
                "{}: {}: options stay what they are until the unmount",
                fs.type_name(),
                request.data.escape_ascii()
            );
            return Err(Errno::EINVAL.into());
        }
        if fs.is_read_only() && !request.flags.contains(vfs::MountFlags::MS_RDONLY) {
            return Err(Errno::EROFS.into());
        }
        Ok(())
    }
}

fn disk(request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
    let attr = request.namespace.resolve(request.context, AT_FDCWD, request.source)?.attr()?;
    if attr.kind != FileType::BlockDevice {
        return Err(Errno::ENOTBLK.into());
    }
    let (index, _) = dev::find_disk(attr.rdev).ok_or(Errno::ENXIO)?;
    let read_only = request.flags.contains(vfs::MountFlags::MS_RDONLY);
    storage::mount_disk(index, if read_only { MountMode::ReadOnly } else { MountMode::ReadWrite }, request.data)
}

/// Options: `size=`, `nr_inodes=`, `mode=`, `uid=`, `gid=`, as tmpfs has them.
fn tmpfs(request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
    let total = crate::memory::frames::usage().total;
    let mut options = ramfs::Options { size_limit: Some(total / 2), root_mode: 0o1777, ..ramfs::Options::default() };
    let text = core::str::from_utf8(request.data).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let bad = || {
            log::warn!("tmpfs: {option}: unknown option or bad value");
            Error::new(Errno::EINVAL, "tmpfs: unknown option or bad value")
        };
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "size" => options.size_limit = Some(size(value, total).ok_or_else(bad)?).filter(|&size| size > 0),
            "nr_inodes" => options.inode_limit = Some(size(value, 0).ok_or_else(bad)?).filter(|&count| count > 0),
            "mode" => options.root_mode = u16::from_str_radix(value, 8).map_err(|_| bad())? & 0o7777,
            "uid" => options.root_uid = value.parse().map_err(|_| bad())?,
            "gid" => options.root_gid = value.parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        }
    }
    Ok(ramfs::RamFs::new(fs_context(None), &options)?)
}

/// A size with a suffix: k, m, g, or % of `whole`.
fn size(value: &str, whole: u64) -> Option<u64> {
    let (digits, factor) = match value.as_bytes().last()? {
        b'k' | b'K' => (&value[..value.len() - 1], 1 << 10),
        b'm' | b'M' => (&value[..value.len() - 1], 1 << 20),
        b'g' | b'G' => (&value[..value.len() - 1], 1 << 30),
        b'%' => (&value[..value.len() - 1], whole / 100),
        _ => (value, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// An archive in a file of the tree, read into memory.
fn tar(request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
    let location = request.namespace.resolve(request.context, AT_FDCWD, request.source)?;
    let Node::File(file) = location.node()? else {
        return Err(Error::new(Errno::EINVAL, "tarfs: the source is no regular file"));
    };
    let length = usize::try_from(file.attr()?.size).map_err(|_| Errno::EFBIG)?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(length)
        .map_err(|_| Error::new(Errno::ENOMEM, "tarfs: the archive does not fit into memory"))?;
    bytes.resize(length, 0);
    let length = file.read_at(0, &mut bytes)?;
    bytes.truncate(length);
    let options = match request.data {
        b"" => tarfs::MountOptions::default(),
        b"oci" => tarfs::MountOptions::oci(),
        _ => return Err(Error::new(Errno::EINVAL, "tarfs: the only option is oci")),
    };
    let mounted = tarfs::TarFs::mount(bytes, &fs_context(None), options);
    Ok(mounted.map_err(|error| {
        log::warn!("{}: {error}", request.source.escape_ascii());
        Error::new(Errno::EINVAL, "tarfs: not an archive that can be mounted")
    })?)
}

/// An overlay of directories of the tree.
fn overlay(request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>> {
    let refuse = |error: fs_overlay::MountError| {
        log::warn!("{error}");
        Error::new(error.errno(), "overlay: see the log")
    };
    let parsed = fs_overlay::MountOptions::parse(request.data).map_err(refuse)?;
    let locations = RefCell::new(Vec::new());
    let layer = |path: &[u8]| {
        let location = request.namespace.resolve(request.context, AT_FDCWD, path)?;
        let layer = Layer { fs: location.file_system().clone(), root: location.node()?.as_dir()?.clone() };
        locations.borrow_mut().push(location);
        Ok(layer)
    };
    let layers = Layers {
        upper: parsed.upper.as_deref().map(layer).transpose()?,
        work: parsed.work.as_deref().map(layer).transpose()?,
        lowers: parsed.lowers.iter().map(|path| layer(path)).collect::<Result<_>>()?,
    };
    let locations = locations.into_inner();
    let mut roots = locations.iter().map(Location::object).collect::<Result<Vec<_>>>()?;
    base::sort::by_key(&mut roots, |&root| root);
    for location in &locations {
        if location.is_below(|above| roots.binary_search(&above).is_ok())? {
            log::warn!("overlay: a layer or the work directory lies inside another");
            return Err(Error::new(Errno::ELOOP, "overlay: a layer inside another"));
        }
    }
    let options = fs_overlay::Options { random: Some(random::bytes()), ..parsed.options };
    let fs = OverlayFs::mount(fs_context(None), layers, options).map_err(refuse)?;
    fs.keep(locations.iter().map(Location::pin).collect::<Vec<_>>());
    Ok(fs)
}
