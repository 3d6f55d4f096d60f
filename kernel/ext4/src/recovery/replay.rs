//! Writing the last committed versions to their places.

use alloc::vec;
use alloc::vec::Vec;

use base::sort;

use super::log::Log;
use super::scan::{Found, Version};
use crate::error::MountError;
use crate::journal::format::MAGIC;

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
    sort::by_key(&mut blocks, |&(home, _)| home);
    let mut memory = vec![0; BATCH.min(blocks.len()) * log.block_size];
    if log.sb.checksums.of_blocks() {
        for batch in blocks.chunks(BATCH) {
            for &(_, version) in batch {
                let block = &mut memory[..log.block_size];
                log.read(version.at, block)?;
                if log.sb.data_sum(version.sequence, block) != version.checksum {
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
