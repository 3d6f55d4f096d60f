//! The contract that every filesystem implements ([`contract`], re-exported here), and the namespace above it.
//!
//! The namespace owns paths, `.` and `..`, symbolic links, mounts, dentries, descriptors, positions, credentials and
//! permission checks. A filesystem sees one validated [`Name`] at a time and never a path; it checks no permission.
//!
//! A kernel makes one [`Namespace`] over its root filesystem and one [`Context`] for each task. A system call then is a method
//! of the namespace (by path), of [`OpenFile`] (by descriptor, through [`Context::file`]) or of [`FdTable`], with the
//! arguments in Linux's order.
//!
//! Lock order, outermost first: rename mutex → directories (ancestor first, else by address) → overlay
//! node copy-up (parent first) → upper filesystem → lower filesystem → buffer cache → device queue. The namespace's own part of it
//! is in `namespace`; its cache and mount tree are locked inside of the directories, and never over a filesystem's call.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acl;
pub mod birth;
pub mod contract;

mod context;
mod credentials;
mod dentry;
mod device;
mod fd_table;
mod file;
mod flags;
mod inode;
mod locks;
mod mount;
mod namespace;
mod ops;
mod path;
mod permission;
mod pipe;
mod topology;
mod wait;

pub use base::time::{Clock, Timestamp};
pub use base::{Errno, Error, Result};
pub use context::{Context, FsState};
pub use contract::*;
pub use credentials::{Capabilities, Credentials, GROUPS_MAX, Ids, SetIdOnExec};
pub use device::{DeviceClass, DeviceOps, DeviceTable, OpenDevice, Seeking, UserMemory};
pub use fd_table::{FdTable, NR_OPEN, OnExec};
pub use file::{At, Mapping, OpenFile};
pub use flags::{
    AT_FDCWD, AtFlags, FallocateFlags, Fd, LINKS_MAX, MountFlags, OpenFlags, OpenHow, PATH_LEN_MAX, PollEvents,
    RW_COUNT_MAX, RenameFlags, ResolveFlags, RwFlags, UmountFlags, XattrFlags,
};
pub use inode::ObjectId;
pub use locks::{Blocking, Flock, FlockOp, LockOwner, LockType, Whence};
pub use mount::{FileSystemTypes, Location, MountEntry, MountRequest, Pin};
pub use namespace::{Namespace, NamespaceOptions, Protection, Protections};
pub use ops::attr::TimeChange;
pub use ops::flags::FlagsCommand;
pub use ops::stat::Stat;
pub use ops::xattr::fit;
pub use wait::{NeverWait, Wait};
