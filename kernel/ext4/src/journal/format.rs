//! The bytes of jbd2: its superblock, and the fields of its blocks, for [recovery](crate::recovery) and for [writing](super).
//!
//! All fields are big-endian. Source: the kernel's `Documentation/filesystems/ext4/journal.rst`.

use alloc::vec::Vec;

use crate::bytes::{be32, put, put_be32, put8};
use crate::checksum::crc32c;
use crate::error::MountError;

/// `h_magic` of every block that is not data.
pub(crate) const MAGIC: u32 = 0xc03b_3998;
/// `h_blocktype` of a block of tags, of one that ends a transaction, and of one of revoked blocks.
pub(crate) const DESCRIPTOR: u32 = 1;
pub(crate) const COMMIT: u32 = 2;
pub(crate) const REVOKE: u32 = 5;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;

/// Size of the header of a block, and of that of a revoke block.
pub(crate) const HEADER: usize = 12;
pub(crate) const REVOKE_HEADER: usize = 16;
/// Offsets of a commit block's checksum and time.
pub(crate) const COMMIT_SUM: usize = 0x10;
pub(crate) const COMMIT_SECS: usize = 0x30;
pub(crate) const COMMIT_NANOS: usize = 0x38;

/// Flags of a tag: the block's first four bytes, which are the magic, were replaced by zeros;
pub(crate) const ESCAPED: u32 = 1;
/// no UUID follows;
pub(crate) const SAME_UUID: u32 = 2;
/// it is the last one of its block.
pub(crate) const LAST: u32 = 8;
/// The UUID behind a block's first tag.
pub(crate) const UUID_SIZE: usize = 16;

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
const CRC32C: u8 = 4;

const COMPAT_CHECKSUM: u32 = 0x1;
const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
const INCOMPAT_KNOWN: u32 = INCOMPAT_REVOKE
    | INCOMPAT_64BIT
    | INCOMPAT_ASYNC_COMMIT
    | INCOMPAT_CSUM_V2
    | INCOMPAT_CSUM_V3
    | INCOMPAT_FAST_COMMIT;

/// How a journal checks itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksums {
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
    pub(crate) fn of_blocks(self) -> bool {
        matches!(self, Self::V2 | Self::V3)
    }
}

/// The superblock of a journal, checked.
pub(crate) struct JournalSuperblock {
    bytes: Vec<u8>,
    /// First block of the ring and the one after its last.
    pub(crate) first: u32,
    pub(crate) end: u32,
    /// Where the log begins; 0 if it is empty.
    pub(crate) start: u32,
    /// Number of the first transaction.
    pub(crate) sequence: u32,
    /// The errno that an earlier mount left, 0 for none.
    pub(crate) errno: i32,
    pub(crate) is_64bit: bool,
    pub(crate) checksums: Checksums,
    /// Seed of the checksums of blocks.
    pub(crate) seed: u32,
}

impl JournalSuperblock {
    /// Checks the block `bytes` of a journal whose file has `blocks` blocks.
    ///
    /// # Errors
    /// [`MountError::Journal`], [`MountError::JournalFeatures`].
    pub(crate) fn parse(bytes: Vec<u8>, blocks: u32) -> Result<Self, MountError> {
        let sb = bytes.get(..SUPERBLOCK_SIZE).ok_or(MountError::Journal("it has no superblock"))?;
        let kind = be32(sb, BLOCK_TYPE);
        if be32(sb, 0) != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return Err(MountError::Journal("it has no superblock"));
        }
        if be32(sb, BLOCK_SIZE) as usize != bytes.len() {
            return Err(MountError::Journal("its block size is not the filesystem's"));
        }
        // The first version has no feature fields.
        let features = |at| if kind == SUPERBLOCK_V2 { be32(sb, at) } else { 0 };
        let incompat = features(INCOMPAT);
        let unknown = incompat & !INCOMPAT_KNOWN;
        if features(RO_COMPAT) != 0 || unknown != 0 {
            return Err(MountError::JournalFeatures { incompat: unknown, ro_compat: features(RO_COMPAT) });
        }
        let v2 = incompat & INCOMPAT_CSUM_V2 != 0;
        let v3 = incompat & INCOMPAT_CSUM_V3 != 0;
        let checksums = match (v2, v3) {
            (true, true) => return Err(MountError::Journal("it has two kinds of checksums")),
            (false, true) => Checksums::V3,
            (true, false) => Checksums::V2,
            (false, false) if features(COMPAT) & COMPAT_CHECKSUM != 0 => Checksums::Transaction,
            (false, false) => Checksums::None,
        };
        if checksums.of_blocks() && (sb[CHECKSUM_TYPE] != CRC32C || be32(sb, CHECKSUM) != superblock_checksum(sb)) {
            return Err(MountError::Journal("the checksum of its superblock is wrong"));
        }
        let (first, end) = (be32(sb, FIRST), be32(sb, MAX_LEN));
        let (start, sequence) = (be32(sb, START), be32(sb, SEQUENCE));
        let outside = start != 0 && !(first..end).contains(&start);
        if end > blocks || first == 0 || first >= end || outside {
            return Err(MountError::Journal("its superblock names blocks outside of it"));
        }
        if start != 0 && incompat & INCOMPAT_FAST_COMMIT != 0 {
            return Err(MountError::Journal("it may hold fast commits, which are not supported: run e2fsck"));
        }
        let seed = crc32c(!0, &sb[UUID..UUID + UUID_SIZE]);
        let errno = be32(sb, ERRNO) as i32;
        let is_64bit = incompat & INCOMPAT_64BIT != 0;
        Ok(Self { bytes, first, end, start, sequence, errno, is_64bit, checksums, seed })
    }

    /// Chooses what an empty journal is written with, as Linux does: revocation always, checksums of every block where the
    /// filesystem has checksums, wide block numbers where it has those. What needs a reader's special care is switched off:
    /// sums of whole transactions, commit blocks that do not wait for theirs, fast commits.
    ///
    /// # Errors
    /// [`MountError::Journal`] for the version that knows no features.
    pub(crate) fn choose_features(&mut self, has_checksums: bool, is_64bit: bool) -> Result<(), MountError> {
        if be32(&self.bytes, BLOCK_TYPE) != SUPERBLOCK_V2 {
            return Err(MountError::Journal("it is of the first version, which cannot revoke blocks"));
        }
        let mut incompat = be32(&self.bytes, INCOMPAT) | INCOMPAT_REVOKE;
        incompat &= !(INCOMPAT_ASYNC_COMMIT | INCOMPAT_FAST_COMMIT);
        if has_checksums && !self.checksums.of_blocks() {
            incompat |= INCOMPAT_CSUM_V3;
            self.checksums = Checksums::V3;
        }
        if !self.checksums.of_blocks() {
            self.checksums = Checksums::None;
        }
        if is_64bit {
            incompat |= INCOMPAT_64BIT;
            self.is_64bit = true;
        }
        let compat = be32(&self.bytes, COMPAT) & !COMPAT_CHECKSUM;
        put_be32(&mut self.bytes, COMPAT, compat);
        put_be32(&mut self.bytes, INCOMPAT, incompat);
        put8(&mut self.bytes, CHECKSUM_TYPE, if self.checksums.of_blocks() { CRC32C } else { 0 });
        Ok(())
    }

    /// The block's size.
    pub(crate) fn block_size(&self) -> usize {
        self.bytes.len()
    }

    /// What goes behind a block's first tag.
    pub(crate) fn uuid(&self) -> &[u8] {
        &self.bytes[UUID..UUID + UUID_SIZE]
    }

    /// The block with the log's start and number, and an errno, as it goes to the disk.
    pub(crate) fn encode(&mut self) -> &[u8] {
        let sb = &mut self.bytes[..SUPERBLOCK_SIZE];
        put_be32(sb, START, self.start);
        put_be32(sb, SEQUENCE, self.sequence);
        put_be32(sb, ERRNO, self.errno as u32);
        if self.checksums.of_blocks() {
            let sum = superblock_checksum(sb);
            put_be32(sb, CHECKSUM, sum);
        }
        &self.bytes
    }

    /// The block `count` places after `block` on the ring.
    pub(crate) fn advance(&self, block: u32, count: u32) -> u32 {
        let ring = u64::from(self.end - self.first);
        self.first + ((u64::from(block - self.first) + u64::from(count)) % ring) as u32
    }

    /// Blocks of the ring.
    pub(crate) fn ring(&self) -> u32 {
        self.end - self.first
    }

    /// Size of a tag.
    pub(crate) fn tag_size(&self) -> usize {
        match (self.checksums, self.is_64bit) {
            (Checksums::V3, _) => 16,
            (Checksums::V2, true) => 14,
            (Checksums::V2, false) => 10,
            (_, true) => 12,
            (_, false) => 8,
        }
    }

    /// Size of the number of a revoked block.
    pub(crate) fn revoked_size(&self) -> usize {
        if self.is_64bit { 8 } else { 4 }
    }

    /// Where the tags or revoked blocks of a block end: before its checksum.
    pub(crate) fn tail(&self) -> usize {
        self.block_size() - if self.checksums.of_blocks() { 4 } else { 0 }
    }

    /// The checksum in the tail of a block.
    pub(crate) fn tail_sum(&self, block: &[u8]) -> u32 {
        let end = block.len() - 4;
        crc32c(crc32c(self.seed, &block[..end]), &[0; 4])
    }

    /// The checksum of a commit block.
    pub(crate) fn commit_sum(&self, block: &[u8]) -> u32 {
        let sum = crc32c(crc32c(self.seed, &block[..COMMIT_SUM]), &[0; 4]);
        crc32c(sum, &block[COMMIT_SUM + 4..])
    }

    /// The checksum of a block in the log for its tag, of 32 bits or 16.
    pub(crate) fn data_sum(&self, sequence: u32, block: &[u8]) -> u32 {
        let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), block);
        if self.checksums == Checksums::V3 { sum } else { sum & 0xffff }
    }
}

/// Puts the header of a block of the log.
pub(crate) fn put_header(block: &mut [u8], kind: u32, sequence: u32) {
    put_be32(block, 0, MAGIC);
    put_be32(block, 4, kind);
    put_be32(block, 8, sequence);
}

/// Puts a tag of the right size at `at`.
pub(crate) fn put_tag(block: &mut [u8], at: usize, sb: &JournalSuperblock, home: u64, flags: u32, sum: u32) {
    put_be32(block, at, home as u32);
    if sb.checksums == Checksums::V3 {
        put_be32(block, at + 4, flags);
        put_be32(block, at + 8, (home >> 32) as u32);
        put_be32(block, at + 12, sum);
        return;
    }
    let sum = if sb.checksums.of_blocks() { sum as u16 } else { 0 };
    put(block, at + 4, &sum.to_be_bytes());
    put(block, at + 6, &(flags as u16).to_be_bytes());
    if sb.is_64bit {
        put_be32(block, at + 8, (home >> 32) as u32);
    }
}

fn superblock_checksum(sb: &[u8]) -> u32 {
    let sum = crc32c(!0, &sb[..CHECKSUM]);
    crc32c(crc32c(sum, &[0; 4]), &sb[CHECKSUM + 4..SUPERBLOCK_SIZE])
}
