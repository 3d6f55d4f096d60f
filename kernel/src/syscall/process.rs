//! Processes: beginning, becoming, waiting, ending.

use vfs::{AT_FDCWD, AtFlags, Errno, Error, Fd, Result};

use super::abi::{RLimit, RUsage, TimeVal, Tms};
use super::{Answer, Caller, with_path};
use crate::exec::{self, Strings};
use crate::task::process::{self, Children};
use crate::task::{self, ExitStatus, LIMITS, Process, TidWords, Vfork};
use crate::time;
use crate::user::{UserPtr, UserString};

const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
/// The signal that the end of the child sends.
const CSIGNAL: u64 = 0xff;

/// `fork(2)`.
pub(super) fn fork(caller: &mut Caller<'_>) -> Answer {
    let child = task::fork(caller.task, caller.frame, Vfork::No, TidWords::default())?;
    Ok(child.pid() as usize)
}

/// `vfork(2)`.
pub(super) fn vfork(caller: &mut Caller<'_>) -> Answer {
    let child = task::fork(caller.task, caller.frame, Vfork::Yes, TidWords::default())?;
    Ok(child.pid() as usize)
}

/// `clone(2)`, as far as it makes a process: `fork` with a stack, and `vfork`. Threads are not there.
pub(super) fn clone(
    caller: &mut Caller<'_>,
    flags: u64,
    stack: u64,
    parent_tid: UserPtr<i32>,
    child_tid: UserPtr<i32>,
    tls: u64,
) -> Answer {
    let kind = match flags & (CLONE_VM | CLONE_VFORK) {
        0 | CLONE_VFORK => Vfork::No,
        CLONE_VM => return Err(Error::new(Errno::EINVAL, "threads are not there")),
        _ => Vfork::Yes,
    };
    let known = CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | CSIGNAL;
    if flags & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    debug_assert!(flags & CLONE_SETTLS == 0 || tls == 0);
    let mut frame = *caller.frame;
    if stack != 0 {
        frame.rsp = stack;
    }
    let if_set = |flag: u64, claim: UserPtr<i32>| if flags & flag != 0 { claim.address() } else { 0 };
    let words = TidWords {
        parent: if_set(CLONE_PARENT_SETTID, parent_tid),
        child: if_set(CLONE_CHILD_SETTID, child_tid),
        clear: if_set(CLONE_CHILD_CLEARTID, child_tid),
    };
    let child = task::fork(caller.task, &frame, kind, words)?;
    Ok(child.pid() as usize)
}

/// `execve(2)`.
pub(super) fn execve(
    caller: &mut Caller<'_>,
    path: UserString,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
) -> Answer {
    execveat(caller, AT_FDCWD, path, arguments, environment, 0)
}

/// `execveat(2)`.
pub(super) fn execveat(
    caller: &mut Caller<'_>,
    at: Fd,
    path: UserString,
    arguments: UserPtr<u64>,
    environment: UserPtr<u64>,
    flags: u32,
) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    if !(AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let image = with_path(path, |path| {
        let mut arguments = strings(arguments)?;
        if arguments.len() == 0 {
            // A program without even a name is given an empty one, as Linux does.
            arguments.push(b"")?;
        }
        let environment = strings(environment)?;
        let task = &caller.task;
        exec::load_for(&task.context, task.set_id, at, path, flags, arguments, &environment)
    })?;
    task::become_program(caller.task, image, caller.frame);
    Ok(0)
}

/// A null-terminated array of texts; no array at all is an empty one.
fn strings(array: UserPtr<u64>) -> Result<Strings> {
    let mut strings = Strings::default();
    let mut at = array;
    while array.address() != 0 {
        let text = at.read()?;
        if text == 0 {
            break;
        }
        strings.push(&UserString::new(text).read_long(Strings::LONGEST - 1)?)?;
        at = UserPtr::new(at.address().wrapping_add(8));
    }
    Ok(strings)
}

/// `exit(2)` and `exit_group(2)`: there is one thread.
pub(super) fn exit(_caller: &mut Caller<'_>, code: u32) -> Answer {
    task::exit(ExitStatus::Code(code as u8))
}

const WNOHANG: u32 = 1;
const WUNTRACED: u32 = 2;
const WCONTINUED: u32 = 8;
/// `__WNOTHREAD`, `__WALL`, `__WCLONE`.
const WAIT_KINDS: u32 = 0xe000_0000;

/// `wait4(2)`.
pub(super) fn wait4(
    caller: &mut Caller<'_>,
    pid: i32,
    status: UserPtr<i32>,
    options: u32,
    usage: UserPtr<RUsage>,
) -> Answer {
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | WAIT_KINDS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let which = match pid {
        -1 => Children::Any,
        0 => Children::Group(caller.process().kinship().group),
        i32::MIN => return Err(Errno::ESRCH.into()),
        pid if pid < 0 => Children::Group(-pid),
        pid => Children::One(pid),
    };
    let own = caller.pid();
    let child = loop {
        let (any, ended) = process::look_for_child(own, which);
        match ended {
            Some(child) => break child,
            None if !any => return Err(Errno::ECHILD.into()),
            None if options & WNOHANG != 0 => return Ok(0),
            None => task::wait_until(&|| !matches!(process::look_for_child(own, which), (true, None)))?,
        }
    };
    let pid = child.pid();
    if let (Some(claim), Some(ended)) = (status.optional(), child.ended()) {
        claim.write(&ended.encode())?;
    }
    if let Some(claim) = usage.optional() {
        claim.write(&usage_of(&child, 0))?;
    }
    process::reap(&child);
    Ok(pid as usize)
}

fn usage_of(process: &Process, most_pages: u64) -> RUsage {
    let (own, _) = process.times();
    RUsage { user: TimeVal::from_nanos(own), max_rss: (most_pages * 4) as i64, ..RUsage::default() }
}

const RUSAGE_SELF: i32 = 0;
const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_THREAD: i32 = 1;

/// `getrusage(2)`: time on the processor is not divided into user's and system's.
pub(super) fn getrusage(caller: &mut Caller<'_>, who: i32, result: UserPtr<RUsage>) -> Answer {
    task::note_time();
    let usage = match who {
        RUSAGE_SELF | RUSAGE_THREAD => {
            let (_, most) = caller.space().lock().resident();
            usage_of(caller.process(), most)
        }
        RUSAGE_CHILDREN => {
            let (_, children) = caller.process().times();
            RUsage { user: TimeVal::from_nanos(children), ..RUsage::default() }
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    super::done(result.write(&usage))
}

/// `times(2)`: in hundredths of a second.
pub(super) fn times(caller: &mut Caller<'_>, result: UserPtr<Tms>) -> Answer {
    const TICK: u64 = 10_000_000;
    task::note_time();
    let (own, children) = caller.process().times();
    if let Some(claim) = result.optional() {
        claim.write(&Tms { ticks: [(own / TICK) as i64, 0, (children / TICK) as i64, 0] })?;
    }
    Ok((time::monotonic() / TICK) as usize)
}

/// `getpid(2)`.
pub(super) fn getpid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.pid() as usize)
}

/// `getppid(2)`.
pub(super) fn getppid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.process().kinship().parent as usize)
}

/// `set_tid_address(2)`.
pub(super) fn set_tid_address(caller: &mut Caller<'_>, address: u64) -> Answer {
    caller.clear_at_exit = address;
    Ok(caller.pid() as usize)
}

/// The process that a call names; 0 is the caller.
fn named(caller: &Caller<'_>, pid: i32) -> Result<alloc::sync::Arc<Process>> {
    if pid == 0 { Ok(caller.process().clone()) } else { process::find(pid).ok_or_else(|| Errno::ESRCH.into()) }
}

/// `getpgid(2)`.
pub(super) fn getpgid(caller: &mut Caller<'_>, pid: i32) -> Answer {
    Ok(named(caller, pid)?.kinship().group as usize)
}

/// `getpgrp(2)`.
pub(super) fn getpgrp(caller: &mut Caller<'_>) -> Answer {
    getpgid(caller, 0)
}

/// `setpgid(2)`.
pub(super) fn setpgid(caller: &mut Caller<'_>, pid: i32, group: i32) -> Answer {
    if group < 0 {
        return Err(Errno::EINVAL.into());
    }
    let process = named(caller, pid)?;
    let own = caller.process();
    let kinship = process.kinship();
    if process.pid() != own.pid() && kinship.parent != own.pid() {
        return Err(Errno::ESRCH.into());
    }
    if kinship.session == process.pid() || kinship.session != own.kinship().session {
        return Err(Errno::EPERM.into());
    }
    let group = if group == 0 { process.pid() } else { group };
    let exists = |other: &alloc::sync::Arc<Process>| {
        let kinship = other.kinship();
        kinship.group == group && kinship.session == own.kinship().session
    };
    if group != process.pid() && !process::all().iter().any(exists) {
        return Err(Errno::EPERM.into());
    }
    process.set_kinship(|kinship| kinship.group = group);
    Ok(0)
}

/// `getsid(2)`.
pub(super) fn getsid(caller: &mut Caller<'_>, pid: i32) -> Answer {
    Ok(named(caller, pid)?.kinship().session as usize)
}

/// `setsid(2)`.
pub(super) fn setsid(caller: &mut Caller<'_>) -> Answer {
    let own = caller.pid();
    if process::all().iter().any(|process| process.kinship().group == own) {
        return Err(Errno::EPERM.into());
    }
    caller.process().set_kinship(|kinship| (kinship.group, kinship.session) = (own, own));
    Ok(own as usize)
}

const RLIMIT_FSIZE: usize = 1;
const RLIMIT_NOFILE: usize = 7;

/// `prlimit64(2)` on oneself.
pub(super) fn prlimit64(
    caller: &mut Caller<'_>,
    pid: i32,
    resource: u32,
    new: UserPtr<RLimit>,
    old: UserPtr<RLimit>,
) -> Answer {
    let index = resource as usize;
    if index >= LIMITS {
        return Err(Errno::EINVAL.into());
    }
    if pid != 0 && pid != caller.pid() {
        return Err(if process::find(pid).is_some() { Errno::EPERM } else { Errno::ESRCH }.into());
    }
    let new = new.optional().map(UserPtr::read).transpose()?;
    let before = caller.limits[index];
    if let Some(new) = new {
        if new.current > new.maximum {
            return Err(Errno::EINVAL.into());
        }
        let privileged = caller.context.credentials.capable(vfs::Capabilities::CAP_SYS_RESOURCE);
        if (new.maximum > before.maximum && !privileged) || (index == RLIMIT_NOFILE && new.maximum > vfs::NR_OPEN) {
            return Err(Errno::EPERM.into());
        }
        caller.limits[index] = new;
        match index {
            RLIMIT_FSIZE => caller.context.file_size_limit = new.current,
            RLIMIT_NOFILE => caller.context.files.set_limit(new.current),
            _ => {}
        }
    }
    match old.optional() {
        Some(claim) => super::done(claim.write(&before)),
        None => Ok(0),
    }
}

/// `getrlimit(2)`.
pub(super) fn getrlimit(caller: &mut Caller<'_>, resource: u32, limit: UserPtr<RLimit>) -> Answer {
    if limit.address() == 0 {
        return Err(Errno::EFAULT.into());
    }
    prlimit64(caller, 0, resource, UserPtr::new(0), limit)
}

/// `setrlimit(2)`.
pub(super) fn setrlimit(caller: &mut Caller<'_>, resource: u32, limit: UserPtr<RLimit>) -> Answer {
    if limit.address() == 0 {
        return Err(Errno::EFAULT.into());
    }
    prlimit64(caller, 0, resource, limit, UserPtr::new(0))
}

/// `getpriority(2)`: all are alike. The answer is 20 less the priority.
pub(super) fn getpriority(_caller: &mut Caller<'_>, which: u32, _who: u32) -> Answer {
    if which > 2 { Err(Errno::EINVAL.into()) } else { Ok(20) }
}

/// `setpriority(2)`: accepted, without effect.
pub(super) fn setpriority(_caller: &mut Caller<'_>, which: u32, _who: u32, _priority: i32) -> Answer {
    if which > 2 { Err(Errno::EINVAL.into()) } else { Ok(0) }
}
