//! The shell itself: its state, where its commands come from, and how one is carried out.
//!
//! Key type: [`Shell`]. Its commands come from standard input ([`Shell::converse`]), from an argument
//! ([`Shell::run_script`]) or from a file ([`Shell::run_file`]).

use alloc::vec::Vec;

use rustix::fs::Access;
use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::process::{getcwd, geteuid, getpid};
use rustix::system::RebootCommand;
use rustix::thread::{NanosleepRelativeResult, nanosleep};
use strata_rt::errno::Shown as ShownErrno;
use strata_rt::text::Shown;
use strata_rt::{Arguments, eprintln, file, output};

use crate::console::{Console, Input};
use crate::editor::{self, Line};
use crate::redirect::Redirected;
use crate::syntax::{self, Refusal, Step, When};
use crate::{commands, complete, expand};

/// The longest script or line that is taken, in bytes.
pub(crate) const SCRIPT_LIMIT: usize = 1 << 20;
/// How many lines the history keeps.
const HISTORY: usize = 500;
/// How deep scripts may call scripts.
const DEPTH: u8 = 16;
/// Where programs are looked for when `PATH` is not set.
pub(crate) const SEARCH: &[u8] = b"/bin:/sbin:/usr/bin:/usr/sbin";
/// What the first process runs at its start.
const PROFILE: &core::ffi::CStr = c"/etc/profile";

/// Status of a command that was not found.
pub(crate) const NOT_FOUND: u8 = 127;
/// Status of a line that was refused.
const REFUSED: u8 = 2;

/// Whether commands are shown before they run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracing {
    Off,
    On,
}

/// What a script does when a command fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    Continue,
    Stop,
}

/// The state of the shell.
pub(crate) struct Shell {
    pub(crate) console: Console,
    pub(crate) history: Vec<Vec<u8>>,
    pub(crate) status: u8,
    variables: Vec<(Vec<u8>, Vec<u8>)>,
    positional: Vec<Vec<u8>>,
    tracing: Tracing,
    on_failure: OnFailure,
    /// The status to end with, once a command has asked for the end.
    ending: Option<u8>,
    depth: u8,
    first_process: bool,
}

impl Shell {
    pub(crate) fn new(arguments: Arguments) -> Self {
        let variables = arguments.environment().filter_map(|line| {
            let equals = line.iter().position(|&byte| byte == b'=')?;
            Some((line[..equals].into(), line[equals + 1..].into()))
        });
        Self {
            console: Console::new(),
            history: Vec::new(),
            status: 0,
            variables: variables.collect(),
            positional: [b"strata".into()].into(),
            tracing: Tracing::Off,
            on_failure: OnFailure::Continue,
            ending: None,
            depth: 0,
            first_process: getpid().as_raw_nonzero().get() == 1,
        }
    }

    /// Whether this is the process that the kernel started, which may not end.
    pub(crate) fn is_first_process(&self) -> bool {
        self.first_process
    }

    pub(crate) fn set_tracing(&mut self, tracing: Tracing) {
        self.tracing = tracing;
    }

    pub(crate) fn set_failure_policy(&mut self, policy: OnFailure) {
        self.on_failure = policy;
    }

    pub(crate) fn set_positional(&mut self, name: &[u8], rest: impl Iterator<Item = &'static [u8]>) {
        self.positional = [name.into()].into_iter().chain(rest.map(Into::into)).collect();
    }

    /// Asks for the end of the shell, after this command.
    pub(crate) fn end(&mut self, status: u8) {
        self.ending = Some(status);
    }

    // ---- Variables

    /// The value of a variable, or of `?`, `#` and `0` to `9`.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        match name {
            b"?" => Some(alloc::format!("{}", self.status).into_bytes()),
            b"#" => Some(alloc::format!("{}", self.positional.len() - 1).into_bytes()),
            [digit @ b'0'..=b'9'] => self.positional.get(usize::from(digit - b'0')).cloned(),
            _ => self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        }
    }

    pub(crate) fn set_variable(&mut self, name: &[u8], value: &[u8]) {
        match self.variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.into(),
            None => self.variables.push((name.into(), value.into())),
        }
    }

    pub(crate) fn unset_variable(&mut self, name: &[u8]) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// All variables as `NAME=VALUE`: the environment of programs.
    pub(crate) fn environment(&self) -> Vec<Vec<u8>> {
        self.variables.iter().map(|(name, value)| [&name[..], b"=", value].concat()).collect()
    }

    // ---- Where commands come from

    /// What the first process does before anything else: its variables, and the profile.
    pub(crate) fn prepare(&mut self) {
        if !self.first_process {
            return;
        }
        for (name, value) in [(&b"PATH"[..], SEARCH), (b"HOME", b"/root")] {
            if self.variable(name).is_none() {
                self.set_variable(name, value);
            }
        }
        if rustix::fs::access(PROFILE, Access::READ_OK).is_ok() {
            self.run_file(PROFILE.to_bytes());
            self.ending = None;
        }
    }

    /// The end of the first process: it switches the machine off.
    pub(crate) fn power_off(&mut self) -> ! {
        loop {
            let errno = self.power(RebootCommand::PowerOff);
            eprintln!("poweroff: the kernel: {}", ShownErrno(errno));
            // A first process that ended would take the kernel down with an error, so it waits to be switched off.
            let hour = Timespec { tv_sec: 3600, tv_nsec: 0 };
            while matches!(nanosleep(&hour), NanosleepRelativeResult::Ok) {}
        }
    }

    /// Writes everything back and asks the kernel to stop or restart. Comes back only with the reason why it did not.
    pub(crate) fn power(&mut self, command: RebootCommand) -> Errno {
        let _ = output::flush();
        self.console.restore();
        rustix::fs::sync();
        rustix::system::reboot(command).err().unwrap_or(Errno::IO)
    }

    /// Reads commands from standard input until its end or `exit`, and gives the status to end with.
    pub(crate) fn converse(&mut self) -> u8 {
        let mut gathered = Vec::new();
        while self.ending.is_none() {
            match self.read_line(!gathered.is_empty()) {
                Ok(Line::Text(line)) => {
                    gathered.extend_from_slice(&line);
                    gathered.push(b'\n');
                    if gathered.len() > SCRIPT_LIMIT {
                        eprintln!("strata: the command is longer than {SCRIPT_LIMIT} bytes");
                        gathered.clear();
                    } else if self.run_line(&gathered) {
                        gathered.clear();
                    }
                }
                Ok(Line::Cancelled) => {
                    gathered.clear();
                    self.status = 130;
                }
                Ok(Line::End) => break,
                Err(errno) => {
                    eprintln!("strata: standard input: {}", ShownErrno(errno));
                    self.status = 1;
                    break;
                }
            }
        }
        if !gathered.is_empty() {
            self.run_all(&gathered, b"standard input");
        }
        self.console.restore();
        self.ending.unwrap_or(self.status)
    }

    fn read_line(&mut self, continued: bool) -> Result<Line, Errno> {
        let prompt = if continued { b"> ".into() } else { prompt() };
        if self.console.input() == Input::Stream {
            if self.first_process {
                output::put(&prompt);
                let _ = output::flush();
            }
            return self.console.read_stream_line();
        }
        let line = editor::read_line(&mut self.console, &prompt, &self.history, complete::candidates)?;
        // The line is seen to be taken before its command runs.
        let _ = output::flush();
        if let Line::Text(text) = &line
            && !text.trim_ascii().is_empty()
            && self.history.last() != Some(text)
        {
            if self.history.len() == HISTORY {
                self.history.remove(0);
            }
            self.history.push(text.clone());
        }
        Ok(line)
    }

    /// Runs what was typed so far, and tells whether it was complete. What is not is kept for the lines to come.
    fn run_line(&mut self, text: &[u8]) -> bool {
        match syntax::parse(text) {
            Ok(steps) => self.run_steps(&steps),
            Err(Refusal::Unfinished(_)) => return false,
            Err(Refusal::Wrong(reason)) => {
                eprintln!("strata: {reason}");
                self.status = REFUSED;
            }
        }
        true
    }

    /// Runs the commands in `text`, of `-c`, and gives the last status.
    pub(crate) fn run_script(&mut self, text: &[u8]) -> u8 {
        self.run_all(text, b"-c");
        self.ending.unwrap_or(self.status)
    }

    /// Runs the commands in the file at `path` and gives the last status.
    pub(crate) fn run_file(&mut self, path: &[u8]) -> u8 {
        match file::read_whole(path, SCRIPT_LIMIT) {
            Err(errno) => {
                eprintln!("strata: {}: {}", Shown(path), ShownErrno(errno));
                self.status = NOT_FOUND;
            }
            Ok(_) if self.depth == DEPTH => {
                eprintln!("strata: {}: scripts call each other more than {DEPTH} deep", Shown(path));
                self.status = REFUSED;
            }
            Ok(script) => {
                self.depth += 1;
                self.run_all(&script, path);
                self.depth -= 1;
            }
        }
        self.ending.unwrap_or(self.status)
    }

    fn run_all(&mut self, text: &[u8], name: &[u8]) {
        let mut gathered = Vec::new();
        let mut refusal = None;
        for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
            gathered.extend_from_slice(line);
            gathered.push(b'\n');
            match syntax::parse(&gathered) {
                Ok(steps) => {
                    gathered.clear();
                    refusal = None;
                    self.run_steps(&steps);
                }
                Err(Refusal::Unfinished(reason)) => {
                    refusal.get_or_insert((number, reason));
                    continue;
                }
                Err(Refusal::Wrong(reason)) => {
                    refusal = Some((number, reason));
                    break;
                }
            }
            if self.ending.is_some() || (self.on_failure == OnFailure::Stop && self.status != 0) {
                return;
            }
        }
        if let Some((number, reason)) = refusal {
            eprintln!("strata: {}: line {}: {reason}", Shown(name), number + 1);
            self.status = REFUSED;
        }
    }

    // ---- How a command is carried out

    fn run_steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step.when {
                When::AfterSuccess if self.status != 0 => continue,
                When::AfterFailure if self.status == 0 => continue,
                _ => self.run_step(step),
            }
            if self.ending.is_some() || self.status == 130 {
                return;
            }
        }
    }

    fn run_step(&mut self, step: &Step) {
        let arguments = expand::words(self, &step.words);
        if self.tracing == Tracing::On {
            trace(&arguments);
        }
        let mut redirected = Redirected::default();
        for (direction, word) in &step.redirections {
            let path = expand::file_name(self, word);
            if let Err(errno) = redirected.add(*direction, &path) {
                eprintln!("strata: {}: {}", Shown(&path), ShownErrno(errno));
                self.status = 1;
                return;
            }
        }
        self.console.set_input_redirected(redirected.has_input());
        self.status = self.run_command(arguments);
        self.console.set_input_redirected(false);
        if let Err(errno) = output::flush() {
            eprintln!("strata: standard output: {}", ShownErrno(errno));
            self.status = self.status.max(1);
        }
        drop(redirected);
    }

    /// Runs one command, a built-in or a program, and gives its status.
    pub(crate) fn run_command(&mut self, arguments: Vec<Vec<u8>>) -> u8 {
        let Some(name) = arguments.first() else { return 0 };
        if let Some(command) = commands::find(name) {
            return commands::call(self, command, arguments);
        }
        if let Some(assigned) = arguments.iter().map(|word| assignment(word)).collect::<Option<Vec<_>>>() {
            for (name, value) in assigned {
                self.set_variable(name, value);
            }
            return 0;
        }
        let Some(path) = self.find_program(name) else {
            eprintln!("strata: {}: no such command; `help` lists them", Shown(name));
            return NOT_FOUND;
        };
        self.run_program(&path, &arguments)
    }
}

/// `strata:/where/we/are# `
fn prompt() -> Vec<u8> {
    let place = getcwd(Vec::new());
    let place = place.as_ref().map_or(&b"?"[..], |path| path.to_bytes());
    let sign = if geteuid().is_root() { '#' } else { '$' };
    alloc::format!("strata:{}{sign} ", Shown(place)).into_bytes()
}

/// Shows a command before it runs; `set`, which switches this on and off, goes without.
fn trace(arguments: &[Vec<u8>]) {
    if arguments.first().is_none_or(|name| name == b"set") {
        return;
    }
    let words: Vec<Vec<u8>> = arguments.iter().map(|word| in_quotes(word)).collect();
    eprintln!("+ {}", Shown(&words.join(&b' ')));
}

/// `word` in single quotes, when it needs any.
fn in_quotes(word: &[u8]) -> Vec<u8> {
    if !word.is_empty() && complete::quoted(word).len() == word.len() {
        return word.into();
    }
    let parts: Vec<&[u8]> = word.split(|&byte| byte == b'\'').collect();
    [b"'", &parts.join(&b"'\\''"[..])[..], b"'"].concat()
}

/// `NAME=VALUE` as its two parts.
pub(crate) fn assignment(word: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = word.iter().position(|&byte| byte == b'=')?;
    let name = &word[..equals];
    syntax::is_name(name).then_some((name, &word[equals + 1..]))
}
