//! Tasks: programs that run, one processor for all of them.
//!
//! - [`Task`] is what a program is to itself: its memory, descriptors, credentials, signals. Only its own thread touches it.
//! - [`Process`] is what others know of it: number, parent, how it ended ([`process`]).
//! - [`thread`] switches between kernel stacks and waits; [`entry`] is the way in and out by `SYSCALL`.
//! - [`space`] is a program's memory, [`trap`] what happens when it does what it may not, [`deliver`] how signals reach it,
//!   [`lifecycle`] how tasks begin, multiply, become other programs and end.
//!
//! Lock order: process table → process → space → (filesystem locks). The scheduler's lock is innermost.

mod deliver;
mod entry;
mod lifecycle;
pub(crate) mod process;
pub(crate) mod signal;
pub(crate) mod space;
mod thread;
mod trap;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use base::sync::Mutex;
use vfs::{Context, Errno, Result, SetIdOnExec};
use x86_64::instructions::interrupts;

pub(crate) use deliver::return_from_handler;
use deliver::{Call, Interrupted};
pub(crate) use entry::SyscallFrame;
#[cfg(any(debug_assertions, feature = "suites"))]
pub(crate) use lifecycle::run_as_task;
pub(crate) use lifecycle::{
    TidWords, Vfork, become_program, die_of, end_all_programs, exit, fork, reserve_init, spawn_program,
};
pub(crate) use process::{ExitStatus, Process};
pub(crate) use signal::Signals;
pub(crate) use space::{Rights, UserSpace};
pub(crate) use thread::{fs_base, gs_base, note_time, set_fs_base, set_gs_base, wait_until, yield_now};

use crate::syscall::abi::RLimit;

/// A program's memory, shared between a parent in `vfork` and its child.
pub(crate) type SharedSpace = Arc<Mutex<UserSpace>>;

/// How many limits `prlimit64` knows.
pub(crate) const LIMITS: usize = 16;

/// A program that runs.
pub(crate) struct Task {
    /// Its face to the namespace.
    pub(crate) context: Context,
    /// Its signals.
    pub(crate) signals: Signals,
    /// Its limits, by `RLIMIT_*`.
    pub(crate) limits: [RLimit; LIMITS],
    /// `set_tid_address`: a word to clear at the end, or 0.
    pub(crate) clear_at_exit: u64,
    /// Whether set-id bits count for programs that it becomes (`PR_SET_NO_NEW_PRIVS`).
    pub(crate) set_id: SetIdOnExec,
    space: SharedSpace,
    process: Arc<Process>,
    origin: Origin,
}

/// How a task began: what its thread starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// With nothing.
    Program,
    /// With its parent's registers.
    Fork,
}

impl Task {
    /// Its memory.
    #[inline]
    pub(crate) fn space(&self) -> &SharedSpace {
        &self.space
    }

    /// Itself as others see it.
    #[inline]
    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Its number.
    #[inline]
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Tells others what changed: after its signals, ids, descriptors' table or memory were replaced.
    pub(crate) fn publish(&self) {
        self.process.publish(&self.signals, &self.context, &self.space);
    }

    fn is_fork(&self) -> bool {
        self.origin == Origin::Fork
    }
}

/// Sets up system calls and programs' traps. The code that runs now becomes the first thread.
pub(crate) fn init() {
    thread::init();
    entry::init();
    trap::init();
    crate::user::init();
    base::sync::set_relax(thread::yield_now);
}

/// The task whose thread runs.
///
/// # Safety
/// No other reference to it may be in use: only the entry of a system call, and code that a program's trap enters from user
/// mode, may ask.
#[inline]
pub(crate) unsafe fn current<'a>() -> Option<&'a mut Task> {
    // SAFETY: the pointer is null or to the running thread's own task, which lives until that thread ends it; the caller
    // vouches for the rest.
    unsafe { thread::task().as_mut() }
}

/// The number of the process that runs, 0 for the kernel itself.
pub(crate) fn current_pid() -> i32 {
    // SAFETY: only the shared, immutable number is read.
    unsafe { thread::task().as_ref() }.map_or(0, |task| task.process.pid())
}

/// Has `length` bytes of the current program's memory there; see [`UserSpace::prefault`].
///
/// # Errors
/// `EFAULT`, `ENOMEM`.
#[inline]
pub(crate) fn prefault(address: u64, length: usize, access: Rights) -> Result<usize> {
    match thread::with_space(|space| space.prefault(address, length, access)) {
        Some(outcome) => Ok(outcome?),
        None => Err(Errno::EFAULT.into()),
    }
}

/// Something is to be done before the next return to a program.
static ATTENTION: AtomicBool = AtomicBool::new(false);

/// Has [`attend`] run before the next return to a program.
pub(crate) fn request_attention() {
    ATTENTION.store(true, Ordering::Relaxed);
}

/// Whether [`attend`] is to run.
#[inline]
fn needs_attention() -> bool {
    ATTENTION.load(Ordering::Relaxed)
}

/// What is due before a program goes on: signals, or the disk's turn. The program may not come back from it.
#[cold]
fn attend(to: &mut dyn Interrupted) {
    ATTENTION.store(false, Ordering::Relaxed);
    crate::init::write_back_if_due();
    // SAFETY: the program is about to leave the kernel: nothing refers to its task any more.
    let Some(task) = (unsafe { current() }) else { return };
    if let Some(signal) = task.process.doomed_by() {
        lifecycle::die_of(signal);
    }
    deliver::deliver_pending(task, to);
}

/// Sees to everything that is due, and leaves interrupts off: one that came between the last look and the return to the program
/// would be seen to at its next system call only, which may never be.
#[inline]
fn attend_if_needed(to: &mut dyn Interrupted) {
    interrupts::disable();
    while needs_attention() {
        interrupts::enable();
        attend(to);
        interrupts::disable();
    }
}

/// What the end of a system call does: everything that is due. Interrupts are off when it returns.
#[inline]
pub(crate) fn attend_call(frame: &mut SyscallFrame, number: u64) {
    attend_if_needed(&mut Call { frame, number });
}
