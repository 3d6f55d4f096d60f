//! The frame allocator: a binary buddy system over all usable physical memory.
//!
//! One byte a frame says whether a free block begins there and of what order; beside it lie the links of the lists of
//! free blocks. Taking and giving back are O(log n), and free memory is never touched: under a hypervisor the first
//! touch of a frame has the host find and clear memory for it, which costs more than all else here. Start-up writes a
//! byte a frame. The crates for this were looked at: they search a list for the buddy at each release, which is O(n)
//! in fragmented memory, and keep the lists in the free memory.
//!
//! Locks: [`FRAMES`] is innermost; nothing is called while it is held. Interrupt handlers do not allocate.

use core::mem::MaybeUninit;
use core::ops::Range;

use boot::layout::{PAGE_SIZE, direct};
use spin::Mutex;

/// The largest block is 2^18 frames: a gigabyte.
const MAX_ORDER: usize = 18;

/// How many single frames are kept out of the lists.
const RECENT: usize = 64;

/// The state of a frame that is in use or inside a block.
const NOT_FREE_HEAD: u8 = 0xff;

/// The end of a list. No free block begins at frame 0.
const NIL: u32 = 0;

static FRAMES: Mutex<Frames> = Mutex::new(Frames::new());

/// How much memory there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Managed by the allocator.
    pub(crate) total: u64,
    /// Free now.
    pub(crate) free: u64,
}

struct Frames {
    /// One state a frame, by frame number.
    states: &'static mut [u8],
    /// One pair of links a frame; those of frames that begin a free block mean something.
    links: &'static mut [MaybeUninit<Links>],
    /// The first block of each order's list.
    heads: [u32; MAX_ORDER + 1],
    /// Bit n: the list of order n is not empty.
    nonempty: u32,
    /// Single frames that were freed last, for the next that are wanted: splitting a block and joining it again takes
    /// longer than all else.
    recent: heapless::Vec<u32, RECENT>,
    /// Free frames, the recent ones included.
    free: u64,
    total: u64,
}

/// The neighbours of a free block in its list.
#[derive(Clone, Copy)]
struct Links {
    next: u32,
    previous: u32,
}

impl Frames {
    const fn new() -> Self {
        Self {
            states: &mut [],
            links: &mut [],
            heads: [NIL; MAX_ORDER + 1],
            nonempty: 0,
            recent: heapless::Vec::new(),
            free: 0,
            total: 0,
        }
    }

    /// The links of a frame that begins a free block.
    fn links(&mut self, frame: u32) -> &mut Links {
        // SAFETY: `push` wrote the links of every frame that is in a list, and no other frame is asked for.
        unsafe { self.links[frame as usize].assume_init_mut() }
    }

    fn push(&mut self, frame: u32, order: usize) {
        let head = self.heads[order];
        self.links[frame as usize].write(Links { next: head, previous: NIL });
        if head != NIL {
            self.links(head).previous = frame;
        }
        self.heads[order] = frame;
        self.nonempty |= 1 << order;
        self.states[frame as usize] = order as u8;
    }

    fn unlink(&mut self, frame: u32, order: usize) {
        let Links { next, previous } = *self.links(frame);
        if previous == NIL {
            self.heads[order] = next;
            if next == NIL {
                self.nonempty &= !(1 << order);
            }
        } else {
            self.links(previous).next = next;
        }
        if next != NIL {
            self.links(next).previous = previous;
        }
        self.states[frame as usize] = NOT_FREE_HEAD;
    }

    fn allocate(&mut self, order: usize) -> Option<u32> {
        if order > MAX_ORDER {
            return None;
        }
        if order == 0
            && let Some(frame) = self.recent.pop()
        {
            self.free -= 1;
            return Some(frame);
        }
        let mut candidates = self.nonempty >> order << order;
        if candidates == 0 {
            // With the recent frames back, there may be a block.
            while let Some(frame) = self.recent.pop() {
                self.join(frame, 0);
            }
            candidates = self.nonempty >> order << order;
        }
        if candidates == 0 {
            return None;
        }
        let mut found = candidates.trailing_zeros() as usize;
        let frame = self.heads[found];
        self.unlink(frame, found);
        while found > order {
            found -= 1;
            self.push(frame + (1 << found), found);
        }
        self.free -= 1 << order;
        Some(frame)
    }

    fn release(&mut self, frame: u32, order: usize) {
        self.free += 1 << order;
        if order > 0 || self.recent.push(frame).is_err() {
            self.join(frame, order);
        }
    }

    /// Puts a block into its list, joined with its buddy as long as that is free.
    fn join(&mut self, mut frame: u32, mut order: usize) {
        while order < MAX_ORDER {
            let buddy = frame ^ (1 << order);
            if self.states.get(buddy as usize) != Some(&(order as u8)) {
                break;
            }
            self.unlink(buddy, order);
            frame = frame.min(buddy);
            order += 1;
        }
        self.push(frame, order);
    }

    /// Releases `frames` in the largest aligned blocks.
    fn release_range(&mut self, frames: Range<u32>) {
        let mut start = frames.start;
        while start < frames.end {
            let fits = (frames.end - start).ilog2() as usize;
            let order = (start.trailing_zeros() as usize).min(fits).min(MAX_ORDER);
            self.release(start, order);
            start += 1 << order;
        }
    }
}

/// How many bytes the table of `frames` frames takes.
pub(super) const fn table_bytes(frames: usize) -> u64 {
    (frames.next_multiple_of(align_of::<Links>()) + frames * size_of::<Links>()) as u64
}

/// Places the table of `frames` frames at physical address `table`, with every frame in use.
///
/// # Safety
///
/// The bytes must be usable memory, aligned to a page, that the direct map shows and that nobody else ever uses.
pub(super) unsafe fn init(table: u64, frames: usize) {
    let start = direct(table) as *mut u8;
    // SAFETY: the caller gives the memory away; links need not be initialised.
    let (states, links) = unsafe {
        let links = start.add(frames.next_multiple_of(align_of::<Links>())).cast();
        (core::slice::from_raw_parts_mut(start, frames), core::slice::from_raw_parts_mut(links, frames))
    };
    states.fill(NOT_FREE_HEAD);
    let mut all = FRAMES.lock();
    all.states = states;
    all.links = links;
}

/// Adds the whole frames within `range` of physical addresses.
///
/// # Safety
///
/// They must be usable memory below the table's end, free, and not added before.
pub(super) unsafe fn add(range: Range<u64>) {
    let start = range.start.div_ceil(PAGE_SIZE).max(1);
    let end = range.end / PAGE_SIZE;
    if start < end {
        let mut frames = FRAMES.lock();
        frames.total += end - start;
        frames.release_range(start as u32..end as u32);
    }
}

/// Takes `count` frames in a row and returns the first one's physical address, which is aligned to the next
/// power of two of the length. `None` when there is no such block. The contents are whatever was there.
pub(crate) fn allocate(count: usize) -> Option<u64> {
    let mut frames = FRAMES.lock();
    if count <= 1 {
        return frames.allocate(0).map(|frame| u64::from(frame) * PAGE_SIZE);
    }
    let order = count.next_power_of_two().trailing_zeros() as usize;
    let first = frames.allocate(order)?;
    if !count.is_power_of_two() {
        frames.release_range(first + count as u32..first + (1 << order));
    }
    Some(u64::from(first) * PAGE_SIZE)
}

/// Gives `count` frames from physical address `start` on back.
///
/// # Safety
///
/// They must have been allocated, in one block or several, and nothing may refer to them any more.
pub(crate) unsafe fn release(start: u64, count: usize) {
    let first = (start / PAGE_SIZE) as u32;
    if count == 1 {
        FRAMES.lock().release(first, 0);
        return;
    }
    FRAMES.lock().release_range(first..first + count as u32);
}

/// The memory that there is.
pub(crate) fn usage() -> Usage {
    let frames = FRAMES.lock();
    Usage { total: frames.total * PAGE_SIZE, free: frames.free * PAGE_SIZE }
}

/// A frame that frees itself.
#[derive(Debug)]
pub(crate) struct Frame {
    address: u64,
}

impl Frame {
    /// A frame with unknown contents; `None` when memory is out.
    pub(crate) fn new() -> Option<Self> {
        allocate(1).map(|address| Self { address })
    }

    /// A frame of zeros; `None` when memory is out.
    pub(crate) fn zeroed() -> Option<Self> {
        let mut frame = Self::new()?;
        frame.bytes_mut().fill(0);
        Some(frame)
    }

    /// Its physical address.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// Its bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; PAGE_SIZE as usize] {
        // SAFETY: the frame is owned, the direct map shows it, and the borrow keeps it exclusive.
        unsafe { &mut *(direct(self.address) as *mut [u8; PAGE_SIZE as usize]) }
    }

    /// Gives the frame up without freeing it, to be taken back by [`Self::from_address`].
    pub(crate) fn into_address(self) -> u64 {
        core::mem::ManuallyDrop::new(self).address
    }

    /// Takes ownership of a frame again.
    ///
    /// # Safety
    ///
    /// `address` must come from [`Self::into_address`] or [`allocate`], and be taken back once.
    pub(crate) unsafe fn from_address(address: u64) -> Self {
        Self { address }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: the frame was allocated and is owned.
        unsafe { release(self.address, 1) };
    }
}
