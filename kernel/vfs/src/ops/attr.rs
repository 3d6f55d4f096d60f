//! `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`.

use crate::Timestamp;
use crate::context::Context;
use crate::flags::{AtFlags, Fd};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `chmod(2)`, `fchmodat(2)`, `fchmodat2(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`, `EOPNOTSUPP` for a symbolic link, `EROFS`, `EINVAL`, `EIO`.
    pub fn fchmodat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, flags: AtFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fchownat(2)`; `None` stands for -1.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`, `EROFS`, `EINVAL`, `EIO`.
    pub fn fchownat(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: &[u8],
        uid: Option<u32>,
        gid: Option<u32>,
        flags: AtFlags,
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `utimensat(2)`: access and modification time; no times at all stands for now, twice. No path at all (a null pointer) means `dirfd`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`, `EACCES`, `EROFS`, `EINVAL`, `EIO`.
    pub fn utimensat(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: Option<&[u8]>,
        times: Option<[TimeChange; 2]>,
        flags: AtFlags,
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `truncate(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EISDIR`, `EINVAL`, `EFBIG`, `ETXTBSY`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn truncate(&self, ctx: &Context, path: &[u8], len: i64) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}

/// What becomes of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeChange {
    /// `UTIME_NOW`.
    Now,
    /// `UTIME_OMIT`.
    Omit,
    /// This time.
    At(Timestamp),
}

impl TimeChange {
    /// From the fields of `struct timespec` as `utimensat(2)` takes them.
    ///
    /// # Errors
    /// `EINVAL` for nanoseconds out of range.
    pub fn from_raw(secs: i64, nanos: i64) -> Result<Self> {
        match nanos {
            0x3fff_ffff => Ok(Self::Now),
            0x3fff_fffe => Ok(Self::Omit),
            0..1_000_000_000 => Ok(Self::At(Timestamp { secs, nanos: nanos as u32 })),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}
