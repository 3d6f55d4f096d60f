//! Signals: kept as state; those whose default is to end a program do.

use vfs::{Capabilities, Errno, Result};

use super::abi::{SigAction, SigAltStack};
use super::{Answer, Caller, done};
use crate::task::process::{self, Process};
use crate::task::signal::{Fate, LAST, ends_by_default};
use crate::task::{self};
use crate::user::UserPtr;

/// Bytes in a signal set, as every call must say.
const SET_BYTES: usize = 8;

fn signal(number: i32) -> Result<u8> {
    u8::try_from(number).ok().filter(|&number| number <= LAST).ok_or_else(|| Errno::EINVAL.into())
}

/// `rt_sigaction(2)`.
pub(super) fn rt_sigaction(
    caller: &mut Caller<'_>,
    number: i32,
    new: UserPtr<SigAction>,
    old: UserPtr<SigAction>,
    size: usize,
) -> Answer {
    if size != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let number = signal(number)?;
    let before = caller.signals.action(number).ok_or(Errno::EINVAL)?;
    if let Some(new) = new.optional() {
        let action = new.read()?;
        if !caller.signals.set_action(number, action) {
            return Err(Errno::EINVAL.into());
        }
        caller.publish();
    }
    match old.optional() {
        Some(claim) => done(claim.write(&before)),
        None => Ok(0),
    }
}

/// `rt_sigprocmask(2)`.
pub(super) fn rt_sigprocmask(
    caller: &mut Caller<'_>,
    how: u32,
    new: UserPtr<u64>,
    old: UserPtr<u64>,
    size: usize,
) -> Answer {
    if size != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let before = caller.signals.blocked;
    if let Some(new) = new.optional() {
        let set = new.read()?;
        let blocked = match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        if blocked != before {
            caller.signals.block(blocked);
            caller.publish();
        }
    }
    match old.optional() {
        Some(claim) => done(claim.write(&before)),
        None => Ok(0),
    }
}

/// `rt_sigpending(2)`: a signal that is blocked is gone, not pending.
pub(super) fn rt_sigpending(_caller: &mut Caller<'_>, set: UserPtr<u64>, size: usize) -> Answer {
    if size > SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    done(set.write(&0))
}

/// `rt_sigsuspend(2)` and `pause(2)`: no handler will run, so only the end of the program ends the wait.
pub(super) fn pause(_caller: &mut Caller<'_>) -> Answer {
    task::wait_until(&|| false)?;
    Err(Errno::EINTR.into())
}

const SS_ONSTACK: i32 = 1;
const SS_DISABLE: i32 = 2;
/// `MINSIGSTKSZ`.
const STACK_MIN: u64 = 2048;

/// `sigaltstack(2)`.
pub(super) fn sigaltstack(caller: &mut Caller<'_>, new: UserPtr<SigAltStack>, old: UserPtr<SigAltStack>) -> Answer {
    let before = caller.signals.stack;
    if let Some(new) = new.optional() {
        let stack = new.read()?;
        match stack.flags & !i32::MIN {
            SS_DISABLE => caller.signals.stack = SigAltStack { base: 0, flags: SS_DISABLE, pad: 0, size: 0 },
            0 | SS_ONSTACK if stack.size < STACK_MIN => return Err(Errno::ENOMEM.into()),
            0 | SS_ONSTACK => caller.signals.stack = SigAltStack { flags: 0, ..stack },
            _ => return Err(Errno::EINVAL.into()),
        }
    }
    match old.optional() {
        Some(claim) => done(claim.write(&before)),
        None => Ok(0),
    }
}

/// Sends a signal to the caller itself: it may not return.
pub(super) fn raise(caller: &Caller<'_>, signal: u8) {
    if caller.signals.fate(signal) == Fate::Ends {
        task::die_of(signal);
    }
}

fn may_signal(caller: &Caller<'_>, target: &Process) -> bool {
    // Ids of others are not kept here: the privileged may signal anyone, everybody their own children.
    caller.context.credentials.capable(Capabilities::CAP_KILL)
        || target.pid() == caller.pid()
        || target.kinship().parent == caller.pid()
}

/// Sends a signal to one process.
fn send(caller: &Caller<'_>, target: &Process, signal: u8) -> Result<()> {
    if !may_signal(caller, target) {
        return Err(Errno::EPERM.into());
    }
    if signal == 0 || target.ended().is_some() {
        return Ok(());
    }
    if target.pid() == caller.pid() {
        raise(caller, signal);
    } else if target.pid() != process::INIT && ends_by_default(signal) && !target.shields(signal) {
        target.doom(signal);
    }
    Ok(())
}

/// `kill(2)`.
pub(super) fn kill(caller: &mut Caller<'_>, pid: i32, number: i32) -> Answer {
    let number = signal(number)?;
    if pid > 0 {
        let target = process::find(pid).ok_or(Errno::ESRCH)?;
        return done(send(caller, &target, number));
    }
    let group = match pid {
        0 => Some(caller.process().kinship().group),
        -1 => None,
        pid => Some(pid.checked_neg().ok_or(Errno::ESRCH)?),
    };
    let own = caller.pid();
    let meant = |process: &Process| match group {
        Some(group) => process.kinship().group == group,
        None => process.pid() != process::INIT && process.pid() != own,
    };
    let mut outcome = Err(Errno::ESRCH.into());
    let mut includes_caller = false;
    for target in process::all() {
        if !meant(&target) {
            continue;
        }
        // The caller is last: it may not come back.
        includes_caller |= target.pid() == own;
        let sent = if target.pid() == own { Ok(()) } else { send(caller, &target, number) };
        if outcome.is_err() {
            outcome = sent;
        }
    }
    if includes_caller {
        raise(caller, number);
    }
    done(outcome)
}

/// `tkill(2)`: threads are processes.
pub(super) fn tkill(caller: &mut Caller<'_>, pid: i32, number: i32) -> Answer {
    if pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    kill(caller, pid, number)
}

/// `tgkill(2)`.
pub(super) fn tgkill(caller: &mut Caller<'_>, group: i32, pid: i32, number: i32) -> Answer {
    if group <= 0 || pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if group != pid {
        return Err(Errno::ESRCH.into());
    }
    kill(caller, pid, number)
}
