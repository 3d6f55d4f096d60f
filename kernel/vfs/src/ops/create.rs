//! `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`.

use crate::context::Context;
use crate::credentials::Capabilities;
use crate::flags::{AT_FDCWD, AtFlags, Fd, PATH_LEN_MAX};
use crate::inode::Triple;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::path::{Last, LookupFlags, TrailingSlash, check_text, only};
use crate::{DeviceNumber, Errno, FileType, Name, NewKind, Result, mode, permission};

/// What a trailing slash after a new name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It may be there: a directory is made.
    Dir,
    /// It asks for a directory that is not there.
    NonDir,
}

impl Namespace {
    /// `mkdirat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EROFS`, `EMLINK`, `ENOSPC`, `EIO`.
    pub fn mkdirat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32) -> Result<()> {
        let mode = mode as u16 & (0o777 | mode::STICKY);
        self.make(ctx, dirfd, path, Wanted::Dir, |dir, above, name| {
            permission::may_create(&ctx.credentials, above)?;
            let new = permission::of_new(&ctx.credentials, above, FileType::Dir, mode, ctx.fs.umask());
            let inode = self.create_locked(dir, name, NewKind::Dir, &new)?;
            self.attach(&dir.dentry, name, inode);
            Ok(())
        })
    }

    /// `mknodat(2)`: `mode` with its type bits, `dev` as `makedev` gives it. Also how `bind(2)` makes a socket's name.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EPERM`, `EINVAL`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn mknodat(&self, ctx: &Context, dirfd: Fd, path: &[u8], mode: u32, dev: u64) -> Result<()> {
        let number = DeviceNumber::decode(dev);
        let kind = match FileType::from_mode(mode) {
            None if mode & 0o170_000 == 0 => NewKind::File,
            Some(FileType::File) => NewKind::File,
            Some(FileType::CharDevice) => NewKind::CharDevice(number),
            Some(FileType::BlockDevice) => NewKind::BlockDevice(number),
            Some(FileType::Fifo) => NewKind::Fifo,
            Some(FileType::Socket) => NewKind::Socket,
            Some(FileType::Dir) => return Err(Errno::EPERM.into()),
            Some(FileType::Symlink) | None => return Err(Errno::EINVAL.into()),
        };
        let mode = (mode & 0o7777) as u16;
        let who = &ctx.credentials;
        self.make(ctx, dirfd, path, Wanted::NonDir, |dir, above, name| {
            permission::may_create(who, above)?;
            // Anyone may make a whiteout (device 0/0), for it gives access to nothing; an overlay refuses it to all.
            let is_device = match kind {
                NewKind::CharDevice(number) => number != DeviceNumber::default(),
                NewKind::BlockDevice(_) => true,
                _ => false,
            };
            if is_device && !who.capable(Capabilities::CAP_MKNOD) {
                return Err(Errno::EPERM.into());
            }
            let new = permission::of_new(who, above, kind.file_type(), mode, ctx.fs.umask());
            let inode = self.create_locked(dir, name, kind, &new)?;
            self.attach(&dir.dentry, name, inode);
            Ok(())
        })
    }

    /// `symlinkat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn symlinkat(&self, ctx: &Context, target: &[u8], dirfd: Fd, path: &[u8]) -> Result<()> {
        match target.len() {
            0 => return Err(Errno::ENOENT.into()),
            len if len > PATH_LEN_MAX => return Err(Errno::ENAMETOOLONG.into()),
            _ => {}
        }
        self.make(ctx, dirfd, path, Wanted::NonDir, |dir, above, name| {
            permission::may_create(&ctx.credentials, above)?;
            let new = permission::of_new(&ctx.credentials, above, FileType::Symlink, 0o777, 0);
            let inode = self.create_locked(dir, name, NewKind::Symlink(target), &new)?;
            self.attach(&dir.dentry, name, inode);
            Ok(())
        })
    }

    /// `linkat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EXDEV`, `EPERM`, `EMLINK`, `EROFS`,
    /// `ENOSPC`, `EIO`.
    pub fn linkat(
        &self,
        ctx: &Context,
        old_dirfd: Fd,
        old_path: &[u8],
        dirfd: Fd,
        path: &[u8],
        flags: AtFlags,
    ) -> Result<()> {
        only(flags, AtFlags::AT_SYMLINK_FOLLOW | AtFlags::AT_EMPTY_PATH)?;
        check_text(old_path, flags)?;
        let who = &ctx.credentials;
        let mut lookup = LookupFlags::empty();
        lookup.set(LookupFlags::FOLLOW, flags.contains(AtFlags::AT_SYMLINK_FOLLOW));
        lookup.set(LookupFlags::EMPTY, flags.contains(AtFlags::AT_EMPTY_PATH));
        let starts_at_fd = old_dirfd != AT_FDCWD && old_path.first() != Some(&b'/');
        if flags.contains(AtFlags::AT_EMPTY_PATH) && starts_at_fd {
            // The descriptor may be one that its holder could not have opened.
            let file = ctx.files.get(old_dirfd)?;
            if !file.was_opened_by(who) && !who.capable(Capabilities::CAP_DAC_READ_SEARCH) {
                return Err(Errno::ENOENT.into());
            }
        }
        let old = self.lookup_at(ctx, old_dirfd, old_path, lookup)?;
        let inode = old.inode()?;
        let triple = inode.triple()?;
        self.make(ctx, dirfd, path, Wanted::NonDir, |dir, above, name| {
            if !alloc::sync::Arc::ptr_eq(&old.mount, &dir.mount) {
                return Err(Errno::EXDEV.into());
            }
            permission::may_link(self.protections, who, &triple)?;
            permission::may_create(who, above)?;
            if inode.is_dir() {
                return Err(Errno::EPERM.into());
            }
            if inode.links_forbidden() {
                return Err(Errno::ENOENT.into());
            }
            dir.inode()?.dir()?.link(name, &inode.node)?;
            self.attach(&dir.dentry, name, inode.clone());
            Ok(())
        })
    }

    /// Makes an entry at a name that must be free. `act` does it, under the directory's lock.
    fn make(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: &[u8],
        wanted: Wanted,
        act: impl FnOnce(&Location, &Triple, Name<'_>) -> Result<()>,
    ) -> Result<()> {
        let (dir, last, walker) = self.parent_at(ctx, dirfd, path)?;
        let Last::Name(slash) = last else { return Err(Errno::EEXIST.into()) };
        let inode = dir.inode()?;
        let _exclusive = inode.lock.write();
        let dentry = self.lookup_locked(&dir.dentry, walker.last_name())?;
        if dentry.inode().is_some() {
            return Err(Errno::EEXIST.into());
        }
        if slash == TrailingSlash::Yes && wanted == Wanted::NonDir {
            return Err(Errno::ENOENT.into());
        }
        dir.mount.want_write()?;
        if inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        act(&dir, &inode.triple_locked()?, Name::new(walker.last_name())?)
    }
}
