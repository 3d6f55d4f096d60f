//! The bytes of an image, edited by hand: for images without metadata checksums (see [`super::disk::OLD`]).

use std::sync::Arc;

use block::{BlockDevice, MemoryDisk, SECTOR_SIZE};

/// Offsets in the superblock.
pub mod sb {
    pub const AT: usize = 1024;
    pub const FREE_BLOCKS: usize = AT + 0xc;
    pub const FREE_INODES: usize = AT + 0x10;
    pub const STATE: usize = AT + 0x3a;
    pub const COMPAT: usize = AT + 0x5c;
    pub const INCOMPAT: usize = AT + 0x60;
    pub const RO_COMPAT: usize = AT + 0x64;
    pub const JOURNAL_UUID: usize = AT + 0xd0;
    pub const JOURNAL_INUM: usize = AT + 0xe0;
    pub const JOURNAL_DEV: usize = AT + 0xe4;
    pub const LAST_ORPHAN: usize = AT + 0xe8;
    pub const CHECKSUM: usize = AT + 0x3fc;
    /// The bit of [`RO_COMPAT`] for checksums of metadata.
    pub const METADATA_CSUM: u32 = 0x400;
}

/// Offsets in an inode.
pub mod inode {
    pub const MODE: usize = 0;
    pub const SIZE: usize = 4;
    pub const DTIME: usize = 0x14;
    pub const LINKS: usize = 0x1a;
    pub const BLOCKS: usize = 0x1c;
    pub const FLAGS: usize = 0x20;
    pub const BLOCK: usize = 0x28;
    pub const FILE_ACL: usize = 0x68;
    pub const SIZE_HIGH: usize = 0x6c;
}

/// Offsets in a group descriptor.
pub mod group {
    pub const BLOCK_BITMAP: usize = 0;
    pub const INODE_BITMAP: usize = 4;
    pub const INODE_TABLE: usize = 8;
    pub const FREE_BLOCKS: usize = 12;
    pub const FREE_INODES: usize = 14;
    pub const FLAGS: usize = 18;
}

/// An image in memory, and where things are in it.
#[derive(Clone)]
pub struct Raw {
    pub bytes: Vec<u8>,
    pub block_size: usize,
    pub inode_size: usize,
    pub inodes_per_group: u32,
    pub groups: u32,
    desc_size: usize,
    first_data_block: usize,
}

impl Raw {
    /// The image of a disk that holds an ext4 filesystem.
    pub fn of(disk: &MemoryDisk) -> Self {
        let bytes = disk.to_image();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[sb::AT + at..][..4].try_into().expect("four bytes"));
        let u16_at = |at: usize| u16::from_le_bytes(bytes[sb::AT + at..][..2].try_into().expect("two bytes"));
        let inodes_per_group = u32_at(0x28);
        let bit64 = u32_at(0x60) & 0x80 != 0;
        Self {
            block_size: 1024 << u32_at(0x18),
            inode_size: usize::from(u16_at(0x58)),
            inodes_per_group,
            groups: u32_at(0) / inodes_per_group,
            desc_size: if bit64 { usize::from(u16_at(0xfe)) } else { 32 },
            first_data_block: u32_at(0x14) as usize,
            bytes,
        }
    }

    /// A disk with these bytes.
    pub fn disk(&self) -> Arc<MemoryDisk> {
        Arc::new(MemoryDisk::from_image(&self.bytes))
    }

    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..][..2].try_into().expect("two bytes"))
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..][..4].try_into().expect("four bytes"))
    }

    pub fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Where a block begins.
    pub fn block(&self, block: u32) -> usize {
        block as usize * self.block_size
    }

    /// Where a group's descriptor begins.
    pub fn group(&self, group: u32) -> usize {
        (self.first_data_block + 1) * self.block_size + group as usize * self.desc_size
    }

    /// Where an inode's record begins.
    pub fn inode(&self, ino: u64) -> usize {
        let index = ino as u32 - 1;
        let table = self.u32(self.group(index / self.inodes_per_group) + group::INODE_TABLE);
        self.block(table) + (index % self.inodes_per_group) as usize * self.inode_size
    }

    /// The block of a file, through its extents.
    pub fn file_block(&self, ino: u64, logical: u32) -> u32 {
        let mut node = self.inode(ino) + inode::BLOCK;
        loop {
            assert_eq!(self.u16(node), 0xf30a, "an extent node");
            let entries = usize::from(self.u16(node + 2));
            let depth = self.u16(node + 6);
            let first = |index: usize| node + 12 + index * 12;
            let index = (0..entries).rev().find(|&index| self.u32(first(index)) <= logical).expect("a mapped block");
            let entry = first(index);
            if depth == 0 {
                return self.u32(entry + 8) + logical - self.u32(entry);
            }
            node = self.block(self.u32(entry + 4));
        }
    }

    /// The first leaf block of a file whose extent tree has any.
    pub fn extent_leaf(&self, ino: u64) -> u32 {
        let mut node = self.inode(ino) + inode::BLOCK;
        assert!(self.u16(node + 6) > 0, "the extent tree has depth");
        loop {
            let block = self.u32(node + 12 + 4);
            node = self.block(block);
            if self.u16(node + 6) == 0 {
                return block;
            }
        }
    }

    /// Where the entry `name` of a directory begins.
    pub fn dir_entry(&self, dir: u64, name: &[u8]) -> usize {
        let blocks = self.u32(self.inode(dir) + inode::SIZE) as usize / self.block_size;
        for logical in 0..blocks {
            let start = self.block(self.file_block(dir, logical as u32));
            let mut at = start;
            while at < start + self.block_size {
                let (rec_len, name_len) = (usize::from(self.u16(at + 4)), usize::from(self.bytes[at + 6]));
                if self.u32(at) != 0 && &self.bytes[at + 8..at + 8 + name_len] == name {
                    return at;
                }
                at += rec_len.max(8);
            }
        }
        panic!("no entry {}", name.escape_ascii());
    }
}

/// A copy of a disk whose superblock has the checksum of its bytes, if it has any.
pub fn with_superblock_checksum(disk: &MemoryDisk) -> MemoryDisk {
    let disk = disk.snapshot();
    let sector = (sb::AT / SECTOR_SIZE) as u64;
    let mut bytes = [0; 1024];
    disk.read(sector, &mut bytes).expect("a disk in memory is read");
    let (features, checksum) = (sb::RO_COMPAT - sb::AT, sb::CHECKSUM - sb::AT);
    if u32::from_le_bytes(bytes[features..features + 4].try_into().expect("four bytes")) & sb::METADATA_CSUM != 0 {
        let sum = crc32c(&bytes[..checksum]);
        bytes[checksum..].copy_from_slice(&sum.to_le_bytes());
        disk.write(sector, &bytes).expect("a disk in memory takes writes");
    }
    disk
}

/// The CRC-32C that ext4 keeps: begun with all ones and not inverted at the end; bit by bit, not by the tables under test.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82f6_3b78 })
    })
}
