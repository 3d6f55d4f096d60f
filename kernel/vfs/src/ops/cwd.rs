//! Current and root directory.

use alloc::vec::Vec;

use crate::context::Context;
use crate::flags::Fd;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `chdir(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path.
    pub fn chdir(&self, ctx: &Context, path: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fchdir(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTDIR`, `EACCES`.
    pub fn fchdir(&self, ctx: &Context, fd: Fd) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `chroot(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`.
    pub fn chroot(&self, ctx: &Context, path: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `getcwd(2)`, without the terminating NUL. What is not below the caller's root begins with `(unreachable)`.
    ///
    /// # Errors
    /// `ENOENT` where the directory was removed.
    pub fn getcwd(&self, ctx: &Context) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// The path of a location as seen from the caller's root (`/proc/self/fd/N`), as [`getcwd`](Self::getcwd) writes it; a removed
    /// name ends in ` (deleted)`.
    #[must_use]
    pub fn path_of(&self, _ctx: &Context, _location: &Location) -> Vec<u8> {
        Vec::new()
    }
}
