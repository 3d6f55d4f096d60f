//! Walks through directories, by descriptors rather than by paths: a name that is exchanged for a symbolic link meanwhile is
//! not followed, and no path is too long.
//!
//! Key type: [`Place`], a name in an open directory with its path for messages.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use strata_rt::dir;
use strata_rt::text::join;

/// How deep a tree may be. Every level keeps a descriptor open, of which a process has 1024.
const DEPTH: usize = 900;

/// A name in a directory.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The directory; the working directory for what the user named.
    pub(super) parent: BorrowedFd<'a>,
    /// The name in it; for what the user named, the path itself.
    pub(super) name: &'a [u8],
    /// The path from where the user started, for messages.
    pub(super) path: &'a [u8],
    /// How many directories lie above it.
    pub(super) depth: usize,
}

impl<'a> Place<'a> {
    /// What the user named.
    pub(super) fn named(path: &'a [u8]) -> Self {
        Self { parent: CWD, name: path, path, depth: 0 }
    }

    /// Its attributes; of a symbolic link, its own.
    pub(super) fn attributes(self) -> Result<Stat, Errno> {
        statat(self.parent, self.name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens it as a directory; a symbolic link is refused.
    ///
    /// # Errors
    /// Those of `openat(2)`; EMFILE beyond the depth that is walked.
    pub(super) fn open_directory(self) -> Result<OwnedFd, Errno> {
        if self.depth > DEPTH {
            return Err(Errno::MFILE);
        }
        dir::open_in(self.parent, self.name)
    }

    /// Opens it for reading; a symbolic link is refused.
    pub(super) fn open_file(self) -> Result<OwnedFd, Errno> {
        openat(self.parent, self.name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    /// Calls `visit` with every place in the directory that `directory` is, in the order of the names, until it says stop.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub(super) fn for_each(self, directory: &OwnedFd, mut visit: impl FnMut(Place<'_>) -> Walk) -> Result<Walk, Errno> {
        for entry in dir::entries(directory)? {
            let path: Vec<u8> = join(self.path, entry.name());
            let place = Place { parent: directory.as_fd(), name: entry.name(), path: &path, depth: self.depth + 1 };
            if visit(place) == Walk::Stop {
                return Ok(Walk::Stop);
            }
        }
        Ok(Walk::On)
    }
}

/// Whether a walk goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Stop,
}

/// The kind of file that `attributes` are of.
pub(super) fn kind(attributes: &Stat) -> FileType {
    FileType::from_raw_mode(attributes.st_mode)
}
