//! Programs: found, started as children or in the shell's place.
//!
//! A part of [`Shell`]: what its variables and its terminal have to do with it.

use alloc::vec::Vec;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use strata_rt::errno::Shown as ShownErrno;
use strata_rt::process::{self, Ended};
use strata_rt::text::{self, Shown};
use strata_rt::{eprintln, file, output};

use crate::shell::{NOT_FOUND, SCRIPT_LIMIT, SEARCH, Shell};

/// Status of a program that could not be started.
const NOT_STARTED: u8 = 126;

impl Shell {
    /// The path of the program called `name`: itself when it has a slash, else the first in `PATH` that may be executed.
    pub(crate) fn find_program(&self, name: &[u8]) -> Option<Vec<u8>> {
        if name.contains(&b'/') {
            return Some(name.into());
        }
        let search = self.variable(b"PATH").unwrap_or_else(|| SEARCH.into());
        let mut paths = search.split(|&byte| byte == b':').map(|directory| text::join(directory, name));
        paths.find(|path| accessat(CWD, &path[..], Access::EXEC_OK, AtFlags::empty()).is_ok())
    }

    /// Runs the program at `path` to its end and gives its status: its own, or 128 and the signal that killed it.
    pub(crate) fn run_program(&mut self, path: &[u8], arguments: &[Vec<u8>]) -> u8 {
        let ended = match self.program(path, arguments) {
            Ok(program) => {
                let _ = output::flush();
                self.console.restore();
                program.run()
            }
            Err(errno) => Err(errno),
        };
        match ended {
            Ok(Ended::Exited(status)) => status,
            Ok(Ended::Killed(signal)) => {
                eprintln!("strata: {}: killed by signal {signal}", Shown(path));
                u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
            }
            Err(Errno::NOEXEC) if is_script(path) => self.run_file(path),
            Err(errno) => {
                eprintln!("strata: {}: {}", Shown(path), ShownErrno(errno));
                if errno == Errno::NOENT { NOT_FOUND } else { NOT_STARTED }
            }
        }
    }

    /// The program at `path` with the shell's variables as its environment.
    ///
    /// # Errors
    /// EINVAL when an argument holds a NUL.
    pub(crate) fn program(&self, path: &[u8], arguments: &[Vec<u8>]) -> Result<process::Command, Errno> {
        let environment = self.environment();
        process::Command::new(path, arguments.iter().map(|word| &word[..]), environment.iter().map(|line| &line[..]))
    }
}

/// Whether the file at `path` says that this shell shall read it. A kernel that knows `#!` never asks.
fn is_script(path: &[u8]) -> bool {
    let first = file::read_whole(path, SCRIPT_LIMIT).unwrap_or_default();
    let line = first.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.starts_with(b"#!") && text::base_name(line.trim_ascii_end()) == b"strata"
}
