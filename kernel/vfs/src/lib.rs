//! The contract that every filesystem implements ([`contract`], re-exported here), and the namespace above it.
//!
//! The namespace owns paths, `.` and `..`, symbolic links, mounts, dentries, descriptors, positions, credentials and
//! permission checks. A filesystem sees one validated [`Name`] at a time and never a path; it checks no permission.
//!
//! Lock order, outermost first: rename mutex → directories (ancestor first, else by inode number) → overlay
//! node copy-up (parent first) → upper filesystem → lower filesystem → buffer cache → device queue.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod contract;

pub use base::time::{Clock, Timestamp};
pub use base::{Errno, Error, Result};
pub use contract::*;
