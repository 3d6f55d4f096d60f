//! A tree as far as it is compared.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::content::SECTOR;

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file and its bytes.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
}

/// Whether a sector of a file may be as it is found: given the file's path, the number of the sector in it, and the bytes.
pub(crate) type Ahead<'a> = dyn Fn(&[u8], u64, &[u8]) -> bool + 'a;

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its extended attribute [`XATTR`](crate::XATTR), if it has it.
    pub xattr: Option<Vec<u8>>,
}

/// Names, as paths from the top, and their inodes. The top itself has no entry.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    names: BTreeMap<Vec<u8>, u64>,
    nodes: BTreeMap<u64, Node>,
}

impl Tree {
    /// Adds the name `path` for the inode `number`, which is `node` unless an earlier name gave it.
    pub fn add(&mut self, path: Vec<u8>, number: u64, node: Node) {
        self.names.insert(path, number);
        self.nodes.entry(number).or_insert(node);
    }

    /// The inode at `path`.
    #[must_use]
    pub fn at(&self, path: &[u8]) -> Option<&Node> {
        self.nodes.get(self.names.get(path)?)
    }

    /// All names with their inodes, a directory before what is in it.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.names.iter().filter_map(|(path, number)| Some((&**path, self.nodes.get(number)?)))
    }

    pub(crate) fn at_mut(&mut self, path: &[u8]) -> Option<&mut Node> {
        self.nodes.get_mut(self.names.get(path)?)
    }

    pub(crate) fn number(&self, path: &[u8]) -> Option<u64> {
        self.names.get(path).copied()
    }

    /// One more name of an inode, in place of what had the name.
    pub(crate) fn link(&mut self, path: &[u8], number: u64) {
        self.remove(path);
        self.names.insert(path.into(), number);
    }

    pub(crate) fn remove(&mut self, path: &[u8]) {
        let Some(number) = self.names.remove(path) else { return };
        if !self.names.values().any(|&other| other == number) {
            self.nodes.remove(&number);
        }
    }

    /// Moves a name, and all below it.
    pub(crate) fn rename(&mut self, from: &[u8], to: &[u8]) {
        let below = |path: &[u8]| path.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let moved: Vec<_> =
            self.names.iter().filter(|(path, _)| below(path)).map(|(path, &number)| (path.clone(), number)).collect();
        for (path, _) in &moved {
            self.names.remove(path);
        }
        for (path, number) in moved {
            self.link(&[to, &path[from.len()..]].concat(), number);
        }
    }

    /// What is otherwise in `found`, if anything, but for sectors that are `ahead`.
    pub(crate) fn difference(&self, found: &Self, ahead: &Ahead<'_>) -> Option<String> {
        let mut numbers = BTreeMap::new();
        for (path, number) in &self.names {
            let Some(other) = found.names.get(path) else { return Some(format!("{} is missing", path.escape_ascii())) };
            let (wanted, is) = (&self.nodes[number], &found.nodes[other]);
            if numbers.insert(number, other).is_some_and(|first| first != other) {
                return Some(format!("{} is not the inode that it was a link of", path.escape_ascii()));
            }
            if let Some(what) = node_difference(wanted, is, &|sector, bytes| ahead(path, sector, bytes)) {
                return Some(format!("{}: {what}", path.escape_ascii()));
            }
        }
        if let Some(path) = found.names.keys().find(|path| !self.names.contains_key(*path)) {
            return Some(format!("{} should not be there", path.escape_ascii()));
        }
        (found.nodes.len() != self.nodes.len()).then(|| "names share an inode that were not links".into())
    }
}

fn node_difference(wanted: &Node, is: &Node, ahead: &dyn Fn(u64, &[u8]) -> bool) -> Option<String> {
    let (Kind::File(bytes), Kind::File(other)) = (&wanted.kind, &is.kind) else {
        return (wanted != is).then(|| format!("{} instead of {}", in_words(is), in_words(wanted)));
    };
    if in_words(wanted) != in_words(is) {
        return Some(format!("{} instead of {}", in_words(is), in_words(wanted)));
    }
    if bytes == other {
        return None;
    }
    let wrong = bytes
        .chunks(SECTOR)
        .zip(other.chunks(SECTOR))
        .enumerate()
        .find(|(index, (wanted, is))| wanted != is && !ahead(*index as u64, is));
    wrong.map(|(index, (wanted, is))| {
        let step = crate::content::step_of;
        format!("sector {index} is of step {:?} instead of {:?}", step(is), step(wanted))
    })
}

/// All of an inode but the bytes of a file.
fn in_words(node: &Node) -> String {
    let kind = match &node.kind {
        Kind::File(bytes) => format!("file of {} bytes", bytes.len()),
        Kind::Dir => "directory".into(),
        Kind::Symlink(target) => format!("link to {}", target.escape_ascii()),
        Kind::Fifo => "pipe".into(),
    };
    let xattr = node.xattr.as_deref().map(<[u8]>::escape_ascii);
    let xattr = xattr.map_or_else(String::new, |value| format!(", attribute {value}"));
    format!("{kind}, {:o}, owner {}{xattr}", node.mode, node.uid)
}
