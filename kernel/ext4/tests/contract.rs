//! The contract suite over ext4 on disks in memory, one way to make the filesystem after the other; after every test
//! `e2fsck` judges the unmounted image.

mod common;

use std::sync::Arc;

use block::MemoryDisk;
use common::disk::{MIB, Make, fsck};
use contract::{Failure, Features, Fixture, Mounted, Outcome, Setup};
use ext4::{Ext4, MountMode, MountOptions};
use vfs::{Errno, Error, FileSystem, FsContext, Name, NewKind, NewNode};

/// Where the tests work, beside `lost+found`.
const BASE: &[u8] = b"base";

struct OnDisk {
    make: Make,
    /// Size where the test asks for none.
    plenty: u64,
    without: Features,
}

fn refused(error: ext4::MountError) -> Error {
    panic!("mount: {error}");
}

fn mount(disk: &Arc<MemoryDisk>, context: FsContext) -> vfs::Result<Mounted> {
    let options = MountOptions { mode: MountMode::ReadWrite, ..MountOptions::default() };
    let fs = Ext4::mount(disk.clone(), context, options).map_err(refused)?;
    let name = Name::new(BASE)?;
    let base = match fs.root().lookup(name)? {
        Some(node) => node,
        None => fs.root().create(name, &NewNode::new(NewKind::Dir, 0o755))?,
    };
    let base = base.as_dir()?.clone();
    Ok(Mounted { fs, base, state: Some(Box::new(disk.clone())) })
}

/// Unmounts; gives the disk.
fn unmount(mounted: Mounted) -> vfs::Result<Arc<MemoryDisk>> {
    let Mounted { fs, base, state } = mounted;
    drop(base);
    fs.unmount()?;
    let disk = state.and_then(|state| state.downcast::<Arc<MemoryDisk>>().ok());
    disk.map(|disk| *disk).ok_or(Error::new(Errno::EINVAL, "the disk of the fixture"))
}

impl Fixture for OnDisk {
    fn features(&self) -> Features {
        let all = Features::COMPLETE | Features::LIMITED_SPACE | Features::REMOUNT;
        all - Features::LARGE_XATTRS - self.without
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        // A journal takes four MiB, or one with blocks of 1 KiB.
        let bytes = setup.space.map_or(self.plenty, |space| space + 6 * MIB);
        let mounted = mount(&self.make.disk(bytes), setup.context.clone())?;
        contract::tree::build(&mounted.base, setup.tree)?;
        Ok(mounted)
    }

    fn remount(&self, mounted: Mounted, context: FsContext) -> vfs::Result<Mounted> {
        mount(&unmount(mounted)?, context)
    }

    fn examine(&self, mounted: Mounted) -> Outcome {
        let disk = unmount(mounted)?;
        fsck(&disk).map_err(Failure::new)
    }
}

/// One module a way: `fixture!(name, make, MiB of plenty, features left out)`.
macro_rules! fixture {
    ($name:ident, $make:expr, $plenty:expr, $without:expr) => {
        mod $name {
            use super::*;

            contract::contract_tests!(OnDisk { make: $make, plenty: $plenty * MIB, without: $without });
        }
    };
}

/// As [`fixture`], without the tests that ask for more than such a disk can hold: symbolic links and attributes are not
/// larger than a block, and inodes of 128 bytes know no fractions of a second (the random trace compares their times with
/// Linux's). Left out are tests and groups, by name.
macro_rules! small_fixture {
    ($name:ident, $make:expr, $without:expr, $except:expr) => {
        #[test]
        fn $name() {
            let fixture = OnDisk { make: $make, plenty: 32 * MIB, without: $without };
            let only = std::env::var("STRATA_CONTRACT").unwrap_or_default();
            let except: &[&[&str]] = &$except;
            let mut passed = 0;
            let mut failures = String::new();
            for test in contract::tests().filter(|test| test.applies_to(&fixture) && test.name.contains(&only)) {
                if except.iter().any(|names| names.contains(&test.name) || names.contains(&test.group)) {
                    continue;
                }
                match test.run(&fixture) {
                    Ok(()) => passed += 1,
                    Err(failure) => failures += &format!("{}: {failure}\n", test.name),
                }
            }
            assert!(failures.is_empty(), "\n{failures}");
            assert!(passed > 100 || !only.is_empty(), "{passed} tests passed");
            if only.is_empty() && !except.contains(&FRACTIONS_OF_A_SECOND) {
                let ops = common::number("STRATA_OPS", 2_000);
                if let Err(failure) = contract::model::run(&fixture, common::number("STRATA_SEED", 7), ops) {
                    panic!("{failure}");
                }
            }
        }
    };
}

const LARGER_THAN_A_BLOCK: &[&str] = &[
    "a_new_symbolic_link_may_have_the_longest_target",
    "a_symbolic_link_keeps_the_longest_target",
    "a_file_may_be_sparse_far_out",
    "many_are_kept",
];
const FRACTIONS_OF_A_SECOND: &[&str] = &[
    "times",
    "attr_tells_type_mode_owner_and_time",
    "a_file_opened_to_be_truncated_loses_nothing_but_content",
    "allocation_changes_the_times",
    "one_change_sets_everything_at_once",
    "a_publish_keeps_the_times_of_the_node",
    "a_publish_touched_changes_the_parents_times",
    "a_whiteout_changes_the_parents_times",
    "a_move_changes_the_times_of_both_parents",
];

fixture!(ours, Make::Ours(4096, 256), 480, Features::empty());
fixture!(mkfs_default, Make::Mkfs(&["-b", "4096", "-I", "256"]), 32, Features::LARGE);
small_fixture!(
    blocks_of_1k_inodes_of_128_no_checksums,
    Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum"]),
    Features::LARGE | Features::BIRTH_TIME,
    [LARGER_THAN_A_BLOCK, FRACTIONS_OF_A_SECOND]
);
small_fixture!(blocks_of_2k, Make::Mkfs(&["-b", "2048"]), Features::LARGE, [LARGER_THAN_A_BLOCK]);
fixture!(no_64bit, Make::Mkfs(&["-b", "4096", "-O", "^64bit"]), 32, Features::LARGE);
small_fixture!(
    no_dir_index,
    Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "^dir_index"]),
    Features::LARGE,
    [LARGER_THAN_A_BLOCK]
);

mod threads {
    use super::*;

    contract::stress_tests!(OnDisk { make: Make::Ours(4096, 256), plenty: 64 * MIB, without: Features::LARGE });
}

mod threads_on_small_blocks {
    use super::*;

    contract::stress_tests!(OnDisk {
        make: common::disk::OLD,
        plenty: 64 * MIB,
        without: Features::LARGE | Features::BIRTH_TIME
    });
}
