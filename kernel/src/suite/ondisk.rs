//! The contract over ext4 on a disk in memory, and over an overlay whose upper layer is on one: the appliance itself.

use alloc::boxed::Box;
use alloc::sync::Arc;

use block::MemoryDisk;
use contract::{Failure, Features, Fixture, Mounted, Outcome, Setup};
use ext4::{Ext4, FormatOptions, Probe};
use fs_overlay::{Layer, Layers};
use vfs::{DirOps, Errno, Error, FileSystem, FsContext, Name, NewKind, NewNode, Result};

use super::filesystems::{Archived, OVER_LOWER, OVERLAY, mount_overlay, run};
use crate::group;

const MIB: u64 = 1 << 20;
/// Space where the test asks for none. A disk in memory takes what is written to it.
const PLENTY: u64 = 24 * MIB;
/// What the journal and tables take, in bytes.
const OVERHEAD: u64 = 6 * MIB;

fn refused(error: impl core::fmt::Display) -> Error {
    log::error!("{error}");
    Error::new(Errno::EINVAL, "ext4 on a disk in memory")
}

fn disk(setup: &Setup<'_>) -> Result<Arc<MemoryDisk>> {
    let bytes = setup.space.map_or(PLENTY, |space| space + OVERHEAD);
    let disk = Arc::new(MemoryDisk::new(bytes));
    let options = FormatOptions::new([7; 32], setup.context.clock.now());
    ext4::format(&*disk, &options).map_err(refused)?;
    Ok(disk)
}

fn open(disk: &Arc<MemoryDisk>, context: FsContext) -> Result<Arc<Ext4>> {
    let options = ext4::MountOptions { cache_bytes: 4 << 20, ..ext4::MountOptions::default() };
    Ext4::mount(disk.clone(), context, options).map_err(refused)
}

fn directory(fs: &Arc<Ext4>, name: &[u8]) -> Result<Arc<dyn DirOps>> {
    let name = Name::new(name)?;
    let node = match fs.root().lookup(name)? {
        Some(node) => node,
        None => fs.root().create(name, &NewNode::new(NewKind::Dir, 0o755))?,
    };
    Ok(node.as_dir()?.clone())
}

fn failure(error: Error) -> Failure {
    Failure::new(alloc::format!("{error}"))
}

struct OnDisk;

fn mount(disk: &Arc<MemoryDisk>, context: FsContext) -> Result<Mounted> {
    let fs = open(disk, context)?;
    let base = directory(&fs, b"base")?;
    Ok(Mounted { fs, base, state: Some(Box::new(disk.clone())) })
}

impl Fixture for OnDisk {
    fn features(&self) -> Features {
        (Features::COMPLETE | Features::LIMITED_SPACE | Features::REMOUNT) - Features::LARGE_XATTRS
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let mounted = mount(&disk(setup)?, setup.context.clone())?;
        contract::tree::build(&mounted.base, setup.tree)?;
        Ok(mounted)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        mount(&unmount(mounted)?, context)
    }

    fn examine(&self, mounted: Mounted) -> Outcome {
        let disk = unmount(mounted).map_err(failure)?;
        match ext4::probe(&*disk).map_err(failure)? {
            Probe::Ext4(info) if !info.needs_recovery => Ok(()),
            other => Err(Failure::new(alloc::format!("after the unmount: {other:?}"))),
        }
    }
}

/// Unmounts; gives the disk.
fn unmount(mounted: Mounted) -> Result<Arc<MemoryDisk>> {
    let Mounted { fs, base, state } = mounted;
    drop(base);
    fs.unmount()?;
    let disk = state.and_then(|state| state.downcast::<Arc<MemoryDisk>>().ok());
    Ok(*disk.ok_or(Errno::EIO)?)
}

group!("ext4", fn ext4_keeps_the_contract(cases) {
    run(cases, &OnDisk, &[]);
});

/// An archive below, ext4 above.
struct Appliance;

impl Fixture for Appliance {
    fn features(&self) -> Features {
        OVERLAY - Features::SOCKETS - Features::LARGE_XATTRS
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = Archived.mount(&Setup { space: None, context: setup.context.clone(), ..*setup })?;
        let context = |dev| FsContext { dev, clock: setup.context.clock.clone() };
        let fs = open(&disk(setup)?, context(0x201))?;
        let layer = |name| Ok::<_, Error>(Layer { fs: fs.clone(), root: directory(&fs, name)? });
        let layers = Layers {
            upper: Some(layer(b"upper")?),
            work: Some(layer(b"work")?),
            lowers: alloc::vec![Layer::of(lower.fs)],
        };
        mount_overlay(context(0x202), layers)
    }

    fn examine(&self, mounted: Mounted) -> Outcome {
        let Mounted { fs, base, state } = mounted;
        drop(base);
        fs.unmount().map_err(failure)?;
        let layers = state.and_then(|state| state.downcast::<Layers>().ok());
        match layers.and_then(|layers| layers.upper) {
            Some(upper) => upper.fs.unmount().map_err(failure),
            None => Err(Failure::new("the layers of the fixture are gone")),
        }
    }
}

group!("overlay", fn overlay_of_ext4_over_an_archive_keeps_the_contract(cases) {
    run(cases, &Appliance, OVER_LOWER);
});
