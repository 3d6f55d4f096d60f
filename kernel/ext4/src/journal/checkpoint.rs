//! Bringing committed blocks to their places, and the log's tail behind them.

use alloc::vec::Vec;

use base::sort;
use block::{Buffer, BufferCache};
use hashbrown::HashSet;
use vfs::Result;

use super::Journal;

/// What a checkpoint lets go of.
pub(super) struct Retiring {
    /// Blocks that it has copies of.
    pub(super) blocks: HashSet<u64>,
    /// Where the log begins without it, and with which transaction.
    start: u32,
    sequence: u32,
    /// Blocks of the log that become free.
    used: u32,
    stage: Stage,
}

impl Retiring {
    /// Blocks of the log that become free.
    pub(super) fn used(&self) -> u32 {
        self.used
    }
}

/// How far it has come; each waits for a flush after the epoch.
#[derive(Clone, Copy)]
enum Stage {
    /// The blocks were written to their places.
    InPlace(u64),
    /// The new start was written.
    TailMoved(u64),
}

impl Journal {
    /// Writes all that is committed to its place, without waiting for it to be durable. The running transaction is empty.
    ///
    /// # Errors
    /// `EIO`, after which nothing more may be committed.
    pub(crate) fn checkpoint(&mut self, cache: &BufferCache) -> Result<()> {
        let covered = self.retiring.as_ref().map_or(0, |retiring| retiring.used);
        if self.used == covered {
            return Ok(());
        }
        let mut buffers: Vec<Buffer> = self.pending.values().cloned().collect();
        sort::by_key(&mut buffers, Buffer::block);
        cache.write_buffers(&buffers)?;
        self.pending.clear();
        let mut blocks = core::mem::take(&mut self.logged);
        if let Some(earlier) = self.retiring.take() {
            blocks.extend(earlier.blocks);
        }
        self.retiring = Some(Retiring {
            blocks,
            start: self.head,
            sequence: self.sequence,
            used: self.used,
            stage: Stage::InPlace(cache.epoch()),
        });
        Ok(())
    }

    /// Goes on with what is retiring, as far as flushes have come: no flush of its own.
    ///
    /// # Errors
    /// `EIO`, after which nothing more may be committed.
    pub(super) fn advance_tail(&mut self, cache: &BufferCache) -> Result<()> {
        let Some(retiring) = &mut self.retiring else { return Ok(()) };
        match retiring.stage {
            Stage::InPlace(epoch) if cache.is_durable(epoch) => {
                (self.sb.start, self.sb.sequence) = (retiring.start, retiring.sequence);
                self.map.write(&**cache.device(), 0, self.sb.encode())?;
                retiring.stage = Stage::TailMoved(cache.epoch());
            }
            Stage::TailMoved(epoch) if cache.is_durable(epoch) => {
                self.used -= retiring.used;
                self.retiring = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Empties the log but for nothing: everything is in its place, durable, and the whole ring is free. The running
    /// transaction is empty.
    ///
    /// # Errors
    /// `EIO`, after which nothing more may be committed.
    pub(crate) fn empty(&mut self, cache: &BufferCache) -> Result<()> {
        self.checkpoint(cache)?;
        while self.retiring.is_some() {
            cache.flush()?;
            self.advance_tail(cache)?;
        }
        Ok(())
    }

    /// The end of the mount: the log is empty and says so.
    ///
    /// # Errors
    /// `EIO`.
    pub(crate) fn close(&mut self, cache: &BufferCache) -> Result<()> {
        self.checkpoint(cache)?;
        cache.flush()?;
        (self.sb.start, self.sb.sequence) = (0, self.sequence);
        cache.device().write_durable(self.map.sector(0)?, self.sb.encode())
    }
}
