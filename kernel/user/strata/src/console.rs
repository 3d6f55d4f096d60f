//! The shell's input: a terminal, in raw mode while the shell itself reads or works, or a stream of lines.
//!
//! Key type: [`Console`]. In raw mode nothing is echoed and no signal is made: what is typed ahead while a built-in runs
//! waits its turn unseen, and Ctrl-C is found by [`Console::interrupted`]. Programs get the terminal as it was found.
//! Input is read a byte at a time, so that a program finds what the shell did not use.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use strata_rt::output::{self, standard_input, standard_output};

use crate::editor::Line;

/// The width of a terminal that does not tell, in columns.
const WIDTH: usize = 80;
/// How many bytes may wait that were typed while a command ran.
const TYPED_AHEAD: usize = 4096;
/// How often a command may ask whether it was interrupted before the terminal is looked at.
const ASKED: u32 = 64;
/// The longest line of a stream, in bytes.
const LINE_LIMIT: usize = 1 << 20;

const CTRL_C: u8 = 3;

/// What standard input is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Terminal,
    Stream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    AsFound,
    Raw,
}

/// Standard input and what is known of it.
pub(crate) struct Console {
    found: Option<Termios>,
    mode: Mode,
    typed_ahead: VecDeque<u8>,
    redirected: bool,
    asked: u32,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self {
            found: tcgetattr(standard_input()).ok(),
            mode: Mode::AsFound,
            typed_ahead: VecDeque::new(),
            redirected: false,
            asked: 0,
        }
    }

    pub(crate) fn input(&self) -> Input {
        if self.found.is_some() { Input::Terminal } else { Input::Stream }
    }

    /// Notes that standard input is a file for the time of a command: it is not asked for Ctrl-C then.
    pub(crate) fn set_input_redirected(&mut self, redirected: bool) {
        self.redirected = redirected;
    }

    /// Takes the terminal for the shell: no echo, no lines, no signals. Output is still translated.
    pub(crate) fn take(&mut self) {
        let Some(found) = &self.found else { return };
        if self.mode == Mode::Raw {
            return;
        }
        let mut raw = found.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN);
        // Enter still becomes a newline: what is typed ahead may be for a program.
        raw.input_modes.remove(InputModes::INLCR | InputModes::IXON | InputModes::ISTRIP);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        if tcsetattr(standard_input(), OptionalActions::Now, &raw).is_ok() {
            self.mode = Mode::Raw;
        }
    }

    /// Gives the terminal back as it was found.
    pub(crate) fn restore(&mut self) {
        if let Some(found) = &self.found
            && self.mode == Mode::Raw
            && tcsetattr(standard_input(), OptionalActions::Now, found).is_ok()
        {
            self.mode = Mode::AsFound;
        }
    }

    /// The width of the terminal in columns.
    pub(crate) fn width(&self) -> usize {
        let told = tcgetwinsize(standard_output()).map_or(0, |size| usize::from(size.ws_col));
        if told < 8 { WIDTH } else { told }
    }

    /// The next byte that was typed; `None` at the end of the input.
    pub(crate) fn read_byte(&mut self) -> Result<Option<u8>, Errno> {
        if let Some(byte) = self.typed_ahead.pop_front() {
            return Ok(Some(byte));
        }
        let mut byte = [0];
        let count = retry_on_intr(|| read(standard_input(), &mut byte))?;
        Ok((count == 1).then_some(byte[0]))
    }

    /// Puts a byte in front of what is read next.
    pub(crate) fn push_back(&mut self, byte: u8) {
        self.typed_ahead.push_front(byte);
    }

    /// The next line of a stream, without its end.
    pub(crate) fn read_stream_line(&mut self) -> Result<Line, Errno> {
        let mut line = Vec::new();
        loop {
            match self.read_byte()? {
                Some(b'\n') => return Ok(Line::Text(line)),
                None if line.is_empty() => return Ok(Line::End),
                None => return Ok(Line::Text(line)),
                Some(_) if line.len() == LINE_LIMIT => return Err(Errno::TOOBIG),
                Some(byte) => line.push(byte),
            }
        }
    }

    /// Whether Ctrl-C was typed since the command started. Looks at the terminal once in a while only.
    pub(crate) fn interrupted(&mut self) -> bool {
        self.asked += 1;
        if self.asked < ASKED {
            return false;
        }
        self.asked = 0;
        self.interrupted_by_now()
    }

    /// Whether Ctrl-C was typed since the command started, for a command that asks seldom.
    pub(crate) fn interrupted_by_now(&mut self) -> bool {
        if self.redirected || self.mode != Mode::Raw {
            return false;
        }
        while self.typed_ahead.len() < TYPED_AHEAD && self.has_input() {
            match self.read_byte_from_terminal() {
                Some(CTRL_C) => {
                    self.typed_ahead.clear();
                    output::put(b"^C\n");
                    return true;
                }
                Some(byte) => self.typed_ahead.push_back(byte),
                None => break,
            }
        }
        false
    }

    fn read_byte_from_terminal(&self) -> Option<u8> {
        let mut byte = [0];
        let count = retry_on_intr(|| read(standard_input(), &mut byte)).ok()?;
        (count == 1).then_some(byte[0])
    }

    fn has_input(&self) -> bool {
        let input = standard_input();
        let mut wanted = [PollFd::new(&input, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut wanted, Some(&at_once)) == Ok(1) && wanted[0].revents().contains(PollFlags::IN)
    }
}
