//! The console: the first serial port.
//!
//! Output is polled and goes out before the call returns, so that the last line before a crash is seen. Input
//! arrives by interrupt into a ring; when the ring is full the chip is told to keep quiet and the bytes wait
//! in its FIFO, and behind that in the sender, so that a pipe loses nothing.
//!
//! Locks: [`CONSOLE`] alone, an [`IrqMutex`], innermost of all.

use core::fmt::{self, Write};

use drivers::serial::{COM1, Serial};
use heapless::Deque;

use drivers::IrqMutex;

/// How many bytes of input wait for a reader.
const RING_BYTES: usize = 1024;

static CONSOLE: IrqMutex<Option<Console>> = IrqMutex::new(None);

struct Console {
    serial: Serial,
    input: Deque<u8, RING_BYTES>,
    /// Whether the chip interrupts on input.
    listening: Listening,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    /// Before interrupts are set up.
    NotYet,
    Yes,
    /// The ring was full.
    Paused,
}

/// Finds the serial port. Without one the kernel runs on, mute.
pub(crate) fn init() {
    // SAFETY: the first serial port of a PC, driven by this module only; called once, first of all.
    let Some((serial, early)) = (unsafe { Serial::new(COM1) }) else { return };
    let mut input = Deque::new();
    if let Some(byte) = early.0 {
        // The ring is empty.
        let _ = input.push_back(byte);
    }
    *CONSOLE.lock() = Some(Console { serial, input, listening: Listening::NotYet });
}

/// Starts input; interrupts can be taken from now on.
pub(crate) fn listen() {
    if let Some(console) = &mut *CONSOLE.lock() {
        console.fetch();
        console.listening = Listening::Yes;
        console.serial.listen();
    }
}

/// The interrupt handler: moves what the chip holds into the ring.
pub(crate) fn on_interrupt() {
    if let Some(console) = &mut *CONSOLE.lock() {
        console.fetch();
        if console.input.is_full() {
            console.listening = Listening::Paused;
            console.serial.ignore();
        }
    }
}

/// Takes waiting input: fills `buffer` as far as there is some and returns the length, 0 when there is none.
pub(crate) fn read_input(buffer: &mut [u8]) -> usize {
    let mut guard = CONSOLE.lock();
    let Some(console) = &mut *guard else { return 0 };
    let mut length = 0;
    while let Some(slot) = buffer.get_mut(length) {
        let Some(byte) = console.input.pop_front() else { break };
        *slot = byte;
        length += 1;
    }
    if console.listening == Listening::Paused && length > 0 {
        console.fetch();
        if !console.input.is_full() {
            console.listening = Listening::Yes;
            console.serial.listen();
        }
    }
    length
}

/// Whether [`read_input`] would return something.
pub(crate) fn has_input() -> bool {
    CONSOLE.lock().as_ref().is_some_and(|console| !console.input.is_empty())
}

/// Sends bytes as they are.
pub(crate) fn write_bytes(bytes: &[u8]) {
    if let Some(console) = &mut *CONSOLE.lock() {
        console.serial.send(bytes);
    }
}

/// Writes text, with a carriage return before each new line.
pub(crate) fn print(arguments: fmt::Arguments<'_>) {
    if let Some(console) = &mut *CONSOLE.lock() {
        console.print(arguments);
    }
}

/// Writes a line although the console may be locked: for a kernel that is about to stop. If the lock is held
/// by the code that failed, it is broken.
pub(crate) fn emergency(arguments: fmt::Arguments<'_>) {
    x86_64::instructions::interrupts::disable();
    if let Some(mut guard) = CONSOLE.try_lock() {
        if let Some(console) = &mut *guard {
            console.print(format_args!("{arguments}\n"));
        }
        return;
    }
    // SAFETY: the port is driven by the code that holds the lock, which never runs again: interrupts are
    // off and the caller does not return to it.
    if let Some((serial, _)) = unsafe { Serial::new(COM1) } {
        let mut console = Console { serial, input: Deque::new(), listening: Listening::NotYet };
        console.print(format_args!("\n{arguments}\n"));
    }
}

impl Console {
    fn fetch(&mut self) {
        while !self.input.is_full() {
            let Some(byte) = self.serial.receive() else { break };
            // There is room: the loop's condition.
            let _ = self.input.push_back(byte);
        }
    }

    fn print(&mut self, arguments: fmt::Arguments<'_>) {
        let mut line = Line { serial: &mut self.serial, buffer: heapless::Vec::new() };
        // Writing to the buffer does not fail.
        let _ = line.write_fmt(arguments);
        line.flush();
    }
}

/// Gathers text, so that the port is given whole FIFOs.
struct Line<'a> {
    serial: &'a mut Serial,
    buffer: heapless::Vec<u8, 128>,
}

impl Line<'_> {
    fn flush(&mut self) {
        self.serial.send(&self.buffer);
        self.buffer.clear();
    }

    fn push(&mut self, byte: u8) {
        if self.buffer.push(byte).is_err() {
            self.flush();
            // The buffer is empty now.
            let _ = self.buffer.push(byte);
        }
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.push(b'\r');
            }
            self.push(byte);
        }
        Ok(())
    }
}
