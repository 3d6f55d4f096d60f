//! Commit: checksums, then file data, then metadata into the journal.
//!
//! Without a journal metadata goes straight to its place, so a crash between the first write and the last leaves work for
//! `e2fsck`. The order is the same: the data of a transaction is on the disk before its metadata.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use base::sort;
use block::{Buffer, Dirty};
use vfs::{Result, SyncKind};

use super::{Core, Seal, Transaction};
use crate::bytes::{put8, put16, put32, put64};
use crate::fs::Ext4;
use crate::group::bitmap_checksum;
use crate::inode::Inode;
use crate::space::release;
use crate::superblock::{self, STATE_ERROR, SUPERBLOCK_SIZE, field};
use crate::verify;

/// Commits between two searches for inodes that were looked at and not changed.
const SWEEP_EVERY: u32 = 64;

/// How much of the data that waited for its place has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    All,
    Part,
}

impl Ext4 {
    /// Makes the running transaction durable and starts the next one.
    pub(crate) fn commit(&self, core: &mut Core) -> Result<()> {
        if core.transaction.is_empty() {
            return self.flush_data();
        }
        while self.commit_one(core)? == Placed::Part {
            self.empty_journal(core)?;
        }
        self.checkpoint_if_due(core)
    }

    /// Commits the transaction with the data that waits for its place, or with the part of it that the log has room for. Room for
    /// all of it is counted when it is written, so that a part is the rule's exception.
    fn commit_one(&self, core: &mut Core) -> Result<Placed> {
        self.check_not_aborted()?;
        let placed = match self.place_all(core) {
            Err(_) if core.crowded && !core.transaction.is_empty() => Placed::Part,
            placed => placed.map(|()| Placed::All)?,
        };
        // Without its data a transaction would lead to what its blocks had before.
        self.check_not_aborted()?;
        self.write_back();
        self.clear_lost(core);
        self.seal(core)?;
        if let Err(error) = self.write_transaction(core) {
            self.abort(error);
            return Err(error);
        }
        self.finish(core);
        Ok(placed)
    }

    /// Writes the sealed transaction, whose data has been written, and makes both durable.
    fn write_transaction(&self, core: &mut Core) -> Result<()> {
        let Core { transaction, journal, .. } = core;
        let mut buffers: Vec<Buffer> = transaction.buffers.values().map(|(buffer, _)| buffer.clone()).collect();
        sort::by_key(&mut buffers, Buffer::block);
        if let Some(journal) = journal {
            return journal.commit(&self.cache, &buffers, &transaction.revoked, self.context.clock.now());
        }
        if !transaction.fresh.is_empty() {
            self.cache.flush()?;
        }
        self.cache.write_buffers(&buffers)?;
        self.cache.flush()
    }

    /// Has the journal bring blocks to their places if it keeps many, or for long. The running transaction is empty.
    fn checkpoint_if_due(&self, core: &mut Core) -> Result<()> {
        let most = self.max_held();
        let Some(journal) = &mut core.journal else { return Ok(()) };
        match journal.due(most) {
            Some(wanted) => journal.checkpoint(&self.cache, wanted).inspect_err(|&error| self.abort(error)),
            None => Ok(()),
        }
    }

    /// Commits what has waited for longer than the interval of commits.
    pub(crate) fn commit_if_due(&self, core: &mut Core) -> Result<()> {
        let now = self.context.clock.now().secs;
        // A clock that was set back does not keep it waiting.
        let age = core.transaction.began.map(|began| now.wrapping_sub(began));
        match age {
            Some(age) if (0..i64::from(self.commit_interval)).contains(&age) => Ok(()),
            _ => self.commit(core),
        }
    }

    /// Makes file data durable.
    pub(crate) fn flush_data(&self) -> Result<()> {
        if self.health.is_aborted() && self.cache.is_synced() {
            return Ok(());
        }
        self.check_not_aborted()?;
        let synced = self.cache.sync();
        self.note_failures();
        // Nobody knows what a flush that failed has lost: metadata on its way to its place, too.
        synced.inspect_err(|&error| self.abort(error))
    }

    /// What the transaction freed is free now, and what nobody needs leaves memory.
    fn finish(&self, core: &mut Core) {
        let id = core.transaction.id.wrapping_add(1).max(1);
        let done = core::mem::replace(&mut core.transaction, Transaction::new(id));
        // Before anybody can get them: what is discarded is nobody's.
        self.discard_freed(&done.freed);
        for (start, count) in done.freed {
            release(&mut core.groups, &self.geometry, start, count);
            core.promised.freed -= count;
        }
        self.zero_cut_tails(done.cut_tails);
        drop(done.buffers);
        for inode in &done.inodes {
            // The table's reference and this one.
            self.inodes.release(inode, |_| Arc::strong_count(inode) > 2);
        }
        if id.is_multiple_of(SWEEP_EVERY) {
            self.inodes.sweep();
        }
    }

    /// Brings every block of the transaction into the state in which it goes to the disk.
    fn seal(&self, core: &mut Core) -> Result<()> {
        let geometry = &self.geometry;
        for inode in &core.transaction.inodes {
            let (block, offset) = self.record_location(inode.ino);
            let (buffer, _) =
                core.transaction.buffers.get(&block).ok_or_else(|| self.corrupt("ext4: lost inode table block"))?;
            let mut bytes = self.cache.write(buffer, Dirty::Held);
            let mut record = inode.record.write();
            let links = inode.links_on_disk(&record);
            record.store(&mut bytes[offset..offset + geometry.inode_size], geometry, inode.ino, links);
        }
        for (buffer, seal) in core.transaction.buffers.values() {
            match *seal {
                Seal::BlockBitmap(group) => {
                    let sum = bitmap_checksum(geometry, &buffer.read(), geometry.blocks_per_group);
                    core.groups[group as usize].desc.block_bitmap_checksum = sum;
                }
                Seal::InodeBitmap(group) => {
                    let sum = bitmap_checksum(geometry, &buffer.read(), geometry.inodes_per_group);
                    core.groups[group as usize].desc.inode_bitmap_checksum = sum;
                }
                Seal::None | Seal::Superblock => {}
                _ if geometry.features.has_checksums() => {
                    verify::seal(geometry, &mut self.cache.write(buffer, Dirty::Held), buffer.block(), *seal);
                }
                _ => {}
            }
        }
        for &number in &core.transaction.groups {
            let (block, offset) = geometry.desc_location(number);
            let group = &mut core.groups[number as usize];
            group.dirty = false;
            if let Some((buffer, _)) = core.transaction.buffers.get(&block) {
                let mut bytes = self.cache.write(buffer, Dirty::Held);
                group.desc.store(&mut bytes[offset..offset + geometry.desc_size], geometry, number);
            }
        }
        let (block, offset) = geometry.super_location();
        if let Some((buffer, _)) = core.transaction.buffers.get(&block) {
            let mut bytes = self.cache.write(buffer, Dirty::Held);
            self.store_superblock(core, &mut bytes[offset..offset + SUPERBLOCK_SIZE]);
        }
        core.transaction.groups.clear();
        Ok(())
    }

    /// Puts what changes while mounted into the superblock.
    pub(crate) fn store_superblock(&self, core: &Core, raw: &mut [u8]) {
        put32(raw, field::FREE_BLOCKS_COUNT_LO, core.counters.free_blocks as u32);
        if self.geometry.features.incompat.contains(crate::features::Incompat::BIT64) {
            put32(raw, field::FREE_BLOCKS_COUNT_HI, (core.counters.free_blocks >> 32) as u32);
        }
        put32(raw, field::FREE_INODES_COUNT, core.counters.free_inodes as u32);
        put32(raw, field::LAST_ORPHAN, core.orphans.head());
        let now = self.context.clock.now().secs;
        put32(raw, field::WTIME, now as u32);
        put8(raw, field::WTIME_HI, (now >> 32) as u8);
        put64(raw, field::KBYTES_WRITTEN, self.written_before + (self.cache.bytes_written() >> 10));
        if let Some(failure) = self.health.failure() {
            let state = crate::bytes::le16(raw, field::STATE) | STATE_ERROR;
            put16(raw, field::STATE, state);
            failure.store(raw);
        }
        superblock::seal(raw);
    }

    /// Makes one inode durable.
    pub(crate) fn sync_inode(&self, inode: &Inode, kind: SyncKind) -> Result<()> {
        let mut core = self.core.lock();
        let running = core.transaction.id;
        let changed = match kind {
            SyncKind::All => inode.transaction.load(Ordering::Relaxed) == running,
            SyncKind::Data => inode.data_transaction.load(Ordering::Relaxed) == running,
        };
        if changed {
            return self.commit(&mut core);
        }
        drop(core);
        self.flush_data()
    }
}
