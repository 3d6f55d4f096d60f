//! Devices: serial port, PCI, virtio, clocks, random numbers, power. Nothing above this crate knows a register.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod apic;
pub mod port;
pub mod serial;
