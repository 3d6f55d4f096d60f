//! `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`.

use crate::context::Context;
use crate::flags::{AT_FDCWD, AtFlags, Fd};
use crate::inode::Inode;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::ops::may;
use crate::path::{location_of, only};
use crate::permission::{self, Times};
use crate::{Access, Errno, Node, Result, SetAttr, SetTime, Timestamp};

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

    const fn change(self) -> Option<SetTime> {
        match self {
            Self::Now => Some(SetTime::Now),
            Self::Omit => None,
            Self::At(time) => Some(SetTime::At(time)),
        }
    }
}

impl Namespace {
    /// `chmod(2)`, `fchmodat(2)`, `fchmodat2(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`, `EOPNOTSUPP` for a symbolic link, `EROFS`,
    /// `EINVAL`, `EIO`.
    pub fn fchmodat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, flags: AtFlags) -> Result<()> {
        only(flags, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
        chmod(ctx, &self.target(ctx, dirfd, path, flags)?, mode)
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
        only(flags, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
        chown(ctx, &self.target(ctx, dirfd, path, flags)?, uid, gid)
    }

    /// `utimensat(2)`: access and modification time; no times at all stands for now, twice. No path at all (a null pointer)
    /// means `dirfd`.
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
        let times = times.unwrap_or([TimeChange::Now; 2]);
        if times == [TimeChange::Omit; 2] {
            return Ok(());
        }
        let place = match path {
            None if dirfd == AT_FDCWD => return Err(Errno::EFAULT.into()),
            None => {
                only(flags, AtFlags::empty())?;
                let file = ctx.files.get(dirfd)?;
                if file.is_path() {
                    return Err(Errno::EBADF.into());
                }
                location_of(ctx, dirfd)?
            }
            Some(path) => {
                only(flags, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
                self.target(ctx, dirfd, path, flags)?
            }
        };
        let writing = place.mount.want_write()?;
        let inode = place.inode()?;
        let _exclusive = inode.lock.write();
        let what = if times == [TimeChange::Now; 2] { Times::Now } else { Times::Given };
        permission::may_set_times(&ctx.credentials, &inode.triple_locked()?, what)?;
        let [atime, mtime] = times.map(TimeChange::change);
        inode.set_attr_locked(&SetAttr { atime, mtime, ..SetAttr::default() })?;
        writing.changed(inode)
    }

    /// `truncate(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EISDIR`, `EINVAL`, `EFBIG`, `ETXTBSY`, `EROFS`,
    /// `ENOSPC`, `EIO`.
    pub fn truncate(&self, ctx: &Context, path: &[u8], len: i64) -> Result<()> {
        let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
        let place = self.resolve(ctx, AT_FDCWD, path)?;
        let inode = place.inode()?;
        match inode.node {
            Node::File(_) => {}
            Node::Dir(_) => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        let writing = place.mount.want_write()?;
        may(&ctx.credentials, &place, Access::WRITE)?;
        inode.triple()?.flags.check_change()?;
        inode.begin_writing()?;
        // Nothing is opened first: an overlay then copies up what stays, and no more.
        let result = set_len(ctx, inode, len);
        inode.end_writing();
        result?;
        writing.changed(inode)
    }
}

pub(crate) fn chmod(ctx: &Context, place: &Location, mode: u32) -> Result<()> {
    let writing = place.mount.want_write()?;
    let inode = place.inode()?;
    let _exclusive = inode.lock.write();
    let mode = permission::chmod(&ctx.credentials, &inode.triple_locked()?, (mode & 0o7777) as u16)?;
    inode.set_attr_locked(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
    writing.changed(inode)
}

pub(crate) fn chown(ctx: &Context, place: &Location, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let writing = place.mount.want_write()?;
    let inode = place.inode()?;
    let _exclusive = inode.lock.write();
    let triple = inode.triple_locked()?;
    let change = permission::chown(&ctx.credentials, &triple, uid, gid)?;
    inode.drop_capabilities_locked(&triple)?;
    inode.set_attr_locked(&change)?;
    writing.changed(inode)
}

/// Cuts or grows a regular file that the caller may write.
pub(crate) fn set_len(ctx: &Context, inode: &Inode, len: u64) -> Result<()> {
    let file = inode.node.as_file()?;
    let _exclusive = inode.lock.write();
    if len > ctx.file_size_limit && len > file.attr()?.size {
        return Err(Errno::EFBIG.into());
    }
    file.set_len(len)?;
    inode.drop_privileges_locked(&ctx.credentials, &inode.triple_locked()?)
}
