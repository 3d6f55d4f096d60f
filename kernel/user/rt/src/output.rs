//! Standard output, buffered, and standard error, not.
//!
//! Output is gathered in one buffer and written when that is full, when the program ends, before anything goes to standard
//! error (so that the order on a terminal is right), and at [`flush`]. An error of writing is kept and reported by the next
//! `flush`: a program that prints need not look at every line.

use core::fmt::{self, Write};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::cell::SingleThread;
use crate::file::write_all;

const CAPACITY: usize = 8 * 1024;

struct Output {
    buffer: [u8; CAPACITY],
    used: usize,
    failure: Option<Errno>,
}

static OUTPUT: SingleThread<Output> = SingleThread::new(Output { buffer: [0; CAPACITY], used: 0, failure: None });

/// The program's standard output.
pub fn standard_output() -> BorrowedFd<'static> {
    // SAFETY: the runtime never closes descriptor 1; one that the program was started without answers EBADF.
    unsafe { rustix::stdio::stdout() }
}

/// The program's standard input.
pub fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: the runtime never closes descriptor 0; one that the program was started without answers EBADF.
    unsafe { rustix::stdio::stdin() }
}

/// The program's standard error.
pub fn standard_error() -> BorrowedFd<'static> {
    // SAFETY: the runtime never closes descriptor 2; one that the program was started without answers EBADF.
    unsafe { rustix::stdio::stderr() }
}

impl Output {
    fn put(&mut self, mut bytes: &[u8]) {
        if bytes.len() >= CAPACITY {
            self.write_out();
            return self.keep(write_all(standard_output(), bytes));
        }
        while !bytes.is_empty() {
            if self.used == CAPACITY {
                self.write_out();
            }
            let count = bytes.len().min(CAPACITY - self.used);
            let (head, tail) = bytes.split_at(count);
            self.buffer[self.used..self.used + count].copy_from_slice(head);
            self.used += count;
            bytes = tail;
        }
    }

    fn write_out(&mut self) {
        let used = core::mem::take(&mut self.used);
        self.keep(write_all(standard_output(), &self.buffer[..used]));
    }

    fn keep(&mut self, result: Result<(), Errno>) {
        if let Err(errno) = result {
            self.failure.get_or_insert(errno);
        }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Adds raw bytes to standard output.
pub fn put(bytes: &[u8]) {
    OUTPUT.with(|output| output.put(bytes));
}

/// Adds formatted text to standard output; behind `print!`.
pub fn print(arguments: fmt::Arguments<'_>) {
    // Writing into the buffer never fails: failures of the descriptor are kept for `flush`.
    OUTPUT.with(|output| output.write_fmt(arguments).is_ok());
}

/// Writes what was gathered, and gives the first error since the last flush.
///
/// # Errors
/// Those of `write(2)`.
pub fn flush() -> Result<(), Errno> {
    OUTPUT
        .with(|output| {
            output.write_out();
            output.failure.take().map_or(Ok(()), Err)
        })
        .unwrap_or(Ok(()))
}

/// Writes formatted text to standard error, after what standard output still holds; behind `eprintln!`.
pub fn print_error(arguments: fmt::Arguments<'_>) {
    OUTPUT.with(Output::write_out);
    let mut line = Line { buffer: [0; 512], used: 0 };
    // Neither the buffer nor standard error can say more about a failure than standard error itself.
    let _ = line.write_fmt(arguments);
    line.write_out();
}

/// A line for standard error, written in as few pieces as its length allows.
struct Line {
    buffer: [u8; 512],
    used: usize,
}

impl Line {
    fn write_out(&mut self) {
        let used = core::mem::take(&mut self.used);
        let _ = write_all(standard_error(), &self.buffer[..used]);
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == self.buffer.len() {
                self.write_out();
            }
            self.buffer[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::output::print(::core::format_args!($($argument)*)) };
}

/// Prints to standard output and ends the line.
#[macro_export]
macro_rules! println {
    () => { $crate::output::put(b"\n") };
    ($($argument:tt)*) => {{
        $crate::output::print(::core::format_args!($($argument)*));
        $crate::output::put(b"\n");
    }};
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::output::print_error(::core::format_args!("{}\n", ::core::format_args!($($argument)*))) };
}
