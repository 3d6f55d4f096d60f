//! What the filesystem may use, and what it uses: bytes and inodes, each with an optional limit.
//!
//! A [`Charge`] gives back what it took when it is dropped, unless it is [kept](Charge::keep): preparation fails
//! without a trace. Lock-free, so it can be used under any lock.

use core::sync::atomic::{AtomicU64, Ordering};

use vfs::{Errno, Error, Result};

/// One resource.
#[derive(Debug)]
pub(crate) struct Quota {
    used: AtomicU64,
    limit: Option<u64>,
    exhausted: &'static str,
}

impl Quota {
    pub(crate) const fn new(limit: Option<u64>, exhausted: &'static str) -> Self {
        Self { used: AtomicU64::new(0), limit, exhausted }
    }

    /// Takes `amount`, or answers `ENOSPC` and takes nothing.
    pub(crate) fn charge(&self, amount: u64) -> Result<Charge<'_>> {
        let limit = self.limit.unwrap_or(u64::MAX);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|&sum| sum <= limit)
            })
            .map_err(|_| Error::new(Errno::ENOSPC, self.exhausted))?;
        Ok(Charge { quota: self, amount })
    }

    /// Gives back what a kept charge took.
    pub(crate) fn release(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(crate) const fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub(crate) fn free(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used()))
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// What was taken from a [`Quota`], not yet for good.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    quota: &'a Quota,
    amount: u64,
}

impl Charge<'_> {
    /// Makes `amount` of it final; whoever owns the resource releases it later.
    pub(crate) fn keep_part(&mut self, amount: u64) {
        self.amount = self.amount.saturating_sub(amount);
    }

    /// Makes it final.
    pub(crate) fn keep(mut self) {
        self.amount = 0;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if self.amount != 0 {
            self.quota.release(self.amount);
        }
    }
}
