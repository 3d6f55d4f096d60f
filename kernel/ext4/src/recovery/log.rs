//! The journal as a ring of blocks on a bare device.

use alloc::vec;
use alloc::vec::Vec;

use block::{BlockDevice, Io, SECTOR_SIZE};

use super::JournalMap;
use crate::error::MountError;
use crate::journal::format::JournalSuperblock;

/// An open journal.
pub(crate) struct Log<'a> {
    device: &'a dyn BlockDevice,
    map: &'a JournalMap,
    pub(crate) sb: JournalSuperblock,
    pub(super) block_size: usize,
}

impl<'a> Log<'a> {
    pub(crate) fn open(
        device: &'a dyn BlockDevice,
        map: &'a JournalMap,
        block_size: usize,
    ) -> Result<Self, MountError> {
        let mut superblock = vec![0; block_size];
        map.read(device, 0, &mut superblock)?;
        let sb = JournalSuperblock::parse(superblock, map.blocks())?;
        Ok(Self { device, map, sb, block_size })
    }

    /// Reads consecutive blocks of the journal, not past the end of the ring.
    pub(super) fn read(&self, logical: u32, buf: &mut [u8]) -> Result<(), MountError> {
        Ok(self.map.read(self.device, logical, buf)?)
    }

    /// Writes blocks of the filesystem, by number.
    pub(super) fn write_home(&self, blocks: &[(u64, &[u8])]) -> Result<(), MountError> {
        let sector = |block: u64| block.saturating_mul((self.block_size / SECTOR_SIZE) as u64);
        let mut batch: Vec<_> = blocks.iter().map(|&(block, data)| Io::Write { sector: sector(block), data }).collect();
        Ok(self.device.transfer(&mut batch)?)
    }

    /// Makes durable what was written, then marks the log as empty.
    pub(super) fn mark_empty(&mut self, sequence: u32) -> Result<(), MountError> {
        self.device.flush()?;
        (self.sb.start, self.sb.sequence) = (0, sequence);
        self.map.write(self.device, 0, self.sb.encode())?;
        self.device.flush()?;
        Ok(())
    }
}
