//! What a run over a hostile image may use: memory, stack and time, each thread for itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Memory of one run, in bytes, beyond its image: the cache has 4 MiB.
const MEMORY: isize = 48 << 20;
/// The stack of one run: no recursion as deep as an image says.
const STACK: usize = 192 << 10;
/// A run takes some hundredths of a second; on a busy machine more.
const TIME: Duration = Duration::from_secs(90);

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

/// Takes note of a change; tells whether it is within the limit.
fn note(bytes: isize) -> bool {
    let live = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        live.get()
    });
    let limit = LIMIT.try_with(Cell::get);
    match (live, limit) {
        (Ok(live), Ok(limit)) if live > limit => {
            // The allocation goes on, so that the run can be told by name when it is over.
            let _ = BROKEN.try_with(|broken| broken.set(true));
            // But not without end.
            live < 16 * MEMORY
        }
        _ => true,
    }
}

// SAFETY: every call is passed on to the system's allocator with the layout that came in; a null pointer in place of memory
// is allowed.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !note(layout.size() as isize) {
            note(-(layout.size() as isize));
            return core::ptr::null_mut();
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the pointer came from the system's allocator with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `work` within the limits.
///
/// # Panics
/// Where it panics, takes too long, or takes too much memory: with `name`.
#[track_caller]
pub fn within_limits(name: &str, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel();
    let thread = thread::Builder::new().stack_size(STACK).name(name.chars().take(60).collect());
    let handle = thread
        .spawn(move || {
            LIVE.set(0);
            LIMIT.set(MEMORY);
            let result = catch_unwind(AssertUnwindSafe(work));
            LIMIT.set(isize::MAX);
            // Whoever waits may have given up.
            let _ = done.send((result.is_ok(), BROKEN.get()));
        })
        .unwrap_or_else(|error| panic!("{name}: no thread: {error}"));
    match wait.recv_timeout(TIME) {
        Ok((true, false)) => handle.join().expect("it is done"),
        Ok((false, _)) => panic!("{name}: panicked"),
        Ok((true, true)) => panic!("{name}: took more than {} MiB", MEMORY >> 20),
        Err(RecvTimeoutError::Timeout) => panic!("{name}: does not end"),
        Err(RecvTimeoutError::Disconnected) => panic!("{name}: died"),
    }
}
