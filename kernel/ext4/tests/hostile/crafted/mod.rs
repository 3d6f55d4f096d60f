//! Images that somebody made who knows the format. None has checksums: whoever crafts an image gets those right.

mod entries;
mod extents;
mod fields;
mod indexes;
mod inodes;
mod journals;
mod whole;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use contract::random::Random;
use ext4::MountMode;
use vfs::FileSystem;

use crate::common::raw::{Raw, group, inode};
use crate::common::{mount_read_only, short};
use crate::exercise::{exercise, list, read_all, try_mount};
use crate::flipped::{large_base, old_base};
use crate::limits::within_limits;
use fields::Row;

/// An image to be edited, and the numbers of its inodes.
struct Craft {
    raw: Raw,
    inodes: &'static HashMap<&'static str, u64>,
}

const PATHS: [&str; 15] = [
    "",
    "file",
    "deep",
    "reserved",
    "dir",
    "dir/sub1",
    "dir/sub2",
    "dir/sub1/inner",
    "dir/sub2/inner",
    "crowd",
    "fast",
    "slow",
    "device",
    "fifo",
    "dir/white",
];

/// The image that a case edits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    /// Blocks of 1 KiB, inodes of 128 bytes.
    Old,
    /// Blocks of 4 KiB, inodes of 256 bytes.
    Large,
}

impl Base {
    fn raw(self) -> &'static Raw {
        match self {
            Self::Old => old_base(),
            Self::Large => large_base(),
        }
    }
}

static INODES: [OnceLock<HashMap<&'static str, u64>>; 2] = [const { OnceLock::new() }; 2];

impl Craft {
    fn new(base: Base) -> Self {
        let raw = base.raw().clone();
        let inodes = INODES[usize::from(base == Base::Large)].get_or_init(|| {
            let fs = mount_read_only(raw.disk());
            PATHS.iter().map(|path| (*path, short::at(&*fs, path).unwrap().id().ino)).collect()
        });
        Self { raw, inodes }
    }

    /// A block that has a use, by its name.
    fn block_of(&self, name: &str) -> u32 {
        let in_group = |number, field| self.raw.u32(self.raw.group(number) + field);
        match name {
            "the superblock" => (1024 / self.raw.block_size) as u32,
            "descriptors" => (self.raw.group(0) / self.raw.block_size) as u32,
            "block bitmap 0" => in_group(0, group::BLOCK_BITMAP),
            "inode bitmap 0" => in_group(0, group::INODE_BITMAP),
            "inode table 0" => in_group(0, group::INODE_TABLE),
            "inode table 1" => in_group(1, group::INODE_TABLE),
            "the root" => self.raw.file_block(2, 0),
            "the journal" => self.raw.file_block(8, 0),
            path => self.raw.file_block(self.ino(path), 0),
        }
    }

    fn ino(&self, path: &str) -> u64 {
        self.inodes[path]
    }

    fn inode(&self, path: &str) -> usize {
        self.raw.inode(self.ino(path))
    }

    /// Where the extent root of an inode begins.
    fn extents(&self, path: &str) -> usize {
        self.inode(path) + inode::BLOCK
    }

    /// Where the first leaf block of an extent tree begins.
    fn node(&self, path: &str) -> usize {
        self.raw.block(self.raw.extent_leaf(self.ino(path)))
    }

    /// Where an entry of a directory begins.
    fn entry(&self, dir: &str, name: &str) -> usize {
        self.raw.dir_entry(self.ino(dir), name.as_bytes())
    }

    /// Where the attribute block of an inode begins.
    fn attributes(&self, path: &str) -> usize {
        let block = self.raw.u32(self.inode(path) + inode::FILE_ACL);
        assert_ne!(block, 0, "{path} has an attribute block");
        self.raw.block(block)
    }

    /// Where the first block of a directory begins.
    fn directory(&self, path: &str) -> usize {
        self.raw.block(self.raw.file_block(self.ino(path), 0))
    }
}

/// What becomes of an image.
#[derive(Clone, Copy)]
enum Then {
    /// It is not mounted, and not written to.
    Refused,
    /// Reading what is at the path gives an error.
    Fails(&'static str),
    /// All ends, whether well or not.
    Ends,
}

type Case = (&'static str, fn(&mut Craft), Then);

/// How often everything is done with each of the images.
const SEEDS: u64 = 3;

fn run(cases: &'static [Case]) {
    for (name, edit, then) in cases {
        within_limits(name, move || {
            let mut craft = Craft::new(Base::Old);
            edit(&mut craft);
            assert!(craft.raw.bytes != old_base().bytes, "{name}: nothing was edited");
            case(name, &craft.raw, *then);
        });
    }
}

/// Makes every image of a table; those that are the base itself are none.
fn run_rows(base: Base, rows: &'static [Row]) {
    let mut count = 0;
    for row in rows {
        for (name, put) in row.cases() {
            let mut craft = Craft::new(base);
            row.edit(&mut craft, put);
            if craft.raw.bytes == base.raw().bytes {
                continue;
            }
            count += 1;
            let title = name.clone();
            within_limits(&title, move || case(&name, &craft.raw, row.3));
        }
    }
    println!("{count} images");
    let all: usize = rows.iter().map(|row| row.cases().count()).sum();
    assert!(count * 10 >= all * 9, "{count} of {all} rows are an image");
}

fn case(name: &str, raw: &Raw, then: Then) {
    let crafted = raw.disk();
    let copy = || Arc::new(crafted.snapshot());
    for mode in [MountMode::ReadOnly, MountMode::ReadWrite] {
        let disk = copy();
        match (try_mount(&disk, mode), then) {
            (Ok(_), Then::Refused) => panic!("{name}: is mounted"),
            (Err(_), Then::Refused) => assert!(disk.to_image() == raw.bytes, "{name}: was refused and written to"),
            (Err(error), Then::Fails(_)) => panic!("{name}: is not mounted: {error}"),
            (Ok(fs), Then::Fails(path)) => {
                let result = short::at(&*fs, path).and_then(|node| read_all(&node));
                assert!(result.is_err(), "{name}: {path} is read");
                // What is whole can still be read.
                let whole = ["dir/sub1/inner", "fast", "crowd", "file"];
                let other = whole.iter().find(|whole| !whole.starts_with(path.split('/').next().unwrap_or(path)));
                let node = short::at(&*fs, other.expect("another path")).expect("what is whole is found");
                read_all(&node).expect("what is whole is read");
                let _ = fs.unmount();
            }
            (mounted, Then::Ends) => drop(mounted.map(|fs| fs.unmount())),
        }
    }
    // Whatever is done with it.
    for seed in 0..SEEDS {
        exercise(&copy(), MountMode::ReadWrite, &mut Random::new(seed));
    }
    clear(&copy());
}

/// Removes everything that lets itself be removed: that is where blocks are freed.
fn clear(disk: &Arc<block::MemoryDisk>) {
    let Ok(fs) = try_mount(disk, MountMode::ReadWrite) else { return };
    let before = fs.statfs().expect("counts");
    for _ in 0..4 {
        for dir in ["dir/sub1", "dir/sub2", "dir", "crowd", ""] {
            let Ok(node) = short::at(&*fs, dir) else { continue };
            let Ok(dir) = node.as_dir() else { continue };
            let (names, _) = list(&**dir);
            for name in names {
                let _ = dir.remove(name.as_name(), vfs::Expect::NonDir);
                let _ = dir.remove(name.as_name(), vfs::Expect::EmptyDir);
            }
        }
    }
    let _ = fs.sync();
    let after = fs.statfs().expect("counts");
    assert!(after.blocks_free <= before.blocks_free.max(after.blocks), "more is free than there is");
    let _ = fs.unmount();
}

#[test]
fn crafted_extents_give_errors() {
    run(extents::CASES);
}

#[test]
fn crafted_indexes_give_errors() {
    run(indexes::CASES);
}

#[test]
fn crafted_entries_give_errors() {
    run(entries::CASES);
}

#[test]
fn crafted_inodes_and_attributes_give_errors() {
    run(inodes::CASES);
}

#[test]
fn crafted_descriptors_bitmaps_and_lists_give_errors() {
    run(whole::CASES);
}

#[test]
fn crafted_journals_give_errors() {
    run(journals::CASES);
}

#[test]
fn fields_of_the_superblock_and_of_descriptors_that_lie_give_errors() {
    run_rows(Base::Old, fields::SUPERBLOCK);
    run_rows(Base::Old, fields::GROUPS);
}

#[test]
fn fields_of_inodes_and_extents_that_lie_give_errors() {
    run_rows(Base::Old, fields::INODES);
    run_rows(Base::Old, fields::EXTENTS);
}

#[test]
fn fields_of_directories_and_attributes_that_lie_give_errors() {
    run_rows(Base::Old, fields::DIRECTORIES);
    run_rows(Base::Old, fields::ATTRIBUTES);
    run_rows(Base::Large, fields::LARGE_INODES);
}
