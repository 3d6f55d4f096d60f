//! How tasks begin, multiply, become other programs, and end.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sync::Mutex;
use vfs::{Context, Errno, Error, Result, SetIdOnExec};

use super::signal::{Info, SIGCHLD};
use super::{ExitStatus, LIMITS, Origin, Process, Signals, SyscallFrame, Task, process, thread};
use crate::exec::Image;
use crate::syscall::abi::RLimit;
use crate::user::UserPtr;

/// Whether the caller of [`fork`] waits for the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vfork {
    /// `vfork`: the child uses the parent's memory, and the parent sleeps until it has its own or is gone.
    Yes,
    /// `fork`: the child gets a copy.
    No,
}

/// Where the number of a new child goes (`CLONE_PARENT_SETTID`, `CLONE_CHILD_SETTID`), and which word of its memory is cleared when
/// it ends (`CLONE_CHILD_CLEARTID`); 0 for nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TidWords {
    /// In the parent's memory.
    pub(crate) parent: u64,
    /// In the child's.
    pub(crate) child: u64,
    /// In the child's, at its end.
    pub(crate) clear: u64,
}

const UNLIMITED: RLimit = RLimit { current: u64::MAX, maximum: u64::MAX };

/// Limits as Linux starts with (`RLIMIT_STACK`, `RLIMIT_CORE`, `RLIMIT_NPROC`, `RLIMIT_NOFILE`, `RLIMIT_MEMLOCK`, …).
fn first_limits() -> [RLimit; LIMITS] {
    let mut limits = [UNLIMITED; LIMITS];
    limits[3] = RLimit { current: super::space::STACK_BYTES, maximum: u64::MAX };
    limits[4] = RLimit { current: 0, maximum: u64::MAX };
    limits[6] = RLimit { current: 1024, maximum: 1024 };
    limits[7] = RLimit { current: 1024, maximum: vfs::NR_OPEN };
    limits[8] = RLimit { current: 8 << 20, maximum: 8 << 20 };
    limits[13] = RLimit { current: 0, maximum: 0 };
    limits[14] = RLimit { current: 0, maximum: 0 };
    limits
}

/// Starts a program in a process of its own.
///
/// # Errors
/// `ENOMEM`, `EAGAIN` when process numbers are out.
pub(crate) fn spawn_program(context: Context, image: Image) -> Result<Arc<Process>> {
    let process = Process::new(None).ok_or(Errno::EAGAIN)?;
    let pid = process.pid();
    let started = start(context, image, &process);
    if started.is_err() {
        process::forget(pid);
    }
    started.map(|()| process)
}

fn start(mut context: Context, image: Image, process: &Arc<Process>) -> Result<()> {
    context.pid = process.pid();
    context.credentials = image.credentials;
    process.set_title(|title| *title = image.title);
    let task = Task {
        context,
        signals: Signals::new(),
        limits: first_limits(),
        clear_at_exit: 0,
        set_id: SetIdOnExec::Honoured,
        space: Arc::new(Mutex::new(image.space)),
        process: process.clone(),
        origin: Origin::Program,
    };
    task.publish();
    thread::spawn(task, &SyscallFrame::first(image.entry, image.stack_pointer))
}

/// Runs `action` as a program without code would: with a task, its own process and an empty memory. For suites, which make
/// system calls from inside the kernel.
///
/// # Errors
/// `ENOMEM`, `EAGAIN`.
#[cfg(any(debug_assertions, feature = "suites"))]
pub(crate) fn run_as_task<R>(mut context: Context, action: impl FnOnce() -> R) -> Result<R> {
    let mut space = super::UserSpace::new()?;
    space.place_heap(super::space::PROGRAM_BASE);
    let space = Arc::new(Mutex::new(space));
    let process = Process::new(None).ok_or(Errno::EAGAIN)?;
    let pid = process.pid();
    context.pid = pid;
    let task = Task {
        context,
        signals: Signals::new(),
        limits: first_limits(),
        clear_at_exit: 0,
        set_id: SetIdOnExec::Honoured,
        space,
        process,
        origin: Origin::Program,
    };
    task.publish();
    thread::adopt(task);
    let result = action();
    drop(thread::abandon());
    process::forget(pid);
    Ok(result)
}

/// Takes the first process's number, for a system without a first program.
pub(crate) fn reserve_init() {
    // Kept for ever in the table, which is the purpose; there are numbers left.
    let _ = Process::new(None);
}

/// Makes a child of the current task that goes on with its registers, and 0 as the call's result.
///
/// # Errors
/// `EAGAIN` when process numbers are out; `ENOMEM`.
pub(crate) fn fork(task: &mut Task, frame: &SyscallFrame, vfork: Vfork, words: TidWords) -> Result<Arc<Process>> {
    let child = Process::new(Some(&task.process)).ok_or(Error::new(Errno::EAGAIN, "no process numbers left"))?;
    let made = (|| {
        let pid = child.pid();
        let put = |address: u64| if address == 0 { Ok(()) } else { UserPtr::new(address).write(&pid) };
        // A word that is not there is the program's own loss, as on Linux.
        let _ = put(words.parent);
        let space = match vfork {
            Vfork::Yes => {
                let _ = put(words.child);
                task.space.clone()
            }
            Vfork::No => {
                let mut space = task.space.lock().duplicate()?;
                if words.child != 0 {
                    let _ = space.write_bytes(words.child, &pid.to_ne_bytes());
                }
                Arc::new(Mutex::new(space))
            }
        };
        let copy = Task {
            context: task.context.fork(child.pid()),
            signals: task.signals.clone(),
            limits: task.limits,
            clear_at_exit: words.clear,
            set_id: task.set_id,
            space,
            process: child.clone(),
            origin: Origin::Fork,
        };
        copy.publish();
        thread::spawn(copy, &SyscallFrame { rax: 0, ..*frame })
    })();
    if let Err(error) = made {
        process::forget(child.pid());
        return Err(error);
    }
    if vfork == Vfork::Yes {
        let released = child.clone();
        // A doomed parent ends when it returns to its program; the child has its own hold on the memory.
        let _ = thread::wait_until_or_doomed(&move || released.is_released());
    }
    Ok(child)
}

/// Puts another program in the place of the current task's: what can fail is done already.
pub(crate) fn become_program(task: &mut Task, image: Image, frame: &mut SyscallFrame) {
    task.context.credentials = image.credentials;
    task.context.files.close_on_exec();
    task.signals.after_exec();
    task.clear_at_exit = 0;
    task.process.set_title(|title| *title = image.title);
    task.space = Arc::new(Mutex::new(image.space));
    task.publish();
    thread::set_space(Some(&task.space));
    thread::set_fs_base(0);
    thread::set_gs_base(0);
    thread::reset_vectors();
    *frame = SyscallFrame::first(image.entry, image.stack_pointer);
    task.process.release();
}

/// Ends the current task.
pub(crate) fn exit(status: ExitStatus) -> ! {
    // SAFETY: this function does not return, so whoever holds the task further up the stack does not use it again.
    if let Some(task) = unsafe { super::current() }
        && task.clear_at_exit != 0
    {
        // A word that is not there is the program's own loss.
        let _ = UserPtr::<u32>::new(task.clear_at_exit).write(&0);
    }
    thread::note_time();
    if let Some(task) = thread::abandon() {
        let process = task.process.clone();
        let ended = child_ended(&task, status);
        // Files and memory first: who waits for the end finds them released.
        drop(task);
        process.end(status);
        let parent = process::find(process.kinship().parent).filter(|parent| parent.ended().is_none());
        match parent {
            Some(parent) => {
                parent.send(SIGCHLD, ended);
                if parent.disowns_children() {
                    process::forget(process.pid());
                }
            }
            // Nobody will wait for it, unless it is the first program, for which the boot's thread does.
            None if process.pid() != process::INIT && process.kinship().parent != 0 => process::forget(process.pid()),
            None => {}
        }
    }
    thread::end()
}

/// What a parent is told of a child's end.
fn child_ended(child: &Task, status: ExitStatus) -> Info {
    // CLD_EXITED, CLD_KILLED.
    let (code, value) = match status {
        ExitStatus::Code(code) => (1, code.into()),
        ExitStatus::Signal(signal) => (2, signal.into()),
    };
    Info { code, pid: child.pid(), uid: child.context.credentials.uid().real, value }
}

/// Ends the current task by a signal.
pub(crate) fn die_of(signal: u8) -> ! {
    exit(ExitStatus::Signal(signal))
}

/// Has every program end, and returns when all have.
pub(crate) fn end_all_programs() {
    let doomed: Vec<_> = process::all();
    for process in doomed {
        process.doom(super::signal::SIGKILL);
    }
    while thread::others() > 0 {
        thread::yield_now();
    }
}
