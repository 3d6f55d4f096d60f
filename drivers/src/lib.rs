//! Devices: serial port, interrupt controllers, clocks, PCI, virtio, random numbers, power. Nothing above this crate
//! knows a register.
//!
//! The kernel gives a [`Platform`]: how device registers are mapped, where DMA memory comes from, how to wait for
//! an interrupt. [`acpi`] reads the firmware's tables once and says where everything is; each other module drives one
//! kind of device and is told its address.
//!
//! Locks: every device has one of its own, an [`IrqMutex`], innermost of all; nothing is called while it is held.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
pub mod apic;
pub mod clock;
pub mod hypervisor;
mod irq_mutex;
pub mod pci;
pub mod platform;
pub mod port;
pub mod power;
pub mod random;
pub mod rtc;
pub mod serial;
pub mod virtio;

pub use irq_mutex::{IrqMutex, IrqMutexGuard};
pub use platform::Platform;
