//! Advisory locks: POSIX record locks, open-file-description locks, and `flock(2)`.

use crate::{Errno, Result};

/// Where an offset counts from (`lseek(2)`, `struct flock`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// The beginning.
    Set,
    /// The current position.
    Current,
    /// The end.
    End,
    /// The next data at or after the offset.
    Data,
    /// The next hole at or after the offset.
    Hole,
}

impl Whence {
    /// From `SEEK_*` as `lseek(2)` takes them.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn from_raw(whence: u32) -> Result<Self> {
        Ok(match whence {
            0 => Self::Set,
            1 => Self::Current,
            2 => Self::End,
            3 => Self::Data,
            4 => Self::Hole,
            _ => return Err(Errno::EINVAL.into()),
        })
    }
}

/// What a record lock is to be, or is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockType {
    /// `F_RDLCK`.
    Read,
    /// `F_WRLCK`.
    Write,
    /// `F_UNLCK`.
    Unlock,
}

/// `struct flock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flock {
    /// What lock.
    pub kind: LockType,
    /// Where `start` counts from: `Set`, `Current` or `End`.
    pub whence: Whence,
    /// The first byte.
    pub start: i64,
    /// How many bytes: 0 for all to come, negative for those before `start`.
    pub len: i64,
    /// Who holds the lock that is in the way (answers only; -1 for an open file's lock).
    pub pid: i32,
}

/// Whose a record lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockOwner {
    /// The process's (`F_SETLK`): gone when it closes any descriptor of the file.
    Process,
    /// The open file's (`F_OFD_SETLK`): gone with it.
    OpenFile,
}

/// What a call does where it would have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    /// `EAGAIN`.
    No,
    /// It waits.
    Yes,
}

/// What `flock(2)` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlockOp {
    /// `LOCK_SH`.
    Shared,
    /// `LOCK_EX`.
    Exclusive,
    /// `LOCK_UN`.
    Unlock,
}

#[derive(Default)]
pub(crate) struct LockList;
