//! Other programs: started and waited for, or taking this one's place.
//!
//! Key types: [`Command`], what to start; [`Ended`], how it ended.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::c_char;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitOptions, waitpid};

use crate::sys;

pub use crate::sys::exit;

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with a status.
    Exited(u8),
    /// By a signal, of this number.
    Killed(i32),
}

/// A program with its arguments and environment.
pub struct Command {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Command {
    /// The program at `path`, called with `arguments` (its own name first) and `environment` (`NAME=VALUE` each).
    ///
    /// # Errors
    /// EINVAL when a string holds a NUL.
    pub fn new<'a>(
        path: &[u8],
        arguments: impl Iterator<Item = &'a [u8]>,
        environment: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Errno> {
        let string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
        Ok(Self {
            path: string(path)?,
            arguments: arguments.map(string).collect::<Result<_, _>>()?,
            environment: environment.map(string).collect::<Result<_, _>>()?,
        })
    }

    /// Runs the program as a child and waits for its end.
    ///
    /// # Errors
    /// Of `clone(2)`, `execve(2)` and `wait4(2)`.
    pub fn run(&self) -> Result<Ended, Errno> {
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: both vectors hold pointers to strings that `self` keeps alive, and end with a null pointer.
        match unsafe { sys::spawn(&self.path, arguments.as_ptr(), environment.as_ptr()) } {
            Ok(child) => wait(child),
            Err((errno, child)) => {
                if let Some(child) = child {
                    // The reason why it did not start matters more than how its remains were collected.
                    let _ = wait(child);
                }
                Err(errno)
            }
        }
    }

    /// Puts the program in this one's place; comes back only with the reason why not.
    pub fn replace(&self) -> Errno {
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        // SAFETY: as in `run`.
        unsafe { sys::exec(&self.path, arguments.as_ptr(), environment.as_ptr()) }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([core::ptr::null()]).collect()
}

fn wait(child: i32) -> Result<Ended, Errno> {
    let child = Pid::from_raw(child).ok_or(Errno::CHILD)?;
    let Some((_, status)) = retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))? else {
        return Err(Errno::CHILD);
    };
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => Ended::Killed(signal.unwrap_or(0)),
    })
}
