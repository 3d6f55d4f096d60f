//! Images that somebody made who knows the format. None has checksums: whoever crafts an image gets those right.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use contract::random::Random;
use ext4::MountMode;
use vfs::FileSystem;

use crate::common::raw::{Raw, group, inode, sb};
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

const EXTENTS: &[Case] = &[
    (
        "an extent node that is its own child",
        |c| {
            let block = c.raw.extent_leaf(c.ino("deep"));
            let (root, node) = (c.extents("deep"), c.node("deep"));
            c.raw.put16(root + 6, 5);
            c.raw.put32(root + 12 + 4, block);
            c.raw.put16(node + 6, 4);
            for index in 0..usize::from(c.raw.u16(node + 2)) {
                c.raw.put32(node + 12 + index * 12 + 4, block);
                c.raw.put16(node + 12 + index * 12 + 8, 0);
            }
        },
        Then::Fails("deep"),
    ),
    (
        "a leaf that says it is an index",
        |c| {
            let at = c.node("deep");
            c.raw.put16(at + 6, 1);
        },
        Then::Fails("deep"),
    ),
    (
        "an extent tree of depth 60,000",
        |c| {
            let at = c.extents("deep");
            c.raw.put16(at + 6, 60_000);
        },
        Then::Fails("deep"),
    ),
    (
        "more extents than fit in the inode",
        |c| {
            let at = c.extents("file");
            c.raw.put16(at + 2, 5);
        },
        Then::Fails("file"),
    ),
    (
        "room for more extents than the inode has",
        |c| {
            let at = c.extents("file");
            c.raw.put16(at + 4, 400);
        },
        Then::Fails("file"),
    ),
    (
        "more extents than fit in a block",
        |c| {
            let at = c.node("deep");
            c.raw.put16(at + 2, 2000);
        },
        Then::Fails("deep"),
    ),
    (
        "room for more extents than a block has",
        |c| {
            let at = c.node("deep");
            c.raw.put16(at + 4, 60_000);
        },
        Then::Fails("deep"),
    ),
    (
        "a wrong magic number",
        |c| {
            let at = c.node("deep");
            c.raw.put16(at, 0xf30b);
        },
        Then::Fails("deep"),
    ),
    (
        "an extent of no blocks",
        |c| {
            let at = c.extents("file");
            c.raw.put16(at + 12 + 4, 0);
        },
        Then::Fails("file"),
    ),
    (
        "extents in the wrong order",
        |c| {
            let at = c.node("deep") + 12;
            let (one, two) = (c.raw.u32(at), c.raw.u32(at + 12));
            c.raw.put32(at, two);
            c.raw.put32(at + 12, one);
        },
        Then::Fails("deep"),
    ),
    (
        "extents that overlap",
        |c| {
            let at = c.node("deep") + 12;
            c.raw.put16(at + 4, 500);
        },
        Then::Fails("deep"),
    ),
    (
        "an extent past the last logical block",
        |c| {
            let at = c.extents("file") + 12;
            c.raw.put32(at, u32::MAX);
            c.raw.put16(at + 4, 100);
        },
        Then::Fails("file"),
    ),
    (
        "an extent past the end of the disk",
        |c| {
            let at = c.extents("file") + 12;
            c.raw.put32(at + 8, 0x7fff_fff0);
        },
        Then::Fails("file"),
    ),
    (
        "an extent of high block numbers",
        |c| {
            let at = c.extents("file") + 12;
            c.raw.put16(at + 6, 0xffff);
        },
        Then::Fails("file"),
    ),
    (
        "a node past the end of the disk",
        |c| {
            let at = c.extents("deep") + 12;
            c.raw.put32(at + 4, 0x7fff_fff0);
        },
        Then::Fails("deep"),
    ),
    (
        "a node in block 0",
        |c| {
            let at = c.extents("deep") + 12;
            c.raw.put32(at + 4, 0);
        },
        Then::Fails("deep"),
    ),
    (
        "file data over the inode table",
        |c| {
            let table = c.raw.u32(c.raw.group(0) + group::INODE_TABLE);
            let at = c.extents("file") + 12;
            c.raw.put32(at + 8, table);
        },
        Then::Fails("file"),
    ),
    (
        "file data over the superblock",
        |c| {
            let at = c.extents("file") + 12;
            c.raw.put32(at + 8, 1);
        },
        Then::Fails("file"),
    ),
    (
        "two files over the same blocks",
        |c| {
            let from = c.extents("reserved");
            let bytes = c.raw.bytes[from..from + 60].to_vec();
            let at = c.extents("file");
            c.raw.bytes[at..at + 60].copy_from_slice(&bytes);
        },
        Then::Ends,
    ),
    (
        "two files over one extent node",
        |c| {
            let from = c.extents("deep");
            let bytes = c.raw.bytes[from..from + 60].to_vec();
            let at = c.extents("file");
            c.raw.bytes[at..at + 60].copy_from_slice(&bytes);
        },
        Then::Ends,
    ),
    (
        "a file of eight EiB",
        |c| {
            let at = c.inode("file");
            c.raw.put32(at + inode::SIZE_HIGH, 0x7fff_ffff);
        },
        Then::Ends,
    ),
    (
        "a file of negative size",
        |c| {
            let at = c.inode("file");
            c.raw.put32(at + inode::SIZE_HIGH, 0xffff_ffff);
        },
        Then::Ends,
    ),
    (
        "neither extents nor a map",
        |c| {
            let at = c.inode("file");
            c.raw.put32(at + inode::FLAGS, 0);
        },
        Then::Ends,
    ),
];

const INDEXES: &[Case] = &[
    (
        "an index whose children are its root",
        |c| {
            let at = c.directory("crowd");
            for index in 0..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8 + 4, 0);
            }
        },
        Then::Ends,
    ),
    (
        "an index of two levels that has one",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1e] = 1;
        },
        Then::Ends,
    ),
    (
        "an index of 200 levels",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1e] = 200;
        },
        Then::Ends,
    ),
    (
        "an index of an unknown hash",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1c] = 99;
        },
        Then::Ends,
    ),
    (
        "an index with more entries than room",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x22, 60_000);
        },
        Then::Ends,
    ),
    (
        "an index with no entry",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x22, 0);
        },
        Then::Ends,
    ),
    (
        "an index with a lying limit",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x20, 60_000);
        },
        Then::Ends,
    ),
    (
        "an index past the end of its directory",
        |c| {
            let at = c.directory("crowd");
            for index in 0..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8 + 4, 0x00ff_0000 + index as u32);
            }
        },
        Then::Ends,
    ),
    (
        "an index with hashes out of order",
        |c| {
            let at = c.directory("crowd");
            for index in 1..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8, 0x1000_0000 - index as u32 * 2);
            }
        },
        Then::Ends,
    ),
    (
        "an index flag on a directory without one",
        |c| {
            let at = c.inode("dir") + inode::FLAGS;
            let flags = c.raw.u32(at) | 0x1000;
            c.raw.put32(at, flags);
        },
        Then::Ends,
    ),
];

const ENTRIES: &[Case] = &[
    (
        "an entry of length 0",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put16(at + 4, 0);
        },
        Then::Fails("dir"),
    ),
    (
        "an entry of length 5",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put16(at + 4, 5);
        },
        Then::Fails("dir"),
    ),
    (
        "an entry of length 8 with a name",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put16(at + 4, 8);
        },
        Then::Fails("dir"),
    ),
    (
        "an entry that leaves its block",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put16(at + 4, 60_000);
        },
        Then::Fails("dir"),
    ),
    (
        "a name that leaves its entry",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 6] = 255;
        },
        Then::Fails("dir"),
    ),
    (
        "an inode past the last",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put32(at, 0x00ff_ffff);
        },
        Then::Fails("dir"),
    ),
    (
        "the inode of the journal",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put32(at, 8);
        },
        Then::Fails("dir"),
    ),
    (
        "a reserved inode",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put32(at, 7);
        },
        Then::Fails("dir"),
    ),
    (
        "an inode that is free",
        |c| {
            let at = c.entry("dir", "sub3");
            let last = c.raw.inodes_per_group * c.raw.groups;
            c.raw.put32(at, last);
        },
        Then::Fails("dir"),
    ),
    (
        "a name with a slash",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 9] = b'/';
        },
        Then::Ends,
    ),
    (
        "a name with NUL",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 9] = 0;
        },
        Then::Ends,
    ),
    (
        "a name of no bytes",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 6] = 0;
        },
        Then::Ends,
    ),
    (
        "a second '..'",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 6] = 2;
            c.raw.bytes[at + 8..at + 10].copy_from_slice(b"..");
        },
        Then::Ends,
    ),
    (
        "two entries of one name",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 11] = b'4';
        },
        Then::Ends,
    ),
    (
        "a directory in itself",
        |c| {
            let (at, ino) = (c.entry("dir/sub1", "inner"), c.ino("dir"));
            c.raw.put32(at, ino as u32);
        },
        Then::Ends,
    ),
    (
        "a directory at two names",
        |c| {
            let (at, ino) = (c.entry("dir", "sub3"), c.ino("dir/sub1"));
            c.raw.put32(at, ino as u32);
        },
        Then::Ends,
    ),
    (
        "the root in a directory",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.put32(at, 2);
        },
        Then::Ends,
    ),
    (
        "a directory without '.' and '..'",
        |c| {
            let at = c.directory("dir/sub1");
            c.raw.put32(at, 0);
            c.raw.put32(at + 12, 0);
        },
        Then::Ends,
    ),
    (
        "a directory whose '..' is not its parent",
        |c| {
            let at = c.directory("dir/sub1");
            c.raw.put32(at + 12, 12);
        },
        Then::Ends,
    ),
    (
        "a directory of zeros",
        |c| {
            let at = c.directory("dir");
            let size = c.raw.block_size;
            c.raw.bytes[at..at + size].fill(0);
        },
        Then::Ends,
    ),
    (
        "a directory with holes",
        |c| {
            let at = c.inode("dir");
            c.raw.put32(at + inode::SIZE, 1 << 20);
        },
        Then::Ends,
    ),
    (
        "a directory of four GiB",
        |c| {
            let at = c.inode("dir");
            c.raw.put32(at + inode::SIZE, 0xffff_fc00);
            c.raw.put32(at + inode::SIZE_HIGH, 0);
        },
        Then::Ends,
    ),
    (
        "a directory of eight EiB",
        |c| {
            let at = c.inode("dir");
            c.raw.put32(at + inode::SIZE_HIGH, 0x7fff_ffff);
        },
        Then::Ends,
    ),
    (
        "a directory of no size",
        |c| {
            let at = c.inode("dir");
            c.raw.put32(at + inode::SIZE, 0);
        },
        Then::Ends,
    ),
    (
        "a directory of an odd size",
        |c| {
            let at = c.inode("dir");
            c.raw.put32(at + inode::SIZE, 1500);
        },
        Then::Ends,
    ),
    (
        "an entry that lies about its type",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 7] = 1;
        },
        Then::Ends,
    ),
    (
        "an entry of a type that does not exist",
        |c| {
            let at = c.entry("dir", "sub3");
            c.raw.bytes[at + 7] = 200;
        },
        Then::Ends,
    ),
];

const INODES_AND_ATTRIBUTES: &[Case] = &[
    (
        "a type that does not exist",
        |c| {
            let at = c.inode("file");
            c.raw.put16(at, 0o150_644);
        },
        Then::Fails("file"),
    ),
    (
        "no type",
        |c| {
            let at = c.inode("file");
            c.raw.put16(at, 0o644);
        },
        Then::Fails("file"),
    ),
    (
        "a file without links",
        |c| {
            let at = c.inode("file");
            c.raw.put16(at + inode::LINKS, 0);
        },
        Then::Ends,
    ),
    (
        "a directory with too many links",
        |c| {
            let at = c.inode("dir");
            c.raw.put16(at + inode::LINKS, 60_000);
        },
        Then::Ends,
    ),
    (
        "a directory with one link",
        |c| {
            let at = c.inode("dir");
            c.raw.put16(at + inode::LINKS, 1);
        },
        Then::Ends,
    ),
    (
        "a file that is a directory",
        |c| {
            let at = c.inode("file");
            c.raw.put16(at, 0o040_755);
        },
        Then::Ends,
    ),
    (
        "a directory that is a file",
        |c| {
            let at = c.inode("dir");
            c.raw.put16(at, 0o100_755);
        },
        Then::Ends,
    ),
    (
        "a device that is a file",
        |c| {
            let at = c.inode("device");
            c.raw.put16(at, 0o100_755);
            c.raw.put32(at + inode::SIZE, 5000);
        },
        Then::Ends,
    ),
    (
        "a file that is a symlink",
        |c| {
            let at = c.inode("file");
            c.raw.put16(at, 0o120_777);
        },
        Then::Fails("file"),
    ),
    (
        "a symlink of no bytes",
        |c| {
            let at = c.inode("fast");
            c.raw.put32(at + inode::SIZE, 0);
        },
        Then::Fails("fast"),
    ),
    (
        "a fast symlink that is too long",
        |c| {
            let at = c.inode("fast");
            c.raw.put32(at + inode::SIZE, 61);
        },
        Then::Fails("fast"),
    ),
    (
        "a symlink larger than a block",
        |c| {
            let at = c.inode("slow");
            c.raw.put32(at + inode::SIZE, 5000);
        },
        Then::Fails("slow"),
    ),
    (
        "a symlink of eight EiB",
        |c| {
            let at = c.inode("slow");
            c.raw.put32(at + inode::SIZE_HIGH, 0x7fff_ffff);
        },
        Then::Fails("slow"),
    ),
    (
        "a symlink past the end of the disk",
        |c| {
            let at = c.extents("slow") + 12;
            c.raw.put32(at + 8, 0x7fff_fff0);
        },
        Then::Fails("slow"),
    ),
    (
        "attributes past the end of the disk",
        |c| {
            let at = c.inode("crowd");
            c.raw.put32(at + inode::FILE_ACL, 0x7fff_fff0);
        },
        Then::Fails("crowd"),
    ),
    (
        "attributes in the inode table",
        |c| {
            let table = c.raw.u32(c.raw.group(0) + group::INODE_TABLE);
            let at = c.inode("crowd");
            c.raw.put32(at + inode::FILE_ACL, table);
        },
        Then::Fails("crowd"),
    ),
    (
        "attributes of a wrong magic number",
        |c| {
            let at = c.attributes("crowd");
            c.raw.put32(at, 1);
        },
        Then::Fails("crowd"),
    ),
    (
        "attributes of two blocks",
        |c| {
            let at = c.attributes("crowd");
            c.raw.put32(at + 8, 2);
        },
        Then::Fails("crowd"),
    ),
    (
        "attributes that nobody refers to",
        |c| {
            let at = c.attributes("crowd");
            c.raw.put32(at + 4, 0);
        },
        Then::Ends,
    ),
    (
        "attributes of too many",
        |c| {
            let at = c.attributes("crowd");
            c.raw.put32(at + 4, u32::MAX);
        },
        Then::Ends,
    ),
    (
        "an attribute whose name leaves the block",
        |c| {
            let at = c.attributes("crowd") + 32;
            c.raw.bytes[at] = 255;
            c.raw.bytes[at + 16..at + 300].fill(b'n');
        },
        Then::Fails("crowd"),
    ),
    (
        "an attribute whose value leaves the block",
        |c| {
            let at = c.attributes("crowd") + 32;
            c.raw.put16(at + 2, 1020);
            c.raw.put32(at + 8, 100);
        },
        Then::Fails("crowd"),
    ),
    (
        "an attribute whose value lies in the names",
        |c| {
            let at = c.attributes("crowd") + 32;
            c.raw.put16(at + 2, 16);
        },
        Then::Ends,
    ),
    (
        "an attribute of four GiB",
        |c| {
            let at = c.attributes("crowd") + 32;
            c.raw.put32(at + 8, u32::MAX);
        },
        Then::Fails("crowd"),
    ),
    (
        "an attribute with its value elsewhere",
        |c| {
            let at = c.attributes("crowd") + 32;
            c.raw.put32(at + 4, 77);
        },
        Then::Ends,
    ),
    (
        "attributes without an end",
        |c| {
            let at = c.attributes("crowd");
            let end = at + c.raw.block_size;
            c.raw.bytes[at + 32..end].fill(1);
        },
        Then::Fails("crowd"),
    ),
];

const WHOLE: &[Case] = &[
    (
        "free counts that lie in the superblock",
        |c| {
            c.raw.put32(sb::FREE_BLOCKS, 9_000_000);
            c.raw.put32(sb::FREE_INODES, 9_000_000);
        },
        Then::Ends,
    ),
    (
        "more free blocks in a group than it has",
        |c| {
            let at = c.raw.group(0);
            c.raw.put16(at + group::FREE_BLOCKS, 60_000);
        },
        Then::Ends,
    ),
    (
        "free blocks in a group that has none",
        |c| {
            let at = c.raw.group(0);
            let bitmap = c.raw.block(c.raw.u32(at + group::BLOCK_BITMAP));
            let size = c.raw.block_size;
            c.raw.bytes[bitmap..bitmap + size].fill(0xff);
        },
        Then::Ends,
    ),
    (
        "a bitmap that calls everything free",
        |c| {
            let at = c.raw.group(0);
            let (blocks, inodes) =
                (c.raw.block(c.raw.u32(at + group::BLOCK_BITMAP)), c.raw.block(c.raw.u32(at + group::INODE_BITMAP)));
            let size = c.raw.block_size;
            c.raw.bytes[blocks..blocks + size].fill(0);
            c.raw.bytes[inodes..inodes + size].fill(0);
        },
        Then::Ends,
    ),
    (
        "free inodes in a group that has none",
        |c| {
            for number in 0..c.raw.groups {
                let bitmap = c.raw.block(c.raw.u32(c.raw.group(number) + group::INODE_BITMAP));
                let size = c.raw.block_size;
                c.raw.bytes[bitmap..bitmap + size].fill(0xff);
            }
        },
        Then::Ends,
    ),
    (
        "a block bitmap past the end",
        |c| {
            let at = c.raw.group(0);
            c.raw.put32(at + group::BLOCK_BITMAP, 0x7fff_fff0);
        },
        Then::Refused,
    ),
    (
        "an inode bitmap past the end",
        |c| {
            let at = c.raw.group(0);
            c.raw.put32(at + group::INODE_BITMAP, 0x7fff_fff0);
        },
        Then::Refused,
    ),
    (
        "an inode table that ends past the end",
        |c| {
            let last = (c.raw.bytes.len() / c.raw.block_size) as u32 - 1;
            let at = c.raw.group(0);
            c.raw.put32(at + group::INODE_TABLE, last);
        },
        Then::Refused,
    ),
    (
        "an inode table in block 0",
        |c| {
            let at = c.raw.group(0);
            c.raw.put32(at + group::INODE_TABLE, 0);
        },
        Then::Refused,
    ),
    (
        "both bitmaps in one block",
        |c| {
            let at = c.raw.group(0);
            let block = c.raw.u32(at + group::BLOCK_BITMAP);
            c.raw.put32(at + group::INODE_BITMAP, block);
        },
        Then::Ends,
    ),
    (
        "a root that is a file",
        |c| {
            let at = c.inode("");
            c.raw.put16(at, 0o100_644);
        },
        Then::Refused,
    ),
    (
        "a root without links",
        |c| {
            let at = c.inode("");
            c.raw.put16(at + inode::LINKS, 0);
        },
        Then::Refused,
    ),
    (
        "a root of zeros",
        |c| {
            let at = c.inode("");
            c.raw.bytes[at..at + 128].fill(0);
        },
        Then::Refused,
    ),
    (
        "orphans in a circle",
        |c| {
            let (one, two) = (c.ino("dir/sub1/inner"), c.ino("dir/sub2/inner"));
            c.raw.put32(sb::LAST_ORPHAN, one as u32);
            let (first, second) = (c.raw.inode(one), c.raw.inode(two));
            c.raw.put32(first + inode::DTIME, two as u32);
            c.raw.put32(second + inode::DTIME, one as u32);
        },
        Then::Ends,
    ),
    (
        "deleted orphans in a circle",
        |c| {
            let (one, two) = (c.ino("dir/sub1/inner"), c.ino("dir/sub2/inner"));
            c.raw.put32(sb::LAST_ORPHAN, one as u32);
            let (first, second) = (c.raw.inode(one), c.raw.inode(two));
            for (at, next) in [(first, two), (second, one)] {
                c.raw.put32(at + inode::DTIME, next as u32);
                c.raw.put16(at + inode::LINKS, 0);
            }
        },
        Then::Ends,
    ),
    (
        "an orphan that follows itself",
        |c| {
            let one = c.ino("file");
            c.raw.put32(sb::LAST_ORPHAN, one as u32);
            let at = c.raw.inode(one);
            c.raw.put32(at + inode::DTIME, one as u32);
        },
        Then::Ends,
    ),
    ("the root as an orphan", |c| c.raw.put32(sb::LAST_ORPHAN, 2), Then::Ends),
    ("the journal as an orphan", |c| c.raw.put32(sb::LAST_ORPHAN, 8), Then::Ends),
    ("an orphan past the last inode", |c| c.raw.put32(sb::LAST_ORPHAN, 0x7fff_ffff), Then::Ends),
    (
        "a directory as an orphan",
        |c| {
            let ino = c.ino("dir") as u32;
            c.raw.put32(sb::LAST_ORPHAN, ino);
            let at = c.inode("dir");
            c.raw.put16(at + inode::LINKS, 0);
        },
        Then::Ends,
    ),
    (
        "a journal to replay that is no journal",
        |c| {
            let flags = c.raw.u32(sb::INCOMPAT) | 4;
            c.raw.put32(sb::INCOMPAT, flags);
            let at = c.raw.block(c.raw.file_block(8, 0));
            c.raw.bytes[at..at + 64].fill(0xee);
        },
        Then::Refused,
    ),
    (
        "a journal to replay in an inode that is none",
        |c| {
            let flags = c.raw.u32(sb::INCOMPAT) | 4;
            c.raw.put32(sb::INCOMPAT, flags);
            let ino = c.ino("fifo") as u32;
            c.raw.put32(sb::JOURNAL_INUM, ino);
        },
        Then::Refused,
    ),
    (
        "a journal to replay whose blocks are the inode table",
        |c| {
            let flags = c.raw.u32(sb::INCOMPAT) | 4;
            c.raw.put32(sb::INCOMPAT, flags);
            let table = c.raw.u32(c.raw.group(0) + group::INODE_TABLE);
            let at = c.raw.inode(8) + inode::BLOCK + 12;
            c.raw.put32(at + 8, table);
        },
        Then::Refused,
    ),
];

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
    run(EXTENTS);
}

#[test]
fn crafted_indexes_give_errors() {
    run(INDEXES);
}

#[test]
fn crafted_entries_give_errors() {
    run(ENTRIES);
}

#[test]
fn crafted_inodes_and_attributes_give_errors() {
    run(INODES_AND_ATTRIBUTES);
}

#[test]
fn crafted_descriptors_bitmaps_and_lists_give_errors() {
    run(WHOLE);
}
