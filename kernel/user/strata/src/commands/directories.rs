//! Directories and other things that are made empty: `mkdir`, `rmdir`, `mkfifo`, `mknod`.

use rustix::fs::{CWD, FileType, Mode, chmod, makedev, mkdir as make_directory, mknodat, stat};
use rustix::io::Errno;
use strata_rt::text::{parse_number, trim_slashes};

use super::tree::kind;
use super::{Call, attributes::parse_octal};
use crate::shell::Shell;

pub(super) fn mkdir(_: &mut Shell, call: &Call) {
    let Some(mode) = mode(call, 0o777) else { return };
    if !call.wants(1) {
        return;
    }
    for path in &call.operands {
        let made = if call.has(b'p') { make_with_parents(path, mode) } else { make_directory(&path[..], mode) };
        // The umask does not apply to a mode that was asked for.
        let result = made.and_then(|()| if call.has(b'm') { chmod(&path[..], mode) } else { Ok(()) });
        call.check(path, result);
    }
}

/// Makes the directory and those above it that are missing. One that is there already is no error.
fn make_with_parents(path: &[u8], mode: Mode) -> Result<(), Errno> {
    let whole = trim_slashes(path);
    let ends = (1..whole.len()).filter(|&at| whole[at] == b'/' && whole[at - 1] != b'/').chain([whole.len()]);
    for end in ends {
        let part = &path[..end.max(1).min(path.len())];
        match make_directory(part, if end == whole.len() { mode } else { Mode::from_raw_mode(0o777) }) {
            Err(Errno::EXIST) if stat(part).is_ok_and(|there| kind(&there) == FileType::Directory) => {}
            result => result?,
        }
    }
    Ok(())
}

pub(super) fn rmdir(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    for path in &call.operands {
        call.check(path, rustix::fs::rmdir(&path[..]));
    }
}

pub(super) fn mkfifo(_: &mut Shell, call: &Call) {
    let Some(mode) = mode(call, 0o666) else { return };
    if !call.wants(1) {
        return;
    }
    for path in &call.operands {
        call.check(path, mknodat(CWD, &path[..], FileType::Fifo, mode, 0));
    }
}

pub(super) fn mknod(_: &mut Shell, call: &Call) {
    let Some(mode) = mode(call, 0o666) else { return };
    if !call.wants(2) {
        return;
    }
    let path = &call.operands[0];
    let number = |text: &[u8]| parse_number(text, 10).and_then(|number| u32::try_from(number).ok());
    let (file_type, device) = match (&call.operands[1][..], &call.operands[2..]) {
        (b"p", []) => (FileType::Fifo, 0),
        (letter @ (b"b" | b"c"), [major, minor]) => {
            let (Some(major), Some(minor)) = (number(major), number(minor)) else {
                call.misuse(format_args!("MAJOR and MINOR are numbers"));
                return;
            };
            let file_type = if letter == b"b" { FileType::BlockDevice } else { FileType::CharacterDevice };
            (file_type, makedev(major, minor))
        }
        _ => {
            call.misuse(format_args!("takes b or c with two numbers, or p"));
            return;
        }
    };
    call.check(path, mknodat(CWD, &path[..], file_type, mode, device));
}

/// The mode of `-m`, or `default`. Reports a mode that is none.
fn mode(call: &Call, default: u32) -> Option<Mode> {
    let Some(text) = call.value(b'm') else { return Some(Mode::from_raw_mode(default)) };
    let mode = parse_octal(text);
    if mode.is_none() {
        call.misuse(format_args!("-m needs an octal mode"));
    }
    mode
}
