//! The kernel's heap.
//!
//! Three tiers by size. Up to [`CACHED`] bytes, blocks of a few sizes are kept in short lists when they are freed and
//! taken from there, a handful of instructions each way. What the lists lack, and everything below [`LARGE`] bytes, comes
//! from `talc`, which takes chunks of [`CHUNK`] bytes from the frame allocator and gives empty ones back. From there on,
//! and for whole pages, frames are used directly.
//!
//! All of it lies in the direct map, so every allocation is contiguous in physical memory and can be given to a device as
//! it is. Running out is a null pointer: `try_reserve` reports it, and the infallible calls panic with the size they wanted.
//!
//! Locks: [`CACHES`] or [`SMALL`], one at a time, then the frame allocator's. Interrupt handlers do not allocate.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use boot::layout::{DIRECT_MAP, PAGE_SIZE, direct};
use spin::Mutex;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::GlobalAllocSource;

use super::frames;

/// From this size on, in bytes, frames are used directly; below, for whole pages only, which begin at a page then.
const LARGE: usize = 32 << 10;

/// By how many bytes the heap of small allocations grows.
const CHUNK: usize = 256 << 10;

/// The largest size, in bytes, whose free blocks are kept for the next one.
const CACHED: usize = 2048;

/// The alignment of every cached block.
const GRAIN: usize = 16;

/// The sizes of cached blocks: four to a doubling, so that at most a fifth is wasted.
const SIZES: [usize; 23] =
    [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 2048];

/// How many bytes a list keeps at most.
const KEPT: usize = 16 << 10;

/// For a size in grains, rounded up: which list.
static CLASS_OF: [u8; CACHED / GRAIN + 1] = classes();

const fn classes() -> [u8; CACHED / GRAIN + 1] {
    let mut table = [0; CACHED / GRAIN + 1];
    let mut grains = 0;
    let mut class = 0;
    while grains < table.len() {
        if grains * GRAIN > SIZES[class] {
            class += 1;
        }
        table[grains] = class as u8;
        grains += 1;
    }
    table
}

static SMALL: Mutex<Talc<GlobalAllocSource<WholeFrames>, DefaultBinning>> =
    Mutex::new(Talc::new(GlobalAllocSource::with_block_size(WholeFrames, CHUNK)));

static CACHES: Mutex<[List; SIZES.len()]> = Mutex::new([const { List { first: None, length: 0 } }; SIZES.len()]);

/// Free blocks of one size; each holds the pointer to the next.
struct List {
    first: Option<NonNull<Option<NonNull<u8>>>>,
    length: usize,
}

// SAFETY: the blocks are free memory of the heap that only the list knows.
unsafe impl Send for List {}

#[global_allocator]
static HEAP: Heap = Heap;

struct Heap;

/// Which tier serves a layout: by size and alignment alone, so that release finds the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Cached(usize),
    Small,
    Frames,
}

const fn tier(layout: Layout) -> Tier {
    if layout.size() <= CACHED && layout.align() <= GRAIN {
        Tier::Cached(CLASS_OF[layout.size().div_ceil(GRAIN)] as usize)
    } else if layout.size() >= LARGE
        || layout.align() > PAGE_SIZE as usize / 2
        || layout.size().is_multiple_of(PAGE_SIZE as usize)
    {
        Tier::Frames
    } else {
        Tier::Small
    }
}

/// The layout of a cached block.
const fn class_layout(class: usize) -> Layout {
    match Layout::from_size_align(SIZES[class], GRAIN) {
        Ok(layout) => layout,
        Err(_) => panic!("the sizes are small and the grain is a power of two"),
    }
}

// SAFETY: every tier returns memory of the layout that nobody else has, and a layout always goes to the same tier.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match tier(layout) {
            Tier::Cached(class) => match CACHES.lock()[class].pop() {
                Some(block) => block.as_ptr(),
                None => allocate_small(class_layout(class)),
            },
            Tier::Small => allocate_small(layout),
            // SAFETY: `WholeFrames` takes any layout.
            Tier::Frames => unsafe { WholeFrames.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match tier(layout) {
            Tier::Cached(class) => {
                // SAFETY: the block came from `alloc` with a layout of this class, and is free now.
                if !unsafe { CACHES.lock()[class].push(pointer, SIZES[class]) } {
                    // SAFETY: `SMALL` made every block of the lists, with this layout.
                    unsafe { free_small(pointer, class_layout(class)) };
                }
            }
            // SAFETY: the block came from `alloc` with this layout, hence from `SMALL`.
            Tier::Small => unsafe { free_small(pointer, layout) },
            // SAFETY: likewise, from `WholeFrames`.
            Tier::Frames => unsafe { WholeFrames.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        match (tier(layout), tier(new_layout)) {
            (Tier::Cached(old), Tier::Cached(new)) if old == new => return pointer,
            (Tier::Frames, Tier::Frames) if page_count(layout) == page_count(new_layout) => return pointer,
            // SAFETY: the block is `SMALL`'s, of this layout, and the new size is not zero.
            (Tier::Small, Tier::Small) if unsafe { SMALL.lock().try_realloc_in_place(pointer, layout, new_size) } => {
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

impl List {
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = self.first?;
        // SAFETY: `push` wrote the pointer into the block, which is the list's until now.
        self.first = unsafe { block.read() }.map(NonNull::cast);
        self.length -= 1;
        Some(block.cast())
    }

    /// Keeps a block; false when the list is long enough.
    ///
    /// # Safety
    ///
    /// The block must be free, of the list's size, and aligned to [`GRAIN`].
    unsafe fn push(&mut self, block: *mut u8, size: usize) -> bool {
        let Some(block) = NonNull::new(block.cast::<Option<NonNull<u8>>>()) else { return true };
        if (self.length + 1) * size > KEPT {
            return false;
        }
        // SAFETY: the block is free and large enough for a pointer.
        unsafe { block.write(self.first.map(NonNull::cast)) };
        self.first = Some(block);
        self.length += 1;
        true
    }
}

#[cold]
fn allocate_small(layout: Layout) -> *mut u8 {
    // SAFETY: no layout that gets here has size zero: the classes have none, and callers promise it.
    unsafe { SMALL.lock().allocate(layout) }.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// # Safety
///
/// The block came from [`allocate_small`] with this layout and is free.
#[cold]
unsafe fn free_small(pointer: *mut u8, layout: Layout) {
    // SAFETY: the caller's duty.
    unsafe { SMALL.lock().deallocate(pointer, layout) };
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
