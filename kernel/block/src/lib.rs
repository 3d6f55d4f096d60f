//! Block devices: the [`BlockDevice`] trait, the [`BufferCache`] above it, and disks for tests.
//!
//! - [`BufferCache`] is the one place where a filesystem meets its disk: blocks by number, dirty state, batched
//!   read-ahead and write-back. Its memory is bounded by its owner.
//! - [`MemoryDisk`] is a sparse disk in memory, [`FaultDisk`] puts errors between a filesystem and its disk,
//!   [`CountingDisk`] tells how many requests were in flight; `FileDisk` (feature `std`) is a file of the host.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod cache;
mod counting;
mod device;
mod fault;
#[cfg(feature = "std")]
mod file;
mod memory;

pub use cache::{Buffer, BufferCache, BufferRead, BufferWrite, Dirty};
pub use counting::{CountingDisk, Counts};
pub use device::{BlockDevice, Capabilities, Io, SECTOR_SIZE};
pub use fault::{Fault, FaultDisk};
#[cfg(feature = "std")]
pub use file::FileDisk;
pub use memory::MemoryDisk;
