//! The way into the kernel by `SYSCALL`, and back by `SYSRET`.
//!
//! There is one processor, so the kernel's stack is found by its address and `swapgs` is not needed. The kernel uses the
//! sixteen vector registers and the ABI preserves them over a system call, so they are saved on every entry: sixteen moves,
//! where `fxsave` costs several times as much under emulation. The x87 registers, the upper halves and the control words are
//! not the kernel's to touch; they change hands when tasks do ([`super::thread`]).
//!
//! System calls run with interrupts on: what an interrupt does in the kernel is over in microseconds and switches to no other
//! task.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU64, Ordering};

use x86_64::VirtAddr;
use x86_64::registers::model_specific::{Efer, EferFlags, LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;

use crate::traps::TrapFrame;
use crate::traps::descriptors::{KERNEL_CODE, SYSRET_BASE};

/// A program's registers inside a system call: what it had, and what it will have.
#[repr(C, align(16))]
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyscallFrame {
    /// xmm0 to xmm15.
    pub(crate) vectors: [u128; 16],
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    /// Also in r11.
    pub(crate) rflags: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    /// The call's number, then its result.
    pub(crate) rax: u64,
    /// Also in rcx.
    pub(crate) rip: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) rsp: u64,
}

const VECTORS: usize = 256;
const _: () = assert!(size_of::<SyscallFrame>() == VECTORS + 16 * 8);
const _: () = assert!(core::mem::offset_of!(SyscallFrame, rip) == VECTORS + 88);

impl SyscallFrame {
    /// A program's first registers: all zero but these two and the flags, interrupts on.
    pub(crate) const fn first(rip: u64, rsp: u64) -> Self {
        Self {
            vectors: [0; 16],
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbp: 0,
            rbx: 0,
            rflags: 0x202,
            r10: 0,
            r9: 0,
            r8: 0,
            rax: 0,
            rip,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            rsp,
        }
    }
}

/// The top of the current task's kernel stack.
static KERNEL_STACK: AtomicU64 = AtomicU64::new(0);
/// Where a program's stack pointer is for three instructions.
static USER_STACK: AtomicU64 = AtomicU64::new(0);

/// Names the stack for system calls.
pub(super) fn set_kernel_stack(top: u64) {
    KERNEL_STACK.store(top, Ordering::Relaxed);
}

/// Switches `SYSCALL` on.
pub(super) fn init() {
    // IA32_STAR: selectors. `SYSRET_BASE` holds what the descriptor table promises.
    let star = u64::from(KERNEL_CODE) << 32 | u64::from(SYSRET_BASE) << 48;
    // SAFETY: the selectors are those of the loaded descriptor table, and the entry is code that expects to be entered so.
    unsafe {
        Msr::new(0xc000_0081).write(star);
        LStar::write(VirtAddr::new(syscall_entry as *const () as u64));
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS));
    }
    // Off in the kernel: interrupts, single steps, backward string instructions, nested tasks, alignment checks.
    SFMask::write(
        RFlags::INTERRUPT_FLAG
            | RFlags::TRAP_FLAG
            | RFlags::DIRECTION_FLAG
            | RFlags::NESTED_TASK
            | RFlags::ALIGNMENT_CHECK
            | RFlags::RESUME_FLAG,
    );
}

#[unsafe(naked)]
extern "C" fn syscall_entry() {
    naked_asm!(
        "mov [rip + {user_stack}], rsp",
        "mov rsp, [rip + {kernel_stack}]",
        "push qword ptr [rip + {user_stack}]",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push rax",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, {vectors}",
        "movaps [rsp], xmm0",
        "movaps [rsp + 16], xmm1",
        "movaps [rsp + 32], xmm2",
        "movaps [rsp + 48], xmm3",
        "movaps [rsp + 64], xmm4",
        "movaps [rsp + 80], xmm5",
        "movaps [rsp + 96], xmm6",
        "movaps [rsp + 112], xmm7",
        "movaps [rsp + 128], xmm8",
        "movaps [rsp + 144], xmm9",
        "movaps [rsp + 160], xmm10",
        "movaps [rsp + 176], xmm11",
        "movaps [rsp + 192], xmm12",
        "movaps [rsp + 208], xmm13",
        "movaps [rsp + 224], xmm14",
        "movaps [rsp + 240], xmm15",
        "mov rdi, rsp",
        "sti",
        "call {dispatch}",
        "jmp {exit}",
        user_stack = sym USER_STACK,
        kernel_stack = sym KERNEL_STACK,
        vectors = const VECTORS,
        dispatch = sym crate::syscall::dispatch,
        exit = sym syscall_exit,
    )
}

/// Leaves the kernel with the [`SyscallFrame`] at the stack pointer.
#[unsafe(naked)]
extern "C" fn syscall_exit() {
    naked_asm!(
        "cli",
        // SYSRET to an address that is not canonical would fault in the kernel with the program's stack. No program can
        // be at one: the last user page is never mapped. This makes sure.
        "mov rax, [rsp + {vectors} + 88]",
        "shr rax, 47",
        "jz 2f",
        "call {stop}",
        "2:",
        "movaps xmm0, [rsp]",
        "movaps xmm1, [rsp + 16]",
        "movaps xmm2, [rsp + 32]",
        "movaps xmm3, [rsp + 48]",
        "movaps xmm4, [rsp + 64]",
        "movaps xmm5, [rsp + 80]",
        "movaps xmm6, [rsp + 96]",
        "movaps xmm7, [rsp + 112]",
        "movaps xmm8, [rsp + 128]",
        "movaps xmm9, [rsp + 144]",
        "movaps xmm10, [rsp + 160]",
        "movaps xmm11, [rsp + 176]",
        "movaps xmm12, [rsp + 192]",
        "movaps xmm13, [rsp + 208]",
        "movaps xmm14, [rsp + 224]",
        "movaps xmm15, [rsp + 240]",
        "add rsp, {vectors}",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rax",
        "pop rcx",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "mov rsp, [rsp]",
        "sysretq",
        vectors = const VECTORS,
        stop = sym not_canonical,
    )
}

/// A program was about to continue outside user addresses: it is ended.
extern "C" fn not_canonical() -> ! {
    super::die_of(super::signal::SIGSEGV)
}

/// The x87 and vector state where `fxrstor64` takes it.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub(super) struct AlignedVectors(pub(super) [u8; 512]);

/// Leaves the kernel for a program with all of its registers, rcx and r11 included: by `iretq`.
///
/// # Safety
/// The frame is a program's: its code and stack segments, interrupts on, an address below the end of user addresses; the
/// vector state has no reserved bit of MXCSR set. Nothing on the current kernel stack is needed any more.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn leave_whole(frame: &TrapFrame, vectors: &AlignedVectors) -> ! {
    naked_asm!(
        "cli",
        "fxrstor64 [rsi]",
        "mov rsp, rdi",
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
    )
}

/// Leaves the kernel for a program's first instruction, or a child's.
///
/// # Safety
/// `frame` is the highest object of the current task's kernel stack, and nothing below is needed any more.
pub(super) unsafe fn leave(frame: *const SyscallFrame) -> ! {
    // SAFETY: the exit path pops what the frame holds and does not return here.
    unsafe {
        core::arch::asm!("mov rsp, {frame}", "jmp {exit}", frame = in(reg) frame, exit = sym syscall_exit, options(noreturn));
    }
}
