//! What takes the changes: the disk, memory, or nothing.
//!
//! The first disk is looked at before anything is done to it, as the crate `storage` says. One that is left alone, or cannot be
//! mounted, has the firmware shown read-only, for its owner to look.

mod mounted;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use ::storage::{Changes, Prepared, Refusal};
use base::sync::Mutex;
use block::BlockDevice;
use boot::{Options, OverlayMode};
use ext4::{Ext4, FormatOptions, MountMode};
use vfs::{Errno, Error, FileSystem, Result};

use super::fs_context;
use super::root::{self, Firmware};
use crate::disks::{self, VirtioDisk};
use crate::logging::phase;
use crate::memory::frames;
use crate::{dev, random, time};
use mounted::{Hold, Mounted};

/// What lies above the firmware.
pub(super) struct Upper {
    /// The layer of changes; without one the tree is read-only.
    pub(super) changes: Option<Changes>,
    /// What it is, for the boot's line.
    pub(super) what: String,
}

impl Upper {
    fn none() -> Self {
        Self { changes: None, what: "nothing above: read-only".into() }
    }
}

/// The place of the root's disk among all.
const ROOT_DISK: usize = 0;

/// The filesystem of the disk under the root.
static DISK: Mutex<Option<Arc<Ext4>>> = Mutex::new(None);

/// The filesystems of disks that programs mounted, for as long as they are.
static OTHERS: Mutex<Vec<Weak<Ext4>>> = Mutex::new(Vec::new());

/// Opens what the command line asks for, or the next best.
pub(super) fn open(options: &Options<'_>, firmware: &Firmware) -> Upper {
    match options.overlay {
        _ if options.failsafe => Upper::none(),
        OverlayMode::ReadOnly => Upper::none(),
        OverlayMode::Ram => in_memory(firmware),
        OverlayMode::Disk if !firmware.whole => {
            log::warn!("the firmware is not whole: no disk is used, changes are kept in memory and lost at power-off");
            in_memory(firmware)
        }
        OverlayMode::Disk => match disks::all().nth(ROOT_DISK) {
            Some(disk) => on_disk(disk, options.root_flags, firmware),
            None => {
                log::warn!("no disk: changes are kept in memory and lost at power-off");
                in_memory(firmware)
            }
        },
    }
}

/// A layer in memory.
pub(super) fn in_memory(firmware: &Firmware) -> Upper {
    match root::temporary(2).and_then(|fs| ::storage::layers(fs, &firmware.layers)) {
        Ok(changes) => Upper { changes: Some(changes), what: "memory: changes are lost at power-off".into() },
        Err(error) => {
            log::error!("no layer in memory: {error}; the tree is read-only");
            Upper::none()
        }
    }
}

fn on_disk(disk: &'static VirtioDisk, flags: &str, firmware: &Firmware) -> Upper {
    let name = disk.name();
    match prepare(disk).and_then(|()| mount_root(disk, flags, firmware)) {
        Ok(upper) => upper,
        Err(Refusal::Untouched(why)) => {
            log::error!("{name}: {why}; it is left untouched, and the firmware is shown read-only");
            Upper::none()
        }
        Err(Refusal::Unfit(why)) => {
            log::error!("{name}: {why}; changes are kept in memory and lost at power-off");
            in_memory(firmware)
        }
    }
}

/// Sees to it that there is a filesystem.
fn prepare(disk: &VirtioDisk) -> Result<(), Refusal> {
    let new = || FormatOptions::new(random::bytes(), time::now());
    if ::storage::prepare(disk, new)? == Prepared::Formatted {
        phase("disk", format_args!("{} was blank and is formatted: ext4", disk.name()));
    }
    Ok(())
}

fn mount_root(disk: &'static VirtioDisk, flags: &str, firmware: &Firmware) -> Result<Upper, Refusal> {
    let plain = mount_options(MountMode::ReadWrite);
    let options = plain.with(flags.as_bytes()).unwrap_or_else(|bad| {
        log::warn!("rootflags: {bad}");
        plain
    });
    let context = fs_context(Some(dev::disk_number(ROOT_DISK)));
    let (fs, changes) = ::storage::mount(device(disk), context, options, &firmware.layers)?;
    let what = match changes {
        Changes::Writable { .. } => alloc::format!("{}", disk.name()),
        Changes::ReadOnly(_) => {
            log::warn!("{}: read-only: its changes are shown and cannot be added to", disk.name());
            "the disk's changes, read-only".into()
        }
    };
    // Nothing else claims disks before there are programs.
    let _ = dev::claim_disk(ROOT_DISK);
    *DISK.lock() = Some(fs);
    Ok(Upper { changes: Some(changes), what })
}

fn device(disk: &'static VirtioDisk) -> Arc<dyn BlockDevice> {
    Arc::from(disk.as_device() as Box<dyn BlockDevice>)
}

fn mount_options(mode: MountMode) -> ext4::MountOptions {
    ext4::MountOptions { mode, cache_bytes: cache_bytes(), ..ext4::MountOptions::default() }
}

/// Memory for a disk's cache: a quarter of what there is.
fn cache_bytes() -> usize {
    let quarter = usize::try_from(frames::usage().total / 4).unwrap_or(usize::MAX);
    quarter.clamp(2 << 20, 1 << 30)
}

/// Mounts a disk for `mount(2)`. The root's own is shown read-only: what the overlay has in it changes through the overlay
/// alone.
///
/// # Errors
/// `EBUSY` where it is in use; `EINVAL` for what is no filesystem, and for options that cannot be; `EIO`.
pub(super) fn mount_disk(index: usize, mode: MountMode, options: &[u8]) -> Result<Arc<dyn FileSystem>> {
    let options = mount_options(mode).with(options).map_err(|bad| {
        log::warn!("{bad}");
        Error::new(Errno::EINVAL, "ext4: see the log")
    })?;
    if index == ROOT_DISK
        && let Some(fs) = &*DISK.lock()
    {
        return Ok(Arc::new(Mounted::new(fs.clone(), Hold::View)));
    }
    let disk = disks::all().nth(index).ok_or(Errno::ENXIO)?;
    dev::claim_disk(index)?;
    match Ext4::mount(device(disk), fs_context(Some(dev::disk_number(index))), options) {
        Ok(fs) => {
            OTHERS.lock().push(Arc::downgrade(&fs));
            Ok(Arc::new(Mounted::new(fs, Hold::Own(index))))
        }
        Err(error) => {
            dev::release_disk(index);
            log::warn!("{}: {error}", disk.name());
            Err(Error::new(Errno::EINVAL, "ext4: see the log"))
        }
    }
}

/// What a timer does every few seconds: what was changed goes to the disk.
pub(super) fn write_back() {
    let mut others = OTHERS.lock();
    others.retain(|fs| fs.strong_count() > 0);
    let mounted: Vec<Arc<Ext4>> = others.iter().filter_map(Weak::upgrade).chain(DISK.lock().clone()).collect();
    drop(others);
    for fs in mounted {
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
