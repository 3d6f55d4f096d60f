//! Mounts: `mount`, `umount`, `df`, `sync`.

use alloc::ffi::CString;
use alloc::vec::Vec;

use rustix::fs::{Mode, OFlags, fdatasync, fsync, open, statfs};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, UnmountFlags, mount as mount_new, mount_bind, mount_bind_recursive, mount_move, mount_remount, unmount,
};
use strata_rt::text::{Shown, parse_number};
use strata_rt::{file, println};

use super::Call;
use crate::shell::Shell;

/// The largest list of mounts that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// A line of the list of mounts.
struct Mounted {
    source: Vec<u8>,
    directory: Vec<u8>,
    kind: Vec<u8>,
    options: Vec<u8>,
}

/// What is mounted, as `proc(5)` gives it.
fn mounted() -> Result<Vec<Mounted>, Errno> {
    let text = file::read_whole(c"/proc/mounts", LIMIT)?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse_line).collect())
}

fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&byte| byte == b' ').map(unescape);
    Some(Mounted { source: fields.next()?, directory: fields.next()?, kind: fields.next()?, options: fields.next()? })
}

/// Puts back the spaces and the like that the list writes as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'\\').then(|| tail.get(..3).and_then(|digits| parse_number(digits, 8))).flatten();
        match escaped.and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => {
                text.push(byte);
                rest = &tail[3..];
            }
            None => {
                text.push(first);
                rest = tail;
            }
        }
    }
    text
}

pub(super) fn mount(_: &mut Shell, call: &Call) {
    if call.operands.is_empty() && call.options.is_empty() {
        for Mounted { source, directory, kind, options } in call.check(b"/proc/mounts", mounted()).unwrap_or_default() {
            println!("{} on {} type {} ({})", Shown(&source), Shown(&directory), Shown(&kind), Shown(&options));
        }
        return;
    }
    let mut options = MountOptions::parse(call.value(b'o').unwrap_or_default());
    if call.has(b'r') {
        options.flags |= MountFlags::RDONLY;
    }
    let Ok(data) = CString::new(options.data.clone()) else {
        call.misuse(format_args!("options hold a NUL"));
        return;
    };
    let (source, directory) = match &call.operands[..] {
        [directory] => (directory, directory),
        [source, directory] => (source, directory),
        _ => {
            call.misuse(format_args!("takes a source and a directory"));
            return;
        }
    };
    let result = match options.action {
        Action::New => match call.value(b't') {
            Some(kind) => mount_new(&source[..], &directory[..], kind, options.flags, &*data),
            None => {
                call.misuse(format_args!("a new mount needs -t TYPE"));
                return;
            }
        },
        Action::Remount => mount_remount(&directory[..], options.flags, &*data),
        Action::Bind => mount_bind(&source[..], &directory[..]),
        Action::BindTree => mount_bind_recursive(&source[..], &directory[..]),
        Action::Move => mount_move(&source[..], &directory[..]),
    };
    call.check(directory, result);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    New,
    Remount,
    Bind,
    BindTree,
    Move,
}

/// The options of `-o`: some are flags of the call, the others the file system's own.
struct MountOptions {
    action: Action,
    flags: MountFlags,
    data: Vec<u8>,
}

impl MountOptions {
    fn parse(text: &[u8]) -> Self {
        let mut options = Self { action: Action::New, flags: MountFlags::empty(), data: Vec::new() };
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            match option {
                b"defaults" => {}
                b"ro" => options.flags |= MountFlags::RDONLY,
                b"rw" => options.flags -= MountFlags::RDONLY,
                b"nosuid" => options.flags |= MountFlags::NOSUID,
                b"nodev" => options.flags |= MountFlags::NODEV,
                b"noexec" => options.flags |= MountFlags::NOEXEC,
                b"noatime" => options.flags |= MountFlags::NOATIME,
                b"nodiratime" => options.flags |= MountFlags::NODIRATIME,
                b"relatime" => options.flags |= MountFlags::RELATIME,
                b"strictatime" => options.flags |= MountFlags::STRICTATIME,
                b"sync" => options.flags |= MountFlags::SYNCHRONOUS,
                b"dirsync" => options.flags |= MountFlags::DIRSYNC,
                b"remount" => options.action = Action::Remount,
                b"bind" => options.action = Action::Bind,
                b"rbind" => options.action = Action::BindTree,
                b"move" => options.action = Action::Move,
                _ => {
                    if !options.data.is_empty() {
                        options.data.push(b',');
                    }
                    options.data.extend_from_slice(option);
                }
            }
        }
        options
    }
}

pub(super) fn umount(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let mut flags = UnmountFlags::empty();
    flags.set(UnmountFlags::DETACH, call.has(b'l'));
    flags.set(UnmountFlags::FORCE, call.has(b'f'));
    for path in &call.operands {
        call.check(path, unmount(&path[..], flags));
    }
}

pub(super) fn df(_: &mut Shell, call: &Call) {
    let mounts = mounted();
    let named: Vec<(Vec<u8>, Vec<u8>)> = if !call.operands.is_empty() {
        call.operands.iter().map(|path| (b"-".into(), path.clone())).collect()
    } else if let Ok(mounts) = &mounts {
        mounts.iter().map(|mount| (mount.source.clone(), mount.directory.clone())).collect()
    } else {
        // Without a list of mounts there is at least a root.
        [(b"-".into(), b"/".into())].into()
    };
    println!(
        "{:<16} {:>10} {:>10} {:>10} {:>4} {:>8} {:>8}  On",
        "Source", "KiB", "Used", "Free", "Use%", "Inodes", "IFree"
    );
    for (source, directory) in named {
        let Some(room) = call.check(&directory, statfs(&directory[..])) else { continue };
        if room.f_blocks == 0 && call.operands.is_empty() {
            continue;
        }
        let unit = u64::try_from(if room.f_frsize > 0 { room.f_frsize } else { room.f_bsize }).unwrap_or(1);
        let kib = |blocks: u64| blocks.saturating_mul(unit) / 1024;
        let used = room.f_blocks.saturating_sub(room.f_bfree);
        let usable = used.saturating_add(room.f_bavail);
        let percent = if usable == 0 { 0 } else { used.saturating_mul(100).div_ceil(usable) };
        let source = alloc::format!("{}", Shown(&source));
        println!(
            "{source:<16} {:>10} {:>10} {:>10} {percent:>3}% {:>8} {:>8}  {}",
            kib(room.f_blocks),
            kib(used),
            kib(room.f_bavail),
            room.f_files,
            room.f_ffree,
            Shown(&directory),
        );
    }
}

pub(super) fn sync(_: &mut Shell, call: &Call) {
    if call.operands.is_empty() {
        rustix::fs::sync();
        return;
    }
    for path in &call.operands {
        let opened = open(&path[..], OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        let result = opened.and_then(|file| if call.has(b'd') { fdatasync(&file) } else { fsync(&file) });
        call.check(path, result);
    }
}
