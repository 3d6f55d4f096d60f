//! What the tests share: a directory of their own, and the shell run in it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed at the end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("strata-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("make the test's directory");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.join(name), contents).expect("write a file of the test");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.join(name)).expect("read a file of the test")
    }

    /// The shell, with `arguments`, in this directory.
    pub(crate) fn shell<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
        command.args(arguments).current_dir(&self.0).env_clear().env("HOME", &self.0).env("PATH", "/usr/bin:/bin");
        command
    }

    /// What comes of `strata -c COMMANDS`.
    pub(crate) fn run(&self, commands: &str) -> Outcome {
        Outcome::from(self.shell(["-c", commands]).stdin(Stdio::null()).output().expect("run the shell"))
    }

    /// What comes of a shell that reads `input`.
    pub(crate) fn feed(&self, input: &str) -> Outcome {
        let none: [&str; 0] = [];
        let mut child = self
            .shell(none)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run the shell");
        let mut pipe = child.stdin.take().expect("a pipe was asked for");
        pipe.write_all(input.as_bytes()).expect("feed the shell");
        drop(pipe);
        Outcome::from(child.wait_with_output().expect("wait for the shell"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a shell printed, and its status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: i32,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code().unwrap_or(-1),
        }
    }
}

impl Outcome {
    /// Asserts success without a word on standard error, and gives what was printed.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!((self.status, self.err.as_str()), (0, ""), "output: {}", self.out);
        self.out
    }
}
