//! One operation's part in the running transaction.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use block::{Buffer, Dirty};
use vfs::{Errno, Error, Result, Timestamp};

use super::undo::{Change, UndoLog};
use super::{Core, Seal, Try};
use crate::fs::Ext4;
use crate::group::Group;
use crate::inode::Inode;
use crate::inode::record::Record;
use crate::inode::table::Slot;
use crate::space::{window, withhold};

/// One operation while it runs. All changes of metadata go through it.
pub(crate) struct Handle<'a> {
    pub(crate) fs: &'a Ext4,
    pub(crate) core: &'a mut Core,
    /// The time that the operation happens.
    pub(crate) now: Timestamp,
    pub(crate) attempt: Try,
    number: u64,
    /// The log has no room for all that it wanted to change; what is among that and was changed all the same.
    crowded: bool,
    refused: Vec<Buffer>,
}

impl<'a> Handle<'a> {
    pub(super) fn new(fs: &'a Ext4, core: &'a mut Core, attempt: Try) -> Self {
        let whiteout = core.whiteout.clone();
        core.undo.begin(core.counters, whiteout);
        let now = fs.geometry.fit_time(fs.context.clock.now());
        core.handles += 1;
        let number = core.handles;
        Self { fs, core, now, attempt, number, crowded: false, refused: Vec::new() }
    }

    /// The operation has succeeded.
    pub(super) fn stop(self) {
        let Core { undo, transaction, journal, .. } = &mut *self.core;
        for (start, count) in undo.freed() {
            transaction.drop_buffers(start, count);
            if let Some(journal) = journal {
                journal.copies_within(start, count, |block| transaction.revoked.push(block));
            }
            self.fs.cache.forget(start, count);
            transaction.freed.push((start, count));
        }
        for (start, count) in undo.forgotten() {
            self.fs.cache.forget(start, count);
        }
        undo.clear();
    }

    /// The operation has failed: everything is as before.
    pub(super) fn undo(self) {
        UndoLog::undo(self.fs, self.core);
        self.fs.missed.lock().forget();
        for buffer in &self.refused {
            // What a checkpoint has still to bring to its place stays dirty for that.
            if !self.core.journal.as_ref().is_some_and(|journal| journal.is_pending(buffer.block())) {
                self.fs.cache.let_go(buffer);
            }
        }
        let touched: Vec<u32> =
            self.core.windows.iter().filter(|(_, window)| window.handle == self.number).map(|(&ino, _)| ino).collect();
        for ino in touched {
            window::discard(self.fs, self.core, ino);
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A metadata block, read and checked.
    pub(crate) fn metadata(&self, block: u64, seal: Seal) -> Result<Buffer> {
        self.fs.metadata(block, seal)
    }

    /// Makes a block part of the transaction, if the log has room for it. That is asked here, for each block: so whatever an operation
    /// does, the transaction can always be committed.
    fn join(&mut self, buffer: &Buffer, seal: Seal) -> Result<()> {
        let is_new = !self.core.transaction.buffers.contains_key(&buffer.block());
        if is_new && !self.fs.fits(self.core, 1) {
            return Err(self.refuse());
        }
        self.core.transaction.began.get_or_insert(self.now.secs);
        self.core.transaction.buffers.insert(buffer.block(), (buffer.clone(), seal));
        Ok(())
    }

    /// The handle is to fail for want of room in the log: it is undone, and tried once more with all of the log before it.
    #[cold]
    pub(crate) fn refuse(&mut self) -> Error {
        self.crowded = true;
        Error::new(Errno::ENOSPC, "operation larger than the journal")
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Fails if the log had no room for a change that could not say so. To be asked before file data changes, which has no way back.
    pub(crate) fn check_room(&mut self) -> Result<()> {
        if self.crowded { Err(self.refuse()) } else { Ok(()) }
    }

    /// Makes a metadata block without content: all zero.
    pub(crate) fn create(&mut self, block: u64, seal: Seal) -> Result<Buffer> {
        let buffer = self.fs.cache.create(block)?;
        buffer.set_verified();
        self.core.undo.push(Change::Created(block));
        self.join(&buffer, seal)?;
        drop(self.fs.cache.write(&buffer, Dirty::Held));
        Ok(buffer)
    }

    /// Changes a range of a metadata block's bytes.
    pub(crate) fn modify<T>(
        &mut self,
        buffer: &Buffer,
        seal: Seal,
        range: Range<usize>,
        change: impl FnOnce(&mut [u8]) -> T,
    ) -> T {
        if self.join(buffer, seal).is_err() {
            self.refused.push(buffer.clone());
        }
        let mut bytes = self.fs.cache.write(buffer, Dirty::Held);
        let bytes = &mut bytes[range.clone()];
        self.core.undo.push_bytes(buffer, range.start, bytes);
        change(bytes)
    }

    /// Changes bytes of a metadata block to `new`, and logs only what differs.
    pub(crate) fn replace(&mut self, buffer: &Buffer, seal: Seal, offset: usize, new: &[u8]) {
        let (first, last) = {
            let old = buffer.read();
            let old = &old[offset..offset + new.len()];
            let Some(first) = old.iter().zip(new).position(|(a, b)| a != b) else { return };
            let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
            (first, new.len() - same)
        };
        self.modify(buffer, seal, offset + first..offset + last, |bytes| bytes.copy_from_slice(&new[first..last]));
    }

    /// Changes an inode's record. The block of the table that it will be stored in joins the transaction.
    pub(crate) fn update<T>(&mut self, inode: &Arc<Inode>, change: impl FnOnce(&mut Record) -> T) -> Result<T> {
        self.touch(inode)?;
        Ok(change(&mut inode.record.write()))
    }

    /// Makes an inode part of the transaction, and saves its record for the case of failure.
    pub(crate) fn touch(&mut self, inode: &Arc<Inode>) -> Result<()> {
        if inode.handle.load(Ordering::Relaxed) == self.number {
            return Ok(());
        }
        let id = self.core.transaction.id;
        if inode.transaction.load(Ordering::Relaxed) != id {
            let (block, _) = self.fs.record_location(inode.ino);
            if !self.core.transaction.buffers.contains_key(&block) {
                let buffer = self.metadata(block, Seal::None)?;
                self.join(&buffer, Seal::None)?;
                drop(self.fs.cache.write(&buffer, Dirty::Held));
            }
            self.core.transaction.inodes.push(inode.clone());
            inode.transaction.store(id, Ordering::Relaxed);
        }
        inode.handle.store(self.number, Ordering::Relaxed);
        self.core.undo.push_record(inode);
        Ok(())
    }

    /// Notes that an inode begins or gets its name, or that its size, its mapping or an attribute changes: what `fdatasync`
    /// must not miss.
    pub(crate) fn touch_data(&mut self, inode: &Arc<Inode>) -> Result<()> {
        inode.data_transaction.store(self.core.transaction.id, Ordering::Relaxed);
        self.touch(inode)
    }

    /// A new inode: it takes the place of whatever the table had under its number.
    pub(crate) fn insert_inode(&mut self, inode: &Arc<Inode>) -> Result<()> {
        self.fs.missed.lock().forget();
        let before: Option<Slot> = self.fs.inodes.insert(inode);
        self.core.undo.push(Change::Slot(inode.clone(), before));
        self.touch_data(inode)
    }

    /// A group to be changed. The superblock's totals are not: a mount counts them, as Linux's and `e2fsck` do, and an unmount writes them.
    pub(crate) fn group(&mut self, group: u32) -> Result<&mut Group> {
        if !self.core.groups[group as usize].dirty {
            let (block, _) = self.fs.geometry.desc_location(group);
            let buffer = self.metadata(block, Seal::None)?;
            self.join(&buffer, Seal::None)?;
            drop(self.fs.cache.write(&buffer, Dirty::Held));
            self.core.transaction.groups.push(group);
            self.core.groups[group as usize].dirty = true;
        }
        self.core.undo.push(Change::Group(group, self.core.groups[group as usize].desc));
        Ok(&mut self.core.groups[group as usize])
    }

    /// The head of the orphan list changes with this transaction, in the superblock.
    pub(crate) fn touch_superblock(&mut self) -> Result<()> {
        let (block, _) = self.fs.geometry.super_location();
        if !self.core.transaction.buffers.contains_key(&block) {
            let buffer = self.metadata(block, Seal::None)?;
            self.join(&buffer, Seal::Superblock)?;
            drop(self.fs.cache.write(&buffer, Dirty::Held));
        }
        Ok(())
    }

    /// Blocks were taken out of the bitmap.
    pub(crate) fn note_taken(&mut self, start: u64, count: u64) {
        self.note_fresh(start, count);
        self.core.undo.push(Change::Taken(start, count));
    }

    /// Blocks hold nothing of their file's yet. If the handle fails, that they did is too much and does no harm.
    pub(crate) fn note_fresh(&mut self, start: u64, count: u64) {
        self.fs.forget_lost(start, count);
        self.core.transaction.fresh.push((start, count));
    }

    /// Blocks went back into the bitmap: nobody gets them before the commit.
    pub(crate) fn note_freed(&mut self, start: u64, count: u64) {
        withhold(&mut self.core.groups, &self.fs.geometry, start, count);
        self.core.promised.freed += count;
        self.core.undo.push(Change::Freed(start, count));
    }

    /// The content of blocks is of no more interest once the handle has succeeded.
    pub(crate) fn forget_content(&mut self, start: u64, count: u64) {
        self.core.undo.push(Change::Forgotten(start, count));
    }

    /// Puts an inode without links, or one that is being cut, on the orphan list, if it is not there for the other reason.
    pub(crate) fn add_orphan(&mut self, inode: &Arc<Inode>) -> Result<()> {
        if self.core.orphans.contains(inode.ino) {
            return Ok(());
        }
        self.touch_superblock()?;
        let next = self.core.orphans.head();
        self.update(inode, |record| record.dtime = next)?;
        self.core.orphans.push(inode.clone());
        self.core.undo.push(Change::OrphanAdded(inode.ino));
        Ok(())
    }

    /// Takes an inode off the orphan list, if it is there.
    pub(crate) fn remove_orphan(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let Some((_, beside)) = self.core.orphans.get(inode.ino) else { return Ok(()) };
        let (next, newer) = (beside.older, self.core.orphans.get(beside.newer).map(|(newer, _)| newer.clone()));
        match newer {
            Some(newer) => self.update(&newer, |record| record.dtime = next)?,
            None => self.touch_superblock()?,
        }
        self.update(inode, |record| record.dtime = 0)?;
        if let Some(beside) = self.core.orphans.remove(inode.ino) {
            self.core.undo.push(Change::OrphanRemoved(inode.clone(), beside));
        }
        Ok(())
    }

    /// A staged inode has its name now.
    pub(crate) fn note_published(&mut self, inode: &Arc<Inode>) {
        if inode.staged.swap(false, Ordering::Relaxed) {
            self.core.undo.push(Change::Published(inode.clone()));
        }
    }
}
