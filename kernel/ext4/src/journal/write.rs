//! Appending a transaction to the log.

use block::{Buffer, BufferCache};
use vfs::{Errno, Error, Result, Timestamp};

use super::Journal;
use super::checkpoint::Logged;
use super::format::{
    self, COMMIT, COMMIT_NANOS, COMMIT_SECS, COMMIT_SUM, DESCRIPTOR, ESCAPED, HEADER, JournalSuperblock, LAST, MAGIC,
    REVOKE, REVOKE_HEADER, SAME_UUID, UUID_SIZE,
};
use crate::bytes::{be32, put, put_be32};
use crate::recovery::JournalMap;

/// The log's blocks from `start` on, put together in memory and written in large requests.
struct Writer<'a> {
    cache: &'a BufferCache,
    map: &'a JournalMap,
    sb: &'a JournalSuperblock,
    sequence: u32,
    scratch: &'a mut [u8],
    /// Where on the ring the scratch begins, how many blocks of it are full, and how many were written before.
    start: u32,
    full: usize,
    written: u32,
}

/// A block of tags that is being filled.
#[derive(Clone, Copy)]
struct Descriptor {
    /// Its place in the scratch.
    index: usize,
    /// Where its next tag goes, and where its last one was put.
    at: usize,
    last: usize,
}

impl Writer<'_> {
    fn block(&mut self, index: usize) -> &mut [u8] {
        let size = self.sb.block_size();
        &mut self.scratch[index * size..(index + 1) * size]
    }

    fn capacity(&self) -> usize {
        self.scratch.len() / self.sb.block_size()
    }

    /// A block of zeros with a header; `room` more are to fit behind it in memory.
    fn begin(&mut self, kind: u32, room: usize) -> Result<usize> {
        if self.full + 1 + room > self.capacity() {
            self.write_out()?;
        }
        let index = self.full;
        self.full += 1;
        let sequence = self.sequence;
        let block = self.block(index);
        block.fill(0);
        format::put_header(block, kind, sequence);
        Ok(index)
    }

    /// Puts the checksum into a block of tags or revoked blocks.
    fn seal(&mut self, index: usize) {
        if self.sb.checksums.of_blocks() {
            let (tail, sum) = (self.sb.tail(), self.sb.tail_sum(self.block(index)));
            put_be32(self.block(index), tail, sum);
        }
    }

    fn write_out(&mut self) -> Result<()> {
        let size = self.sb.block_size();
        let (mut first, mut at) = (0, self.start);
        while first < self.full {
            let count = (self.full - first).min((self.sb.end - at) as usize);
            self.map.write(&**self.cache.device(), at, &self.scratch[first * size..(first + count) * size])?;
            at = self.sb.advance(at, count as u32);
            first += count;
        }
        self.written += self.full as u32;
        self.start = at;
        self.full = 0;
        Ok(())
    }

    fn revoke(&mut self, blocks: &[u64]) -> Result<()> {
        let size = self.sb.revoked_size();
        for part in blocks.chunks((self.sb.tail() - REVOKE_HEADER) / size) {
            let index = self.begin(REVOKE, 0)?;
            let block = self.block(index);
            put_be32(block, HEADER, (REVOKE_HEADER + part.len() * size) as u32);
            for (slot, revoked) in part.iter().enumerate() {
                put(block, REVOKE_HEADER + slot * size, &revoked.to_be_bytes()[8 - size..]);
            }
            self.seal(index);
        }
        Ok(())
    }

    fn metadata(&mut self, buffers: &[Buffer]) -> Result<()> {
        let mut open: Option<Descriptor> = None;
        for buffer in buffers {
            let mut descriptor = match open {
                Some(descriptor) if self.has_place(descriptor) => descriptor,
                full => {
                    self.finish(full);
                    let index = self.begin(DESCRIPTOR, 1)?;
                    Descriptor { index, at: HEADER, last: HEADER }
                }
            };
            let index = self.full;
            self.full += 1;
            let first = descriptor.at == HEADER;
            let mut flags = if first { 0 } else { SAME_UUID };
            let copy = self.block(index);
            copy.copy_from_slice(&buffer.read());
            if be32(copy, 0) == MAGIC {
                put_be32(copy, 0, 0);
                flags |= ESCAPED;
            }
            let (sb, size) = (self.sb, self.sb.block_size());
            let sum = if sb.checksums.of_blocks() { sb.data_sum(self.sequence, self.block(index)) } else { 0 };
            let block = &mut self.scratch[descriptor.index * size..][..size];
            format::put_tag(block, descriptor.at, sb, buffer.block(), flags, sum);
            descriptor.last = descriptor.at;
            descriptor.at += sb.tag_size();
            if first {
                put(block, descriptor.at, sb.uuid());
                descriptor.at += UUID_SIZE;
            }
            open = Some(descriptor);
        }
        self.finish(open);
        Ok(())
    }

    fn has_place(&self, descriptor: Descriptor) -> bool {
        self.full < self.capacity() && descriptor.at + self.sb.tag_size() <= self.sb.tail()
    }

    /// Marks the last tag of a block of them, and seals it.
    fn finish(&mut self, descriptor: Option<Descriptor>) {
        let Some(Descriptor { index, last, .. }) = descriptor else { return };
        // The low byte of the flags is at the same place in all sorts of tags.
        let flags = last + 7;
        self.block(index)[flags] |= LAST as u8;
        self.seal(index);
    }
}

impl Journal {
    /// How many blocks of the log a transaction takes at most.
    pub(super) fn blocks_of(&self, buffers: usize, revoked: usize) -> Option<u32> {
        let size = self.sb.block_size();
        let capacity = self.scratch.len() / size;
        let per_descriptor = ((self.sb.tail() - HEADER - UUID_SIZE) / self.sb.tag_size()).min(capacity - 1);
        let per_revoke = (self.sb.tail() - REVOKE_HEADER) / self.sb.revoked_size();
        let blocks = buffers + buffers.div_ceil(per_descriptor) + revoked.div_ceil(per_revoke);
        // Each time that the scratch is written out, with one block of it empty at most, a descriptor ends before it is full; and
        // those add to what is written.
        let refills = blocks / (capacity - 2);
        u32::try_from(blocks + refills + 2).ok()
    }

    /// No less than [`blocks_of`](Self::blocks_of), without a division. A descriptor has fifteen tags or more in all but the smallest
    /// journals, whose scratch has [`LEAST_SCRATCH_BLOCKS`](super::LEAST_SCRATCH_BLOCKS).
    pub(super) fn blocks_at_most(buffers: usize, revoked: usize) -> Option<u32> {
        u32::try_from(2 * (buffers + revoked) + 6).ok()
    }

    /// Makes a transaction durable: `buffers`, sorted by their numbers, and the blocks that it revokes. File data that it
    /// leads to has been written before; the flush in between makes that durable, too.
    ///
    /// # Errors
    /// `EIO`, after which nothing more may be committed; `EFBIG` for what does not fit, and nothing was written.
    pub(crate) fn commit(
        &mut self,
        cache: &BufferCache,
        buffers: &[Buffer],
        revoked: &[u64],
        now: Timestamp,
    ) -> Result<()> {
        if !self.has_room(buffers.len(), revoked.len()) {
            return Err(Error::fault(Errno::EFBIG, "ext4: transaction larger than the journal"));
        }
        if self.sb.start == 0 {
            // The first one: with it the log begins.
            self.sb.start = self.head;
            self.map.write(&**cache.device(), 0, self.sb.encode())?;
        }
        let start = self.head;
        let mut writer = Writer {
            cache,
            map: &self.map,
            sb: &self.sb,
            sequence: self.sequence,
            scratch: &mut self.scratch,
            start,
            full: 0,
            written: 0,
        };
        writer.revoke(revoked)?;
        writer.metadata(buffers)?;
        writer.write_out()?;
        let (end, written) = (writer.start, writer.written);
        cache.flush()?;
        self.advance_tail(cache)?;

        let size = self.sb.block_size();
        let block = &mut self.scratch[..size];
        block.fill(0);
        format::put_header(block, COMMIT, self.sequence);
        put(block, COMMIT_SECS, &(now.secs as u64).to_be_bytes());
        put_be32(block, COMMIT_NANOS, now.nanos);
        if self.sb.checksums.of_blocks() {
            let sum = self.sb.commit_sum(block);
            put_be32(block, COMMIT_SUM, sum);
        }
        cache.device().write_durable(self.map.sector(end)?, &self.scratch[..size])?;

        cache.count_written((written as usize + 1) * size);
        self.head = self.sb.advance(end, 1);
        let used = written + 1;
        self.used += used;
        for block in revoked {
            self.pending.remove(block);
        }
        let blocks = buffers.iter().map(Buffer::block).collect();
        self.log.push(Logged { sequence: self.sequence, start, used, blocks });
        for buffer in buffers {
            self.pending.insert(buffer.block(), buffer.clone());
            self.logged.insert(buffer.block(), self.sequence);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.advance_tail(cache)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::vec::Vec;

    use block::{Dirty, MemoryDisk};
    use vfs::{FsContext, Timestamp};

    use super::Journal;
    use crate::format::{FormatOptions, format};
    use crate::{Ext4, MountOptions};

    #[test]
    fn a_transaction_takes_no_more_of_the_log_than_was_counted() {
        const NOW: Timestamp = Timestamp { secs: 1_700_000_000, nanos: 0 };
        for block_size in [1024, 2048, 4096] {
            let disk = Arc::new(MemoryDisk::new(512 << 20));
            let options = FormatOptions { block_size, ..FormatOptions::new([7; 32], NOW) };
            format(&*disk, &options).unwrap();
            let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
            let fs = Ext4::mount(disk, context, MountOptions::default()).unwrap();
            let mut core = fs.core.lock();
            let journal = core.journal.as_mut().unwrap();
            let most = journal.sb.ring() as usize * 3 / 4;
            for (count, revoked) in [(1, 0), (125, 3), (126, 0), (503, 1), (1509, 0), (1540, 700), (3100, 1)] {
                if count > most {
                    continue;
                }
                // The end of the disk, where nothing is: none of it is brought there.
                let first = fs.cache.blocks() - count as u64;
                let buffers: Vec<_> = (first..fs.cache.blocks()).map(|block| fs.cache.create(block).unwrap()).collect();
                buffers.iter().for_each(|buffer| drop(fs.cache.write(buffer, Dirty::Held)));
                let revoked: Vec<u64> = (0..revoked).collect();
                journal.empty(&fs.cache).unwrap();
                let before = journal.used;
                let counted = journal.blocks_of(count, revoked.len()).unwrap();
                assert!(counted <= Journal::blocks_at_most(count, revoked.len()).unwrap());
                journal.commit(&fs.cache, &buffers, &revoked, NOW).unwrap();
                let taken = journal.used - before;
                assert!(taken <= counted, "{count} blocks of {block_size}: {taken}, counted {counted}");
                assert!(counted - taken <= 3 + counted / 60, "{count} blocks of {block_size}: {taken} of {counted}");
            }
        }
    }
}
