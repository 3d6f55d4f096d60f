//! Finding blocks, reading them one by one and in batches.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use base::{Errno, Error, Result};

use super::run::{Run, bits};
use super::{Buffer, BufferCache, BufferRead};
use crate::Io;

impl BufferCache {
    /// The block, if it is in the cache.
    #[must_use]
    pub fn get(&self, block: u64) -> Option<Buffer> {
        loop {
            let run = self.inner.lock().find(block)?.clone();
            let index = (block - run.start) as u32;
            if !run.is_valid(index) {
                // Being read by someone else: wait for the end of it, then look again.
                drop(run.data.read());
                if !run.is_valid(index) {
                    continue;
                }
            }
            run.referenced.store(true, Ordering::Relaxed);
            return Some(Buffer { run, index });
        }
    }

    /// The block, read from the device if need be.
    ///
    /// # Errors
    /// `EIO`, also for a block past the end of the device; `ENOMEM`.
    pub fn read(&self, block: u64) -> Result<Buffer> {
        loop {
            if let Some(buffer) = self.get(block) {
                return Ok(buffer);
            }
            if let Some(run) = self.load(&[(block, 1)])?.pop() {
                return Ok(Buffer { run, index: 0 });
            }
        }
    }

    /// Copies from cached blocks: from byte `offset` of `block` on, as much of `buf` as the same run holds. Returns how many
    /// bytes were copied, 0 if the block is not in the cache.
    pub fn copy_out(&self, block: u64, offset: usize, buf: &mut [u8]) -> usize {
        let Some(buffer) = self.get(block) else { return 0 };
        let mut count = 1;
        while buffer.index + count < buffer.run.blocks
            && (count as usize * self.block_size) < offset + buf.len()
            && buffer.run.is_valid(buffer.index + count)
        {
            count += 1;
        }
        let data = BufferRead { guard: buffer.run.data.read(), range: buffer.run.range(buffer.index, count) };
        let len = buf.len().min(data.len().saturating_sub(offset));
        buf[..len].copy_from_slice(&data[offset..offset + len]);
        len
    }

    /// Reads what is missing of the ranges (first block, count) in one batch of large requests. Blocks are
    /// in the cache afterwards unless memory was short.
    ///
    /// # Errors
    /// `EIO` if any request failed: then none of the missing blocks came; `ENOMEM`.
    pub fn fill(&self, ranges: &[(u64, u32)]) -> Result<()> {
        self.load(ranges).map(drop)
    }

    fn load(&self, ranges: &[(u64, u32)]) -> Result<Vec<Arc<Run>>> {
        let mut loads = Vec::new();
        let mut inner = self.inner.lock();
        for &(start, count) in ranges {
            let end = start
                .checked_add(u64::from(count))
                .filter(|&end| end <= self.blocks)
                .ok_or(Error::new(Errno::EIO, "block past the end of the device"))?;
            let mut block = start;
            while block < end {
                if inner.map.contains_key(&block) {
                    block += 1;
                    continue;
                }
                let mut blocks = 1;
                while blocks < self.max_run
                    && block + u64::from(blocks) < end
                    && !inner.map.contains_key(&(block + u64::from(blocks)))
                {
                    blocks += 1;
                }
                inner.make_room(blocks as usize * self.block_size, self.limit());
                let slot = inner.next_slot();
                let run = Run::new(block, blocks, self.block_size, slot, Vec::new());
                inner.insert(&run);
                loads.push(run);
                block += u64::from(blocks);
            }
        }
        if loads.is_empty() {
            return Ok(loads);
        }
        let mut spare = inner.spare.take();
        // Nobody can find the runs before `inner` is released, so these locks are free.
        let mut guards: Vec<_> = loads.iter().map(|run| run.data.write()).collect();
        drop(inner);

        let mut result = Ok(());
        for (run, guard) in loads.iter().zip(&mut guards) {
            if run.blocks == self.max_run
                && let Some(memory) = spare.take()
            {
                **guard = memory;
            } else if guard.try_reserve_exact(run.bytes()).is_err() {
                result = Err(Error::new(Errno::ENOMEM, "buffer cache"));
                break;
            } else {
                guard.resize(run.bytes(), 0);
            }
        }
        if result.is_ok() {
            let mut batch: Vec<Io<'_>> = loads
                .iter()
                .zip(&mut guards)
                .map(|(run, guard)| Io::Read { sector: run.start * self.sectors_per_block, buf: &mut guard[..] })
                .collect();
            result = self.device.transfer(&mut batch);
        }
        match result {
            Ok(()) => {
                for run in &loads {
                    run.valid.store(bits(run.blocks), Ordering::Release);
                }
                drop(guards);
                Ok(loads)
            }
            Err(error) => {
                let mut inner = self.inner.lock();
                for run in &loads {
                    for block in run.start..run.start + u64::from(run.blocks) {
                        if inner.map.get(&block) == Some(&run.slot) {
                            inner.remove(block);
                        }
                    }
                }
                drop(inner);
                drop(guards);
                Err(error)
            }
        }
    }
}
