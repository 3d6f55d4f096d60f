//! The heap: `talc` over anonymous memory from the kernel, taken as it is needed and kept.

use core::alloc::Layout;
use core::ptr::null_mut;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use talc::TalcCell;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::cell::TalcSyncCell;
use talc::source::Source;

/// The least that is asked of the kernel at a time, in bytes.
const STEP: usize = 64 * 1024;

/// What the allocator needs beside the block that was asked for, in bytes: its own tables, once, and alignment.
const SPARE: usize = 16 * 1024;

#[derive(Debug)]
struct Pages;

// SAFETY: `acquire` claims fresh memory of the kernel's and touches no other allocator.
unsafe impl Source for Pages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let wanted = layout.size().checked_add(layout.align()).and_then(|size| size.checked_add(SPARE)).ok_or(())?;
        let size = wanted.checked_next_multiple_of(STEP).ok_or(())?;
        // SAFETY: a private anonymous mapping at an address of the kernel's choice overlaps nothing.
        let base = unsafe { mmap_anonymous(null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) }
            .map_err(|_| ())?;
        // SAFETY: the range was just mapped, is writable, and is used by nothing else until the program ends.
        unsafe { talc.claim(base.cast(), size) }.map(|_| ()).ok_or(())
    }
}

#[global_allocator]
// SAFETY: a program of this runtime has one thread and no signal handlers, so no two calls into the allocator overlap.
static HEAP: TalcSyncCell<Pages, talc::DefaultBinning> = unsafe { TalcSyncCell::new(TalcCell::new(Pages)) };
