//! Delivering signals: what is due when a program is about to continue, and the way back from a handler.
//!
//! A handler runs on the program's own stack, or on the one that it set up for handlers, above a record of everything that it
//! interrupts. [`Interrupted`] is where that is: the registers of a system call ([`Call`]) or of a trap. `rt_sigreturn` brings
//! the record back ([`return_from_handler`]), all registers at once, by `iretq`.

use boot::layout::USER_END;
use vfs::{Errno, Result};

use super::signal::{self, Effect, Info, SIGSEGV, bit};
use super::{SyscallFrame, Task, entry, lifecycle, thread};
use crate::syscall::abi::{SigAction, SigContext, SigInfo, UContext};
use crate::traps::TrapFrame;
use crate::traps::descriptors::{USER_CODE, USER_DATA};
use crate::user::UserPtr;

const SA_RESTORER: u64 = 0x0400_0000;
const SA_ONSTACK: u64 = 0x0800_0000;
const SA_RESTART: u64 = 0x1000_0000;
const SA_NODEFER: u64 = 0x4000_0000;
const SA_RESETHAND: u64 = 0x8000_0000;

/// `UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS`: the stack segment is in the context.
const CONTEXT_FLAGS: u64 = 6;
/// What a program may use below its stack pointer.
const RED_ZONE: u64 = 128;
/// Flags that a program may set, and those that are always set in one: interrupts, and the bit that is always one.
const USER_FLAGS: u64 = 0x24_0dd5;
const FIXED_FLAGS: u64 = 0x202;
/// What may be set in MXCSR.
const MXCSR_BITS: u32 = 0xffff;

/// The x87 and vector state, as `fxsave64` writes it.
pub(super) type Vectors = [u8; 512];

/// A program that is not running: where it goes on, and with what.
pub(super) trait Interrupted {
    /// Its registers.
    fn registers(&self) -> SigContext;
    /// Its x87 and vector state.
    fn vectors(&self) -> Vectors;
    /// Has it go on in a handler: instruction and stack pointers, and three arguments.
    fn enter(&mut self, rip: u64, rsp: u64, arguments: [u64; 3]);
    /// Has it make its system call again, if it was interrupted in one that can be.
    fn restart(&mut self);
    /// Whether it was interrupted in such a call.
    fn can_restart(&self) -> bool;
}

/// A program in a system call.
pub(crate) struct Call<'a> {
    /// Its registers, the result in place.
    pub(crate) frame: &'a mut SyscallFrame,
    /// The call's number.
    pub(crate) number: u64,
}

/// The calls that begin again after a handler that asked for it (`signal(7)`, "Interruption of system calls"): read, write, open,
/// ioctl, their relatives, wait4, flock, fcntl, futex.
const RESTARTABLE: [u64; 19] = [0, 1, 2, 16, 17, 18, 19, 20, 40, 61, 72, 73, 202, 257, 295, 296, 327, 328, 437];

impl Interrupted for Call<'_> {
    fn registers(&self) -> SigContext {
        let SyscallFrame { r15, r14, r13, r12, rbp, rbx, rflags, r10, r9, r8, rax, rip, rdx, rsi, rdi, rsp, .. } =
            *self.frame;
        SigContext {
            r8,
            r9,
            r10,
            r11: rflags,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx: rip,
            rsp,
            rip,
            rflags,
            segments: [USER_CODE, 0, 0, USER_DATA],
            ..SigContext::default()
        }
    }

    fn vectors(&self) -> Vectors {
        // The x87 registers and the control words are the program's still; the kernel has used the vector registers.
        let mut state = thread::save_current();
        for (place, vector) in state[160..416].chunks_exact_mut(16).zip(self.frame.vectors) {
            place.copy_from_slice(&vector.to_le_bytes());
        }
        state
    }

    fn enter(&mut self, rip: u64, rsp: u64, arguments: [u64; 3]) {
        [self.frame.rdi, self.frame.rsi, self.frame.rdx] = arguments;
        self.frame.rip = rip;
        self.frame.rsp = rsp;
        self.frame.rax = 0;
        self.frame.rflags = FIXED_FLAGS;
    }

    fn restart(&mut self) {
        // `syscall` has two bytes.
        self.frame.rip = self.frame.rip.wrapping_sub(2);
        self.frame.rax = self.number;
    }

    fn can_restart(&self) -> bool {
        self.frame.rax as i64 == Errno::EINTR.as_return() && RESTARTABLE.contains(&self.number)
    }
}

impl Interrupted for TrapFrame {
    fn registers(&self) -> SigContext {
        let TrapFrame { r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax, .. } = *self;
        SigContext {
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp: self.rsp,
            rip: self.rip,
            rflags: self.rflags,
            segments: [USER_CODE, 0, 0, USER_DATA],
            exception: [self.error, self.vector, 0, 0],
            ..SigContext::default()
        }
    }

    fn vectors(&self) -> Vectors {
        // SAFETY: the entry code saves the vector state right below the frame and restores it from there.
        let mut state = unsafe { core::ptr::from_ref(self).cast::<u8>().sub(512).cast::<Vectors>().read() };
        // `fxsave64` leaves the end of its area as it was: the kernel's stack is not the program's to see.
        state[416..].fill(0);
        state
    }

    fn enter(&mut self, rip: u64, rsp: u64, arguments: [u64; 3]) {
        [self.rdi, self.rsi, self.rdx] = arguments;
        self.rip = rip;
        self.rsp = rsp;
        self.rax = 0;
        self.rflags = FIXED_FLAGS;
    }

    fn restart(&mut self) {}

    fn can_restart(&self) -> bool {
        false
    }
}

/// Sees to the signals that are due before `task` goes on. It may not.
pub(super) fn deliver_pending(task: &mut Task, to: &mut dyn Interrupted) {
    let may_restart = to.can_restart();
    let mut entered = false;
    while let Some((number, info)) = task.process().take_signal() {
        match task.signals.effect(number) {
            Effect::None => {}
            // The first program is beyond default actions: nobody could wait for it.
            Effect::Ends if task.pid() == super::process::INIT => {}
            Effect::Ends => lifecycle::die_of(number),
            Effect::Handled(action) => {
                if may_restart && !entered && action.flags & SA_RESTART != 0 {
                    to.restart();
                }
                entered = true;
                run_handler(task, to, number, action, info);
            }
        }
    }
    if !entered {
        if let Some(blocked) = task.signals.blocked_before.take() {
            task.process().set_blocked(blocked);
        }
        if may_restart {
            to.restart();
        }
    }
}

/// Delivers a signal that the program itself caused by what it just did; ends it where it has no handler for it.
pub(super) fn deliver_fault(task: &mut Task, to: &mut TrapFrame, number: u8, info: Info) -> Option<()> {
    let blocked = task.process().blocked() & bit(number) != 0;
    match task.signals.effect(number) {
        Effect::Handled(action) if !blocked => {
            run_handler(task, to, number, action, info);
            Some(())
        }
        _ => None,
    }
}

/// Has the program run a handler before it goes on. A stack without room for that ends it.
fn run_handler(task: &mut Task, to: &mut dyn Interrupted, number: u8, action: SigAction, info: Info) {
    if build(task, to, number, action, info).is_err() {
        lifecycle::die_of(SIGSEGV);
    }
    let process = task.process().clone();
    let own = if action.flags & SA_NODEFER == 0 { bit(number) } else { 0 };
    process.set_blocked(process.blocked() | action.mask | own);
    if action.flags & SA_RESETHAND != 0 {
        task.signals.set_action(number, SigAction::default());
        task.publish();
    }
}

fn build(task: &mut Task, to: &mut dyn Interrupted, number: u8, action: SigAction, info: Info) -> Result<()> {
    if action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT.into());
    }
    let mut registers = to.registers();
    let stack = task.signals.stack;
    let top = if action.flags & SA_ONSTACK != 0 && stack.size != 0 && !stack.contains(registers.rsp) {
        stack.base.wrapping_add(stack.size)
    } else {
        registers.rsp.wrapping_sub(RED_ZONE)
    };
    let vectors_at = top.wrapping_sub(512) & !63;
    let info_at = vectors_at.wrapping_sub(size_of::<SigInfo>() as u64);
    let context_at = info_at.wrapping_sub(size_of::<UContext>() as u64) & !15;
    // Above the return address, as after a call.
    let rsp = context_at.wrapping_sub(8);

    let is_fault = info.code > 0 && info.code < 0x80 && number != signal::SIGCHLD;
    if is_fault {
        registers.exception[3] = info.value;
    }
    registers.vectors = vectors_at;
    let blocked = task.signals.blocked_before.take().unwrap_or_else(|| task.process().blocked());
    let context = UContext { flags: CONTEXT_FLAGS, link: 0, stack, registers, blocked };
    let origin = match is_fault {
        true => [info.value as u32, (info.value >> 32) as u32],
        false => [info.pid as u32, info.uid],
    };
    let status = if is_fault { 0 } else { info.value };
    let record = SigInfo { signal: number.into(), errno: 0, code: info.code, pad: 0, origin, status, rest: [0; 12] };
    UserPtr::<Vectors>::new(vectors_at).write(&to.vectors())?;
    UserPtr::new(info_at).write(&record)?;
    UserPtr::new(context_at).write(&context)?;
    UserPtr::new(rsp).write(&action.restorer)?;
    if action.handler >= USER_END {
        return Err(Errno::EFAULT.into());
    }
    to.enter(action.handler, rsp, [number.into(), info_at, context_at]);
    Ok(())
}

/// `rt_sigreturn(2)`: goes on where a handler interrupted the program. `rsp` is where the handler's return left it.
pub(crate) fn return_from_handler(task: &mut Task, rsp: u64) -> ! {
    let (frame, vectors) = match restore(task, rsp) {
        Ok(restored) => restored,
        Err(_) => lifecycle::die_of(SIGSEGV),
    };
    let mut again = Restored { frame, vectors };
    super::attend_if_needed(&mut again);
    let Restored { frame, vectors } = again;
    // SAFETY: the frame holds a program's state, checked in `restore` or made by `enter`.
    unsafe { entry::leave_whole(&frame, &vectors) }
}

/// A program that came back from a handler, and may go into the next one.
struct Restored {
    frame: TrapFrame,
    vectors: entry::AlignedVectors,
}

impl Interrupted for Restored {
    fn registers(&self) -> SigContext {
        self.frame.registers()
    }

    fn vectors(&self) -> Vectors {
        self.vectors.0
    }

    fn enter(&mut self, rip: u64, rsp: u64, arguments: [u64; 3]) {
        self.frame.enter(rip, rsp, arguments);
    }

    fn restart(&mut self) {}

    fn can_restart(&self) -> bool {
        false
    }
}

/// Reads the record of a handler's frame; nothing in it is trusted.
fn restore(task: &mut Task, rsp: u64) -> Result<(TrapFrame, entry::AlignedVectors)> {
    let context = UserPtr::<UContext>::new(rsp).read()?;
    let registers = context.registers;
    if registers.rip >= USER_END {
        return Err(Errno::EFAULT.into());
    }
    let mut vectors = entry::AlignedVectors(thread::save_current());
    if registers.vectors != 0 {
        vectors.0 = UserPtr::<Vectors>::new(registers.vectors).read()?;
        let mxcsr = u32::from_le_bytes([vectors.0[24], vectors.0[25], vectors.0[26], vectors.0[27]]) & MXCSR_BITS;
        vectors.0[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    }
    task.process().set_blocked(context.blocked);
    // A handler that is left may have set up another stack, but not from the one that it runs on.
    if !task.signals.stack.contains(rsp) {
        task.signals.stack = context.stack;
    }
    let SigContext { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rip, .. } = registers;
    let frame = TrapFrame {
        r15,
        r14,
        r13,
        r12,
        r11,
        r10,
        r9,
        r8,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rcx,
        rax,
        vector: 0,
        error: 0,
        rip,
        cs: USER_CODE.into(),
        rflags: registers.rflags & USER_FLAGS | FIXED_FLAGS,
        rsp: registers.rsp,
        ss: USER_DATA.into(),
    };
    Ok((frame, vectors))
}
