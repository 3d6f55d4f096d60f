//! What the drivers need of the kernel.

use core::ptr::NonNull;

use spin::Once;

/// The kernel's side. There is one, named by [`set`] before any driver but the serial port's is used.
///
/// # Safety
///
/// The drivers give the addresses that the methods return to devices, which read and write there: implementations
/// must return memory as described.
pub unsafe trait Platform: Sync {
    /// Maps `length` bytes of device registers at physical address `physical`, uncached, for good. `None` when
    /// memory is out.
    fn map_device(&self, physical: u64, length: usize) -> Option<NonNull<u8>>;

    /// Takes `pages` frames of four kilobytes in a row, zeroed, for a device to use: their physical address and
    /// where they are mapped. `None` when memory is out.
    fn allocate_dma(&self, pages: usize) -> Option<(u64, NonNull<u8>)>;

    /// Gives frames of [`Self::allocate_dma`] back.
    ///
    /// # Safety
    ///
    /// They came from there with the same number of pages, and no device uses them any more.
    unsafe fn free_dma(&self, physical: u64, pages: usize);

    /// The physical address of kernel memory, and how many of the `length` bytes from there on follow each other in
    /// physical memory: at least one. `None` where nothing is mapped.
    fn physical_run(&self, pointer: *const u8, length: usize) -> Option<(u64, usize)>;

    /// Returns when `done` does. In between the processor may halt until an interrupt comes, or do something else;
    /// `done` is asked again after every interrupt, and is quick.
    fn wait(&self, done: &dyn Fn() -> bool);
}

static PLATFORM: Once<&'static dyn Platform> = Once::new();

/// Names the kernel's side. The first call counts.
pub fn set(platform: &'static dyn Platform) {
    PLATFORM.call_once(|| platform);
}

/// The kernel's side; `None` before [`set`].
pub(crate) fn get() -> Option<&'static dyn Platform> {
    PLATFORM.get().copied()
}
