//! The kernel's heap.
//!
//! Small allocations come from `talc`, which takes chunks of [`CHUNK`] bytes from the frame allocator and gives
//! empty ones back; from [`LARGE`] bytes on frames are used directly. All of it lies in the direct map, so every
//! allocation is contiguous in physical memory and can be given to a device as it is. Running out is a null
//! pointer: `try_reserve` reports it, and the infallible calls panic with the size they wanted.
//!
//! Locks: [`SMALL`], then the frame allocator's. Interrupt handlers do not allocate.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use boot::layout::{DIRECT_MAP, PAGE_SIZE, direct};
use spin::Mutex;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::GlobalAllocSource;

use super::frames;

/// The smallest size, in bytes, that is served with whole frames.
const LARGE: usize = 32 << 10;

/// By how many bytes the heap of small allocations grows.
const CHUNK: usize = 256 << 10;

static SMALL: Mutex<Talc<GlobalAllocSource<WholeFrames>, DefaultBinning>> =
    Mutex::new(Talc::new(GlobalAllocSource::with_block_size(WholeFrames, CHUNK)));

#[global_allocator]
static HEAP: Heap = Heap;

struct Heap;

// SAFETY: both halves return memory of the layout that nobody else has, and a layout always goes to the same half.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_large(layout) {
            // SAFETY: `WholeFrames` takes any layout.
            return unsafe { WholeFrames.alloc(layout) };
        }
        // SAFETY: the caller promises a size that is not zero.
        unsafe { SMALL.lock().allocate(layout) }.map_or(ptr::null_mut(), ptr::NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if is_large(layout) {
            // SAFETY: the caller got the block from `alloc` with this layout, hence from `WholeFrames`.
            unsafe { WholeFrames.dealloc(pointer, layout) };
        } else {
            // SAFETY: likewise, from `SMALL`.
            unsafe { SMALL.lock().deallocate(pointer, layout) };
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        match (is_large(layout), is_large(new_layout)) {
            (true, true) if page_count(layout) == page_count(new_layout) => return pointer,
            // SAFETY: the block is `SMALL`'s, of this layout, and the new size is not zero.
            (false, false) if unsafe { SMALL.lock().try_realloc_in_place(pointer, layout, new_size) } => {
                return pointer;
            }
            _ => {}
        }
        // SAFETY: the caller promises that the new size is not zero.
        let moved = unsafe { self.alloc(new_layout) };
        if !moved.is_null() {
            // SAFETY: both blocks hold at least the smaller size and are distinct; the old one is then given back.
            unsafe {
                ptr::copy_nonoverlapping(pointer, moved, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
        }
        moved
    }
}

/// Which half serves a layout: by size and alignment alone, so that release finds the same one.
const fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE || layout.align() > PAGE_SIZE as usize / 2
}

const fn page_count(layout: Layout) -> usize {
    let size = if layout.size() > layout.align() { layout.size() } else { layout.align() };
    size.div_ceil(PAGE_SIZE as usize)
}

/// Allocates whole frames.
#[derive(Debug)]
struct WholeFrames;

// SAFETY: blocks of the frame allocator are exclusive and aligned to the power of two that holds them.
unsafe impl GlobalAlloc for WholeFrames {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        frames::allocate(page_count(layout)).map_or(ptr::null_mut(), |address| direct(address) as *mut u8)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc` with this layout, so these are its frames.
        unsafe { frames::release(pointer as u64 - DIRECT_MAP, page_count(layout)) };
    }
}
