//! Advisory locks: POSIX record locks, open-file-description locks, and `flock(2)`.

use alloc::vec::Vec;

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

/// Who holds a record lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A process, by its descriptor table.
    Process(u64),
    /// An open file, by its number.
    OpenFile(u64),
}

/// A lock on the bytes from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) exclusive: bool,
    pub(crate) holder: Holder,
    pub(crate) pid: i32,
}

impl Record {
    const fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl Flock {
    /// The first and the last byte meant, `base` being where `whence` says.
    ///
    /// `EINVAL` before the beginning, `EOVERFLOW` past the largest offset.
    pub(crate) fn range(&self, base: i64) -> Result<(i64, i64)> {
        let start = base.checked_add(self.start).ok_or(Errno::EOVERFLOW)?;
        let (first, last) = match self.len {
            0 => (start, i64::MAX),
            len @ 1.. => (start, start.checked_add(len - 1).ok_or(Errno::EOVERFLOW)?),
            len => (start.checked_add(len).ok_or(Errno::EINVAL)?, start - 1),
        };
        if start < 0 || first < 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok((first, last))
    }
}

/// The locks on one inode.
#[derive(Debug, Default)]
pub(crate) struct LockList {
    records: Vec<Record>,
    /// `flock(2)`: by open file, and whether exclusive.
    whole: Vec<(u64, bool)>,
}

impl LockList {
    /// The first lock of another that is in the way of `wanted`.
    pub(crate) fn conflict(&self, wanted: &Record) -> Option<&Record> {
        let other = |record: &&Record| record.holder != wanted.holder && record.overlaps(wanted);
        let records = self.records.iter().filter(other).filter(|record| record.exclusive || wanted.exclusive);
        records.min_by_key(|record| record.first)
    }

    /// Takes a lock that nothing is in the way of, in place of the holder's own on the same bytes.
    pub(crate) fn set(&mut self, wanted: Record) -> Result<()> {
        self.clear(&wanted)?;
        let mut merged = wanted;
        self.records.retain(|record| {
            let adjoins = record.holder == merged.holder
                && record.exclusive == merged.exclusive
                && record.first <= merged.last.saturating_add(1)
                && merged.first <= record.last.saturating_add(1);
            if adjoins {
                merged.first = merged.first.min(record.first);
                merged.last = merged.last.max(record.last);
            }
            !adjoins
        });
        self.records.push(merged);
        Ok(())
    }

    /// Unlocks the bytes of `range` for its holder; a lock around them falls in two. `ENOLCK` without memory.
    pub(crate) fn clear(&mut self, range: &Record) -> Result<()> {
        self.records.try_reserve(2).map_err(|_| Errno::ENOLCK)?;
        let mut at = 0;
        while let Some(&record) = self.records.get(at) {
            if record.holder != range.holder || !record.overlaps(range) {
                at += 1;
                continue;
            }
            self.records.swap_remove(at);
            // What is left on either side does not overlap, so that it is passed over when its turn comes.
            if record.first < range.first {
                self.records.push(Record { last: range.first - 1, ..record });
            }
            if record.last > range.last {
                self.records.push(Record { first: range.last + 1, ..record });
            }
        }
        Ok(())
    }

    /// Drops all record locks of a holder; tells whether there were any.
    pub(crate) fn clear_all(&mut self, holder: Holder) -> bool {
        let before = self.records.len();
        self.records.retain(|record| record.holder != holder);
        before != self.records.len()
    }

    /// Whether an open file can have its `flock(2)` lock now; if so, it has.
    pub(crate) fn try_whole(&mut self, file: u64, exclusive: bool) -> bool {
        if !self.can_have_whole(file, exclusive) {
            return false;
        }
        self.clear_whole(file);
        self.whole.push((file, exclusive));
        true
    }

    pub(crate) fn can_have_whole(&self, file: u64, exclusive: bool) -> bool {
        !self.whole.iter().any(|&(other, theirs)| other != file && (theirs || exclusive))
    }

    /// Drops an open file's `flock(2)` lock; tells whether there was one.
    pub(crate) fn clear_whole(&mut self, file: u64) -> bool {
        let before = self.whole.len();
        self.whole.retain(|&(other, _)| other != file);
        before != self.whole.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn record(first: i64, last: i64, exclusive: bool, process: u64) -> Record {
        Record { first, last, exclusive, holder: Holder::Process(process), pid: process as i32 }
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let mut list = LockList::default();
        list.set(record(0, 99, true, 1)).unwrap();
        list.clear(&record(40, 59, true, 1)).unwrap();
        assert!(list.conflict(&record(40, 59, true, 2)).is_none());
        assert_eq!(list.conflict(&record(0, 59, false, 2)).unwrap().last, 39);
        assert_eq!(list.conflict(&record(50, 60, false, 2)).unwrap().first, 60);
    }

    #[test]
    fn neighbouring_locks_of_one_kind_become_one() {
        let mut list = LockList::default();
        for (first, last) in [(0, 9), (20, 29), (10, 19)] {
            list.set(record(first, last, false, 1)).unwrap();
        }
        assert_eq!(list.records, vec![record(0, 29, false, 1)]);
        list.set(record(5, 6, true, 1)).unwrap();
        assert_eq!(list.records.len(), 3);
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut list = LockList::default();
        list.set(record(0, 9, false, 1)).unwrap();
        assert!(list.conflict(&record(5, 5, false, 2)).is_none());
        assert!(list.conflict(&record(5, 5, true, 2)).is_some());
        assert!(list.conflict(&record(5, 5, true, 1)).is_none());
        assert!(list.try_whole(1, false) && list.try_whole(2, false) && !list.try_whole(3, true));
    }

    #[test]
    fn ranges_follow_struct_flock() {
        let flock = |start, len| Flock { kind: LockType::Read, whence: Whence::Set, start, len, pid: 0 };
        assert_eq!(flock(10, 5).range(0).unwrap(), (10, 14));
        assert_eq!(flock(10, 0).range(0).unwrap(), (10, i64::MAX));
        assert_eq!(flock(10, -5).range(0).unwrap(), (5, 9));
        assert_eq!(flock(-1, 1).range(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(flock(3, -4).range(0).unwrap_err(), Errno::EINVAL);
        assert_eq!(flock(i64::MAX, 2).range(0).unwrap_err(), Errno::EOVERFLOW);
    }
}
