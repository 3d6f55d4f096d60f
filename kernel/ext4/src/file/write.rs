//! Writes. Data goes into the cache; the device sees it at write-back.
//!
//! A write into a hole is promised space and waits for its place ([`delayed`](super::delayed)); only where space is short it
//! gets its blocks at once. A write first has all its blocks mapped or promised and the blocks that it covers only in part in
//! the cache; then it copies, which cannot fail for want of space.

use alloc::sync::Arc;
use alloc::vec::Vec;

use block::Dirty;
use vfs::{Errno, Error, Result};

use crate::extent::{Extent, Mapping, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::{Handle, Try};

/// Metadata blocks that a write may change.
pub(super) const CREDITS: usize = 48;
/// Stretches that one handle gives blocks, or makes written ones, at most: each may change a bitmap, a descriptor and nodes.
const STRETCHES: usize = 16;
/// The most that one handle writes, so that the transaction and the cache stay in bounds.
const MAX_WRITE: usize = 4 << 20;

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    At(u64),
    /// The end of the file, whatever it is by then.
    End,
}

/// Whether a write into a hole waits for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delays {
    Yes,
    /// Space is short: it is taken now.
    No,
}

/// Blocks that a write covers, in a row on both sides.
pub(crate) struct Piece {
    block: u32,
    len: u32,
    start: u64,
    /// The blocks have no content yet: what is not written of them is zero.
    fresh: bool,
    /// When they may be written: those without a place are held.
    dirty: Dirty,
}

impl Piece {
    /// A hole that is filled with data without a place.
    fn is_newly_delayed(&self) -> bool {
        self.fresh && self.dirty == Dirty::Held
    }
}

impl Ext4 {
    /// Writes `data`; returns the offset and how many bytes it took, fewer where space ran out.
    pub(crate) fn write_file(&self, inode: &Arc<Inode>, position: Position, data: &[u8]) -> Result<(u64, usize)> {
        let most = MAX_WRITE.min((self.cache.limit() / 8).max(1).next_multiple_of(self.geometry.block_size));
        let mut done = 0;
        let mut first = None;
        while first.is_none() || done < data.len() {
            let mut part = &data[done..data.len().min(done + most)];
            let at = match (first, position) {
                (Some(offset), _) => Position::At(offset + done as u64),
                (None, position) => position,
            };
            let mut full = false;
            let result = loop {
                let mut fits = 0;
                let result = self.transact_on_whole(CREDITS, inode, |h| h.write(inode, at, part, &mut fits));
                match result {
                    // A part is better than nothing.
                    Err(error) if error == Errno::ENOSPC && fits > 0 => {
                        full = true;
                        part = &part[..fits];
                    }
                    result => break result,
                }
            };
            match result {
                Ok((offset, len)) => {
                    first.get_or_insert(offset);
                    done += len;
                    if full || len == 0 {
                        break;
                    }
                }
                Err(error) if first.is_none() => return Err(error),
                Err(_) => break,
            }
            self.throttle()?;
        }
        Ok((first.unwrap_or(0), done))
    }

    /// Makes bytes of one block zero, where it has content.
    pub(crate) fn zero_bytes(&self, inode: &Inode, from: u64, to: u64) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let size = self.geometry.block_size;
        let block = (from >> self.geometry.block_bits) as u32;
        let (start, dirty) = match self.map_file(inode, block)? {
            Mapping::Blocks { start, state: State::Written, .. } => (start, Dirty::Queued(inode.ino)),
            Mapping::Delayed { start, .. } => (start, Dirty::Held),
            _ => return Ok(()),
        };
        let within = from as usize & (size - 1);
        let len = ((to - from) as usize).min(size - within);
        let buffer = self.cache.read(start)?;
        let is_zero = buffer.read()[within..within + len].iter().all(|&byte| byte == 0);
        if !is_zero {
            self.cache.write(&buffer, dirty)[within..within + len].fill(0);
        }
        Ok(())
    }
}

impl Handle<'_> {
    /// Writes as much as one handle may; returns where, and how much that was. Out of space for good, `fits` says how many bytes there
    /// was space for.
    fn write(&mut self, inode: &Arc<Inode>, position: Position, data: &[u8], fits: &mut usize) -> Result<(u64, usize)> {
        let size = inode.record.read().size;
        let offset = match position {
            Position::At(offset) => offset,
            Position::End => size,
        };
        if data.is_empty() {
            return Ok((offset, 0));
        }
        let most = self.fs.geometry.max_file_size();
        if offset >= most {
            return Err(Error::new(Errno::EFBIG, "file size"));
        }
        let len = data.len().min(usize::try_from(most - offset).unwrap_or(usize::MAX));
        if offset + len as u64 > size {
            self.check_growth(inode)?;
        }
        let bits = self.fs.geometry.block_bits;
        let first = (offset >> bits) as u32;
        let last = ((offset + len as u64 - 1) >> bits) as u32;
        let mut delays = None;
        let mut pieces: Vec<Piece> = core::mem::take(&mut self.core.pieces);
        pieces.clear();
        let mut at = first;
        let mut changed = 0;
        while at <= last && changed < STRETCHES {
            let mut taken = 0;
            match self.map_for_write(inode, at, last - at + 1, &mut delays, &mut taken) {
                Ok(piece) => {
                    at += piece.len;
                    changed += usize::from(piece.fresh && !piece.is_newly_delayed());
                    pieces.push(piece);
                }
                Err(error) => {
                    // Only when no more space can be had. Blocks without a node to lead to them: one of them will be it.
                    if self.attempt == Try::Last {
                        let end = u64::from(at) + u64::from(taken.saturating_sub(1));
                        *fits = (end << bits).saturating_sub(offset) as usize;
                    }
                    return Err(error);
                }
            }
            if at == 0 {
                break;
            }
        }
        let len = if at > last || at == 0 { len } else { len.min(((u64::from(at) << bits) - offset) as usize) };
        let data = &data[..len];
        let now = self.now;
        let end = offset + len as u64;
        let new = pieces.iter().filter(|piece| piece.is_newly_delayed());
        let (new_blocks, stretches) = (new.clone().map(|piece| piece.len).sum(), new.count());
        if end > size || stretches > 0 {
            self.touch_data(inode)?;
        } else {
            self.touch(inode)?;
        }
        // Neither the tree nor what it is promised changes where all blocks are there.
        let grows = pieces.iter().any(|piece| piece.fresh);
        if grows {
            self.check_placing(inode, new_blocks, stretches)?;
        }
        if offset > size {
            self.zero_tail(inode, size)?;
        }
        let copied = self.load_edges(&pieces, offset, len);
        let copied = copied.and_then(|()| pieces.iter().try_for_each(|piece| self.copy_in(piece, offset, data)));
        for piece in pieces.iter().filter(|piece| piece.is_newly_delayed()) {
            match copied {
                Ok(()) => self.delay(inode, piece.block, piece.len),
                Err(_) => self.fs.cache.forget(piece.start, u64::from(piece.len)),
            }
        }
        copied?;
        if grows {
            self.renew_promise(inode);
        }
        self.update(inode, |record| {
            record.size = record.size.max(end);
            record.mtime = now;
            record.ctime = now;
        })?;
        self.core.pieces = pieces;
        Ok((offset, len))
    }

    /// Sees to it that `block` has a written block behind it, or is promised one; `want` are wanted, the first hole decides for all whether
    /// they wait for their place. How many blocks were taken is told even if it fails.
    fn map_for_write(
        &mut self,
        inode: &Arc<Inode>,
        block: u32,
        want: u32,
        delays: &mut Option<Delays>,
        taken: &mut u32,
    ) -> Result<Piece> {
        let mapping = self.fs.map_file(inode, block)?;
        if let (Mapping::Hole { .. }, None) = (&mapping, &delays) {
            *delays = Some(self.delays(inode, want)?);
        }
        match mapping {
            Mapping::Blocks { start, len, state: State::Written } => {
                Ok(Piece { block, len: len.min(want), start, fresh: false, dirty: Dirty::Queued(inode.ino) })
            }
            Mapping::Delayed { start, len } => {
                Ok(Piece { block, len: len.min(want), start, fresh: false, dirty: Dirty::Held })
            }
            Mapping::Hole { len } if *delays == Some(Delays::Yes) => {
                self.ensure_extents(inode)?;
                let start = Ext4::unplaced(inode, block);
                Ok(Piece { block, len: len.min(want), start, fresh: true, dirty: Dirty::Held })
            }
            Mapping::Blocks { start, len, state: State::Unwritten } => {
                let len = len.min(want);
                let extent = Extent { block, len, start, state: State::Written };
                self.remap(inode, block, extent.end(), Some(extent), Removed::Keep)?;
                self.note_fresh(start, u64::from(len));
                Ok(Piece { block, len, start, fresh: true, dirty: Dirty::Queued(inode.ino) })
            }
            Mapping::Hole { len } => {
                self.ensure_extents(inode)?;
                let want = len.min(want).min(Extent::max_len(State::Written));
                let goal = self.file_goal(inode, block)?;
                let (start, len) = self.allocate_growing(inode, goal, want, 0)?;
                *taken = len;
                let extent = Extent { block, len, start, state: State::Written };
                self.remap(inode, block, extent.end(), Some(extent), Removed::Keep)?;
                self.count_blocks(inode, i64::from(len))?;
                Ok(Piece { block, len, start, fresh: true, dirty: Dirty::Queued(inode.ino) })
            }
        }
    }

    /// Where a file's block is best put: behind the one before it, else near the inode.
    pub(crate) fn file_goal(&self, inode: &Inode, block: u32) -> Result<u64> {
        let root = inode.record.read().map;
        let (before, _) = self.fs.find_extent(inode, &root, block)?;
        Ok(match before {
            // A hole between the two is left room for, if it is small.
            Some(extent) => {
                let gap = u64::from(block) - extent.end().min(u64::from(block));
                extent.start + u64::from(extent.len) + if gap < 64 { gap } else { 0 }
            }
            None => self.goal_near(inode),
        })
    }

    /// A good place for the first block of an inode: where its group was filled last.
    pub(crate) fn goal_near(&self, inode: &Inode) -> u64 {
        let (number, _) = self.fs.geometry.inode_location(inode.ino);
        let hint = self.core.groups[number as usize].hint.min(self.fs.geometry.group_blocks(number) - 1);
        self.fs.geometry.group_start(number) + u64::from(hint)
    }

    /// Has the blocks that a write covers only in part in the cache.
    fn load_edges(&self, pieces: &[Piece], offset: u64, len: usize) -> Result<()> {
        let bits = self.fs.geometry.block_bits;
        let mask = self.fs.geometry.block_size as u64 - 1;
        let end = offset + len as u64;
        let first = (offset & mask != 0 || end - offset < mask).then_some((offset >> bits) as u32);
        let last = (end & mask != 0).then_some((end >> bits) as u32);
        let one_block = offset >> bits == (end - 1) >> bits;
        if one_block && pieces.iter().all(|piece| !piece.fresh) {
            // One block: it is read when its part is copied, and nothing has changed before.
            return Ok(());
        }
        for edge in [first, last].into_iter().flatten() {
            let piece = pieces.iter().find(|piece| edge >= piece.block && edge - piece.block < piece.len);
            if let Some(piece) = piece {
                let block = piece.start + u64::from(edge - piece.block);
                if piece.fresh {
                    self.fs.cache.create(block)?;
                } else {
                    self.fs.cache.read(block)?;
                }
            }
        }
        Ok(())
    }

    /// Copies the part of `data` that lies in a piece. `offset` is where the data begins in the file.
    fn copy_in(&self, piece: &Piece, offset: u64, data: &[u8]) -> Result<()> {
        let cache = &self.fs.cache;
        let bits = self.fs.geometry.block_bits;
        let size = self.fs.geometry.block_size;
        let piece_start = u64::from(piece.block) << bits;
        let piece_end = (u64::from(piece.block) + u64::from(piece.len)) << bits;
        let mut at = offset.max(piece_start);
        let end = (offset + data.len() as u64).min(piece_end);
        while at < end {
            let block = piece.start + ((at - piece_start) >> bits);
            let within = at as usize & (size - 1);
            let from = (at - offset) as usize;
            let left = (end - at) as usize;
            if within == 0 && left >= size {
                let whole = left & !(size - 1);
                cache.store(block, &data[from..from + whole], piece.dirty)?;
                at += whole as u64;
                continue;
            }
            let part = left.min(size - within);
            let buffer = match (cache.get(block), piece.fresh) {
                (Some(buffer), _) => buffer,
                (None, true) => cache.create(block)?,
                (None, false) => cache.read(block)?,
            };
            cache.write(&buffer, piece.dirty)[within..within + part].copy_from_slice(&data[from..from + part]);
            at += part as u64;
        }
        Ok(())
    }
}
