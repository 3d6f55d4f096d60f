//! The machine and its programs: `date`, `uname`, `free`, `uptime`, `sleep`, `time`, `run`, `exec`, `reboot`, `poweroff`.

use alloc::string::String;
use core::fmt::Write;

use rustix::fs::Timespec;
use rustix::io::Errno;
use rustix::system::{RebootCommand, sysinfo};
use rustix::thread::{NanosleepRelativeResult, nanosleep};
use strata_rt::clock::{Clock, DAYS, Date, MONTHS, now};
use strata_rt::text::{Shown, parse_number};
use strata_rt::{output, println, sys};

use super::Call;
use super::attributes::parse_time;
use crate::shell::Shell;

pub(super) fn date(_: &mut Shell, call: &Call) {
    if let Some(text) = call.value(b's') {
        match parse_time(text) {
            Some(time) => {
                call.check(text, sys::set_clock(time.tv_sec));
            }
            None => call.misuse(format_args!("-s needs a date like 2026-01-31 12:00:00, or @SECONDS")),
        }
        return;
    }
    let format = match call.operands.first() {
        None => "%a %b %e %H:%M:%S UTC %Y",
        Some(operand) => match operand.strip_prefix(b"+").map(core::str::from_utf8) {
            Some(Ok(format)) => format,
            _ => {
                call.misuse(format_args!("the format starts with +"));
                return;
            }
        },
    };
    println!("{}", formatted(format, now(Clock::Real)));
}

fn formatted(format: &str, (seconds, nanoseconds): (i64, u32)) -> String {
    let date = Date::from_seconds(seconds);
    let Date { year, month, day, hour, minute, second, weekday } = date;
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        // Writing to a string fails only without memory, which ends the program.
        let _ = match (letter, if letter == '%' { letters.next() } else { None }) {
            (_, Some('Y')) => write!(text, "{year:04}"),
            (_, Some('m')) => write!(text, "{month:02}"),
            (_, Some('d')) => write!(text, "{day:02}"),
            (_, Some('e')) => write!(text, "{day:>2}"),
            (_, Some('H')) => write!(text, "{hour:02}"),
            (_, Some('M')) => write!(text, "{minute:02}"),
            (_, Some('S')) => write!(text, "{second:02}"),
            (_, Some('N')) => write!(text, "{nanoseconds:09}"),
            (_, Some('s')) => write!(text, "{seconds}"),
            (_, Some('F')) => write!(text, "{year:04}-{month:02}-{day:02}"),
            (_, Some('T')) => write!(text, "{hour:02}:{minute:02}:{second:02}"),
            (_, Some('a')) => write!(text, "{}", DAYS[usize::from(weekday) % 7]),
            (_, Some('b')) => write!(text, "{}", MONTHS[(usize::from(month) + 11) % 12]),
            (_, Some('Z')) => write!(text, "UTC"),
            (_, Some('%')) => write!(text, "%"),
            (_, Some(other)) => write!(text, "%{other}"),
            (plain, None) => write!(text, "{plain}"),
        };
    }
    text
}

pub(super) fn uname(_: &mut Shell, call: &Call) {
    let names = rustix::system::uname();
    let all = call.has(b'a');
    let parts = [
        (b's', names.sysname()),
        (b'n', names.nodename()),
        (b'r', names.release()),
        (b'v', names.version()),
        (b'm', names.machine()),
    ];
    let mut line = String::new();
    for (letter, name) in parts {
        if all || call.has(letter) || (letter == b's' && call.options.is_empty()) {
            let space = if line.is_empty() { "" } else { " " };
            let _ = write!(line, "{space}{}", Shown(name.to_bytes()));
        }
    }
    println!("{line}");
}

pub(super) fn free(_: &mut Shell, _: &Call) {
    let info = sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    let kib = |units: u64| units.saturating_mul(unit) / 1024;
    let (total, free, buffers) = (kib(info.totalram), kib(info.freeram), kib(info.bufferram));
    println!("{:<8}{:>10} {:>10} {:>10} {:>10}", "KiB", "Total", "Used", "Free", "Buffers");
    println!(
        "{:<8}{total:>10} {:>10} {free:>10} {buffers:>10}",
        "Memory",
        total.saturating_sub(free).saturating_sub(buffers)
    );
}

pub(super) fn uptime(_: &mut Shell, _: &Call) {
    let (seconds, nanoseconds) = now(Clock::Monotonic);
    println!("{seconds}.{:02} s", nanoseconds / 10_000_000);
}

pub(super) fn sleep(shell: &mut Shell, call: &Call) {
    if !call.wants_exactly(1) {
        return;
    }
    let Some(mut left) = parse_milliseconds(&call.operands[0]) else {
        call.misuse(format_args!("SECONDS is a number, like 2 or 0.5"));
        return;
    };
    // In slices, so that Ctrl-C is seen.
    while left > 0 && !call.stopped_by_now(shell) {
        let slice = left.min(100);
        left -= slice;
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(slice).unwrap_or(0) * 1_000_000 };
        match nanosleep(&wait) {
            NanosleepRelativeResult::Ok | NanosleepRelativeResult::Interrupted(_) => {}
            NanosleepRelativeResult::Err(errno) => return call.fail(&call.operands[0], errno),
        }
    }
}

/// A decimal number of seconds in milliseconds.
fn parse_milliseconds(text: &[u8]) -> Option<u64> {
    let (whole, part) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let whole = if whole.is_empty() && !part.is_empty() { 0 } else { parse_number(whole, 10)? };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = part.get(place).map_or(Some(0), |digit| char::from(*digit).to_digit(10))?;
        thousandths = thousandths * 10 + u64::from(digit);
    }
    whole.checked_mul(1000)?.checked_add(thousandths)
}

pub(super) fn time(shell: &mut Shell, call: &Call) {
    let (start, start_part) = now(Clock::Monotonic);
    let status = shell.run_command(call.operands.clone());
    let _ = output::flush();
    let (end, end_part) = now(Clock::Monotonic);
    let micros = (end - start) * 1_000_000 + (i64::from(end_part) - i64::from(start_part)) / 1000;
    strata_rt::eprintln!("real {}.{:06} s", micros / 1_000_000, micros % 1_000_000);
    call.set_status(status);
}

pub(super) fn run(shell: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let name = &call.operands[0];
    match shell.find_program(name) {
        Some(path) => call.set_status(shell.run_program(&path, &call.operands)),
        None => {
            call.complain(name, "no such program in $PATH");
            call.set_status(127);
        }
    }
}

pub(super) fn exec(shell: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let name = &call.operands[0];
    let Some(path) = shell.find_program(name) else {
        call.complain(name, "no such program in $PATH");
        call.set_status(127);
        return;
    };
    let Some(program) = call.check(&path, shell.program(&path, &call.operands)) else { return };
    let _ = output::flush();
    shell.console.restore();
    call.fail(&path, program.replace());
    call.set_status(126);
}

pub(super) fn poweroff(shell: &mut Shell, call: &Call) {
    power(shell, call, RebootCommand::PowerOff);
}

pub(super) fn reboot(shell: &mut Shell, call: &Call) {
    power(shell, call, RebootCommand::Restart);
}

/// Only the first process stops the machine: anywhere else the shell is a guest on somebody's system.
fn power(shell: &mut Shell, call: &Call, command: RebootCommand) {
    if shell.is_first_process() {
        call.fail(b"the kernel", shell.power(command));
    } else {
        call.fail(b"this is not the first process", Errno::PERM);
    }
}
