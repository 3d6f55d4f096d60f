//! `open(2)` and its kin.

use alloc::sync::Arc;

use crate::DeviceNumber;
use crate::context::Context;
use crate::device::DeviceClass;
use crate::file::OpenFile;
use crate::flags::{AtFlags, Fd, OpenFlags, OpenHow};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `open(2)` and `openat(2)`: opens, and gives the lowest free descriptor.
    ///
    /// # Errors
    /// As [`open`](Self::open); `EMFILE`.
    pub fn openat(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Fd> {
        Err(Errno::ENOSYS.into())
    }

    /// `openat2(2)`; `how` is made by [`OpenHow::from_openat2`].
    ///
    /// # Errors
    /// As [`open`](Self::open); `EMFILE`.
    pub fn openat2(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], how: &OpenHow) -> Result<Fd> {
        Err(Errno::ENOSYS.into())
    }

    /// Opens without a descriptor: for the kernel's own use.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EISDIR`, `EINVAL`, `EPERM`, `EROFS`,
    /// `ETXTBSY`, `ENXIO` for a device without a driver or a socket; `EXDEV`, `EAGAIN` by `resolve`; `ENOSPC`, `EIO`.
    pub fn open(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], how: &OpenHow) -> Result<Arc<OpenFile>> {
        Err(Errno::ENOSYS.into())
    }

    /// Opens a program for `execve(2)`: a regular file that the caller may execute. No one can write it until it is closed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EACCES` for what cannot be executed; `ETXTBSY`.
    pub fn open_exec(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Arc<OpenFile>> {
        Err(Errno::ENOSYS.into())
    }

    /// `pipe2(2)`: the reading and the writing end.
    ///
    /// # Errors
    /// `EINVAL`, `EMFILE`.
    pub fn pipe2(self: &Arc<Self>, ctx: &Context, flags: OpenFlags) -> Result<(Fd, Fd)> {
        Err(Errno::ENOSYS.into())
    }

    /// Opens a device that may have no node in the tree (the console of the first program).
    ///
    /// # Errors
    /// `ENXIO` without a driver; the driver's.
    pub fn open_device(
        self: &Arc<Self>,
        class: DeviceClass,
        number: DeviceNumber,
        flags: OpenFlags,
    ) -> Result<Arc<OpenFile>> {
        Err(Errno::ENOSYS.into())
    }
}
