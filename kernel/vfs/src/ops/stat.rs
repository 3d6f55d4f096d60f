//! `stat(2)`, `statfs(2)`, `access(2)`, `readlink(2)`.

use alloc::vec::Vec;

use crate::context::Context;
use crate::flags::{AtFlags, Fd};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::{Attr, StatFs};
use crate::{Errno, Result};

impl Namespace {
    /// `newfstatat(2)` and `statx(2)`, and with them `stat` and `lstat`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EINVAL`, `EIO`.
    pub fn statat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Stat> {
        Err(Errno::ENOSYS.into())
    }

    /// `statfs(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EIO`.
    pub fn statfs(&self, ctx: &Context, path: &[u8]) -> Result<StatFs> {
        Err(Errno::ENOSYS.into())
    }

    /// `faccessat2(2)`; `mode` is `R_OK|W_OK|X_OK`, 0 for `F_OK`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EACCES`, `EROFS`, `EINVAL`.
    pub fn faccessat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, flags: AtFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `readlinkat(2)`: the whole target; the system call cuts it to the caller's buffer.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EINVAL` for what is no symbolic link.
    pub fn readlinkat(&self, ctx: &Context, dirfd: Fd, path: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// Finds a place in the tree, for the kernel's own use; a symbolic link at the end is followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path.
    pub fn resolve(&self, ctx: &Context, dirfd: Fd, path: &[u8]) -> Result<Location> {
        Err(Errno::ENOSYS.into())
    }
}

/// What `stat(2)` and `statx(2)` tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The inode's attributes.
    pub attr: Attr,
    /// `stx_mnt_id`.
    pub mount_id: u64,
    /// Whether `STATX_ATTR_MOUNT_ROOT` is set.
    pub is_mount_root: bool,
}
