//! Kernel stacks, each above a page that is never mapped.

use boot::layout::{PAGE_SIZE, STACK_MAP};
use spin::Mutex;

use super::frames::Frame;
use super::paging::{self, OutOfMemory};

/// The size of a stack in bytes. Deep calls cross the overlay, a filesystem, the cache and a driver.
pub(crate) const STACK_BYTES: u64 = 64 << 10;

/// The distance between two stacks: a stack and its guard page.
const STRIDE: u64 = STACK_BYTES + PAGE_SIZE;

/// How many stacks there can be at a time.
const MAX_STACKS: usize = 1024;

static SLOTS: Mutex<[u64; MAX_STACKS / 64]> = Mutex::new([0; MAX_STACKS / 64]);

/// A kernel stack that unmaps itself when dropped. It must not be dropped by code that runs on it.
#[derive(Debug)]
pub(crate) struct KernelStack {
    slot: usize,
}

impl KernelStack {
    /// A new stack.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when frames or places are out.
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let stack = Self { slot: take_slot().ok_or(OutOfMemory)? };
        // If a page is missing, dropping `stack` unmaps those before it.
        for at in (stack.bottom()..stack.top()).step_by(PAGE_SIZE as usize) {
            let frame = Frame::new().ok_or(OutOfMemory)?;
            paging::map_stack_page(at, frame.address())?;
            frame.into_address();
        }
        Ok(stack)
    }

    /// Its lowest address.
    pub(crate) fn bottom(&self) -> u64 {
        STACK_MAP + self.slot as u64 * STRIDE + PAGE_SIZE
    }

    /// The address above it, where the stack pointer begins.
    pub(crate) fn top(&self) -> u64 {
        self.bottom() + STACK_BYTES
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        for at in (self.bottom()..self.top()).step_by(PAGE_SIZE as usize) {
            if let Some(address) = paging::unmap_stack_page(at) {
                // SAFETY: `new` gave the frame up when it mapped it here, and it is mapped no more.
                drop(unsafe { Frame::from_address(address) });
            }
        }
        SLOTS.lock()[self.slot / 64] &= !(1 << (self.slot % 64));
    }
}

fn take_slot() -> Option<usize> {
    let mut slots = SLOTS.lock();
    let word = slots.iter().position(|&word| word != u64::MAX)?;
    let bit = slots[word].trailing_ones() as usize;
    slots[word] |= 1 << bit;
    Some(word * 64 + bit)
}

/// Whether `address` lies in a guard page between kernel stacks.
pub(crate) fn is_guard(address: u64) -> bool {
    let end = STACK_MAP + MAX_STACKS as u64 * STRIDE;
    (STACK_MAP..end).contains(&address) && (address - STACK_MAP) % STRIDE < PAGE_SIZE
}
