//! Block devices: the [`BlockDevice`] trait, the [`BufferCache`] above it, and disks for tests.
//!
//! - [`BufferCache`] is the one place where a filesystem meets its disk: blocks by number, dirty state, batched
//!   read-ahead and write-back. Its memory is bounded by its owner.
//! - [`MemoryDisk`] is a sparse disk in memory, which copies cheaply; a file of the host as one is in the crate `host`,
//!   for cargo unifies features and nothing here may want `std`.
//! - The laboratory, for whoever writes a filesystem on this trait: [`RecordingDisk`] keeps what was written and flushed, and
//!   its [`Recording`] makes the disk that a power cut at any point would have left, with whatever was not flushed dropped,
//!   reordered or torn; [`FaultDisk`] answers `EIO` where and when it is told to, or by chance; [`SlowDisk`]
//!   waits before each request; [`CountingDisk`] tells how many requests
//!   there were, and how many in flight. A small disk is a small [`MemoryDisk`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cache;
mod counting;
mod device;
mod fault;
mod memory;
mod recording;
mod slow;

pub use cache::{Buffer, BufferCache, BufferRead, BufferWrite, Dirty, FailedWrite, UNPLACED};
pub use counting::{CountingDisk, Counts};
pub use device::{BlockDevice, Capabilities, Io, SECTOR_SIZE};
pub use fault::{Fault, FaultDisk};
pub use memory::MemoryDisk;
pub use recording::{Event, Recording, RecordingDisk, Survival, WriteCache};
pub use slow::{Request, SlowDisk};
