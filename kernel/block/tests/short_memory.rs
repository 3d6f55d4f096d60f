//! The cache where memory is short: an allocator that refuses large pieces to the thread that asks for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use block::{BufferCache, CountingDisk, Dirty, Fault, FaultDisk, MemoryDisk};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
    static BEFORE: Cell<usize> = const { Cell::new(0) };
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call is passed on to the system's allocator with the layout that came in; a null pointer in place of memory
// is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let refused = LARGEST.try_with(|largest| layout.size() > largest.get()).unwrap_or(false);
        let left = BEFORE.try_with(Cell::get).unwrap_or(0);
        if refused && left == 0 {
            return core::ptr::null_mut();
        }
        if refused {
            let _ = BEFORE.try_with(|before| before.set(left - 1));
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` where no piece of more than `largest` bytes is to be had, but for the first `before` of them.
fn short_of_memory<T>(largest: usize, before: usize, work: impl FnOnce() -> T) -> T {
    BEFORE.set(before);
    LARGEST.set(largest);
    let result = work();
    LARGEST.set(usize::MAX);
    result
}

const BLOCK: usize = 4096;
const BLOCKS: usize = 1024;

fn content(block: usize) -> [u8; BLOCK] {
    [(block % 251) as u8 + 1; BLOCK]
}

/// A cache with `BLOCKS` dirty neighbours, each in memory of its own.
fn scattered(disk: Arc<FaultDisk>) -> BufferCache {
    let cache = BufferCache::new(disk, BLOCK, 8 << 20).unwrap();
    for block in 0..BLOCKS {
        cache.store(block as u64, &content(block), Dirty::Queued(1)).unwrap();
    }
    cache
}

fn assert_written(memory: &MemoryDisk) {
    let image = memory.to_image();
    for (block, bytes) in image.chunks(BLOCK).enumerate() {
        assert!(bytes == content(block), "block {block} was not written");
    }
}

#[test]
fn write_back_needs_no_memory_for_copies() {
    for before in [0, 1, 5, 33] {
        let memory = Arc::new(MemoryDisk::new((BLOCKS * BLOCK) as u64));
        let cache = scattered(Arc::new(FaultDisk::new(memory.clone())));
        short_of_memory(100 << 10, before, || cache.write_back());
        assert_eq!((cache.queued_bytes(), cache.take_failures().len()), (0, 0), "{before} copies could be had");
        assert_written(&memory);
    }
}

#[test]
fn write_back_copies_little_at_a_time() {
    let memory = Arc::new(MemoryDisk::new((BLOCKS * BLOCK) as u64));
    let counting = Arc::new(CountingDisk::new(memory.clone()));
    let cache = scattered(Arc::new(FaultDisk::new(counting.clone())));
    cache.write_back();
    let counts = counting.take();
    assert_eq!(counts.writes, 32, "neighbours still go together: {counts:?}");
    assert_written(&memory);
}

#[test]
fn every_block_that_the_device_does_not_take_is_noted_and_no_other() {
    for after in [0, 3, 40] {
        let memory = Arc::new(MemoryDisk::new((BLOCKS * BLOCK) as u64));
        let disk = Arc::new(FaultDisk::new(memory.clone()));
        let cache = scattered(disk.clone());
        disk.set(Fault::WritesAfter(after));
        short_of_memory(100 << 10, 2, || cache.write_back());
        disk.clear();
        assert_eq!(cache.queued_bytes(), 0);
        let failures = cache.take_failures();
        let failed =
            |block: u64| failures.iter().any(|it| (it.block..it.block + u64::from(it.blocks)).contains(&block));
        let image = memory.to_image();
        for (block, bytes) in image.chunks(BLOCK).enumerate() {
            assert!(failed(block as u64) || bytes == content(block), "block {block} is lost without a word");
        }
        assert!(failures.iter().all(|failed| failed.owner == 1));
        assert!(!failures.is_empty());
    }
}
