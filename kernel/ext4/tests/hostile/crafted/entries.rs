//! Entries of directories that lie: lengths, names, inodes, checksummed tails.

use super::{Case, Then};
use crate::common::raw::inode;

pub(super) const CASES: &[Case] = &[
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
