//! `fallocate(2)`: reserving, punching and zeroing ranges.

use alloc::sync::Arc;

use vfs::{AllocateMode, Errno, Error, Result};

use crate::extent::{Extent, Mapping, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::Handle;

const CREDITS: usize = 64;
/// Steps of one handle.
const STEPS: usize = 16;
/// Groups of which one step punches blocks at most: so many bitmaps change.
const PUNCH_GROUPS: u32 = 4;

impl Ext4 {
    /// Reserves, frees or zeroes a range of a file.
    pub(crate) fn allocate_file(&self, inode: &Arc<Inode>, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        let end = offset.checked_add(len).ok_or(Error::new(Errno::EFBIG, "file range"))?;
        let punches = mode == AllocateMode::PunchHole;
        if len == 0 || (end > self.geometry.max_file_size() && !punches) {
            return Err(Error::new(if len == 0 { Errno::EINVAL } else { Errno::EFBIG }, "file range"));
        }
        let size = self.geometry.block_size as u64;
        let limit = u64::from(u32::MAX);
        let (first, last) = match mode {
            AllocateMode::Extend | AllocateMode::KeepSize => (offset / size, end.div_ceil(size)),
            // Only whole blocks change their mapping; the edges are written with zeros.
            _ => (offset.div_ceil(size).min(limit), (end / size).min(limit)),
        };
        let grows = matches!(mode, AllocateMode::Extend | AllocateMode::ZeroRange);
        let mut at = first as u32;
        let mut started = false;
        loop {
            let next = self.transact_on_whole(CREDITS, inode, |h| {
                if inode.has_delayed() {
                    return Ok(None);
                }
                h.ensure_extents(inode)?;
                if punches && !started {
                    crate::space::window::discard(h.fs, h.core, inode.ino);
                }
                let mut at = at;
                for _ in 0..STEPS {
                    if u64::from(at) >= last {
                        break;
                    }
                    at = h.allocate_step(inode, mode, at, last)?;
                }
                let reached = if u64::from(at) >= last { end } else { u64::from(at) * size };
                let file_size = inode.record.read().size;
                if grows && reached.min(end) > file_size {
                    h.zero_tail(inode, file_size)?;
                }
                let now = h.now;
                h.touch_data(inode)?;
                h.update(inode, |record| {
                    if grows {
                        record.size = record.size.max(reached.min(end));
                    }
                    record.mtime = now;
                    record.ctime = now;
                })?;
                if !started && !matches!(mode, AllocateMode::Extend | AllocateMode::KeepSize) {
                    // Last, for file data has no way back.
                    h.check_room()?;
                    h.zero_edges(inode, offset, end)?;
                }
                Ok(Some(at))
            })?;
            let Some(next) = next else {
                let mut core = self.core.lock();
                match self.place_inode(&mut core, inode) {
                    Err(_) if core.crowded => self.empty_log(&mut core)?,
                    placed => placed?,
                }
                continue;
            };
            started = true;
            at = next;
            if u64::from(at) >= last {
                return self.throttle();
            }
        }
    }
}

impl Handle<'_> {
    /// Works on the blocks from `at` on, up to `last`; returns where to go on.
    fn allocate_step(&mut self, inode: &Arc<Inode>, mode: AllocateMode, at: u32, last: u64) -> Result<u32> {
        let left = (last - u64::from(at)).min(u64::from(u32::MAX)) as u32;
        let mapping = self.fs.map(inode, at)?;
        if mode == AllocateMode::PunchHole {
            let len = match mapping {
                Mapping::Hole { len } | Mapping::Delayed { len, .. } => return Ok(at.saturating_add(len.min(left))),
                Mapping::Blocks { start, len, .. } => {
                    let geometry = &self.fs.geometry;
                    let end = geometry.group_start(geometry.group_of(start))
                        + u64::from(PUNCH_GROUPS * geometry.blocks_per_group);
                    len.min(left).min(u32::try_from(end - start).unwrap_or(u32::MAX))
                }
            };
            self.remap(inode, at, u64::from(at) + u64::from(len), None, Removed::Free)?;
            return Ok(at + len);
        }
        let reserving = matches!(mode, AllocateMode::Extend | AllocateMode::KeepSize);
        match mapping {
            Mapping::Blocks { len, .. } if reserving => Ok(at + len.min(left)),
            Mapping::Blocks { len, state: State::Unwritten, .. } => Ok(at + len.min(left)),
            Mapping::Blocks { start, len, state: State::Written } => {
                let len = len.min(left).min(Extent::max_len(State::Unwritten));
                let extent = Extent { block: at, len, start, state: State::Unwritten };
                self.remap(inode, at, extent.end(), Some(extent), Removed::Keep)?;
                self.forget_content(start, u64::from(len));
                Ok(at + len)
            }
            Mapping::Hole { len } | Mapping::Delayed { len, .. } => {
                let want = len.min(left).min(Extent::max_len(State::Unwritten));
                let goal = self.file_goal(inode, at)?;
                let (start, len) = self.allocate_growing(inode, goal, want, 0)?;
                let extent = Extent { block: at, len, start, state: State::Unwritten };
                self.remap(inode, at, extent.end(), Some(extent), Removed::Keep)?;
                self.count_blocks(inode, i64::from(len))?;
                Ok(at + len)
            }
        }
    }

    /// Writes zeros to the parts of a range that are no whole blocks.
    fn zero_edges(&self, inode: &Inode, offset: u64, end: u64) -> Result<()> {
        let size = self.fs.geometry.block_size as u64;
        let file_size = inode.record.read().size;
        let end = end.min(file_size);
        if offset >= end {
            return Ok(());
        }
        let head_end = offset.next_multiple_of(size).min(end);
        self.fs.zero_bytes(inode, offset, head_end)?;
        let tail = end / size * size;
        if tail >= head_end {
            self.fs.zero_bytes(inode, tail, end)?;
        }
        Ok(())
    }
}
