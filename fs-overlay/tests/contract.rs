//! The contract that every filesystem owes, over overlays: the tree in a lower layer (every change is a copy-up), in several
//! lower layers, in the upper, and in a lower overlay; and the part for reading over an overlay without an upper.

mod support;

use std::sync::Arc;

use contract::{Failure, Features, Fixture, Mounted, Outcome, Setup};
use fs_overlay::{Layer, Layers, Options, OverlayFs};
use ramfs::RamFs;
use support::disk::Disk;
use vfs::{Errno, Error, FileSystem, FsContext, Result};

/// What an overlay cannot or need not do: directories that are merged have one link, its nodes have no handles, it
/// cannot be an upper, and redirects have 256 bytes.
const FEATURES: Features = Features::COMPLETE
    .difference(Features::DIR_LINKS)
    .difference(Features::HANDLES)
    .difference(Features::UPPER)
    .difference(Features::ANY_RENAME);

/// The tree in a lower layer, the upper a directory on ext4, which `e2fsck` judges after each test.
struct OverDisk;

impl OverDisk {
    fn boot(disk: Disk, lower: Layer, context: FsContext) -> Result<Mounted> {
        let ext4 = disk.mount(FsContext { dev: 0x105, clock: context.clock.clone() });
        let layers = Layers {
            upper: Some(Disk::layer(&ext4, "u")),
            work: Some(Disk::layer(&ext4, "w")),
            lowers: vec![lower.clone()],
        };
        let mut mounted = overlay(context, &layers)?;
        mounted.state = Some(Box::new((disk, ext4, lower)));
        Ok(mounted)
    }

    fn power_off(mounted: Mounted) -> Result<(Disk, Layer)> {
        let Mounted { fs, base, state } = mounted;
        drop(base);
        fs.unmount()?;
        drop(fs);
        let state = state.and_then(|state| state.downcast::<(Disk, Arc<dyn FileSystem>, Layer)>().ok());
        let (disk, ext4, lower) = *state.ok_or(Errno::EIO)?;
        ext4.unmount()?;
        Ok((disk, lower))
    }
}

impl Fixture for OverDisk {
    fn features(&self) -> Features {
        FEATURES.difference(Features::LARGE_XATTRS).difference(Features::LARGE) | Features::REMOUNT
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = ram(setup, 0x102)?;
        contract::tree::build(&lower.root(), setup.tree)?;
        let disk = Disk::new(24 << 20, 7, FsContext { dev: 0x105, clock: setup.context.clock.clone() });
        Self::boot(disk, Layer::of(lower), setup.context.clone())
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        let (disk, lower) = Self::power_off(mounted)?;
        Self::boot(disk, lower, context)
    }

    fn examine(&self, mounted: Mounted) -> Outcome {
        match Self::power_off(mounted)?.0.damage() {
            Some(damage) => Err(Failure::new(damage)),
            None => Ok(()),
        }
    }
}

/// What a copy-up changes, until `index=on` keeps the names of a lower inode together.
const OVER_LOWER: &[&str] = &[
    // Names of a lower inode part when it is copied up.
    "all_links_share_the_attributes",
    "links_of_one_inode_exchanged_stay",
    "links_that_were_there_at_mount_stay_one_file",
    "a_replaced_link_leaves_the_other_names",
    "an_unlink_changes_the_other_names_ctime",
    "a_replacing_rename_changes_the_other_names_of_what_went",
    "links_share_them",
    // A directory that is copied up for a change below it has a new ctime, which nobody can set, and one link.
    "a_change_below_leaves_the_grandparent",
    "an_unnamed_file_leaves_the_parents_times",
];

fn ram(setup: &Setup<'_>, dev: u64) -> Result<Arc<RamFs>> {
    let context = FsContext { dev, clock: setup.context.clock.clone() };
    let mut uuid = [0xee; 16];
    uuid[..8].copy_from_slice(&dev.to_le_bytes());
    RamFs::new(context, &ramfs::Options { uuid, size_limit: setup.space, ..Default::default() })
}

fn overlay(context: FsContext, layers: &Layers) -> Result<Mounted> {
    let fs = OverlayFs::mount(context, layers.clone(), Options::default())
        .map_err(|error| Error::new(error.errno(), error.reason()))?;
    let mut mounted = Mounted::new(fs);
    mounted.state = Some(Box::new(layers.clone()));
    Ok(mounted)
}

fn again(mounted: Mounted, context: FsContext) -> Result<Mounted> {
    mounted.fs.unmount()?;
    let layers = mounted.state.and_then(|state| state.downcast::<Layers>().ok()).ok_or(Errno::EIO)?;
    drop((mounted.fs, mounted.base));
    overlay(context, &layers)
}

/// The tree in the only lower layer.
struct OverLower;

impl Fixture for OverLower {
    fn features(&self) -> Features {
        FEATURES | Features::LIMITED_SPACE | Features::REMOUNT
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = ram(&Setup { space: None, context: setup.context.clone(), ..*setup }, 0x102)?;
        contract::tree::build(&lower.root(), setup.tree)?;
        let layers = Layers { upper: Some(Layer::of(ram(setup, 0x101)?)), work: None, lowers: vec![Layer::of(lower)] };
        overlay(setup.context.clone(), &layers)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        again(mounted, context)
    }
}

/// The tree in the third of five lower layers.
struct OverManyLowers;

impl Fixture for OverManyLowers {
    fn features(&self) -> Features {
        FEATURES | Features::REMOUNT
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let mut lowers = Vec::new();
        for layer in 0..5 {
            let lower = ram(setup, 0x200 + layer)?;
            if layer == 2 {
                contract::tree::build(&lower.root(), setup.tree)?;
            }
            lowers.push(Layer::of(lower));
        }
        overlay(setup.context.clone(), &Layers { upper: Some(Layer::of(ram(setup, 0x101)?)), work: None, lowers })
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        again(mounted, context)
    }
}

/// The tree in the upper, made through the overlay.
struct InUpper;

impl Fixture for InUpper {
    fn features(&self) -> Features {
        FEATURES | Features::LIMITED_SPACE | Features::REMOUNT
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let layers = Layers {
            upper: Some(Layer::of(ram(setup, 0x101)?)),
            work: None,
            lowers: vec![Layer::of(ram(setup, 0x102)?)],
        };
        let mounted = overlay(setup.context.clone(), &layers)?;
        contract::tree::build(&mounted.base, setup.tree)?;
        Ok(mounted)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        again(mounted, context)
    }
}

/// The tree in the lower layer of an overlay that is the lower layer of another.
struct Nested;

impl Fixture for Nested {
    fn features(&self) -> Features {
        FEATURES
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = ram(setup, 0x102)?;
        contract::tree::build(&lower.root(), setup.tree)?;
        let inner = Layers { upper: Some(Layer::of(ram(setup, 0x103)?)), work: None, lowers: vec![Layer::of(lower)] };
        let inner = overlay(FsContext { dev: 0x104, ..setup.context.clone() }, &inner)?;
        let layers =
            Layers { upper: Some(Layer::of(ram(setup, 0x101)?)), work: None, lowers: vec![Layer::of(inner.fs)] };
        overlay(setup.context.clone(), &layers)
    }
}

/// Two lower layers, no upper.
struct ReadOnly;

impl Fixture for ReadOnly {
    fn features(&self) -> Features {
        FEATURES.difference(Features::WRITE)
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        let lower = ram(setup, 0x102)?;
        contract::tree::build(&lower.root(), setup.tree)?;
        let layers = Layers { upper: None, work: None, lowers: vec![Layer::of(ram(setup, 0x103)?), Layer::of(lower)] };
        overlay(setup.context.clone(), &layers)
    }
}

/// A fixture as if it offered no hard links: those that are in a lower layer part when they are changed.
struct WithoutLinks<'a>(&'a dyn Fixture);

impl Fixture for WithoutLinks<'_> {
    fn features(&self) -> Features {
        self.0.features().difference(Features::HARD_LINKS)
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        self.0.mount(setup)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> Result<Mounted> {
        self.0.remount(mounted, context)
    }
}

/// [`OverLower`] for threads, which link and unlink: without links below.
struct Threads;

impl Fixture for Threads {
    fn features(&self) -> Features {
        OverLower.features()
    }

    fn mount(&self, setup: &Setup<'_>) -> Result<Mounted> {
        OverLower.mount(setup)
    }
}

contract::stress_tests!(Threads);

/// Runs the suite; `exceptions` must fail, so that none is kept for nothing.
fn run(fixture: &dyn Fixture, exceptions: &[&str]) {
    let only = std::env::var("STRATA_CONTRACT").unwrap_or_default();
    let (mut passed, mut wrong) = (0, Vec::new());
    for test in contract::tests().filter(|test| test.name.contains(&only) && test.applies_to(fixture)) {
        match (test.run(fixture), exceptions.contains(&test.name)) {
            (Ok(()), false) => passed += 1,
            (Ok(()), true) => wrong.push(format!("{} passes, and is an exception", test.name)),
            (Err(failure), false) => wrong.push(format!("{}: {failure}", test.name)),
            (Err(_), true) => {}
        }
    }
    assert!(wrong.is_empty(), "{passed} passed, {} did not:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 0, "no test was run");
    println!("{passed} passed");
}

#[test]
fn an_overlay_keeps_the_contract_over_a_lower_layer() {
    run(&OverLower, OVER_LOWER);
}

#[test]
fn an_overlay_keeps_the_contract_over_many_lower_layers() {
    run(&OverManyLowers, OVER_LOWER);
}

#[test]
fn an_overlay_keeps_the_contract_in_its_upper() {
    run(&InUpper, &[]);
}

#[test]
fn an_overlay_keeps_the_contract_over_an_overlay() {
    run(&Nested, OVER_LOWER);
}

#[test]
fn an_overlay_on_a_disk_keeps_the_contract() {
    run(&OverDisk, OVER_LOWER);
}

#[test]
fn an_overlay_without_an_upper_keeps_the_contract() {
    run(&ReadOnly, &[]);
}

#[test]
fn the_model_agrees_with_every_overlay() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seed, ops) = (number("STRATA_SEED", 1), number("STRATA_OPS", 2_000));
    let (over_lower, over_many) = (WithoutLinks(&OverLower), WithoutLinks(&OverManyLowers));
    let on_disk = WithoutLinks(&OverDisk);
    for fixture in [&over_lower as &dyn Fixture, &over_many, &InUpper, &on_disk] {
        if let Err(failure) = contract::model::run(fixture, seed, ops) {
            panic!("{failure}\nreplay with STRATA_SEED={seed} STRATA_OPS={ops}");
        }
    }
}
