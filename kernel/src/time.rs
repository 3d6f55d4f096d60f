//! Time: the monotonic clock, the wall clock, waiting for a moment.
//!
//! The monotonic clock counts nanoseconds from the kernel's first instruction. The wall clock is the monotonic one plus
//! what the real-time clock said at boot. One timer interrupt is programmed at a time, for the earliest moment that
//! anybody waits for; whoever waits is asked again after it and programs the next.

use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use core::time::Duration;

use base::time::{NANOS_PER_SEC, Timestamp};
use drivers::acpi::Acpi;
use drivers::clock::{Calibration, Clock, Rates};
use drivers::{IrqMutex, apic, clock, rtc};
use spin::Once;

use crate::task;
use crate::traps::irq;

static CLOCK: Clock = Clock::new();
static MEASURED: Once<(IrqMutex<Calibration>, Rates)> = Once::new();
static REFINED: AtomicBool = AtomicBool::new(false);

/// Nanoseconds of the wall clock when the monotonic clock was at 0.
static WALL: AtomicI64 = AtomicI64::new(0);

static TIMER_VECTOR: Once<u8> = Once::new();
/// The moment that the timer is programmed for.
static ARMED: AtomicU64 = AtomicU64::new(u64::MAX);

/// When the rate is measured again.
const REFINE_AFTER: u64 = 1_000_000_000;

/// The time-stamp counter now.
pub(crate) fn tsc() -> u64 {
    clock::tsc()
}

/// Starts measuring; the interrupt controllers must be set up.
pub(crate) fn begin(acpi: &Acpi) -> Calibration {
    Calibration::start(acpi)
}

/// Ends measuring and starts both clocks. `entry_tsc` was 0.
pub(crate) fn init(calibration: Calibration, acpi: &Acpi, entry_tsc: u64) -> Rates {
    let rates = calibration.finish();
    CLOCK.start(entry_tsc, rates.tsc);
    MEASURED.call_once(|| (IrqMutex::new(calibration), rates));
    if let Some(vector) = irq::register(on_interrupt, 0) {
        TIMER_VECTOR.call_once(|| vector);
    }
    match rtc::now(acpi.century) {
        Some(seconds) => {
            let nanos = seconds.saturating_mul(NANOS_PER_SEC.into());
            WALL.store(nanos.saturating_sub_unsigned(monotonic()), Ordering::Relaxed);
        }
        None => log::warn!("no real-time clock: the date is 1970-01-01"),
    }
    rates
}

/// The timer's interrupt: who waits is asked again, and what is due is done before a program goes on.
fn on_interrupt(_: usize) {
    ARMED.store(u64::MAX, Ordering::Relaxed);
    task::request_attention();
}

/// The time from the kernel's first instruction to `tsc`; `None` before the clock runs.
pub(crate) fn since_boot_at(tsc: u64) -> Option<Duration> {
    CLOCK.at(tsc).map(Duration::from_nanos)
}

/// Nanoseconds since the kernel's first instruction; 0 before the clock runs.
pub(crate) fn monotonic() -> u64 {
    let nanos = CLOCK.at(tsc()).unwrap_or(0);
    if nanos > REFINE_AFTER && !REFINED.load(Ordering::Relaxed) {
        refine();
    }
    nanos
}

#[cold]
fn refine() {
    let Some((calibration, rates)) = MEASURED.get() else { return };
    let calibration = calibration.lock();
    if !REFINED.swap(true, Ordering::Relaxed)
        && let Some(rate) = CLOCK.refine(&calibration, rates.tsc)
    {
        log::debug!("time-stamp counter: {} Hz, at first taken for {}", rate, rates.tsc);
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let nanos = WALL.load(Ordering::Relaxed).saturating_add_unsigned(monotonic());
    let second = i64::from(NANOS_PER_SEC);
    Timestamp { secs: nanos.div_euclid(second), nanos: nanos.rem_euclid(second) as u32 }
}

/// Sets the wall clock, not the real-time clock.
pub(crate) fn set_now(time: Timestamp) {
    let nanos = time.secs.saturating_mul(NANOS_PER_SEC.into()).saturating_add(time.nanos.into());
    WALL.store(nanos.saturating_sub_unsigned(monotonic()), Ordering::Relaxed);
}

/// Whether `deadline` has passed; if not, an interrupt will come when it does. For conditions of `wait::until`
/// that have an end in time.
pub(crate) fn is_due(deadline: u64) -> bool {
    let now = monotonic();
    if now >= deadline {
        return true;
    }
    arm(deadline, now);
    false
}

fn arm(deadline: u64, now: u64) {
    if ARMED.load(Ordering::Relaxed) <= deadline {
        return;
    }
    let (Some(&vector), Some((_, rates))) = (TIMER_VECTOR.get(), MEASURED.get()) else { return };
    // The counter has 32 bits: a far moment is approached in steps. It is never 0, which would stop the timer.
    let ticks = u128::from(deadline - now) * u128::from(rates.apic) / u128::from(NANOS_PER_SEC) + 1;
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    ARMED.store(deadline, Ordering::Relaxed);
    apic::start_timer(vector, ticks);
}
