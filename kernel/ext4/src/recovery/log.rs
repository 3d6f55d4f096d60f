//! The journal as a ring of blocks, and its superblock.

use alloc::vec;
use alloc::vec::Vec;

use block::{BlockDevice, Io, SECTOR_SIZE};

use super::JournalMap;
use crate::bytes::{be32, put_be32};
use crate::checksum::crc32c;
use crate::error::MountError;

/// `h_magic` of every block that is not data.
pub(super) const MAGIC: u32 = 0xc03b_3998;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;

// Offsets of the superblock's fields.
const BLOCK_TYPE: usize = 0x4;
const BLOCK_SIZE: usize = 0xc;
const MAX_LEN: usize = 0x10;
const FIRST: usize = 0x14;
const SEQUENCE: usize = 0x18;
const START: usize = 0x1c;
const ERRNO: usize = 0x20;
const COMPAT: usize = 0x24;
const INCOMPAT: usize = 0x28;
const RO_COMPAT: usize = 0x2c;
const UUID: usize = 0x30;
const CHECKSUM_TYPE: usize = 0x50;
const CHECKSUM: usize = 0xfc;
const SUPERBLOCK_SIZE: usize = 1024;

const COMPAT_CHECKSUM: u32 = 0x1;
const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_KNOWN: u32 =
    INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_ASYNC_COMMIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;

/// How a journal checks itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    /// Not at all.
    None,
    /// CRC-32 of a whole transaction in its commit block.
    Transaction,
    /// CRC-32C of every block, 16 bits of it in a tag.
    V2,
    /// CRC-32C of every block.
    V3,
}

impl Checksums {
    /// Whether each block has a checksum of its own.
    pub(super) fn of_blocks(self) -> bool {
        matches!(self, Self::V2 | Self::V3)
    }
}

/// An open journal.
pub(super) struct Log<'a> {
    device: &'a dyn BlockDevice,
    map: &'a JournalMap,
    superblock: Vec<u8>,
    pub(super) block_size: usize,
    /// First block of the ring and the one after its last.
    pub(super) first: u32,
    pub(super) end: u32,
    /// Where the log begins; 0 if it is empty.
    pub(super) start: u32,
    /// Number of the first transaction.
    pub(super) sequence: u32,
    pub(super) errno: i32,
    pub(super) is_64bit: bool,
    pub(super) checksums: Checksums,
    /// Seed of the checksums of blocks.
    pub(super) seed: u32,
}

impl<'a> Log<'a> {
    pub(super) fn open(
        device: &'a dyn BlockDevice,
        map: &'a JournalMap,
        block_size: usize,
    ) -> Result<Self, MountError> {
        let mut log = Log {
            device,
            map,
            superblock: vec![0; block_size],
            block_size,
            first: 0,
            end: 0,
            start: 0,
            sequence: 0,
            errno: 0,
            is_64bit: false,
            checksums: Checksums::None,
            seed: 0,
        };
        let mut superblock = vec![0; block_size];
        log.read(0, &mut superblock)?;
        let sb = &superblock[..SUPERBLOCK_SIZE];
        let kind = be32(sb, BLOCK_TYPE);
        if be32(sb, 0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(MountError::Journal("it has no superblock"));
        }
        if be32(sb, BLOCK_SIZE) as usize != block_size {
            return Err(MountError::Journal("its block size is not the filesystem's"));
        }
        // The first version has no feature fields.
        let features = |at| if kind == SUPERBLOCK_V2 { be32(sb, at) } else { 0 };
        let incompat = features(INCOMPAT);
        if features(RO_COMPAT) != 0 || incompat & !(INCOMPAT_KNOWN | INCOMPAT_FAST_COMMIT) != 0 {
            return Err(MountError::Journal("it has unknown features"));
        }
        let v2 = incompat & INCOMPAT_CSUM_V2 != 0;
        let v3 = incompat & INCOMPAT_CSUM_V3 != 0;
        log.checksums = match (v2, v3) {
            (true, true) => return Err(MountError::Journal("it has two kinds of checksums")),
            (false, true) => Checksums::V3,
            (true, false) => Checksums::V2,
            (false, false) if features(COMPAT) & COMPAT_CHECKSUM != 0 => Checksums::Transaction,
            (false, false) => Checksums::None,
        };
        if log.checksums.of_blocks() && (sb[CHECKSUM_TYPE] != 4 || be32(sb, CHECKSUM) != superblock_checksum(sb)) {
            return Err(MountError::Journal("the checksum of its superblock is wrong"));
        }
        log.seed = crc32c(!0, &sb[UUID..UUID + 16]);
        log.is_64bit = incompat & INCOMPAT_64BIT != 0;
        log.errno = be32(sb, ERRNO) as i32;
        (log.first, log.end) = (be32(sb, FIRST), be32(sb, MAX_LEN));
        (log.start, log.sequence) = (be32(sb, START), be32(sb, SEQUENCE));
        if log.start != 0 {
            let whole = log.map.extents.last().is_some_and(|last| last.logical + last.blocks >= log.end);
            if !whole || log.first == 0 || log.first >= log.end || !(log.first..log.end).contains(&log.start) {
                return Err(MountError::Journal("its superblock names blocks outside of it"));
            }
            if incompat & INCOMPAT_FAST_COMMIT != 0 {
                return Err(MountError::Journal("it may hold fast commits, which are not supported: run e2fsck"));
            }
        }
        log.superblock = superblock;
        Ok(log)
    }

    /// The block `count` places after `block` on the ring.
    pub(super) fn advance(&self, block: u32, count: u32) -> u32 {
        let ring = u64::from(self.end - self.first);
        self.first + ((u64::from(block - self.first) + u64::from(count)) % ring) as u32
    }

    /// Reads consecutive blocks of the journal, not past the end of the ring.
    pub(super) fn read(&self, logical: u32, buf: &mut [u8]) -> Result<(), MountError> {
        let mut batch = Vec::new();
        let mut at = logical;
        let mut rest = buf;
        while !rest.is_empty() {
            let (physical, run) =
                self.map.physical(at).ok_or(MountError::Journal("its file is shorter than its superblock says"))?;
            let blocks = (run as usize).min(rest.len() / self.block_size).max(1);
            let (piece, after) = rest.split_at_mut(blocks * self.block_size);
            batch.push(Io::Read { sector: self.sector(physical), buf: piece });
            rest = after;
            at += blocks as u32;
        }
        Ok(self.device.transfer(&mut batch)?)
    }

    /// Writes blocks of the filesystem, by number.
    pub(super) fn write_home(&self, blocks: &[(u64, &[u8])]) -> Result<(), MountError> {
        let mut batch: Vec<_> =
            blocks.iter().map(|&(block, data)| Io::Write { sector: self.sector(block), data }).collect();
        Ok(self.device.transfer(&mut batch)?)
    }

    /// Makes durable what was written, then marks the log as empty.
    pub(super) fn mark_empty(&mut self, sequence: u32) -> Result<(), MountError> {
        self.device.flush()?;
        let sb = &mut self.superblock[..SUPERBLOCK_SIZE];
        put_be32(sb, START, 0);
        put_be32(sb, SEQUENCE, sequence);
        if self.checksums.of_blocks() {
            let sum = superblock_checksum(sb);
            put_be32(sb, CHECKSUM, sum);
        }
        let (physical, _) = self.map.physical(0).ok_or(MountError::Journal("its file is empty"))?;
        self.device.write(self.sector(physical), &self.superblock)?;
        self.device.flush()?;
        Ok(())
    }

    fn sector(&self, block: u64) -> u64 {
        block.saturating_mul((self.block_size / SECTOR_SIZE) as u64)
    }
}

fn superblock_checksum(sb: &[u8]) -> u32 {
    let sum = crc32c(!0, &sb[..CHECKSUM]);
    crc32c(crc32c(sum, &[0; 4]), &sb[CHECKSUM + 4..SUPERBLOCK_SIZE])
}
