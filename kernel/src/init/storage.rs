//! What takes the changes: the disk, memory, or nothing.
//!
//! The first disk is looked at before anything is done to it. A blank one is formatted, an ext4 filesystem is mounted, anything
//! else is left alone, and so is a disk that cannot be mounted: the firmware is then shown read-only, for its owner to look.

mod mounted;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use base::sync::Mutex;
use block::BlockDevice;
use boot::{Options, OverlayMode};
use ext4::{Ext4, FormatError, FormatOptions, MountMode, Probe};
use fs_overlay::Layer;
use vfs::{DirOps, Errno, Error, FileSystem, Name, NewKind, NewNode, Node, Result};

use super::fs_context;
use super::root::{self, Firmware};
use crate::disks::{self, VirtioDisk};
use crate::logging::phase;
use crate::memory::frames;
use crate::{dev, random, time};
use mounted::{Hold, Mounted};

/// What lies above the firmware.
pub(super) enum Upper {
    /// Nothing: the tree is read-only.
    None,
    /// A layer that takes changes.
    Writable {
        /// Where they go.
        upper: Layer,
        /// What Linux needs beside it.
        work: Layer,
        /// What it is, for people.
        what: String,
    },
    /// A layer of earlier changes that cannot take more.
    ReadOnly {
        /// They.
        changes: Layer,
    },
}

impl Upper {
    /// What it is, for the boot's line.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::None => "nothing above: read-only".into(),
            Self::Writable { what, .. } => what.clone(),
            Self::ReadOnly { .. } => "the disk's changes, read-only".into(),
        }
    }
}

/// The place of the root's disk among all.
const ROOT_DISK: usize = 0;

/// The filesystem of the disk under the root.
static DISK: Mutex<Option<Arc<Ext4>>> = Mutex::new(None);

/// Opens what the command line asks for, or the next best.
pub(super) fn open(options: &Options<'_>, firmware: &Firmware) -> Upper {
    match options.overlay {
        _ if options.failsafe => Upper::None,
        OverlayMode::ReadOnly => Upper::None,
        OverlayMode::Ram => in_memory(firmware),
        OverlayMode::Disk if !firmware.whole => {
            log::warn!("the firmware is not whole: no disk is used, changes are kept in memory and lost at power-off");
            in_memory(firmware)
        }
        OverlayMode::Disk => match disks::all().nth(ROOT_DISK) {
            Some(disk) => on_disk(disk, firmware),
            None => {
                log::warn!("no disk: changes are kept in memory and lost at power-off");
                in_memory(firmware)
            }
        },
    }
}

/// A layer in memory.
pub(super) fn in_memory(firmware: &Firmware) -> Upper {
    let made = root::temporary().and_then(|fs| layers(fs, firmware, "memory: changes are lost at power-off".into()));
    made.unwrap_or_else(|error| {
        log::error!("no layer in memory: {error}; the tree is read-only");
        Upper::None
    })
}

/// Why a disk does not take the changes.
enum Refusal {
    /// There is no way to use it: what is on it, if anything, stays as it is.
    Untouched(String),
    /// It cannot hold a filesystem.
    Unfit(String),
}

fn on_disk(disk: &'static VirtioDisk, firmware: &Firmware) -> Upper {
    let name = disk.name();
    match prepare(disk).and_then(|()| mount_root(disk, firmware)) {
        Ok(upper) => upper,
        Err(Refusal::Untouched(why)) => {
            log::error!("{name}: {why}; it is left untouched, and the firmware is shown read-only");
            Upper::None
        }
        Err(Refusal::Unfit(why)) => {
            log::error!("{name}: {why}; changes are kept in memory and lost at power-off");
            in_memory(firmware)
        }
    }
}

/// Sees to it that there is a filesystem.
fn prepare(disk: &VirtioDisk) -> Result<(), Refusal> {
    match ext4::recognise(disk) {
        Some(Probe::Ext4(_)) => return Ok(()),
        Some(Probe::Unknown(what)) => return Err(Refusal::Untouched(what)),
        Some(Probe::Blank) | None => {}
    }
    let mut seed = [0; 32];
    random::fill(&mut seed);
    match ext4::format(disk, &FormatOptions::new(seed, time::now())) {
        Ok(()) => {
            phase("disk", format_args!("{} was blank and is formatted: ext4", disk.name()));
            Ok(())
        }
        Err(error @ (FormatError::TooSmall { .. } | FormatError::TooLarge { .. } | FormatError::ReadOnly)) => {
            Err(Refusal::Unfit(format!("{error}")))
        }
        Err(FormatError::NotBlank) => {
            Err(Refusal::Untouched("no filesystem that is known, but the disk is not blank".into()))
        }
        Err(error) => Err(Refusal::Untouched(format!("{error}"))),
    }
}

fn mount_root(disk: &'static VirtioDisk, firmware: &Firmware) -> Result<Upper, Refusal> {
    let refused = |error: Error| Refusal::Untouched(format!("{error}"));
    let fs = mount(disk, ROOT_DISK, MountMode::ReadWrite).map_err(|error| Refusal::Untouched(format!("{error}")))?;
    let upper = if fs.is_read_only() {
        let name = Name::new(b"upper").map_err(refused)?;
        match fs.root().lookup(name).map_err(refused)? {
            Some(Node::Dir(changes)) => {
                log::warn!("{}: read-only: its changes are shown and cannot be added to", disk.name());
                Upper::ReadOnly { changes: Layer { fs: fs.clone(), root: changes } }
            }
            _ => return Err(Refusal::Untouched("it is read-only and holds no changes".into())),
        }
    } else {
        layers(fs.clone(), firmware, format!("{}", disk.name())).map_err(refused)?
    };
    // Nothing else claims disks before there are programs.
    let _ = dev::claim_disk(ROOT_DISK);
    *DISK.lock() = Some(fs);
    Ok(upper)
}

fn mount(disk: &'static VirtioDisk, index: usize, mode: MountMode) -> Result<Arc<Ext4>, ext4::MountError> {
    let device: Arc<dyn BlockDevice> = Arc::from(disk.as_device() as Box<dyn BlockDevice>);
    let options = ext4::MountOptions { mode, cache_bytes: cache_bytes(), ..ext4::MountOptions::default() };
    Ext4::mount(device, fs_context(Some(dev::disk_number(index))), options)
}

/// Memory for a disk's cache: a quarter of what there is.
fn cache_bytes() -> usize {
    let quarter = usize::try_from(frames::usage().total / 4).unwrap_or(usize::MAX);
    quarter.clamp(2 << 20, 1 << 30)
}

/// The layers `/upper` and `/work` of a filesystem, made if they are missing. A new upper looks as the firmware's root, which it
/// hides.
fn layers(fs: Arc<dyn FileSystem>, firmware: &Firmware, what: String) -> Result<Upper> {
    let top = fs.root();
    let plain = |name: Name<'_>, mode| top.create(name, &NewNode::new(NewKind::Dir, mode));
    let upper = directory(&*top, b"upper", |name| match firmware.layers.first() {
        Some(lower) => fs_overlay::make_upper(&*top, name, &*lower.root()).map(Node::Dir),
        None => plain(name, 0o755),
    })?;
    let work = directory(&*top, b"work", |name| plain(name, 0o700))?;
    Ok(Upper::Writable { upper: Layer { fs: fs.clone(), root: upper }, work: Layer { fs, root: work }, what })
}

fn directory(parent: &dyn DirOps, name: &[u8], make: impl FnOnce(Name<'_>) -> Result<Node>) -> Result<Arc<dyn DirOps>> {
    let name = Name::new(name)?;
    let node = match parent.lookup(name)? {
        Some(node) => node,
        None => make(name)?,
    };
    match node {
        Node::Dir(dir) => Ok(dir),
        _ => Err(Errno::ENOTDIR.into()),
    }
}

/// Mounts a disk for `mount(2)`. The root's own is shown read-only: what the overlay has in it changes through the overlay
/// alone.
///
/// # Errors
/// `EBUSY` where it is in use; `EINVAL` for what is no filesystem; `EIO`.
pub(super) fn mount_disk(index: usize, mode: MountMode) -> Result<Arc<dyn FileSystem>> {
    if index == ROOT_DISK
        && let Some(fs) = &*DISK.lock()
    {
        return Ok(Arc::new(Mounted::new(fs.clone(), Hold::View)));
    }
    let disk = disks::all().nth(index).ok_or(Errno::ENXIO)?;
    dev::claim_disk(index)?;
    match mount(disk, index, mode) {
        Ok(fs) => Ok(Arc::new(Mounted::new(fs, Hold::Own(index)))),
        Err(error) => {
            dev::release_disk(index);
            log::warn!("{}: {error}", disk.name());
            Err(Error::new(Errno::EINVAL, "ext4: see the log"))
        }
    }
}

/// What a timer does every few seconds: what was changed goes to the disk.
pub(super) fn write_back() {
    let fs = DISK.lock().clone();
    if let Some(fs) = fs {
        // A failure was logged where it happened; the next `fsync` tells the program.
        let _ = fs.tick();
    }
}

/// Unmounts the disk under the root.
///
/// # Errors
/// `EIO`.
pub(super) fn close() -> Result<()> {
    let fs = DISK.lock().take();
    match fs {
        Some(fs) => fs.unmount(),
        None => Ok(()),
    }
}
