//! Signals: what a program sets up, sends, waits for; alarms.

use vfs::{Capabilities, Errno, Result};

use super::abi::{ITimerVal, SigAction, SigAltStack, SigInfo, TimeSpec, TimeVal};
use super::{Answer, Caller, done};
use crate::task::process::{self, Process, ShownIds};
use crate::task::signal::{Info, LAST, NO_STACK, SIGCONT, SIGKILL};
use crate::task::{self};
use crate::time;
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
    let before = caller.process().blocked();
    if let Some(new) = new.optional() {
        let set = new.read()?;
        let blocked = match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        caller.process().set_blocked(blocked);
    }
    match old.optional() {
        Some(claim) => done(claim.write(&before)),
        None => Ok(0),
    }
}

/// `rt_sigpending(2)`.
pub(super) fn rt_sigpending(caller: &mut Caller<'_>, set: UserPtr<u64>, size: usize) -> Answer {
    if size > SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let process = caller.process();
    done(set.write(&(process.pending() & process.blocked())))
}

/// `rt_sigreturn(2)`: the way back from a handler.
pub(super) fn rt_sigreturn(caller: &mut Caller<'_>) -> Answer {
    let rsp = caller.frame.rsp;
    task::return_from_handler(caller.task, rsp)
}

/// `pause(2)`.
pub(super) fn pause(_caller: &mut Caller<'_>) -> Answer {
    task::wait_until(&|| false)?;
    Err(Errno::EINTR.into())
}

/// Makes a call with another set of signals blocked, if there is one. A signal that ends the call is seen to before the set from
/// before comes back.
pub(super) fn with_blocked(
    caller: &mut Caller<'_>,
    set: UserPtr<u64>,
    size: usize,
    call: impl FnOnce(&mut Caller<'_>) -> Answer,
) -> Answer {
    let Some(set) = set.optional() else { return call(caller) };
    if size != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let set = set.read()?;
    let before = caller.process().blocked();
    caller.process().set_blocked(set);
    let answer = call(caller);
    match &answer {
        Err(error) if *error == Errno::EINTR => caller.signals.blocked_before = Some(before),
        _ => caller.process().set_blocked(before),
    }
    answer
}

/// `rt_sigsuspend(2)`.
pub(super) fn rt_sigsuspend(caller: &mut Caller<'_>, set: UserPtr<u64>, size: usize) -> Answer {
    if set.address() == 0 {
        return Err(Errno::EFAULT.into());
    }
    with_blocked(caller, set, size, pause)
}

/// `rt_sigtimedwait(2)`.
pub(super) fn rt_sigtimedwait(
    caller: &mut Caller<'_>,
    set: UserPtr<u64>,
    info: UserPtr<SigInfo>,
    timeout: UserPtr<TimeSpec>,
    size: usize,
) -> Answer {
    if size != SET_BYTES {
        return Err(Errno::EINVAL.into());
    }
    let set = set.read()?;
    let deadline = match timeout.optional() {
        Some(claim) => Some(time::monotonic().saturating_add(claim.read()?.to_nanos()?)),
        None => None,
    };
    let process = caller.process().clone();
    task::wait_until(&|| process.pending() & set != 0 || deadline.is_some_and(time::is_due))?;
    let (number, origin) = process.take_of(set).ok_or(Errno::EAGAIN)?;
    if let Some(claim) = info.optional() {
        let origin_words = [origin.pid as u32, origin.uid];
        let (code, status) = (origin.code, origin.value);
        claim.write(&SigInfo {
            signal: number.into(),
            errno: 0,
            code,
            pad: 0,
            origin: origin_words,
            status,
            rest: [0; 12],
        })?;
    }
    Ok(number.into())
}

const ITIMER_REAL: u32 = 0;

/// `setitimer(2)`: the one that counts real time.
pub(super) fn setitimer(
    caller: &mut Caller<'_>,
    which: u32,
    new: UserPtr<ITimerVal>,
    old: UserPtr<ITimerVal>,
) -> Answer {
    if which != ITIMER_REAL {
        return Err(Errno::EINVAL.into());
    }
    let span = |time: TimeVal| {
        let nanos = i64::checked_mul(time.micros, 1000).ok_or(Errno::EINVAL)?;
        TimeSpec { secs: time.secs, nanos }.to_nanos()
    };
    let new = match new.optional() {
        Some(claim) => claim.read()?,
        None => ITimerVal::default(),
    };
    let (first, interval) = (span(new.value)?, span(new.interval)?);
    let first = (first > 0).then(|| time::monotonic().saturating_add(first));
    let before = caller.process().set_alarm(first, interval);
    match old.optional() {
        Some(claim) => done(claim.write(&timer_value(before))),
        None => Ok(0),
    }
}

/// `getitimer(2)`.
pub(super) fn getitimer(caller: &mut Caller<'_>, which: u32, result: UserPtr<ITimerVal>) -> Answer {
    if which != ITIMER_REAL {
        return Err(Errno::EINVAL.into());
    }
    done(result.write(&timer_value(caller.process().alarm())))
}

fn timer_value((rest, interval): (Option<u64>, u64)) -> ITimerVal {
    // What is left is never shown as nothing.
    let rest = rest.map_or(0, |rest| rest.next_multiple_of(1000));
    ITimerVal { interval: TimeVal::from_nanos(interval), value: TimeVal::from_nanos(rest) }
}

/// `alarm(2)`: in seconds, rounded up.
pub(super) fn alarm(caller: &mut Caller<'_>, seconds: u32) -> Answer {
    const SECOND: u64 = 1_000_000_000;
    let first = (seconds > 0).then(|| time::monotonic().saturating_add(u64::from(seconds) * SECOND));
    let (rest, _) = caller.process().set_alarm(first, 0);
    Ok(rest.map_or(0, |rest| rest.div_ceil(SECOND)) as usize)
}

const SS_ONSTACK: i32 = 1;
const SS_DISABLE: i32 = 2;
/// `MINSIGSTKSZ`.
const STACK_MIN: u64 = 2048;

/// `sigaltstack(2)`.
pub(super) fn sigaltstack(caller: &mut Caller<'_>, new: UserPtr<SigAltStack>, old: UserPtr<SigAltStack>) -> Answer {
    let mut before = caller.signals.stack;
    if before.contains(caller.frame.rsp) {
        before.flags = SS_ONSTACK;
    }
    if let Some(new) = new.optional() {
        let stack = new.read()?;
        if before.flags == SS_ONSTACK {
            return Err(Errno::EPERM.into());
        }
        match stack.flags & !i32::MIN {
            SS_DISABLE => caller.signals.stack = NO_STACK,
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

/// Sends a signal to the caller itself; it is seen to at the end of the call.
pub(super) fn raise(caller: &Caller<'_>, signal: u8) {
    let (pid, uid) = (caller.pid(), caller.context.credentials.uid().real);
    if signal == SIGKILL {
        caller.process().doom(SIGKILL);
    } else {
        caller.process().send(signal, Info::by_kill(pid, uid));
    }
}

/// Whether the caller may send a signal: to itself, to whom its real or effective user id owns, within the session to go on
/// (`kill(2)`), or as the privileged.
fn may_signal(caller: &Caller<'_>, target: &Process, signal: u8) -> bool {
    let credentials = &caller.context.credentials;
    let owns = |ids: ShownIds| {
        let [real, _, saved, _] = ids.uid;
        [credentials.uid().real, credentials.uid().effective].iter().any(|&uid| uid == real || uid == saved)
    };
    target.pid() == caller.pid()
        || target.ids().is_some_and(owns)
        || (signal == SIGCONT && target.kinship().session == caller.process().kinship().session)
        || credentials.capable(Capabilities::CAP_KILL)
}

/// Sends a signal to one process.
fn send(caller: &Caller<'_>, target: &Process, signal: u8) -> Result<()> {
    if !may_signal(caller, target, signal) {
        return Err(Errno::EPERM.into());
    }
    if signal != 0 {
        target.send(signal, Info::by_kill(caller.pid(), caller.context.credentials.uid().real));
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
    for target in process::all() {
        if meant(&target) {
            let sent = send(caller, &target, number);
            outcome = outcome.or(sent);
        }
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
