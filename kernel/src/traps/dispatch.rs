//! Who handles which trap.

use core::sync::atomic::Ordering;

use boot::layout::USER_END;
use spin::Once;
use x86_64::registers::control::Cr2;

use super::frame::TrapFrame;
use super::{entry, fixup, irq, report};
use crate::memory::cpu::{self, Feature};

const PAGE_FAULT: u64 = 14;
const FIRST_INTERRUPT: u64 = 32;

/// What a page fault wanted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Execute,
}

/// Whether a handler dealt with a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// Continue where it happened.
    Yes,
    /// The address is not the program's, or the right is missing.
    No,
}

/// What the tasks' side of the kernel does with traps that programs cause.
pub(crate) trait UserTraps: Sync {
    /// A fault on user address `address`, by a program or by the kernel on its behalf. Interrupts are off; the
    /// handler may switch them on and block.
    fn page_fault(&self, address: u64, access: Access, frame: &mut TrapFrame) -> Handled;

    /// A program's exception, or a page fault that was not handled: a signal, or its end.
    fn exception(&self, frame: &mut TrapFrame);

    /// An interrupt came while a program ran; its handler has run. Another task may be chosen now.
    fn interrupted(&self, frame: &mut TrapFrame);
}

static USER_TRAPS: Once<&'static dyn UserTraps> = Once::new();

/// Names who handles programs' traps. The first call counts.
pub(crate) fn set_user_traps(handler: &'static dyn UserTraps) {
    USER_TRAPS.call_once(|| handler);
}

/// Tells the entry code what the processor has.
pub(super) fn init() {
    entry::HAS_SMAP.store(u8::from(cpu::has(Feature::Smap)), Ordering::Relaxed);
}

/// Called by the entry code.
pub(super) extern "C" fn dispatch(frame: &mut TrapFrame) {
    if frame.vector >= FIRST_INTERRUPT {
        irq::handle(frame.vector as u8);
        if let Some(tasks) = USER_TRAPS.get()
            && frame.is_from_user()
        {
            tasks.interrupted(frame);
        }
        return;
    }
    let fault_address = if frame.vector == PAGE_FAULT { Cr2::read_raw() } else { 0 };
    if frame.vector == PAGE_FAULT && fault_address < USER_END && page_fault(fault_address, frame) == Handled::Yes {
        return;
    }
    match USER_TRAPS.get() {
        Some(tasks) if frame.is_from_user() => tasks.exception(frame),
        _ => report::die(frame, fault_address),
    }
}

fn page_fault(address: u64, frame: &mut TrapFrame) -> Handled {
    let access = if frame.error & 0x10 != 0 {
        Access::Execute
    } else if frame.error & 0x02 != 0 {
        Access::Write
    } else {
        Access::Read
    };
    if frame.is_from_user() {
        return USER_TRAPS.get().map_or(Handled::No, |tasks| tasks.page_fault(address, access, frame));
    }
    // The kernel touches user memory only by instructions that are in the table; anything else is a defect, and its
    // pointer must not be taken for a program's.
    let Some(target) = fixup::target(frame.rip) else { return Handled::No };
    let handled = USER_TRAPS.get().map_or(Handled::No, |tasks| tasks.page_fault(address, access, frame));
    if handled == Handled::No {
        frame.rip = target;
    }
    Handled::Yes
}
