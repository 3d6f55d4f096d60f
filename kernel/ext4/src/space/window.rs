//! Windows: free blocks behind a file that grows, kept for it so that it stays in one piece. They exist in memory only.

use core::sync::atomic::Ordering;

use super::{bitmap, release, withhold};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::{Core, Handle};
use vfs::Result;

/// Blocks reserved for one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) len: u32,
    /// The handle that used it last: its failure discards the window.
    pub(crate) handle: u64,
}

/// Gives a file's window back.
pub(crate) fn discard(fs: &Ext4, core: &mut Core, ino: u32) {
    if let Some(window) = core.windows.remove(&ino) {
        release(&mut core.groups, &fs.geometry, window.start, u64::from(window.len));
    }
}

impl Ext4 {
    /// Gives all windows back: space is short, or the end has come.
    pub(crate) fn discard_windows(&self, core: &mut Core) {
        for (_, window) in core::mem::take(&mut core.windows) {
            release(&mut core.groups, &self.geometry, window.start, u64::from(window.len));
        }
    }
}

impl Handle<'_> {
    /// Takes up to `want` blocks for a file, at `goal` if possible, and reserves up to `reserve` more behind them.
    pub(crate) fn allocate_growing(&mut self, inode: &Inode, goal: u64, want: u32, reserve: u32) -> Result<(u64, u32)> {
        if let Some(window) = self.core.windows.get(&inode.ino).copied() {
            if window.start == goal && window.len > 0 {
                let len = self.within_reach(want)?.min(window.len);
                let rest = Window { start: goal + u64::from(len), len: window.len - len, handle: self.number() };
                self.core.windows.insert(inode.ino, rest);
                release(&mut self.core.groups, &self.fs.geometry, goal, u64::from(len));
                self.take(goal, len)?;
                return Ok((goal, len));
            }
            discard(self.fs, self.core, inode.ino);
        }
        let (start, len) = self.allocate(goal, want)?;
        if reserve > 0 && len == want {
            self.reserve(inode, start + u64::from(len), reserve)?;
        }
        Ok((start, len))
    }

    fn reserve(&mut self, inode: &Inode, start: u64, most: u32) -> Result<()> {
        let geometry = &self.fs.geometry;
        if !geometry.contains(start, 1) {
            return Ok(());
        }
        let number = geometry.group_of(start);
        let from = (start - geometry.group_start(number)) as u32;
        let end = geometry.group_blocks(number);
        let buffer = self.block_bitmap(number)?;
        let len = {
            let bytes = buffer.read();
            let withheld = self.core.groups[number as usize].unavailable.as_deref();
            bitmap::Taken { bitmap: &bytes, withheld }.free_at(from, end, most)
        };
        if len > 0 {
            withhold(&mut self.core.groups, &self.fs.geometry, start, u64::from(len));
            self.core.windows.insert(inode.ino, Window { start, len, handle: self.number() });
            inode.has_window.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
