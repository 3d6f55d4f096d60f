//! `mount(2)` and `umount2(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::FileSystem;
use crate::context::Context;
use crate::flags::{MountFlags, UmountFlags};
use crate::mount::{Location, MountEntry};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `mount(2)`: a new mount through the registered filesystem types, or a remount; what the flags say of propagation is accepted.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`; `ENODEV`, `EINVAL`, `EBUSY`, `ENOTBLK`, `EIO`.
    pub fn mount(
        self: &Arc<Self>,
        ctx: &Context,
        source: &[u8],
        target: &[u8],
        fs_type: &[u8],
        flags: MountFlags,
        data: &[u8],
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Mounts a filesystem that the caller has, over a directory.
    ///
    /// # Errors
    /// `ENOTDIR`, `ENOENT` for a removed directory, `EBUSY` for the same filesystem at the same place again.
    pub fn mount_at(&self, at: &Location, fs: Arc<dyn FileSystem>, source: &[u8], flags: MountFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `umount2(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`; `EINVAL` for what is no mount; `EBUSY`; `EAGAIN`;
    /// `EIO` where the last writes failed (the mount is gone all the same).
    pub fn umount(&self, ctx: &Context, target: &[u8], flags: UmountFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// Unmounts every filesystem, the innermost first, in use or not: the last thing before the power goes.
    ///
    /// # Errors
    /// The first failure; all are tried.
    pub fn unmount_all(&self) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// The mounts that can be seen from the caller's root, in the order of their making (`/proc/mounts`).
    #[must_use]
    pub fn mounts(&self, _ctx: &Context) -> Vec<MountEntry> {
        Vec::new()
    }

    pub(crate) fn reap_waiting(&self) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}
