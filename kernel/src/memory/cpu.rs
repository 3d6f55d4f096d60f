//! What the processor can do.

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, Ordering};

/// An ability that not every processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// User pages are not executable by the kernel.
    Smep,
    /// User pages are not readable by the kernel, except between `stac` and `clac`.
    Smap,
    /// Users cannot read the descriptor tables' addresses.
    Umip,
    /// `wrfsbase` and its like.
    FsGsBase,
    /// `rdrand`.
    RdRand,
    /// The local APIC's timer can fire at a value of the time-stamp counter.
    TscDeadline,
    /// One-gigabyte pages.
    GigabytePages,
}

const ALL: [Feature; 7] = [
    Feature::Smep,
    Feature::Smap,
    Feature::Umip,
    Feature::FsGsBase,
    Feature::RdRand,
    Feature::TscDeadline,
    Feature::GigabytePages,
];

static FEATURES: AtomicU32 = AtomicU32::new(0);

/// Asks the processor once; `cpuid` leaves the virtual machine, so it is not asked again.
pub(super) fn init() {
    let highest = __cpuid(0).eax;
    let basic = __cpuid(1);
    let (ebx7, ecx7) = if highest >= 7 {
        let leaf = __cpuid_count(7, 0);
        (leaf.ebx, leaf.ecx)
    } else {
        (0, 0)
    };
    let extended = if __cpuid(0x8000_0000).eax >= 0x8000_0001 { __cpuid(0x8000_0001).edx } else { 0 };
    let found = ALL
        .into_iter()
        .filter(|feature| {
            let (register, bit) = match feature {
                Feature::Smep => (ebx7, 7),
                Feature::Smap => (ebx7, 20),
                Feature::Umip => (ecx7, 2),
                Feature::FsGsBase => (ebx7, 0),
                Feature::RdRand => (basic.ecx, 30),
                Feature::TscDeadline => (basic.ecx, 24),
                Feature::GigabytePages => (extended, 26),
            };
            register & (1 << bit) != 0
        })
        .fold(0, |set, feature| set | 1 << feature as u32);
    FEATURES.store(found, Ordering::Relaxed);
}

/// Whether the processor has `feature`. False for all before the memory is set up.
pub(crate) fn has(feature: Feature) -> bool {
    FEATURES.load(Ordering::Relaxed) & (1 << feature as u32) != 0
}
