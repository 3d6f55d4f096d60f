//! Inodes and extended attributes that lie: kinds, sizes, links, lists, shared blocks.

use super::{Case, Then};
use crate::common::raw::{group, inode};

pub(super) const CASES: &[Case] = &[
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
