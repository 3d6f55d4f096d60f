//! How the kernel ends: power-off, reset, and failure.

use core::sync::atomic::{AtomicU16, Ordering};

use drivers::acpi::{Acpi, PowerOff, Register};
use spin::Once;

use crate::{console, time};

/// QEMU's `isa-debug-exit` port, or 0.
static DEBUG_EXIT: AtomicU16 = AtomicU16::new(0);

/// How long a machine may take to switch off, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

static MACHINE: Once<Machine> = Once::new();

struct Machine {
    power_off: Option<PowerOff>,
    reset: Option<(Register, u8)>,
}

/// What is told to the debug-exit port; QEMU then exits with twice that plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// QEMU's status 33. Only suites say so: a system that worked switches the power off.
    #[cfg(any(debug_assertions, feature = "suites"))]
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

/// Remembers how this machine is switched off and reset.
pub(crate) fn init(acpi: &Acpi) {
    MACHINE.call_once(|| Machine { power_off: acpi.power_off, reset: acpi.reset });
}

/// Tells the outcome to the debug-exit port, if there is one; otherwise switches the power off.
pub(crate) fn exit(outcome: Outcome) -> ! {
    let port = DEBUG_EXIT.load(Ordering::Relaxed);
    if port != 0 {
        // SAFETY: the command line says that `isa-debug-exit` is there; writing to it ends the emulator.
        unsafe { drivers::port::write32(port, outcome as u32) };
    }
    off()
}

/// Stops after a failure of the kernel itself. Without a port to tell, it stops where it is: a machine that switched off
/// would look as if all were well, and take its last words with it.
pub(crate) fn fail() -> ! {
    if DEBUG_EXIT.load(Ordering::Relaxed) != 0 {
        exit(Outcome::Crash);
    }
    halt()
}

/// Switches the power off. The caller has synced what is to be kept.
pub(crate) fn off() -> ! {
    if let Some(how) = MACHINE.get().and_then(|machine| machine.power_off) {
        drivers::power::off(how);
        // An emulator takes its time.
        let end = time::monotonic() + PATIENCE;
        while time::monotonic() < end {
            core::hint::spin_loop();
        }
    } else {
        // Monitors without power management, such as Firecracker, end when the machine is reset.
        drivers::power::reset(MACHINE.get().and_then(|machine| machine.reset));
    }
    console::emergency(format_args!("the power can be switched off now"));
    halt()
}

/// Starts the machine again. The caller has synced what is to be kept.
pub(crate) fn restart() -> ! {
    drivers::power::reset(MACHINE.get().and_then(|machine| machine.reset));
    triple_fault()
}

/// The last way to reset: an exception that cannot be delivered, and neither can the one about that.
fn triple_fault() -> ! {
    use x86_64::instructions::{interrupts, tables};
    use x86_64::structures::DescriptorTablePointer;
    interrupts::disable();
    let empty = DescriptorTablePointer { limit: 0, base: x86_64::VirtAddr::zero() };
    // SAFETY: no exception can be taken any more, which is the purpose.
    unsafe { tables::lidt(&empty) };
    interrupts::int3();
    halt()
}

/// Stops the processor for good.
pub(crate) fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}
