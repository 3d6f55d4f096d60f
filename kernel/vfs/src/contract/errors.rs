//! Errors of write-back, each told to every open file once (Linux's `errseq_t`, `lib/errseq.c`).
//!
//! Data is written to the medium long after `write(2)` has returned, by whoever happens to do it. If that fails, the filesystem
//! [records](ErrorSequence::record) it at the file. Every open file keeps what it was [`Told`]: its next `fsync(2)` reports
//! what is new to it, once.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::{Errno, Error, NodeOps, Result, SyncKind};

/// Set once somebody was told of the last error: the next one counts anew.
const TOLD: u64 = 1;
/// One error.
const ERROR: u64 = 2;

/// The errors of a file, or of a whole filesystem: how many there were, as far as somebody was told in between.
#[derive(Debug, Default)]
pub struct ErrorSequence(AtomicU64);

/// What an open file has been told of.
#[derive(Debug, Default)]
pub struct Told(AtomicU64);

impl ErrorSequence {
    /// Something that was written is lost. Returns whether it is news: nobody was waiting to be told of another.
    pub fn record(&self) -> bool {
        let count = |now| (now == 0 || now & TOLD != 0).then(|| (now & !TOLD) + ERROR);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, count).is_ok()
    }

    /// What an open file that begins now has been told of: everything, but for an error that nobody was told of.
    #[must_use]
    pub fn sample(&self) -> Told {
        let now = self.0.load(Ordering::Acquire);
        Told(AtomicU64::new(if now & TOLD != 0 { now } else { 0 }))
    }

    /// Whether somebody is to be told of an error that nobody was told of.
    #[must_use]
    pub fn is_untold(&self) -> bool {
        let now = self.0.load(Ordering::Acquire);
        now != 0 && now & TOLD == 0
    }

    /// Whether there was an error that an open file was not told of.
    #[must_use]
    pub fn is_news(&self, told: &Told) -> bool {
        let now = self.0.load(Ordering::Acquire);
        now != 0 && now | TOLD != told.0.load(Ordering::Acquire)
    }

    /// Tells an open file, once.
    ///
    /// # Errors
    /// `EIO` if there was an error that it was not told of.
    pub fn tell(&self, told: &Told) -> Result<()> {
        if !self.is_news(told) {
            return Ok(());
        }
        let now = self.0.fetch_or(TOLD, Ordering::AcqRel) | TOLD;
        // Of two calls that come here together one tells.
        match told.0.swap(now, Ordering::AcqRel) {
            before if before == now => Ok(()),
            _ => Err(Error::new(Errno::EIO, "data that was written is lost")),
        }
    }
}

/// `fsync(2)` for an open file that was told so much: makes what was changed durable, and tells what is new.
///
/// # Errors
/// As [`NodeOps::sync`]; `EIO` as [`ErrorSequence::tell`].
pub fn sync_and_tell(node: &dyn NodeOps, kind: SyncKind, told: &Told) -> Result<()> {
    let synced = node.sync(kind);
    let news = node.write_errors().map_or(Ok(()), |errors| errors.tell(told));
    synced.and(news)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_file_is_told_of_an_error_once() {
        let errors = ErrorSequence::default();
        let (first, second) = (errors.sample(), errors.sample());
        assert_eq!(errors.tell(&first), Ok(()));
        assert!(errors.record() && errors.is_untold());
        assert!(!errors.record(), "one report is enough for both");
        assert_eq!(errors.tell(&first).unwrap_err(), Errno::EIO);
        assert_eq!(errors.tell(&first), Ok(()));
        assert!(errors.is_news(&second) && !errors.is_untold());
        assert_eq!(errors.tell(&second).unwrap_err(), Errno::EIO);
        assert_eq!(errors.tell(&second), Ok(()));
        assert!(errors.record());
        assert_eq!((errors.tell(&first).is_err(), errors.tell(&second).is_err()), (true, true));
    }

    #[test]
    fn who_comes_later_is_told_only_of_what_nobody_was_told_of() {
        let errors = ErrorSequence::default();
        errors.record();
        let before_any_report = errors.sample();
        assert!(errors.tell(&before_any_report).is_err());
        assert_eq!(errors.tell(&errors.sample()), Ok(()));
    }
}
