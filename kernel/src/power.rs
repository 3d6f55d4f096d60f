//! How the kernel ends: power-off, reset, and the two kinds of failure.

use core::sync::atomic::{AtomicU16, Ordering};

/// QEMU's `isa-debug-exit` port, or 0.
static DEBUG_EXIT: AtomicU16 = AtomicU16::new(0);

/// What is told to the debug-exit port; QEMU then exits with twice that plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// QEMU's status 33.
    Success = 0x10,
    /// QEMU's status 35.
    Failure = 0x11,
    /// QEMU's status 37: the kernel itself failed.
    Crash = 0x12,
}

/// Names the debug-exit port.
pub(crate) fn set_debug_exit(port: Option<u16>) {
    DEBUG_EXIT.store(port.unwrap_or(0), Ordering::Relaxed);
}

/// Tells the outcome to the debug-exit port, if there is one; then, or without one, switches the power off.
pub(crate) fn exit(outcome: Outcome) -> ! {
    let port = DEBUG_EXIT.load(Ordering::Relaxed);
    if port != 0 {
        // SAFETY: the command line says that `isa-debug-exit` is there; writing to it ends the emulator.
        unsafe { drivers::port::write32(port, outcome as u32) };
    }
    halt()
}

/// Stops after a failure of the kernel itself.
pub(crate) fn fail() -> ! {
    exit(Outcome::Crash)
}

/// Stops the processor for good.
pub(crate) fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
