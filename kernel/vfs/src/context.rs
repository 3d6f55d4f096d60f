//! What a task brings to every call: credentials, root and current directory, umask, descriptors.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};

use base::sync::RwLock;

use crate::credentials::Credentials;
use crate::fd_table::FdTable;
use crate::file::OpenFile;
use crate::flags::Fd;
use crate::mount::Location;
use crate::{Errno, Result};

/// The calling task, as the namespace sees it. `fork(2)` copies it with [`fork`](Self::fork); threads share `fs` and
/// `files` by cloning the `Arc`s.
#[derive(Clone)]
pub struct Context {
    /// Who it is.
    pub credentials: Credentials,
    /// Where it is.
    pub fs: Arc<FsState>,
    /// Its descriptors.
    pub files: Arc<FdTable>,
    /// `RLIMIT_FSIZE`, in bytes: no write makes a file larger (`EFBIG`); `u64::MAX` for none.
    pub file_size_limit: u64,
    /// Its process id, as record locks tell it.
    pub pid: i32,
}

impl Context {
    /// The open file behind a descriptor.
    ///
    /// # Errors
    /// `EBADF`.
    pub fn file(&self, fd: Fd) -> Result<Arc<OpenFile>> {
        self.files.get(fd)
    }

    /// A copy for a new process: nothing is shared but the open files themselves.
    #[must_use]
    pub fn fork(&self, pid: i32) -> Self {
        Self {
            credentials: self.credentials.clone(),
            fs: Arc::new(self.fs.fork()),
            files: Arc::new(self.files.fork()),
            file_size_limit: self.file_size_limit,
            pid,
        }
    }
}

/// Root and current directory, which change together in the eyes of a resolution.
pub(crate) struct Places {
    pub(crate) root: Location,
    pub(crate) cwd: Location,
}

/// Root, current directory and umask (`struct fs_struct`).
pub struct FsState {
    places: RwLock<Arc<Places>>,
    umask: AtomicU16,
}

impl FsState {
    pub(crate) fn new(root: Location) -> Self {
        let cwd = root.clone();
        Self { places: RwLock::new(Arc::new(Places { root, cwd })), umask: AtomicU16::new(0o022) }
    }

    /// A copy that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { places: RwLock::new(self.places()), umask: AtomicU16::new(self.umask()) }
    }

    /// The file mode creation mask.
    #[must_use]
    pub fn umask(&self) -> u16 {
        self.umask.load(Ordering::Relaxed)
    }

    /// `umask(2)`: sets the mask, of which only rwx bits count, and returns the one before.
    pub fn set_umask(&self, mask: u32) -> u16 {
        self.umask.swap((mask & 0o777) as u16, Ordering::Relaxed)
    }

    /// The current directory.
    #[must_use]
    pub fn cwd(&self) -> Location {
        self.places().cwd.clone()
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> Location {
        self.places().root.clone()
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        self.places.read().clone()
    }

    pub(crate) fn set_cwd(&self, cwd: Location) {
        let mut places = self.places.write();
        let new = Arc::new(Places { root: places.root.clone(), cwd });
        let old = core::mem::replace(&mut *places, new);
        drop(places);
        drop(old);
    }

    pub(crate) fn set_root(&self, root: Location) {
        let mut places = self.places.write();
        let new = Arc::new(Places { root, cwd: places.cwd.clone() });
        let old = core::mem::replace(&mut *places, new);
        drop(places);
        drop(old);
    }
}

/// `EBADF` unless `fd` can be one at all.
pub(crate) fn index(fd: Fd) -> Result<usize> {
    usize::try_from(fd).map_err(|_| Errno::EBADF.into())
}
