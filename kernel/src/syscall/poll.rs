//! Waiting for descriptors: `poll`, `ppoll`, `select`, `pselect6`.

use core::cell::Cell;

use alloc::vec::Vec;

use vfs::{Errno, Fd, PollEvents, Result};

use super::abi::{PollFd, TimeSpec, TimeVal};
use super::{Answer, Caller, signals};
use crate::task;
use crate::time;
use crate::user::{UserArray, UserPtr};

/// Not open: only ever an answer.
const POLLNVAL: i16 = 0x20;
/// What is told even if nobody asked.
const ALWAYS: PollEvents = PollEvents::POLLERR.union(PollEvents::POLLHUP);

/// The most descriptors of a `select`.
const SET_MAX: usize = 1024;

/// `poll(2)`.
pub(super) fn poll(caller: &mut Caller<'_>, list: UserPtr<PollFd>, count: u64, timeout: i32) -> Answer {
    let deadline = u64::try_from(timeout).ok().map(|millis| time::monotonic().saturating_add(millis * 1_000_000));
    wait(caller, list, count, deadline)
}

/// `ppoll(2)`.
pub(super) fn ppoll(
    caller: &mut Caller<'_>,
    list: UserPtr<PollFd>,
    count: u64,
    timeout: UserPtr<TimeSpec>,
    blocked: UserPtr<u64>,
    size: usize,
) -> Answer {
    let deadline = deadline(timeout)?;
    signals::with_blocked(caller, blocked, size, |caller| wait(caller, list, count, deadline))
}

fn deadline(timeout: UserPtr<TimeSpec>) -> Result<Option<u64>> {
    match timeout.optional() {
        Some(claim) => Ok(Some(time::monotonic().saturating_add(claim.read()?.to_nanos()?))),
        None => Ok(None),
    }
}

/// What of `wanted` a descriptor is ready for; `None` if it is not open.
fn readiness(caller: &Caller<'_>, fd: Fd, wanted: PollEvents) -> Option<PollEvents> {
    let file = caller.context.file(fd).ok()?;
    Some(file.poll() & (wanted | ALWAYS))
}

/// Returns when `count_ready` counts something or time is up.
fn wait_for(deadline: Option<u64>, count_ready: impl Fn() -> usize) -> Answer {
    let found = Cell::new(0);
    task::wait_until(&|| {
        found.set(count_ready());
        found.get() > 0 || deadline.is_some_and(time::is_due)
    })?;
    Ok(found.get())
}

fn wait(caller: &Caller<'_>, list: UserPtr<PollFd>, count: u64, deadline: Option<u64>) -> Answer {
    if count > caller.context.files.limit() {
        return Err(Errno::EINVAL.into());
    }
    let array = UserArray::new(list, count as usize);
    let mut entries = array.read()?;
    let answer = |entry: &PollFd| {
        if entry.fd < 0 {
            return 0;
        }
        let wanted = PollEvents::from_bits_truncate(entry.events as u16);
        readiness(caller, entry.fd, wanted).map_or(POLLNVAL, |ready| ready.bits() as i16)
    };
    wait_for(deadline, || entries.iter().filter(|entry| answer(entry) != 0).count())?;
    let mut ready = 0;
    for entry in &mut entries {
        entry.revents = answer(entry);
        ready += usize::from(entry.revents != 0);
    }
    array.write(&entries)?;
    Ok(ready)
}

/// `select(2)`.
pub(super) fn select(
    caller: &mut Caller<'_>,
    count: i32,
    reading: UserPtr<u64>,
    writing: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<TimeVal>,
) -> Answer {
    let deadline = match timeout.optional() {
        None => None,
        Some(claim) => {
            let span = claim.read()?;
            let span = TimeSpec { secs: span.secs, nanos: span.micros.saturating_mul(1000) }.to_nanos()?;
            Some(time::monotonic().saturating_add(span))
        }
    };
    select_until(caller, count, [reading, writing, exceptional], deadline)
}

/// `pselect6(2)`.
pub(super) fn pselect6(
    caller: &mut Caller<'_>,
    count: i32,
    reading: UserPtr<u64>,
    writing: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<TimeSpec>,
    blocked: UserPtr<[u64; 2]>,
) -> Answer {
    let deadline = deadline(timeout)?;
    // Address and size of the set.
    let [set, size] = blocked.optional().map_or(Ok([0, 0]), UserPtr::read)?;
    signals::with_blocked(caller, UserPtr::new(set), size as usize, |caller| {
        select_until(caller, count, [reading, writing, exceptional], deadline)
    })
}

/// What each of the three sets asks, and what answers it.
const ASKED: [PollEvents; 3] = [
    PollEvents::POLLIN.union(PollEvents::POLLRDNORM).union(PollEvents::POLLHUP).union(PollEvents::POLLERR),
    PollEvents::POLLOUT.union(PollEvents::POLLWRNORM).union(PollEvents::POLLERR),
    PollEvents::POLLPRI,
];

fn select_until(caller: &Caller<'_>, count: i32, sets: [UserPtr<u64>; 3], deadline: Option<u64>) -> Answer {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?.min(SET_MAX);
    let words = count.div_ceil(64);
    let mut asked: [Option<Vec<u64>>; 3] = [None, None, None];
    for (set, claim) in asked.iter_mut().zip(sets) {
        if claim.address() != 0 {
            *set = Some(UserArray::new(claim, words).read()?);
        }
    }
    // Every descriptor that is asked for, with what is asked.
    let mut questions = Vec::new();
    for (kind, set) in asked.iter().enumerate() {
        for fd in 0..count {
            if set.as_ref().is_some_and(|set| set[fd / 64] & (1 << (fd % 64)) != 0) {
                caller.context.file(fd as Fd)?;
                questions.push((kind, fd));
            }
        }
    }
    let is_ready = |&(kind, fd): &(usize, usize)| {
        readiness(caller, fd as Fd, ASKED[kind]).is_none_or(|ready| ready.intersects(ASKED[kind]))
    };
    wait_for(deadline, || questions.iter().filter(|question| is_ready(question)).count())?;
    for set in asked.iter_mut().flatten() {
        set.fill(0);
    }
    let mut ready = 0;
    for question in questions.iter().filter(|question| is_ready(question)) {
        let (kind, fd) = *question;
        if let Some(set) = &mut asked[kind] {
            set[fd / 64] |= 1 << (fd % 64);
            ready += 1;
        }
    }
    for (set, claim) in asked.iter().zip(sets) {
        if let Some(set) = set {
            UserArray::new(claim, words).write(set)?;
        }
    }
    Ok(ready)
}
