//! The line discipline: what typed bytes become on their way to a reader. Editing, echo, ends of the input, keys that signal.
//!
//! [`Terminal`] is the state of the one terminal that there is. With `ICANON` whole lines are kept for readers; without it, bytes
//! as they come.

use alloc::collections::VecDeque;

use crate::syscall::abi::{Termios, WinSize};
use crate::task::signal::{SIGINT, SIGQUIT};
use crate::{console, time};

/// How many bytes wait for a reader.
const QUEUE_BYTES: usize = 4096;
/// The longest line that is edited (`MAX_CANON`-like: Linux's N_TTY_BUF_SIZE).
const LINE_BYTES: usize = 4095;

// Input modes.
const INLCR: u32 = 0o100;
const IGNCR: u32 = 0o200;
const ICRNL: u32 = 0o400;
const IXON: u32 = 0o2000;
// Output modes.
const OPOST: u32 = 0o1;
const ONLCR: u32 = 0o4;
// Control modes: 115,200 baud, eight bits, receiver on, no modem lines, hang up on close.
const CONTROL: u32 = 0o10002 | 0o60 | 0o200 | 0o4000 | 0o2000;
// Local modes.
const ISIG: u32 = 0o1;
const ICANON: u32 = 0o2;
const ECHO: u32 = 0o10;
const ECHOE: u32 = 0o20;
const ECHOK: u32 = 0o40;
const ECHONL: u32 = 0o100;
const ECHOCTL: u32 = 0o1000;
const ECHOKE: u32 = 0o4000;
const IEXTEN: u32 = 0o100_000;
// Control characters, by place.
const VINTR: usize = 0;
const VQUIT: usize = 1;
const VERASE: usize = 2;
const VKILL: usize = 3;
const VEOF: usize = 4;
const VTIME: usize = 5;
const VMIN: usize = 6;
const VEOL: usize = 11;
const VWERASE: usize = 14;
const VLNEXT: usize = 15;

/// A terminal's modes, and what was typed.
pub(super) struct Terminal {
    pub(super) modes: Termios,
    pub(super) size: WinSize,
    /// The process group that keys signal, 0 for none.
    pub(super) foreground: i32,
    /// Bytes for readers. With `ICANON`, whole lines; the end of input is kept in `ends`.
    ready: VecDeque<u8>,
    /// Where in `ready` (counted from its front) an end-of-file character ended a line.
    ends: VecDeque<usize>,
    /// The line that is being edited.
    line: VecDeque<u8>,
    /// The next byte is taken as it is.
    literal: bool,
    /// Somebody asked for input. Before that what arrives waits as it is: the first program may want it in another mode.
    pub(super) attended: bool,
}

impl Terminal {
    pub(super) const fn new() -> Self {
        let mut characters = [0; 19];
        characters[VINTR] = 3;
        characters[VQUIT] = 28;
        characters[VERASE] = 127;
        characters[VKILL] = 21;
        characters[VEOF] = 4;
        characters[VMIN] = 1;
        characters[VWERASE] = 23;
        characters[VLNEXT] = 22;
        Self {
            modes: Termios {
                input: ICRNL | IXON,
                output: OPOST | ONLCR,
                control: CONTROL,
                local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
                line: 0,
                characters,
            },
            size: WinSize { rows: 24, columns: 80, pixels: [0; 2] },
            foreground: 0,
            ready: VecDeque::new(),
            ends: VecDeque::new(),
            line: VecDeque::new(),
            literal: false,
            attended: false,
        }
    }

    fn local(&self, flag: u32) -> bool {
        self.modes.local & flag != 0
    }

    /// Whether `byte` is the control character at `place`; a zero there means none.
    fn is(&self, byte: u8, place: usize) -> bool {
        byte != 0 && self.modes.characters[place] == byte
    }

    /// Takes what arrived through the line discipline; returns a signal that a key sends.
    pub(super) fn fetch(&mut self) -> Option<u8> {
        let mut signal = None;
        while self.ready.len() + self.line.len() < QUEUE_BYTES {
            let mut bytes = [0; 64];
            let room = bytes.len().min(QUEUE_BYTES - self.ready.len() - self.line.len());
            let count = console::read_input(&mut bytes[..room]);
            if count == 0 {
                break;
            }
            for &byte in &bytes[..count] {
                signal = self.take(byte).or(signal);
            }
        }
        signal
    }

    fn take(&mut self, byte: u8) -> Option<u8> {
        let byte = match byte {
            b'\r' if self.modes.input & IGNCR != 0 => return None,
            b'\r' if self.modes.input & ICRNL != 0 => b'\n',
            b'\n' if self.modes.input & INLCR != 0 => b'\r',
            byte => byte,
        };
        let literal = core::mem::take(&mut self.literal);
        if self.local(ISIG) && !literal {
            for (place, signal) in [(VINTR, SIGINT), (VQUIT, SIGQUIT)] {
                if self.is(byte, place) {
                    self.line.clear();
                    self.ready.clear();
                    self.ends.clear();
                    self.echo(byte);
                    return Some(signal);
                }
            }
        }
        if !self.local(ICANON) {
            self.ready.push_back(byte);
            self.echo(byte);
        } else if literal {
            self.add(byte);
        } else {
            self.edit(byte);
        }
        None
    }

    /// A byte of a line that is being edited.
    fn edit(&mut self, byte: u8) {
        if self.is(byte, VERASE) || byte == 8 {
            self.erase_one();
        } else if self.is(byte, VKILL) {
            while self.erase_one() {}
        } else if self.local(IEXTEN) && self.is(byte, VWERASE) {
            while self.line.back() == Some(&b' ') && self.erase_one() {}
            while self.line.back().is_some_and(|&byte| byte != b' ') && self.erase_one() {}
        } else if self.local(IEXTEN) && self.is(byte, VLNEXT) {
            self.literal = true;
        } else if self.is(byte, VEOF) {
            self.finish_line();
            self.ends.push_back(self.ready.len());
        } else if byte == b'\n' || self.is(byte, VEOL) {
            self.line.push_back(byte);
            if self.local(ECHO | ECHONL) {
                self.put(&[byte]);
            }
            self.finish_line();
        } else {
            self.add(byte);
        }
    }

    fn add(&mut self, byte: u8) {
        if self.line.len() < LINE_BYTES {
            self.line.push_back(byte);
            self.echo(byte);
        }
    }

    fn finish_line(&mut self) {
        self.ready.append(&mut self.line);
    }

    /// Takes the last character off the line, and off the screen; `false` if there is none.
    fn erase_one(&mut self) -> bool {
        // A character is a byte and what continues it (UTF-8).
        let mut width = 0;
        while let Some(byte) = self.line.pop_back() {
            width = if byte < 32 || byte == 127 { 2 } else { 1 };
            if byte & 0xc0 != 0x80 {
                break;
            }
        }
        if self.local(ECHO) && self.local(ECHOE) {
            for _ in 0..width {
                console::write_bytes(b"\x08 \x08");
            }
        }
        width > 0
    }

    fn echo(&mut self, byte: u8) {
        if !self.local(ECHO) {
            return;
        }
        match byte {
            b'\n' | b'\t' => self.put(&[byte]),
            0..32 | 127 if self.local(ECHOCTL) => self.put(&[b'^', byte ^ 0x40]),
            _ => self.put(&[byte]),
        }
    }

    /// Writes bytes, new lines translated as the modes say.
    pub(super) fn put(&self, bytes: &[u8]) {
        if self.modes.output & (OPOST | ONLCR) != OPOST | ONLCR {
            console::write_bytes(bytes);
            return;
        }
        let mut translated: heapless::Vec<u8, 256> = heapless::Vec::new();
        for &byte in bytes {
            if translated.len() + 2 > translated.capacity() {
                console::write_bytes(&translated);
                translated.clear();
            }
            // There is room for two: just checked.
            if byte == b'\n' {
                let _ = translated.push(b'\r');
            }
            let _ = translated.push(byte);
        }
        console::write_bytes(&translated);
    }

    /// How many bytes a reader would get now, or that it would get the end of the input.
    pub(super) fn available(&self) -> Available {
        if !self.local(ICANON) {
            return if self.ready.is_empty() { Available::Nothing } else { Available::Bytes(self.ready.len()) };
        }
        if let Some(&end) = self.ends.front() {
            if end == 0 {
                return Available::End;
            }
            return Available::Bytes(self.first_line().min(end));
        }
        match self.first_line() {
            0 => Available::Nothing,
            length => Available::Bytes(length),
        }
    }

    /// The length of the first whole line. What was typed before canonical mode came counts as one.
    fn first_line(&self) -> usize {
        let end = self.ready.iter().position(|&byte| byte == b'\n' || self.is(byte, VEOL));
        end.map_or(self.ready.len(), |end| end + 1)
    }

    /// Gives a reader what there is.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> usize {
        let length = match self.available() {
            Available::Nothing => return 0,
            Available::End => {
                self.ends.pop_front();
                return 0;
            }
            Available::Bytes(length) => length.min(buf.len()),
        };
        for (slot, byte) in buf.iter_mut().zip(self.ready.drain(..length)) {
            *slot = byte;
        }
        for end in &mut self.ends {
            *end -= length;
        }
        // An end after a part of a line ends that part, and is used up with it.
        if self.ends.front() == Some(&0) {
            self.ends.pop_front();
        }
        length
    }

    /// What a reader of `length` bytes waits for.
    pub(super) fn patience(&self, length: usize) -> Patience {
        if self.local(ICANON) {
            return Patience { least: 1, deadline: None };
        }
        let [tenths, least] = [VTIME, VMIN].map(|place| self.modes.characters[place]);
        let deadline = (least == 0).then(|| time::monotonic() + u64::from(tenths) * 100_000_000);
        Patience { least: usize::from(least).clamp(1, length), deadline }
    }

    /// Changes the modes. What was typed before raw input was asked for is read as it was typed.
    pub(super) fn set_modes(&mut self, modes: Termios) {
        self.modes = modes;
        if self.local(ICANON) {
            return;
        }
        self.finish_line();
        let end_of_file = self.modes.characters[VEOF];
        // From the last on, so that the places of those before stay right.
        while let Some(place) = self.ends.pop_back() {
            if end_of_file != 0 {
                self.ready.insert(place, end_of_file);
            }
        }
    }

    /// Forgets what was typed and not read.
    pub(super) fn flush_input(&mut self) {
        self.ready.clear();
        self.ends.clear();
        self.line.clear();
    }
}

/// What a reader would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Available {
    /// It would wait.
    Nothing,
    /// The end of the input.
    End,
    /// So many bytes at most.
    Bytes(usize),
}

/// What a reader waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// So many bytes.
    pub(super) least: usize,
    /// This moment of the monotonic clock.
    pub(super) deadline: Option<u64>,
}

#[cfg(any(debug_assertions, feature = "suites"))]
mod tests {
    use super::{Available, ECHO, ICANON, Terminal};
    use crate::suite::TestResult;
    use crate::{ensure_eq, test};

    /// A terminal that shows nothing, with this typed.
    fn typed(bytes: &[u8]) -> Terminal {
        let mut terminal = Terminal::new();
        terminal.modes.local &= !ECHO;
        for &byte in bytes {
            terminal.take(byte);
        }
        terminal
    }

    fn must_read(terminal: &mut Terminal, expected: &[u8]) -> TestResult {
        let mut buf = [0; 64];
        let length = terminal.read(&mut buf);
        ensure_eq!(&buf[..length], expected);
        Ok(())
    }

    fn make_raw(terminal: &mut Terminal) {
        let mut modes = terminal.modes;
        modes.local &= !ICANON;
        terminal.set_modes(modes);
    }

    test!(
        "terminal",
        fn a_line_is_edited_before_it_is_read() {
            let mut terminal = typed(b"one twx\x7fo\x17three\rmore");
            ensure_eq!(terminal.available(), Available::Bytes(10));
            must_read(&mut terminal, b"one three\n")?;
            ensure_eq!(terminal.available(), Available::Nothing);
            Ok(())
        }
    );

    test!(
        "terminal",
        fn an_end_of_file_ends_a_part_of_a_line_and_then_the_input() {
            let mut terminal = typed(b"part\x04\x04line\n");
            must_read(&mut terminal, b"part")?;
            ensure_eq!(terminal.available(), Available::End);
            must_read(&mut terminal, b"")?;
            must_read(&mut terminal, b"line\n")
        }
    );

    test!(
        "terminal",
        fn what_was_typed_before_raw_input_is_read_as_it_was_typed() {
            let mut terminal = typed(b"\x04one\n\x04two\x04thr");
            make_raw(&mut terminal);
            must_read(&mut terminal, b"\x04one\n\x04two\x04thr")?;
            ensure_eq!(terminal.available(), Available::Nothing);
            terminal.take(4);
            must_read(&mut terminal, b"\x04")
        }
    );
}
