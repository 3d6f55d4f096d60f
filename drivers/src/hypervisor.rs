//! Who runs the machine, as CPUID's leaf 0x4000_0000 tells.

use core::arch::x86_64::__cpuid;

/// Who runs the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// Linux's KVM.
    Kvm,
    /// QEMU's own emulation: there is no processor of this kind.
    Tcg,
    /// Another one.
    Other,
    /// Nobody: it is real.
    None,
}

/// Asks the processor.
#[must_use]
pub fn hypervisor() -> Hypervisor {
    if __cpuid(1).ecx & 1 << 31 == 0 {
        return Hypervisor::None;
    }
    let leaf = __cpuid(0x4000_0000);
    match (leaf.ebx.to_le_bytes(), leaf.ecx.to_le_bytes(), leaf.edx.to_le_bytes()) {
        ([b'K', b'V', b'M', b'K'], [b'V', b'M', b'K', b'V'], [b'M', 0, 0, 0]) => Hypervisor::Kvm,
        ([b'T', b'C', b'G', b'T'], [b'C', b'G', b'T', b'C'], [b'G', b'T', b'C', b'G']) => Hypervisor::Tcg,
        _ => Hypervisor::Other,
    }
}
