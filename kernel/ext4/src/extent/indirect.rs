//! Block maps of ext2 and ext3: twelve blocks, then single, double and triple indirect ones.
//!
//! Such a file is read as it is. Before its map changes it is turned into extents; only what a crash left of one is cut or
//! freed in place, for its map may go on behind its size, and have more pieces than could be turned.

use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::{Errno, Error, Result};

use super::map::Mapping;
use super::truncate::Progress;
use super::{Extent, Removed, State};
use crate::bytes::{le32, put32};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::inode::record::MAP_SIZE;
use crate::transaction::{Handle, Seal};

const DIRECT: u32 = 12;
/// Blocks of pointers to data that one handle empties at most.
const LEAVES: usize = 4;

impl Ext4 {
    pub(super) fn map_indirect(&self, map: &[u8; MAP_SIZE], block: u32) -> Result<Mapping> {
        let bits = self.geometry.block_bits - 2;
        let per_block = 1_u64 << bits;
        // Which pointer of the inode, how many levels below it, and the index among the blocks below.
        let (mut pointer, levels, mut index, mut limit) = if block < DIRECT {
            (le32(map, block as usize * 4), 0, 0, DIRECT - block)
        } else {
            let mut index = u64::from(block - DIRECT);
            let mut levels = 1;
            while levels < 4 && index >= 1 << (bits * levels) {
                index -= 1 << (bits * levels);
                levels += 1;
            }
            if levels == 4 {
                return Err(self.corrupt("ext4: block past the end of a block map"));
            }
            (le32(map, (DIRECT + levels - 1) as usize * 4), levels, index, 0)
        };
        if levels == 0 {
            let len = (1..limit).take_while(|i| {
                le32(map, (block + i) as usize * 4) == if pointer == 0 { 0 } else { pointer.saturating_add(*i) }
            });
            limit = 1 + len.count() as u32;
        }
        for level in (0..levels).rev() {
            let below = 1_u64 << (bits * level);
            if pointer == 0 {
                let left = (below * per_block) - index % (below * per_block);
                return Ok(Mapping::Hole { len: left.min(u64::from(u32::MAX - block)) as u32 });
            }
            let buffer = self.indirect_block(pointer)?;
            let bytes = buffer.read();
            let at = (index / below) as usize;
            pointer = le32(&bytes, at * 4);
            index %= below;
            if level == 0 {
                let rest = (1..per_block as usize - at).take_while(|i| {
                    le32(&bytes, (at + i) * 4) == if pointer == 0 { 0 } else { pointer.saturating_add(*i as u32) }
                });
                limit = 1 + rest.count() as u32;
            }
        }
        if pointer == 0 {
            return Ok(Mapping::Hole { len: limit });
        }
        let extent = Extent { block, len: limit, start: u64::from(pointer), state: State::Written };
        self.check_extent(&extent)?;
        Ok(Mapping::Blocks { start: extent.start, len: limit, state: State::Written })
    }

    fn indirect_block(&self, pointer: u32) -> Result<block::Buffer> {
        if !self.geometry.contains(u64::from(pointer), 1) || self.zones.overlap(u64::from(pointer), 1) {
            return Err(self.corrupt("ext4: indirect block outside of the data area"));
        }
        self.metadata(u64::from(pointer), Seal::None)
    }
}

impl Handle<'_> {
    /// Turns a block map into extents, if the inode has one.
    pub(crate) fn ensure_extents(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let (map, size) = {
            let record = inode.record.read();
            if record.uses_extents() {
                return Ok(());
            }
            (record.map, record.size)
        };
        let end = size.div_ceil(self.fs.geometry.block_size as u64).min(u64::from(u32::MAX)) as u32;
        let mut extents = Vec::new();
        let mut at = 0;
        while at < end {
            let mapping = self.fs.map_indirect(&map, at)?;
            let len = mapping.len().min(end - at);
            if let Mapping::Blocks { start, state, .. } = mapping {
                extents.push(Extent { block: at, len, start, state });
                if extents.len() > 1 << 16 {
                    return Err(Error::new(Errno::EOPNOTSUPP, "file with a block map of too many pieces"));
                }
            }
            at = at.saturating_add(len);
        }
        self.free_indirect_blocks(inode, &map)?;
        self.start_extents(inode)?;
        for extent in extents {
            let mut at = extent;
            while at.len > 0 {
                let len = at.len.min(Extent::max_len(at.state));
                let piece = Extent { len, ..at };
                self.remap(inode, piece.block, piece.end(), Some(piece), Removed::Keep)?;
                at = Extent { block: at.block + len, len: at.len - len, start: at.start + u64::from(len), ..at };
            }
        }
        Ok(())
    }

    /// Frees the blocks of pointers, not what they point to.
    fn free_indirect_blocks(&mut self, inode: &Arc<Inode>, map: &[u8; MAP_SIZE]) -> Result<()> {
        let per_block = self.fs.geometry.block_size / 4;
        let mut todo: Vec<(u32, u32)> =
            (0..3).map(|i| (le32(map, (DIRECT + i) as usize * 4), i)).filter(|&(pointer, _)| pointer != 0).collect();
        while let Some((pointer, levels)) = todo.pop() {
            let buffer = self.fs.indirect_block(pointer)?;
            if levels > 0 {
                let bytes = buffer.read();
                let below = (0..per_block).map(|i| le32(&bytes, i * 4)).filter(|&pointer| pointer != 0);
                todo.extend(below.map(|pointer| (pointer, levels - 1)));
            }
            drop(buffer);
            // A pointer that comes twice is caught here: its block is free already.
            self.free(u64::from(pointer), 1)?;
            self.count_blocks(inode, -1)?;
        }
        Ok(())
    }

    /// Frees what a block map leads to from block `from` on, whatever the file's size, or a part of it at the end.
    pub(super) fn truncate_indirect(&mut self, inode: &Arc<Inode>, from: u32) -> Result<Progress> {
        self.touch_data(inode)?;
        let from = u64::from(from);
        let bits = self.fs.geometry.block_bits - 2;
        let mut leaves = LEAVES;
        for levels in (1..=3).rev() {
            let at = (DIRECT + levels - 1) as usize * 4;
            let base = u64::from(DIRECT) + (1..levels).map(|level| 1_u64 << (bits * level)).sum::<u64>();
            let pointer = le32(&inode.record.read().map, at);
            if pointer == 0 {
                continue;
            }
            match self.cut_indirect(inode, pointer, levels, from.saturating_sub(base), &mut leaves)? {
                Cut::Gone => self.update(inode, |record| put32(&mut record.map, at, 0))?,
                Cut::Done => {}
                Cut::More => return Ok(Progress::More),
            }
        }
        for index in from.min(u64::from(DIRECT)) as usize..DIRECT as usize {
            let pointer = le32(&inode.record.read().map, index * 4);
            if pointer != 0 {
                self.free(u64::from(pointer), 1)?;
                self.count_blocks(inode, -1)?;
                self.update(inode, |record| put32(&mut record.map, index * 4, 0))?;
            }
        }
        Ok(Progress::Done)
    }

    /// The part of [`truncate_indirect`](Self::truncate_indirect) in and below one block of pointers, `levels` above the data;
    /// `from` counts from the first block that it leads to.
    fn cut_indirect(
        &mut self,
        inode: &Arc<Inode>,
        pointer: u32,
        levels: u32,
        from: u64,
        leaves: &mut usize,
    ) -> Result<Cut> {
        let bits = self.fs.geometry.block_bits - 2;
        let below = 1_u64 << (bits * (levels - 1));
        let buffer = self.fs.indirect_block(pointer)?;
        let mut pointers: Vec<u32> = buffer.read().chunks_exact(4).map(|word| le32(word, 0)).collect();
        // The first that leads to something that goes.
        let first = ((from / below) as usize).min(pointers.len());
        if levels == 1 {
            if *leaves == 0 {
                return Ok(Cut::More);
            }
            *leaves -= 1;
            for run in pointers[first..].chunk_by(|one, next| *one != 0 && one.checked_add(1) == Some(*next)) {
                if run[0] != 0 {
                    self.free(u64::from(run[0]), run.len() as u64)?;
                    self.count_blocks(inode, -(run.len() as i64))?;
                }
            }
            if pointers[first..].iter().any(|&pointer| pointer != 0) {
                self.modify(&buffer, Seal::None, first * 4..pointers.len() * 4, |bytes| bytes.fill(0));
                pointers[first..].fill(0);
            }
        }
        for index in (first..pointers.len()).rev() {
            if pointers[index] == 0 {
                continue;
            }
            let from = from.saturating_sub(index as u64 * below);
            match self.cut_indirect(inode, pointers[index], levels - 1, from, leaves)? {
                Cut::Gone => {
                    self.modify(&buffer, Seal::None, index * 4..index * 4 + 4, |bytes| bytes.fill(0));
                    pointers[index] = 0;
                }
                Cut::Done => {}
                Cut::More => return Ok(Cut::More),
            }
        }
        if pointers.iter().any(|&pointer| pointer != 0) {
            return Ok(Cut::Done);
        }
        drop(buffer);
        self.free(u64::from(pointer), 1)?;
        self.count_blocks(inode, -1)?;
        Ok(Cut::Gone)
    }
}

/// What became of a block of pointers.
enum Cut {
    /// It led to nothing that stays, and is freed.
    Gone,
    /// It leads to what stays alone.
    Done,
    /// Another handle must go on.
    More,
}
