//! A load on a writable layer whose state after each step is known: for tests of power cuts and of disks that fail.
//!
//! A seed gives a row of steps. Each changes the tree by one atomic call ([`Step`], made by [`Model::advance`]) and may be followed by a sync, which
//! is a promise ([`promise`]): what is found after a power cut is the tree after the last promised step or a later one. [`find`]
//! says after which, or what is wrong. Only what is overwritten in place may be ahead of it, sector by sector.
//!
//! The program of the same name carries the steps out in the guest; this library is what it shares with the tests on the host
//! that judge the disk which it left (`kernel/tests/power`).
//!
//! Modules: `content` is what files hold, `tree` what is compared, `step` the row of steps and what each makes of a tree.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod content;
mod step;
mod tree;

pub use content::{SECTOR, fill, mark, marked};
pub use step::{Change, Model, Promise, Step, find, promise};
pub use tree::{Kind, Node, Tree};

/// The name of a file that is about to be put in its place. What a power cut leaves under it counts for nothing.
pub const UNFINISHED: &[u8] = b"unfinished";
/// The file, at the top of the tree, that says on the disk how far promises went; see [`mark()`]. It is not part of what is compared.
pub const MARK: &[u8] = b"mark";
/// The extended attribute that steps change.
pub const XATTR: &[u8] = b"user.storm";
