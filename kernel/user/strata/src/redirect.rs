//! Redirections: standard input and output point elsewhere for the time of one command.
//!
//! Key type: [`Redirected`], a guard that puts the old descriptors back.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use strata_rt::output::{self, standard_input, standard_output};

use crate::syntax::Direction;

/// The descriptors as they were, until it is dropped.
#[derive(Default)]
pub(crate) struct Redirected {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
}

impl Redirected {
    /// Points standard input or output at the file `path`.
    ///
    /// # Errors
    /// Those of `open(2)`, `fcntl(2)` and `dup2(2)`.
    pub(crate) fn add(&mut self, direction: Direction, path: &[u8]) -> Result<(), Errno> {
        let flags = match direction {
            Direction::Read => OFlags::RDONLY,
            Direction::Replace => OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
            Direction::Append => OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
        };
        let file = open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))?;
        // Saved above the numbers that programs use for themselves.
        if direction == Direction::Read {
            if self.input.is_none() {
                self.input = Some(fcntl_dupfd_cloexec(standard_input(), 10)?);
            }
            return dup2_stdin(&file);
        }
        output::flush()?;
        if self.output.is_none() {
            self.output = Some(fcntl_dupfd_cloexec(standard_output(), 10)?);
        }
        dup2_stdout(&file)
    }

    /// Whether standard input is redirected.
    pub(crate) fn has_input(&self) -> bool {
        self.input.is_some()
    }
}

impl Drop for Redirected {
    fn drop(&mut self) {
        // The saved descriptors are open, so putting them back fails for no reason that could be told to anyone.
        if let Some(saved) = self.output.take() {
            let _ = output::flush();
            let _ = dup2_stdout(&saved);
        }
        if let Some(saved) = self.input.take() {
            let _ = dup2_stdin(&saved);
        }
    }
}
