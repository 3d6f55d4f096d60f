//! `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`.

use crate::context::Context;
use crate::flags::{AtFlags, Fd};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `mkdirat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EROFS`, `EMLINK`, `ENOSPC`, `EIO`.
    pub fn mkdirat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `mknodat(2)`: `mode` with its type bits, `dev` as `makedev` gives it. Also how `bind(2)` makes a socket's name.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EPERM`, `EINVAL`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn mknodat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, dev: u64) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `symlinkat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn symlinkat(&self, ctx: &Context, target: &[u8], dirfd: Fd, path: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `linkat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EXDEV`, `EPERM`, `EMLINK`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn linkat(
        &self,
        ctx: &Context,
        old_dirfd: Fd,
        old_path: &[u8],
        dirfd: Fd,
        path: &[u8],
        flags: AtFlags,
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}
