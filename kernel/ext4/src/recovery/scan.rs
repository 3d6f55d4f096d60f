//! One walk along the log: which version of which block is the last one committed.

use alloc::vec;
use alloc::vec::Vec;

use base::{Errno, Error};
use hashbrown::HashMap;

use super::log::Log;
use crate::bytes::{be16, be32};
use crate::checksum::crc32_be;
use crate::error::MountError;
use crate::journal::format::{
    COMMIT, COMMIT_SECS, COMMIT_SUM, Checksums, DESCRIPTOR, ESCAPED, HEADER, LAST, MAGIC, REVOKE, REVOKE_HEADER,
    SAME_UUID, UUID_SIZE,
};

/// How many blocks are read ahead of the walk.
const WINDOW: u32 = 32;

/// A version of a block in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version {
    /// Where it lies in the journal.
    pub(super) at: u32,
    /// The transaction it belongs to.
    pub(super) sequence: u32,
    /// Checksum in its tag: 32 bits, or 16.
    pub(super) checksum: u32,
    /// Whether its first four bytes, the journal's magic, were replaced by zeros.
    pub(super) escaped: bool,
}

/// What the log holds.
#[derive(Default)]
pub(super) struct Found {
    /// Number of the first transaction that was not committed.
    pub(super) end: u32,
    /// The last version of every block.
    pub(super) blocks: HashMap<u64, Version>,
    /// The last transaction in which a block was revoked: older versions are stale.
    pub(super) revoked: HashMap<u64, u32>,
}

/// A transaction whose commit block was not met yet.
struct Pending {
    versions: Vec<(u64, Version)>,
    revoked: Vec<u64>,
    /// CRC-32 of all its blocks, where the journal has it.
    sum: u32,
    /// A block of it has a wrong checksum: stale, or corrupt if a later commit follows.
    doubtful: bool,
}

impl Pending {
    fn new() -> Self {
        Self { versions: Vec::new(), revoked: Vec::new(), sum: !0, doubtful: false }
    }
}

/// Reads the log from its start to the last commit that holds.
pub(super) fn scan(log: &mut Log<'_>) -> Result<Found, MountError> {
    let mut found = Found { end: log.sb.sequence, ..Found::default() };
    let mut pending = Pending::new();
    let mut window = Window::default();
    let mut at = log.sb.start;
    let mut last_commit_time = 0;
    // A log cannot be longer than the ring; a hostile one may claim to be.
    let mut left = log.sb.end - log.sb.first;
    while left > 0 {
        let block = window.block(log, at)?;
        if be32(block, 0) != MAGIC || be32(block, 8) != found.end {
            break;
        }
        let mut blocks = 1;
        match be32(block, 4) {
            DESCRIPTOR => {
                if !tail_is_right(log, block) {
                    pending.doubtful = true;
                }
                if log.sb.checksums == Checksums::Transaction {
                    pending.sum = crc32_be(pending.sum, block);
                }
                let tags = tags(log, block, at)?;
                for (index, &(home, version)) in tags.iter().enumerate() {
                    let version = Version { at: log.sb.advance(at, 1 + index as u32), sequence: found.end, ..version };
                    if log.sb.checksums == Checksums::Transaction {
                        pending.sum = crc32_be(pending.sum, window.block(log, version.at)?);
                    }
                    reserve(&mut pending.versions)?;
                    pending.versions.push((home, version));
                }
                blocks += tags.len() as u32;
            }
            REVOKE => {
                if tail_is_right(log, block) {
                    revocations(log, block, &mut pending.revoked)?;
                } else {
                    pending.doubtful = true;
                }
            }
            COMMIT => {
                let time = u64::from(be32(block, COMMIT_SECS)) << 32 | u64::from(be32(block, COMMIT_SECS + 4));
                if !commit_is_right(log, block, &pending) {
                    log::warn!("ext4: the journal's last transaction, {}, is incomplete and dropped", found.end);
                    break;
                }
                if pending.doubtful {
                    if time >= last_commit_time {
                        return Err(MountError::Journal("a committed transaction in it has a wrong checksum"));
                    }
                    break;
                }
                last_commit_time = time;
                commit(&mut found, core::mem::replace(&mut pending, Pending::new()))?;
            }
            _ => break,
        }
        at = log.sb.advance(at, blocks);
        left = left.saturating_sub(blocks);
    }
    Ok(found)
}

/// Takes over a whole transaction.
fn commit(found: &mut Found, transaction: Pending) -> Result<(), MountError> {
    let sequence = found.end;
    let full = |_| MountError::Device(Error::new(Errno::ENOMEM, "memory to read the journal"));
    found.blocks.try_reserve(transaction.versions.len()).map_err(full)?;
    found.revoked.try_reserve(transaction.revoked.len()).map_err(full)?;
    found.blocks.extend(transaction.versions);
    found.revoked.extend(transaction.revoked.into_iter().map(|block| (block, sequence)));
    found.end = sequence.wrapping_add(1);
    Ok(())
}

/// The tags of a descriptor block: block numbers with checksum and flag.
fn tags(log: &Log<'_>, block: &[u8], at: u32) -> Result<Vec<(u64, Version)>, MountError> {
    let v3 = log.sb.checksums == Checksums::V3;
    let (size, end) = (log.sb.tag_size(), log.sb.tail());
    let mut tags = Vec::new();
    let mut from = HEADER;
    while from + size <= end {
        let tag = &block[from..from + size];
        let (flags, checksum, high) = if v3 {
            (be32(tag, 4), be32(tag, 12), be32(tag, 8))
        } else {
            let high = if log.sb.is_64bit { be32(tag, 8) } else { 0 };
            (u32::from(be16(tag, 6)), u32::from(be16(tag, 4)), high)
        };
        let high = if log.sb.is_64bit { high } else { 0 };
        let home = u64::from(high) << 32 | u64::from(be32(tag, 0));
        reserve(&mut tags)?;
        tags.push((home, Version { at, sequence: 0, checksum, escaped: flags & ESCAPED != 0 }));
        from += size + if flags & SAME_UUID != 0 { 0 } else { UUID_SIZE };
        if flags & LAST != 0 {
            break;
        }
    }
    Ok(tags)
}

fn revocations(log: &Log<'_>, block: &[u8], revoked: &mut Vec<u64>) -> Result<(), MountError> {
    let used = (be32(block, HEADER) as usize).min(log.sb.tail());
    let size = log.sb.revoked_size();
    let mut from = REVOKE_HEADER;
    while from + size <= used {
        reserve(revoked)?;
        revoked.push(match log.sb.is_64bit {
            true => u64::from(be32(block, from)) << 32 | u64::from(be32(block, from + 4)),
            false => u64::from(be32(block, from)),
        });
        from += size;
    }
    Ok(())
}

/// The checksum in the last four bytes of a descriptor or revoke block.
fn tail_is_right(log: &Log<'_>, block: &[u8]) -> bool {
    !log.sb.checksums.of_blocks() || log.sb.tail_sum(block) == be32(block, block.len() - 4)
}

fn commit_is_right(log: &Log<'_>, block: &[u8], transaction: &Pending) -> bool {
    match log.sb.checksums {
        Checksums::None => true,
        Checksums::V2 | Checksums::V3 => log.sb.commit_sum(block) == be32(block, COMMIT_SUM),
        Checksums::Transaction => {
            // A writer without checksums leaves type, size and sum at zero.
            let (kind, size, sum) = (block[HEADER], block[HEADER + 1], be32(block, COMMIT_SUM));
            (kind, size, sum) == (0, 0, 0) || (kind, size, sum) == (1, 4, transaction.sum)
        }
    }
}

fn reserve<T>(vec: &mut Vec<T>) -> Result<(), MountError> {
    vec.try_reserve(1).map_err(|_| MountError::Device(Error::new(Errno::ENOMEM, "memory to read the journal")))
}

/// A few blocks of the log in memory.
#[derive(Default)]
struct Window {
    first: u32,
    blocks: u32,
    bytes: Vec<u8>,
}

impl Window {
    fn block(&mut self, log: &Log<'_>, at: u32) -> Result<&[u8], MountError> {
        if !(self.first..self.first + self.blocks).contains(&at) {
            self.blocks = WINDOW.min(log.sb.end - at);
            self.first = at;
            let length = self.blocks as usize * log.block_size;
            if self.bytes.len() < length {
                self.bytes = vec![0; length];
            }
            log.read(at, &mut self.bytes[..length])?;
        }
        let from = (at - self.first) as usize * log.block_size;
        Ok(&self.bytes[from..from + log.block_size])
    }
}
