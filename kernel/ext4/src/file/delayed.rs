//! Data without a place: what was written into holes, until write-back chooses its blocks.
//!
//! A block of a file that has no block of the disk is in the buffer cache under a number made of inode and position
//! ([`Ext4::unplaced`]), held back from the disk. [`Delayed`] knows which blocks of a file these are; the file's tree has holes
//! there. A commit gives all of them their places first, in the running transaction ([`Ext4::place_all`]): whole
//! stretches of a file at a time, so that they lie in one piece. So a commit is a snapshot of names, sizes and content
//! alike, and what is cut or unlinked before costs the disk nothing.
//!
//! Lock order: core → `content` → `Inode::delayed` → cache.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::Ordering;

use block::UNPLACED;
use vfs::{Errno, Result};

use super::write::{CREDITS, Delays};
use crate::extent::node::{Header, capacity};
use crate::extent::{Extent, Mapping, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::space::{Promised, Share};
use crate::transaction::{Core, Handle, Locks, Try};

/// Stretches that one handle places at most.
const STRETCHES: usize = 64;
/// Inodes from this number on have no numbers for blocks without a place.
const INODES: u32 = 1 << 31;

/// Which blocks of a file have no place: stretches in order, apart from each other.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    stretches: Vec<(u32, u32)>,
    blocks: u32,
    promised: Share,
}

/// Blocks of a file in a row that got a place in a row.
struct Placed {
    block: u32,
    len: u32,
    start: u64,
}

/// Whether blocks are kept free behind a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    ToGrow,
    /// Space is short: what is promised is all that there is.
    None,
}

impl Delayed {
    /// The stretch that begins at or before `block`, by its index.
    fn before(&self, block: u32) -> Option<usize> {
        self.stretches.partition_point(|&(start, _)| start <= block).checked_sub(1)
    }

    /// How many blocks from `block` on have no place; else how many have one or are holes, if it ends.
    fn at(&self, block: u32) -> core::result::Result<u32, Option<u32>> {
        let before = self.before(block);
        if let Some(&(start, len)) = before.and_then(|index| self.stretches.get(index))
            && block - start < len
        {
            return Ok(len - (block - start));
        }
        let next = self.stretches.get(before.map_or(0, |index| index + 1));
        Err(next.map(|&(start, _)| start - block))
    }

    /// Adds blocks, none of which is there.
    fn insert(&mut self, start: u32, len: u32) {
        self.blocks += len;
        let at = self.before(start).map_or(0, |index| index + 1);
        let joins_next = self.stretches.get(at).is_some_and(|next| next.0 == start + len);
        let next_len = if joins_next { self.stretches[at].1 } else { 0 };
        if let Some(last) = at.checked_sub(1).map(|index| &mut self.stretches[index])
            && last.0 + last.1 == start
        {
            last.1 += len + next_len;
            if joins_next {
                self.stretches.remove(at);
            }
        } else if joins_next {
            self.stretches[at] = (start, len + next_len);
        } else {
            self.stretches.insert(at, (start, len));
        }
    }

    /// Takes the first blocks of the first stretch away.
    fn remove_first(&mut self, len: u32) {
        if let Some(first) = self.stretches.first_mut() {
            let len = len.min(first.1);
            *first = (first.0 + len, first.1 - len);
            self.blocks -= len;
            if first.1 == 0 {
                self.stretches.remove(0);
            }
        }
    }

    /// Takes the last stretch, or its part from block `from` on, away.
    fn remove_last(&mut self, from: u32) -> Option<(u32, u32)> {
        let last = self.stretches.last_mut()?;
        let (start, len) = *last;
        if u64::from(start) + u64::from(len) <= u64::from(from) {
            return None;
        }
        let cut = start.max(from);
        let gone = len - (cut - start);
        last.1 -= gone;
        if last.1 == 0 {
            self.stretches.pop();
        }
        self.blocks -= gone;
        Some((cut, gone))
    }
}

impl Inode {
    /// Whether the file has data without a place.
    pub(crate) fn has_delayed(&self) -> bool {
        self.delayed_blocks.load(Ordering::Relaxed) != 0
    }
}

impl Ext4 {
    /// The cache's number of a block without a place.
    pub(crate) fn unplaced(inode: &Inode, block: u32) -> u64 {
        UNPLACED | u64::from(inode.ino) << 32 | u64::from(block)
    }

    /// What block `block` of a file maps to, data without a place included. The caller holds `content`.
    pub(crate) fn map_file(&self, inode: &Inode, block: u32) -> Result<Mapping> {
        if !inode.has_delayed() {
            return self.map(inode, block);
        }
        match inode.delayed.lock().at(block) {
            Ok(len) => Ok(Mapping::Delayed { start: Self::unplaced(inode, block), len }),
            Err(next) => Ok(match self.map(inode, block)? {
                Mapping::Hole { len } => Mapping::Hole { len: next.map_or(len, |next| next.min(len)) },
                mapping => mapping,
            }),
        }
    }

    /// What is to be promised for a file with so much data without a place.
    fn share(&self, inode: &Inode, blocks: u32, stretches: usize) -> Share {
        /// Of a block map that will become a tree.
        const UNKNOWN: u16 = 2;
        let depth = Header::parse(&inode.record.read().map, None).map_or(UNKNOWN, |header| header.depth);
        Share::of(blocks, stretches, depth, capacity(self.geometry.block_size))
    }

    /// Forgets a file's data without a place from block `from` on. `content` is held exclusively, or nobody has the file.
    pub(crate) fn drop_delayed(&self, core: &mut Core, inode: &Inode, from: u32) {
        if !inode.has_delayed() {
            return;
        }
        let mut delayed = inode.delayed.lock();
        while let Some((start, len)) = delayed.remove_last(from) {
            self.cache.forget(Self::unplaced(inode, start), u64::from(len));
        }
        self.promise(core, inode, &mut delayed);
    }

    /// Promises what a file's data without a place needs by now, and keeps the counts.
    fn promise(&self, core: &mut Core, inode: &Inode, delayed: &mut Delayed) {
        let share = self.share(inode, delayed.blocks, delayed.stretches.len());
        core.promise(mem::replace(&mut delayed.promised, share), share);
        inode.delayed_blocks.store(delayed.blocks, Ordering::Relaxed);
        self.delayed_blocks.store(core.promised.data, Ordering::Relaxed);
    }

    /// Memory of data without a place, in bytes.
    pub(crate) fn delayed_bytes(&self) -> usize {
        (self.delayed_blocks.load(Ordering::Relaxed) << self.geometry.block_bits) as usize
    }

    /// Metadata blocks that change at most when data without a place gets it: a node of each file's tree and one for each half
    /// node of pieces, full nodes and what they split into, bitmaps and descriptors. The log is kept free for so many.
    pub(crate) fn placing_credits(&self, core: &Core) -> usize {
        self.placing(&core.promised, core.delayed.len(), core.groups.len())
    }

    fn placing(&self, promised: &Promised, files: usize, groups: usize) -> usize {
        let blocks = promised.data as usize;
        let splits = promised.splits as usize;
        // Half a node each, and what leads to those; it grows by a level at times.
        let nodes = files + blocks / (capacity(self.geometry.block_size) / 2 - 2) + 2 * splits;
        let bitmaps = (blocks + nodes).min(groups);
        nodes + bitmaps + bitmaps.min(self.geometry.desc_blocks as usize)
    }

    /// Gives all data without a place its place, in the running transaction.
    ///
    /// # Errors
    /// `ENOMEM`, or `ENOSPC` where the log [has no room](Core::crowded): the rest stays as it is. A file whose data can have no place,
    /// for the medium is damaged, loses it; that is told by its next `fsync(2)`.
    pub(crate) fn place_all(&self, core: &mut Core) -> Result<()> {
        while let Some(inode) = core.delayed.last().cloned() {
            self.place_inode(core, &inode)?;
            core.delayed.pop();
            inode.is_delayed.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// As [`place_all`](Self::place_all), for one file.
    pub(crate) fn place_inode(&self, core: &mut Core, inode: &Arc<Inode>) -> Result<()> {
        let locks = Locks::new([Some(inode.clone()), None, None, None]);
        let mut room = Room::ToGrow;
        while inode.has_delayed() {
            // The promise is kept now: what it holds may be taken.
            core.promise(mem::take(&mut inode.delayed.lock().promised), Share::default());
            let result = self.run(core, &locks, Try::Last, |h| h.place_delayed(inode, room));
            match result {
                Ok(()) => {}
                Err(error) if core.crowded => {
                    self.promise(core, inode, &mut inode.delayed.lock());
                    return Err(error);
                }
                Err(error) if error == Errno::ENOSPC && room == Room::ToGrow => {
                    self.discard_windows(core);
                    room = Room::None;
                }
                Err(error) if error == Errno::ENOMEM => {
                    self.promise(core, inode, &mut inode.delayed.lock());
                    return Err(error);
                }
                Err(error) => {
                    log::error!("ext4: data of inode {} has no place: {error}", inode.ino);
                    self.tell_lost(inode.ino);
                    self.drop_delayed(core, inode, 0);
                    break;
                }
            }
            self.promise(core, inode, &mut inode.delayed.lock());
        }
        Ok(())
    }
}

impl Handle<'_> {
    /// Whether `more` blocks of a file may wait for their place. Where space is short they may not, so that the last
    /// block can be had and whoever does not get it is told; nor where the log is too small for all that placing them may change.
    ///
    /// # Errors
    /// As [`refuse`](Self::refuse), where the log may have more room after a commit.
    pub(super) fn delays(&mut self, inode: &Inode, more: u32) -> Result<Delays> {
        /// Blocks that are left for what happens meanwhile.
        const MARGIN: u64 = 64;
        let (before, after) = self.shares(inode, more, more.div_ceil(2) as usize);
        let need = after.blocks().saturating_sub(before.blocks());
        if inode.ino >= INODES || self.core.available() < need + MARGIN {
            return Ok(Delays::No);
        }
        match self.fits_with(before, after, CREDITS) {
            true => Ok(Delays::Yes),
            false if self.attempt == Try::First => Err(self.refuse()),
            false => Ok(Delays::No),
        }
    }

    /// Fails unless the log has room for placing `more` blocks of a file, in so many stretches, beside what waits already.
    pub(super) fn check_placing(&mut self, inode: &Inode, more: u32, stretches: usize) -> Result<()> {
        let (before, after) = self.shares(inode, more, stretches);
        if self.fits_with(before, after, 0) { self.check_room() } else { Err(self.refuse()) }
    }

    /// What a file's data without a place is promised, and what it will be.
    fn shares(&self, inode: &Inode, more: u32, stretches: usize) -> (Share, Share) {
        let delayed = inode.delayed.lock();
        let (blocks, stretches) = (delayed.blocks.saturating_add(more), delayed.stretches.len() + stretches);
        (delayed.promised, self.fs.share(inode, blocks, stretches))
    }

    fn fits_with(&self, before: Share, after: Share, credits: usize) -> bool {
        let mut promised = self.core.promised;
        promised.change(before, after);
        let placing = self.fs.placing(&promised, self.core.delayed.len() + 1, self.core.groups.len());
        self.fs.fits(self.core, placing.saturating_sub(self.fs.placing_credits(self.core)) + credits)
    }

    /// Notes that blocks of a hole have data without a place now.
    pub(super) fn delay(&mut self, inode: &Arc<Inode>, block: u32, len: u32) {
        let mut delayed = inode.delayed.lock();
        delayed.insert(block, len);
        self.fs.promise(self.core, inode, &mut delayed);
        if !inode.is_delayed.swap(true, Ordering::Relaxed) {
            self.core.delayed.push(inode.clone());
        }
    }

    /// A file's tree has changed, and with it what its data without a place needs.
    pub(super) fn renew_promise(&mut self, inode: &Inode) {
        if inode.has_delayed() {
            self.fs.promise(self.core, inode, &mut inode.delayed.lock());
        }
    }

    /// Gives the first stretches of a file's data without a place theirs.
    fn place_delayed(&mut self, inode: &Arc<Inode>, room: Room) -> Result<()> {
        let stretches: Vec<(u32, u32)> = inode.delayed.lock().stretches.iter().take(STRETCHES).copied().collect();
        let mut all: Vec<Placed> = Vec::new();
        for (start, len) in stretches {
            let (mut block, mut left) = (start, len);
            while left > 0 && all.len() < STRETCHES {
                let want = left.min(Extent::max_len(State::Written));
                let goal = self.file_goal(inode, block)?;
                let reserve =
                    if left == want && room == Room::ToGrow { self.reserve_behind(inode, block + want) } else { 0 };
                let (start, len) = self.allocate_growing(inode, goal, want, reserve)?;
                let extent = Extent { block, len, start, state: State::Written };
                self.remap(inode, block, extent.end(), Some(extent), Removed::Keep)?;
                self.count_blocks(inode, i64::from(len))?;
                all.push(Placed { block, len, start });
                block += len;
                left -= len;
            }
        }
        self.check_room()?;
        // Nothing can fail any more.
        let mut delayed = inode.delayed.lock();
        for Placed { block, len, start } in all {
            delayed.remove_first(len);
            let from = Ext4::unplaced(inode, block);
            if let Err(error) = self.fs.cache.place(from, start, u64::from(len), inode.ino) {
                self.fs.abort(error);
            }
        }
        inode.delayed_blocks.store(delayed.blocks, Ordering::Relaxed);
        Ok(())
    }

    /// How many blocks to keep free for a file behind block `end`, which it will probably grow past: it has grown
    /// before, and this is its end.
    fn reserve_behind(&self, inode: &Inode, end: u32) -> u32 {
        /// The most, in bytes.
        const MOST: u64 = 2 << 20;
        let bits = self.fs.geometry.block_bits;
        let record = inode.record.read();
        let at_end = record.size.div_ceil(1 << bits) <= u64::from(end);
        if at_end && record.sectors > 0 { (record.size.min(MOST) >> bits) as u32 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_are_cut_from_both_ends() {
        let mut delayed = Delayed::default();
        delayed.insert(10, 5);
        delayed.insert(20, 5);
        delayed.insert(5, 1);
        delayed.insert(15, 5);
        assert_eq!(delayed.stretches, [(5, 1), (10, 15)]);
        delayed.insert(6, 4);
        assert_eq!((delayed.stretches.as_slice(), delayed.blocks), (&[(5, 20)][..], 20));
        delayed.insert(40, 2);
        assert_eq!(delayed.at(0), Err(Some(5)));
        assert_eq!(delayed.at(5), Ok(20));
        assert_eq!(delayed.at(24), Ok(1));
        assert_eq!(delayed.at(25), Err(Some(15)));
        assert_eq!(delayed.at(42), Err(None));
        delayed.remove_first(3);
        assert_eq!(delayed.at(7), Err(Some(1)));
        assert_eq!(delayed.remove_last(22), Some((40, 2)));
        assert_eq!(delayed.remove_last(22), Some((22, 3)));
        assert_eq!(delayed.remove_last(22), None);
        assert_eq!((delayed.stretches.as_slice(), delayed.blocks), (&[(8, 14)][..], 14));
        assert_eq!(delayed.remove_last(0), Some((8, 14)));
        assert_eq!((delayed.remove_last(0), delayed.blocks), (None, 0));
    }
}
