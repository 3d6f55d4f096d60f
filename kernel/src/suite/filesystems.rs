//! The contract suite over every filesystem, on the machine itself: the same tests that run on the host.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

use contract::{Features, Fixture, Mounted, Setup};
use fs_overlay::{Layer, Layers, OverlayFs};
use ramfs::RamFs;
use tarfs::TarFs;
use vfs::{Errno, Error, FileSystem, FsContext, Result};

use super::archive::Archive;
use super::{Cases, Failure};
use crate::group;
use crate::memory::frames;

/// Tests that hold 32 MiB and more at a time without saying so.
const HUNGRY: &[&str] = &["a_short_write_tells_how_much_was_written", "a_staged_file_that_does_not_fit_leaves_nothing"];
/// The memory that they need free, in bytes.
const HUNGER: u64 = 128 << 20;

/// Runs every test that the filesystem owes and the machine has memory for, but those that are known to fail.
pub(super) fn run(cases: &mut Cases<'_>, fixture: &dyn Fixture, exceptions: &[&str]) {
    let hungry = frames::usage().free >= HUNGER;
    // Filesystems of tests are dropped as they are, and some of them remark on it.
    let level = log::max_level();
    if level == log::LevelFilter::Warn {
        log::set_max_level(log::LevelFilter::Error);
    }
    for test in contract::tests() {
        let fits = !test.needs.contains(Features::LARGE) && (hungry || !HUNGRY.contains(&test.name));
        if test.applies_to(fixture) && fits && !exceptions.contains(&test.name) {
            cases.run(test.name, || test.run(fixture).map_err(Failure::new));
        }
    }
    log::set_max_level(level);
}

struct Ram;

impl Fixture for Ram {
    fn features(&self) -> Features {
        Features::COMPLETE | Features::LIMITED_SPACE
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let fs = ram(setup, setup.context.dev)?;
        contract::tree::build(&fs.root(), setup.tree)?;
        Ok(Mounted::new(fs))
    }
}

fn ram(setup: &Setup<'_>, dev: u64) -> Result<Arc<RamFs>> {
    let context = FsContext { dev, clock: setup.context.clock.clone() };
    let mut uuid = [0xee; 16];
    uuid[..8].copy_from_slice(&dev.to_le_bytes());
    RamFs::new(context, &ramfs::Options { uuid, size_limit: setup.space, ..Default::default() })
}

group!("ramfs", fn ramfs_keeps_the_contract(cases) {
    run(cases, &Ram, &[]);
});

/// A tree in an archive.
pub(super) struct Archived;

impl Fixture for Archived {
    fn features(&self) -> Features {
        Features::HARD_LINKS
            | Features::DIR_LINKS
            | Features::DEVICES
            | Features::USER_XATTRS
            | Features::ALL_XATTRS
            | Features::LARGE_XATTRS
            | Features::HOLES
            | Features::HANDLES
            | Features::CONSTANT_INO
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let mut archive = Archive::default();
        for item in setup.tree {
            archive.add(item)?;
        }
        let fs = TarFs::mount(archive.finish(), &setup.context, tarfs::MountOptions::default());
        Ok(Mounted::new(fs.map_err(|error| {
            log::error!("{error}");
            Error::new(Errno::EINVAL, "the archive that the suite made")
        })?))
    }
}

group!("tarfs", fn tarfs_keeps_the_contract(cases) {
    run(cases, &Archived, &[]);
});

/// What an overlay cannot or need not do: directories that are merged have one link, its directories have no handles, it cannot be
/// an upper, and a redirect can be too long for a rename.
pub(super) const OVERLAY: Features = Features::COMPLETE
    .difference(Features::DIR_LINKS)
    .difference(Features::HANDLES)
    .difference(Features::UPPER)
    .difference(Features::ANY_RENAME);

/// What a copy-up changes, until `index=on` keeps the names of a lower inode together.
pub(super) const OVER_LOWER: &[&str] = &[
    "all_links_share_the_attributes",
    "links_of_one_inode_exchanged_stay",
    "links_that_were_there_at_mount_stay_one_file",
    "a_replaced_link_leaves_the_other_names",
    "an_unlink_changes_the_other_names_ctime",
    "a_replacing_rename_changes_the_other_names_of_what_went",
    "links_share_them",
    "a_change_below_leaves_the_grandparent",
    "an_unnamed_file_leaves_the_parents_times",
];

/// The tree in a lower layer: every change is a copy-up.
struct Overlay;

pub(super) fn mount_overlay(context: FsContext, layers: Layers) -> Result<Mounted> {
    let fs = OverlayFs::mount(context, layers.clone(), fs_overlay::Options::default())
        .map_err(|error| Error::new(error.errno(), error.reason()))?;
    let mut mounted = Mounted::new(fs);
    mounted.state = Some(Box::new(layers));
    Ok(mounted)
}

impl Fixture for Overlay {
    fn features(&self) -> Features {
        OVERLAY | Features::LIMITED_SPACE | Features::REMOUNT
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = ram(&Setup { space: None, context: setup.context.clone(), ..*setup }, 0x102)?;
        contract::tree::build(&lower.root(), setup.tree)?;
        let upper = Some(Layer::of(ram(setup, 0x101)?));
        mount_overlay(setup.context.clone(), Layers { upper, work: None, lowers: vec![Layer::of(lower)] })
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        mounted.fs.unmount()?;
        let layers = mounted.state.and_then(|state| state.downcast::<Layers>().ok()).ok_or(Errno::EIO)?;
        drop((mounted.fs, mounted.base));
        mount_overlay(context, *layers)
    }
}

group!("overlay", fn overlay_keeps_the_contract(cases) {
    run(cases, &Overlay, OVER_LOWER);
});

/// The tree in an archive below a layer in memory: what the appliance is made of.
struct OverArchive;

impl Fixture for OverArchive {
    fn features(&self) -> Features {
        OVERLAY.difference(Features::SOCKETS) | Features::LIMITED_SPACE
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let plain = Setup { space: None, context: setup.context.clone(), ..*setup };
        let lower = Archived.mount(&plain)?;
        let upper = Some(Layer::of(ram(setup, 0x101)?));
        mount_overlay(
            FsContext { dev: 0x103, ..setup.context.clone() },
            Layers { upper, work: None, lowers: vec![Layer::of(lower.fs)] },
        )
    }
}

group!("overlay", fn overlay_over_an_archive_keeps_the_contract(cases) {
    run(cases, &OverArchive, OVER_LOWER);
});
