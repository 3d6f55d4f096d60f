//! Recovery: what jbd2's journal holds of committed transactions is written to where it belongs.
//!
//! [`recover`] runs at mount, on the bare device, before anything is cached. It reads the log once ([`scan`]), keeps for
//! each block its last committed version that was not revoked later, verifies all of them, and only then writes
//! ([`replay`]): a journal that cannot be trusted leaves the disk as it was. It may be cut off anywhere and run again.
//! Source of the format: the kernel's `Documentation/filesystems/ext4/journal.rst`.

mod log;
mod replay;
mod scan;

use alloc::vec::Vec;

use block::{BlockDevice, Io, SECTOR_SIZE};
use vfs::{Errno, Error};

use crate::error::MountError;
use log::Log;

/// A run of the journal's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalExtent {
    /// Number within the journal's file.
    pub(crate) logical: u32,
    /// Number on the disk.
    pub(crate) physical: u64,
    /// How many.
    pub(crate) blocks: u32,
}

/// Where the journal's file lies: its extents by logical number, without holes.
#[derive(Debug, Clone)]
pub(crate) struct JournalMap {
    pub(crate) extents: Vec<JournalExtent>,
    pub(crate) block_size: usize,
}

/// The largest request to the journal, in bytes.
const MAX_REQUEST: usize = 128 << 10;

const SHORT: Error = Error::new(Errno::EIO, "ext4: journal shorter than its superblock says");

impl JournalMap {
    /// The place on the disk of a block of the journal, and how many follow it there, itself included.
    pub(crate) fn physical(&self, logical: u32) -> Option<(u64, u32)> {
        let index = self.extents.partition_point(|extent| extent.logical <= logical).checked_sub(1)?;
        let extent = self.extents.get(index)?;
        let within = logical - extent.logical;
        (within < extent.blocks).then(|| (extent.physical + u64::from(within), extent.blocks - within))
    }

    /// How many blocks the file has.
    pub(crate) fn blocks(&self) -> u32 {
        self.extents.last().map_or(0, |last| last.logical.saturating_add(last.blocks))
    }

    /// Reads whole blocks of the journal from `logical` on.
    pub(crate) fn read(&self, device: &dyn BlockDevice, logical: u32, buf: &mut [u8]) -> vfs::Result<()> {
        let mut batch = Vec::new();
        let mut rest = buf;
        self.split(logical, rest.len(), |sector, len| {
            let (buf, after) = core::mem::take(&mut rest).split_at_mut(len);
            batch.push(Io::Read { sector, buf });
            rest = after;
        })?;
        device.transfer(&mut batch)
    }

    /// Writes whole blocks of the journal from `logical` on.
    pub(crate) fn write(&self, device: &dyn BlockDevice, logical: u32, data: &[u8]) -> vfs::Result<()> {
        let mut batch = Vec::new();
        let mut rest = data;
        self.split(logical, rest.len(), |sector, len| {
            let (data, after) = rest.split_at(len);
            batch.push(Io::Write { sector, data });
            rest = after;
        })?;
        device.transfer(&mut batch)
    }

    /// The first sector of a block.
    pub(crate) fn sector(&self, logical: u32) -> vfs::Result<u64> {
        let (physical, _) = self.physical(logical).ok_or(SHORT)?;
        Ok(physical.saturating_mul((self.block_size / SECTOR_SIZE) as u64))
    }

    /// Calls `each` with the first sector and the bytes of every piece that `bytes` from `logical` on lie in.
    fn split(&self, logical: u32, bytes: usize, mut each: impl FnMut(u64, usize)) -> vfs::Result<()> {
        let (mut at, mut left) = (logical, bytes);
        while left > 0 {
            let (_, run) = self.physical(at).ok_or(SHORT)?;
            let len = left.min((run as usize).saturating_mul(self.block_size)).min(MAX_REQUEST);
            each(self.sector(at)?, len);
            left -= len;
            at += (len / self.block_size) as u32;
        }
        Ok(())
    }
}

/// What recovery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Recovered {
    /// Committed transactions found.
    pub(crate) transactions: u32,
    /// Blocks written to their places.
    pub(crate) blocks: usize,
    /// The errno that an earlier mount left in the journal, 0 for none: the filesystem should be checked.
    pub(crate) errno: i32,
}

/// Replays the journal and marks it empty. `fs_blocks` bounds what may be written to.
///
/// # Errors
/// [`MountError::Journal`] for a journal that cannot be understood or trusted: nothing was written then;
/// [`MountError::Device`].
pub(crate) fn recover(
    device: &dyn BlockDevice,
    map: &JournalMap,
    block_size: usize,
    fs_blocks: u64,
) -> Result<Recovered, MountError> {
    let mut log = Log::open(device, map, block_size)?;
    let mut done = Recovered { errno: log.sb.errno, ..Recovered::default() };
    if log.sb.start == 0 {
        return Ok(done);
    }
    if device.capabilities().read_only {
        return Err(MountError::Journal("the disk is read-only"));
    }
    let found = scan::scan(&mut log)?;
    done.transactions = found.end.wrapping_sub(log.sb.sequence);
    done.blocks = replay::replay(&mut log, &found, fs_blocks)?;
    log.mark_empty(found.end.wrapping_add(1))?;
    Ok(done)
}

#[cfg(test)]
mod tests;
