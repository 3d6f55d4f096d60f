//! What a signal handler finds on its stack (`<asm/sigcontext.h>`, `<asm/ucontext.h>`, `<asm-generic/siginfo.h>`).

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::SigAltStack;

/// `struct sigcontext`: the registers, and where the vector state is.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct SigContext {
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) rdx: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rsp: u64,
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
    /// Code, GS, FS and stack segments.
    pub(crate) segments: [u16; 4],
    /// Error code and number of the exception, the blocked signals of old, the address of the fault.
    pub(crate) exception: [u64; 4],
    /// Address of the vector state as `fxsave64` writes it, or 0.
    pub(crate) vectors: u64,
    pub(crate) reserved: [u64; 8],
}

const _: () = assert!(size_of::<SigContext>() == 256);

/// `struct ucontext`, as far as the kernel fills it.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub(crate) struct UContext {
    pub(crate) flags: u64,
    pub(crate) link: u64,
    pub(crate) stack: SigAltStack,
    pub(crate) registers: SigContext,
    pub(crate) blocked: u64,
}

const _: () = assert!(size_of::<UContext>() == 304);

/// `siginfo_t`, 128 bytes: number, code, and three ways to read what follows, of which a sender and a status, or an address,
/// are filled in.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub(crate) struct SigInfo {
    pub(crate) signal: i32,
    pub(crate) errno: i32,
    pub(crate) code: i32,
    pub(crate) pad: i32,
    /// Process and user, or an address.
    pub(crate) origin: [u32; 2],
    pub(crate) status: u64,
    pub(crate) rest: [u64; 12],
}

const _: () = assert!(size_of::<SigInfo>() == 128);

/// `struct itimerval`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct ITimerVal {
    /// How often it fires again.
    pub(crate) interval: super::TimeVal,
    /// When it fires next.
    pub(crate) value: super::TimeVal,
}
