//! Clocks and sleeping.

use vfs::{Capabilities, Errno, Result, Timestamp};

use super::abi::{TimeSpec, TimeVal, TimeZone};
use super::{Answer, Caller, done};
use crate::task;
use crate::time;
use crate::user::UserPtr;

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_PROCESS_CPUTIME: i32 = 2;
const CLOCK_THREAD_CPUTIME: i32 = 3;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_REALTIME_COARSE: i32 = 5;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_REALTIME_ALARM: i32 = 8;
const CLOCK_BOOTTIME_ALARM: i32 = 9;
const CLOCK_TAI: i32 = 11;

/// What a clock counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClockKind {
    Wall,
    Monotonic,
    Processor,
}

fn kind(clock: i32) -> Result<ClockKind> {
    Ok(match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => ClockKind::Wall,
        CLOCK_MONOTONIC | CLOCK_MONOTONIC_RAW | CLOCK_MONOTONIC_COARSE | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => {
            ClockKind::Monotonic
        }
        CLOCK_PROCESS_CPUTIME | CLOCK_THREAD_CPUTIME => ClockKind::Processor,
        _ => return Err(Errno::EINVAL.into()),
    })
}

/// `clock_gettime(2)`.
pub(super) fn clock_gettime(caller: &mut Caller<'_>, clock: i32, result: UserPtr<TimeSpec>) -> Answer {
    let now = match kind(clock)? {
        ClockKind::Monotonic => TimeSpec::from_nanos(time::monotonic()),
        ClockKind::Wall => time::now().into(),
        ClockKind::Processor => {
            task::note_time();
            TimeSpec::from_nanos(caller.process().times().0)
        }
    };
    done(result.write(&now))
}

/// `clock_getres(2)`.
pub(super) fn clock_getres(_caller: &mut Caller<'_>, clock: i32, result: UserPtr<TimeSpec>) -> Answer {
    kind(clock)?;
    match result.optional() {
        Some(claim) => done(claim.write(&TimeSpec::from_nanos(1))),
        None => Ok(0),
    }
}

/// `clock_settime(2)`.
pub(super) fn clock_settime(caller: &mut Caller<'_>, clock: i32, value: UserPtr<TimeSpec>) -> Answer {
    let value = value.read()?;
    if clock != CLOCK_REALTIME {
        return Err(Errno::EINVAL.into());
    }
    value.to_nanos()?;
    set_wall(caller, Timestamp { secs: value.secs, nanos: value.nanos as u32 })
}

fn set_wall(caller: &Caller<'_>, now: Timestamp) -> Answer {
    if !caller.context.credentials.capable(Capabilities::CAP_SYS_TIME) {
        return Err(Errno::EPERM.into());
    }
    time::set_now(now);
    Ok(0)
}

/// `gettimeofday(2)`.
pub(super) fn gettimeofday(_caller: &mut Caller<'_>, result: UserPtr<TimeVal>, zone: UserPtr<TimeZone>) -> Answer {
    let now = time::now();
    if let Some(claim) = result.optional() {
        claim.write(&TimeVal { secs: now.secs, micros: i64::from(now.nanos / 1000) })?;
    }
    match zone.optional() {
        Some(claim) => done(claim.write(&TimeZone::default())),
        None => Ok(0),
    }
}

/// `settimeofday(2)`.
pub(super) fn settimeofday(caller: &mut Caller<'_>, value: UserPtr<TimeVal>, _zone: UserPtr<TimeZone>) -> Answer {
    match value.optional() {
        Some(claim) => set_wall(caller, claim.read()?.to_timestamp()?),
        None => Ok(0),
    }
}

/// `time(2)`.
pub(super) fn time_of_day(_caller: &mut Caller<'_>, result: UserPtr<i64>) -> Answer {
    let now = time::now().secs;
    if let Some(claim) = result.optional() {
        claim.write(&now)?;
    }
    Ok(now as usize)
}

/// `nanosleep(2)`.
pub(super) fn nanosleep(_caller: &mut Caller<'_>, span: UserPtr<TimeSpec>, rest: UserPtr<TimeSpec>) -> Answer {
    let span = span.read()?.to_nanos()?;
    sleep_until(time::monotonic().saturating_add(span), Some(rest))
}

const TIMER_ABSTIME: u32 = 1;

/// `clock_nanosleep(2)`.
pub(super) fn clock_nanosleep(
    _caller: &mut Caller<'_>,
    clock: i32,
    flags: u32,
    span: UserPtr<TimeSpec>,
    rest: UserPtr<TimeSpec>,
) -> Answer {
    let kind = kind(clock)?;
    if kind == ClockKind::Processor {
        return Err(if clock == CLOCK_THREAD_CPUTIME { Errno::EINVAL } else { Errno::EOPNOTSUPP }.into());
    }
    let span = span.read()?.to_nanos()?;
    let now = time::monotonic();
    if flags & TIMER_ABSTIME == 0 {
        return sleep_until(now.saturating_add(span), Some(rest));
    }
    let deadline = match kind {
        ClockKind::Wall => {
            let wall = TimeSpec::from(time::now()).to_nanos().unwrap_or(0);
            now.saturating_add(span.saturating_sub(wall))
        }
        _ => span,
    };
    sleep_until(deadline, None)
}

fn sleep_until(deadline: u64, rest: Option<UserPtr<TimeSpec>>) -> Answer {
    let outcome = task::wait_until(&|| time::is_due(deadline));
    if outcome.is_err()
        && let Some(claim) = rest.and_then(UserPtr::optional)
    {
        claim.write(&TimeSpec::from_nanos(deadline.saturating_sub(time::monotonic())))?;
    }
    done(outcome)
}
