//! Runs: contiguous blocks in one piece of memory, so that a large request goes straight to or from the cache.
//!
//! Each block of a run has its own state bits. The bytes are behind the run's readers-writer lock; whoever loads a
//! run holds that lock exclusively from before the run can be found until its blocks are valid, so a reader that finds a
//! block not yet valid waits on the lock.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut, Range};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use base::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The most blocks of a run: one bit each in the state words.
pub(super) const MAX_RUN_BLOCKS: u32 = 64;

/// Contiguous blocks in one piece of memory.
pub(super) struct Run {
    pub(super) start: u64,
    pub(super) blocks: u32,
    pub(super) block_size: usize,
    pub(super) slot: u32,
    /// Holds the block's content.
    pub(super) valid: AtomicU64,
    /// Differs from the device.
    pub(super) dirty: AtomicU64,
    /// Dirty, and written only when the owner says so.
    pub(super) held: AtomicU64,
    /// The owner has checked the content.
    pub(super) verified: AtomicU64,
    /// Used since the clock's hand last passed.
    pub(super) referenced: AtomicBool,
    /// Whose data its queued blocks are.
    pub(super) owner: AtomicU32,
    /// Is in the list of runs to write back.
    pub(super) queued: AtomicBool,
    pub(super) data: RwLock<Vec<u8>>,
}

impl Run {
    pub(super) fn new(start: u64, blocks: u32, block_size: usize, slot: u32, data: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            start,
            blocks,
            block_size,
            slot,
            valid: AtomicU64::new(0),
            dirty: AtomicU64::new(0),
            held: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            referenced: AtomicBool::new(true),
            owner: AtomicU32::new(0),
            queued: AtomicBool::new(false),
            data: RwLock::new(data),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks as usize * self.block_size
    }

    pub(super) fn is_valid(&self, index: u32) -> bool {
        self.valid.load(Ordering::Acquire) & bit(index) != 0
    }

    pub(super) fn range(&self, index: u32, count: u32) -> Range<usize> {
        let from = index as usize * self.block_size;
        from..from + count as usize * self.block_size
    }
}

/// The state bit of a block in its run.
pub(super) const fn bit(index: u32) -> u64 {
    1 << (index % MAX_RUN_BLOCKS)
}

/// The state bits of the first `count` blocks of a run.
pub(super) const fn bits(count: u32) -> u64 {
    if count >= MAX_RUN_BLOCKS { u64::MAX } else { (1 << count) - 1 }
}

/// One block in the cache. While a clone lives the block stays there.
#[derive(Clone)]
pub struct Buffer {
    pub(super) run: Arc<Run>,
    pub(super) index: u32,
}

impl Buffer {
    /// The block's number on the device.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.run.start + u64::from(self.index)
    }

    /// The bytes, shared.
    #[must_use]
    pub fn read(&self) -> BufferRead<'_> {
        BufferRead { guard: self.run.data.read(), range: self.run.range(self.index, 1) }
    }

    /// Whether the owner has declared the content checked since it was read from the device.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.run.verified.load(Ordering::Relaxed) & bit(self.index) != 0
    }

    /// Declares the content checked.
    pub fn set_verified(&self) {
        self.run.verified.fetch_or(bit(self.index), Ordering::Relaxed);
    }

    /// Whether the block differs from the device.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.run.dirty.load(Ordering::Relaxed) & bit(self.index) != 0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.block())
    }
}

/// Shared access to the bytes of a [`Buffer`], or of several blocks in a row.
pub struct BufferRead<'a> {
    pub(super) guard: RwLockReadGuard<'a, Vec<u8>>,
    pub(super) range: Range<usize>,
}

impl Deref for BufferRead<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.guard[self.range.clone()]
    }
}

/// Exclusive access to the bytes of a [`Buffer`], already marked dirty.
pub struct BufferWrite<'a> {
    pub(super) guard: RwLockWriteGuard<'a, Vec<u8>>,
    pub(super) range: Range<usize>,
}

impl Deref for BufferWrite<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.guard[self.range.clone()]
    }
}

impl DerefMut for BufferWrite<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.guard[self.range.clone()]
    }
}
