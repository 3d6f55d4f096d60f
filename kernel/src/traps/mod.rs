//! Traps: exceptions and interrupts.
//!
//! Every vector runs on a stack of its own (the IST), because the kernel is compiled with the red zone and an
//! interrupt must not write below the interrupted stack pointer. That stack is only a landing place where control
//! can block or fault again: traps from user mode continue on the task's kernel stack, page faults that the kernel
//! takes on user addresses continue 128 bytes below the interrupted stack pointer. See [`entry`].
//!
//! [`frame`] is what is saved, [`descriptors`] the GDT, TSS and IDT, [`dispatch`] decides who handles what, [`irq`]
//! gives vectors to devices, [`fixup`] lets copies to and from user memory fail, [`report`] is printed before the
//! kernel stops.

pub(crate) mod descriptors;
mod dispatch;
mod entry;
pub(crate) mod fixup;
pub(crate) mod frame;
pub(crate) mod irq;
mod report;

pub(crate) use dispatch::{Access, Handled, UserTraps, set_user_traps};
pub(crate) use frame::TrapFrame;

/// Installs the descriptor tables. From here on exceptions are reported; interrupts stay off.
pub(crate) fn init() {
    descriptors::init();
    dispatch::init();
}

/// Names the stack on which traps from user mode, and system calls, run: the current task's, by its top.
pub(crate) fn set_kernel_stack(top: u64) {
    entry::KERNEL_STACK_TOP.store(top, core::sync::atomic::Ordering::Relaxed);
}
