//! `struct iovec`, `struct open_how`, `struct pollfd`, `struct flock`.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::same_layout;

/// `struct iovec`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct IoVec {
    /// User address of the first byte.
    pub(crate) base: u64,
    /// Length in bytes.
    pub(crate) len: u64,
}

same_layout!(IoVec, linux::iovec { base = iov_base, len = iov_len });

/// `struct open_how` (`openat2(2)`), version 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct OpenHow {
    /// `O_*` flags.
    pub(crate) flags: u64,
    /// Mode of a new file.
    pub(crate) mode: u64,
    /// `RESOLVE_*` flags.
    pub(crate) resolve: u64,
}

same_layout!(OpenHow, linux::open_how { flags = flags, mode = mode, resolve = resolve });

/// `struct pollfd`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct PollFd {
    /// Descriptor; negative ones are skipped.
    pub(crate) fd: i32,
    /// What is asked for.
    pub(crate) events: i16,
    /// What is so.
    pub(crate) revents: i16,
}

same_layout!(PollFd, linux::pollfd { fd = fd, events = events, revents = revents });

/// `struct flock` (`fcntl(2)`).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct Flock {
    /// `F_RDLCK`, `F_WRLCK`, `F_UNLCK`.
    pub(crate) kind: i16,
    /// How `start` is to be read: `SEEK_SET` and its like.
    pub(crate) whence: i16,
    /// Nothing.
    pub(crate) pad0: i32,
    /// First byte.
    pub(crate) start: i64,
    /// How many; 0 is to the end.
    pub(crate) len: i64,
    /// The owner of a lock that stands in the way.
    pub(crate) pid: i32,
    /// Nothing.
    pub(crate) pad1: i32,
}

same_layout!(Flock, linux::flock { kind = l_type, whence = l_whence, start = l_start, len = l_len, pid = l_pid });
