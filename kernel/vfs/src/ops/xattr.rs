//! Extended attributes by path; by descriptor they are methods of [`crate::OpenFile`].

use alloc::vec::Vec;

use crate::context::Context;
use crate::flags::{AtFlags, Fd, XattrFlags};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `setxattr(2)`, `lsetxattr(2)` (with `AT_SYMLINK_NOFOLLOW`), `setxattrat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `ENODATA`, `ERANGE`, `E2BIG`, `EPERM`,
    /// `EACCES`, `EOPNOTSUPP`, `EINVAL`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn setxattrat(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: &[u8],
        flags: AtFlags,
        name: &[u8],
        value: &[u8],
        how: XattrFlags,
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `getxattr(2)`, `lgetxattr(2)`: the whole value; see [`fit`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `ENODATA`, `ERANGE`, `EACCES`, `EOPNOTSUPP`, `EIO`.
    pub fn getxattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags, name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// `listxattr(2)`, `llistxattr(2)`: the names, each ended by a NUL; see [`fit`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EIO`.
    pub fn listxattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// `removexattr(2)`, `lremovexattr(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `ENODATA`, `ERANGE`, `EPERM`, `EACCES`, `EOPNOTSUPP`,
    /// `EROFS`, `EIO`.
    pub fn removexattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags, name: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}

/// What `getxattr(2)` and `listxattr(2)` do with a buffer of `size` bytes: copy `value` (`Some`), or, for size 0, only tell
/// its length (`None`).
///
/// # Errors
/// `ERANGE` where it does not fit.
pub fn fit(value: &[u8], size: usize) -> Result<Option<&[u8]>> {
    match size {
        0 => Ok(None),
        size if size < value.len() => Err(Errno::ERANGE.into()),
        _ => Ok(Some(value)),
    }
}
