//! The ext4 filesystem, read and write: the feature set of `mkfs.ext4`'s defaults, so that Linux mounts what this writes and
//! `e2fsck` judges it.
//!
//! - [`Ext4::mount`] gives a [`vfs::FileSystem`]; [`format()`] makes one on a blank disk; [`probe`] tells what a disk holds.
//! - From below: `superblock`, `group`, `features` and `inode::record` know the bytes; [`block::BufferCache`] holds blocks;
//!   `transaction` has the handles through which all metadata changes; `alloc`, `extent`, `dir`, `xattr` and `file` are the
//!   structures; `node` is what the outside holds.
//!
//! Lock order: core lock → an inode's content → its record → inode table → buffer cache. `docs/ext4.md` tells more.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod bytes;
mod checksum;
mod dir;
mod error;
mod extent;
mod features;
mod file;
pub mod format;
mod fs;
mod group;
mod hash;
mod health;
mod inode;
mod journal;
mod mount;
mod node;
mod options;
mod orphan;
mod orphans;
mod recovery;
mod space;
mod superblock;
mod torn;
mod transaction;
mod upper;
mod verify;
mod xattr;

pub use error::MountError;
pub use format::{FormatError, FormatOptions, format, is_blank};
pub use fs::Ext4;
pub use mount::{Info, Probe, probe, recognise};
pub use node::Ext4Node;
pub use options::{BadOption, Discard, MountMode, MountOptions};
