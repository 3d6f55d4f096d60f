//! The calls, and how they are drawn.

use crate::common::Random;

/// How many files are open.
pub(crate) const SLOTS: usize = 6;

/// A call, with a slot of open files in place of a descriptor. `truncate(2)` by path is not in the binding, and is tested elsewhere.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    User {
        real: u32,
        effective: u32,
        groups: Vec<u32>,
    },
    Umask(u32),
    Open {
        slot: usize,
        dir: Option<usize>,
        path: String,
        flags: u32,
        mode: u32,
    },
    Open2 {
        slot: usize,
        dir: Option<usize>,
        path: String,
        flags: u32,
        resolve: u64,
    },
    /// Opens the root in place of what is there, so that a slot always holds something.
    Close(usize),
    Read {
        slot: usize,
        len: usize,
    },
    Pread {
        slot: usize,
        len: usize,
        offset: i64,
    },
    Write {
        slot: usize,
        len: usize,
        byte: u8,
    },
    Pwrite {
        slot: usize,
        len: usize,
        byte: u8,
        offset: i64,
    },
    Seek {
        slot: usize,
        whence: u32,
        offset: i64,
    },
    Ftruncate {
        slot: usize,
        len: u64,
    },
    Fallocate {
        slot: usize,
        mode: u32,
        offset: u64,
        len: u64,
    },
    Fstat(usize),
    Fchmod {
        slot: usize,
        mode: u32,
    },
    Fchown {
        slot: usize,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    Fsync(usize),
    List(usize),
    Fchdir(usize),
    Setfl {
        slot: usize,
        flags: u32,
    },
    Mkdir {
        dir: Option<usize>,
        path: String,
        mode: u32,
    },
    Mknod {
        dir: Option<usize>,
        path: String,
        mode: u32,
        dev: u64,
    },
    Symlink {
        target: String,
        dir: Option<usize>,
        path: String,
    },
    Link {
        old_dir: Option<usize>,
        old: String,
        dir: Option<usize>,
        path: String,
        flags: u32,
    },
    Unlink {
        dir: Option<usize>,
        path: String,
        flags: u32,
    },
    Rename {
        old_dir: Option<usize>,
        old: String,
        dir: Option<usize>,
        path: String,
        flags: u32,
    },
    Chmod {
        dir: Option<usize>,
        path: String,
        mode: u32,
    },
    Chown {
        dir: Option<usize>,
        path: String,
        uid: Option<u32>,
        gid: Option<u32>,
        flags: u32,
    },
    Utimens {
        dir: Option<usize>,
        path: String,
        times: [(i64, i64); 2],
        flags: u32,
    },
    Access {
        dir: Option<usize>,
        path: String,
        mode: u32,
        flags: u32,
    },
    Readlink {
        dir: Option<usize>,
        path: String,
    },
    Stat {
        dir: Option<usize>,
        path: String,
        flags: u32,
    },
    SetXattr {
        path: String,
        name: &'static str,
        len: usize,
        flags: u32,
        follow: bool,
    },
    GetXattr {
        path: String,
        name: &'static str,
        follow: bool,
    },
    ListXattr {
        path: String,
        follow: bool,
    },
    RemoveXattr {
        path: String,
        name: &'static str,
        follow: bool,
    },
    /// `FS_IOC_GETFLAGS` of what is at a path, and `FS_IOC_SETFLAGS` with these the other way round. Every slot is closed before: what
    /// became immutable takes no more writes here, where Linux's tmpfs still does through descriptors that are open.
    Flags {
        dir: Option<usize>,
        path: String,
        toggle: u32,
    },
    Chdir(String),
    Getcwd,
}

fn path(random: &mut Random) -> String {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut path = String::new();
    if random.one_in(4) {
        path.push('/');
    }
    if random.one_in(80) {
        return path;
    }
    if random.one_in(400) {
        return "x/".repeat(2047) + &"y".repeat(random.below(4));
    }
    let depth = [1, 1, 1, 2, 2, 2, 3, 3, 4][random.below(9)];
    for at in 0..depth {
        if at > 0 {
            path.push_str(if random.one_in(20) { "//" } else { "/" });
        }
        match random.below(40) {
            0 | 1 => path.push('.'),
            2..=4 => path.push_str(".."),
            5 if random.one_in(6) => path.push_str(&"z".repeat(255 + random.below(2))),
            _ => path.push_str(NAMES[random.below(NAMES.len())]),
        }
    }
    if random.one_in(10) {
        path.push('/');
    }
    path
}

fn mode(random: &mut Random) -> u32 {
    match random.below(4) {
        0 => 0o777,
        1 => random.pick(&[0o755, 0o700, 0o750, 0o711, 0o644, 0o600, 0o000, 0o070, 0o007]),
        2 => random.pick(&[0o1777, 0o2777, 0o2775, 0o4755, 0o6755, 0o2745, 0o4644, 0o1755]),
        _ => random.below(0o10000) as u32,
    }
}

fn id(random: &mut Random) -> Option<u32> {
    random.pick(&[None, Some(0), Some(1000), Some(2000), Some(3000)])
}

fn xattr_name(random: &mut Random) -> &'static str {
    random.pick(&["user.a", "user.b", "user.c", "trusted.a", "security.a", "nothing.a", "user."])
}

pub(crate) fn op(random: &mut Random, xattrs: bool) -> Op {
    let slot = random.below(SLOTS);
    let dir = if random.one_in(5) { Some(random.below(SLOTS)) } else { None };
    if random.one_in(60) {
        let toggle = random.pick(&[0, 0x10, 0x20, 0x20, 0x30, 0x40, 0x80, 0xc0, 0x8, 0x1_0000]);
        return Op::Flags { dir: None, path: path(random), toggle };
    }
    match random.below(if xattrs { 112 } else { 104 }) {
        0 | 1 => {
            let (real, effective) = random.pick(&[(0, 0), (0, 0), (1000, 1000), (2000, 2000), (0, 1000), (1000, 0)]);
            let groups = random.pick(&[vec![], vec![3000], vec![1000, 3000]]);
            Op::User { real, effective, groups }
        }
        2 => Op::Umask(random.pick(&[0, 0o022, 0o077, 0o027])),
        3..=20 => {
            let flags = random.pick(&[0, 1, 2, 2])
                | random.pick(&[0, 0o100, 0o100, 0o300])
                | random.pick(&[0, 0, 0, 0o1000])
                | random.pick(&[0, 0, 0, 0o2000])
                | random.pick(&[0, 0, 0, 0, 0o200_000])
                | random.pick(&[0, 0, 0, 0o400_000])
                | random.pick(&[0, 0, 0, 0, 0, 0o1_000_000])
                | random.pick(&[0, 0, 0, 0, 0, 0, 0o10_000_000])
                | random.pick(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0o20_200_000])
                | 0o4000;
            Op::Open { slot, dir, path: path(random), flags, mode: mode(random) }
        }
        21..=24 => {
            let flags = random.pick(&[0o4000, 0o4000, 0o4002, 0o10_000_000, 0o204_000]);
            // Not `RESOLVE_NO_XDEV` (1): under it Linux refuses absolute links inside of one mount unless it happened to look up the root
            // before.
            let resolve = random.pick(&[0, 4, 8, 8, 0x10, 0x10, 0x0c, 0x14, 0x18]);
            Op::Open2 { slot, dir: dir.or(Some(random.below(SLOTS))), path: path(random), flags, resolve }
        }
        25 | 26 => Op::Close(slot),
        27 | 28 => Op::Read { slot, len: random.below(50) },
        29 => Op::Pread { slot, len: random.below(50), offset: random.below(60) as i64 - 4 },
        30 | 31 => Op::Write { slot, len: random.below(40), byte: random.next() as u8 },
        32 => {
            Op::Pwrite { slot, len: random.below(40), byte: random.next() as u8, offset: random.below(9000) as i64 - 4 }
        }
        33 | 34 => {
            let whence = random.below(5) as u32;
            // The binding has no negative offsets but for these two.
            let least = if matches!(whence, 1 | 2) { 40 } else { 0 };
            Op::Seek { slot, whence, offset: random.below(200) as i64 - least }
        }
        35 => Op::Ftruncate { slot, len: random.below(9000) as u64 },
        36 => Op::Fallocate {
            slot,
            mode: random.pick(&[0, 1, 3, 2]),
            offset: random.below(9000) as u64,
            len: random.below(9000) as u64,
        },
        37 => Op::Fstat(slot),
        38 => Op::Fchmod { slot, mode: mode(random) },
        39 => Op::Fchown { slot, uid: id(random), gid: id(random) },
        40 => Op::Fsync(slot),
        41 => Op::List(slot),
        42 => Op::Fchdir(slot),
        43 => Op::Setfl { slot, flags: random.pick(&[0, 0o2000, 0o4000, 0o1_000_000]) },
        44..=51 => Op::Mkdir { dir, path: path(random), mode: mode(random) },
        52 | 53 => {
            let kind = random.pick(&[0o010_000, 0o140_000, 0o020_000, 0o060_000, 0o100_000, 0o040_000, 0o120_000]);
            let dev = if kind == 0o020_000 && random.one_in(3) { 0 } else { 0xf04d };
            Op::Mknod { dir, path: path(random), mode: kind | mode(random), dev }
        }
        54..=59 => Op::Symlink { target: path(random), dir, path: path(random) },
        60..=62 => {
            let old_dir = if random.one_in(6) { Some(random.below(SLOTS)) } else { None };
            let old = if random.one_in(12) { String::new() } else { path(random) };
            let flags = random.pick(&[0, 0, 0x400, 0x1000, 0x1400, 0x100]);
            Op::Link { old_dir, old, dir, path: path(random), flags }
        }
        63..=68 => Op::Unlink { dir, path: path(random), flags: random.pick(&[0, 0, 0x200, 0x200, 0x1000]) },
        69..=77 => {
            let old_dir = if random.one_in(6) { Some(random.below(SLOTS)) } else { None };
            Op::Rename {
                old_dir,
                old: path(random),
                dir,
                path: path(random),
                flags: random.pick(&[0, 0, 0, 1, 2, 2, 3]),
            }
        }
        78..=82 => Op::Chmod { dir, path: path(random), mode: mode(random) },
        83..=85 => {
            Op::Chown { dir, path: path(random), uid: id(random), gid: id(random), flags: random.pick(&[0, 0x100]) }
        }
        86 | 87 => {
            let times = random.pick(&[
                [(7, 5), (9, 3)],
                [(0, 0x3fff_ffff), (0, 0x3fff_ffff)],
                [(0, 0x3fff_fffe), (0, 0x3fff_ffff)],
                [(0, 0x3fff_fffe), (0, 0x3fff_fffe)],
                [(0, 0x3fff_fffe), (5, 5)],
            ]);
            Op::Utimens { dir, path: path(random), times, flags: random.pick(&[0, 0x100]) }
        }
        88..=90 => {
            let flags = random.pick(&[0, 0, 0x200, 0x100]);
            Op::Access { dir, path: path(random), mode: random.below(8) as u32, flags }
        }
        91..=93 => Op::Readlink { dir, path: path(random) },
        94..=98 => Op::Stat { dir, path: path(random), flags: random.pick(&[0, 0, 0x100, 0x100, 0x1000, 0x800]) },
        99..=101 => Op::Chdir(path(random)),
        102 | 103 => Op::Getcwd,
        104..=106 => Op::SetXattr {
            path: path(random),
            name: xattr_name(random),
            len: random.below(20),
            flags: random.pick(&[0, 0, 1, 2, 3]),
            follow: random.one_in(2),
        },
        107 | 108 => Op::GetXattr { path: path(random), name: xattr_name(random), follow: random.one_in(2) },
        109 | 110 => Op::ListXattr { path: path(random), follow: random.one_in(2) },
        _ => Op::RemoveXattr { path: path(random), name: xattr_name(random), follow: random.one_in(2) },
    }
}
