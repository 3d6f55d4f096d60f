//! What programs of the host share that run the kernel's filesystems: `strata-mount`, and the benchmarks beside Linux.
//!
//! [`FileDisk`] is a file as a disk, [`HostClock`] the wall clock, [`worker`] does the same work here and on Linux, and [`beside`] is a
//! table of how long it takes.
//! The crates that the kernel uses are its users in benchmarks and tests alone: it wants `std`, which cargo would switch on
//! for the kernel too if it were a feature of theirs.
#![forbid(unsafe_code)]

pub mod beside;
mod clock;
mod disk;
pub mod memory;
pub mod worker;

pub use clock::HostClock;
pub use disk::{Access, FileDisk};
