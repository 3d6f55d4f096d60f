//! The code that the IDT points at.
//!
//! 256 stubs of sixteen bytes push what the processor left out (an error code of 0, the vector) and jump to the
//! common path. It saves the registers on the landing stack, then moves the frame to where the trap may continue:
//!
//! - from user mode, to the current task's kernel stack;
//! - a page fault in the kernel on a user address, to 128 bytes below the interrupted stack pointer, past the
//!   red zone: the handler may block while it reads the page from a disk;
//! - anything else stays: it is either over in microseconds or the kernel's end.
//!
//! Then it saves the vector state, since compiled code uses it, and calls `dispatch`.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU8, AtomicU64};

use super::dispatch::dispatch;
use super::frame::FRAME_BYTES;

/// The top of the stack for traps from user mode.
pub(super) static KERNEL_STACK_TOP: AtomicU64 = AtomicU64::new(0);

/// 1 where `clac` exists: programs may set the flag that it clears.
pub(super) static HAS_SMAP: AtomicU8 = AtomicU8::new(0);

/// The vector state's control word as the ABI wants it: all exceptions masked, round to nearest.
static DEFAULT_MXCSR: u32 = 0x1f80;

const STUB_BYTES: usize = 16;

/// The address of a vector's stub.
pub(super) fn stub_address(vector: usize) -> u64 {
    stubs as *const () as u64 + (vector * STUB_BYTES) as u64
}

/// 256 stubs, one after the other. Vectors 8, 10 to 14, 17, 21, 29 and 30 come with an error code.
#[unsafe(naked)]
extern "C" fn stubs() {
    naked_asm!(
        ".set strata_vector, 0",
        ".rept 256",
        ".balign {size}",
        ".if (strata_vector == 8) | ((strata_vector >= 10) & (strata_vector <= 14)) | (strata_vector == 17) | (strata_vector == 21) | (strata_vector == 29) | (strata_vector == 30)",
        ".else",
        "push 0",
        ".endif",
        "push strata_vector",
        "jmp {common}",
        ".set strata_vector, strata_vector + 1",
        ".endr",
        size = const STUB_BYTES,
        common = sym common,
    )
}

#[unsafe(naked)]
extern "C" fn common() {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "push rbx",
        "push rbp",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "cld",
        "cmp byte ptr [rip + {has_smap}], 0",
        "je 2f",
        "clac",
        "2:",
        "test byte ptr [rsp + 144], 3", // the code segment's privilege
        "jz 3f",
        "mov rdi, [rip + {stack}]",
        "jmp 4f",
        "3:",
        "cmp qword ptr [rsp + 120], 14", // the vector
        "jne 5f",
        "mov rax, cr2",
        "test rax, rax",
        "js 5f",
        "mov rdi, [rsp + 160]", // the interrupted stack pointer
        "sub rdi, 128",
        "and rdi, -16",
        "4:",
        "mov rsi, rsp",
        "sub rdi, {frame}",
        "mov rbx, rdi",
        "mov ecx, {frame} / 8",
        "rep movsq",
        "mov rsp, rbx",
        "5:",
        "mov rdi, rsp",
        "sub rsp, 512",
        "fxsave64 [rsp]",
        "ldmxcsr [rip + {mxcsr}]",
        "xor ebp, ebp",
        "call {dispatch}",
        "fxrstor64 [rsp]",
        "add rsp, 512",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rbp",
        "pop rbx",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, 16",
        "iretq",
        has_smap = sym HAS_SMAP,
        stack = sym KERNEL_STACK_TOP,
        frame = const FRAME_BYTES,
        mxcsr = sym DEFAULT_MXCSR,
        dispatch = sym dispatch,
    )
}
