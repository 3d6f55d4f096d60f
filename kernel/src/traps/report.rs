//! The last words: what happened, where, and with which registers.

use core::fmt;

use boot::layout::KERNEL_IMAGE;
use x86_64::registers::control::Cr3;

use super::frame::TrapFrame;
use crate::memory::stack;
use crate::{console, power};

const NAMES: [&str; 22] = [
    "division error",
    "debug trap",
    "non-maskable interrupt",
    "breakpoint",
    "overflow",
    "bound range exceeded",
    "invalid opcode",
    "FPU not available",
    "double fault",
    "FPU segment overrun",
    "invalid task state segment",
    "segment not present",
    "stack segment fault",
    "general protection fault",
    "page fault",
    "reserved trap",
    "FPU error",
    "misaligned access",
    "machine check",
    "vector arithmetic error",
    "virtualisation fault",
    "control protection fault",
];

/// How many words of the stack are searched for return addresses.
const STACK_WORDS: u64 = 192;

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __boot_stack_guard: u8;
}

/// Reports a trap that nobody can handle and stops with the status of a crash.
pub(super) fn die(frame: &TrapFrame, fault_address: u64) -> ! {
    console::emergency(format_args!("{}", Report { frame, fault_address }));
    power::fail()
}

struct Report<'a> {
    frame: &'a TrapFrame,
    fault_address: u64,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.frame;
        let name = NAMES.get(frame.vector as usize).unwrap_or(&"unknown exception");
        let mode = if frame.is_from_user() { "a program" } else { "the kernel" };
        write!(f, "panic: {name} in {mode} at {:#x}", frame.rip)?;
        if frame.vector == 14 {
            self.page_fault(f)?;
        } else if frame.error != 0 {
            write!(f, ", error code {:#x}", frame.error)?;
        }
        let TrapFrame { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, .. } = *frame;
        write!(f, "\n  rax {rax:016x}  rbx {rbx:016x}  rcx {rcx:016x}  rdx {rdx:016x}")?;
        write!(f, "\n  rsi {rsi:016x}  rdi {rdi:016x}  rbp {rbp:016x}  rsp {rsp:016x}")?;
        let TrapFrame { r8, r9, r10, r11, r12, r13, r14, r15, .. } = *frame;
        write!(f, "\n  r8  {r8:016x}  r9  {r9:016x}  r10 {r10:016x}  r11 {r11:016x}")?;
        write!(f, "\n  r12 {r12:016x}  r13 {r13:016x}  r14 {r14:016x}  r15 {r15:016x}")?;
        let cr3 = Cr3::read().0.start_address().as_u64();
        write!(f, "\n  cs {:#x}  ss {:#x}  rflags {:#x}  cr3 {cr3:#x}", frame.cs, frame.ss, frame.rflags)?;
        if !frame.is_from_user() {
            self.return_addresses(f)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn page_fault(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.frame.error;
        let access = match error {
            _ if error & 0x10 != 0 => "executing",
            _ if error & 0x02 != 0 => "writing",
            _ => "reading",
        };
        let why = if error & 0x01 != 0 { "not allowed" } else { "not mapped" };
        write!(f, ", {access} {:#x}: {why}", self.fault_address)?;
        let boot_guard = &raw const __boot_stack_guard as u64;
        let guards = stack::is_guard(self.fault_address)
            || (boot_guard..boot_guard + boot::layout::PAGE_SIZE).contains(&self.fault_address);
        if guards { write!(f, " (the kernel's stack overflowed)") } else { Ok(()) }
    }

    /// Words on the stack that point into the kernel's text: mostly the callers.
    fn return_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &raw const __text_start as u64..&raw const __text_end as u64;
        write!(f, "\n  on the stack:")?;
        let mut shown = 0;
        let is_mapped = |at: u64| crate::memory::physical_address(at as *const u8).is_some();
        // A stack that overflowed begins in its guard page; its youngest words are above.
        let page = boot::layout::PAGE_SIZE;
        let top = self.frame.rsp & !7;
        let top = if is_mapped(top) { top } else { top.next_multiple_of(page) };
        for word in 0..STACK_WORDS {
            let at = top + word * 8;
            if at < boot::layout::DIRECT_MAP || !is_mapped(at) {
                break;
            }
            // SAFETY: the address is of the kernel's half, aligned, and mapped.
            let value = unsafe { (at as *const u64).read_volatile() };
            if text.contains(&value) && shown < 16 {
                write!(f, " {value:#x}")?;
                shown += 1;
            }
        }
        write!(f, "\n  (the image is linked at {:#x})", KERNEL_IMAGE + 0x20_0000)
    }
}
