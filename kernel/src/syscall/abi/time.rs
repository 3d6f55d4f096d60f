//! `struct timespec`, `struct timeval`, `struct utimbuf`.

use linux_raw_sys::general as linux;
use vfs::{Errno, Result, Timestamp};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::same_layout;

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct TimeSpec {
    /// Seconds.
    pub(crate) secs: i64,
    /// Nanoseconds, or a command such as `UTIME_NOW`.
    pub(crate) nanos: i64,
}

same_layout!(TimeSpec, linux::timespec { secs = tv_sec, nanos = tv_nsec });

impl TimeSpec {
    /// A span of time in nanoseconds, ended at the largest that fits.
    ///
    /// # Errors
    /// `EINVAL` where Linux says so: negative seconds, nanoseconds outside a second.
    pub(crate) fn to_nanos(self) -> Result<u64> {
        if self.secs < 0 || !(0..1_000_000_000).contains(&self.nanos) {
            return Err(Errno::EINVAL.into());
        }
        Ok((self.secs as u64).saturating_mul(1_000_000_000).saturating_add(self.nanos as u64))
    }

    /// The span of `nanos` nanoseconds.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self { secs: (nanos / 1_000_000_000) as i64, nanos: (nanos % 1_000_000_000) as i64 }
    }
}

impl From<Timestamp> for TimeSpec {
    fn from(time: Timestamp) -> Self {
        Self { secs: time.secs, nanos: time.nanos.into() }
    }
}

/// `struct timeval`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct TimeVal {
    /// Seconds.
    pub(crate) secs: i64,
    /// Microseconds.
    pub(crate) micros: i64,
}

same_layout!(TimeVal, linux::timeval { secs = tv_sec, micros = tv_usec });

impl TimeVal {
    /// The span of `nanos` nanoseconds, cut to microseconds.
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self { secs: (nanos / 1_000_000_000) as i64, micros: (nanos % 1_000_000_000 / 1000) as i64 }
    }

    /// The point in time.
    ///
    /// # Errors
    /// `EINVAL` for microseconds outside a second.
    pub(crate) fn to_timestamp(self) -> Result<Timestamp> {
        if !(0..1_000_000).contains(&self.micros) {
            return Err(Errno::EINVAL.into());
        }
        Ok(Timestamp { secs: self.secs, nanos: self.micros as u32 * 1000 })
    }
}

/// `struct timezone`: always zero here.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct TimeZone {
    minutes_west: i32,
    dst: i32,
}

/// `struct utimbuf`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct Utimbuf {
    /// Last access, in seconds.
    pub(crate) atime: i64,
    /// Last change, in seconds.
    pub(crate) mtime: i64,
}
