//! The other calls on descriptors: attributes, size, space, sync, flags, `ioctl(2)`, mappings, readiness.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use super::{Kind, OpenFile, Origin};
use crate::context::Context;
use crate::credentials::Capabilities;
use crate::device::{Seeking, UserMemory};
use crate::flags::{FallocateFlags, MountFlags, OpenFlags, PollEvents, XattrFlags};
use crate::ops::{attr, flags, stat, xattr};
use crate::{
    AllocateMode, Errno, FileOps, FileType, InodeFlags, Result, Stat, StatFs, SyncKind, Trim, permission, sync_and_tell,
};

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

/// Bytes that can be read at once.
const FIONREAD: u32 = 0x541b;
/// Sets or clears `O_NONBLOCK`.
const FIONBIO: u32 = 0x5421;
/// Tells a filesystem's medium of free space.
const FITRIM: u32 = 0xc018_5879;
/// `PIPEFS_MAGIC` of `<linux/magic.h>`.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

impl OpenFile {
    /// `fstat(2)`.
    ///
    /// # Errors
    /// `EIO`.
    pub fn stat(&self) -> Result<Stat> {
        match &self.origin {
            Origin::Tree(location) => stat::stat(location),
            Origin::Anonymous(attr) => Ok(Stat { attr: *attr, mount_id: 0, is_mount_root: false }),
        }
    }

    /// `fstatfs(2)`.
    ///
    /// # Errors
    /// `EIO`.
    pub fn statfs(&self) -> Result<StatFs> {
        match &self.origin {
            Origin::Tree(location) => location.file_system().statfs(),
            Origin::Anonymous(_) => Ok(StatFs::none(PIPEFS_MAGIC)),
        }
    }

    /// `fsync(2)`, `fdatasync(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL` for what cannot be synced; `EIO`, also, once, for what could not be written since it was opened.
    pub fn sync(&self, kind: SyncKind) -> Result<()> {
        match (&self.kind, self.node()) {
            (Kind::Path, _) => Err(Errno::EBADF.into()),
            (Kind::File | Kind::Dir, Some(node)) => sync_and_tell(node.ops(), kind, &self.told),
            (Kind::Device(device), _) => device.sync(),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// `bind(2)`: `name` makes the name.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; `ENOTSOCK`, `EINVAL` as [`OpenDevice::bind`](crate::OpenDevice::bind); those of `name`.
    pub fn bind(&self, name: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.not_path()?;
        match &self.kind {
            Kind::Device(device) => device.bind(name),
            _ => Err(Errno::ENOTSOCK.into()),
        }
    }

    /// `syncfs(2)`.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; `EIO`, also, once, for what of any file could not be written since it was opened.
    pub fn sync_file_system(&self) -> Result<()> {
        self.not_path()?;
        let Some(location) = self.location() else { return Ok(()) };
        let fs = location.file_system();
        let synced = fs.sync();
        let news = fs.write_errors().map_or(Ok(()), |errors| errors.tell(&self.told_of_all));
        synced.and(news)
    }

    /// `ftruncate(2)`.
    ///
    /// # Errors
    /// `EINVAL` unless open to write, and for what is no regular file; `EPERM` by its flags; `EFBIG`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn truncate(&self, ctx: &Context, len: i64) -> Result<()> {
        self.not_path()?;
        let len = u64::try_from(len).map_err(|_| Errno::EINVAL)?;
        let (Kind::File, true) = (&self.kind, self.flags().writes()) else { return Err(Errno::EINVAL.into()) };
        let inode = self.place()?.inode()?;
        inode.triple()?.flags.check_change()?;
        attr::set_len(ctx, inode, len)
    }

    /// `fallocate(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EOPNOTSUPP`, `EPERM` by its flags, `EFBIG`, `ENODEV`, `ESPIPE`, `EISDIR`, `ENOSPC`, `EIO`.
    pub fn allocate(&self, ctx: &Context, mode: FallocateFlags, offset: i64, len: i64) -> Result<()> {
        self.not_path()?;
        let (Ok(from), Ok(count @ 1..)) = (u64::try_from(offset), u64::try_from(len)) else {
            return Err(Errno::EINVAL.into());
        };
        const KEEP: FallocateFlags = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        const PUNCH: FallocateFlags = FallocateFlags::FALLOC_FL_PUNCH_HOLE.union(KEEP);
        const ZERO: FallocateFlags = FallocateFlags::FALLOC_FL_ZERO_RANGE;
        const ZERO_KEEP: FallocateFlags = ZERO.union(KEEP);
        let allocate = match mode {
            mode if mode.is_empty() => AllocateMode::Extend,
            KEEP => AllocateMode::KeepSize,
            PUNCH => AllocateMode::PunchHole,
            ZERO => AllocateMode::ZeroRange,
            ZERO_KEEP => AllocateMode::ZeroRangeKeepSize,
            _ => return Err(Errno::EOPNOTSUPP.into()),
        };
        if !self.flags().writes() {
            return Err(Errno::EBADF.into());
        }
        let flags = self.inode_flags()?;
        // Space may be reserved for what will be added; what is there stays.
        if KEEP.contains(mode) {
            flags.check_growth()?;
        } else {
            flags.check_change()?;
        }
        match &self.kind {
            Kind::File => {}
            Kind::Pipe(_) => return Err(Errno::ESPIPE.into()),
            Kind::Dir => return Err(Errno::EISDIR.into()),
            Kind::Device(_) | Kind::Path => return Err(Errno::ENODEV.into()),
        }
        let end = offset.checked_add(len).ok_or(Errno::EFBIG)?;
        if !mode.contains(KEEP) && end as u64 > ctx.file_size_limit && end as u64 > self.file()?.attr()?.size {
            return Err(Errno::EFBIG.into());
        }
        self.drop_set_id(ctx)?;
        self.file()?.allocate(allocate, from, count)
    }

    /// `fchmod(2)`.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; as [`Namespace::fchmodat`](crate::Namespace::fchmodat).
    pub fn chmod(&self, ctx: &Context, mode: u32) -> Result<()> {
        self.not_path()?;
        attr::chmod(ctx, self.place()?, mode)
    }

    /// `fchown(2)`; `None` stands for -1.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; as [`Namespace::fchownat`](crate::Namespace::fchownat).
    pub fn chown(&self, ctx: &Context, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.not_path()?;
        attr::chown(ctx, self.place()?, uid, gid)
    }

    /// `fsetxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::setxattrat`](crate::Namespace::setxattrat).
    pub fn set_xattr(&self, ctx: &Context, name: &[u8], value: &[u8], how: XattrFlags) -> Result<()> {
        self.not_path()?;
        xattr::set(ctx, self.place()?, name, value, how)
    }

    /// `fgetxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::getxattrat`](crate::Namespace::getxattrat).
    pub fn xattr(&self, ctx: &Context, name: &[u8]) -> Result<Vec<u8>> {
        self.not_path()?;
        xattr::get(ctx, self.place()?, name)
    }

    /// `flistxattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::listxattrat`](crate::Namespace::listxattrat).
    pub fn list_xattrs(&self, ctx: &Context) -> Result<Vec<u8>> {
        self.not_path()?;
        xattr::list(ctx, self.place()?)
    }

    /// `fremovexattr(2)`.
    ///
    /// # Errors
    /// As [`Namespace::removexattrat`](crate::Namespace::removexattrat).
    pub fn remove_xattr(&self, ctx: &Context, name: &[u8]) -> Result<()> {
        self.not_path()?;
        xattr::remove(ctx, self.place()?, name)
    }

    /// `fcntl(F_SETFL)`: of the flags, [`OpenFlags::SETTABLE`] count.
    ///
    /// # Errors
    /// `EBADF` with `O_PATH`; `EPERM` for `O_NOATIME` on another's file, and for a change of `O_APPEND` on an append-only one.
    pub fn set_flags(&self, ctx: &Context, flags: OpenFlags) -> Result<()> {
        self.not_path()?;
        if (flags ^ self.flags()).contains(OpenFlags::O_APPEND) && self.inode_flags()?.contains(InodeFlags::APPEND) {
            return Err(Errno::EPERM.into());
        }
        if flags.contains(OpenFlags::O_NOATIME)
            && !self.flags().contains(OpenFlags::O_NOATIME)
            && let Some(inode) = self.inode()
            && !permission::owns(&ctx.credentials, &inode.triple()?)
        {
            return Err(Errno::EPERM.into());
        }
        let settable = OpenFlags::SETTABLE;
        let change = |old: u32| Some(old & !settable.bits() | (flags & settable).bits());
        // The closure always answers, so that this cannot fail.
        let _ = self.flags.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        Ok(())
    }

    /// `ioctl(2)`, except for what belongs to the descriptor (`FIOCLEX`).
    ///
    /// # Errors
    /// `ENOTTY`, `EFAULT`, `EBADF` with `O_PATH`; the driver's; of `FITRIM` `EPERM` and those of [`FileSystem::trim`](crate::FileSystem::trim);
    /// of `FS_IOC_SETFLAGS` `EPERM`, `EROFS` and those of [`NodeOps::set_flags`](crate::NodeOps::set_flags).
    pub fn ioctl(&self, ctx: &Context, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        self.not_path()?;
        if command == FIONBIO {
            let mut word = [0; 4];
            memory.copy_in(argument, &mut word)?;
            let mut flags = self.flags();
            flags.set(OpenFlags::O_NONBLOCK, word != [0; 4]);
            return self.set_flags(ctx, flags).map(|()| 0);
        }
        let flags_command = flags::FlagsCommand::from_number(command);
        if let (Kind::File | Kind::Dir, Some(command)) = (&self.kind, flags_command) {
            return flags::ioctl(ctx, self.place()?, command, argument, memory).map(|()| 0);
        }
        let readable = match &self.kind {
            Kind::Device(device) => return device.ioctl(command, argument, memory),
            Kind::File | Kind::Dir if command == FITRIM => return self.trim(ctx, argument, memory),
            Kind::File if command == FIONREAD => {
                let size = self.file()?.attr()?.size;
                size.saturating_sub(*self.position.lock())
            }
            Kind::Pipe(pipe) if command == FIONREAD => pipe.available() as u64,
            _ => return Err(Errno::ENOTTY.into()),
        };
        let readable = i32::try_from(readable).unwrap_or(i32::MAX);
        memory.copy_out(argument, &readable.to_ne_bytes())?;
        Ok(0)
    }

    /// `FITRIM`: `struct fstrim_range` at `argument`, whose length becomes what was trimmed.
    fn trim(&self, ctx: &Context, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        if !ctx.credentials.capable(Capabilities::CAP_SYS_ADMIN) {
            return Err(Errno::EPERM.into());
        }
        let mut words = [[0; 8]; 3];
        memory.copy_in(argument, words.as_flattened_mut())?;
        let [start, len, least] = words.map(u64::from_ne_bytes);
        let location = self.location().ok_or(Errno::ENOTTY)?;
        let trimmed = location.file_system().trim(Trim { start, len, least })?;
        memory.copy_out(argument + 8, &trimmed.to_ne_bytes())?;
        Ok(0)
    }

    /// What is behind a mapping: the regular file.
    ///
    /// # Errors
    /// `EACCES` by the access mode, and to share an append-only file that is open to write; `EPERM` for code on a `noexec` mount; `ENODEV` for what cannot be mapped; `EIO` for a file
    /// whose text is made anew at each read (`/proc`), as on Linux; `EBADF`.
    pub fn mapping(&self, want: Mapping) -> Result<Arc<dyn FileOps>> {
        self.not_path()?;
        let flags = self.flags();
        let stores = want.contains(Mapping::SHARED | Mapping::WRITE);
        if !flags.reads() || (stores && !flags.writes()) {
            return Err(Errno::EACCES.into());
        }
        let shared = want.contains(Mapping::SHARED);
        if shared && flags.writes() && self.inode_flags()?.contains(InodeFlags::APPEND) {
            return Err(Errno::EACCES.into());
        }
        let noexec = self.location().is_some_and(|location| location.mount.has(MountFlags::MS_NOEXEC));
        if want.contains(Mapping::EXECUTE) && noexec {
            return Err(Errno::EPERM.into());
        }
        match self.kind {
            // Who makes the text may look at the very memory that the page is for.
            Kind::File if self.location().is_some_and(|location| location.file_system().is_volatile()) => {
                Err(Errno::EIO.into())
            }
            Kind::File => self.file().cloned(),
            _ => Err(Errno::ENODEV.into()),
        }
    }

    /// Whether a read or write of it may wait for others: pipes, and devices without a position, such as terminals.
    #[inline]
    #[must_use]
    pub fn may_wait(&self) -> bool {
        match &self.kind {
            Kind::Pipe(_) => true,
            Kind::Device(device) => device.seeking() == Seeking::No,
            Kind::File | Kind::Dir | Kind::Path => false,
        }
    }

    /// Readiness for `poll(2)`.
    #[must_use]
    pub fn poll(&self) -> PollEvents {
        match &self.kind {
            Kind::File | Kind::Dir => {
                PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::POLLRDNORM | PollEvents::POLLWRNORM
            }
            Kind::Device(device) => device.poll(),
            Kind::Pipe(pipe) => pipe.poll(),
            Kind::Path => PollEvents::empty(),
        }
    }

    /// The type of what is open.
    ///
    /// # Errors
    /// `EIO`.
    pub fn file_type(&self) -> Result<FileType> {
        match &self.origin {
            Origin::Tree(location) => location.node()?.file_type(),
            Origin::Anonymous(attr) => Ok(attr.kind),
        }
    }
}
