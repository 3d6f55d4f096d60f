//! `unlink(2)` and `rmdir(2)`.

use crate::context::Context;
use crate::flags::{AtFlags, Fd};
use crate::namespace::Namespace;
use crate::path::{Last, TrailingSlash, only};
use crate::{Errno, Expect, Name, Result, permission};

impl Namespace {
    /// `unlinkat(2)`; with `AT_REMOVEDIR`, `rmdir(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EISDIR`, `ENOTEMPTY`, `EBUSY`, `EPERM`, `EINVAL`,
    /// `EROFS`, `EIO`.
    pub fn unlinkat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<()> {
        only(flags, AtFlags::AT_REMOVEDIR)?;
        let expect = if flags.contains(AtFlags::AT_REMOVEDIR) { Expect::EmptyDir } else { Expect::NonDir };
        let (dir, last, walker) = self.parent_at(ctx, dirfd, path)?;
        let slash = match (last, expect) {
            (Last::Name(slash), _) => slash,
            (_, Expect::NonDir) => return Err(Errno::EISDIR.into()),
            (Last::Dot, Expect::EmptyDir) => return Err(Errno::EINVAL.into()),
            (Last::DotDot, Expect::EmptyDir) => return Err(Errno::ENOTEMPTY.into()),
            (Last::Root, Expect::EmptyDir) => return Err(Errno::EBUSY.into()),
        };
        let writing = dir.mount.want_write()?;
        let inode = dir.inode()?;
        let _exclusive = inode.lock.write();
        let dentry = self.lookup_locked(&dir.dentry, walker.last_name())?;
        let victim = dentry.positive()?;
        if slash == TrailingSlash::Yes && expect == Expect::NonDir {
            return Err(if victim.is_dir() { Errno::EISDIR.into() } else { Errno::ENOTDIR.into() });
        }
        let above = inode.triple_locked()?;
        permission::may_delete(&ctx.credentials, &above, victim)?;
        match (expect, victim.is_dir()) {
            (Expect::EmptyDir, false) => return Err(Errno::ENOTDIR.into()),
            (Expect::NonDir, true) => return Err(Errno::EISDIR.into()),
            _ => {}
        }
        if inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        // Held so that nothing is made in a directory while it goes.
        let _victim = victim.is_dir().then(|| victim.lock.write());
        if dentry.is_mounted_on() {
            return Err(Errno::EBUSY.into());
        }
        inode.dir()?.remove(Name::new(walker.last_name())?, expect)?;
        if victim.is_dir() {
            victim.set_dead();
        }
        self.detach(&dir.dentry, &dentry);
        writing.changed_entries(inode)
    }
}
