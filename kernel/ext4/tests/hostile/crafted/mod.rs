//! Images that somebody made who knows the format. None has checksums: whoever crafts an image gets those right.

mod entries;
mod extents;
mod indexes;
mod inodes;
mod whole;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use contract::random::Random;
use ext4::MountMode;
use vfs::FileSystem;

use crate::common::raw::{Raw, inode};
use crate::common::{mount_read_only, short};
use crate::exercise::{exercise, list, read_all, try_mount};
use crate::flipped::old_base;
use crate::limits::within_limits;

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

static INODES: OnceLock<HashMap<&'static str, u64>> = OnceLock::new();

impl Craft {
    fn new() -> Self {
        let raw = old_base().clone();
        let inodes = INODES.get_or_init(|| {
            let fs = mount_read_only(raw.disk());
            PATHS.iter().map(|path| (*path, short::at(&*fs, path).unwrap().id().ino)).collect()
        });
        Self { raw, inodes }
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

fn run(cases: &'static [Case]) {
    for (name, edit, then) in cases {
        within_limits(name, move || {
            let mut craft = Craft::new();
            edit(&mut craft);
            assert!(craft.raw.bytes != old_base().bytes, "{name}: nothing was edited");
            case(name, &craft.raw, *then);
        });
    }
}

fn case(name: &str, raw: &Raw, then: Then) {
    for mode in [MountMode::ReadOnly, MountMode::ReadWrite] {
        let disk = raw.disk();
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
    for seed in 0..4 {
        exercise(&raw.disk(), MountMode::ReadWrite, &mut Random::new(seed));
    }
    clear(&raw.disk());
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
