//! The contents of files: `cat`, `write`, `append`, `echo`, `truncate`.

use alloc::vec::Vec;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fstat, ftruncate, open};
use rustix::io::Errno;
use strata_rt::file::{for_each_chunk, write_all};
use strata_rt::output::{self, standard_input};
use strata_rt::text::parse_size;

use super::Call;
use crate::shell::Shell;

/// A file to read: one that was opened, or standard input.
pub(super) enum Source {
    Opened(OwnedFd),
    Input,
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Opened(fd) => fd.as_fd(),
            Self::Input => standard_input(),
        }
    }
}

/// Opens `path` for reading; `-` is standard input, which a terminal then gives in lines.
pub(super) fn open_source(shell: &mut Shell, path: &[u8]) -> Result<Source, Errno> {
    if path == b"-" {
        let _ = output::flush();
        shell.console.restore();
        return Ok(Source::Input);
    }
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(Source::Opened)
}

pub(super) fn cat(shell: &mut Shell, call: &Call) {
    for path in call.operands_or(&[b"-".into()]) {
        let Some(source) = call.check(path, open_source(shell, path)) else { continue };
        let result = for_each_chunk(&source, |piece| {
            output::put(piece);
            if matches!(source, Source::Input) {
                // Whoever types wants to see it at once.
                output::flush()?;
            }
            if call.stopped_by_now(shell) { Err(Errno::INTR) } else { Ok(()) }
        });
        if call.stopped(shell) {
            return;
        }
        call.check(path, result);
    }
}

pub(super) fn echo(_: &mut Shell, call: &Call) {
    let (words, end) = match call.operands.split_first() {
        Some((first, rest)) if first == b"-n" => (rest, &b""[..]),
        _ => (&call.operands[..], &b"\n"[..]),
    };
    output::put(&words.join(&b' '));
    output::put(end);
}

pub(super) fn write(_: &mut Shell, call: &Call) {
    put_text(call, OFlags::TRUNC);
}

pub(super) fn append(_: &mut Shell, call: &Call) {
    put_text(call, OFlags::APPEND);
}

fn put_text(call: &Call, flags: OFlags) {
    if !call.wants(1) {
        return;
    }
    let (path, words) = (&call.operands[0], &call.operands[1..]);
    let mut text: Vec<u8> = words.join(&b' ');
    if !call.has(b'n') {
        text.push(b'\n');
    }
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let result = open(&path[..], flags, Mode::from_raw_mode(0o666)).and_then(|file| write_all(&file, &text));
    call.check(path, result);
}

pub(super) fn truncate(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let Some(size) = call.value(b's').and_then(Size::parse) else {
        call.misuse(format_args!("-s needs a size, like 4096, 16k, +1M or -512"));
        return;
    };
    for path in &call.operands {
        let create = if call.has(b'c') { OFlags::empty() } else { OFlags::CREATE };
        let file = open(&path[..], OFlags::WRONLY | OFlags::CLOEXEC | create, Mode::from_raw_mode(0o666));
        let result = file.and_then(|file| {
            let old = u64::try_from(fstat(&file)?.st_size).map_err(|_| Errno::INVAL)?;
            ftruncate(&file, size.from(old).ok_or(Errno::FBIG)?)
        });
        call.check(path, result);
    }
}

/// A length, absolute or relative to the one the file has, in bytes.
#[derive(Clone, Copy)]
enum Size {
    Absolute(u64),
    More(u64),
    Less(u64),
}

impl Size {
    fn parse(text: &[u8]) -> Option<Self> {
        match text.split_first()? {
            (b'+', rest) => parse_size(rest).map(Self::More),
            (b'-', rest) => parse_size(rest).map(Self::Less),
            _ => parse_size(text).map(Self::Absolute),
        }
    }

    fn from(self, old: u64) -> Option<u64> {
        match self {
            Self::Absolute(size) => Some(size),
            Self::More(size) => old.checked_add(size),
            Self::Less(size) => Some(old.saturating_sub(size)),
        }
    }
}
