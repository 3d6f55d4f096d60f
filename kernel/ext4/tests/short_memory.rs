//! Moments without memory: an allocator that refuses whole blocks and requests to the thread that asks for it.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::disk::{DEFAULT, MIB, assert_clean};
use common::{context, mount, short};
use contract::dsl::pattern;
use ext4::{Ext4, MountOptions};
use vfs::{Errno, FileSystem, SyncKind};

thread_local! {
    /// How many pieces may still be had; `usize::MAX` for all.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call is passed on to the system's allocator with the layout that came in; a null pointer in place of memory
// is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // What the cache asks for: whole blocks, a table of inodes' neighbourhood, a request.
        if layout.align() == 1 && layout.size() >= 4096 && layout.size().is_multiple_of(4096) {
            let left = LEFT.try_with(Cell::get).unwrap_or(usize::MAX);
            if left == 0 {
                return core::ptr::null_mut();
            }
            if left != usize::MAX {
                let _ = LEFT.try_with(|cell| cell.set(left - 1));
            }
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Whatever piece of memory is the first that cannot be had, the call that needed it fails at most, and data that was taken
/// is there.
#[test]
fn a_moment_without_memory_costs_no_more_than_the_call() {
    let blocks = 2 * 128_u64;
    let old = pattern(1, (blocks * 4096) as usize);
    let new = pattern(2, 4096);
    for left in 0..24 {
        let memory = DEFAULT.disk(32 * MIB);
        let options = MountOptions { cache_bytes: 2 << 20, ..MountOptions::default() };
        let fs = Ext4::mount(memory.clone(), context(), options).unwrap();
        let file = short::file(&*fs, "f", b"").unwrap();
        // The disk of the test takes its memory now.
        file.write_at(0, &old).unwrap();
        fs.sync().unwrap();
        fs.cache().drop_clean();
        // Each block in memory of its own.
        for block in 0..blocks / 2 {
            file.write_at(block * 4096, &new).unwrap();
        }
        let mut taken = blocks / 2;
        LEFT.set(left);
        let synced = file.sync(SyncKind::Data);
        let mut refused = Ok(0);
        while taken < blocks && refused.is_ok() {
            refused = file.write_at(taken * 4096, &new);
            taken += u64::from(refused.is_ok());
        }
        LEFT.set(usize::MAX);
        assert_eq!(synced, Ok(()), "{left} pieces: nothing to read, and a copy is no need");
        assert!(!refused.as_ref().is_err_and(|error| *error != Errno::ENOMEM), "{refused:?}");
        assert!(!fs.is_read_only(), "{left} pieces");
        drop(file);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&memory, "after a moment without memory");
        let found = short::read(&*mount(memory), "f").unwrap();
        for (block, bytes) in found.chunks(4096).enumerate() {
            let expected = if (block as u64) < taken { &new[..] } else { &old[block * 4096..][..4096] };
            assert!(bytes == expected, "{left} pieces: block {block}");
        }
    }
}
