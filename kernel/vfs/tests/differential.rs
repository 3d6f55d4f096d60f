//! The same random calls (all but `chroot(2)`, out of which relative paths lead) on a namespace over ramfs and on Linux over tmpfs: every answer must be the same, and so must the trees at the
//! end.
//!
//! `STRATA_SEED` replays a run, `STRATA_OPS` sets its length. It needs root, for a private mount namespace, `chroot(2)` and
//! changing credentials; without, it says so and checks nothing.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use common::{Random, World, setting};
use rustix::fs as linux;
use rustix::io;
use vfs::{
    AT_FDCWD, At, AtFlags, Context, Credentials, FallocateFlags, Fd, FileType, NamespaceOptions, OpenFlags, OpenHow,
    Protection, Protections, RenameFlags, Stat, SyncKind, TimeChange, Timestamp, Whence, XattrFlags,
};

const SLOTS: usize = 6;

/// A call, with a slot of open files in place of a descriptor. `truncate(2)` by path is not in the binding, and is tested elsewhere.
#[derive(Debug, Clone)]
enum Op {
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
    Chdir(String),
    Getcwd,
}

/// What a call answered, as text that must be the same on both sides.
type Answer = Result<String, &'static str>;

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

fn op(random: &mut Random, xattrs: bool) -> Op {
    let slot = random.below(SLOTS);
    let dir = if random.one_in(5) { Some(random.below(SLOTS)) } else { None };
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

/// What of a directory's size and block counts differs between filesystems is left out.
fn describe(kind: u32, mode: u32, nlink: u64, uid: u32, gid: u32, size: u64, rdev: u64) -> String {
    let size = if matches!(kind, 0o100_000 | 0o120_000) { size } else { 0 };
    let rdev = if matches!(kind, 0o020_000 | 0o060_000) { rdev } else { 0 };
    format!("{kind:o} {mode:o} x{nlink} {uid}:{gid} {size} {rdev:x}")
}

struct Ours {
    world: World,
    task: Context,
    slots: Vec<Option<Fd>>,
}

impl Ours {
    fn new(protections: Protections) -> Self {
        let world = World::with(NamespaceOptions { protections, dentry_capacity: 12, ..NamespaceOptions::default() });
        let task = world.ns.context(Credentials::root(), 1);
        task.fs.set_umask(0);
        world.chmod(&task, "/", 0o1777).unwrap();
        Self { world, task, slots: vec![None; SLOTS] }
    }

    fn at(&self, slot: Option<usize>) -> Fd {
        slot.map_or(AT_FDCWD, |slot| self.slots[slot].unwrap_or(-1))
    }

    fn fd(&self, slot: usize) -> Fd {
        self.slots[slot].unwrap_or(-1)
    }

    fn keep(&mut self, slot: usize, fd: Fd) -> String {
        if let Some(old) = self.slots[slot].replace(fd) {
            self.task.files.close(old).unwrap();
        }
        "open".into()
    }

    fn run(&mut self, op: &Op) -> Answer {
        self.call(op).map_err(|error| error.errno().name())
    }

    fn call(&mut self, op: &Op) -> vfs::Result<String> {
        let ns = self.world.ns.clone();
        let task = self.task.clone();
        let task = &task;
        let done = |()| String::new();
        let nofollow = |follow: bool| if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        Ok(match op {
            Op::User { real, effective, groups } => {
                let who = &mut self.task.credentials;
                who.set_resuid([Some(0), Some(0), Some(0)])?;
                who.set_groups(groups)?;
                let gid = |id| if id == 0 { 0 } else { id };
                who.set_resgid([Some(gid(*real)), Some(gid(*effective)), Some(0)])?;
                who.set_resuid([Some(*real), Some(*effective), Some(0)])?;
                String::new()
            }
            Op::Umask(mask) => format!("{:o}", task.fs.set_umask(*mask)),
            Op::Open { slot, dir, path, flags, mode } => {
                let flags = OpenFlags::from_bits_retain(*flags);
                let fd = ns.openat(task, self.at(*dir), path.as_bytes(), flags, *mode)?;
                self.keep(*slot, fd)
            }
            Op::Open2 { slot, dir, path, flags, resolve } => {
                let how = OpenHow::from_openat2(u64::from(*flags), 0, *resolve)?;
                let fd = ns.openat2(task, self.at(*dir), path.as_bytes(), &how)?;
                self.keep(*slot, fd)
            }
            Op::Close(slot) => {
                let fd = ns.openat(task, AT_FDCWD, b"/", OpenFlags::O_PATH, 0)?;
                self.keep(*slot, fd);
                String::new()
            }
            Op::Read { slot, len } => {
                let mut buf = vec![0; *len];
                let count = task.file(self.fd(*slot))?.read(At::Position, &mut buf)?;
                format!("{:?}", &buf[..count])
            }
            Op::Pread { slot, len, offset } => {
                let mut buf = vec![0; *len];
                let count = task.file(self.fd(*slot))?.read(At::Offset(*offset), &mut buf)?;
                format!("{:?}", &buf[..count])
            }
            Op::Write { slot, len, byte } => {
                task.file(self.fd(*slot))?.write(task, At::Position, &vec![*byte; *len])?.to_string()
            }
            Op::Pwrite { slot, len, byte, offset } => {
                task.file(self.fd(*slot))?.write(task, At::Offset(*offset), &vec![*byte; *len])?.to_string()
            }
            Op::Seek { slot, whence, offset } => {
                let file = task.file(self.fd(*slot))?;
                let found = file.seek(*offset, Whence::from_raw(*whence)?);
                if *whence < 3 {
                    return found.map(|position| position.to_string());
                }
                // What counts as a hole is the filesystem's choice.
                if found.as_ref().is_err_and(|error| *error != vfs::Errno::ENXIO) {
                    return found.map(|_| String::new());
                }
                file.seek(0, Whence::Set)?;
                String::new()
            }
            Op::Ftruncate { slot, len } => task.file(self.fd(*slot))?.truncate(task, *len as i64).map(done)?,
            Op::Fallocate { slot, mode, offset, len } => {
                let mode = FallocateFlags::from_bits_retain(*mode);
                let file = task.file(self.fd(*slot))?;
                file.allocate(task, mode, *offset as i64, *len as i64).map(done)?
            }
            Op::Fstat(slot) => show(&task.file(self.fd(*slot))?.stat()?),
            Op::Fchmod { slot, mode } => task.file(self.fd(*slot))?.chmod(task, *mode).map(done)?,
            Op::Fchown { slot, uid, gid } => task.file(self.fd(*slot))?.chown(task, *uid, *gid).map(done)?,
            Op::Fsync(slot) => task.file(self.fd(*slot))?.sync(SyncKind::All).map(done)?,
            Op::List(slot) => {
                let file = task.file(self.fd(*slot))?;
                file.seek(0, Whence::Set)?;
                let entries = list(&file)?;
                file.seek(0, Whence::Set)?;
                entries
            }
            Op::Fchdir(slot) => ns.fchdir(task, self.fd(*slot)).map(done)?,
            Op::Setfl { slot, flags } => {
                let file = task.file(self.fd(*slot))?;
                file.set_flags(task, OpenFlags::from_bits_retain(*flags | 0o4000))?;
                format!("{:o}", file.flags().bits() & 0o1_036_000)
            }
            Op::Mkdir { dir, path, mode } => ns.mkdirat(task, self.at(*dir), path.as_bytes(), *mode).map(done)?,
            Op::Mknod { dir, path, mode, dev } => {
                ns.mknodat(task, self.at(*dir), path.as_bytes(), *mode, *dev).map(done)?
            }
            Op::Symlink { target, dir, path } => {
                ns.symlinkat(task, target.as_bytes(), self.at(*dir), path.as_bytes()).map(done)?
            }
            Op::Link { old_dir, old, dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                let (old_dir, dir) = (self.at(*old_dir), self.at(*dir));
                ns.linkat(task, old_dir, old.as_bytes(), dir, path.as_bytes(), flags).map(done)?
            }
            Op::Unlink { dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.unlinkat(task, self.at(*dir), path.as_bytes(), flags).map(done)?
            }
            Op::Rename { old_dir, old, dir, path, flags } => {
                let flags = RenameFlags::from_bits_retain(*flags);
                let (old_dir, dir) = (self.at(*old_dir), self.at(*dir));
                ns.renameat2(task, old_dir, old.as_bytes(), dir, path.as_bytes(), flags).map(done)?
            }
            Op::Chmod { dir, path, mode } => {
                ns.fchmodat(task, self.at(*dir), path.as_bytes(), *mode, AtFlags::empty()).map(done)?
            }
            Op::Chown { dir, path, uid, gid, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.fchownat(task, self.at(*dir), path.as_bytes(), *uid, *gid, flags).map(done)?
            }
            Op::Utimens { dir, path, times, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                let times = times.map(|(secs, nanos)| TimeChange::from_raw(secs, nanos));
                let [Ok(atime), Ok(mtime)] = times else { unreachable!("they are in range") };
                ns.utimensat(task, self.at(*dir), Some(path.as_bytes()), Some([atime, mtime]), flags)?;
                let mut text = String::new();
                if let TimeChange::At(Timestamp { secs, nanos }) = mtime {
                    let stat = ns.statat(task, self.at(*dir), path.as_bytes(), flags);
                    if let Ok(stat) = stat {
                        assert_eq!(stat.attr.mtime, Timestamp { secs, nanos });
                        text = format!("{secs}.{nanos}");
                    }
                }
                text
            }
            Op::Access { dir, path, mode, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.faccessat(task, self.at(*dir), path.as_bytes(), *mode, flags).map(done)?
            }
            Op::Readlink { dir, path } => text(&ns.readlinkat(task, self.at(*dir), path.as_bytes())?),
            Op::Stat { dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                show(&ns.statat(task, self.at(*dir), path.as_bytes(), flags)?)
            }
            Op::SetXattr { path, name, len, flags, follow } => {
                let (name, value) = (name.as_bytes(), vec![b'v'; *len]);
                let how = XattrFlags::from_bits_retain(*flags);
                ns.setxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow), name, &value, how).map(done)?
            }
            Op::GetXattr { path, name, follow } => {
                text(&ns.getxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow), name.as_bytes())?)
            }
            Op::ListXattr { path, follow } => {
                names(&ns.listxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow))?)
            }
            Op::RemoveXattr { path, name, follow } => {
                let flags = nofollow(*follow);
                ns.removexattrat(task, AT_FDCWD, path.as_bytes(), flags, name.as_bytes()).map(done)?
            }
            Op::Chdir(path) => ns.chdir(task, path.as_bytes()).map(done)?,
            Op::Getcwd => text(&ns.getcwd(task)?),
        })
    }
}

fn show(stat: &Stat) -> String {
    let attr = &stat.attr;
    let kind = attr.kind.mode_bits();
    let (mode, nlink) = (u32::from(attr.mode), u64::from(attr.nlink));
    describe(kind, mode, nlink, attr.uid, attr.gid, attr.size, attr.rdev.encode())
}

fn list(file: &vfs::OpenFile) -> vfs::Result<String> {
    let mut entries = BTreeMap::new();
    let mut buf = [0; 100 + 280];
    loop {
        let len = file.read_dir(&mut buf)?;
        if len == 0 {
            break;
        }
        let mut at = 0;
        while at < len {
            let record = &buf[at..];
            let size = usize::from(u16::from_ne_bytes([record[16], record[17]]));
            let name = record[19..size].split(|&byte| byte == 0).next().unwrap();
            assert!(entries.insert(text(name), record[18]).is_none(), "an entry came twice");
            at += size;
        }
    }
    Ok(format!("{entries:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of extended attributes, in order; `security.*` may come from the system that the test runs on.
fn names(list: &[u8]) -> String {
    let mut names: Vec<_> = list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(text).collect();
    names.retain(|name| name != "security.selinux");
    names.sort();
    names.join(" ")
}

struct Linux {
    slots: Vec<Option<OwnedFd>>,
}

fn uid(id: u32) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(id)
}

fn gid(id: u32) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(id)
}

impl Linux {
    /// Into an empty tmpfs that only this thread sees.
    fn new() -> io::Result<Self> {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        use rustix::thread::UnshareFlags;
        #[expect(deprecated, reason = "the safe form is right for these flags: neither has to do with descriptors")]
        rustix::thread::unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let root = std::env::temp_dir();
        mount("none", &root, "tmpfs", MountFlags::empty(), c"mode=1777")?;
        rustix::process::chdir(&root)?;
        rustix::process::chroot(".")?;
        rustix::process::umask(linux::Mode::empty());
        Ok(Self { slots: (0..SLOTS).map(|_| None).collect() })
    }

    fn at(&self, slot: Option<usize>) -> BorrowedFd<'_> {
        match slot {
            None => linux::CWD,
            Some(slot) => self.fd(slot),
        }
    }

    fn fd(&self, slot: usize) -> BorrowedFd<'_> {
        self.slots[slot].as_ref().map_or(linux::CWD, AsFd::as_fd)
    }

    fn run(&mut self, op: &Op) -> Answer {
        self.call(op).map_err(errno_name)
    }

    fn call(&mut self, op: &Op) -> io::Result<String> {
        let flags_of = linux::AtFlags::from_bits_retain;
        let done = |()| String::new();
        Ok(match op {
            Op::User { real, effective, groups } => {
                use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
                set_thread_res_uid(uid(0), uid(0), uid(0))?;
                set_thread_groups(&groups.iter().map(|&id| gid(id)).collect::<Vec<_>>())?;
                set_thread_res_gid(gid(*real), gid(*effective), gid(0))?;
                set_thread_res_uid(uid(*real), uid(*effective), uid(0))?;
                String::new()
            }
            Op::Umask(mask) => {
                format!("{:o}", rustix::process::umask(linux::Mode::from_bits_retain(*mask)).bits())
            }
            Op::Open { slot, dir, path, flags, mode } => {
                let flags = linux::OFlags::from_bits_retain(*flags);
                let fd = linux::openat(self.at(*dir), path, flags, linux::Mode::from_bits_retain(*mode))?;
                self.slots[*slot] = Some(fd);
                "open".into()
            }
            Op::Open2 { slot, dir, path, flags, resolve } => {
                let flags = linux::OFlags::from_bits_retain(*flags);
                let resolve = linux::ResolveFlags::from_bits_retain(*resolve);
                let fd = linux::openat2(self.at(*dir), path, flags, linux::Mode::empty(), resolve)?;
                self.slots[*slot] = Some(fd);
                "open".into()
            }
            Op::Close(slot) => {
                self.slots[*slot] = Some(linux::open("/", linux::OFlags::PATH, linux::Mode::empty())?);
                String::new()
            }
            Op::Read { slot, len } => {
                let mut buf = vec![0; *len];
                let count = io::read(self.fd(*slot), &mut buf[..])?;
                format!("{:?}", &buf[..count])
            }
            Op::Pread { slot, len, offset } => {
                let mut buf = vec![0; *len];
                let count = io::pread(self.fd(*slot), &mut buf[..], *offset as u64)?;
                format!("{:?}", &buf[..count])
            }
            Op::Write { slot, len, byte } => io::write(self.fd(*slot), &vec![*byte; *len])?.to_string(),
            Op::Pwrite { slot, len, byte, offset } => {
                io::pwrite(self.fd(*slot), &vec![*byte; *len], *offset as u64)?.to_string()
            }
            Op::Seek { slot, whence, offset } => {
                let to = match whence {
                    0 => linux::SeekFrom::Start(*offset as u64),
                    1 => linux::SeekFrom::Current(*offset),
                    2 => linux::SeekFrom::End(*offset),
                    3 => linux::SeekFrom::Data(*offset as u64),
                    _ => linux::SeekFrom::Hole(*offset as u64),
                };
                let found = linux::seek(self.fd(*slot), to);
                if *whence < 3 {
                    return found.map(|position| position.to_string());
                }
                if found.is_err_and(|errno| errno != io::Errno::NXIO) {
                    return found.map(|_| String::new());
                }
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                String::new()
            }
            Op::Ftruncate { slot, len } => linux::ftruncate(self.fd(*slot), *len).map(done)?,
            Op::Fallocate { slot, mode, offset, len } => {
                let mode = linux::FallocateFlags::from_bits_retain(*mode);
                linux::fallocate(self.fd(*slot), mode, *offset, *len).map(done)?
            }
            Op::Fstat(slot) => show_linux(&linux::fstat(self.fd(*slot))?),
            Op::Fchmod { slot, mode } => {
                linux::fchmod(self.fd(*slot), linux::Mode::from_bits_retain(*mode)).map(done)?
            }
            Op::Fchown { slot, uid: to, gid: group } => {
                linux::fchown(self.fd(*slot), to.map(uid), group.map(gid)).map(done)?
            }
            Op::Fsync(slot) => linux::fsync(self.fd(*slot)).map(done)?,
            Op::List(slot) => {
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                let mut buf = Vec::with_capacity(65_536);
                let mut entries = BTreeMap::new();
                let mut dir = linux::RawDir::new(self.fd(*slot), buf.spare_capacity_mut());
                while let Some(entry) = dir.next() {
                    let entry = entry?;
                    let kind = FileType::from_mode(entry.file_type().as_raw_mode()).map_or(0, FileType::d_type);
                    entries.insert(text(entry.file_name().to_bytes()), kind);
                }
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                format!("{entries:?}")
            }
            Op::Fchdir(slot) => rustix::process::fchdir(self.fd(*slot)).map(done)?,
            Op::Setfl { slot, flags } => {
                linux::fcntl_setfl(self.fd(*slot), linux::OFlags::from_bits_retain(*flags | 0o4000))?;
                format!("{:o}", linux::fcntl_getfl(self.fd(*slot))?.bits() & 0o1_036_000)
            }
            Op::Mkdir { dir, path, mode } => {
                linux::mkdirat(self.at(*dir), path, linux::Mode::from_bits_retain(*mode)).map(done)?
            }
            Op::Mknod { dir, path, mode, dev } => {
                let kind = linux::FileType::from_raw_mode(*mode);
                let mode = linux::Mode::from_bits_retain(*mode & 0o7777);
                linux::mknodat(self.at(*dir), path, kind, mode, *dev).map(done)?
            }
            Op::Symlink { target, dir, path } => linux::symlinkat(target, self.at(*dir), path).map(done)?,
            Op::Link { old_dir, old, dir, path, flags } => {
                linux::linkat(self.at(*old_dir), old, self.at(*dir), path, flags_of(*flags)).map(done)?
            }
            Op::Unlink { dir, path, flags } => linux::unlinkat(self.at(*dir), path, flags_of(*flags)).map(done)?,
            Op::Rename { old_dir, old, dir, path, flags } => {
                let flags = linux::RenameFlags::from_bits_retain(*flags);
                linux::renameat_with(self.at(*old_dir), old, self.at(*dir), path, flags).map(done)?
            }
            Op::Chmod { dir, path, mode } => {
                let mode = linux::Mode::from_bits_retain(*mode);
                linux::chmodat(self.at(*dir), path, mode, linux::AtFlags::empty()).map(done)?
            }
            Op::Chown { dir, path, uid: to, gid: group, flags } => {
                linux::chownat(self.at(*dir), path, to.map(uid), group.map(gid), flags_of(*flags)).map(done)?
            }
            Op::Utimens { dir, path, times, flags } => {
                let time = |(secs, nanos): (i64, i64)| linux::Timespec { tv_sec: secs, tv_nsec: nanos };
                let [last_access, last_modification] = times.map(time);
                let times = linux::Timestamps { last_access, last_modification };
                linux::utimensat(self.at(*dir), path, &times, flags_of(*flags))?;
                let stamp = times.last_modification;
                let mut text = String::new();
                if stamp.tv_nsec < 0x3fff_fffe && linux::statat(self.at(*dir), path, flags_of(*flags)).is_ok() {
                    text = format!("{}.{}", stamp.tv_sec, stamp.tv_nsec);
                }
                text
            }
            Op::Access { dir, path, mode, flags } => {
                let mode = linux::Access::from_bits_retain(*mode);
                linux::accessat(self.at(*dir), path, mode, flags_of(*flags)).map(done)?
            }
            Op::Readlink { dir, path } => text(linux::readlinkat(self.at(*dir), path, Vec::new())?.as_bytes()),
            Op::Stat { dir, path, flags } => show_linux(&linux::statat(self.at(*dir), path, flags_of(*flags))?),
            Op::SetXattr { path, name, len, flags, follow } => {
                let (value, flags) = (vec![b'v'; *len], linux::XattrFlags::from_bits_retain(*flags));
                let set = if *follow {
                    linux::setxattr(path, *name, &value, flags)
                } else {
                    linux::lsetxattr(path, *name, &value, flags)
                };
                set.map(done)?
            }
            Op::GetXattr { path, name, follow } => {
                let mut value = vec![0; 100];
                let len = if *follow {
                    linux::getxattr(path, *name, &mut value[..])?
                } else {
                    linux::lgetxattr(path, *name, &mut value[..])?
                };
                text(&value[..len])
            }
            Op::ListXattr { path, follow } => {
                let mut value = vec![0; 1000];
                let len = if *follow {
                    linux::listxattr(path, &mut value[..])?
                } else {
                    linux::llistxattr(path, &mut value[..])?
                };
                names(&value[..len])
            }
            Op::RemoveXattr { path, name, follow } => {
                let removed = if *follow { linux::removexattr(path, *name) } else { linux::lremovexattr(path, *name) };
                removed.map(done)?
            }
            Op::Chdir(path) => rustix::process::chdir(path).map(done)?,
            Op::Getcwd => text(rustix::process::getcwd(Vec::new())?.as_bytes()),
        })
    }
}

fn show_linux(stat: &linux::Stat) -> String {
    let (kind, mode) = (stat.st_mode & 0o170_000, stat.st_mode & 0o7777);
    let (nlink, size) = (u64::from(stat.st_nlink), stat.st_size as u64);
    describe(kind, mode, nlink, stat.st_uid, stat.st_gid, size, stat.st_rdev)
}

/// The name of an errno, as this project spells it.
fn errno_name(errno: io::Errno) -> &'static str {
    let all = [
        vfs::Errno::EPERM,
        vfs::Errno::ENOENT,
        vfs::Errno::EIO,
        vfs::Errno::ENXIO,
        vfs::Errno::EBADF,
        vfs::Errno::EAGAIN,
        vfs::Errno::EACCES,
        vfs::Errno::EBUSY,
        vfs::Errno::EEXIST,
        vfs::Errno::EXDEV,
        vfs::Errno::ENODEV,
        vfs::Errno::ENOTDIR,
        vfs::Errno::EISDIR,
        vfs::Errno::EINVAL,
        vfs::Errno::ETXTBSY,
        vfs::Errno::EFBIG,
        vfs::Errno::ENOSPC,
        vfs::Errno::ESPIPE,
        vfs::Errno::EROFS,
        vfs::Errno::EMLINK,
        vfs::Errno::EPIPE,
        vfs::Errno::ERANGE,
        vfs::Errno::ENAMETOOLONG,
        vfs::Errno::ENOSYS,
        vfs::Errno::ENOTEMPTY,
        vfs::Errno::ELOOP,
        vfs::Errno::ENODATA,
        vfs::Errno::EOVERFLOW,
        vfs::Errno::EOPNOTSUPP,
        vfs::Errno::EDQUOT,
        vfs::Errno::E2BIG,
    ];
    let number = errno.raw_os_error();
    all.into_iter().find(|errno| i32::from(errno.number()) == number).map_or("E?", vfs::Errno::name)
}

fn protection(name: &str) -> Protection {
    match std::fs::read_to_string(format!("/proc/sys/fs/protected_{name}")).as_deref().map(str::trim) {
        Ok("0") | Err(_) => Protection::Off,
        Ok(_) => Protection::On,
    }
}

/// One run: the same operations on both, from the same tree. The outer error is Linux's that could not be set up, the inner one what
/// differs.
fn compare(seed: u64, ops: u64, protections: Protections) -> io::Result<Result<(), String>> {
    let mut linux = Linux::new()?;
    let mut ours = Ours::new(protections);
    let probe = linux::open("/probe", linux::OFlags::CREATE, linux::Mode::RUSR)?;
    let xattrs = linux::fsetxattr(&probe, "user.a", b"", linux::XattrFlags::empty()).is_ok();
    linux::unlink("/probe")?;
    let mut random = Random::new(seed);
    let mut history = String::new();
    let mut prepare: Vec<Op> = (0..SLOTS).map(Op::Close).collect();
    for path in ["a", "b", "a/a", "a/b", "b/a", "a/a/c"] {
        prepare.push(Op::Mkdir { dir: None, path: path.into(), mode: 0o777 });
    }
    for op in &prepare {
        assert_eq!(linux.run(op), ours.run(op), "{op:?}");
    }
    for at in 0..ops {
        let op = op(&mut random, xattrs);
        let theirs = linux.run(&op);
        let own = ours.run(&op);
        let _ = writeln!(history, "{at:5} {op:?} => {theirs:?}");
        if theirs != own {
            let from = history.lines().count().saturating_sub(setting("STRATA_HISTORY", 12) as usize);
            let last: Vec<_> = history.lines().skip(from).collect();
            return Ok(Err(format!(
                "STRATA_SEED={seed:#x}: operation {at} differs\n{}\nLinux: {theirs:?}\nours:  {own:?}\n",
                last.join("\n")
            )));
        }
    }
    let trees = [tree(&mut |op| linux.run(op)), tree(&mut |op| ours.run(op))];
    if trees[0] != trees[1] {
        let [theirs, own] = trees.map(|tree| tree.join("\n"));
        return Ok(Err(format!("STRATA_SEED={seed:#x}: the trees differ\nLinux:\n{theirs}\nours:\n{own}\n")));
    }
    Ok(Ok(()))
}

/// Every name under the root, with what `lstat(2)`, `readlink(2)` and reading it tell.
fn tree(run: &mut dyn FnMut(&Op) -> Answer) -> Vec<String> {
    let _ = run(&Op::User { real: 0, effective: 0, groups: vec![] });
    let mut lines = Vec::new();
    let mut left = vec![String::new()];
    while let Some(dir) = left.pop() {
        let _ = run(&Op::Open { slot: 0, dir: None, path: format!("{dir}/"), flags: 0o600_000, mode: 0 });
        let list = run(&Op::List(0)).expect("root lists every directory");
        // The list is written as a map from quoted names.
        for name in list.split('"').skip(1).step_by(2).filter(|name| !matches!(*name, "." | "..")) {
            let path = format!("{dir}/{name}");
            let stat = run(&Op::Stat { dir: None, path: path.clone(), flags: 0x100 });
            let target = run(&Op::Readlink { dir: None, path: path.clone() });
            let _ = run(&Op::Open { slot: 0, dir: None, path: path.clone(), flags: 0o404_000, mode: 0 });
            let content = run(&Op::Read { slot: 0, len: 20_000 });
            lines.push(format!("{path} {stat:?} {target:?} {content:?}"));
            if stat.is_ok_and(|stat| stat.starts_with("40000 ")) {
                left.push(path);
            }
        }
    }
    lines
}

#[test]
fn random_calls_answer_as_on_linux() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: random_calls_answer_as_on_linux needs root");
        return;
    }
    let protections = Protections {
        symlinks: protection("symlinks"),
        hardlinks: protection("hardlinks"),
        fifos: protection("fifos"),
        regular: protection("regular"),
    };
    let total = setting("STRATA_OPS", 30_000);
    let each = setting("STRATA_LENGTH", 600).min(total.max(1));
    let first = setting("STRATA_SEED", 0x5eed);
    let runs = total.div_ceil(each);
    let mut differences = Vec::new();
    for run in 0..runs {
        let seed = first.wrapping_add(run);
        // A thread of its own, for its own root, credentials and mounts.
        match std::thread::spawn(move || compare(seed, each, protections)).join() {
            Ok(Ok(outcome)) => differences.extend(outcome.err()),
            Ok(Err(errno)) => panic!("cannot set Linux up for the comparison: {errno}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    assert!(differences.is_empty(), "{} of {runs} runs differ\n{}", differences.len(), differences.join("\n"));
}
