//! Block devices: the [`BlockDevice`] trait, the buffer cache above it, and disks for tests.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod device;

pub use device::{BlockDevice, Capabilities, Io, SECTOR_SIZE};
