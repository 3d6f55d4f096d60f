//! Fields that lie, as a table: every row is a place in the image, and every value of a row is an image of its own.

use super::{Craft, Then};
use crate::common::raw::{group, inode, sb};

/// How a value is put where it goes.
#[derive(Clone, Copy)]
pub(super) enum Put {
    /// One byte.
    Byte(u8),
    /// Two bytes, little-endian.
    Half(u16),
    /// Four bytes, little-endian.
    Word(u32),
    /// Bits beside those that are set.
    Bits(u32),
    /// The number of a block that has another use, by name.
    Block(&'static str),
    /// The number of an inode that has another use, by its path.
    Inode(&'static str),
}

/// A place, where it is, what is put there, and what becomes of the image.
pub(super) struct Row(pub(super) &'static str, fn(&Craft) -> usize, &'static [Put], pub(super) Then);

impl Row {
    /// The images of this row, by name.
    pub(super) fn cases(&'static self) -> impl Iterator<Item = (String, Put)> {
        self.2.iter().map(|put| (format!("{}: {}", self.0, put.name()), *put))
    }

    /// Makes one of them.
    pub(super) fn edit(&self, craft: &mut Craft, put: Put) {
        let at = self.1(craft);
        match put {
            Put::Byte(value) => craft.raw.bytes[at] = value,
            Put::Half(value) => craft.raw.put16(at, value),
            Put::Word(value) => craft.raw.put32(at, value),
            Put::Bits(bits) => {
                let value = craft.raw.u32(at) | bits;
                craft.raw.put32(at, value);
            }
            Put::Block(name) => {
                let block = craft.block_of(name);
                craft.raw.put32(at, block);
            }
            Put::Inode(path) => {
                let number = craft.ino(path);
                craft.raw.put32(at, number as u32);
            }
        }
    }
}

impl Put {
    fn name(self) -> String {
        match self {
            Self::Byte(value) => format!("{value:#x}"),
            Self::Half(value) => format!("{value:#x}"),
            Self::Word(value) => format!("{value:#x}"),
            Self::Bits(bits) => format!("with {bits:#x}"),
            Self::Block(name) => format!("the block of {name}"),
            Self::Inode(path) => format!("the inode of /{path}"),
        }
    }
}

use Put::{Bits, Block, Byte, Half, Inode, Word};
use Then::{Ends, Fails, Refused};

pub(super) const SUPERBLOCK: &[Row] = &[
    Row("inodes", |_| sb::AT, &[Word(0), Word(1), Word(u32::MAX)], Refused),
    Row("blocks", |_| sb::AT + 0x4, &[Word(0), Word(1), Word(64), Word(u32::MAX)], Refused),
    Row("reserved blocks", |_| sb::AT + 0x8, &[Word(u32::MAX)], Ends),
    Row("first data block", |_| sb::AT + 0x14, &[Word(0), Word(2), Word(u32::MAX)], Refused),
    Row("block size", |_| sb::AT + 0x18, &[Word(1), Word(2), Word(3), Word(7), Word(32), Word(u32::MAX)], Refused),
    Row("cluster size", |_| sb::AT + 0x1c, &[Word(1), Word(40), Word(u32::MAX)], Refused),
    Row("blocks of a group", |_| sb::AT + 0x20, &[Word(0), Word(7), Word(8200), Word(u32::MAX)], Refused),
    Row("inodes of a group", |_| sb::AT + 0x28, &[Word(0), Word(1), Word(7), Word(8), Word(u32::MAX)], Refused),
    Row("magic", |_| sb::AT + 0x38, &[Half(0), Half(0x53ef)], Refused),
    Row("state", |_| sb::AT + 0x3a, &[Half(0), Half(2), Half(4), Half(0xffff)], Ends),
    Row("revision", |_| sb::AT + 0x4c, &[Word(0), Word(2), Word(u32::MAX)], Ends),
    Row("first inode", |_| sb::AT + 0x54, &[Word(0), Word(2), Word(10), Word(u32::MAX)], Refused),
    Row("inode size", |_| sb::AT + 0x58, &[Half(0), Half(1), Half(64), Half(129), Half(2048), Half(0xffff)], Refused),
    Row("another inode size", |_| sb::AT + 0x58, &[Half(256), Half(512), Half(1024)], Ends),
    Row("compatible features", |_| sb::COMPAT, &[Word(0), Word(u32::MAX), Bits(0x200)], Ends),
    Row(
        "incompatible features that are not known",
        |_| sb::INCOMPAT,
        &[Bits(0x1), Bits(0x8), Bits(0x100), Bits(0x400), Bits(0x4000), Bits(0x8000), Bits(0x1_0000), Word(u32::MAX)],
        Refused,
    ),
    Row("incompatible features", |_| sb::INCOMPAT, &[Word(0), Word(2), Bits(0x4), Bits(0x10), Bits(0x80)], Ends),
    Row(
        "read-only features",
        |_| sb::RO_COMPAT,
        &[Word(0), Bits(0x10), Bits(0x200), Bits(0x8000), Bits(0x1_0000)],
        Ends,
    ),
    Row("checksums that nobody made", |_| sb::RO_COMPAT, &[Bits(0x400)], Refused),
    Row("reserved descriptor blocks", |_| sb::AT + 0xce, &[Half(0), Half(0xffff)], Ends),
    Row("journal", |_| sb::JOURNAL_INUM, &[Word(0), Word(1), Word(7), Word(u32::MAX), Inode(""), Inode("file")], Ends),
    Row(
        "orphan",
        |_| sb::LAST_ORPHAN,
        &[Word(1), Word(7), Word(11), Word(u32::MAX), Inode("fast"), Inode("device"), Inode("slow"), Inode("crowd")],
        Ends,
    ),
    Row("hash", |_| sb::AT + 0xfc, &[Byte(0), Byte(3), Byte(6), Byte(255)], Ends),
    Row("first meta group", |_| sb::AT + 0x104, &[Word(1), Word(u32::MAX)], Ends),
    Row("flags", |_| sb::AT + 0x160, &[Word(0), Word(u32::MAX)], Ends),
    Row("groups of a flexible one", |_| sb::AT + 0x174, &[Byte(31), Byte(32), Byte(255)], Ends),
    Row("errors", |_| sb::AT + 0x194, &[Word(u32::MAX)], Ends),
];

/// Blocks with another use, for fields that name one.
const TAKEN: &[Put] = &[
    Word(0),
    Block("the superblock"),
    Block("descriptors"),
    Block("block bitmap 0"),
    Block("inode bitmap 0"),
    Block("inode table 0"),
    Block("inode table 1"),
    Block("the root"),
    Block("the journal"),
    Block("file"),
    Word(u32::MAX),
];

pub(super) const GROUPS: &[Row] = &[
    Row("bitmap of blocks", |c| c.raw.group(0) + group::BLOCK_BITMAP, TAKEN, Ends),
    Row("bitmap of inodes", |c| c.raw.group(1) + group::INODE_BITMAP, TAKEN, Ends),
    Row("table of inodes", |c| c.raw.group(0) + group::INODE_TABLE, TAKEN, Ends),
    Row("table of the other group's inodes", |c| c.raw.group(1) + group::INODE_TABLE, TAKEN, Ends),
    Row("free blocks", |c| c.raw.group(1) + group::FREE_BLOCKS, &[Half(0), Half(1), Half(0xffff)], Ends),
    Row("free inodes", |c| c.raw.group(1) + group::FREE_INODES, &[Half(0), Half(1), Half(0xffff)], Ends),
    Row("directories", |c| c.raw.group(0) + 16, &[Half(0), Half(0xffff)], Ends),
    Row("flags", |c| c.raw.group(0) + group::FLAGS, &[Half(1), Half(2), Half(3), Half(7), Half(0xffff)], Ends),
    Row("unused inodes", |c| c.raw.group(0) + 0x1c, &[Half(1), Half(0xffff)], Ends),
];

pub(super) const INODES: &[Row] = &[
    Row("mode of a file", |c| c.inode("file"), &[Half(0), Half(0o1_000), Half(0xffff), Half(0o140_644)], Ends),
    Row("mode of a directory", |c| c.inode("dir"), &[Half(0), Half(0o010_644), Half(0o120_777), Half(0xffff)], Ends),
    Row("mode of a symlink", |c| c.inode("slow"), &[Half(0o040_755), Half(0o100_644), Half(0o060_644)], Ends),
    Row("size of a file", |c| c.inode("file") + inode::SIZE, &[Word(0), Word(1), Word(u32::MAX)], Ends),
    Row("size of a directory", |c| c.inode("crowd") + inode::SIZE, &[Word(1), Word(1024), Word(1025), Word(!0)], Ends),
    Row("high size", |c| c.inode("crowd") + inode::SIZE_HIGH, &[Word(1), Word(u32::MAX)], Ends),
    Row("links of a file", |c| c.inode("dir/sub1/inner") + inode::LINKS, &[Half(0), Half(1), Half(0xffff)], Ends),
    Row("links of a directory", |c| c.inode("dir") + inode::LINKS, &[Half(0), Half(1), Half(2), Half(65_001)], Ends),
    Row("blocks of a file", |c| c.inode("deep") + inode::BLOCKS, &[Word(0), Word(1), Word(u32::MAX)], Ends),
    Row("time of deletion", |c| c.inode("file") + inode::DTIME, &[Word(1), Word(u32::MAX), Inode("file")], Ends),
    Row(
        "flags of a file",
        |c| c.inode("deep") + inode::FLAGS,
        &[
            Word(0),
            Bits(0x800),
            Bits(0x1000),
            Bits(0x4_0000),
            Bits(0x10_0000),
            Bits(0x20_0000),
            Bits(0x1000_0000),
            Word(!0),
        ],
        Ends,
    ),
    Row(
        "flags of a directory",
        |c| c.inode("crowd") + inode::FLAGS,
        &[Word(0), Word(0x8_0000), Bits(0x800), Bits(0x1000_0000), Bits(0x4000_0000), Word(!0)],
        Ends,
    ),
    Row("flags of the journal", |c| c.raw.inode(8) + inode::FLAGS, &[Word(0), Word(!0), Bits(0x1000_0000)], Ends),
    Row("flags of a symlink", |c| c.inode("fast") + inode::FLAGS, &[Bits(0x8_0000), Bits(0x800), Word(!0)], Ends),
    Row("attributes", |c| c.inode("file") + inode::FILE_ACL, TAKEN, Ends),
    Row("device", |c| c.inode("device") + inode::BLOCK, &[Word(u32::MAX)], Ends),
];

pub(super) const EXTENTS: &[Row] = &[
    Row("root's entries", |c| c.extents("deep") + 2, &[Half(0), Half(2), Half(4), Half(0xffff)], Ends),
    Row("root's room", |c| c.extents("deep") + 4, &[Half(0), Half(1), Half(3), Half(5), Half(0xffff)], Ends),
    Row("root's depth", |c| c.extents("deep") + 6, &[Half(0), Half(2), Half(5), Half(6), Half(0xffff)], Ends),
    Row("leaf's entries", |c| c.node("deep") + 2, &[Half(0), Half(1), Half(85), Half(0xffff)], Ends),
    Row("leaf's room", |c| c.node("deep") + 4, &[Half(0), Half(1), Half(83), Half(85), Half(0xffff)], Ends),
    Row("leaf's depth", |c| c.node("deep") + 6, &[Half(2), Half(5), Half(0xffff)], Fails("deep")),
    Row("root's first block", |c| c.extents("deep") + 12, &[Word(1), Word(u32::MAX)], Ends),
    Row("root's child", |c| c.extents("deep") + 16, TAKEN, Ends),
    Row("root's child, high", |c| c.extents("deep") + 20, &[Half(1), Half(0xffff)], Fails("deep")),
    Row("first extent's place in the file", |c| c.node("deep") + 12, &[Word(1), Word(1000), Word(u32::MAX)], Ends),
    Row("first extent's length", |c| c.node("deep") + 16, &[Half(2), Half(0x8000), Half(0x8001), Half(0xffff)], Ends),
    Row("first extent's place on the disk", |c| c.node("deep") + 20, TAKEN, Ends),
    Row("only extent's place on the disk", |c| c.extents("dir") + 20, TAKEN, Ends),
    Row("only extent's length", |c| c.extents("dir") + 16, &[Half(0), Half(2), Half(0x8001), Half(0xffff)], Ends),
    Row("journal's extent", |c| c.raw.inode(8) + inode::BLOCK + 20, TAKEN, Ends),
];

/// Lengths of an entry that it cannot have, and one that it can.
const LENGTHS: &[Put] = &[
    Half(0),
    Half(1),
    Half(4),
    Half(8),
    Half(11),
    Half(13),
    Half(16),
    Half(1020),
    Half(1028),
    Half(0xfffc),
    Half(0xffff),
];

pub(super) const DIRECTORIES: &[Row] = &[
    Row("length of '.'", |c| c.directory("dir"), &[Word(0), Word(8), Word(u32::MAX)], Ends),
    Row("length of the entry '.'", |c| c.directory("dir") + 4, LENGTHS, Ends),
    Row("length of the entry '..'", |c| c.directory("dir") + 16, LENGTHS, Ends),
    Row("length of an entry", |c| c.entry("dir", "sub1") + 4, LENGTHS, Ends),
    Row("length of a name", |c| c.entry("dir", "sub2") + 6, &[Byte(0), Byte(1), Byte(5), Byte(9), Byte(255)], Ends),
    Row("type of an entry", |c| c.entry("dir", "sub1") + 7, &[Byte(0), Byte(1), Byte(7), Byte(8), Byte(0xde)], Ends),
    Row(
        "inode of an entry",
        |c| c.entry("dir", "sub2"),
        &[Word(1), Word(7), Word(8), Word(10), Word(u32::MAX), Inode("dir"), Inode("file"), Inode("fast")],
        Ends,
    ),
    Row("parent", |c| c.directory("dir/sub1") + 12, &[Word(0), Word(8), Inode("dir/sub1"), Inode("file")], Ends),
    Row("zero of an index", |c| c.directory("crowd") + 0x18, &[Word(1), Word(u32::MAX)], Ends),
    Row("hash of an index", |c| c.directory("crowd") + 0x1c, &[Byte(0), Byte(3), Byte(5), Byte(6), Byte(255)], Ends),
    Row("header of an index", |c| c.directory("crowd") + 0x1d, &[Byte(0), Byte(7), Byte(9), Byte(255)], Ends),
    Row("levels of an index", |c| c.directory("crowd") + 0x1e, &[Byte(2), Byte(3), Byte(255)], Ends),
    Row("room of an index", |c| c.directory("crowd") + 0x20, &[Half(0), Half(1), Half(125), Half(0xffff)], Ends),
    Row("entries of an index", |c| c.directory("crowd") + 0x22, &[Half(1), Half(2), Half(125), Half(0xffff)], Ends),
    Row("first block of an index", |c| c.directory("crowd") + 0x24, &[Word(0), Word(2), Word(u32::MAX)], Ends),
    Row("second hash of an index", |c| c.directory("crowd") + 0x28, &[Word(0), Word(1), Word(u32::MAX)], Ends),
    Row("second block of an index", |c| c.directory("crowd") + 0x2c, &[Word(0), Word(1), Word(!0)], Ends),
];

pub(super) const ATTRIBUTES: &[Row] = &[
    Row("magic", |c| c.attributes("crowd"), &[Word(0), Word(0xea01_0000)], Fails("crowd")),
    Row("references", |c| c.attributes("crowd") + 4, &[Word(2), Word(1024), Word(1025), Word(u32::MAX)], Ends),
    Row("blocks", |c| c.attributes("crowd") + 8, &[Word(0), Word(u32::MAX)], Fails("crowd")),
    Row("hash", |c| c.attributes("crowd") + 12, &[Word(0), Word(u32::MAX)], Ends),
    Row("length of a name", |c| c.attributes("crowd") + 32, &[Byte(0), Byte(1), Byte(200), Byte(255)], Ends),
    Row("class", |c| c.attributes("crowd") + 33, &[Byte(0), Byte(2), Byte(3), Byte(8), Byte(255)], Ends),
    Row(
        "place of a value",
        |c| c.attributes("crowd") + 34,
        &[Half(0), Half(1), Half(31), Half(40), Half(1000), Half(1023), Half(1024), Half(0xffff)],
        Ends,
    ),
    Row("inode of a value", |c| c.attributes("crowd") + 36, &[Word(1), Word(u32::MAX), Inode("file")], Ends),
    Row("length of a value", |c| c.attributes("crowd") + 40, &[Word(0), Word(1024), Word(0x1_0000), Word(!0)], Ends),
    Row("hash of a value", |c| c.attributes("crowd") + 44, &[Word(0), Word(u32::MAX)], Ends),
];

/// Of an image with inodes of 256 bytes.
pub(super) const LARGE_INODES: &[Row] = &[
    Row(
        "extra size",
        |c| c.inode("file") + 128,
        &[
            Half(0),
            Half(1),
            Half(3),
            Half(4),
            Half(28),
            Half(31),
            Half(36),
            Half(124),
            Half(128),
            Half(129),
            Half(0xffff),
        ],
        Ends,
    ),
    Row("magic in an inode", |c| c.inode("file") + 160, &[Word(0), Word(0xea01_0000)], Ends),
    Row("length of a name in an inode", |c| c.inode("file") + 164, &[Byte(0), Byte(70), Byte(255)], Ends),
    Row("class in an inode", |c| c.inode("file") + 165, &[Byte(0), Byte(8), Byte(255)], Ends),
    Row(
        "place of a value in an inode",
        |c| c.inode("file") + 166,
        &[Half(0), Half(1), Half(90), Half(92), Half(96), Half(0xffff)],
        Ends,
    ),
    Row("inode of a value in an inode", |c| c.inode("file") + 168, &[Word(1), Word(u32::MAX)], Ends),
    Row("length of a value in an inode", |c| c.inode("file") + 172, &[Word(93), Word(0x1_0000), Word(!0)], Ends),
    Row("extra bits of a time", |c| c.inode("file") + 0x84, &[Word(u32::MAX), Word(0xffff_fffc)], Ends),
];
