//! Whether the filesystem may change, and what stopped it if not.

use core::sync::atomic::{AtomicU8, Ordering};

use base::sync::OnceLock;
use block::SECTOR_SIZE;
use vfs::{Errno, Error, Result, Timestamp};

use crate::bytes::{le16, le32, put, put8, put16, put32, put64};
use crate::fs::Ext4;
use crate::superblock::{self, STATE_ERROR, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, field};

const WRITABLE: u8 = 0;
const READ_ONLY: u8 = 1;
const FAILED: u8 = 2;
const ABORTED: u8 = 3;

/// The first error that stopped the filesystem.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Error,
    /// The block that it is about; 0 where it is about none.
    block: u64,
    time: Timestamp,
}

/// The state of the filesystem as a whole.
pub(crate) struct Health {
    /// As it was mounted: then not even an error is recorded on the medium.
    mounted_read_only: bool,
    state: AtomicU8,
    failure: OnceLock<Failure>,
}

impl Health {
    pub(crate) fn new(read_only: bool) -> Self {
        let state = AtomicU8::new(if read_only { READ_ONLY } else { WRITABLE });
        Self { mounted_read_only: read_only, state, failure: OnceLock::new() }
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WRITABLE
    }

    /// Whether nothing may be written any more, not even what is complete in memory.
    pub(crate) fn is_aborted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ABORTED
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Whether the superblock may still be written: to mark it clean, or to record the error that stopped the filesystem.
    pub(crate) fn may_mark_superblock(&self) -> bool {
        !self.mounted_read_only && (self.is_writable() || self.failure().is_some())
    }

    /// The end of the mount: nothing may change any more.
    pub(crate) fn close(&self) {
        self.state.fetch_max(READ_ONLY, Ordering::Relaxed);
    }

    /// Returns whether this is the first error.
    fn stop(&self, state: u8, failure: Failure) -> bool {
        let before = self.state.fetch_max(state, Ordering::Relaxed);
        if before < FAILED {
            log::error!("ext4: read-only from now on: {}", failure.error);
            self.failure.call_once(|| failure);
        }
        before < FAILED
    }
}

impl Failure {
    /// Puts the error into the superblock, where `dumpe2fs` shows it.
    pub(crate) fn store(&self, raw: &mut [u8]) {
        let mut text = [0; 32];
        let context = self.error.context().as_bytes();
        let len = context.len().min(text.len() - 1);
        text[..len].copy_from_slice(&context[..len]);
        if le32(raw, field::ERROR_COUNT) == 0 {
            put32(raw, field::FIRST_ERROR_TIME, self.time.secs as u32);
            put8(raw, field::FIRST_ERROR_TIME_HI, (self.time.secs >> 32) as u8);
            put(raw, field::FIRST_ERROR_FUNC, &text);
            put64(raw, field::FIRST_ERROR_BLOCK, self.block);
            put8(raw, field::FIRST_ERROR_CODE, self.code());
        }
        let same = le32(raw, field::LAST_ERROR_TIME) == self.time.secs as u32;
        if !same {
            let count = le32(raw, field::ERROR_COUNT).saturating_add(1);
            put32(raw, field::ERROR_COUNT, count);
        }
        put32(raw, field::LAST_ERROR_TIME, self.time.secs as u32);
        put8(raw, field::LAST_ERROR_TIME_HI, (self.time.secs >> 32) as u8);
        put(raw, field::LAST_ERROR_FUNC, &text);
        put64(raw, field::LAST_ERROR_BLOCK, self.block);
        put8(raw, field::LAST_ERROR_CODE, self.code());
    }

    /// `EXT4_ERR_*` of Linux's `fs/ext4/ext4.h`.
    fn code(&self) -> u8 {
        match self.error.errno() {
            Errno::EIO => 2,
            Errno::ENOMEM => 3,
            Errno::EUCLEAN if self.error.context().starts_with("ext4: wrong checksum") => 4,
            Errno::EUCLEAN => 5,
            _ => 1,
        }
    }
}

impl Ext4 {
    /// Refuses changes of a filesystem that is read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.health.is_writable() { Ok(()) } else { Err(Error::new(Errno::EROFS, "read-only filesystem")) }
    }

    /// Refuses to write anything after a write of metadata has failed.
    pub(crate) fn check_not_aborted(&self) -> Result<()> {
        if self.health.is_aborted() { Err(Error::new(Errno::EROFS, "filesystem stopped by an error")) } else { Ok(()) }
    }

    /// Passes on an error of reading metadata. One of the medium or of the format makes the filesystem read-only.
    pub(crate) fn failed(&self, error: Error) -> Error {
        self.failed_at(error, 0)
    }

    /// As [`failed`](Self::failed), about one block.
    pub(crate) fn failed_at(&self, error: Error, block: u64) -> Error {
        if matches!(error.errno(), Errno::EIO | Errno::EUCLEAN) {
            self.stop(FAILED, error, block);
        }
        error
    }

    /// Something on the medium is impossible: the filesystem is read-only from now on.
    #[cold]
    pub(crate) fn corrupt(&self, what: &'static str) -> Error {
        self.failed(Error::fault(Errno::EUCLEAN, what))
    }

    /// Something could not be written, or not made durable: nothing more will be.
    #[cold]
    pub(crate) fn abort(&self, error: Error) {
        self.stop(ABORTED, error, 0);
    }

    fn stop(&self, state: u8, error: Error, block: u64) {
        // A mount that has not come to its end writes nothing.
        if self.health.stop(state, Failure { error, block, time: self.context.clock.now() })
            && !self.health.mounted_read_only
            && self.root.get().is_some()
        {
            // The disk may be beyond taking it; the message has been given.
            let _ = self.record_failure();
        }
    }

    /// Puts the failure into the superblock on the disk at once, for there may be no later. Nothing else of it changes: what
    /// memory has of it belongs to a transaction, and a checkpoint may be bringing it there just now. A replay of the journal keeps these fields.
    fn record_failure(&self) -> Result<()> {
        let Some(failure) = self.health.failure() else { return Ok(()) };
        let mut raw = [0; SUPERBLOCK_SIZE];
        self.cache.amend(SUPERBLOCK_OFFSET / SECTOR_SIZE as u64, &mut raw, |raw| {
            let state = le16(raw, field::STATE) | STATE_ERROR;
            put16(raw, field::STATE, state);
            failure.store(raw);
            superblock::seal(raw);
        })
    }
}
