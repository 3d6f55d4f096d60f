//! The end: programs first, then filesystems, then the power.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU8, Ordering};

use super::{namespace, storage};
use crate::power::{self, Outcome};
use crate::task::process::ExitStatus;
use crate::task::{self, Process};

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It stays off.
    PowerOff,
    /// It starts again.
    Restart,
}

static REQUESTED: AtomicU8 = AtomicU8::new(0);

/// Asks for the end; the boot's thread sees to it.
pub(crate) fn request(how: How) {
    REQUESTED.store(1 + how as u8, Ordering::Relaxed);
}

fn requested() -> Option<How> {
    match REQUESTED.load(Ordering::Relaxed) {
        0 => None,
        1 => Some(How::PowerOff),
        _ => Some(How::Restart),
    }
}

/// Waits for the first program's end, or for a request, and ends the machine. Writes to the disk every few seconds until then.
pub(super) fn when_over(first: Option<Arc<Process>>) -> ! {
    if let Some(first) = &first {
        let over = || requested().is_some() || first.ended().is_some();
        while !over() {
            // The boot's thread is no program's, so nothing ends its wait but its reason. A program that comes by looks whether the
            // disk's turn has come, but all of them may sleep for hours.
            let _ = task::wait_until(&|| over() || super::is_write_back_due());
            super::write_back_if_due();
        }
    }
    let ended = first.as_ref().and_then(|first| first.ended());
    task::end_all_programs();
    let clean = leave_clean();
    match (requested(), ended) {
        (Some(How::Restart), _) => power::restart(),
        (Some(How::PowerOff), _) | (None, Some(ExitStatus::Code(0))) if clean => power::off(),
        (None, Some(status)) => {
            log::error!("the first program ended with {status}");
            power::exit(Outcome::Failure)
        }
        _ => power::exit(Outcome::Failure),
    }
}

/// Syncs and unmounts everything; says whether all went well.
fn leave_clean() -> bool {
    let mut clean = true;
    for outcome in [namespace().sync(), namespace().unmount_all(), storage::close()] {
        if let Err(error) = outcome {
            log::error!("the changes may not all be on the disk: {error}");
            clean = false;
        }
    }
    clean
}
