//! Descriptors: numbers for open files, and their close-on-exec flags.
//!
//! Lock order: the table's lock is innermost; open files are dropped after it is released.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use base::sync::RwLock;

use crate::context::index;
use crate::file::OpenFile;
use crate::flags::Fd;
use crate::{Errno, Result};

/// The most descriptors that a limit can allow (`fs.nr_open`).
pub const NR_OPEN: u64 = 1 << 20;

/// What `execve(2)` does with a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExec {
    /// It stays open.
    Keep,
    /// `FD_CLOEXEC`.
    Close,
}

#[derive(Clone)]
struct Slot {
    file: Arc<OpenFile>,
    on_exec: OnExec,
}

#[derive(Default, Clone)]
struct Slots {
    slots: Vec<Option<Slot>>,
    /// No free number is below this one.
    lowest_free: usize,
}

/// The descriptors of a process.
pub struct FdTable {
    inner: RwLock<Slots>,
    limit: AtomicU64,
    owner: u64,
}

static NEXT_OWNER: AtomicU64 = AtomicU64::new(1);

impl Default for FdTable {
    fn default() -> Self {
        Self::new()
    }
}

impl FdTable {
    /// An empty table with Linux's usual limit of 1,024.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: RwLock::default(),
            limit: AtomicU64::new(1024),
            owner: NEXT_OWNER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A copy with the same open files (`fork(2)`).
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            inner: RwLock::new(self.inner.read().clone()),
            limit: AtomicU64::new(self.limit()),
            owner: NEXT_OWNER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// `RLIMIT_NOFILE`: every descriptor is below it.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit, at most [`NR_OPEN`]. Descriptors above it stay.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit.min(NR_OPEN), Ordering::Relaxed);
    }

    /// Whose record locks are taken through this table.
    pub(crate) const fn owner(&self) -> u64 {
        self.owner
    }

    /// The open file behind a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn get(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        let inner = self.inner.read();
        match inner.slots.get(index(fd)?) {
            Some(Some(slot)) => Ok(slot.file.clone()),
            _ => Err(Errno::EBADF.into()),
        }
    }

    /// Whether one more descriptor fits now: asked before a file is opened or made.
    ///
    /// # Errors
    /// `EMFILE`.
    pub fn check_room(&self) -> Result<()> {
        let inner = self.inner.read();
        let free = inner.first_free(inner.lowest_free);
        if (free as u64) < self.limit() { Ok(()) } else { Err(Errno::EMFILE.into()) }
    }

    /// Gives the file the lowest free number.
    ///
    /// # Errors
    /// `EMFILE`; `ENOMEM`.
    pub fn install(&self, file: Arc<OpenFile>, on_exec: OnExec) -> Result<Fd> {
        self.install_from(0, file, on_exec)
    }

    /// `dup(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EMFILE`, `ENOMEM`.
    pub fn dup(&self, fd: Fd) -> Result<Fd> {
        self.install_from(0, self.get(fd)?, OnExec::Keep)
    }

    /// `fcntl(F_DUPFD)` and `F_DUPFD_CLOEXEC`: the lowest free number from `least` on.
    ///
    /// # Errors
    /// `EBADF`; `EINVAL` for a `least` outside the limit; `EMFILE`, `ENOMEM`.
    pub fn dup_from(&self, fd: Fd, least: u64, on_exec: OnExec) -> Result<Fd> {
        let file = self.get(fd)?;
        if least >= self.limit() {
            return Err(Errno::EINVAL.into());
        }
        self.install_from(least as usize, file, on_exec)
    }

    /// `dup2(2)`: the same number twice does nothing.
    ///
    /// # Errors
    /// `EBADF`, also for a `new` outside the limit; `ENOMEM`.
    pub fn dup2(&self, fd: Fd, new: Fd) -> Result<Fd> {
        if fd == new {
            self.get(fd)?;
            return Ok(new);
        }
        self.put(fd, new, OnExec::Keep)
    }

    /// `dup3(2)`.
    ///
    /// # Errors
    /// `EINVAL` for the same number twice; `EBADF`, `ENOMEM`.
    pub fn dup3(&self, fd: Fd, new: Fd, on_exec: OnExec) -> Result<Fd> {
        if fd == new {
            return Err(Errno::EINVAL.into());
        }
        self.put(fd, new, on_exec)
    }

    /// `close(2)`. The process's record locks on the file go with it (POSIX `fcntl`).
    ///
    /// # Errors
    /// `EBADF`.
    pub fn close(&self, fd: Fd) -> Result<()> {
        let slot = {
            let mut inner = self.inner.write();
            let index = index(fd)?;
            let slot = inner.slots.get_mut(index).and_then(Option::take).ok_or(Errno::EBADF)?;
            inner.lowest_free = inner.lowest_free.min(index);
            slot
        };
        slot.file.closed_by(self.owner);
        Ok(())
    }

    /// `close_range(2)`: closes all descriptors from `first` to `last`, both included.
    pub fn close_range(&self, first: u32, last: u32) {
        self.close_where(|fd, _| (first as usize..=last as usize).contains(&fd));
    }

    /// Closes what carries `FD_CLOEXEC` (`execve(2)`).
    pub fn close_on_exec(&self) {
        self.close_where(|_, slot| slot.on_exec == OnExec::Close);
    }

    /// Closes everything (`exit(2)`).
    pub fn close_all(&self) {
        self.close_where(|_, _| true);
    }

    /// `fcntl(F_GETFD)`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn on_exec(&self, fd: Fd) -> Result<OnExec> {
        let inner = self.inner.read();
        let slot = inner.slots.get(index(fd)?).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        Ok(slot.on_exec)
    }

    /// `fcntl(F_SETFD)`.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn set_on_exec(&self, fd: Fd, on_exec: OnExec) -> Result<()> {
        let mut inner = self.inner.write();
        let slot = inner.slots.get_mut(index(fd)?).and_then(Option::as_mut).ok_or(Errno::EBADF)?;
        slot.on_exec = on_exec;
        Ok(())
    }

    /// The open descriptors, in ascending order (`/proc/self/fd`).
    #[must_use]
    pub fn descriptors(&self) -> Vec<Fd> {
        let inner = self.inner.read();
        let open = inner.slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
        open.filter_map(|(fd, _)| Fd::try_from(fd).ok()).collect()
    }

    fn install_from(&self, least: usize, file: Arc<OpenFile>, on_exec: OnExec) -> Result<Fd> {
        let mut inner = self.inner.write();
        let fd = inner.first_free(least.max(inner.lowest_free));
        if fd as u64 >= self.limit() {
            return Err(Errno::EMFILE.into());
        }
        let number = Fd::try_from(fd).map_err(|_| Errno::EMFILE)?;
        inner.reach(fd)?;
        inner.slots[fd] = Some(Slot { file, on_exec });
        if fd == inner.lowest_free {
            inner.lowest_free = fd + 1;
        }
        Ok(number)
    }

    fn put(&self, fd: Fd, new: Fd, on_exec: OnExec) -> Result<Fd> {
        let file = self.get(fd)?;
        let at = index(new)?;
        if at as u64 >= self.limit() {
            return Err(Errno::EBADF.into());
        }
        let old = {
            let mut inner = self.inner.write();
            inner.reach(at)?;
            inner.slots[at].replace(Slot { file, on_exec })
        };
        if let Some(old) = old {
            old.file.closed_by(self.owner);
        }
        Ok(new)
    }

    fn close_where(&self, which: impl Fn(usize, &Slot) -> bool) {
        let mut closed = Vec::new();
        {
            let mut inner = self.inner.write();
            let Slots { slots, lowest_free } = &mut *inner;
            for (fd, slot) in slots.iter_mut().enumerate() {
                if let Some(slot) = slot.take_if(|slot| which(fd, slot)) {
                    *lowest_free = fd.min(*lowest_free);
                    closed.push(slot);
                }
            }
        }
        for slot in closed {
            slot.file.closed_by(self.owner);
        }
    }
}

impl Slots {
    fn first_free(&self, from: usize) -> usize {
        let free = self.slots.iter().skip(from).position(Option::is_none);
        free.map_or(self.slots.len().max(from), |offset| from + offset)
    }

    /// Makes room for the number.
    fn reach(&mut self, fd: usize) -> Result<()> {
        if let Some(more) = (fd + 1).checked_sub(self.slots.len()) {
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(fd + 1, None);
        }
        Ok(())
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.close_all();
    }
}
