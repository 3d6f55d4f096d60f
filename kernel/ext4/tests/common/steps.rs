//! Operations that an overlay asks of its upper, one by one, and the tree that they need.

use std::sync::Arc;

use contract::dsl::{Dir, pattern};
use ext4::Ext4;
use vfs::{
    DirOps, Name, NewKind, NewNode, Over, Parent, Publish, Result, SourceLeft, Subject, UpperDir, UpperRename,
    UpperRenameMode, Victim, XattrChange,
};

use super::short;

pub fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

/// What the operations need to be there.
pub fn prepare(fs: &Ext4) -> Result<()> {
    let root = short::root(fs);
    let dir = root.mkdir("dir")?;
    dir.file("file", pattern(1, 30_000))?;
    dir.file("other", "other")?;
    dir.file("third", "third")?;
    dir.mkdir("sub")?;
    let upper = dir.as_upper().expect("ext4 is an upper");
    upper.whiteout(name("gone"), Victim::Absent)?;
    let hollow = dir.mkdir("hollow")?;
    hollow.as_upper().expect("ext4 is an upper").whiteout(name("w1"), Victim::Absent)?;
    hollow.as_upper().expect("ext4 is an upper").whiteout(name("w2"), Victim::Absent)?;
    let hollow = dir.mkdir("hollow too")?;
    hollow.as_upper().expect("ext4 is an upper").whiteout(name("w"), Victim::Absent)?;
    let target = root.mkdir("target")?;
    target.file("there", pattern(2, 5_000))?;
    // Enough entries for an index, so that blocks of it are read and split.
    let crowd = root.mkdir("crowd")?;
    for number in 0..120 {
        crowd.file(format!("{number} {}", "c".repeat(100)), "")?;
    }
    Ok(())
}

pub type Step = fn(&Dir) -> Result<()>;

pub fn upper(dir: &Dir) -> &dyn UpperDir {
    dir.as_upper().expect("ext4 is an upper")
}

pub fn at(root: &Dir, path: &str) -> Result<Dir> {
    Ok(Dir(contract::tree::walk(root, path.as_bytes())?.as_dir()?.clone()))
}

pub const OPAQUE: &[u8] = b"trusted.overlay.opaque";
pub const REDIRECT: &[u8] = b"trusted.overlay.redirect";
pub const ORIGIN: &[u8] = b"trusted.overlay.origin";

pub fn rename(
    from: &Dir,
    old: &str,
    to: &Dir,
    new: &str,
    mode: UpperRenameMode,
    xattrs: &[XattrChange<'_>],
) -> Result<()> {
    let to: &Arc<dyn DirOps> = &to.0;
    upper(from).rename_upper(&UpperRename { name: name(old), to, new_name: name(new), mode, xattrs })
}

/// Each operation, by name.
pub const STEPS: &[(&str, Step)] = &[
    ("whiteout of an absent name", |root| upper(&at(root, "dir")?).whiteout(name("lower"), Victim::Absent)),
    ("whiteout of a file", |root| upper(&at(root, "dir")?).whiteout(name("file"), Victim::NonDir)),
    ("whiteout of an empty directory", |root| upper(&at(root, "dir")?).whiteout(name("sub"), Victim::Dir)),
    ("whiteout of a hollow directory", |root| upper(&at(root, "dir")?).whiteout(name("hollow"), Victim::Dir)),
    ("remove_with_whiteouts", |root| upper(&at(root, "dir")?).remove_with_whiteouts(name("hollow"))),
    ("create_over a whiteout", |root| {
        let new = NewNode { xattrs: &[(ORIGIN, b"0123456789abcdef")], ..NewNode::new(NewKind::File, 0o640) };
        upper(&at(root, "dir")?).create_over(name("gone"), &new).map(drop)
    }),
    ("create_over a whiteout, an opaque directory", |root| {
        let new = NewNode { xattrs: &[(OPAQUE, b"y")], ..NewNode::new(NewKind::Dir, 0o750) };
        upper(&at(root, "dir")?).create_over(name("gone"), &new).map(drop)
    }),
    ("create_over nothing, in an index", |root| {
        let new = NewNode::new(NewKind::Symlink(&[b's'; 100]), 0o777);
        upper(&at(root, "crowd")?).create_over(name("a new name, and not a short one at that"), &new).map(drop)
    }),
    ("link_over a whiteout", |root| {
        let dir = at(root, "dir")?;
        let node = contract::tree::walk(root, b"dir/file")?;
        upper(&dir).link_over(name("gone"), &node)
    }),
    ("stage and publish of a file", |root| {
        let dir = at(root, "dir")?;
        let node = upper(&dir).stage(&NewNode::new(NewKind::File, 0o600))?;
        contract::tree::write_all(&**node.as_file()?, 0, &pattern(3, 20_000))?;
        let xattrs = [XattrChange { subject: Subject::Moved, name: ORIGIN, value: Some(b"origin") }];
        let how = Publish { over: Over::Whiteout, parent: Parent::Untouched, xattrs: &xattrs };
        upper(&dir).publish(name("gone"), &node, &how)
    }),
    ("stage and publish of a directory", |root| {
        let crowd = at(root, "crowd")?;
        let node = upper(&crowd).stage(&NewNode::new(NewKind::Dir, 0o700))?;
        let xattrs = [
            XattrChange { subject: Subject::Moved, name: OPAQUE, value: Some(b"y") },
            XattrChange { subject: Subject::NewParent, name: b"trusted.overlay.impure", value: Some(b"y") },
        ];
        let how = Publish { over: Over::Nothing, parent: Parent::Touched, xattrs: &xattrs };
        upper(&crowd).publish(name("published"), &node, &how)
    }),
    ("rename that leaves a whiteout", |root| {
        let (dir, target) = (at(root, "dir")?, at(root, "target")?);
        rename(&dir, "file", &target, "moved", UpperRenameMode::Move(SourceLeft::Whiteout), &[])
    }),
    ("rename over a file that leaves a whiteout", |root| {
        let (dir, target) = (at(root, "dir")?, at(root, "target")?);
        rename(&dir, "file", &target, "there", UpperRenameMode::Move(SourceLeft::Whiteout), &[])
    }),
    ("rename of a directory with a redirect over a hollow one", |root| {
        let dir = at(root, "dir")?;
        let xattrs = [
            XattrChange { subject: Subject::Moved, name: REDIRECT, value: Some(b"/dir/sub") },
            XattrChange { subject: Subject::NewParent, name: b"trusted.overlay.impure", value: Some(b"y") },
        ];
        rename(&dir, "sub", &dir, "hollow", UpperRenameMode::Move(SourceLeft::Whiteout), &xattrs)
    }),
    ("rename over a whiteout into an index", |root| {
        let (dir, crowd) = (at(root, "dir")?, at(root, "crowd")?);
        rename(&dir, "other", &crowd, "others", UpperRenameMode::Move(SourceLeft::Nothing), &[])
    }),
    ("exchange of a file and a directory", |root| {
        let (dir, target) = (at(root, "dir")?, at(root, "target")?);
        let xattrs = [XattrChange { subject: Subject::Exchanged, name: ORIGIN, value: Some(&[7; 200]) }];
        rename(&dir, "sub", &target, "there", UpperRenameMode::Exchange, &xattrs)
    }),
];
