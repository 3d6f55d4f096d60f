//! Writing the last committed versions to their places.

use alloc::vec;
use alloc::vec::Vec;

use super::log::{Checksums, Log, MAGIC};
use super::scan::{Found, Version};
use crate::checksum::crc32c;
use crate::error::MountError;

/// How many blocks are read and written at a time.
const BATCH: usize = 64;

/// Verifies every block, then writes them in the order of the disk. Returns how many.
pub(super) fn replay(log: &mut Log<'_>, found: &Found, fs_blocks: u64) -> Result<usize, MountError> {
    let stale = |home: &u64, version: &Version| {
        // Transaction numbers wrap: they are compared as jbd2 compares them.
        found.revoked.get(home).is_some_and(|&revoked| (version.sequence.wrapping_sub(revoked) as i32) <= 0)
    };
    let mut blocks: Vec<(u64, Version)> = found
        .blocks
        .iter()
        .filter(|(home, version)| !stale(home, version))
        .map(|(&home, &version)| (home, version))
        .collect();
    if blocks.iter().any(|&(home, _)| home >= fs_blocks) {
        return Err(MountError::Journal("it holds a block past the end of the filesystem"));
    }
    blocks.sort_unstable_by_key(|&(home, _)| home);
    let mut memory = vec![0; BATCH.min(blocks.len()) * log.block_size];
    if log.checksums.of_blocks() {
        for batch in blocks.chunks(BATCH) {
            for &(_, version) in batch {
                let block = &mut memory[..log.block_size];
                log.read(version.at, block)?;
                if !is_right(log, &version, block) {
                    return Err(MountError::Journal("a committed block in it has a wrong checksum"));
                }
            }
        }
    }
    for batch in blocks.chunks(BATCH) {
        let mut pieces = Vec::with_capacity(batch.len());
        for (&(home, version), block) in batch.iter().zip(memory.chunks_mut(log.block_size)) {
            log.read(version.at, block)?;
            if version.escaped {
                block[..4].copy_from_slice(&MAGIC.to_be_bytes());
            }
            pieces.push((home, &*block));
        }
        log.write_home(&pieces)?;
    }
    Ok(blocks.len())
}

fn is_right(log: &Log<'_>, version: &Version, block: &[u8]) -> bool {
    let sum = crc32c(crc32c(log.seed, &version.sequence.to_be_bytes()), block);
    match log.checksums {
        Checksums::V3 => sum == version.checksum,
        _ => sum & 0xffff == version.checksum,
    }
}
