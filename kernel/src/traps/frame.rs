//! [`TrapFrame`]: the processor's state when it was interrupted.

/// The registers as the stubs save them, lowest address first; the last five are the processor's own. The vector
/// state (512 bytes, `fxsave64`) lies below it and is restored with it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct TrapFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) rdx: u64,
    pub(crate) rcx: u64,
    pub(crate) rax: u64,
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// The size that the stubs know.
pub(crate) const FRAME_BYTES: usize = 176;
const _: () = assert!(size_of::<TrapFrame>() == FRAME_BYTES && FRAME_BYTES.is_multiple_of(16));

impl TrapFrame {
    /// Whether a program was interrupted, and not the kernel.
    pub(crate) const fn is_from_user(&self) -> bool {
        self.cs & 3 != 0
    }
}
