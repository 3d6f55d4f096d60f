//! Operations on the same names, to be done at once.

use crate::support::{Tree, entries};

/// An operation on the names that all of them use, and what it is called.
pub(crate) type Step = (&'static str, fn(&Tree) -> vfs::Result<()>);

/// Operations that meet in all pairs.
pub(crate) const STEPS: &[Step] = &[
    ("read a", |t| t.read("d/a").map(drop)),
    ("append a", |t| t.append("d/a", "!")),
    ("truncate a", |t| t.put("d/a", "new")),
    ("chmod a", |t| t.get("d/a")?.ops().set_attr(&vfs::SetAttr { mode: Some(0o600), ..vfs::SetAttr::default() })),
    ("unlink a", |t| t.unlink("d/a")),
    ("create b", |t| t.create("d/b", &vfs::NewNode::new(vfs::NewKind::File, 0o644)).map(drop)),
    ("mkdir b", |t| t.mkdir("d/b")),
    ("rename a b", |t| t.rename("d/a", "d/b")),
    ("rename b a", |t| t.rename("d/b", "d/a")),
    ("link a b", |t| t.link("d/a", "d/b")),
    ("rename a e/a", |t| t.rename("d/a", "e/a")),
    ("exchange a c", |t| t.exchange("d/a", "d/c")),
    ("rmdir c", |t| t.rmdir("d/c")),
    ("create c/f", |t| t.create("d/c/f", &vfs::NewNode::new(vfs::NewKind::File, 0o644)).map(drop)),
    ("rename c e/c", |t| t.rename("d/c", "e/c")),
    ("rename d e/d", |t| t.rename("d", "e/d")),
    ("list d", |t| t.dir("d").map(|dir| drop(entries(&*dir)))),
];
