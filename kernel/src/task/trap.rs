//! What programs' page faults, exceptions and interrupts become.

use crate::traps::{self, Access, Handled, TrapFrame, UserTraps};

use super::signal::{self, Info, SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP};
use super::space::{Fault, Rights};
use super::{deliver, lifecycle, process, thread};

struct Traps;

/// Takes programs' traps from now on.
pub(super) fn init() {
    traps::set_user_traps(&Traps);
}

impl UserTraps for Traps {
    fn page_fault(&self, address: u64, access: Access, frame: &mut TrapFrame) -> Handled {
        let wanted = match access {
            Access::Read => Rights::READ,
            Access::Write => Rights::WRITE,
            Access::Execute => Rights::EXECUTE,
        };
        // `None`: there is no program, or its memory is in use further up the stack, where no fault is expected.
        match thread::with_space(|space| space.fault(address, wanted)) {
            Some(Ok(())) => Handled::Yes,
            Some(Err(fault)) if frame.is_from_user() => {
                fault_signal(address, access, fault, frame);
                Handled::Yes
            }
            _ => Handled::No,
        }
    }

    fn exception(&self, frame: &mut TrapFrame) {
        let (signal, what) = match frame.vector {
            0 => (SIGFPE, "divided by zero"),
            1 | 3 => (SIGTRAP, "ran into a breakpoint"),
            4 | 5 => (SIGSEGV, "overflowed"),
            6 => (SIGILL, "executed an unknown instruction"),
            16 | 19 => (SIGFPE, "made an arithmetic error"),
            17 => (SIGBUS, "made a misaligned access"),
            _ => (SIGSEGV, "made a protection fault"),
        };
        let info = Info { code: EXCEPTION, value: frame.rip, ..Info::default() };
        if handle(frame, signal, info).is_none() {
            report(signal, frame, format_args!("{what} (exception {}, error {:#x})", frame.vector, frame.error));
            lifecycle::die_of(signal)
        }
    }

    fn interrupted(&self, frame: &mut TrapFrame) {
        crate::dev::look_for_interrupt();
        // One of the others is the boot's, which only waits.
        if thread::others() > 1 {
            thread::yield_now();
        }
        super::attend_if_needed(frame);
    }
}

/// `si_code` of exceptions other than page faults: `FPE_INTDIV`, `ILL_ILLOPC`, `TRAP_BRKPT` are all 1.
const EXCEPTION: i32 = 1;

/// Lets the program handle what it did, if it wants to.
fn handle(frame: &mut TrapFrame, signal: u8, info: Info) -> Option<()> {
    // SAFETY: the trap came from user mode, so nothing of the kernel refers to the task.
    let task = unsafe { super::current() }?;
    deliver::deliver_fault(task, frame, signal, info)
}

/// A page fault that is the program's mistake: a signal.
fn fault_signal(address: u64, access: Access, fault: Fault, frame: &mut TrapFrame) {
    let verb = match access {
        Access::Read => "read",
        Access::Write => "wrote",
        Access::Execute => "executed",
    };
    // With `si_code`: SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR, BUS_OBJERR.
    let (signal, code, why) = match fault {
        Fault::NotMapped => (SIGSEGV, 1, "nothing is mapped there"),
        Fault::Denied => (SIGSEGV, 2, "not allowed there"),
        Fault::PastEnd => (SIGBUS, 2, "past the end of the file"),
        Fault::Unreadable => (SIGBUS, 3, "the file cannot be read"),
        Fault::OutOfMemory => (SIGKILL, 0, "out of memory"),
    };
    if handle(frame, signal, Info { code, value: address, ..Info::default() }).is_some() {
        return;
    }
    report(signal, frame, format_args!("{verb} {address:#x}: {why}"));
    lifecycle::die_of(signal)
}

/// Says what a program did and where.
fn report(signal: u8, frame: &TrapFrame, what: core::fmt::Arguments<'_>) {
    let pid = super::current_pid();
    let title = process::find(pid).map(|process| process.title()).unwrap_or_default();
    let TrapFrame { rip, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, .. } = *frame;
    log::warn!(
        "{} (process {pid}) {what}; ended by {}\n  rip {rip:#x}  rsp {rsp:#x}  rbp {rbp:#x}\n  rax {rax:#x}  rbx {rbx:#x}  \
         rcx {rcx:#x}  rdx {rdx:#x}  rsi {rsi:#x}  rdi {rdi:#x}",
        title.name.escape_ascii(),
        signal::name(signal),
    );
}
