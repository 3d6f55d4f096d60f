//! Copies from and to user addresses, which a fault ends early. Beside them only slices that were lent ([`super::bytes`]) are at
//! user addresses: their pages were made present, and a fault there is a defect of the kernel.
//!
//! A page that is missing is brought by the page fault itself and the copy goes on. When there is none to bring, the marked
//! instruction goes on at the landing beside it (the table of `.fixups`, see [`crate::traps::fixup`]), and the copy returns
//! how far it came: `EFAULT`.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

use boot::layout::USER_END;
use vfs::{Errno, Result};

use crate::memory::cpu::{self, Feature};

global_asm!(
    r#"
    .pushsection .text.user_copy, "ax", @progbits
    // user_copy(destination, source, length) -> bytes that were not copied
    .globl user_copy
    .balign 16
    user_copy:
        mov rcx, rdx
        shr rcx, 3
        and edx, 7
    1:  rep movsq
        mov ecx, edx
    2:  rep movsb
        xor eax, eax
        ret
    3:  lea rax, [rdx + rcx * 8]
        ret
    4:  mov rax, rcx
        ret

    // user_string(destination, source, length) -> bytes before the zero; `length` when there is none;
    // -1 when it could not be read
    .globl user_string
    .balign 16
    user_string:
        xor eax, eax
        movabs r8, 0x0101010101010101
        movabs r9, 0x8080808080808080
    10: lea rcx, [rax + 8]
        cmp rcx, rdx
        ja 13f
    11: mov rcx, [rsi + rax]
        mov r10, rcx
        mov [rdi + rax], rcx
        sub r10, r8
        not rcx
        and r10, rcx
        and r10, r9
        jnz 12f
        add rax, 8
        jmp 10b
    12: bsf r10, r10                    // the lowest zero byte's mark
        shr r10d, 3
        add rax, r10
        ret
    13: cmp rax, rdx
        jae 15f
    14: movzx ecx, byte ptr [rsi + rax]
        mov [rdi + rax], cl
        test ecx, ecx
        jz 15f
        inc rax
        jmp 13b
    15: ret
    16: or rax, -1
        ret
    .popsection

    .pushsection .fixups, "a", @progbits
        .long 1b - ., 3b - .
        .long 2b - ., 4b - .
        .long 11b - ., 13b - .
        .long 14b - ., 16b - .
    .popsection
    "#
);

unsafe extern "C" {
    fn user_copy(destination: *mut u8, source: *const u8, length: usize) -> usize;
    fn user_string(destination: *mut u8, source: *const u8, length: usize) -> usize;
}

/// Whether the processor keeps the kernel off user pages but between `stac` and `clac`.
static GUARDED: AtomicBool = AtomicBool::new(false);

/// Learns what the processor does about user pages.
pub(crate) fn init() {
    GUARDED.store(cpu::has(Feature::Smap), Ordering::Relaxed);
}

/// While it lives the kernel may touch user pages.
pub(super) struct Access(());

impl Access {
    #[inline]
    pub(super) fn new() -> Self {
        if GUARDED.load(Ordering::Relaxed) {
            // SAFETY: the processor has the instruction (SMAP); it sets a flag. Not `nomem`: accesses stay behind it.
            unsafe { asm!("stac", options(nostack)) };
        }
        Self(())
    }
}

impl Drop for Access {
    #[inline]
    fn drop(&mut self) {
        if GUARDED.load(Ordering::Relaxed) {
            // SAFETY: as above; it clears the flag.
            unsafe { asm!("clac", options(nostack)) };
        }
    }
}

/// Whether `length` bytes from `address` on are user addresses.
#[inline]
pub(super) fn is_user(address: u64, length: usize) -> bool {
    address <= USER_END && length as u64 <= USER_END - address
}

/// Copies from a program to kernel memory.
///
/// # Errors
/// `EFAULT`; the destination then holds part of it.
///
/// # Safety
/// `destination` is valid for writes of `length` bytes.
#[inline]
pub(super) unsafe fn from_user(destination: *mut u8, address: u64, length: usize) -> Result<()> {
    if !is_user(address, length) {
        return Err(Errno::EFAULT.into());
    }
    let access = Access::new();
    // SAFETY: the caller vouches for the destination; the source is a user address, and a fault there ends the copy.
    let left = unsafe { user_copy(destination, address as *const u8, length) };
    drop(access);
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT.into()) }
}

/// Copies from kernel memory to a program.
///
/// # Errors
/// `EFAULT`; part of it may have been written.
#[inline]
pub(super) fn to_user(address: u64, source: &[u8]) -> Result<()> {
    if !is_user(address, source.len()) {
        return Err(Errno::EFAULT.into());
    }
    let access = Access::new();
    // SAFETY: the source is a slice; the destination is a user address, so that no kernel memory changes, and a fault
    // there ends the copy.
    let left = unsafe { user_copy(address as *mut u8, source.as_ptr(), source.len()) };
    drop(access);
    if left == 0 { Ok(()) } else { Err(Errno::EFAULT.into()) }
}

/// Copies a program's text up to its zero; returns its length without it, `None` if it does not end within `capacity`.
///
/// # Errors
/// `EFAULT`.
///
/// # Safety
/// `destination` is valid for writes of `capacity` bytes.
#[inline]
pub(super) unsafe fn string_from_user(destination: *mut u8, address: u64, capacity: usize) -> Result<Option<usize>> {
    let reach = USER_END.saturating_sub(address).min(capacity as u64) as usize;
    let access = Access::new();
    // SAFETY: the caller vouches for the destination's `capacity` bytes; all `reach` source bytes are user addresses.
    let length = unsafe { user_string(destination, address as *const u8, reach) };
    drop(access);
    if length < reach {
        Ok(Some(length))
    } else if length == capacity {
        Ok(None)
    } else {
        // It could not be read, or runs into the end of user addresses.
        Err(Errno::EFAULT.into())
    }
}
