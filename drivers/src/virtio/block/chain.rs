//! From a batch's requests to the chains that are queued: neighbours on the disk are joined, buffers that are not
//! contiguous in physical memory are split.

use heapless::Vec;

use super::{BlockError, Info, MAX_SEGMENTS, Operation, Request, SECTOR_SIZE};
use crate::platform;

/// Bytes that are contiguous in physical memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) start: *mut u8,
    pub(super) length: usize,
}

/// What becomes one request to the device.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) operation: Operation,
    pub(super) sector: u64,
    pub(super) segments: Vec<Segment, MAX_SEGMENTS>,
    bytes: usize,
}

impl Chain {
    pub(super) const fn new(operation: Operation, sector: u64) -> Self {
        Self { operation, sector, segments: Vec::new(), bytes: 0 }
    }

    /// Adds a small buffer of the heap, which is contiguous. For chains of one buffer.
    pub(super) fn push_whole(&mut self, start: *mut u8, length: usize) {
        // The chain is empty.
        let _ = self.segments.push(Segment { start, length });
        self.bytes += length;
    }

    /// The sector behind it.
    fn end(&self) -> u64 {
        self.sector + (self.bytes / SECTOR_SIZE) as u64
    }
}

/// What is left of a request.
struct Rest {
    operation: Operation,
    sector: u64,
    start: *mut u8,
    length: usize,
}

/// Makes chains of requests.
pub(super) struct Chains<I> {
    requests: I,
    rest: Option<Rest>,
    info: Info,
    error: Option<BlockError>,
}

impl<'a, I: Iterator<Item = Request<'a>>> Chains<I> {
    pub(super) const fn new(requests: I, info: Info) -> Self {
        Self { requests, rest: None, info, error: None }
    }

    /// Why there were no more chains although there were requests.
    pub(super) const fn error(&self) -> Option<BlockError> {
        self.error
    }

    /// The next chain.
    pub(super) fn next_chain(&mut self) -> Option<Chain> {
        let mut chain: Option<Chain> = None;
        while let Some(rest) = self.rest() {
            let chain = chain.get_or_insert_with(|| Chain::new(rest.operation, rest.sector));
            if chain.operation != rest.operation || chain.end() != rest.sector {
                break;
            }
            if !self.extend(chain) {
                break;
            }
        }
        chain.filter(|chain| chain.bytes > 0)
    }

    /// Moves as much of the current request into `chain` as fits; false when the chain is full or there is an error.
    fn extend(&mut self, chain: &mut Chain) -> bool {
        let Some(mut rest) = self.rest.take() else { return false };
        while rest.length > 0 {
            if chain.segments.len() == self.info.max_segments {
                // A chain ends at a sector's end; what has been taken of the sector goes to the next one.
                let excess = chain.bytes % SECTOR_SIZE;
                if excess > 0 && !give_back(chain, &mut rest, excess) {
                    self.error = Some(BlockError::Length);
                    return false;
                }
                rest.sector = chain.end();
                self.rest = Some(rest);
                return false;
            }
            let run = platform::get().and_then(|platform| platform.physical_run(rest.start, rest.length));
            let Some((_, run)) = run else {
                self.error = Some(BlockError::Failed);
                return false;
            };
            let length = run.min(rest.length).min(self.info.max_segment_bytes);
            // There is room: the list was not full.
            let _ = chain.segments.push(Segment { start: rest.start, length });
            chain.bytes += length;
            rest.start = rest.start.wrapping_add(length);
            rest.length -= length;
        }
        true
    }

    /// The request to go on with.
    fn rest(&mut self) -> Option<&Rest> {
        if self.rest.is_none() && self.error.is_none() {
            match check(self.requests.next()?, self.info) {
                Ok(rest) => self.rest = Some(rest),
                Err(error) => self.error = Some(error),
            }
        }
        self.rest.as_ref()
    }
}

/// Takes `excess` bytes, all of them in the last segments, out of the chain again.
fn give_back(chain: &mut Chain, rest: &mut Rest, mut excess: usize) -> bool {
    while excess > 0 {
        let Some(last) = chain.segments.last_mut() else { return false };
        let taken = last.length.min(excess);
        last.length -= taken;
        if last.length == 0 {
            chain.segments.pop();
        }
        chain.bytes -= taken;
        rest.start = rest.start.wrapping_sub(taken);
        rest.length += taken;
        excess -= taken;
    }
    chain.bytes > 0
}

fn check(request: Request<'_>, info: Info) -> Result<Rest, BlockError> {
    let rest = match request {
        Request::Read { sector, buf } => {
            Rest { operation: Operation::Read, sector, start: buf.as_mut_ptr(), length: buf.len() }
        }
        Request::Write { .. } if info.read_only => return Err(BlockError::ReadOnly),
        Request::Write { sector, data } => {
            Rest { operation: Operation::Write, sector, start: data.as_ptr().cast_mut(), length: data.len() }
        }
    };
    if rest.length == 0 || !rest.length.is_multiple_of(SECTOR_SIZE) {
        return Err(BlockError::Length);
    }
    match rest.sector.checked_add((rest.length / SECTOR_SIZE) as u64) {
        Some(end) if end <= info.sectors => Ok(rest),
        _ => Err(BlockError::OutOfRange),
    }
}
