//! `mkdir(2)`, `mknod(2)`, `symlink(2)`, `link(2)`.

use alloc::sync::Arc;

use crate::birth::{Asked, Birth, Parent};
use crate::context::Context;
use crate::credentials::Capabilities;
use crate::flags::{AT_FDCWD, AtFlags, Fd, PATH_LEN_MAX};
use crate::inode::{Inode, Triple};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::path::{Last, LookupFlags, TrailingSlash, check_text, only};
use crate::{DeviceNumber, Errno, FileType, InodeFlags, Name, NewKind, NewNode, Result, mode, permission};

/// What a trailing slash after a new name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It may be there: a directory is made.
    Dir,
    /// It asks for a directory that is not there.
    NonDir,
}

/// What a new inode starts with, its owner included.
pub(crate) struct Newborn {
    birth: Birth,
    kind: FileType,
    uid: u32,
}

impl Newborn {
    /// In a directory with the attributes `above`, for a caller who asked for a mode.
    pub(crate) fn new(ctx: &Context, dir: &Inode, above: &Triple<'_>, kind: FileType, asked: u16) -> Result<Self> {
        let who = &ctx.credentials;
        let default = if kind == FileType::Symlink { None } else { dir.default_list()? };
        let parent = Parent { mode: above.mode, gid: above.gid, default: default.as_deref() };
        let asked = Asked { kind, mode: asked, umask: ctx.fs.umask(), gid: who.gid().file_system };
        let birth = Birth::new(&parent, &asked, || permission::keeps_set_gid(who, above.gid))?;
        Ok(Self { birth, kind, uid: who.uid().file_system })
    }

    /// The lists as extended attributes.
    pub(crate) fn xattrs(&self) -> heapless::Vec<(&[u8], &[u8]), 2> {
        self.birth.xattrs()
    }

    pub(crate) fn node<'a>(&self, kind: NewKind<'a>, xattrs: &'a [(&'a [u8], &'a [u8])]) -> NewNode<'a> {
        NewNode { kind, mode: self.birth.mode, uid: self.uid, gid: self.birth.gid, xattrs }
    }

    /// The inode that was made, its attributes known without asking, unless its directory has flags: it may have taken some over.
    pub(crate) fn remembered_by(&self, inode: Arc<Inode>, above: &Triple<'_>) -> Arc<Inode> {
        if above.flags.intersects(InodeFlags::INHERITED) {
            return inode;
        }
        let listed = self.birth.is_listed().then_some(&*inode);
        let (mode, gid) = (self.birth.mode, self.birth.gid);
        inode.remember(Triple { kind: self.kind, mode, uid: self.uid, gid, flags: InodeFlags::empty(), listed });
        inode
    }
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
            let inode = self.create_locked(ctx, dir, name, NewKind::Dir, (above, mode))?;
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
            let inode = self.create_locked(ctx, dir, name, kind, (above, mode))?;
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
            let inode = self.create_locked(ctx, dir, name, NewKind::Symlink(target), (above, 0o777))?;
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
            if !Arc::ptr_eq(&old.mount, &dir.mount) {
                return Err(Errno::EXDEV.into());
            }
            permission::may_link(self.protections, who, &triple)?;
            permission::may_create(who, above)?;
            triple.flags.check_change()?;
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

    /// Makes an inode at a name that is free, in a directory with these attributes and with the mode that was asked for. The caller
    /// holds the directory's lock and has judged.
    pub(crate) fn create_locked(
        &self,
        ctx: &Context,
        dir: &Location,
        name: Name<'_>,
        kind: NewKind<'_>,
        (above, asked): (&Triple<'_>, u16),
    ) -> Result<Arc<Inode>> {
        let parent = dir.inode()?;
        let born = Newborn::new(ctx, parent, above, kind.file_type(), asked)?;
        let node = parent.dir()?.create(name, &born.node(kind, &born.xattrs()))?;
        Ok(born.remembered_by(self.inodes.get(dir.dentry.superblock, node), above))
    }

    /// Makes an entry at a name that must be free. `act` does it, under the directory's lock.
    fn make(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: &[u8],
        wanted: Wanted,
        act: impl FnOnce(&Location, &Triple<'_>, Name<'_>) -> Result<()>,
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
        let writing = dir.mount.want_write()?;
        if inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        act(&dir, &inode.triple_locked()?, Name::new(walker.last_name())?)?;
        writing.changed_entries(inode)
    }
}
