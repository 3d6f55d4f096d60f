//! Time: the monotonic clock and the wall clock.

use core::time::Duration;

/// The time-stamp counter now.
pub(crate) fn tsc() -> u64 {
    // SAFETY: `rdtsc` is in every 64-bit processor and has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time from the kernel's first instruction to `tsc`; `None` before the clock runs.
pub(crate) fn since_boot_at(_tsc: u64) -> Option<Duration> {
    Some(Duration::from_micros(_tsc / 2000))
}
