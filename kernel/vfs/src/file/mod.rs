//! An open file: what a descriptor refers to (`open(2)`, "open file description").
//!
//! It has the position and the status flags, which all descriptors made from it by `dup(2)` and `fork(2)` share.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::context::Context;
use crate::device::UserMemory;
use crate::flags::{FallocateFlags, OpenFlags, PollEvents, RwFlags, XattrFlags};
use crate::locks::{Blocking, Flock, FlockOp, LockOwner, Whence};
use crate::mount::Location;
use crate::ops::stat::Stat;
use crate::{Errno, FileOps, Result, StatFs, SyncKind};

/// Where a read or write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the position, which moves along.
    Position,
    /// At this offset, the position untouched (`pread(2)`); negative is `EINVAL`.
    Offset(i64),
}

bitflags::bitflags! {
    /// What a mapping of a file wants (`mmap(2)`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Mapping: u8 {
        /// `MAP_SHARED`: stores reach the file.
        const SHARED = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXECUTE = 4;
    }
}

/// An open file.
pub struct OpenFile {
    location: Option<Location>,
}

impl OpenFile {
    /// `read(2)`, `pread(2)`.
    ///
    /// # Errors
    /// `EBADF` unless open to read; `EISDIR`, `EINVAL`, `ESPIPE`, `EAGAIN`, `EINTR`, `EIO`.
    pub fn read(&self, at: At, buf: &mut [u8]) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `readv(2)`, `preadv(2)`, `preadv2(2)`.
    ///
    /// # Errors
    /// As [`read`](Self::read); `EOPNOTSUPP` for unknown flags.
    pub fn read_vectored(&self, at: At, bufs: &mut [&mut [u8]], flags: RwFlags) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `write(2)`, `pwrite(2)`. Set-id bits go unless the caller may keep them.
    ///
    /// # Errors
    /// `EBADF` unless open to write; `EFBIG`, `EINVAL`, `ESPIPE`, `EPIPE`, `EAGAIN`, `EINTR`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn write(&self, ctx: &Context, at: At, data: &[u8]) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `writev(2)`, `pwritev(2)`, `pwritev2(2)`.
    ///
    /// # Errors
    /// As [`write`](Self::write); `EOPNOTSUPP` for unknown flags.
    pub fn write_vectored(&self, ctx: &Context, at: At, data: &[&[u8]], flags: RwFlags) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `copy_file_range(2)` and `sendfile(2)`: from this file to another, at most `len` bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`write`](Self::write).
    pub fn copy_to(&self, ctx: &Context, at: At, to: &OpenFile, to_at: At, len: usize) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `lseek(2)`.
    ///
    /// # Errors
    /// `EINVAL`, `ENXIO` past the data, `ESPIPE`, `EOVERFLOW`, `EBADF` with `O_PATH`.
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64> {
        Err(Errno::ENOSYS.into())
    }

    /// `getdents64(2)`: as many `struct linux_dirent64` as fit into `buf`, `.` and `..` first; 0 at the end.
    ///
    /// # Errors
    /// `ENOTDIR`; `EINVAL` where not one fits; `ENOENT` in a removed directory; `EBADF`, `EIO`.
    pub fn read_dir(&self, buf: &mut [u8]) -> Result<usize> {
        Err(Errno::ENOSYS.into())
    }

    /// `fsync(2)`, `fdatasync(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for what cannot be synced, `EIO`.
    pub fn sync(&self, kind: SyncKind) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fstat(2)`.
    ///
    /// # Errors
    /// `EIO`.
    pub fn stat(&self) -> Result<Stat> {
        Err(Errno::ENOSYS.into())
    }

    /// `fstatfs(2)`.
    ///
    /// # Errors
    /// `EIO`.
    pub fn statfs(&self) -> Result<StatFs> {
        Err(Errno::ENOSYS.into())
    }

    /// `ftruncate(2)`.
    ///
    /// # Errors
    /// `EINVAL` unless open to write, and for what is no regular file; `EFBIG`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn truncate(&self, ctx: &Context, len: i64) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fallocate(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EOPNOTSUPP`, `EFBIG`, `ENODEV`, `ESPIPE`, `EISDIR`, `ENOSPC`, `EIO`.
    pub fn allocate(&self, ctx: &Context, mode: FallocateFlags, offset: i64, len: i64) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fchmod(2)`.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; as [`Namespace::fchmodat`](crate::Namespace::fchmodat).
    pub fn chmod(&self, ctx: &Context, mode: u32) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fchown(2)`; `None` stands for -1.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; as [`Namespace::fchownat`](crate::Namespace::fchownat).
    pub fn chown(&self, ctx: &Context, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fsetxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::setxattrat`](crate::Namespace::setxattrat).
    pub fn set_xattr(&self, ctx: &Context, name: &[u8], value: &[u8], how: XattrFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fgetxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::getxattrat`](crate::Namespace::getxattrat).
    pub fn xattr(&self, ctx: &Context, name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// `flistxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::listxattrat`](crate::Namespace::listxattrat).
    pub fn list_xattrs(&self, ctx: &Context) -> Result<Vec<u8>> {
        Err(Errno::ENOSYS.into())
    }

    /// `fremovexattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::removexattrat`](crate::Namespace::removexattrat).
    pub fn remove_xattr(&self, ctx: &Context, name: &[u8]) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fcntl(F_SETFL)`: of the flags, [`OpenFlags::SETTABLE`] count.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; `EPERM` for `O_NOATIME` on another's file.
    pub fn set_flags(&self, ctx: &Context, flags: OpenFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fcntl(F_SETLK)`, `F_SETLKW`, `F_OFD_SETLK`, `F_OFD_SETLKW`.
    ///
    /// # Errors
    /// `EAGAIN` where another holds it; `EBADF` for the wrong access mode; `EINVAL`, `EOVERFLOW`, `EDEADLK`, `EINTR`.
    pub fn set_lock(&self, ctx: &Context, lock: &Flock, owner: LockOwner, blocking: Blocking) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `fcntl(F_GETLK)`, `F_OFD_GETLK`: the lock that is in the way, or the question with `Unlock`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EOVERFLOW`.
    pub fn get_lock(&self, ctx: &Context, lock: &Flock, owner: LockOwner) -> Result<Flock> {
        Err(Errno::ENOSYS.into())
    }

    /// `flock(2)`.
    ///
    /// # Errors
    /// `EWOULDBLOCK` (`EAGAIN`), `EBADF` with `O_PATH`, `EINTR`.
    pub fn flock(&self, op: FlockOp, blocking: Blocking) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `ioctl(2)`, except for what belongs to the descriptor (`FIOCLEX`).
    ///
    /// # Errors
    /// `ENOTTY`, `EBADF` with `O_PATH`; the driver's.
    pub fn ioctl(&self, ctx: &Context, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        Err(Errno::ENOSYS.into())
    }

    /// What is behind a mapping: the regular file.
    ///
    /// # Errors
    /// `EACCES` by the access mode; `EPERM` for code on a `noexec` mount; `ENODEV` for what cannot be mapped; `EBADF`.
    pub fn mapping(&self, want: Mapping) -> Result<Arc<dyn FileOps>> {
        Err(Errno::ENOSYS.into())
    }

    /// `fcntl(F_GETFL)`: access mode and status flags.
    #[must_use]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::empty()
    }

    /// Readiness for `poll(2)`.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        PollEvents::empty()
    }

    /// Where in the tree it is; `None` for a pipe or a device that was opened without a name.
    #[must_use]
    pub const fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    /// One descriptor of it in this table is closed.
    pub(crate) fn closed_by(&self, _owner: u64) {}
}
