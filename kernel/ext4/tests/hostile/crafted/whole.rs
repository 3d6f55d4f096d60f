//! Descriptors, bitmaps, the superblock and the list of orphans that lie.

use super::{Case, Then};
use crate::common::raw::{group, inode, sb};

pub(super) const CASES: &[Case] = &[
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
