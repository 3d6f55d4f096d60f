//! What is known of a file beside its contents: `stat`, `chmod`, `chown`, `touch`.

use alloc::string::String;
use alloc::vec::Vec;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, StatxFlags, Timespec, Timestamps, UTIME_NOW, Uid, chmodat,
    chownat, major, minor, open, readlinkat, stat as stat_followed, statx, utimensat,
};
use rustix::io::Errno;
use strata_rt::clock::Date;
use strata_rt::println;
use strata_rt::text::{Shown, parse_number};

use super::Call;
use super::tree::{Place, Walk, kind};
use super::xattrs::{layer_of, xattr_names};
use crate::shell::Shell;
use crate::users::Names;

/// Kind and permissions as ten letters.
pub(super) fn permissions(mode: u32) -> String {
    let letter = |bit: u32, letter: char| if mode & bit != 0 { letter } else { '-' };
    let execute = |bit: u32, special: u32, both: char| match (mode & bit != 0, mode & special != 0) {
        (true, true) => both,
        (false, true) => both.to_ascii_uppercase(),
        (execute, false) => {
            if execute {
                'x'
            } else {
                '-'
            }
        }
    };
    let kind = kind_letter(FileType::from_raw_mode(mode));
    [
        if kind == 'f' { '-' } else { kind },
        letter(0o400, 'r'),
        letter(0o200, 'w'),
        execute(0o100, 0o4000, 's'),
        letter(0o040, 'r'),
        letter(0o020, 'w'),
        execute(0o010, 0o2000, 's'),
        letter(0o004, 'r'),
        letter(0o002, 'w'),
        execute(0o001, 0o1000, 't'),
    ]
    .iter()
    .collect()
}

/// The letter of a kind, as `find -type` takes it.
pub(super) fn kind_letter(kind: FileType) -> char {
    match kind {
        FileType::RegularFile => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Unknown => '?',
    }
}

// ---- stat

pub(super) fn stat(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let (users, groups) = (Names::users(), Names::groups());
    for path in &call.operands {
        let found = if call.has(b'L') { stat_followed(&path[..]) } else { Place::named(path).attributes() };
        let Some(attributes) = call.check(path, found) else { continue };
        describe(path, &attributes, call.has(b'L'), &users, &groups);
    }
}

fn describe(path: &[u8], attributes: &Stat, followed: bool, users: &Names, groups: &Names) {
    let file_type = kind(attributes);
    strata_rt::print!("  File: {}", Shown(path));
    if file_type == FileType::Symlink
        && let Ok(target) = readlinkat(CWD, path, Vec::new())
    {
        strata_rt::print!(" -> {}", Shown(target.to_bytes()));
    }
    let words = match file_type {
        FileType::RegularFile if attributes.st_size == 0 => "regular empty file",
        FileType::RegularFile => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character special file",
        FileType::BlockDevice => "block special file",
        FileType::Unknown => "unknown",
    };
    let Stat { st_size, st_blocks, st_blksize, st_ino, st_nlink, .. } = attributes;
    println!("\n  Size: {st_size:<12} Blocks: {st_blocks:<8} IO Block: {st_blksize:<6} {words}");
    let (dev_major, dev_minor) = (major(attributes.st_dev), minor(attributes.st_dev));
    strata_rt::print!("Device: {dev_major},{dev_minor}  Inode: {st_ino}  Links: {st_nlink}");
    if matches!(file_type, FileType::CharacterDevice | FileType::BlockDevice) {
        strata_rt::print!("  Device type: {},{}", major(attributes.st_rdev), minor(attributes.st_rdev));
    }
    println!(
        "\nAccess: ({:04o}/{})  Uid: ({}/{})  Gid: ({}/{})",
        attributes.st_mode & 0o7777,
        permissions(attributes.st_mode),
        attributes.st_uid,
        users.of(attributes.st_uid),
        attributes.st_gid,
        groups.of(attributes.st_gid),
    );
    let time = |name: &str, seconds: i64, nanoseconds: u64| {
        println!("{name}: {}.{nanoseconds:09}", Date::from_seconds(seconds));
    };
    time("Access", attributes.st_atime, attributes.st_atime_nsec);
    time("Modify", attributes.st_mtime, attributes.st_mtime_nsec);
    time("Change", attributes.st_ctime, attributes.st_ctime_nsec);
    let flags = if followed { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    if let Ok(more) = statx(CWD, path, flags, StatxFlags::BTIME)
        && more.stx_mask & StatxFlags::BTIME.bits() != 0
    {
        time(" Birth", more.stx_btime.tv_sec, more.stx_btime.tv_nsec.into());
    }
    println!(" Layer: {}", layer_of(path));
    for name in xattr_names(path).unwrap_or_default() {
        println!(" Xattr: {}", Shown(name.to_bytes()));
    }
}

// ---- chmod and chown

/// A mode in octal digits.
pub(super) fn parse_octal(text: &[u8]) -> Option<Mode> {
    let mode = parse_number(text, 8)?;
    (mode <= 0o7777).then(|| u32::try_from(mode).ok().map(Mode::from_raw_mode))?
}

pub(super) fn chmod(shell: &mut Shell, call: &Call) {
    let Some((change, paths)) = call.operands.split_first().filter(|(_, paths)| !paths.is_empty()) else {
        call.misuse(format_args!("an operand is missing"));
        return;
    };
    let mask = super::copy::umask();
    if symbolic_mode(change, 0, mask).is_none() && parse_octal(change).is_none() {
        call.misuse(format_args!("{}: neither octal nor like u+x,go-w", Shown(change)));
        return;
    }
    for path in paths {
        // What is named is changed behind a symbolic link too; in a tree, links are left alone: they have no mode.
        let result =
            stat_followed(&path[..]).and_then(|attributes| set_mode(Place::named(path), &attributes, change, mask));
        if call.check(path, result).is_some() && call.has(b'R') {
            each_below(shell, call, Place::named(path), &mut |place, attributes| match kind(attributes) {
                FileType::Symlink => Ok(()),
                _ => set_mode(place, attributes, change, mask),
            });
        }
    }
}

fn set_mode(place: Place<'_>, attributes: &Stat, change: &[u8], mask: u32) -> Result<(), Errno> {
    let mode = parse_octal(change)
        .or_else(|| symbolic_mode(change, attributes.st_mode, mask).map(|mode| Mode::from_raw_mode(mode & 0o7777)))
        .ok_or(Errno::INVAL)?;
    chmodat(place.parent, place.name, mode, AtFlags::empty())
}

/// Applies `[ugoa]*[+-=][rwxXst]*`, several after commas, to `mode`.
fn symbolic_mode(text: &[u8], mut mode: u32, mask: u32) -> Option<u32> {
    for clause in text.split(|&byte| byte == b',') {
        let operator = clause.iter().position(|byte| b"+-=".contains(byte))?;
        let mut who = 0;
        for letter in &clause[..operator] {
            who |= match letter {
                b'u' => 0o4700,
                b'g' => 0o2070,
                b'o' => 0o1007,
                b'a' => 0o7777,
                _ => return None,
            };
        }
        // Without a letter, all, but for what the umask keeps.
        let scope = if operator == 0 { 0o7777 & !(mask & 0o777) } else { who };
        let directory = FileType::from_raw_mode(mode) == FileType::Directory;
        let mut bits = 0;
        for letter in &clause[operator + 1..] {
            bits |= match letter {
                b'r' => 0o444,
                b'w' => 0o222,
                b'x' => 0o111,
                b'X' if directory || mode & 0o111 != 0 => 0o111,
                b'X' => 0,
                b's' => 0o6000,
                b't' => 0o1000,
                _ => return None,
            };
        }
        let sticky = bits & 0o1000;
        let bits = bits & scope | sticky;
        mode = match clause[operator] {
            b'+' => mode | bits,
            b'-' => mode & !bits,
            _ => mode & !(if operator == 0 { 0o777 } else { who & 0o777 }) | bits,
        };
    }
    Some(mode)
}

pub(super) fn chown(shell: &mut Shell, call: &Call) {
    let Some((owner, paths)) = call.operands.split_first().filter(|(_, paths)| !paths.is_empty()) else {
        call.misuse(format_args!("an operand is missing"));
        return;
    };
    let (user, group) = match owner.iter().position(|byte| *byte == b':') {
        Some(colon) => (&owner[..colon], &owner[colon + 1..]),
        None => (&owner[..], &b""[..]),
    };
    let number = |names: &dyn Fn() -> Names, text: &[u8]| match text {
        b"" => Some(None),
        _ => names().number(text).map(Some),
    };
    let (Some(user), Some(group)) = (number(&Names::users, user), number(&Names::groups, group)) else {
        call.complain(owner, "no such user or group");
        return;
    };
    let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
    let named = if call.has(b'h') { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
    for path in paths {
        if call.check(path, chownat(CWD, &path[..], user, group, named)).is_some() && call.has(b'R') {
            each_below(shell, call, Place::named(path), &mut |place, _| {
                chownat(place.parent, place.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            });
        }
    }
}

/// Does `change` to everything below the directory at `place`, if it is one.
fn each_below(
    shell: &mut Shell,
    call: &Call,
    place: Place<'_>,
    change: &mut dyn FnMut(Place<'_>, &Stat) -> Result<(), Errno>,
) -> Walk {
    let directory = match place.open_directory() {
        Ok(directory) => directory,
        Err(Errno::NOTDIR | Errno::LOOP) => return Walk::On,
        Err(errno) => {
            call.fail(place.path, errno);
            return Walk::On;
        }
    };
    let walked = place.for_each(&directory, |child| {
        if call.stopped(shell) {
            return Walk::Stop;
        }
        let Some(attributes) = call.check(child.path, child.attributes()) else { return Walk::On };
        call.check(child.path, change(child, &attributes));
        if kind(&attributes) == FileType::Directory { each_below(shell, call, child, change) } else { Walk::On }
    });
    call.check(place.path, walked).unwrap_or(Walk::On)
}

// ---- touch

pub(super) fn touch(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    let time = match call.value(b'd').map(parse_time) {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(Some(time)) => time,
        Some(None) => {
            call.misuse(format_args!("-d needs a date like 2026-01-31 12:00:00, or @SECONDS"));
            return;
        }
    };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = if call.has(b'h') { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
    for path in &call.operands {
        let result = match utimensat(CWD, &path[..], &times, flags) {
            Err(Errno::NOENT) if call.has(b'c') => Ok(()),
            Err(Errno::NOENT) if !call.has(b'h') => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                open(&path[..], flags, Mode::from_raw_mode(0o666)).and_then(|file| rustix::fs::futimens(&file, &times))
            }
            result => result,
        };
        call.check(path, result);
    }
}

/// `YYYY-MM-DD`, with ` HH:MM` or ` HH:MM:SS`, or `@SECONDS`.
pub(super) fn parse_time(text: &[u8]) -> Option<Timespec> {
    if let Some(seconds) = text.strip_prefix(b"@") {
        let seconds = i64::try_from(parse_number(seconds, 10)?).ok()?;
        return Some(Timespec { tv_sec: seconds, tv_nsec: 0 });
    }
    let mut fields = text.split(|byte| b"-: T".contains(byte)).map(|field| parse_number(field, 10));
    let year = fields.next()??;
    let mut rest = [1, 1, 0, 0, 0];
    for field in &mut rest {
        if let Some(value) = fields.next() {
            *field = u8::try_from(value?).ok()?;
        }
    }
    let [month, day, hour, minute, second] = rest;
    let date = Date { year: i64::try_from(year).ok()?, month, day, hour, minute, second, weekday: 0 };
    fields.next().is_none().then(|| date.to_seconds().map(|seconds| Timespec { tv_sec: seconds, tv_nsec: 0 }))?
}
