//! Extent trees that lie: loops, overlaps, counts and lengths beyond the disk.

use super::{Case, Then};
use crate::common::raw::{group, inode};

pub(super) const CASES: &[Case] = &[
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
