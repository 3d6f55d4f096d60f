//! Bringing committed blocks to their places, and the log's tail behind them.
//!
//! The log is freed from its oldest transaction on. Of that only those blocks are written that no later transaction has: the others are
//! written when the last that has them goes. So what changes again and again comes to its place seldom.

use alloc::vec::Vec;

use base::sort;
use block::{Buffer, BufferCache};
use vfs::Result;

use super::Journal;

/// A transaction in the log.
pub(super) struct Logged {
    pub(super) sequence: u32,
    /// Where in the log it begins, and how many blocks of it it takes.
    pub(super) start: u32,
    pub(super) used: u32,
    /// The blocks that it has copies of.
    pub(super) blocks: Vec<u64>,
}

/// What a checkpoint lets go of: the oldest transactions.
pub(super) struct Retiring {
    /// How many, and how many blocks of the log become free.
    transactions: usize,
    used: u32,
    /// Where the log begins without them, and with which transaction.
    start: u32,
    sequence: u32,
    stage: Stage,
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
    /// Writes what is committed in the oldest transactions, and in no later one, to its place, without waiting for it to be durable; so
    /// many transactions that `wanted` blocks of the log become free, or all. The running transaction is empty.
    ///
    /// # Errors
    /// `EIO`, after which nothing more may be committed.
    pub(crate) fn checkpoint(&mut self, cache: &BufferCache, wanted: u32) -> Result<()> {
        let (mut transactions, mut used) =
            self.retiring.as_ref().map_or((0, 0), |retiring| (retiring.transactions, retiring.used));
        let (before, enough) = (transactions, used.saturating_add(wanted));
        let mut buffers: Vec<Buffer> = Vec::new();
        for oldest in self.log.iter().skip(before) {
            if used >= enough {
                break;
            }
            transactions += 1;
            used += oldest.used;
            for block in &oldest.blocks {
                if self.logged.get(block) == Some(&oldest.sequence) {
                    buffers.extend(self.pending.get(block).cloned());
                }
            }
        }
        if transactions == before {
            return Ok(());
        }
        sort::by_key(&mut buffers, Buffer::block);
        cache.write_buffers(&buffers)?;
        for buffer in &buffers {
            self.pending.remove(&buffer.block());
        }
        let next = self.log.get(transactions);
        let (start, sequence) = next.map_or((self.head, self.sequence), |next| (next.start, next.sequence));
        self.retiring = Some(Retiring { transactions, used, start, sequence, stage: Stage::InPlace(cache.epoch()) });
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
                for gone in self.log.drain(..retiring.transactions) {
                    for block in &gone.blocks {
                        if self.logged.get(block) == Some(&gone.sequence) {
                            self.logged.remove(block);
                        }
                    }
                }
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
        self.checkpoint(cache, u32::MAX)?;
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
        self.checkpoint(cache, u32::MAX)?;
        cache.flush()?;
        (self.sb.start, self.sb.sequence) = (0, self.sequence);
        cache.device().write_durable(self.map.sector(0)?, self.sb.encode())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::vec;

    use block::{BlockDevice, Dirty, Fault, FaultDisk, MemoryDisk};
    use vfs::{FsContext, Timestamp};

    use super::*;
    use crate::format::{FormatOptions, format};
    use crate::{Ext4, MountOptions};

    const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 0 };
    const BLOCK: usize = 4096;

    fn formatted() -> Arc<MemoryDisk> {
        let disk = Arc::new(MemoryDisk::new(64 << 20));
        let options = FormatOptions { block_size: BLOCK as u32, ..FormatOptions::new([7; 32], NOW) };
        format(&*disk, &options).unwrap();
        disk
    }

    fn mount(disk: Arc<dyn BlockDevice>) -> Arc<Ext4> {
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        Ext4::mount(disk, context, MountOptions::default()).unwrap()
    }

    fn content(disk: &MemoryDisk, block: u64) -> u8 {
        let mut bytes = vec![0; BLOCK];
        disk.read(block * (BLOCK / 512) as u64, &mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == bytes[0]), "block {block} is torn");
        bytes[0]
    }

    /// Commits blocks full of a byte.
    fn commit(fs: &Ext4, journal: &mut Journal, blocks: &[u64], revoked: &[u64], fill: u8) {
        let buffer = |&block: &u64| {
            let buffer = fs.cache.get(block).unwrap_or_else(|| fs.cache.create(block).unwrap());
            fs.cache.write(&buffer, Dirty::Held).fill(fill);
            buffer
        };
        let buffers: Vec<Buffer> = blocks.iter().map(buffer).collect();
        journal.commit(&fs.cache, &buffers, revoked, NOW).unwrap();
    }

    #[test]
    fn what_a_checkpoint_could_not_write_stays_in_the_log_until_one_can() {
        let disk = formatted();
        let faulty = Arc::new(FaultDisk::new(disk.clone()));
        let fs = mount(faulty.clone());
        let mut core = fs.core.lock();
        let journal = core.journal.as_mut().unwrap();
        let block = fs.cache.blocks() - 1;
        commit(&fs, journal, &[block], &[], 1);
        faulty.set(Fault::WritesAfter(0));
        journal.checkpoint(&fs.cache, 1).unwrap_err();
        assert!(journal.is_pending(block) && journal.retiring.is_none());
        faulty.clear();
        journal.empty(&fs.cache).unwrap();
        assert_eq!(content(&disk, block), 1);
    }

    #[test]
    fn the_oldest_transactions_go_first_and_what_later_ones_have_is_not_written() {
        let disk = formatted();
        let fs = mount(disk.clone());
        let mut core = fs.core.lock();
        let journal = core.journal.as_mut().unwrap();
        // At the end of the disk, where nothing is.
        let [once, twice, freed] = [3, 2, 1].map(|back| fs.cache.blocks() - back);
        commit(&fs, journal, &[once, twice, freed], &[], 1);
        commit(&fs, journal, &[twice], &[freed], 2);
        let (second, sequence) = (journal.log[1].start, journal.log[1].sequence);

        journal.checkpoint(&fs.cache, 1).unwrap();
        assert_eq!([once, twice, freed].map(|block| content(&disk, block)), [1, 0, 0]);
        while journal.retiring.is_some() {
            assert!(journal.has_copy(once) && journal.has_copy(freed), "the log may still be replayed from there");
            fs.cache.flush().unwrap();
            journal.advance_tail(&fs.cache).unwrap();
        }
        assert_eq!((journal.sb.start, journal.sb.sequence), (second, sequence));
        assert_eq!((journal.log.len(), journal.used), (1, journal.log[0].used));
        assert_eq!([once, twice, freed].map(|block| journal.has_copy(block)), [false, true, false]);

        let cut = Arc::new(disk.snapshot());
        drop(mount(cut.clone()));
        assert_eq!([once, twice, freed].map(|block| content(&cut, block)), [1, 2, 0]);
        journal.empty(&fs.cache).unwrap();
        assert!(journal.log.is_empty() && journal.pending.is_empty() && journal.logged.is_empty());
        assert_eq!([once, twice, freed].map(|block| content(&disk, block)), [1, 2, 0]);
    }
}
