//! `futex(2)`: sleeping until another process, which shares the word's memory, says that it changed.
//!
//! A word is known by its physical address, whoever maps it where. A process that sleeps keeps its memory, so the address stays what it
//! is; when a shared file is cut under it, the worst is a wake for nothing, which every user of a futex expects.
//!
//! Locks: [`WAITERS`], innermost, never held over a wait.

use alloc::vec::Vec;

use base::sync::Mutex;
use vfs::{Errno, Result};

use super::abi::TimeSpec;
use super::{Answer, Caller};
use crate::task;
use crate::time;
use crate::user::UserPtr;

const FUTEX_WAIT: u32 = 0;
const FUTEX_WAKE: u32 = 1;
const FUTEX_WAIT_BITSET: u32 = 9;
const FUTEX_WAKE_BITSET: u32 = 10;
const FUTEX_PRIVATE_FLAG: u32 = 0x80;
const FUTEX_CLOCK_REALTIME: u32 = 0x100;
/// `FUTEX_BITSET_MATCH_ANY`.
const ANY: u32 = u32::MAX;

/// A process that sleeps, in the order in which they began.
struct Waiter {
    pid: i32,
    word: u64,
    bits: u32,
    woken: bool,
}

static WAITERS: Mutex<Vec<Waiter>> = Mutex::new(Vec::new());

/// `futex(2)`: to wait and to wake, by bits or not; the operations that move waiters or lend priority are not there.
pub(super) fn futex(
    caller: &mut Caller<'_>,
    word: UserPtr<u32>,
    operation: u32,
    value: u32,
    timeout: UserPtr<TimeSpec>,
    _second: u64,
    bits: u32,
) -> Answer {
    let command = operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    let bits = if matches!(command, FUTEX_WAIT | FUTEX_WAKE) { ANY } else { bits };
    match command {
        FUTEX_WAIT | FUTEX_WAIT_BITSET => {
            let deadline = match timeout.optional() {
                None => None,
                Some(timeout) => Some(deadline(operation, timeout.read()?.to_nanos()?)),
            };
            check(word, bits)?;
            if word.read()? != value {
                return Err(Errno::EAGAIN.into());
            }
            wait(caller, word, bits, deadline)
        }
        FUTEX_WAKE | FUTEX_WAKE_BITSET => {
            check(word, bits)?;
            word.read()?;
            Ok(wake(place(caller, word)?, bits, value.max(1)))
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn check(word: UserPtr<u32>, bits: u32) -> Result<()> {
    if bits == 0 || !word.address().is_multiple_of(4) { Err(Errno::EINVAL.into()) } else { Ok(()) }
}

/// When a wait is over, by the monotonic clock: the time given is a span for `FUTEX_WAIT`, a moment for `FUTEX_WAIT_BITSET`.
fn deadline(operation: u32, time: u64) -> u64 {
    let now = time::monotonic();
    if operation & !(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) == FUTEX_WAIT {
        now.saturating_add(time)
    } else if operation & FUTEX_CLOCK_REALTIME != 0 {
        let wall = TimeSpec::from(time::now()).to_nanos().unwrap_or(0);
        now.saturating_add(time.saturating_sub(wall))
    } else {
        time
    }
}

/// Where a word is that was just read.
fn place(caller: &Caller<'_>, word: UserPtr<u32>) -> Result<u64> {
    caller.space().lock().physical(word.address()).ok_or_else(|| Errno::EFAULT.into())
}

fn wait(caller: &Caller<'_>, word: UserPtr<u32>, bits: u32, deadline: Option<u64>) -> Answer {
    let (pid, word) = (caller.pid(), place(caller, word)?);
    {
        let mut waiters = WAITERS.lock();
        waiters.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        waiters.push(Waiter { pid, word, bits, woken: false });
    }
    let is_woken = || WAITERS.lock().iter().any(|waiter| waiter.pid == pid && waiter.woken);
    let outcome = task::wait_until(&|| is_woken() || deadline.is_some_and(time::is_due));
    let woken = is_woken();
    WAITERS.lock().retain(|waiter| waiter.pid != pid);
    match outcome {
        _ if woken => Ok(0),
        Ok(()) => Err(Errno::ETIMEDOUT.into()),
        Err(error) => Err(error),
    }
}

/// Wakes up to `most` who wait for the word with one of these bits; returns how many.
fn wake(word: u64, bits: u32, most: u32) -> usize {
    let mut waiters = WAITERS.lock();
    let meant = waiters.iter_mut().filter(|waiter| waiter.word == word && waiter.bits & bits != 0 && !waiter.woken);
    meant.take(most as usize).map(|waiter| waiter.woken = true).count()
}
