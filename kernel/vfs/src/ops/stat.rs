//! `stat(2)`, `statfs(2)`, `access(2)`, `readlink(2)`.

use alloc::vec::Vec;

use crate::context::Context;
use crate::flags::{AT_FDCWD, AtFlags, Fd, MountFlags};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::ops::may;
use crate::path::{LookupFlags, only};
use crate::{Access, Attr, Errno, FileType, Result, StatFs};

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

pub(crate) fn stat(place: &Location) -> Result<Stat> {
    Ok(Stat { attr: place.attr()?, mount_id: place.mount_id(), is_mount_root: place.is_mount_root() })
}

impl Namespace {
    /// `newfstatat(2)` and `statx(2)`, and with them `stat` and `lstat`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EINVAL`, `EIO`.
    pub fn statat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Stat> {
        only(
            flags,
            AtFlags::AT_SYMLINK_NOFOLLOW
                | AtFlags::AT_NO_AUTOMOUNT
                | AtFlags::AT_EMPTY_PATH
                | AtFlags::AT_STATX_FORCE_SYNC
                | AtFlags::AT_STATX_DONT_SYNC,
        )?;
        if path.is_empty() && flags.contains(AtFlags::AT_EMPTY_PATH) && dirfd != AT_FDCWD {
            return ctx.files.get(dirfd)?.stat();
        }
        stat(&self.target(ctx, dirfd, path, flags)?)
    }

    /// `statfs(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EIO`.
    pub fn statfs(&self, ctx: &Context, path: &[u8]) -> Result<StatFs> {
        self.resolve(ctx, AT_FDCWD, path)?.file_system().statfs()
    }

    /// `faccessat2(2)`; `mode` is `R_OK|W_OK|X_OK`, 0 for `F_OK`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EACCES`, `EROFS`, `EINVAL`.
    pub fn faccessat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, flags: AtFlags) -> Result<()> {
        let want = u8::try_from(mode).ok().and_then(Access::from_bits).ok_or(Errno::EINVAL)?;
        only(flags, AtFlags::AT_EACCESS | AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
        let who = &ctx.credentials;
        let ids_agree = who.uid().real == who.uid().file_system
            && who.gid().real == who.gid().file_system
            && (who.uid().real != 0 || who.effective() == who.permitted());
        let real;
        let ctx = if flags.contains(AtFlags::AT_EACCESS) || ids_agree {
            ctx
        } else {
            real = Context { credentials: who.real(), ..ctx.clone() };
            &real
        };
        let place = self.target(ctx, dirfd, path, flags)?;
        if want.is_empty() {
            return Ok(());
        }
        let kind = place.node()?.file_type()?;
        if want.contains(Access::EXECUTE) && kind == FileType::File && place.mount.has(MountFlags::MS_NOEXEC) {
            return Err(Errno::EACCES.into());
        }
        may(&ctx.credentials, &place, want)?;
        let stored = matches!(kind, FileType::File | FileType::Dir | FileType::Symlink);
        if want.contains(Access::WRITE) && stored && place.mount.has(MountFlags::MS_RDONLY) {
            return Err(Errno::EROFS.into());
        }
        Ok(())
    }

    /// `readlinkat(2)`: the whole target; the system call cuts it to the caller's buffer.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EINVAL` for what is no symbolic link,
    /// `ENOENT` if the path was empty.
    pub fn readlinkat(&self, ctx: &Context, dirfd: Fd, path: &[u8]) -> Result<Vec<u8>> {
        let place = self.target(ctx, dirfd, path, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
        let inode = place.inode()?;
        if !inode.is_symlink() {
            return Err(if path.is_empty() { Errno::ENOENT.into() } else { Errno::EINVAL.into() });
        }
        Ok(place.dentry.target()?.to_vec())
    }

    /// Finds a place in the tree, for the kernel's own use; a symbolic link at the end is followed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path.
    pub fn resolve(&self, ctx: &Context, dirfd: Fd, path: &[u8]) -> Result<Location> {
        self.lookup_at(ctx, dirfd, path, LookupFlags::FOLLOW)
    }
}
