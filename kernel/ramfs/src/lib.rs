//! A filesystem in memory: `/tmp`, the overlay's RAM upper, and a double for tests.
//!
//! [`RamFs`] is the filesystem, [`Options`] its limits. Inside, an `Inode` is generic over its body: a file's `Content` in
//! pages, a `Directory`, a symbolic link's target, or a special node. Directory entries hold their nodes strongly; the
//! node table holds them weakly, for handles. Nothing outlives its last name and its last user.
//!
//! # Locks, outermost first
//!
//! 1. `topology`, one per filesystem: held by every operation that locks more than one directory or more than one
//!    inode's metadata (rename, rmdir, link, publish). Under it the order among directories is free, because no
//!    operation without it ever waits while it holds one of them.
//! 2. a directory's entries, or a file's content;
//! 3. the shared whiteout;
//! 4. an inode's metadata;
//! 5. the node table. Counters of space are atomics.
//!
//! Reading a file takes that file's content lock, shared, and nothing else. Victims are dropped after the locks
//! are given back, so freeing a large file delays nobody.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod content;
mod dir;
mod entries;
mod file;
mod fs;
mod inode;
mod memory;
mod node;
mod pages;
mod rename;
mod space;
mod upper;
mod xattrs;

pub use fs::{MAGIC, Options, RamFs};
