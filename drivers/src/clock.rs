//! The monotonic clock: the time-stamp counter, its rate measured against a timer whose rate is known.
//!
//! The processor or the hypervisor may tell the rate (CPUID leaves 0x15 and 0x4000_0010). Otherwise [`Calibration`] takes
//! a reading of both counters at the start of the boot and one at the end, so that measuring costs no
//! waiting, and [`Clock::refine`] a third one long after, which makes an error of a microsecond negligible. Each
//! reading is the best of several: an emulator or a hypervisor may be interrupted between the two counters.

use core::arch::x86_64::{__cpuid, _rdtsc};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::acpi::{Acpi, PmTimer};
use crate::hypervisor::{Hypervisor, hypervisor};
use crate::{apic, platform, port};

/// The ACPI timer's rate in hertz (ACPI 4.8.3.3).
const PM_TIMER_RATE: u64 = 3_579_545;
/// The programmable interval timer's rate in hertz.
const PIT_RATE: u64 = 1_193_182;
/// The rate of the local APIC's timer under QEMU's own emulation and under KVM, in hertz.
const VIRTUAL_APIC_RATE: u64 = 1_000_000_000;

/// The shortest time between the two readings, in nanoseconds: a microsecond of error is then 0.05 %.
const SHORTEST: u64 = 2_000_000;

/// How many pairs a reading is the best of.
const PAIRS: usize = 5;

/// The time-stamp counter now.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: `rdtsc` is in every 64-bit processor and has no effect.
    unsafe { _rdtsc() }
}

/// The time-stamp counter's rate in hertz, if the processor or the hypervisor tells it.
fn told_rate() -> Option<u64> {
    if hypervisor() != Hypervisor::None && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        let kilohertz = u64::from(__cpuid(0x4000_0010).eax);
        if kilohertz != 0 {
            return Some(kilohertz * 1000);
        }
    }
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        let (denominator, numerator, crystal) = (u64::from(leaf.eax), u64::from(leaf.ebx), u64::from(leaf.ecx));
        if denominator != 0 && numerator != 0 && crystal != 0 {
            return Some(crystal * numerator / denominator);
        }
    }
    None
}

/// A counter of known rate.
#[derive(Debug, Clone, Copy)]
enum Reference {
    Pm(PmTimer),
    Hpet { counter: NonNull<u64>, rate: u64 },
    Apic,
    Pit,
}

// SAFETY: the pointer is to a device register that is only read.
unsafe impl Send for Reference {}

impl Reference {
    /// The best that the machine has. The interval timer comes last: its readings take three port accesses, and it
    /// is not on every machine.
    fn choose(acpi: &Acpi) -> Self {
        if let Some(timer) = acpi.pm_timer {
            return Self::Pm(timer);
        }
        if matches!(hypervisor(), Hypervisor::Kvm | Hypervisor::Tcg) {
            return Self::Apic;
        }
        acpi.hpet.and_then(Self::hpet).unwrap_or_else(|| {
            start_pit();
            Self::Pit
        })
    }

    fn hpet(address: u64) -> Option<Self> {
        let registers = platform::get()?.map_device(address, 1024)?;
        // SAFETY: the HPET's registers, just mapped: capabilities, then the configuration, whose lowest bit
        // starts the main counter. It interrupts nobody.
        let femtoseconds = unsafe {
            let configuration = registers.add(0x10).cast::<u64>();
            configuration.write_volatile(configuration.read_volatile() | 1);
            registers.cast::<u64>().read_volatile() >> 32
        };
        let rate = 1_000_000_000_000_000_u64.checked_div(femtoseconds)?;
        // SAFETY: the main counter's offset, within the mapping.
        let counter = unsafe { registers.add(0xf0).cast() };
        (rate != 0).then_some(Self::Hpet { counter, rate })
    }

    fn rate(self) -> u64 {
        match self {
            Self::Pm(_) => PM_TIMER_RATE,
            Self::Hpet { rate, .. } => rate,
            Self::Apic => VIRTUAL_APIC_RATE,
            Self::Pit => PIT_RATE,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Self::Pm(timer) => timer.bits,
            Self::Hpet { .. } | Self::Apic => 32,
            Self::Pit => 16,
        }
    }

    /// The counter, made to go upwards, within its bits.
    fn read(self) -> u64 {
        let value = match self {
            // SAFETY: reading the timer's port has no effect.
            Self::Pm(timer) => u64::from(unsafe { port::read32(timer.port) }),
            // SAFETY: `hpet` mapped the counter.
            Self::Hpet { counter, .. } => unsafe { counter.as_ptr().read_volatile() },
            Self::Apic => u64::from(!apic::counter()),
            Self::Pit => u64::from(!read_pit()),
        };
        value & self.mask()
    }

    fn mask(self) -> u64 {
        (1 << self.bits()) - 1
    }

    fn name(self) -> &'static str {
        match self {
            Self::Pm(_) => "the ACPI timer",
            Self::Hpet { .. } => "the HPET",
            Self::Apic => "the APIC timer",
            Self::Pit => "the interval timer",
        }
    }
}

/// Lets channel 2 of the interval timer count down through all 16 bits, its loudspeaker off.
fn start_pit() {
    // SAFETY: the timer's ports and the gate of its channel 2, which nothing else uses.
    unsafe {
        port::write8(0x61, port::read8(0x61) & !0x02 | 0x01);
        port::write8(0x43, 0xb4);
        port::write8(0x42, 0);
        port::write8(0x42, 0);
    }
}

fn read_pit() -> u16 {
    // SAFETY: latching and reading the counter has no effect.
    unsafe {
        port::write8(0x43, 0x80);
        let low = port::read8(0x42);
        u16::from_le_bytes([low, port::read8(0x42)])
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    tsc: u64,
    reference: u64,
    apic: u64,
}

impl Reading {
    fn take(reference: Reference) -> Self {
        let mut best = (u64::MAX, Self { tsc: 0, reference: 0, apic: 0 });
        for _ in 0..PAIRS {
            let before = tsc();
            let value = reference.read();
            let after = tsc();
            let apic = u64::from(!apic::counter());
            let width = after.wrapping_sub(before);
            if width < best.0 {
                best = (width, Self { tsc: before.wrapping_add(width / 2), reference: value, apic });
            }
        }
        best.1
    }
}

/// A measurement under way.
#[derive(Debug)]
pub struct Calibration {
    reference: Reference,
    start: Reading,
}

/// What a measurement found.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Of the time-stamp counter, in hertz.
    pub tsc: u64,
    /// Of the local APIC's timer, in hertz.
    pub apic: u64,
    /// Where the rate comes from.
    pub source: &'static str,
}

impl Calibration {
    /// Takes the first readings. The local APIC must be set up; its timer is used until [`Self::finish`].
    #[must_use]
    pub fn start(acpi: &Acpi) -> Self {
        apic::start_counter();
        let reference = Reference::choose(acpi);
        Self { reference, start: Reading::take(reference) }
    }

    /// Takes the second readings, at least two milliseconds after the first: if less has passed, waits.
    #[must_use]
    pub fn finish(&self) -> Rates {
        let reference = self.reference;
        let rate = reference.rate();
        let shortest = rate * SHORTEST / 1_000_000_000;
        let mut now = Reading::take(reference);
        // Bounded: a timer that stands still must not hang the boot.
        for _ in 0..1_000_000 {
            if now.reference.wrapping_sub(self.start.reference) & reference.mask() >= shortest {
                break;
            }
            core::hint::spin_loop();
            now = Reading::take(reference);
        }
        let ticks = (now.reference.wrapping_sub(self.start.reference) & reference.mask()).max(1);
        let scale = |count: u64| (u128::from(count) * u128::from(rate) / u128::from(ticks)) as u64;
        let measured = scale(now.tsc.wrapping_sub(self.start.tsc)).max(1);
        let apic = match reference {
            Reference::Apic => VIRTUAL_APIC_RATE,
            _ => scale(now.apic.wrapping_sub(self.start.apic) & 0xffff_ffff).max(1),
        };
        match told_rate() {
            Some(tsc) => Rates { tsc, apic, source: "the processor" },
            None => Rates { tsc: measured, apic, source: reference.name() },
        }
    }

    /// The rate over the whole time since [`Self::start`], given the first estimate: how often the reference has
    /// wrapped around since is known from that. `None` when the processor told the rate or the reference is in use
    /// otherwise.
    fn long_rate(&self, estimate: u64) -> Option<u64> {
        if matches!(self.reference, Reference::Apic | Reference::Pit) || told_rate().is_some() {
            return None;
        }
        let now = Reading::take(self.reference);
        let elapsed = u128::from(now.tsc.wrapping_sub(self.start.tsc));
        let rate = u128::from(self.reference.rate());
        let expected = elapsed * rate / u128::from(estimate.max(1));
        let wrap = 1_u128 << self.reference.bits();
        let low = u128::from(now.reference.wrapping_sub(self.start.reference) & self.reference.mask());
        let wraps = (expected + wrap / 2).saturating_sub(low) / wrap;
        let ticks = wraps * wrap + low;
        u64::try_from(elapsed * rate / ticks.max(1)).ok()
    }
}

/// Nanoseconds since the kernel's first instruction, by the time-stamp counter.
///
/// Readers see a consistent state through a version number that is odd while it changes. There is one writer.
#[derive(Debug)]
pub struct Clock {
    version: AtomicU64,
    base_tsc: AtomicU64,
    base_nanos: AtomicU64,
    /// Nanoseconds a tick, times 2^32; 0 before the clock runs.
    scale: AtomicU64,
}

impl Clock {
    /// A clock that does not run yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            base_tsc: AtomicU64::new(0),
            base_nanos: AtomicU64::new(0),
            scale: AtomicU64::new(0),
        }
    }

    /// Starts it: 0 was at `tsc`, and a second has `rate` ticks.
    pub fn start(&self, tsc: u64, rate: u64) {
        self.set(tsc, 0, rate);
    }

    /// The nanoseconds at `tsc`; `None` before the clock runs. A moment before the last adjustment is reckoned
    /// from there.
    #[must_use]
    pub fn at(&self, tsc: u64) -> Option<u64> {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let base_tsc = self.base_tsc.load(Ordering::Acquire);
            let base_nanos = self.base_nanos.load(Ordering::Acquire);
            let scale = self.scale.load(Ordering::Acquire);
            if version & 1 == 0 && version == self.version.load(Ordering::Acquire) {
                let scaled = |ticks: u64| ((u128::from(ticks) * u128::from(scale)) >> 32) as u64;
                let nanos = match tsc.checked_sub(base_tsc) {
                    Some(ticks) => base_nanos.saturating_add(scaled(ticks)),
                    None => base_nanos.saturating_sub(scaled(base_tsc - tsc)),
                };
                return (scale != 0).then_some(nanos);
            }
            core::hint::spin_loop();
        }
    }

    /// Corrects the rate by what `calibration` sees now, from this moment on, so that time never goes back. To be
    /// called once, a second or more after the start; returns the new rate in hertz if there is one.
    pub fn refine(&self, calibration: &Calibration, rate: u64) -> Option<u64> {
        let better = calibration.long_rate(rate)?;
        // A correction of more than a hundredth is no correction but a fault of the reference.
        if better.abs_diff(rate) > rate / 100 {
            return None;
        }
        let now = tsc();
        let nanos = self.at(now)?;
        self.set(now, nanos, better);
        Some(better)
    }

    fn set(&self, tsc: u64, nanos: u64, rate: u64) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.base_tsc.store(tsc, Ordering::Release);
        self.base_nanos.store(nanos, Ordering::Release);
        self.scale.store(((1_000_000_000_u128 << 32) / u128::from(rate.max(1))) as u64, Ordering::Release);
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_not_started_gives_no_time() {
        assert_eq!(Clock::new().at(5), None);
    }

    #[test]
    fn ticks_become_nanoseconds() {
        let clock = Clock::new();
        clock.start(1000, 2_000_000_000);
        assert_eq!(clock.at(1000), Some(0));
        assert_eq!(clock.at(3000), Some(1000));
        assert_eq!(clock.at(1000 + 2_000_000_000 * 86_400), Some(86_400_000_000_000));
    }

    #[test]
    fn changing_the_rate_does_not_move_the_present() {
        let clock = Clock::new();
        clock.start(0, 1_000_000_000);
        clock.set(500, clock.at(500).unwrap(), 500_000_000);
        assert_eq!(clock.at(500), Some(500));
        assert_eq!(clock.at(600), Some(700));
        assert_eq!(clock.at(400), Some(300));
    }
}
