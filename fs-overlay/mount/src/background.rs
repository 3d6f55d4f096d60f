//! Going on in the background: the program starts itself again, in a session of its own, and ends when that one has mounted.
//!
//! A second process is made of the program's file instead of by `fork(2)`, which no program with threads can use safely.

use std::env;
use std::io::{Read as _, Write as _, stdout};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};

/// Says to the second process that someone waits for it, by a byte on standard output.
const MARK: &str = "STRATA_MOUNT_IN_BACKGROUND";

/// Starts the program again with `--foreground`, and waits until it has mounted.
///
/// # Errors
/// In words; what was wrong with the mount was said by the other process.
pub(crate) fn start() -> Result<(), String> {
    let program = env::current_exe().map_err(|error| format!("the program's own file is not found: {error}"))?;
    let mut child = Command::new(program)
        .arg("--foreground")
        .args(env::args_os().skip(1))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the background process does not start: {error}"))?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        // It ends where the other closes it: mounted, or over.
        stdout.read_to_end(&mut said).map_err(|error| format!("the background process is not heard: {error}"))?;
    }
    if !said.is_empty() {
        return Ok(());
    }
    // It has said what was wrong.
    match child.wait() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => Err(format!("the background process is lost: {error}")),
    }
}

/// Leaves the terminal, where this is the second process; called before anything is opened.
pub(crate) fn detach() {
    if env::var_os(MARK).is_some() {
        // Fails only where it leads a session already.
        let _ = rustix::process::setsid();
        let _ = env::set_current_dir("/");
    }
}

/// Tells the one who waits that the tree is mounted, and lets go of its terminal.
///
/// # Errors
/// What the host says.
pub(crate) fn mounted() -> rustix::io::Result<()> {
    if env::var_os(MARK).is_none() {
        return Ok(());
    }
    // Where no one listens any more, no one needs to be told.
    let _ = stdout().write_all(b"m").and_then(|()| stdout().flush());
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}
