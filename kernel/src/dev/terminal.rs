//! The terminal on the serial console: line editing, echo, signals by keys (`termios(3)`).
//!
//! The console gathers bytes as they arrive ([`crate::console`]); they go through the line discipline when somebody reads or
//! asks, and whenever an interrupt finds a program running, so that Ctrl-C ends one that never asks.
//!
//! Locks: [`TERMINAL`], then the console's. Nothing waits while it is held.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use base::sync::Mutex;
use vfs::{DeviceNumber, DeviceOps, Errno, OpenDevice, OpenFlags, PollEvents, Result, UserMemory};
use zerocopy::{FromZeros, IntoBytes};

use crate::syscall::abi::{Termios, WinSize};
use crate::task::signal::{Info, SIGINT, SIGQUIT};
use crate::task::{self, process};
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

static TERMINAL: Mutex<Terminal> = Mutex::new(Terminal::new());

struct Terminal {
    modes: Termios,
    size: WinSize,
    /// The process group that keys signal, 0 for none.
    foreground: i32,
    /// Bytes for readers. With `ICANON`, whole lines; the end of input is kept in `ends`.
    ready: VecDeque<u8>,
    /// Where in `ready` (counted from its front) an end-of-file character ended a line.
    ends: VecDeque<usize>,
    /// The line that is being edited.
    line: VecDeque<u8>,
    /// The next byte is taken as it is.
    literal: bool,
    /// Somebody asked for input. Before that what arrives waits as it is: the first program may want it in another mode.
    attended: bool,
}

impl Terminal {
    const fn new() -> Self {
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
    fn fetch(&mut self) -> Option<u8> {
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
    fn put(&self, bytes: &[u8]) {
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
    fn available(&self) -> Available {
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
    fn read(&mut self, buf: &mut [u8]) -> usize {
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

    fn flush_input(&mut self) {
        self.ready.clear();
        self.ends.clear();
        self.line.clear();
    }
}

/// What a reader would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Available {
    Nothing,
    End,
    Bytes(usize),
}

/// Takes what arrived and sends the signals that keys ask for.
fn fetch() {
    let (signal, group) = {
        let mut terminal = TERMINAL.lock();
        terminal.attended = true;
        (terminal.fetch(), terminal.foreground)
    };
    if let Some(signal) = signal {
        for process in process::all() {
            let meant = group == 0 || process.kinship().group == group;
            if meant {
                process.send(signal, Info::by_kernel());
            }
        }
    }
}

/// Looks for keys that end programs; called when an interrupt found one running.
pub(crate) fn look_for_interrupt() {
    if console::has_input() && TERMINAL.lock().attended {
        fetch();
    }
}

/// Serves the terminal under each of its numbers.
pub(super) struct Driver;

impl DeviceOps for Driver {
    fn open(&self, _number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        Ok(Arc::new(OpenTerminal))
    }
}

struct OpenTerminal;

impl OpenDevice for OpenTerminal {
    fn read(&self, _offset: u64, buf: &mut [u8], flags: OpenFlags) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let (least, deadline) = {
            let terminal = TERMINAL.lock();
            let [time, least] = [VTIME, VMIN].map(|place| terminal.modes.characters[place]);
            let tenths = (!terminal.local(ICANON) && least == 0).then_some(u64::from(time));
            let deadline = tenths.map(|tenths| time::monotonic() + tenths * 100_000_000);
            (if terminal.local(ICANON) { 1 } else { usize::from(least).clamp(1, buf.len()) }, deadline)
        };
        let ready = || {
            fetch();
            let there = match TERMINAL.lock().available() {
                Available::Nothing => false,
                Available::End => true,
                Available::Bytes(count) => count >= least,
            };
            there || deadline.is_some_and(time::is_due)
        };
        if flags.contains(OpenFlags::O_NONBLOCK) && !ready() {
            return Err(Errno::EAGAIN.into());
        }
        task::wait_until(&ready)?;
        Ok(TERMINAL.lock().read(buf))
    }

    fn write(&self, _offset: u64, data: &[u8], _flags: OpenFlags) -> Result<usize> {
        TERMINAL.lock().put(data);
        Ok(data.len())
    }

    fn poll(&self) -> PollEvents {
        fetch();
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        if TERMINAL.lock().available() != Available::Nothing {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        events
    }

    fn ioctl(&self, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        const TCGETS: u32 = 0x5401;
        const TCSETS: u32 = 0x5402;
        const TCSETSW: u32 = 0x5403;
        const TCSETSF: u32 = 0x5404;
        const TCSBRK: u32 = 0x5409;
        const TCXONC: u32 = 0x540a;
        const TCFLSH: u32 = 0x540b;
        const TIOCSCTTY: u32 = 0x540e;
        const TIOCGPGRP: u32 = 0x540f;
        const TIOCSPGRP: u32 = 0x5410;
        const TIOCOUTQ: u32 = 0x5411;
        const TIOCGWINSZ: u32 = 0x5413;
        const TIOCSWINSZ: u32 = 0x5414;
        const FIONREAD: u32 = 0x541b;
        const TIOCNOTTY: u32 = 0x5422;
        const TCSBRKP: u32 = 0x5425;
        const TIOCGSID: u32 = 0x5429;
        match command {
            TCGETS => {
                let modes = TERMINAL.lock().modes;
                memory.copy_out(argument, modes.as_bytes())?;
            }
            TCSETS | TCSETSW | TCSETSF => {
                let mut modes = Termios::new_zeroed();
                memory.copy_in(argument, modes.as_mut_bytes())?;
                if command == TCSETSF {
                    fetch();
                    TERMINAL.lock().flush_input();
                }
                let mut terminal = TERMINAL.lock();
                terminal.modes = modes;
                if modes.local & ICANON == 0 {
                    // What was being edited is read as it is.
                    terminal.finish_line();
                    terminal.ends.clear();
                }
            }
            TIOCGWINSZ => {
                let size = TERMINAL.lock().size;
                memory.copy_out(argument, size.as_bytes())?;
            }
            TIOCSWINSZ => {
                let mut size = WinSize::new_zeroed();
                memory.copy_in(argument, size.as_mut_bytes())?;
                TERMINAL.lock().size = size;
            }
            FIONREAD => {
                fetch();
                let count = match TERMINAL.lock().available() {
                    Available::Bytes(count) => count as u32,
                    _ => 0,
                };
                memory.copy_out(argument, &count.to_ne_bytes())?;
            }
            TIOCOUTQ => memory.copy_out(argument, &0_u32.to_ne_bytes())?,
            TIOCGPGRP => {
                let group = match TERMINAL.lock().foreground {
                    0 => process::INIT,
                    group => group,
                };
                memory.copy_out(argument, &group.to_ne_bytes())?;
            }
            TIOCSPGRP => {
                let mut group = [0; 4];
                memory.copy_in(argument, &mut group)?;
                TERMINAL.lock().foreground = i32::from_ne_bytes(group);
            }
            TIOCGSID => {
                let session = process::find(task::current_pid()).map_or(0, |process| process.kinship().session);
                memory.copy_out(argument, &session.to_ne_bytes())?;
            }
            TCFLSH => {
                // 0 and 2 flush input; output is never queued.
                if argument != 1 {
                    fetch();
                    TERMINAL.lock().flush_input();
                }
            }
            TCSBRK | TCSBRKP | TCXONC | TIOCSCTTY | TIOCNOTTY => {}
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }
}
