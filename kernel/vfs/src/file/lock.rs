//! Advisory locks through descriptors (`fcntl(2)`, `flock(2)`).
//!
//! Waiting for a lock that its holder never gives up is ended by the caller's [`Wait`](crate::Wait); a circle of waiting processes is
//! not looked for.

use super::OpenFile;
use crate::context::Context;
use crate::inode::Inode;
use crate::locks::{Blocking, Flock, FlockOp, Holder, LockOwner, LockType, Record, Whence};
use crate::{Errno, Result};

impl OpenFile {
    /// `fcntl(F_SETLK)`, `F_SETLKW`, `F_OFD_SETLK`, `F_OFD_SETLKW`.
    ///
    /// # Errors
    /// `EAGAIN` where another holds it; `EBADF` for the wrong access mode; `EINVAL`, `EOVERFLOW`, `ENOLCK`, `EINTR`.
    pub fn set_lock(&self, ctx: &Context, lock: &Flock, owner: LockOwner, blocking: Blocking) -> Result<()> {
        let inode = self.lockable()?;
        let record = self.record(ctx, lock, owner)?;
        let flags = self.flags();
        match lock.kind {
            LockType::Read if !flags.reads() => return Err(Errno::EBADF.into()),
            LockType::Write if !flags.writes() => return Err(Errno::EBADF.into()),
            LockType::Unlock => {
                inode.locks.lock().clear(&record)?;
                self.ns.wait.wake();
                return Ok(());
            }
            _ => {}
        }
        loop {
            {
                let mut locks = inode.locks.lock();
                if locks.conflict(&record).is_none() {
                    locks.set(record)?;
                    break;
                }
            }
            if blocking == Blocking::No {
                return Err(Errno::EAGAIN.into());
            }
            self.ns.wait.wait(&|| inode.locks.lock().conflict(&record).is_none())?;
        }
        // An exclusive lock may have become a shared one.
        self.ns.wait.wake();
        Ok(())
    }

    /// `fcntl(F_GETLK)`, `F_OFD_GETLK`: the lock that is in the way, or the question with `Unlock`.
    ///
    /// # Errors
    /// `EBADF`, `EINVAL`, `EOVERFLOW`.
    pub fn get_lock(&self, ctx: &Context, lock: &Flock, owner: LockOwner) -> Result<Flock> {
        let inode = self.lockable()?;
        let record = self.record(ctx, lock, owner)?;
        if lock.kind == LockType::Unlock {
            return Err(Errno::EINVAL.into());
        }
        let locks = inode.locks.lock();
        Ok(match locks.conflict(&record) {
            None => Flock { kind: LockType::Unlock, ..*lock },
            Some(other) => Flock {
                kind: if other.exclusive { LockType::Write } else { LockType::Read },
                whence: Whence::Set,
                start: other.first,
                len: if other.last == i64::MAX { 0 } else { other.last - other.first + 1 },
                pid: other.pid,
            },
        })
    }

    /// `flock(2)`.
    ///
    /// # Errors
    /// `EWOULDBLOCK` (`EAGAIN`), `EBADF` with `O_PATH`, `EINTR`.
    pub fn flock(&self, op: FlockOp, blocking: Blocking) -> Result<()> {
        let inode = self.lockable()?;
        if op == FlockOp::Unlock {
            inode.locks.lock().clear_whole(self.id);
            self.ns.wait.wake();
            return Ok(());
        }
        let exclusive = op == FlockOp::Exclusive;
        let had = |inode: &Inode| inode.locks.lock().try_whole(self.id, exclusive);
        while !had(inode) {
            if blocking == Blocking::No {
                return Err(Errno::EAGAIN.into());
            }
            self.ns.wait.wait(&|| inode.locks.lock().can_have_whole(self.id, exclusive))?;
        }
        self.ns.wait.wake();
        Ok(())
    }

    /// The inode that locks are on: `EBADF` with `O_PATH`, `EINVAL` for what is nowhere in the tree.
    fn lockable(&self) -> Result<&Inode> {
        self.not_path()?;
        self.inode().map(|inode| &**inode).ok_or_else(|| Errno::EINVAL.into())
    }

    fn record(&self, ctx: &Context, lock: &Flock, owner: LockOwner) -> Result<Record> {
        let base = match lock.whence {
            Whence::Set => 0,
            Whence::Current => *self.position.lock(),
            Whence::End => self.place()?.attr()?.size,
            Whence::Data | Whence::Hole => return Err(Errno::EINVAL.into()),
        };
        let (first, last) = lock.range(i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?)?;
        let (holder, pid) = match owner {
            LockOwner::Process => (Holder::Process(ctx.files.owner()), ctx.pid),
            LockOwner::OpenFile => (Holder::OpenFile(self.id), -1),
        };
        Ok(Record { first, last, exclusive: lock.kind == LockType::Write, holder, pid })
    }
}
