//! The same random calls (all but `chroot(2)`, out of which relative paths lead) on a namespace over ramfs and on Linux over tmpfs: every answer must be the same, and so must the trees at the
//! end.
//!
//! `STRATA_SEED` replays a run, `STRATA_OPS` sets its length. It needs root, for a private mount namespace, `chroot(2)` and
//! changing credentials; without, it says so and checks nothing.

mod answer;
#[path = "../common/mod.rs"]
mod common;
mod flags;
mod linux;
mod op;
mod ours;

use std::fmt::Write as _;

use answer::Answer;
use common::{Random, setting};
use linux::Linux;
use op::{Op, SLOTS, op};
use ours::Ours;
use rustix::{fs, io};
use vfs::{Protection, Protections};

fn protection(name: &str) -> Protection {
    match std::fs::read_to_string(format!("/proc/sys/fs/protected_{name}")).as_deref().map(str::trim) {
        Ok("0") | Err(_) => Protection::Off,
        Ok(_) => Protection::On,
    }
}

/// One run: the same operations on both, from the same tree. The outer error is Linux's that could not be set up, the inner one what
/// differs. It tells how many calls succeeded.
fn compare(seed: u64, ops: u64, protections: Protections) -> io::Result<Result<u64, String>> {
    let mut linux = Linux::new()?;
    let mut ours = Ours::new(protections);
    let probe = fs::open("/probe", fs::OFlags::CREATE, fs::Mode::RUSR)?;
    let xattrs = fs::fsetxattr(&probe, "user.a", b"", fs::XattrFlags::empty()).is_ok();
    fs::unlink("/probe")?;
    let mut random = Random::new(seed);
    let mut history = String::new();
    let mut succeeded = 0;
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
        succeeded += u64::from(theirs.is_ok());
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
    Ok(Ok(succeeded))
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
    let mut succeeded = 0;
    for run in 0..runs {
        let seed = first.wrapping_add(run);
        // A thread of its own, for its own root, credentials and mounts.
        match std::thread::spawn(move || compare(seed, each, protections)).join() {
            Ok(Ok(Ok(count))) => succeeded += count,
            Ok(Ok(Err(difference))) => differences.push(difference),
            Ok(Err(errno)) => panic!("cannot set Linux up for the comparison: {errno}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    assert!(differences.is_empty(), "{} of {runs} runs differ\n{}", differences.len(), differences.join("\n"));
    assert!(succeeded * 8 >= runs * each, "only {succeeded} of {} calls succeeded: that compares little", runs * each);
    eprintln!("{succeeded} of {} calls succeeded, on both sides alike", runs * each);
}
