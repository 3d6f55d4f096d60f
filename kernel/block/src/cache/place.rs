//! Giving a place on the device to data that was cached before it had one.

use alloc::vec::Vec;

use base::{Errno, Error, Result};

use super::run::bits;
use super::{BufferCache, Dirty, FailedWrite};

impl BufferCache {
    /// Makes `count` blocks that were cached under the numbers from `from` on those from `to` on, to be written like any other
    /// data of `owner` ([`Dirty::Queued`]). Nobody else may be using them. Memory moves with whole runs; a run that the place divides is
    /// copied, or written at once where memory is short.
    ///
    /// # Errors
    /// `EIO`: one of the blocks is not in the cache; those before it have their place.
    pub fn place(&self, from: u64, to: u64, count: u64, owner: u32) -> Result<()> {
        let mut done = 0;
        while done < count {
            let block = from + done;
            let target = to + done;
            let buffer = self.get(block).ok_or(Error::new(Errno::EIO, "data without a place is not cached"))?;
            let run = &buffer.run;
            let most = u64::from(run.blocks - buffer.index).min(count - done) as u32;
            let len = (0..most).take_while(|i| run.is_valid(buffer.index + i)).count() as u32;
            let data = if len == run.blocks {
                Some(core::mem::take(&mut *run.data.write()))
            } else {
                let guard = run.data.read();
                let part = &guard[run.range(buffer.index, len)];
                let mut copy = Vec::new();
                if copy.try_reserve_exact(part.len()).is_ok() {
                    copy.extend_from_slice(part);
                    Some(copy)
                } else {
                    if self.device.write(target * self.sectors_per_block, part).is_err() {
                        self.failures.lock().push(FailedWrite { owner, block: target, blocks: len });
                    }
                    self.note_written();
                    None
                }
            };
            self.forget(block, u64::from(len));
            if data.is_none() {
                // Whatever was cached of the place is not what it has now.
                self.forget(target, u64::from(len));
            }
            if let Some(data) = data {
                let run = self.insert(target, len, data)?;
                self.mark(&run, bits(len), Dirty::Queued(owner));
            }
            done += u64::from(len);
        }
        Ok(())
    }
}
