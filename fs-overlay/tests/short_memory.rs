//! The overlay where memory is short: an allocator that refuses large pieces to the thread that asks for it.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use support::{Rig, name};
use vfs::{Errno, NewKind, NewNode, Node};

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call is passed on to the system's allocator with the layout that came in; a null pointer in place of memory
// is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LARGEST.try_with(|largest| layout.size() > largest.get()).unwrap_or(false) {
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` where no piece of more than `largest` bytes is to be had.
fn short_of_memory<T>(largest: usize, work: impl FnOnce() -> T) -> T {
    LARGEST.set(largest);
    let result = work();
    LARGEST.set(usize::MAX);
    result
}

#[test]
fn what_cannot_be_remembered_is_not_made() {
    // More than the layers' own tables need, less than the overlay's table of nodes when it is about to grow.
    const LARGEST: usize = 32 << 10;
    let rig = Rig::new(|lower| lower.mkdir("d").unwrap());
    let dir = rig.tree().dir("d").unwrap();
    let mut kept: Vec<Node> = Vec::with_capacity(4000);
    let refused = (0..4000).find(|index| {
        let file = format!("{index}");
        match short_of_memory(LARGEST, || dir.create(name(&file), &NewNode::new(NewKind::File, 0o644))) {
            Ok(node) => kept.push(node),
            Err(error) => {
                assert_eq!(error.errno(), Errno::ENOMEM);
                return true;
            }
        }
        false
    });
    assert!(refused.is_some(), "the table of nodes never grew");
    for kind in [NewKind::File, NewKind::Dir, NewKind::Symlink(b"target"), NewKind::Fifo] {
        let made = short_of_memory(LARGEST, || dir.create(name("new"), &NewNode::new(kind, 0o755)));
        assert_eq!(made.err().map(|error| error.errno()), Some(Errno::ENOMEM), "{kind:?}");
    }
    assert_eq!(rig.raw().names("d").len(), kept.len(), "refused, and made all the same");
    dir.create(name("new"), &NewNode::new(NewKind::File, 0o644)).unwrap();
    assert_eq!(rig.tree().names("d").len(), kept.len() + 1);
}
