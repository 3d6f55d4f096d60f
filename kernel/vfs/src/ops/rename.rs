//! `rename(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sync::{MutexGuard, RwLockWriteGuard};

use crate::context::Context;
use crate::dentry::{Dentry, Place};
use crate::flags::{Fd, RenameFlags};
use crate::inode::Inode;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::path::{Last, TrailingSlash};
use crate::{Access, Errno, Name, RenameMode, RenameOp, Result, permission};

/// The locks on the two directories of a rename; the field order is the order of release.
struct TwoDirs<'a> {
    _second: Option<RwLockWriteGuard<'a, ()>>,
    _first: RwLockWriteGuard<'a, ()>,
    _rename: Option<MutexGuard<'a, ()>>,
}

impl Namespace {
    /// `renameat2(2)`, and with no flags `rename` and `renameat`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EISDIR`, `ENOTEMPTY`, `EBUSY`, `EXDEV`,
    /// `EINVAL`, `EPERM`, `EMLINK`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn renameat2(
        &self,
        ctx: &Context,
        old_dirfd: Fd,
        old_path: &[u8],
        new_dirfd: Fd,
        new_path: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let mode = match flags {
            RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
            RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
            flags if flags.is_empty() => RenameMode::Replace,
            _ => return Err(Errno::EINVAL.into()),
        };
        let (old_dir, old_last, old_walker) = self.parent_at(ctx, old_dirfd, old_path)?;
        let (new_dir, new_last, new_walker) = self.parent_at(ctx, new_dirfd, new_path)?;
        if !Arc::ptr_eq(&old_dir.mount, &new_dir.mount) {
            return Err(Errno::EXDEV.into());
        }
        let Last::Name(old_slash) = old_last else { return Err(Errno::EBUSY.into()) };
        let Last::Name(new_slash) = new_last else {
            return Err(if mode == RenameMode::NoReplace { Errno::EEXIST.into() } else { Errno::EBUSY.into() });
        };
        let writing = old_dir.mount.want_write()?;
        let (old_inode, new_inode) = (old_dir.inode()?, new_dir.inode()?);
        let same_dir = Arc::ptr_eq(&old_dir.dentry, &new_dir.dentry);
        let _dirs = self.lock_dirs(&old_dir, &new_dir)?;

        let old = self.lookup_locked(&old_dir.dentry, old_walker.last_name())?;
        let source = old.positive()?;
        let new = self.lookup_locked(&new_dir.dentry, new_walker.last_name())?;
        let target = new.inode();
        match mode {
            RenameMode::NoReplace if target.is_some() => return Err(Errno::EEXIST.into()),
            RenameMode::Exchange if target.is_none() => return Err(Errno::ENOENT.into()),
            _ => {}
        }
        let exchange = mode == RenameMode::Exchange;
        if exchange && !target.is_some_and(|target| target.is_dir()) && new_slash == TrailingSlash::Yes {
            return Err(Errno::ENOTDIR.into());
        }
        let slash_wants_dir = old_slash == TrailingSlash::Yes || (!exchange && new_slash == TrailingSlash::Yes);
        if !source.is_dir() && slash_wants_dir {
            return Err(Errno::ENOTDIR.into());
        }
        if !same_dir {
            if source.is_dir() && old.is_ancestor_of(&new_dir.dentry) {
                return Err(Errno::EINVAL.into());
            }
            if target.is_some_and(|target| target.is_dir()) && new.is_ancestor_of(&old_dir.dentry) {
                return Err(if exchange { Errno::EINVAL.into() } else { Errno::ENOTEMPTY.into() });
            }
        }
        if target.is_some_and(|target| Arc::ptr_eq(source, target)) {
            return Ok(());
        }

        let who = &ctx.credentials;
        let (old_above, new_above) = (old_inode.triple_locked()?, new_inode.triple_locked()?);
        permission::may_delete(who, &old_above, source)?;
        match target {
            None => permission::may_create(who, &new_above)?,
            Some(target) => {
                permission::may_delete(who, &new_above, target)?;
                match (source.is_dir(), target.is_dir()) {
                    _ if exchange => {}
                    (true, false) => return Err(Errno::ENOTDIR.into()),
                    (false, true) => return Err(Errno::EISDIR.into()),
                    _ => {}
                }
            }
        }
        if !same_dir {
            // Its `..` changes.
            let exchanged = target.filter(|_| exchange);
            for moved in [Some(source), exchanged].into_iter().flatten().filter(|inode| inode.is_dir()) {
                permission::check(who, &moved.triple()?, Access::WRITE)?;
            }
        }
        // Held so that nothing is made in a directory while it is replaced.
        let replaced = target.filter(|target| !exchange && target.is_dir());
        let _replaced = replaced.map(|target| target.lock.write());
        if old.is_mounted_on() || new.is_mounted_on() {
            return Err(Errno::EBUSY.into());
        }
        let op = RenameOp {
            name: Name::new(old_walker.last_name())?,
            to: new_inode.dir()?,
            new_name: Name::new(new_walker.last_name())?,
            mode,
        };
        old_inode.dir()?.rename(&op)?;
        if let Some(replaced) = replaced {
            replaced.set_dead();
        }
        self.move_dentries(&old_dir.dentry, &old, &new_dir.dentry, &new, mode);
        writing.changed_entries(old_inode)?;
        if same_dir { Ok(()) } else { writing.changed_entries(new_inode) }
    }

    /// Locks the directories of a rename, the upper one first where one is above the other.
    fn lock_dirs<'a>(&'a self, old: &'a Location, new: &'a Location) -> Result<TwoDirs<'a>> {
        let (old_inode, new_inode) = (old.inode()?, new.inode()?);
        if Arc::ptr_eq(old_inode, new_inode) {
            return Ok(TwoDirs { _second: None, _first: old_inode.lock.write(), _rename: None });
        }
        let rename = self.rename.lock();
        let by_address = |a: &Arc<Inode>, b: &Arc<Inode>| Arc::as_ptr(a).addr() < Arc::as_ptr(b).addr();
        let old_first = if old.dentry.is_ancestor_of(&new.dentry) {
            true
        } else {
            !new.dentry.is_ancestor_of(&old.dentry) && by_address(old_inode, new_inode)
        };
        let (first, second) = if old_first { (old_inode, new_inode) } else { (new_inode, old_inode) };
        let first = first.lock.write();
        Ok(TwoDirs { _second: Some(second.lock.write()), _first: first, _rename: Some(rename) })
    }

    /// Lets the cache follow a rename that the filesystem has made.
    fn move_dentries(
        &self,
        old_dir: &Arc<Dentry>,
        old: &Arc<Dentry>,
        new_dir: &Arc<Dentry>,
        new: &Arc<Dentry>,
        mode: RenameMode,
    ) {
        let mut discarded = Vec::new();
        if mode == RenameMode::Exchange {
            self.topology.write().exchange(old, new, &mut discarded);
            return;
        }
        let gone = self.new_dentry(old_dir, &old.name(), None);
        let place = Place { parent: Some(new_dir.clone()), name: new.name() };
        let mut topology = self.topology.write();
        if new.inode().is_some() {
            new.set_unlinked(true);
        }
        topology.relocate(old, place, &mut discarded);
        topology.insert(&gone, &mut discarded);
        drop(topology);
    }
}
