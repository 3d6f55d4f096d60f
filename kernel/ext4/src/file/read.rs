//! Reads: mapped, then copied straight from the cache; what is missing comes in one batch with what is likely next.

use alloc::vec::Vec;

use vfs::{Errno, Error, Result};

use crate::extent::{Mapping, State};
use crate::fs::Ext4;
use crate::inode::Inode;

/// The first window of a sequential reader, in bytes, and the largest.
const FIRST_WINDOW: usize = 128 * 1024;
const MAX_WINDOW: usize = 1 << 20;
/// Pieces of a file that one batch gathers.
const MAX_PIECES: usize = 64;

impl Ext4 {
    /// Reads from a file's `offset` on; returns how many bytes there were.
    pub(crate) fn read_file(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let _content = inode.content.read();
        self.read_locked(inode, offset, buf)
    }

    /// As [`read_file`](Self::read_file), with `content` held by the caller.
    pub(crate) fn read_locked(&self, inode: &Inode, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let size = inode.record.read().size;
        if offset >= size {
            return Ok(0);
        }
        let len = buf.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        let buf = &mut buf[..len];
        let bits = self.geometry.block_bits;
        let block_size = self.geometry.block_size;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let block = (at >> bits) as u32;
            let within = (at as usize) & (block_size - 1);
            let mapping = self.map_file(inode, block)?;
            let bytes = ((u64::from(mapping.len()) << bits) - within as u64).min((len - done) as u64) as usize;
            let part = &mut buf[done..done + bytes];
            match mapping {
                Mapping::Blocks { start, state: State::Written, .. } => {
                    self.read_blocks(inode, block, start, within, part, size)?;
                }
                Mapping::Delayed { start, .. } => self.read_delayed(start, within, part)?,
                _ => part.fill(0),
            }
            done += bytes;
        }
        if len > 0 {
            let mut ahead = inode.read_ahead.lock();
            ahead.next = (offset + len as u64 - 1) >> bits;
        }
        Ok(len)
    }

    /// Copies bytes that lie in a row on the disk, from byte `within` of block `start` on.
    fn read_blocks(
        &self,
        inode: &Inode,
        block: u32,
        start: u64,
        within: usize,
        buf: &mut [u8],
        size: u64,
    ) -> Result<()> {
        let bits = self.geometry.block_bits;
        let mut done = 0;
        while done < buf.len() {
            let at = within + done;
            let device_block = start + (at >> bits) as u64;
            let offset = at & (self.geometry.block_size - 1);
            let copied = self.cache.copy_out(device_block, offset, &mut buf[done..]);
            if copied > 0 {
                done += copied;
                continue;
            }
            let logical = block + (at >> bits) as u32;
            let wanted = (offset + buf.len() - done).div_ceil(self.geometry.block_size) as u32;
            self.read_ahead(inode, logical, wanted, size);
            if self.cache.get(device_block).is_none() {
                // The batch failed or memory was short: this block alone decides.
                self.cache.read(device_block)?;
            }
        }
        Ok(())
    }

    /// Copies bytes that have no place on the disk.
    fn read_delayed(&self, start: u64, within: usize, buf: &mut [u8]) -> Result<()> {
        let bits = self.geometry.block_bits;
        let mut done = 0;
        while done < buf.len() {
            let at = within + done;
            let offset = at & (self.geometry.block_size - 1);
            let copied = self.cache.copy_out(start + (at >> bits) as u64, offset, &mut buf[done..]);
            if copied == 0 {
                return Err(Error::fault(Errno::EIO, "ext4: data without a place is gone"));
            }
            done += copied;
        }
        Ok(())
    }

    /// Brings `wanted` blocks of a file from `block` on, and more where the reader goes on from where it was.
    fn read_ahead(&self, inode: &Inode, block: u32, wanted: u32, size: u64) {
        let block_size = self.geometry.block_size;
        let most = (MAX_WINDOW.min(self.cache.limit() / 4) / block_size).max(1) as u32;
        let window = {
            let mut ahead = inode.read_ahead.lock();
            let sequential = block == 0 || u64::from(block) == ahead.next || u64::from(block) == ahead.next + 1;
            ahead.window = if !sequential {
                0
            } else if ahead.window == 0 {
                (FIRST_WINDOW / block_size) as u32
            } else {
                ahead.window.saturating_mul(2).min(most)
            };
            ahead.window
        };
        let end = size.div_ceil(block_size as u64).min(u64::from(u32::MAX)) as u32;
        let until = block.saturating_add(wanted.min(most).max(window)).min(end);
        let mut ranges: Vec<(u64, u32)> = Vec::new();
        let mut at = block;
        while at < until && ranges.len() < MAX_PIECES {
            let Ok(mapping) = self.map(inode, at) else { break };
            let len = mapping.len().min(until - at);
            if let Mapping::Blocks { start, state: State::Written, .. } = mapping {
                ranges.push((start, len));
            }
            at += len;
        }
        // Whether it came is seen by those who look for it.
        let _ = self.cache.fill(&ranges);
    }
}
