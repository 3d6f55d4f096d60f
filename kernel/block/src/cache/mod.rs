//! The buffer cache: blocks of a device by number, bounded, written back in large batches.
//!
//! A block is found by one hash lookup. Memory is in [runs](run) of up to 64 blocks and 128 KiB; a clock
//! evicts runs that nobody holds and that are clean. Dirty blocks are of two sorts: [`Dirty::Queued`] ones (file
//! data) are written by [`BufferCache::write_back`] at any time, [`Dirty::Held`] ones (metadata of a running transaction)
//! only by [`BufferCache::write_buffers`], when their owner says so. The journal stands on that difference.
//!
//! Lock order: `writer` → a run's data → `inner` → device; a run that nobody can find yet may be locked under `inner`.

mod place;
mod read;
mod run;
mod write;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use base::sync::Mutex;
use base::{Errno, Error, Result};
use hashbrown::HashMap;

use crate::{BlockDevice, SECTOR_SIZE};
pub use run::{Buffer, BufferRead, BufferWrite};
use run::{MAX_RUN_BLOCKS, Run, bit};

/// The largest request, in bytes.
pub(crate) const MAX_REQUEST: usize = 128 * 1024;
/// How many steps the clock's hand takes for one insertion at most.
const CLOCK_STEPS: usize = 128;

/// Blocks from this number on are not the device's: data that has no place on it yet, under numbers of its owner's choice.
/// They are [`Dirty::Held`] until [`BufferCache::place`] gives them a place.
pub const UNPLACED: u64 = 1 << 63;

/// When a dirty block may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dirty {
    /// At any time, by [`BufferCache::write_back`]. It is data of the owner of this number; what is cached together is one
    /// owner's.
    Queued(u32),
    /// Only when its owner calls [`BufferCache::write_buffers`].
    Held,
}

/// A cache of the blocks of one device.
pub struct BufferCache {
    device: Arc<dyn BlockDevice>,
    block_size: usize,
    sectors_per_block: u64,
    blocks: u64,
    max_run: u32,
    limit: AtomicUsize,
    queued_blocks: AtomicUsize,
    /// Memory of the runs that have blocks to write back; changed with `inner` locked.
    dirty_bytes: AtomicUsize,
    /// Flushes that were begun, and the last of those that came to their end.
    flushes_begun: AtomicU64,
    flushes_done: AtomicU64,
    /// The epoch of the last write-back.
    written: AtomicU64,
    bytes_written: AtomicU64,
    writer: Mutex<()>,
    failures: Mutex<Vec<FailedWrite>>,
    inner: Mutex<Inner>,
}

/// Data that the device did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedWrite {
    /// Whose it is: see [`Dirty::Queued`].
    pub owner: u32,
    /// The first block.
    pub block: u64,
    /// How many.
    pub blocks: u32,
}

struct Slot {
    run: Arc<Run>,
    /// How many blocks of the run can be found in the map.
    mapped: u32,
}

#[derive(Default)]
struct Inner {
    map: HashMap<u64, u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    hand: usize,
    bytes: usize,
    /// Runs that have blocks to write back.
    dirty: Vec<Arc<Run>>,
    /// Bytes of the largest run.
    largest: usize,
    /// Memory of one evicted run of that size, kept because zeroing new memory costs as much as a copy.
    spare: Option<Vec<u8>>,
}

impl Inner {
    fn find(&self, block: u64) -> Option<&Arc<Run>> {
        let slot = *self.map.get(&block)?;
        self.slots.get(slot as usize)?.as_ref().map(|slot| &slot.run)
    }

    fn next_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        })
    }

    /// Makes a run findable. None of its blocks is in the map.
    fn insert(&mut self, run: &Arc<Run>) {
        for block in run.start..run.start + u64::from(run.blocks) {
            self.map.insert(block, run.slot);
        }
        self.bytes += run.bytes();
        self.slots[run.slot as usize] = Some(Slot { run: run.clone(), mapped: run.blocks });
    }

    /// Takes a block out of the map; the run goes with its last one.
    fn remove(&mut self, block: u64) -> Option<Arc<Run>> {
        let slot = self.map.remove(&block)?;
        let entry = self.slots.get_mut(slot as usize)?.as_mut()?;
        entry.mapped -= 1;
        let run = entry.run.clone();
        if entry.mapped == 0 {
            self.bytes -= run.bytes();
            self.slots[slot as usize] = None;
            self.free.push(slot);
        }
        Some(run)
    }

    /// Evicts what the clock finds until `bytes` more fit below `limit`, within a bounded number of steps.
    fn make_room(&mut self, bytes: usize, limit: usize) {
        let mut steps = CLOCK_STEPS;
        while self.bytes + bytes > limit && steps > 0 && !self.slots.is_empty() {
            steps -= 1;
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(Slot { run, .. }) = &self.slots[self.hand] else { continue };
            // A count of one is this table's own: nobody else can get at the run while `inner` is locked.
            if Arc::strong_count(run) > 1
                || run.dirty.load(Ordering::Relaxed) != 0
                || run.referenced.swap(false, Ordering::Relaxed)
            {
                continue;
            }
            if let Some(Slot { run, .. }) = self.slots[self.hand].take() {
                self.free.push(run.slot);
                self.bytes -= run.bytes();
                for block in run.start..run.start + u64::from(run.blocks) {
                    if self.map.get(&block) == Some(&run.slot) {
                        self.map.remove(&block);
                    }
                }
                if run.bytes() == self.largest
                    && let Ok(run) = Arc::try_unwrap(run)
                {
                    self.spare = Some(run.data.into_inner());
                }
            }
        }
    }
}

impl BufferCache {
    /// A cache of blocks of `block_size` bytes, a power of two from 512 to 64 KiB, that aims to stay below `limit` bytes.
    /// Blocks in use and dirty blocks may carry it past that; the owner writes back in time.
    ///
    /// # Errors
    /// `EINVAL` for a block size that is none.
    pub fn new(device: Arc<dyn BlockDevice>, block_size: usize, limit: usize) -> Result<Self> {
        if !block_size.is_power_of_two() || !(SECTOR_SIZE..=65536).contains(&block_size) {
            return Err(Error::new(Errno::EINVAL, "block size"));
        }
        let sectors_per_block = (block_size / SECTOR_SIZE) as u64;
        let blocks = device.capabilities().sectors / sectors_per_block;
        let max_run = ((MAX_REQUEST / block_size) as u32).min(MAX_RUN_BLOCKS);
        Ok(Self {
            device,
            block_size,
            sectors_per_block,
            blocks,
            max_run,
            limit: AtomicUsize::new(limit),
            queued_blocks: AtomicUsize::new(0),
            dirty_bytes: AtomicUsize::new(0),
            flushes_begun: AtomicU64::new(0),
            flushes_done: AtomicU64::new(0),
            written: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            writer: Mutex::new(()),
            failures: Mutex::new(Vec::new()),
            inner: Mutex::new(Inner { largest: max_run as usize * block_size, ..Inner::default() }),
        })
    }

    /// The device below.
    #[must_use]
    pub fn device(&self) -> &Arc<dyn BlockDevice> {
        &self.device
    }

    /// Size of a block, in bytes.
    #[must_use]
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Blocks of the device.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// What the cache aims to stay below, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes [`limit`](Self::limit); what is too much goes with later insertions.
    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// Memory that blocks take now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// Memory of blocks that [`write_back`](Self::write_back) would write, in bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_blocks.load(Ordering::Relaxed) * self.block_size
    }

    /// Memory that stays until [`write_back`](Self::write_back), in bytes: that of all blocks that share a run with one that
    /// it would write.
    #[must_use]
    pub fn pinned_bytes(&self) -> usize {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    /// How much was written to the device through this cache, or [told](Self::count_written) to it, in bytes.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// Bytes were written past the cache.
    pub fn count_written(&self, bytes: usize) {
        self.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Drops blocks whose content is of no more interest, dirty or not.
    pub fn forget(&self, start: u64, count: u64) {
        let mut inner = self.inner.lock();
        for block in start..start.saturating_add(count) {
            let Some(run) = inner.remove(block) else { continue };
            let mask = bit((block - run.start) as u32);
            run.valid.fetch_and(!mask, Ordering::Release);
            run.verified.fetch_and(!mask, Ordering::Relaxed);
            let held = run.held.fetch_and(!mask, Ordering::Relaxed);
            let dirty = run.dirty.fetch_and(!mask, Ordering::Relaxed);
            if dirty & mask != 0 && held & mask == 0 {
                self.queued_blocks.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Drops every block that is clean and not in use.
    pub fn drop_clean(&self) {
        let mut inner = self.inner.lock();
        inner.spare = None;
        for slot in 0..inner.slots.len() {
            let Some(Slot { run, .. }) = &inner.slots[slot] else { continue };
            if Arc::strong_count(run) == 1 && run.dirty.load(Ordering::Relaxed) == 0 {
                let run = run.clone();
                for block in run.start..run.start + u64::from(run.blocks) {
                    if inner.map.get(&block) == Some(&run.slot) {
                        inner.remove(block);
                    }
                }
            }
        }
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// `EIO`.
    pub fn flush(&self) -> Result<()> {
        let number = self.flushes_begun.fetch_add(1, Ordering::AcqRel) + 1;
        self.device.flush()?;
        self.flushes_done.fetch_max(number, Ordering::AcqRel);
        Ok(())
    }

    /// [Writes back](Self::write_back) and makes durable what any write-back wrote, also one that another thread is just
    /// doing: it is waited for. Without a flush if there is nothing to make durable.
    ///
    /// # Errors
    /// `EIO`: the flush failed. Data that could not be written is [noted](Self::take_failures) and no error.
    pub fn sync(&self) -> Result<()> {
        self.write_back();
        if self.is_durable(self.written.load(Ordering::Acquire)) { Ok(()) } else { self.flush() }
    }

    /// Whether [`sync`](Self::sync) would have nothing to do.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let _turn = self.writer.lock();
        self.queued_bytes() == 0 && self.is_durable(self.written.load(Ordering::Acquire))
    }

    /// What to remember of a write that has just returned, never 0: [`is_durable`](Self::is_durable) tells later whether a
    /// flush came after it.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.flushes_begun.load(Ordering::Acquire) + 1
    }

    /// Whether a flush of this cache that began after `epoch` was taken has succeeded. Epoch 0, of nothing, is durable.
    #[must_use]
    pub fn is_durable(&self, epoch: u64) -> bool {
        self.flushes_done.load(Ordering::Acquire) >= epoch
    }
}

#[cfg(test)]
mod tests;
