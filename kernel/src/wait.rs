//! Waiting for an interrupt to change something.
//!
//! A condition is looked at with interrupts off; if it does not hold, the processor halts and takes interrupts in one
//! step, so that none can come between the look and the halt and be slept through.

use x86_64::instructions::interrupts;

/// Returns when `done` does. It is asked again after every interrupt, with interrupts off. Where interrupts are off
/// already (before they are set up, in a report) the processor asks without a pause.
pub(crate) fn until(done: &dyn Fn() -> bool) {
    if !interrupts::are_enabled() {
        while !done() {
            core::hint::spin_loop();
        }
        return;
    }
    interrupts::disable();
    while !done() {
        interrupts::enable_and_hlt();
        interrupts::disable();
    }
    interrupts::enable();
}
