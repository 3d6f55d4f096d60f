//! The row of steps.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::content::{self, SECTOR, fill};
use crate::tree::{Kind, Node, Tree};

/// How many directories the steps work in.
const PLACES: u64 = 5;
/// The size of the files that are overwritten in place, in sectors.
const OVERWRITTEN: u64 = 32;
/// After so many steps at most comes a promise.
const LONGEST: u64 = 64;

/// What a step does. Paths are from the top of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new file of `len` bytes takes the place of what is at `path`, by a rename.
    Replace {
        /// Where it comes.
        path: Vec<u8>,
        /// Its size.
        len: u64,
    },
    /// A file without a name of `len` bytes is written and gets the name `path`, which nothing has.
    Publish {
        /// Where it comes.
        path: Vec<u8>,
        /// Its size.
        len: u64,
    },
    /// Whole sectors of the file at `path` are written anew.
    Overwrite {
        /// Which file.
        path: Vec<u8>,
        /// From where on, in bytes.
        at: u64,
        /// How many bytes.
        len: u64,
    },
    /// The file at `path` grows by `len` bytes.
    Append {
        /// Which file.
        path: Vec<u8>,
        /// By how much.
        len: u64,
    },
    /// The file at `path` is cut.
    Truncate {
        /// Which file.
        path: Vec<u8>,
        /// To how many bytes.
        len: u64,
    },
    /// `path` is removed, an empty directory or something else.
    Remove(Vec<u8>),
    /// A directory is made.
    MakeDir(Vec<u8>),
    /// A symbolic link is made, whose target is the number of the step.
    MakeSymlink(Vec<u8>),
    /// A named pipe is made.
    MakeFifo(Vec<u8>),
    /// The first path becomes the second, over what may be there.
    Rename(Vec<u8>, Vec<u8>),
    /// Two paths change places.
    Exchange(Vec<u8>, Vec<u8>),
    /// The second path becomes one more name of the first.
    Link(Vec<u8>, Vec<u8>),
    /// The extended attribute gets the number of the step, or is removed where it is there and the step is odd.
    SetXattr(Vec<u8>),
    /// The permission bits are set.
    SetMode(Vec<u8>, u32),
    /// The owner is set.
    SetOwner(Vec<u8>, u32),
}

/// A step: its number, which is what it writes, and its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From 1 on.
    pub number: u64,
    /// What it does.
    pub change: Change,
}

/// What is synced after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// All.
    All,
    /// What the step changed: the file, or the directory of the name.
    Changed,
}

/// Random numbers by their seed (splitmix64).
struct Draw(u64);

impl Draw {
    fn new(seed: u64, step: u64, what: u64) -> Self {
        let mut draw = Self(seed ^ step.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ what << 60);
        draw.below(1);
        draw
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What is promised after step `step` of `seed`, if anything.
#[must_use]
pub fn promise(seed: u64, step: u64) -> Option<Promise> {
    match Draw::new(seed, step, 1).below(24) {
        0 => Some(Promise::All),
        _ if step.is_multiple_of(LONGEST) => Some(Promise::All),
        1..5 => Some(Promise::Changed),
        _ => None,
    }
}

/// The tree after some number of steps.
#[derive(Clone)]
pub struct Model {
    seed: u64,
    steps: u64,
    fresh: u64,
    tree: Tree,
}

impl Model {
    /// The tree before the first step, which is the firmware's, and the steps of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut model = Self { seed, steps: 0, fresh: 0, tree: Tree::default() };
        for place in 0..PLACES {
            for dir in ["", "/keep", "/tree", "/tree/deep"] {
                model.make(format!("{place}{dir}").into(), Kind::Dir, 0o755);
            }
            let files = [
                ("lower", OVERWRITTEN * SECTOR as u64),
                ("gone", 100),
                ("keep/a", 5000),
                ("keep/b", 3),
                ("tree/a", 1000),
                ("tree/deep/b", 70_000),
            ];
            for (name, len) in files {
                model.make(format!("{place}/{name}").into(), Kind::File(model.written(0, len)), 0o644);
            }
        }
        model
    }

    /// How many steps were made.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Makes the next step, and says what it was.
    pub fn advance(&mut self) -> Step {
        self.steps += 1;
        let change = self.choose();
        self.apply(&change);
        Step { number: self.steps, change }
    }

    fn written(&self, at: u64, len: u64) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len as usize];
        fill(self.steps, at, &mut bytes);
        bytes
    }

    fn make(&mut self, path: Vec<u8>, kind: Kind, mode: u32) {
        self.tree.remove(&path);
        self.fresh += 1;
        self.tree.add(path, self.fresh, Node { kind, mode, uid: 0, xattr: None });
    }

    fn choose(&self) -> Change {
        if let Some((path, at, len)) = overwrite(self.seed, self.steps) {
            return Change::Overwrite { path, at, len };
        }
        let mut draw = Draw::new(self.seed, self.steps, 2);
        let place = draw.below(PLACES);
        let path = |name: &str| -> Vec<u8> { format!("{place}/{name}").into() };
        let has = |path: &[u8]| self.tree.at(path);
        let len = match draw.below(12) {
            0 => 0,
            1 => 1 + draw.below(300_000),
            _ => 1 + draw.below(20_000),
        };
        let file = path(["one", "two", "three"][draw.below(3) as usize]);
        let other: Vec<u8> = format!("{}/one", draw.below(PLACES)).into();
        let log = path("log");
        let dir = path(if has(&path("tree")).is_some() { "tree" } else { "moved" });
        match draw.below(16) {
            0 | 1 => Change::Replace { path: file, len },
            2 | 3 => match has(&log).map(|node| &node.kind) {
                Some(Kind::File(bytes)) if bytes.len() > 100_000 => {
                    Change::Truncate { path: log, len: draw.below(bytes.len() as u64) }
                }
                Some(_) => Change::Append { path: log, len: 1 + draw.below(9000) },
                None => Change::Replace { path: log, len: 0 },
            },
            4 | 5 => match (has(&path("gone")), draw.below(4)) {
                (Some(_), _) => Change::Remove(path("gone")),
                (None, 0) => Change::MakeDir(path("gone")),
                (None, 1) => Change::MakeSymlink(path("gone")),
                (None, 2) => Change::MakeFifo(path("gone")),
                (None, _) => Change::Replace { path: path("gone"), len },
            },
            6 if dir.ends_with(b"tree") => Change::Rename(dir, path("moved")),
            6 => Change::Rename(dir, path("tree")),
            7 => {
                let inside = [&*dir, if draw.below(2) == 0 { b"/a" } else { b"/deep/b" }].concat();
                if has(&inside).is_some() { Change::Remove(inside) } else { Change::Replace { path: inside, len } }
            }
            8 => {
                let inside = path("keep/b");
                if has(&inside).is_some() { Change::Remove(inside) } else { Change::Replace { path: inside, len } }
            }
            9 => Change::SetMode(path("keep/a"), 0o600 + draw.below(64) as u32),
            10 => Change::SetOwner(path(if draw.below(2) == 0 { "keep" } else { "lower" }), draw.below(1000) as u32),
            11 => {
                let target = if has(&file).is_some() { file } else { path("lower") };
                Change::SetXattr(target)
            }
            12 => match (has(&file), has(&path("link"))) {
                (_, Some(_)) => Change::Remove(path("link")),
                (Some(_), None) => Change::Link(file, path("link")),
                (None, None) => Change::Replace { path: file, len },
            },
            13 if file != other && has(&file).is_some() && has(&other).is_some() => Change::Exchange(file, other),
            14 if self.tree.number(&file).is_some() && self.tree.number(&file) != self.tree.number(&other) => {
                Change::Rename(file, other)
            }
            _ if has(&file).is_some() => Change::Remove(file),
            _ => Change::Publish { path: file, len },
        }
    }

    fn apply(&mut self, change: &Change) {
        let number = self.steps;
        match change {
            Change::Replace { path, len } | Change::Publish { path, len } => {
                self.make(path.clone(), Kind::File(self.written(0, *len)), 0o644);
            }
            Change::Overwrite { path, at, len } => {
                let new = self.written(*at, *len);
                self.with_bytes(path, |bytes| bytes[*at as usize..][..new.len()].copy_from_slice(&new));
            }
            Change::Append { path, len } => {
                let mut at = 0;
                self.with_bytes(path, |bytes| at = bytes.len() as u64);
                let new = self.written(at, *len);
                self.with_bytes(path, |bytes| bytes.extend_from_slice(&new));
            }
            Change::Truncate { path, len } => self.with_bytes(path, |bytes| bytes.truncate(*len as usize)),
            Change::Remove(path) => self.tree.remove(path),
            Change::MakeDir(path) => self.make(path.clone(), Kind::Dir, 0o755),
            Change::MakeSymlink(path) => self.make(path.clone(), Kind::Symlink(format!("{number}").into()), 0o777),
            Change::MakeFifo(path) => self.make(path.clone(), Kind::Fifo, 0o644),
            Change::Rename(from, to) => self.tree.rename(from, to),
            Change::Exchange(one, two) => {
                if let (Some(first), Some(second)) = (self.tree.number(one), self.tree.number(two))
                    && first != second
                {
                    // A third name keeps the first inode while neither of the two does.
                    self.tree.link(b"", first);
                    self.tree.link(one, second);
                    self.tree.link(two, first);
                    self.tree.remove(b"");
                }
            }
            Change::Link(from, to) => {
                if let Some(inode) = self.tree.number(from) {
                    self.tree.link(to, inode);
                }
            }
            Change::SetXattr(path) => self.with(path, |node| {
                let removed = node.xattr.is_some() && number % 2 == 1;
                node.xattr = (!removed).then(|| format!("{number}").into());
            }),
            Change::SetMode(path, mode) => self.with(path, |node| node.mode = *mode),
            Change::SetOwner(path, uid) => self.with(path, |node| node.uid = *uid),
        }
    }

    fn with(&mut self, path: &[u8], change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.tree.at_mut(path) {
            change(node);
        }
    }

    fn with_bytes(&mut self, path: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
        self.with(path, |node| {
            if let Kind::File(bytes) = &mut node.kind {
                change(bytes);
            }
        });
    }
}

/// What step `step` overwrites in place, if that is what it does: it does not depend on the tree.
fn overwrite(seed: u64, step: u64) -> Option<(Vec<u8>, u64, u64)> {
    let mut draw = Draw::new(seed, step, 3);
    if draw.below(6) > 0 {
        return None;
    }
    let path = format!("{}/lower", draw.below(PLACES)).into();
    let first = draw.below(OVERWRITTEN);
    let count = 1 + draw.below(OVERWRITTEN - first).min(16);
    Some((path, first * SECTOR as u64, count.min(OVERWRITTEN - first) * SECTOR as u64))
}

/// The model that `found` is the tree of, between `least` and `most` steps of `seed`.
///
/// # Errors
/// What is wrong, of the state whose comparison came furthest.
pub fn find(found: &Tree, seed: u64, least: u64, most: u64) -> Result<Model, String> {
    let mut model = Model::new(seed);
    while model.steps < least {
        model.advance();
    }
    let mut furthest = (String::new(), 0);
    loop {
        let ahead = |path: &[u8], index: u64, bytes: &[u8]| {
            content::step_of(bytes).is_some_and(|step| {
                let at = index * SECTOR as u64;
                let mut written = [0; SECTOR];
                fill(step, at, &mut written);
                let mine = |(of, from, len): (Vec<u8>, u64, u64)| of == path && (from..from + len).contains(&at);
                step > model.steps && step <= most && written == *bytes && overwrite(seed, step).is_some_and(mine)
            })
        };
        let Some(difference) = model.tree.difference(found, &ahead) else { return Ok(model) };
        // It begins with the path.
        furthest = furthest.max((difference, model.steps));
        if model.steps >= most {
            let (difference, step) = furthest;
            return Err(format!(
                "the tree is of no moment between step {least} and step {most} of seed {seed}; after step {step}: {difference}"
            ));
        }
        model.advance();
    }
}
