//! I/O ports.

use core::arch::asm;

/// Reads a byte from `port`.
///
/// # Safety
///
/// Reading the port must have no effect that breaks memory safety or another driver's state.
#[must_use]
pub unsafe fn read8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller answers for the device's side; the instruction touches no memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads 16 bits from `port`.
///
/// # Safety
///
/// As [`read8`].
#[must_use]
pub unsafe fn read16(port: u16) -> u16 {
    let value: u16;
    // SAFETY: as in `read8`.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Reads 32 bits from `port`.
///
/// # Safety
///
/// As [`read8`].
#[must_use]
pub unsafe fn read32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as in `read8`.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a byte to `port`.
///
/// # Safety
///
/// Writing the port must have no effect that breaks memory safety or another driver's state.
pub unsafe fn write8(port: u16, value: u8) {
    // SAFETY: the caller answers for the device's side; the instruction touches no memory of ours.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes 16 bits to `port`.
///
/// # Safety
///
/// As [`write8`].
pub unsafe fn write16(port: u16, value: u16) {
    // SAFETY: as in `write8`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes 32 bits to `port`.
///
/// # Safety
///
/// As [`write8`].
pub unsafe fn write32(port: u16, value: u32) {
    // SAFETY: as in `write8`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes all of `bytes` to `port`, one after the other, with one instruction: under hardware
/// virtualisation that is one exit instead of one a byte.
///
/// # Safety
///
/// As [`write8`].
pub unsafe fn write_all8(port: u16, bytes: &[u8]) {
    // SAFETY: the instruction reads `bytes.len()` bytes from `bytes`; the rest is the caller's.
    unsafe {
        asm!("rep outsb", in("dx") port, inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
            options(readonly, nostack, preserves_flags));
    }
}
