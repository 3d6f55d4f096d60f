//! Bulk data: a program's buffer, lent to a filesystem as one slice.
//!
//! The pages are made present first, with the rights that the transfer needs, and the filesystem then gets a slice over
//! the program's own addresses: data go straight from the archive or the cache to where the program wants them.
//!
//! Why the slice is sound:
//! - Nothing waits while it is lent: what may wait for others, as pipes and terminals do, goes through a buffer of the kernel's
//!   ([`crate::syscall`]'s transfers). So no other program runs meanwhile; threads assert it ([`is_lent`]).
//! - Its pages stay: its own program is inside this very call, and another, which could take a shared page away by cutting the
//!   file, does not run.
//! - It has no alias: the kernel holds no reference into pages of programs outside these calls but while it writes shared pages
//!   to their file or reads them again, before and after a call lends; filesystems do not know them, and one call lends one
//!   slice at a time.
//! - It may be any bytes: `u8` has no invalid values, and no other processor or device writes there.

use core::sync::atomic::{AtomicBool, Ordering};

use vfs::{Errno, Result};

use super::copy::{self, Access};
use crate::task::{self, Rights};

/// The most that one call transfers, in bytes (`MAX_RW_COUNT`): what is asked beyond is left undone, as on Linux.
pub(crate) const MAX_TRANSFER: usize = 0x7fff_f000;

/// How much is made present and lent at a time, in bytes: a program that reads a small file into a huge buffer does not
/// pay for the buffer.
const LENT_AT_ONCE: usize = 2 << 20;

static LENT: AtomicBool = AtomicBool::new(false);

/// Whether memory of a program is lent right now: then nothing may wait.
#[inline]
pub(crate) fn is_lent() -> bool {
    LENT.load(Ordering::Relaxed)
}

/// While it lives a program's memory is lent.
struct Lent(Access);

impl Lent {
    #[inline]
    fn new() -> Self {
        LENT.store(true, Ordering::Relaxed);
        Self(Access::new())
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        LENT.store(false, Ordering::Relaxed);
    }
}

/// A range of a program's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserBytes {
    address: u64,
    length: usize,
}

impl UserBytes {
    /// A claim of `length` bytes, of which [`MAX_TRANSFER`] count. One that reaches out of user addresses is wrong from its
    /// first byte on, as on Linux.
    pub(crate) fn new(address: u64, length: usize) -> Self {
        let address = if copy::is_user(address, length) { address } else { u64::MAX };
        Self { address, length: length.min(MAX_TRANSFER) }
    }

    /// A claim of any length.
    pub(crate) const fn whole(address: u64, length: usize) -> Self {
        Self { address, length }
    }

    /// Its length in bytes.
    pub(crate) const fn len(self) -> usize {
        self.length
    }

    /// Whether it is empty.
    pub(crate) const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// What follows its first `count` bytes.
    pub(crate) fn skip(self, count: usize) -> Self {
        let count = count.min(self.length);
        Self { address: self.address.wrapping_add(count as u64), length: self.length - count }
    }

    /// Its first `count` bytes at most.
    pub(crate) fn take(self, count: usize) -> Self {
        Self { length: self.length.min(count), ..self }
    }

    /// Has its pages there for `access`, as far as they can be, and tells how many bytes that is.
    ///
    /// # Errors
    /// `EFAULT`, `ENOMEM` for the first byte.
    pub(crate) fn prefault(self, access: Rights) -> Result<usize> {
        if self.length == 0 { Ok(0) } else { task::prefault(self.address, self.length, access) }
    }

    /// Lends it to `fill`, piece by piece, until it is full or `fill` fills less than it got; returns how much was filled.
    /// `fill` is called at least once, with nothing if the claim is empty.
    ///
    /// # Errors
    /// `EFAULT` where not even the first byte can be written; what `fill` answers, if that is the first piece.
    pub(crate) fn with_mut(self, mut fill: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<usize> {
        self.transfer(Rights::WRITE, |address, length| {
            let _lent = Lent::new();
            // SAFETY: the pages were just made present and writable; see the head of this module for the rest.
            fill(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, length) })
        })
    }

    /// As [`with_mut`](Self::with_mut), to be read.
    ///
    /// # Errors
    /// `EFAULT` where not even the first byte can be read; what `take` answers, if that is the first piece.
    pub(crate) fn with(self, mut take: impl FnMut(&[u8]) -> Result<usize>) -> Result<usize> {
        self.transfer(Rights::READ, |address, length| {
            let _lent = Lent::new();
            // SAFETY: as above, present and readable.
            take(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
        })
    }

    fn transfer(self, access: Rights, mut lend: impl FnMut(u64, usize) -> Result<usize>) -> Result<usize> {
        if self.length == 0 {
            // A slice of nothing needs an address all the same.
            return lend(PAGE, 0);
        }
        let mut done = 0;
        while done < self.length {
            let address = self.address.wrapping_add(done as u64);
            let wanted = (self.length - done).min(LENT_AT_ONCE);
            let outcome = task::prefault(address, wanted, access).and_then(|ready| Ok((ready, lend(address, ready)?)));
            match outcome {
                Ok((ready, count)) => {
                    done += count;
                    if count < ready {
                        break;
                    }
                }
                // What was transferred counts; the fault comes again with the next call.
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Puts `bytes` at its front, as many as fit; returns how many.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<usize> {
        let length = bytes.len().min(self.length);
        copy::to_user(self.address, &bytes[..length])?;
        Ok(length)
    }

    /// Fills `bytes` from its front.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` where the claim is shorter.
    pub(crate) fn read(self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() > self.length {
            return Err(Errno::EINVAL.into());
        }
        // SAFETY: the destination is a slice.
        unsafe { copy::from_user(bytes.as_mut_ptr(), self.address, bytes.len()) }
    }
}

/// Any address that a slice may have; nothing is read there.
const PAGE: u64 = boot::layout::PAGE_SIZE;
