//! System calls: Linux's numbers, structures and errnos for x86_64.
//!
//! [`table`] is the list: number, name, handler. A handler is an ordinary function of typed arguments: it gets the [`Caller`]
//! and what each register holds, and answers a [`Result`]. What programs point at arrives as a claim of [`crate::user`] and is
//! copied in by the handler, checked by the namespace, and answered.
//!
//! A family a file. Structures are in [`abi`].

pub(crate) mod abi;
mod attributes;
mod descriptors;
mod directories;
mod futex;
mod ids;
mod io;
mod memory;
mod mounts;
mod names;
mod open;
mod poll;
mod process;
mod signals;
mod sockets;
mod sync;
mod system;
mod table;
mod time;
mod transfer;
mod xattr;

use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU64, Ordering};

use vfs::{Errno, Result};

use crate::task::{self, SyscallFrame, Task};
use crate::user::{PathBuffer, UserPtr, UserString};

pub(crate) use system::{RELEASE, VERSION, host_name};
#[cfg(any(debug_assertions, feature = "suites"))]
pub(crate) use table::{HIGHEST, name_of};

/// Who makes a system call: its task, and its registers for the few calls that change them.
pub(crate) struct Caller<'a> {
    task: &'a mut Task,
    frame: &'a mut SyscallFrame,
}

impl Deref for Caller<'_> {
    type Target = Task;

    fn deref(&self) -> &Task {
        self.task
    }
}

impl DerefMut for Caller<'_> {
    fn deref_mut(&mut self) -> &mut Task {
        self.task
    }
}

/// What a handler answers: a number that is not an error.
type Answer = Result<usize>;

/// A call's result in its register.
#[inline]
fn encode(answer: Answer) -> u64 {
    match answer {
        Ok(value) => value as u64,
        Err(error) => error.errno().as_return() as u64,
    }
}

/// A value that a register can hold.
trait Argument {
    fn from_register(register: u64) -> Self;
}

macro_rules! integer_arguments {
    ($($kind:ty)*) => {
        $(impl Argument for $kind {
            #[inline]
            fn from_register(register: u64) -> Self {
                // Linux's handlers take as many low bits as the type has, too.
                register as Self
            }
        })*
    };
}

integer_arguments!(u64 i64 usize u32 i32);

impl<T> Argument for UserPtr<T> {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self::new(register)
    }
}

impl Argument for UserString {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self::new(register)
    }
}

/// Runs the call that the registers ask for, and leaves its result in them. Called by the entry code; returns with
/// interrupts off.
pub(crate) extern "C" fn dispatch(frame: &mut SyscallFrame) {
    let number = frame.rax;
    // SAFETY: the program is in this call and nowhere else, so nobody has a reference to its task.
    if let Some(task) = unsafe { task::current() } {
        let mut caller = Caller { task, frame };
        let result = match table::HANDLERS.get(number as usize) {
            Some(Some(handler)) => handler(&mut caller),
            _ => unknown(number),
        };
        frame.rax = result;
    }
    task::attend_call(frame, number);
}

/// Makes a call in the name of the current task from inside the kernel: what suites do.
#[cfg(any(debug_assertions, feature = "suites"))]
pub(crate) fn call(number: u64, arguments: [u64; 6]) -> i64 {
    let mut frame = SyscallFrame::first(0, 0);
    frame.rax = number;
    [frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9] = arguments;
    dispatch(&mut frame);
    x86_64::instructions::interrupts::enable();
    frame.rax as i64
}

/// Numbers that were reported, one bit each; the last stands for all beyond.
static REPORTED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Answers a number without a handler, and says so once.
#[cold]
fn unknown(number: u64) -> u64 {
    let slot = number.min(511);
    let bit = 1 << (slot % 64);
    if REPORTED[slot as usize / 64].fetch_or(bit, Ordering::Relaxed) & bit == 0 {
        log::warn!("system call {number} is not there: ENOSYS");
    }
    Errno::ENOSYS.as_return() as u64
}

/// Calls `action` with the path that a program names.
///
/// # Errors
/// `EFAULT`, `ENAMETOOLONG`; those of `action`.
#[inline]
fn with_path<R>(path: UserString, action: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
    let mut buffer = PathBuffer::new();
    action(buffer.path(path)?)
}

/// As [`with_path`], for two paths.
fn with_paths<R>(first: UserString, second: UserString, action: impl FnOnce(&[u8], &[u8]) -> Result<R>) -> Result<R> {
    with_path(first, |first| with_path(second, |second| action(first, second)))
}

/// An id where -1 means "as it is".
fn optional_id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// The answer of a call that has none.
fn done(outcome: Result<()>) -> Answer {
    outcome.map(|()| 0)
}
