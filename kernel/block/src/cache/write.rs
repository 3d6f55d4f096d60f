//! Changing blocks, and writing them to the device: sorted, coalesced, many requests in flight.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering;

use base::sort;
use base::sync::RwLockReadGuard;
use base::{Errno, Error, Result};

use super::run::{Run, bit, bits};
use super::{Buffer, BufferCache, BufferWrite, Dirty, FailedWrite, MAX_REQUEST, UNPLACED};
use crate::Io;

/// Requests of one batch.
const BATCH: usize = 32;
/// Neighbours of less than this are copied together into one request; larger ones go from where they are.
const GATHER_BELOW: usize = 32 * 1024;
/// What the copies of one batch take at most: write-back is what gives memory back, so it is not to need much.
const MAX_COPIES: usize = 4 * MAX_REQUEST;

/// What becomes of blocks that the device does not take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// Their owner is told; they are clean.
    Noted,
    /// They stay as they were, and nothing more is written.
    Held,
}

/// Dirty blocks in a row in one run.
struct Segment<'a> {
    run: &'a Arc<Run>,
    first: u32,
    count: u32,
}

impl Segment<'_> {
    fn block(&self) -> u64 {
        self.run.start + u64::from(self.first)
    }

    fn end(&self) -> u64 {
        self.block() + u64::from(self.count)
    }

    fn bytes(&self) -> usize {
        self.count as usize * self.run.block_size
    }

    fn mask(&self) -> u64 {
        bits(self.count) << self.first
    }

    /// Its bytes within the run's.
    fn range(&self) -> Range<usize> {
        self.run.range(self.first, self.count)
    }
}

/// One segment from where it is, or several that are copied together; the copy has its memory already.
struct Request<'a> {
    segments: &'a [Segment<'a>],
    copy: Option<Vec<u8>>,
}

/// How many of the first segments go in one request, and their bytes.
fn joined(segments: &[Segment<'_>]) -> (usize, usize) {
    let mut count = 1;
    let mut bytes = segments[0].bytes();
    while let Some(next) = segments.get(count) {
        let joins = next.block() == segments[count - 1].end()
            && bytes + next.bytes() <= MAX_REQUEST
            && (bytes < GATHER_BELOW || next.bytes() < GATHER_BELOW);
        if !joins {
            break;
        }
        bytes += next.bytes();
        count += 1;
    }
    (count, bytes)
}

impl BufferCache {
    /// Exclusive access to a block, which becomes dirty.
    #[must_use]
    pub fn write<'a>(&self, buffer: &'a Buffer, dirty: Dirty) -> BufferWrite<'a> {
        let guard = buffer.run.data.write();
        self.mark(&buffer.run, bit(buffer.index), dirty);
        BufferWrite { guard, range: buffer.run.range(buffer.index, 1) }
    }

    /// A block whose content on the device does not matter: all zero, valid, not yet dirty.
    ///
    /// # Errors
    /// `EIO` past the end of the device; `ENOMEM`.
    pub fn create(&self, block: u64) -> Result<Buffer> {
        if let Some(buffer) = self.get(block) {
            buffer.run.data.write()[buffer.run.range(buffer.index, 1)].fill(0);
            return Ok(buffer);
        }
        let mut data = Vec::new();
        data.try_reserve_exact(self.block_size).map_err(|_| Error::new(Errno::ENOMEM, "buffer cache"))?;
        data.resize(self.block_size, 0);
        let run = self.insert(block, 1, data)?;
        Ok(Buffer { run, index: 0 })
    }

    /// Replaces whole blocks from `start` on by `data`, a multiple of the block size, and marks them dirty.
    ///
    /// # Errors
    /// `EIO` past the end of the device; `ENOMEM`: some blocks may have been replaced.
    pub fn store(&self, start: u64, data: &[u8], dirty: Dirty) -> Result<()> {
        let mut block = start;
        let mut data = data;
        while data.len() >= self.block_size {
            let blocks = (data.len() / self.block_size) as u64;
            if let Some(buffer) = self.get(block) {
                let count = u64::from(buffer.run.blocks - buffer.index).min(blocks) as u32;
                let present = (0..count).take_while(|i| buffer.run.is_valid(buffer.index + i)).count() as u32;
                let (now, rest) = data.split_at(present as usize * self.block_size);
                let mut guard = buffer.run.data.write();
                self.mark(&buffer.run, bits(present) << buffer.index, dirty);
                guard[buffer.run.range(buffer.index, present)].copy_from_slice(now);
                drop(guard);
                block += u64::from(present);
                data = rest;
                continue;
            }
            let absent = {
                let inner = self.inner.lock();
                let most = blocks.min(u64::from(self.max_run));
                (0..most).take_while(|i| !inner.map.contains_key(&(block + i))).count()
            };
            if absent == 0 {
                continue;
            }
            let (now, rest) = data.split_at(absent * self.block_size);
            let mut copy = Vec::new();
            copy.try_reserve_exact(now.len()).map_err(|_| Error::new(Errno::ENOMEM, "buffer cache"))?;
            copy.extend_from_slice(now);
            let run = self.insert(block, absent as u32, copy)?;
            self.mark(&run, bits(run.blocks), dirty);
            block += absent as u64;
            data = rest;
        }
        Ok(())
    }

    pub(super) fn insert(&self, start: u64, blocks: u32, data: Vec<u8>) -> Result<Arc<Run>> {
        if start < UNPLACED && start + u64::from(blocks) > self.blocks {
            return Err(Error::new(Errno::EIO, "block past the end of the device"));
        }
        let mut inner = self.inner.lock();
        // A concurrent read-ahead may have brought one of the blocks since the caller looked.
        for block in start..start + u64::from(blocks) {
            if let Some(old) = inner.remove(block) {
                old.valid.fetch_and(!bit((block - old.start) as u32), Ordering::Release);
            }
        }
        inner.make_room(data.len(), self.limit());
        let slot = inner.next_slot();
        let run = Run::new(start, blocks, self.block_size, slot, data);
        run.valid.store(bits(blocks), Ordering::Release);
        inner.insert(&run);
        Ok(run)
    }

    pub(super) fn mark(&self, run: &Arc<Run>, mask: u64, dirty: Dirty) {
        match dirty {
            Dirty::Held => {
                let held = run.held.fetch_or(mask, Ordering::Relaxed);
                let was = run.dirty.fetch_or(mask, Ordering::Relaxed);
                let left = (was & !held & mask).count_ones() as usize;
                if left != 0 {
                    self.queued_blocks.fetch_sub(left, Ordering::Relaxed);
                }
            }
            Dirty::Queued(owner) => {
                run.owner.store(owner, Ordering::Relaxed);
                // Before `queued` is looked at: see `write_back`.
                let was = run.dirty.fetch_or(mask, Ordering::AcqRel);
                let new = (mask & !was).count_ones() as usize;
                if new != 0 {
                    self.queued_blocks.fetch_add(new, Ordering::Relaxed);
                }
                self.enqueue(run);
            }
        }
    }

    fn enqueue(&self, run: &Arc<Run>) {
        if !run.queued.swap(true, Ordering::AcqRel) {
            let mut inner = self.inner.lock();
            self.dirty_bytes.fetch_add(run.bytes(), Ordering::Relaxed);
            inner.dirty.push(run.clone());
        }
    }

    /// Writes all [`Dirty::Queued`] blocks. Not durable before a [`flush`](Self::flush). What the device does not take is
    /// [noted](Self::take_failures) and clean from then on, so that a bad place keeps nothing else from being written.
    pub fn write_back(&self) {
        let _turn = self.writer.lock();
        let mut runs = {
            let mut inner = self.inner.lock();
            self.dirty_bytes.store(0, Ordering::Relaxed);
            core::mem::take(&mut inner.dirty)
        };
        if runs.is_empty() {
            return;
        }
        sort::by_key(&mut runs, |run| run.start);
        let mut segments = Vec::new();
        for run in &runs {
            // Exchanged, not stored: a store could land behind the look at `dirty`, and then whoever marks a block in between
            // would find the run queued that is in no list any more.
            run.queued.swap(false, Ordering::AcqRel);
            let mut left = run.dirty.load(Ordering::Acquire) & !run.held.load(Ordering::Relaxed);
            while left != 0 {
                let first = left.trailing_zeros();
                let count = (left >> first).trailing_ones();
                left &= !(bits(count) << first);
                segments.push(Segment { run, first, count });
            }
        }
        sort::by_key(&mut segments, Segment::block);
        // Each failure is noted; there is no other.
        let _ = self.write_segments(&segments, Failing::Noted);
        // Under `writer`: whoever finds nothing left to write there finds the epoch of those who wrote it.
        self.note_written();
    }

    /// What [`write_back`](Self::write_back) could not write since the last call.
    #[must_use]
    pub fn take_failures(&self) -> Vec<FailedWrite> {
        core::mem::take(&mut *self.failures.lock())
    }

    /// Changes `bytes` from `sector` on of the device itself, durably, with none of the cache's own writes in between: what
    /// those bring there is not undone. Cached blocks stay as they are.
    ///
    /// # Errors
    /// `EIO`.
    pub fn amend(&self, sector: u64, bytes: &mut [u8], change: impl FnOnce(&mut [u8])) -> Result<()> {
        let _turn = self.writer.lock();
        self.device.read(sector, bytes)?;
        change(bytes);
        self.device.write_durable(sector, bytes)
    }

    /// Remembers that data was written and not flushed.
    pub(super) fn note_written(&self) {
        self.written.fetch_max(self.epoch(), Ordering::AcqRel);
    }

    /// Writes [`Dirty::Held`] blocks, sorted by their number; they are clean and no longer held then.
    ///
    /// # Errors
    /// `EIO`: what was not written stays dirty and held.
    pub fn write_buffers(&self, sorted: &[Buffer]) -> Result<()> {
        let _turn = self.writer.lock();
        let mut segments: Vec<Segment<'_>> = Vec::with_capacity(sorted.len());
        for buffer in sorted {
            match segments.last_mut() {
                Some(last) if Arc::ptr_eq(last.run, &buffer.run) && last.first + last.count == buffer.index => {
                    last.count += 1;
                }
                _ => segments.push(Segment { run: &buffer.run, first: buffer.index, count: 1 }),
            }
        }
        self.write_segments(&segments, Failing::Held)
    }

    /// Lets a [`Dirty::Held`] block go whose bytes are again what the device has: it is clean, and no longer held.
    pub fn let_go(&self, buffer: &Buffer) {
        self.clean(&Segment { run: &buffer.run, first: buffer.index, count: 1 }, Failing::Held);
    }

    fn write_segments(&self, segments: &[Segment<'_>], failing: Failing) -> Result<()> {
        let mut rest = segments;
        while !rest.is_empty() {
            let mut requests: Vec<Request<'_>> = Vec::with_capacity(BATCH);
            let mut room = MAX_COPIES;
            while requests.len() < BATCH && !rest.is_empty() {
                let (count, bytes) = joined(rest);
                let (now, later) = rest.split_at(count);
                if count == 1 {
                    requests.push(Request { segments: now, copy: None });
                    rest = later;
                } else if bytes > room {
                    break;
                } else {
                    let mut copy = Vec::new();
                    if copy.try_reserve_exact(bytes).is_ok() {
                        room -= bytes;
                        requests.push(Request { segments: now, copy: Some(copy) });
                        rest = later;
                    } else {
                        // Memory is short: it goes by itself, from where it is.
                        requests.push(Request { segments: &rest[..1], copy: None });
                        rest = &rest[1..];
                    }
                }
            }
            self.write_requests(&mut requests, failing)?;
        }
        Ok(())
    }

    fn write_requests(&self, requests: &mut [Request<'_>], failing: Failing) -> Result<()> {
        // The locks keep writers out; a block is clean from before its bytes are taken, so that a later change
        // marks it again. Between that and the transfer nothing can fail.
        let mut locked: Vec<RwLockReadGuard<'_, Vec<u8>>> = Vec::with_capacity(requests.len());
        for request in &mut *requests {
            for segment in request.segments {
                let guard = segment.run.data.read();
                self.clean(segment, failing);
                match &mut request.copy {
                    Some(copy) => copy.extend_from_slice(&guard[segment.range()]),
                    None => locked.push(guard),
                }
            }
        }
        let mut batch = Vec::with_capacity(requests.len());
        let mut direct = locked.iter();
        for request in &*requests {
            let first = &request.segments[0];
            let data = match &request.copy {
                Some(copy) => Some(&copy[..]),
                None => direct.next().map(|guard| &guard[first.range()]),
            };
            if let Some(data) = data {
                batch.push(Io::Write { sector: first.block() * self.sectors_per_block, data });
            }
        }
        self.count_written(batch.iter().map(Io::len).sum());
        let Err(error) = self.device.transfer(&mut batch) else { return Ok(()) };
        if failing == Failing::Noted {
            self.write_each(requests, &batch);
            return Ok(());
        }
        for segment in requests.iter().flat_map(|request| request.segments) {
            let mask = segment.mask() & segment.run.valid.load(Ordering::Relaxed);
            self.mark(segment.run, mask, Dirty::Held);
        }
        Err(error)
    }

    /// Writes the segments of a batch that failed one by one, and notes those that fail again: which they were was not told.
    fn write_each(&self, requests: &[Request<'_>], batch: &[Io<'_>]) {
        for (request, io) in requests.iter().zip(batch) {
            let Io::Write { data, .. } = io else { continue };
            let mut rest: &[u8] = data;
            for segment in request.segments {
                let (data, later) = rest.split_at(segment.bytes());
                rest = later;
                if self.device.write(segment.block() * self.sectors_per_block, data).is_err() {
                    let owner = segment.run.owner.load(Ordering::Relaxed);
                    let failed = FailedWrite { owner, block: segment.block(), blocks: segment.count };
                    self.failures.lock().push(failed);
                }
            }
        }
    }

    fn clean(&self, segment: &Segment<'_>, failing: Failing) {
        let was = segment.run.dirty.fetch_and(!segment.mask(), Ordering::Relaxed);
        match failing {
            Failing::Held => {
                segment.run.held.fetch_and(!segment.mask(), Ordering::Relaxed);
            }
            Failing::Noted => {
                let count = (was & segment.mask()).count_ones() as usize;
                self.queued_blocks.fetch_sub(count, Ordering::Relaxed);
            }
        }
    }
}
