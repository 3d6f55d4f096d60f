//! Every call that any operation makes to a layer fails once, with EIO and with ENOSPC: the merged tree is then wholly
//! as before or wholly as after, in memory and after a remount, and the operation can be done again.

use std::sync::Arc;

use crate::support::{Detail, Tree, name, overlay, ram};
use contract::fault::{Calls, Control, FaultFs};
use vfs::{
    AllocateMode, Errno, FileSystem, InodeFlags, NewKind, NewNode, OpenIntent, RenameMode, Result, SetAttr, SetTime,
    Timestamp, XattrMode,
};

/// Below: what all operations start from.
pub(crate) fn lower(tree: &Tree) {
    for dir in ["d", "d/sub", "d/sub/deep", "d/empty", "e", "e/gone"] {
        tree.mkdir(dir).unwrap();
    }
    for file in ["d/f", "d/g", "d/sub/x", "d/sub/deep/y", "e/h", "e/i", "e/gone/z"] {
        tree.put(file, &format!("content of {file}")).unwrap();
    }
    tree.put("d/large", &"large ".repeat(30_000)).unwrap();
    tree.symlink("d/link", "f").unwrap();
    tree.set_xattr("d/f", "user.a", b"1").unwrap();
    tree.put("d/protected", "lower").unwrap();
    tree.set_flags("d/protected", InodeFlags::APPEND | InodeFlags::NOATIME).unwrap();
}

/// What was done on the overlay before: `e` is merged, with whiteouts and copies.
pub(crate) fn prepare(tree: &Tree) {
    tree.unlink("e/i").unwrap();
    tree.unlink("e/gone/z").unwrap();
    tree.append("e/h", " changed").unwrap();
    tree.mkdir("up").unwrap();
    tree.put("up/file", "upper").unwrap();
    tree.mkdir("up/dir").unwrap();
    tree.put("up/dir/inside", "upper").unwrap();
    tree.mkdir("up/empty").unwrap();
    tree.put("up/protected", "upper").unwrap();
    tree.set_flags("up/protected", InodeFlags::IMMUTABLE | InodeFlags::NOATIME).unwrap();
}

pub(crate) type Operation = (&'static str, fn(&Tree) -> Result<()>);

fn attr(tree: &Tree, path: &str, change: SetAttr) -> Result<()> {
    tree.get(path)?.ops().set_attr(&change)
}

pub(crate) const OPERATIONS: &[Operation] = &[
    ("mkdir in a lower directory", |t| t.mkdir("d/sub/deep/new")),
    ("mkdir over a whiteout", |t| t.mkdir("e/i")),
    ("create in a lower directory", |t| t.create("d/new", &NewNode::new(NewKind::File, 0o600)).map(drop)),
    ("create over a whiteout", |t| t.create("e/i", &NewNode::new(NewKind::File, 0o600)).map(drop)),
    ("symlink over a whiteout", |t| t.symlink("e/i", "target")),
    ("create without a name", |t| t.dir("d")?.create_unnamed(&NewNode::new(NewKind::File, 0)).map(drop)),
    ("create without a name, then link", |t| {
        let node = t.dir("d")?.create_unnamed(&NewNode::new(NewKind::File, 0o600))?;
        node.as_file()?.write_at(0, b"written before it has a name")?;
        t.dir("d")?.link(name("linked"), &node)
    }),
    ("link of a lower file", |t| t.link("d/sub/x", "d/linked")),
    ("link of an upper file over a whiteout", |t| t.link("up/file", "e/i")),
    ("link of a copy into an upper directory", |t| t.link("e/h", "up/linked")),
    ("unlink of a lower file", |t| t.unlink("d/sub/x")),
    ("unlink of a copy", |t| t.unlink("e/h")),
    ("unlink of an upper file", |t| t.unlink("up/file")),
    ("rmdir of a lower directory", |t| t.rmdir("d/empty")),
    ("rmdir of a merged directory with whiteouts", |t| t.rmdir("e/gone")),
    ("rmdir of an upper directory", |t| t.rmdir("up/empty")),
    ("rename of a lower file", |t| t.rename("d/f", "up/f")),
    ("rename of a lower file over a copy", |t| t.rename("d/f", "e/h")),
    ("rename of a copy over a whiteout", |t| t.rename("e/h", "e/i")),
    ("rename of a lower directory", |t| t.rename("d/sub", "d/renamed")),
    ("rename of a lower directory elsewhere", |t| t.rename("d/sub", "up/sub")),
    ("rename of a merged directory", |t| t.rename("e", "up/e")),
    ("rename of an upper directory over a lower one", |t| t.rename("up/dir", "d/empty")),
    ("rename of an upper directory over a merged one", |t| t.rename("up/dir", "e/gone")),
    ("rename without replacing", |t| t.rename_with("d/f", "d/new", RenameMode::NoReplace)),
    ("exchange of lower files", |t| t.exchange("d/f", "d/sub/x")),
    ("exchange of a lower directory and an upper file", |t| t.exchange("d/sub", "up/file")),
    ("exchange of a merged and an upper directory", |t| t.exchange("e", "up/dir")),
    ("chmod of a lower file", |t| attr(t, "d/f", SetAttr { mode: Some(0o4755), ..SetAttr::default() })),
    ("chown of a lower directory", |t| attr(t, "d/sub", SetAttr { uid: Some(7), gid: Some(7), ..SetAttr::default() })),
    ("times of a lower link", |t| {
        let time = Some(SetTime::At(Timestamp::from_secs(7)));
        attr(t, "d/link", SetAttr { atime: time, mtime: time, ..SetAttr::default() })
    }),
    ("setting an attribute of a lower file", |t| t.set_xattr("d/f", "user.b", b"2")),
    ("setting an escaped attribute of a lower directory", |t| t.set_xattr("d/sub", "trusted.overlay.x", b"2")),
    ("removing an attribute of a lower file", |t| t.get("d/f")?.ops().remove_xattr(b"user.a")),
    ("creating an attribute", |t| t.get("d/g")?.ops().set_xattr(b"user.c", b"3", XattrMode::Create)),
    ("opening a large lower file to write", |t| t.file("d/large")?.prepare_open(OpenIntent::Write)),
    ("opening a lower file to truncate", |t| t.file("d/large")?.prepare_open(OpenIntent::Truncate)),
    ("writing a lower file", |t| t.file("d/sub/deep/y")?.write_at(3, b"written").map(drop)),
    ("appending to a lower file", |t| t.file("d/f")?.append(b"appended").map(drop)),
    ("cutting a lower file", |t| t.file("d/large")?.set_len(150_000)),
    ("growing a lower file", |t| t.file("d/f")?.set_len(1000)),
    ("protecting a lower file", |t| t.set_flags("d/f", InodeFlags::IMMUTABLE | InodeFlags::NODUMP)),
    ("protecting a lower directory", |t| t.set_flags("d/sub", InodeFlags::APPEND)),
    ("protecting a copy", |t| t.set_flags("e/h", InodeFlags::APPEND | InodeFlags::NOATIME)),
    ("protecting an upper directory", |t| t.set_flags("up/dir", InodeFlags::PROTECTION | InodeFlags::NODUMP)),
    ("changing flags of a protected upper file", |t| {
        t.set_flags("up/protected", InodeFlags::APPEND | InodeFlags::NODUMP)
    }),
    ("clearing all flags of a protected upper file", |t| t.set_flags("up/protected", InodeFlags::empty())),
    ("writing a protected lower file", |t| t.file("d/protected")?.append(b"appended").map(drop)),
    ("punching a hole into a lower file", |t| t.file("d/large")?.allocate(AllocateMode::PunchHole, 5_000, 90_000)),
    ("zeroing a part of a lower file", |t| t.file("d/large")?.allocate(AllocateMode::ZeroRange, 5_000, 90_000)),
    ("allocating in a lower file", |t| t.file("d/f")?.allocate(AllocateMode::Extend, 0, 9000)),
];

struct Rig {
    lower: Arc<dyn FileSystem>,
    upper: Arc<dyn FileSystem>,
    calls: [Arc<Control>; 2],
    fs: Arc<fs_overlay::OverlayFs>,
}

impl Rig {
    fn new() -> Self {
        let inner = ram();
        lower(&Tree::of(&*inner));
        let (lower, lower_calls) = FaultFs::new(inner);
        let (upper, upper_calls) = FaultFs::new(ram());
        let (lower, upper): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (lower, upper);
        let fs = overlay(&upper, std::slice::from_ref(&lower));
        prepare(&Tree::of(&*fs));
        Self { lower, upper, calls: [lower_calls, upper_calls], fs }
    }

    fn dump(&self) -> std::collections::BTreeMap<String, String> {
        Tree::of(&*self.fs).dump(Detail::Content)
    }

    fn remount(&mut self) {
        self.fs.unmount().unwrap();
        self.fs = overlay(&self.upper, std::slice::from_ref(&self.lower));
    }
}

/// Fails the calls `among` of layer `which`, one after the other, in one operation; returns how many there are.
fn fail_each(operation: &Operation, which: usize, among: Calls, errno: Errno) -> u64 {
    let (title, step) = operation;
    let mut rig = Rig::new();
    let before = rig.dump();
    step(&Tree::of(&*rig.fs)).unwrap_or_else(|error| panic!("{title}: {error}"));
    let after = rig.dump();
    rig.remount();
    assert!(rig.dump() == after, "{title}: another tree after a remount");

    for nth in 1.. {
        let mut rig = Rig::new();
        rig.calls[which].reset();
        rig.calls[which].fail_nth(among, nth, errno);
        let result = step(&Tree::of(&*rig.fs));
        let is_spent = rig.calls[which].is_spent();
        rig.calls[which].reset();
        if !is_spent {
            return nth - 1;
        }
        let failing = format!("{title}, {errno:?} from call {nth} of layer {which}, result {result:?}");
        let now = rig.dump();
        assert!(now == after || (result.is_err() && now == before), "{failing}: neither before nor after");
        if let Err(error) = result {
            assert_eq!(error.errno(), errno, "{failing}");
        }
        let is_done = now == after && after != before;
        if !is_done {
            step(&Tree::of(&*rig.fs)).unwrap_or_else(|error| panic!("{failing}: not again, {error}"));
            assert!(rig.dump() == after, "{failing}: another tree the second time");
        }
        rig.remount();
        assert!(rig.dump() == after, "{failing}: another tree after a remount");
    }
    unreachable!("an operation makes finitely many calls")
}

#[test]
fn a_failed_change_of_the_upper_leaves_the_tree_before_or_after() {
    let mut calls = 0;
    for operation in OPERATIONS {
        for errno in [Errno::EIO, Errno::ENOSPC] {
            let made = fail_each(operation, 1, Calls::CHANGES | Calls::SYNC | Calls::OPEN, errno);
            assert!(made > 0, "{} changes nothing", operation.0);
            calls += made;
        }
    }
    println!("{calls} calls failed, one by one, in {} operations", OPERATIONS.len());
}

#[test]
fn a_failed_read_of_a_layer_leaves_the_tree_before_or_after() {
    let among = Calls::READS | Calls::FILESYSTEM;
    for operation in OPERATIONS {
        for which in 0..2 {
            fail_each(operation, which, among, Errno::EIO);
        }
    }
}

#[test]
fn a_layer_that_dies_breaks_nothing_that_is_in_the_other() {
    let rig = Rig::new();
    rig.calls[0].fail_from(Calls::all().difference(Calls::NOTE_ACCESS), 1, Errno::EIO);
    let tree = Tree::of(&*rig.fs);
    assert_eq!(tree.read("up/file").unwrap(), "upper");
    assert_eq!(tree.find("d").unwrap_err(), Errno::EIO);
    tree.append("up/file", "!").unwrap();
    tree.rename("up/file", "up/dir/file").unwrap();
    rig.calls[0].reset();
    rig.calls[1].fail_from(Calls::CHANGES, 1, Errno::EROFS);
    assert_eq!(tree.read("d/f").unwrap(), "content of d/f");
    assert_eq!(tree.unlink("d/f").unwrap_err(), Errno::EROFS);
    assert!(tree.0.lookup(name("d")).unwrap().is_some());
}
