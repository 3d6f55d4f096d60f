//! Blocks: found near a goal and in one piece where possible.

use block::Buffer;
use vfs::{Errno, Error, Result};

use super::bitmap::{self, FreeRun, Taken};
use crate::fs::Ext4;
use crate::group::{BLOCK_UNINIT, Descriptor, bitmap_checksum};
use crate::transaction::{Handle, Seal};

/// A run of this length at the goal is taken even if it is shorter than wanted.
const GOOD_RUN: u32 = 16;
/// Longer runs are not searched for: a file of several pieces of this size reads as fast.
const LONG_RUN: u32 = 2048;

impl Ext4 {
    /// The block bitmap of a group that has one, checked.
    pub(super) fn read_block_bitmap(&self, desc: &Descriptor, number: u32) -> Result<Buffer> {
        let buffer = self.metadata(desc.block_bitmap, Seal::BlockBitmap(number))?;
        if !buffer.is_verified() {
            let sum = bitmap_checksum(&self.geometry, &buffer.read(), self.geometry.blocks_per_group);
            if self.geometry.features.has_checksums() && sum != desc.block_bitmap_checksum {
                return Err(self.corrupt("ext4: wrong checksum of a block bitmap"));
            }
            buffer.set_verified();
        }
        Ok(buffer)
    }
}

impl Handle<'_> {
    /// A group's block bitmap. One that was never written is made now.
    pub(crate) fn block_bitmap(&mut self, number: u32) -> Result<Buffer> {
        let desc = self.core.groups[number as usize].desc;
        if desc.flags & BLOCK_UNINIT == 0 {
            return self.fs.read_block_bitmap(&desc, number);
        }
        let geometry = &self.fs.geometry;
        let start = geometry.group_start(number);
        let blocks = geometry.group_blocks(number);
        let buffer = self.create(desc.block_bitmap, Seal::BlockBitmap(number))?;
        let zones = &self.fs.zones;
        let used = self.modify(&buffer, Seal::BlockBitmap(number), 0..geometry.block_size, |bytes| {
            let mut used = 0;
            for (from, len) in zones.within(start, u64::from(blocks)) {
                bitmap::set(bytes, (from - start) as u32, len as u32);
                used += len as u32;
            }
            bitmap::set(bytes, blocks, geometry.block_size as u32 * 8 - blocks);
            used
        });
        if blocks - used != desc.free_blocks {
            return Err(self.fs.corrupt("ext4: free blocks of an unused group"));
        }
        self.group(number)?.desc.flags &= !BLOCK_UNINIT;
        Ok(buffer)
    }

    /// Takes up to `want` blocks in one piece, at or near `goal`.
    pub(crate) fn allocate(&mut self, goal: u64, want: u32) -> Result<(u64, u32)> {
        let want = self.within_reach(want)?;
        let geometry = &self.fs.geometry;
        let goal = if geometry.contains(goal, 1) { goal } else { geometry.first_data_block };
        let first = geometry.group_of(goal);
        let wanted = want.clamp(1, LONG_RUN);
        let from = (goal - geometry.group_start(first)) as u32;

        let at_goal = self.search(first, |taken, end| FreeRun { start: from, len: taken.free_at(from, end, want) })?;
        let mut found = None;
        if at_goal.len >= wanted.min(GOOD_RUN) {
            found = Some((first, at_goal));
        }
        let groups = self.core.groups.len() as u32;
        let order = || (0..groups).map(move |i| (first + i) % groups);
        if found.is_none() {
            for number in order() {
                let group = &self.core.groups[number as usize];
                if group.desc.free_blocks < wanted || group.longest_run < wanted {
                    continue;
                }
                let from = if number == first { from } else { group.hint };
                let run = self.search(number, |taken, end| {
                    let run = taken.find(from.min(end), end, want);
                    if run.len >= wanted { run } else { taken.find(0, end, want) }
                })?;
                if run.len >= wanted {
                    found = Some((number, run));
                    break;
                }
                self.core.groups[number as usize].longest_run = run.len;
            }
        }
        if found.is_none() {
            // No group has it in one piece: the longest piece of the first group that has some.
            for number in order() {
                let group = &self.core.groups[number as usize];
                if group.desc.free_blocks == 0 || group.longest_run == 0 {
                    continue;
                }
                let run = self.search(number, |taken, end| taken.find(0, end, want))?;
                if run.len > 0 {
                    found = Some((number, run));
                    break;
                }
                self.core.groups[number as usize].longest_run = 0;
            }
        }
        let (number, run) = found.ok_or(Error::new(Errno::ENOSPC, "no free block"))?;
        let start = self.fs.geometry.group_start(number) + u64::from(run.start);
        self.take(start, run.len)?;
        Ok((start, run.len))
    }

    /// How many of `want` blocks may be taken: what is promised is not given to others.
    pub(super) fn within_reach(&self, want: u32) -> Result<u32> {
        match u32::try_from(self.core.available()) {
            Ok(0) => Err(Error::new(Errno::ENOSPC, "no free block")),
            Ok(available) => Ok(want.min(available)),
            Err(_) => Ok(want),
        }
    }

    fn search(&mut self, number: u32, find: impl FnOnce(Taken<'_>, u32) -> FreeRun) -> Result<FreeRun> {
        if self.core.groups[number as usize].desc.free_blocks == 0 {
            return Ok(FreeRun::default());
        }
        let buffer = self.block_bitmap(number)?;
        let end = self.fs.geometry.group_blocks(number);
        let bytes = buffer.read();
        let withheld = self.core.groups[number as usize].unavailable.as_deref();
        Ok(find(Taken { bitmap: &bytes, withheld }, end))
    }

    /// Takes blocks of one group that are known to be free.
    pub(super) fn take(&mut self, start: u64, len: u32) -> Result<()> {
        let geometry = &self.fs.geometry;
        let number = geometry.group_of(start);
        let from = (start - geometry.group_start(number)) as u32;
        if self.fs.zones.overlap(start, u64::from(len)) {
            return Err(self.fs.corrupt("ext4: block bitmap shows metadata as free"));
        }
        let buffer = self.block_bitmap(number)?;
        let range = from as usize / 8..(from + len).div_ceil(8) as usize;
        let shift = range.start as u32 * 8;
        self.modify(&buffer, Seal::BlockBitmap(number), range, |bytes| bitmap::set(bytes, from - shift, len));
        let corrupt = "ext4: free block count of a group";
        let group = self.group(number)?;
        group.hint = from + len;
        match group.desc.free_blocks.checked_sub(len) {
            Some(left) => group.desc.free_blocks = left,
            None => return Err(self.fs.corrupt(corrupt)),
        }
        match self.core.counters.free_blocks.checked_sub(u64::from(len)) {
            Some(left) => self.core.counters.free_blocks = left,
            None => return Err(self.fs.corrupt(corrupt)),
        }
        self.note_taken(start, u64::from(len));
        Ok(())
    }

    /// Frees blocks. Nobody gets them before the transaction has committed; the cache forgets them when the handle succeeds.
    pub(crate) fn free(&mut self, start: u64, count: u64) -> Result<()> {
        if !self.fs.geometry.contains(start, count) || self.fs.zones.overlap(start, count) {
            return Err(self.fs.corrupt("ext4: file owns blocks that cannot be its own"));
        }
        let (mut at, mut left) = (start, count);
        while left > 0 {
            let geometry = &self.fs.geometry;
            let number = geometry.group_of(at);
            let from = (at - geometry.group_start(number)) as u32;
            let len = left.min(u64::from(geometry.group_blocks(number) - from)) as u32;
            let buffer = self.block_bitmap(number)?;
            if !bitmap::all_set(&buffer.read(), from, len) {
                return Err(self.fs.corrupt("ext4: block freed twice"));
            }
            let range = from as usize / 8..(from + len).div_ceil(8) as usize;
            let shift = range.start as u32 * 8;
            self.modify(&buffer, Seal::BlockBitmap(number), range, |bytes| bitmap::clear(bytes, from - shift, len));
            let most = self.fs.geometry.group_blocks(number);
            let group = self.group(number)?;
            group.desc.free_blocks = (group.desc.free_blocks + len).min(most);
            self.core.counters.free_blocks += u64::from(len);
            at += u64::from(len);
            left -= u64::from(len);
        }
        self.note_freed(start, count);
        Ok(())
    }
}
