//! The kernel's side of the drivers: their memory and their waiting.

use core::ptr::NonNull;

use boot::layout::{DEVICE_MAP, DIRECT_MAP, PAGE_SIZE, direct};
use drivers::Platform;

use crate::memory::{frames, paging, physical_address};
use crate::wait;

/// The one implementation.
pub(crate) struct Kernel;

// SAFETY: device registers are mapped where nothing else is, DMA memory is taken from the frame allocator and
// given to nobody else, and addresses are those of the page tables.
unsafe impl Platform for Kernel {
    fn map_device(&self, physical: u64, length: usize) -> Option<NonNull<u8>> {
        paging::map_device(physical, length).ok().and_then(NonNull::new)
    }

    fn allocate_dma(&self, pages: usize) -> Option<(u64, NonNull<u8>)> {
        let physical = frames::allocate(pages)?;
        let start = direct(physical) as *mut u8;
        // SAFETY: the frames were just taken, and the direct map shows them.
        unsafe { start.write_bytes(0, pages * PAGE_SIZE as usize) };
        Some((physical, NonNull::new(start)?))
    }

    unsafe fn free_dma(&self, physical: u64, pages: usize) {
        // SAFETY: the caller's duty is the frame allocator's condition.
        unsafe { frames::release(physical, pages) };
    }

    fn physical_run(&self, pointer: *const u8, length: usize) -> Option<(u64, usize)> {
        let address = pointer as u64;
        if (DIRECT_MAP..DEVICE_MAP).contains(&address) {
            return Some((address - DIRECT_MAP, length));
        }
        let first = physical_address(pointer)?;
        let mut run = (PAGE_SIZE - address % PAGE_SIZE) as usize;
        while run < length && physical_address(pointer.wrapping_add(run)) == Some(first + run as u64) {
            run += PAGE_SIZE as usize;
        }
        Some((first, run.min(length)))
    }

    fn wait(&self, done: &dyn Fn() -> bool) {
        wait::until(done);
    }
}
