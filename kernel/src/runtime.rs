//! What the compiler expects of a C library, and what it calls on a panic.
//!
//! Lengths up to 32 are a few overlapping moves, up to 512 a loop of four. Longer ones differ: hardware is best at `rep movsq` and
//! `rep stosq`; an emulator runs them a word at a time, and moves written out are a quarter faster, stores twice as fast
//! (vectors and bytes are slower than either). [`init`] finds out. The tail (or, backwards, the head) is loaded before the
//! copy, so overlap is no matter.
//!
//! QEMU keeps translated addresses in a table that repeats every megabyte: between two buffers that are equal modulo that, a
//! copy that changes sides with every word is ten times slower than one that moves 80 bytes at a time.

use core::arch::global_asm;
use core::panic::PanicInfo;

use core::sync::atomic::{AtomicU8, Ordering};

use drivers::hypervisor::{Hypervisor, hypervisor};

use crate::console;
use crate::power;

/// 1 where every instruction is emulated.
static EMULATED: AtomicU8 = AtomicU8::new(0);

/// Learns who runs the machine; before, hardware does.
pub(crate) fn init() {
    assume(hypervisor());
}

/// As if this one ran the machine.
pub(crate) fn assume(hypervisor: Hypervisor) {
    EMULATED.store(u8::from(hypervisor == Hypervisor::Tcg), Ordering::Relaxed);
}

global_asm!(
    r#"
    .pushsection .text.memory_functions, "ax", @progbits
    .globl memmove
    .balign 16
    memmove:
        mov rcx, rdi
        sub rcx, rsi
        cmp rcx, rdx
        jae memcpy                      // the destination does not begin inside the source
        cmp rdx, 32
        jbe memcpy                      // short copies load everything before they store
        mov rax, rdi
        mov r8, [rsi]
        mov r9, rdi
        lea rsi, [rsi + rdx - 8]
        lea rdi, [rdi + rdx - 8]
        mov rcx, rdx
        shr rcx, 3
        std
        rep movsq
        cld
        mov [r9], r8
        ret

    .globl memcpy
    .balign 16
    memcpy:
        mov rax, rdi
        cmp rdx, 16
        jb 2f
        cmp rdx, 32
        ja 1f
        mov rcx, [rsi]
        mov r8, [rsi + 8]
        mov r9, [rsi + rdx - 16]
        mov r10, [rsi + rdx - 8]
        mov [rdi], rcx
        mov [rdi + 8], r8
        mov [rdi + rdx - 16], r9
        mov [rdi + rdx - 8], r10
        ret
    1:  cmp rdx, 512
        jae 7f
        mov r11, [rsi + rdx - 8]        // the tail, before anything is stored
        lea r9, [rdi + rdx - 8]
    10: mov rcx, [rsi]
        mov rdx, [rsi + 8]
        mov r8, [rsi + 16]
        mov r10, [rsi + 24]
        mov [rdi], rcx
        mov [rdi + 8], rdx
        mov [rdi + 16], r8
        mov [rdi + 24], r10
        add rsi, 32
        add rdi, 32
        lea rcx, [rdi + 24]
        cmp rcx, r9
        jbe 10b
    11: cmp rdi, r9
        jae 12f
        mov rcx, [rsi]
        mov [rdi], rcx
        add rsi, 8
        add rdi, 8
        jmp 11b
    12: mov [r9], r11
        ret
    7:  cmp byte ptr [rip + {emulated}], 0
        jne 8f
        mov r8, [rsi + rdx - 8]
        lea r9, [rdi + rdx - 8]
        mov rcx, rdx
        shr rcx, 3
        rep movsq
        mov [r9], r8
        ret
    8:  push rbx
        push rbp
        push r12
        push r13
        push r14
        push r15
        mov rbx, [rsi + rdx - 8]        // the tail, before anything is stored
        lea rbp, [rdi + rdx - 8]
        push rbx
    9:  mov rcx, [rsi]
        mov r8, [rsi + 8]
        mov r9, [rsi + 16]
        mov r10, [rsi + 24]
        mov r11, [rsi + 32]
        mov rbx, [rsi + 40]
        mov r12, [rsi + 48]
        mov r13, [rsi + 56]
        mov r14, [rsi + 64]
        mov r15, [rsi + 72]
        mov [rdi], rcx
        mov [rdi + 8], r8
        mov [rdi + 16], r9
        mov [rdi + 24], r10
        mov [rdi + 32], r11
        mov [rdi + 40], rbx
        mov [rdi + 48], r12
        mov [rdi + 56], r13
        mov [rdi + 64], r14
        mov [rdi + 72], r15
        add rsi, 80
        add rdi, 80
        sub rdx, 80
        cmp rdx, 80
        jae 9b
        mov rcx, rdx
        shr rcx, 3
        rep movsq
        pop rbx
        mov [rbp], rbx
        pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        ret
    2:  cmp edx, 8
        jb 3f
        mov rcx, [rsi]
        mov r8, [rsi + rdx - 8]
        mov [rdi], rcx
        mov [rdi + rdx - 8], r8
        ret
    3:  cmp edx, 4
        jb 4f
        mov ecx, [rsi]
        mov r8d, [rsi + rdx - 4]
        mov [rdi], ecx
        mov [rdi + rdx - 4], r8d
        ret
    4:  test edx, edx
        jz 5f
        movzx ecx, byte ptr [rsi]
        cmp edx, 1
        je 6f
        movzx r8d, word ptr [rsi + rdx - 2]
        mov [rdi + rdx - 2], r8w
    6:  mov [rdi], cl
    5:  ret

    .globl memset
    .balign 16
    memset:
        mov r9, rdi
        movzx esi, sil
        movabs rax, 0x0101010101010101
        imul rax, rsi
        cmp rdx, 8
        jb 1f
        mov [rdi + rdx - 8], rax
        cmp rdx, 64
        jb 5f
        cmp rdx, 512
        jb 4f
        cmp byte ptr [rip + {emulated}], 0
        je 5f
    4:  mov [rdi], rax
        mov [rdi + 8], rax
        mov [rdi + 16], rax
        mov [rdi + 24], rax
        mov [rdi + 32], rax
        mov [rdi + 40], rax
        mov [rdi + 48], rax
        mov [rdi + 56], rax
        add rdi, 64
        sub rdx, 64
        cmp rdx, 64
        jae 4b
    5:  mov rcx, rdx
        shr rcx, 3
        rep stosq
        mov rax, r9
        ret
    1:  cmp edx, 4
        jb 2f
        mov [rdi], eax
        mov [rdi + rdx - 4], eax
        mov rax, r9
        ret
    2:  test edx, edx
        jz 3f
        mov [rdi], al
        cmp edx, 1
        je 3f
        mov [rdi + rdx - 2], ax
    3:  mov rax, r9
        ret

    .globl memcmp
    .globl bcmp
    .balign 16
    memcmp:
    bcmp:
        cmp rdx, 8
        jb 2f
    1:  mov rax, [rdi]
        mov rcx, [rsi]
        cmp rax, rcx
        jne 4f
        add rdi, 8
        add rsi, 8
        sub rdx, 8
        cmp rdx, 8
        jae 1b
    2:  test edx, edx
        jz 3f
    5:  movzx eax, byte ptr [rdi]
        movzx ecx, byte ptr [rsi]
        sub eax, ecx
        jne 6f
        inc rdi
        inc rsi
        dec edx
        jnz 5b
    3:  xor eax, eax
    6:  ret
    4:  bswap rax
        bswap rcx
        cmp rax, rcx
        sbb eax, eax
        or eax, 1
        ret

    .globl strlen
    .balign 16
    strlen:
        xor eax, eax
    1:  cmp byte ptr [rdi + rax], 0
        je 2f
        inc rax
        jmp 1b
    2:  ret
    .popsection
    "#,
    emulated = sym EMULATED,
);

/// Named by the unwinding tables of the precompiled `core`; never called, since a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Named by the landing pads of the precompiled `alloc`; never called, since a panic aborts.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    power::fail()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    console::emergency(format_args!("panic: {info}"));
    power::fail()
}
