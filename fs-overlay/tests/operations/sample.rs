//! What the tests of operations start from.

use std::sync::Arc;

use crate::support::{OLD, Tree, overlay, ram};
use contract::fault::{Calls, Control, FaultFs};
use fs_overlay::OverlayFs;
use vfs::{FileSystem, SetAttr, SetTime};

pub(crate) fn old(tree: &Tree, path: &str) {
    let change = SetAttr { atime: Some(SetTime::At(OLD)), mtime: Some(SetTime::At(OLD)), ..SetAttr::default() };
    tree.get(path).unwrap().ops().set_attr(&change).unwrap();
}

/// `d/` with a file, a directory with a file, and an empty directory.
pub(crate) fn sample(tree: &Tree) {
    tree.mkdir("d").unwrap();
    tree.put("d/f", "content").unwrap();
    tree.mkdir("d/e").unwrap();
    tree.put("d/e/g", "deep").unwrap();
    tree.mkdir("d/empty").unwrap();
    tree.put("top", "top").unwrap();
    for path in ["d/f", "d/e/g", "d/e", "d/empty", "d", "top"] {
        old(tree, path);
    }
}

/// A sample below, and the calls that reach either layer counted.
pub(crate) struct Counted {
    pub(crate) lower: Arc<Control>,
    pub(crate) upper: Arc<Control>,
    pub(crate) fs: Arc<OverlayFs>,
    pub(crate) raw: Tree,
}

impl Counted {
    pub(crate) fn new() -> Self {
        let lower = ram();
        sample(&Tree::of(&*lower));
        let inner = ram();
        let raw = Tree::of(&*inner);
        let (lower_fs, lower) = FaultFs::new(lower);
        let (upper_fs, upper) = FaultFs::new(inner);
        let upper_fs: Arc<dyn FileSystem> = upper_fs;
        let fs = overlay(&upper_fs, &[lower_fs]);
        lower.reset();
        upper.reset();
        Self { lower, upper, fs, raw }
    }

    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&*self.fs)
    }

    /// How many changes of the upper `step` makes.
    pub(crate) fn changes(&self, step: impl FnOnce(&Tree)) -> u64 {
        self.upper.reset();
        self.lower.reset();
        step(&self.tree());
        assert_eq!(self.lower.count(Calls::CHANGES), 0, "the lower is never changed");
        self.upper.count(Calls::CHANGES)
    }
}
