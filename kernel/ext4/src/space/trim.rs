//! Telling the disk which blocks are free, so that its storage can be given back: by `FITRIM`, and with the option `discard` as
//! they become free.
//!
//! Only blocks whose freedom is durable are told: what the running transaction freed is withheld and left out, and a crash
//! can bring no file back to a block that is gone. Groups that were never used hold nothing to be told.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use base::sort;
use block::SECTOR_SIZE;
use vfs::{Errno, Error, Result, Trim};

use super::bitmap::Taken;
use crate::fs::Ext4;
use crate::group::BLOCK_UNINIT;
use crate::transaction::Core;

impl Ext4 {
    /// Discards free space; returns how many bytes.
    pub(crate) fn trim_free(&self, trim: Trim) -> Result<u64> {
        let device = self.cache.device();
        if !device.capabilities().discard {
            return Err(Error::new(Errno::EOPNOTSUPP, "the disk knows no discard"));
        }
        let geometry = &self.geometry;
        let bits = geometry.block_bits;
        let first = (trim.start >> bits).max(geometry.first_data_block);
        let end = trim.start.saturating_add(trim.len) >> bits;
        let end = end.min(geometry.blocks);
        // As Linux: a start behind the end, or less than a block, is a mistake.
        if trim.start >> bits >= geometry.blocks || trim.len < 1 << bits {
            return Err(Error::new(Errno::EINVAL, "range to trim"));
        }
        let least = u32::try_from(trim.least.div_ceil(1 << bits).max(1)).unwrap_or(u32::MAX);
        if least > geometry.blocks_per_group {
            return Err(Error::new(Errno::EINVAL, "least length to trim"));
        }
        let mut bytes = 0;
        let mut at = first;
        while at < end {
            let number = geometry.group_of(at);
            let start = geometry.group_start(number);
            let to = end.min(start + u64::from(geometry.group_blocks(number)));
            // The lock is held over the requests: nobody takes what is being discarded. Between groups others come in.
            let mut core = self.core.lock();
            self.check_writable()?;
            for (from, len) in self.free_runs(&mut core, number, (at - start) as u32, (to - start) as u32, least)? {
                let block = start + u64::from(from);
                self.discard(block, u64::from(len))?;
                bytes += u64::from(len) << bits;
            }
            drop(core);
            at = to;
        }
        Ok(bytes)
    }

    /// Tells the disk of ranges of blocks that a transaction freed and that nobody has got since, if the mount asks for it. The transaction
    /// has committed, durably: no crash brings what was there back. Neighbours go together.
    pub(crate) fn discard_freed(&self, freed: &[(u64, u64)]) {
        if freed.is_empty() || !self.discards.load(Ordering::Relaxed) {
            return;
        }
        let mut ranges = freed.to_vec();
        sort::by_key(&mut ranges, |&(start, _)| start);
        ranges.dedup_by(|next, last| {
            let joins = last.0 + last.1 == next.0;
            last.1 += if joins { next.1 } else { 0 };
            joins
        });
        for (start, count) in ranges {
            if let Err(error) = self.tell_free(start, count) {
                // It was an offer. Who does not take one takes none.
                log::warn!("ext4: the disk takes no discard: {error}; there will be no more");
                self.discards.store(false, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Free runs of a group between two of its blocks, of `least` blocks or more.
    fn free_runs(&self, core: &mut Core, number: u32, from: u32, to: u32, least: u32) -> Result<Vec<(u32, u32)>> {
        let mut runs = Vec::new();
        let group = &core.groups[number as usize];
        if group.desc.flags & BLOCK_UNINIT != 0 || group.desc.free_blocks < least {
            return Ok(runs);
        }
        let buffer = self.read_block_bitmap(&group.desc, number)?;
        let bytes = buffer.read();
        let taken = Taken { bitmap: &bytes, withheld: group.unavailable.as_deref() };
        let mut at = from;
        while let Some(start) = taken.next_free(at, to) {
            let len = taken.free_at(start, to, u32::MAX);
            if len >= least {
                runs.try_reserve(1).map_err(|_| Error::new(Errno::ENOMEM, "free runs"))?;
                runs.push((start, len));
            }
            at = start + len;
        }
        Ok(runs)
    }

    /// Tells the disk that blocks hold nothing of interest.
    pub(crate) fn discard(&self, start: u64, blocks: u64) -> Result<()> {
        self.cache.forget(start, blocks);
        self.tell_free(start, blocks)
    }

    fn tell_free(&self, start: u64, blocks: u64) -> Result<()> {
        let sectors = (self.geometry.block_size / SECTOR_SIZE) as u64;
        self.cache.device().discard(start * sectors, blocks * sectors)
    }
}
