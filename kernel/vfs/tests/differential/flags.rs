//! Every call on what is immutable, append-only or both, by root, the owner and another, is answered as on Linux.

use rustix::io;
use vfs::Protections;

use crate::linux::Linux;
use crate::op::Op;
use crate::ours::Ours;

const WRONLY: u32 = 1;
const RDWR: u32 = 2;
const TRUNC: u32 = 0o1000;
const APPEND: u32 = 0o2000;
const CREAT: u32 = 0o100;
const TMPFILE: u32 = 0o20_200_000;
const NOW: (i64, i64) = (0, 0x3fff_ffff);
const OMIT: (i64, i64) = (0, 0x3fff_fffe);

fn open(path: &str, flags: u32) -> Op {
    Op::Open { slot: 0, dir: None, path: path.into(), flags: flags | 0o4000, mode: 0o666 }
}

fn utimens(path: &str, times: [(i64, i64); 2]) -> Op {
    Op::Utimens { dir: None, path: path.into(), times, flags: 0 }
}

fn rename(old: &str, path: &str, flags: u32) -> Op {
    Op::Rename { old_dir: None, old: old.into(), dir: None, path: path.into(), flags }
}

fn link(old: &str, path: &str) -> Op {
    Op::Link { old_dir: None, old: old.into(), dir: None, path: path.into(), flags: 0 }
}

fn unlink(path: &str, flags: u32) -> Op {
    Op::Unlink { dir: None, path: path.into(), flags }
}

fn chown(path: &str, uid: u32) -> Op {
    Op::Chown { dir: None, path: path.into(), uid: Some(uid), gid: None, flags: 0 }
}

fn flags(path: &str, toggle: u32) -> Op {
    Op::Flags { dir: None, path: path.into(), toggle }
}

/// What is tried on a name, whatever it is.
fn on_any(at: &str) -> Vec<Vec<Op>> {
    let (other, moved) = (format!("{at}-other"), format!("{at}-moved"));
    let (chmod, path) = (Op::Chmod { dir: None, path: at.into(), mode: 0o777 }, at.to_string());
    let set = |name, len, flags| Op::SetXattr { path: path.clone(), name, len, flags, follow: true };
    let access = |mode| Op::Access { dir: None, path: path.clone(), mode, flags: 0 };
    [
        chmod,
        chown(at, 1000),
        chown(at, 2000),
        utimens(at, [NOW, NOW]),
        utimens(at, [(5, 5), (7, 7)]),
        utimens(at, [NOW, OMIT]),
        utimens(at, [OMIT, OMIT]),
        set("user.b", 3, 0),
        set("user.a", 3, 1),
        set("trusted.b", 3, 0),
        Op::RemoveXattr { path: path.clone(), name: "user.a", follow: true },
        Op::GetXattr { path: path.clone(), name: "user.a", follow: true },
        link(at, &moved),
        unlink(at, 0),
        unlink(at, 0x200),
        rename(at, &moved, 0),
        rename(at, &moved, 1),
        rename(&other, at, 0),
        rename(&other, at, 2),
        access(2),
        access(4),
        flags(at, 0x40),
        flags(at, 0x10),
        flags(at, 0x20),
        flags(at, 0x30),
    ]
    .into_iter()
    .map(|op| vec![op])
    .collect()
}

/// What is tried on a file.
fn on_file(at: &str) -> Vec<Vec<Op>> {
    let mut tried = on_any(at);
    for how in [0, WRONLY, RDWR, WRONLY | APPEND, RDWR | APPEND, TRUNC, APPEND, WRONLY | APPEND | TRUNC, RDWR | CREAT] {
        tried.push(vec![open(at, how)]);
    }
    let added = [
        Op::Write { slot: 0, len: 5, byte: 7 },
        Op::Pwrite { slot: 0, len: 5, byte: 7, offset: 0 },
        Op::Ftruncate { slot: 0, len: 1 },
        Op::Fchmod { slot: 0, mode: 0o600 },
        Op::Setfl { slot: 0, flags: 0 },
        Op::Setfl { slot: 0, flags: APPEND },
    ];
    let allocated = [0, 1, 2, 3].map(|mode| Op::Fallocate { slot: 0, mode, offset: 0, len: 4096 });
    tried.extend(added.into_iter().chain(allocated).map(|op| vec![open(at, RDWR | APPEND), op]));
    tried.push(vec![open(at, 0), Op::Setfl { slot: 0, flags: APPEND }]);
    tried
}

/// What is tried on a directory that holds `x` and an empty `s`.
fn on_dir(at: &str) -> Vec<Vec<Op>> {
    let mut tried = on_any(at);
    let (x, s, new) = (format!("{at}/x"), format!("{at}/s"), format!("{at}/new"));
    let outside = format!("{at}-out");
    tried.extend(
        [
            open(&new, WRONLY | CREAT),
            Op::Open { slot: 0, dir: None, path: at.into(), flags: TMPFILE | WRONLY, mode: 0o600 },
            Op::Mkdir { dir: None, path: new.clone(), mode: 0o777 },
            Op::Mknod { dir: None, path: new.clone(), mode: 0o010_666, dev: 0 },
            Op::Symlink { target: "x".into(), dir: None, path: new.clone() },
            unlink(&x, 0),
            unlink(&s, 0x200),
            rename(&x, &new, 0),
            rename(&x, &outside, 0),
            rename(&s, &outside, 0),
            rename("loose", &new, 0),
            rename("loose", &x, 0),
            rename("loose", &x, 2),
            link("loose", &new),
            open(&x, WRONLY | TRUNC),
            flags(&new, 0),
        ]
        .map(|op| vec![op]),
    );
    tried
}

fn user(id: u32) -> Op {
    Op::User { real: id, effective: id, groups: vec![] }
}

fn compare(protected: u32, who: u32, is_dir: bool) -> io::Result<u64> {
    let (mut linux, mut ours) = (Linux::new()?, Ours::new(Protections::default()));
    let mut both = |op: &Op, when: &str| {
        let (theirs, own) = (linux.run(op), ours.run(op));
        assert_eq!(own, theirs, "{op:?} {when}: ours, and Linux's");
        own.is_ok()
    };
    let count = if is_dir { on_dir("t").len() } else { on_file("t").len() };
    let mut refused = 0;
    for number in 0..count {
        let at = format!("t{number}");
        let when = format!("of what has flags {protected:#x}, by {who}");
        both(&user(0), "");
        for path in [&at, &format!("{at}-other")] {
            if is_dir {
                both(&Op::Mkdir { dir: None, path: path.clone(), mode: 0o777 }, "");
            } else {
                both(&open(path, WRONLY | CREAT), "");
            }
            both(&chown(path, 1000), "");
        }
        both(&open("loose", WRONLY | CREAT), "");
        both(&chown("loose", 1000), "");
        both(&Op::SetXattr { path: at.clone(), name: "user.a", len: 2, flags: 0, follow: true }, "");
        if is_dir {
            both(&open(&format!("{at}/x"), WRONLY | CREAT), "");
            both(&Op::Mkdir { dir: None, path: format!("{at}/s"), mode: 0o777 }, "");
            for inside in ["x", "s"] {
                both(&chown(&format!("{at}/{inside}"), 1000), "");
            }
        }
        both(&flags(&at, protected), "");
        both(&user(who), "");
        let tried = if is_dir { on_dir(&at) } else { on_file(&at) };
        for op in &tried[number] {
            refused += u64::from(!both(op, &when));
        }
        both(&user(0), "");
        both(&flags(&at, 0), &when);
    }
    Ok(refused)
}

#[test]
fn what_protects_an_inode_forbids_what_it_forbids_on_linux() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: what_protects_an_inode_forbids_what_it_forbids_on_linux needs root");
        return;
    }
    let mut refused = 0;
    for protected in [0, 0x10, 0x20, 0x30, 0xc0] {
        for who in [0, 1000, 2000] {
            for is_dir in [false, true] {
                // A thread of its own, for its own root, credentials and mounts.
                let run = std::thread::spawn(move || compare(protected, who, is_dir));
                match run.join() {
                    Ok(count) => refused += count.expect("Linux can be set up for the comparison"),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        }
    }
    assert!(refused > 200, "only {refused} calls were refused: that compares little");
}
