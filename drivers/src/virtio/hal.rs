//! The memory side of the `virtio-drivers` crate, on the kernel's [`Platform`](crate::Platform).
//!
//! Nothing is copied: the kernel's heap is mapped one to one, so a buffer's address is the device's address.

use core::ptr::NonNull;

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::platform;

/// The implementation; it has no state of its own.
#[derive(Debug)]
pub(super) struct KernelHal;

// SAFETY: the platform vouches for its memory: zeroed, exclusive, aligned to pages.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // Address 0 is the crate's sign for a failure.
        platform::get().and_then(|platform| platform.allocate_dma(pages)).unwrap_or((0, NonNull::dangling()))
    }

    unsafe fn dma_dealloc(physical: PhysAddr, _virtual: NonNull<u8>, pages: usize) -> i32 {
        if let Some(platform) = platform::get() {
            // SAFETY: the crate gives back what `dma_alloc` gave.
            unsafe { platform.free_dma(physical, pages) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(physical: PhysAddr, size: usize) -> NonNull<u8> {
        // The crate has no way to be told of a failure here; it happens only when a boot-time mapping finds no memory.
        platform::get()
            .and_then(|platform| platform.map_device(physical, size))
            .expect("memory for page tables is there while devices are probed")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        // The drivers of this crate have looked the address up before they queue a buffer.
        platform::get()
            .and_then(|platform| platform.physical_run(buffer.cast::<u8>().as_ptr(), 1))
            .map(|(physical, _)| physical)
            .expect("a queued buffer is mapped")
    }

    unsafe fn unshare(_physical: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
