//! `open(2)` and its kin.

use alloc::sync::Arc;

use super::anonymous::on_exec;
use super::open_plan::Plan;
use crate::context::Context;
use crate::device::DeviceClass;
use crate::file::{Claim, Kind, OpenFile, Origin};
use crate::flags::{AT_FDCWD, AtFlags, Fd, MountFlags, OpenFlags, OpenHow};
use crate::inode::Inode;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::ops::create::Newborn;
use crate::ops::may;
use crate::path::{Last, LookupFlags, TrailingSlash, Walker, only};
use crate::pipe::{Pipe, PipeEnd};
use crate::{Access, Attr, Errno, FileType, InodeFlags, Name, NewKind, Node, OpenIntent, Result, permission};

/// Whether the file was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Existing,
    Created,
}

impl Namespace {
    /// `open(2)` and `openat(2)`: opens, and gives the lowest free descriptor.
    ///
    /// # Errors
    /// As [`open`](Self::open); `EMFILE`.
    pub fn openat(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Fd> {
        self.openat2(ctx, dirfd, path, &OpenHow::from_open(flags, mode))
    }

    /// `openat2(2)`; `how` is made by [`OpenHow::from_openat2`].
    ///
    /// # Errors
    /// As [`open`](Self::open); `EMFILE`.
    pub fn openat2(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], how: &OpenHow) -> Result<Fd> {
        let plan = Plan::new(how)?;
        ctx.files.check_room()?;
        let file = self.open_planned(ctx, dirfd, path, &plan)?;
        ctx.files.install(file, on_exec(how.flags))
    }

    /// Opens without a descriptor: for the kernel's own use.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EISDIR`, `EINVAL`, `EPERM`, `EROFS`,
    /// `ETXTBSY`, `ENXIO` for a device without a driver or a socket; `EXDEV`, `EAGAIN` by `resolve`; `ENOSPC`, `EIO`.
    pub fn open(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], how: &OpenHow) -> Result<Arc<OpenFile>> {
        self.open_planned(ctx, dirfd, path, &Plan::new(how)?)
    }

    /// Opens a program for `execve(2)`: a regular file that the caller may execute. No one can write it until it is closed.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EACCES` for what cannot be executed;
    /// `ETXTBSY`, `EINVAL`.
    pub fn open_exec(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Arc<OpenFile>> {
        only(flags, AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH)?;
        let place = self.target(ctx, dirfd, path, flags)?;
        let inode = place.inode()?;
        let file = match &inode.node {
            Node::File(file) if !place.mount.has(MountFlags::MS_NOEXEC) => file,
            Node::Symlink(_) => return Err(Errno::ELOOP.into()),
            _ => return Err(Errno::EACCES.into()),
        };
        may(&ctx.credentials, &place, Access::EXECUTE)?;
        let claim = Claimed::take(&place, Claim::Execute)?;
        file.prepare_open(OpenIntent::Read)?;
        let claim = claim.keep();
        Ok(OpenFile::new(self, &ctx.credentials, Origin::Tree(place), Kind::File, OpenFlags::O_RDONLY, claim))
    }

    fn open_planned(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], plan: &Plan) -> Result<Arc<OpenFile>> {
        if plan.has(OpenFlags::TMPFILE_BIT) {
            return self.open_unnamed(ctx, dirfd, path, plan);
        }
        if plan.has(OpenFlags::O_PATH) {
            let place = self.lookup_at(ctx, dirfd, path, plan.lookup)?;
            return Ok(OpenFile::new(self, &ctx.credentials, Origin::Tree(place), Kind::Path, plan.flags, Claim::None));
        }
        let mut walker = Walker::new(self, ctx, dirfd, path, plan.lookup)?;
        if !plan.has(OpenFlags::O_CREAT) {
            walker.walk()?;
            return self.open_found(ctx, walker.into_end()?, plan, Found::Existing);
        }
        loop {
            let last = walker.walk_to_last()?;
            if let Some((place, found)) = self.create_last(ctx, &mut walker, last, plan)? {
                return self.open_found(ctx, place, plan, found);
            }
        }
    }

    /// Finds or creates the last component; `None` where it was a symbolic link, which the walker then follows.
    fn create_last(
        &self,
        ctx: &Context,
        walker: &mut Walker<'_>,
        last: Last,
        plan: &Plan,
    ) -> Result<Option<(Location, Found)>> {
        match last {
            Last::Name(TrailingSlash::Yes) => return Err(Errno::EISDIR.into()),
            Last::Name(TrailingSlash::No) => {}
            Last::DotDot => {
                walker.step_up()?;
                return Ok(Some((walker.location()?, Found::Existing)));
            }
            Last::Dot | Last::Root => return Ok(Some((walker.location()?, Found::Existing))),
        }
        let dir = walker.location()?;
        let dir_inode = dir.inode()?;
        let dentry = {
            let _exclusive = dir_inode.lock.write();
            if dir_inode.is_dead() {
                return Err(Errno::ENOENT.into());
            }
            let dentry = self.lookup_locked(&dir.dentry, walker.last_name())?;
            if dentry.inode().is_none() {
                let writing = dir.mount.want_write()?;
                let above = dir_inode.triple_locked()?;
                permission::may_create(&ctx.credentials, &above)?;
                let name = Name::new(walker.last_name())?;
                let inode = self.create_locked(ctx, &dir, name, NewKind::File, (&above, plan.mode))?;
                let dentry = self.attach(&dir.dentry, name, inode);
                writing.changed_entries(dir_inode)?;
                return Ok(Some((Location { mount: dir.mount.clone(), dentry }, Found::Created)));
            }
            dentry
        };
        let inode = dentry.positive()?;
        if inode.is_symlink() && plan.lookup.contains(LookupFlags::FOLLOW) {
            walker.follow_last(&dentry)?;
            return Ok(None);
        }
        if !plan.has(OpenFlags::O_EXCL) && !inode.is_dir() {
            let who = &ctx.credentials;
            permission::may_open_existing(self.protections, who, &dir_inode.triple()?, &inode.triple()?)?;
        }
        walker.step(&dentry)?;
        Ok(Some((walker.location()?, Found::Existing)))
    }

    /// `O_TMPFILE`.
    fn open_unnamed(self: &Arc<Self>, ctx: &Context, dirfd: Fd, path: &[u8], plan: &Plan) -> Result<Arc<OpenFile>> {
        let dir = self.lookup_at(ctx, dirfd, path, plan.lookup | LookupFlags::DIRECTORY)?;
        let _writing = dir.mount.want_write()?;
        may(&ctx.credentials, &dir, Access::WRITE | Access::EXECUTE)?;
        let dir_inode = dir.inode()?;
        let above = dir_inode.triple()?;
        let born = Newborn::new(ctx, dir_inode, &above, FileType::File, plan.mode)?;
        let node = dir_inode.dir()?.create_unnamed(&born.node(NewKind::File, &born.xattrs()))?;
        let inode = born.remembered_by(self.inodes.get(dir.dentry.superblock, node), &above);
        if plan.has(OpenFlags::O_EXCL) {
            inode.forbid_links();
        }
        let dentry = self.new_dentry(&dir.dentry, b"", Some(inode));
        dentry.set_unlinked(true);
        let place = Location { mount: dir.mount.clone(), dentry };
        self.open_found(ctx, place, plan, Found::Created)
    }

    /// Opens what the path led to.
    fn open_found(
        self: &Arc<Self>,
        ctx: &Context,
        place: Location,
        plan: &Plan,
        found: Found,
    ) -> Result<Arc<OpenFile>> {
        let inode = place.inode()?;
        if plan.has(OpenFlags::O_CREAT) && found == Found::Existing {
            if plan.has(OpenFlags::O_EXCL) {
                return Err(Errno::EEXIST.into());
            }
            if inode.is_dir() {
                return Err(Errno::EISDIR.into());
            }
        }
        let truncates = plan.has(OpenFlags::O_TRUNC) && found == Found::Existing && matches!(inode.node, Node::File(_));
        if truncates {
            // Held on to below, by a claim; asked for here, for `EROFS` goes before other refusals.
            place.mount.want_write().map(drop)?;
        }
        match &inode.node {
            Node::Symlink(_) => return Err(Errno::ELOOP.into()),
            Node::Dir(_) if plan.access.contains(Access::WRITE) => return Err(Errno::EISDIR.into()),
            _ => {}
        }
        let is_special = matches!(inode.node, Node::Special(_));
        let attr = if is_special { Some(inode.node.attr()?) } else { None };
        let is_device = attr.is_some_and(|attr| matches!(attr.kind, FileType::CharDevice | FileType::BlockDevice));
        if is_device && place.mount.has(MountFlags::MS_NODEV) {
            return Err(Errno::EACCES.into());
        }
        if found == Found::Existing {
            may(&ctx.credentials, &place, plan.access)?;
            let rewrites = plan.flags.writes() && !plan.has(OpenFlags::O_APPEND) || plan.has(OpenFlags::O_TRUNC);
            if rewrites && inode.triple()?.flags.contains(InodeFlags::APPEND) {
                return Err(Errno::EPERM.into());
            }
        }
        if plan.has(OpenFlags::O_NOATIME) && !permission::owns(&ctx.credentials, &inode.triple()?) {
            return Err(Errno::EPERM.into());
        }
        let (kind, claim) = match (&inode.node, attr) {
            (Node::File(file), _) => {
                let claim = Claimed::take(&place, plan.claim())?;
                if truncates {
                    // `O_RDONLY|O_TRUNC` writes as well, for as long as this lasts.
                    let _writing = Claimed::take(&place, Claim::Write)?;
                    truncate(ctx, inode)?;
                } else {
                    let intent = if plan.flags.writes() { OpenIntent::Write } else { OpenIntent::Read };
                    file.prepare_open(intent)?;
                }
                (Kind::File, claim.keep())
            }
            (Node::Dir(_), _) => (Kind::Dir, Claim::None),
            (_, Some(attr)) => (self.open_special(inode, &attr, plan)?, Claim::None),
            _ => return Err(Errno::ENXIO.into()),
        };
        Ok(OpenFile::new(self, &ctx.credentials, Origin::Tree(place), kind, plan.flags, claim))
    }

    fn open_special(&self, inode: &Inode, attr: &Attr, plan: &Plan) -> Result<Kind> {
        match attr.kind {
            FileType::CharDevice => Ok(Kind::Device(self.devices().open(DeviceClass::Char, attr.rdev, plan.flags)?)),
            FileType::BlockDevice => {
                Ok(Kind::Device(self.devices().open(DeviceClass::Block, attr.rdev, plan.flags)?))
            }
            FileType::Fifo => {
                let pipe = inode.pipe(|| Arc::new(Pipe::default()));
                Ok(Kind::Pipe(PipeEnd::open(pipe, self.wait.clone(), plan.flags)?))
            }
            _ => Err(Errno::ENXIO.into()),
        }
    }

    /// As [`open`](Self::open) from the current directory, with the flags of `open(2)`; a new file gets mode 0666 less the umask.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_path(self: &Arc<Self>, ctx: &Context, path: &[u8], flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.open(ctx, AT_FDCWD, path, &OpenHow::from_open(flags, 0o666))
    }
}

/// Throws the content of a file away at `open(2)`.
fn truncate(ctx: &Context, inode: &Inode) -> Result<()> {
    let file = inode.node.as_file()?;
    let _exclusive = inode.lock.write();
    let triple = inode.triple_locked()?;
    file.prepare_open(OpenIntent::Truncate)?;
    if file.attr()?.size != 0 {
        file.set_len(0)?;
    }
    inode.drop_privileges_locked(&ctx.credentials, &triple)
}

/// A claim that is given back unless it is kept.
struct Claimed<'a> {
    place: &'a Location,
    claim: Claim,
}

impl<'a> Claimed<'a> {
    fn take(place: &'a Location, claim: Claim) -> Result<Self> {
        claim.take(place)?;
        Ok(Self { place, claim })
    }

    fn keep(mut self) -> Claim {
        core::mem::replace(&mut self.claim, Claim::None)
    }
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.claim.release(self.place);
    }
}
