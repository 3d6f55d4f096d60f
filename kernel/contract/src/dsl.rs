//! Short names for what tests do all the time, each failing with a sentence.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{ControlFlow, Deref};

use vfs::{
    Attr, Cookie, DirEntry, DirOps, Expect, FileOps, Name, NewKind, NewNode, Node, RenameMode, RenameOp, Result,
    SetAttr, SymlinkOps, UpperDir,
};

use crate::tree::{walk, write_all};
use crate::{Failure, Outcome};

/// A directory under test.
#[derive(Clone)]
pub struct Dir(pub Arc<dyn DirOps>);

/// A regular file under test.
#[derive(Clone)]
pub struct File(pub Arc<dyn FileOps>);

/// An entry that a listing gave.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name.
    pub name: Vec<u8>,
    /// Its inode number.
    pub ino: u64,
    /// Its `d_type`.
    pub kind: u8,
    /// The cookie after it.
    pub next: u64,
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Node::Dir(self.0.clone()).fmt(f)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}

impl Deref for Dir {
    type Target = Arc<dyn DirOps>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Deref for File {
    type Target = Arc<dyn FileOps>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A path or name, to be read by people.
pub(crate) fn show(bytes: &[u8]) -> String {
    format!("{}", bytes.escape_ascii())
}

impl Dir {
    /// The node at a path below.
    #[track_caller]
    pub fn at(&self, path: impl AsRef<[u8]>) -> Outcome<Node> {
        let path = path.as_ref();
        walk(&self.0, path).map_err(|error| Failure::from(error).while_doing(show(path)))
    }

    /// The directory at a path below.
    #[track_caller]
    pub fn dir(&self, path: impl AsRef<[u8]>) -> Outcome<Dir> {
        let path = path.as_ref();
        match self.at(path)? {
            Node::Dir(dir) => Ok(Dir(dir)),
            node => Err(Failure::new(format!("{} is no directory but {node:?}", show(path)))),
        }
    }

    /// The regular file at a path below.
    #[track_caller]
    pub fn open(&self, path: impl AsRef<[u8]>) -> Outcome<File> {
        let path = path.as_ref();
        match self.at(path)? {
            Node::File(file) => Ok(File(file)),
            node => Err(Failure::new(format!("{} is no file but {node:?}", show(path)))),
        }
    }

    /// The symbolic link at a path below.
    #[track_caller]
    pub fn link_at(&self, path: impl AsRef<[u8]>) -> Outcome<Arc<dyn SymlinkOps>> {
        let path = path.as_ref();
        match self.at(path)? {
            Node::Symlink(link) => Ok(link),
            node => Err(Failure::new(format!("{} is no symbolic link but {node:?}", show(path)))),
        }
    }

    /// The attributes of what is at a path below.
    #[track_caller]
    pub fn attr_of(&self, path: impl AsRef<[u8]>) -> Outcome<Attr> {
        Ok(self.at(path)?.attr()?)
    }

    /// The content of the file at a path below.
    #[track_caller]
    pub fn read(&self, path: impl AsRef<[u8]>) -> Outcome<Vec<u8>> {
        self.open(path)?.content()
    }

    /// The node behind a name, or none.
    #[track_caller]
    pub fn find(&self, name: impl AsRef<[u8]>) -> Outcome<Option<Node>> {
        Ok(self.0.lookup(Name::new(name.as_ref())?)?)
    }

    /// Fails if `name` is there.
    #[track_caller]
    pub fn absent(&self, name: impl AsRef<[u8]>) -> Outcome {
        match self.find(name.as_ref())? {
            None => Ok(()),
            Some(node) => Err(Failure::new(format!("{} is there: {node:?}", show(name.as_ref())))),
        }
    }

    /// Fails unless the file at `path` holds `expected`.
    #[track_caller]
    pub fn holds(&self, path: impl AsRef<[u8]>, expected: impl AsRef<[u8]>) -> Outcome {
        let path = path.as_ref();
        same_bytes(&show(path), &self.read(path)?, expected.as_ref())
    }

    /// Creates a node of root's, mode 0644.
    pub fn make(&self, name: impl AsRef<[u8]>, kind: NewKind<'_>) -> Result<Node> {
        self.0.create(Name::new(name.as_ref())?, &NewNode::new(kind, 0o644))
    }

    /// Creates a file with `content`.
    pub fn file(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Result<File> {
        let node = self.make(name, NewKind::File)?;
        let file = File(node.as_file()?.clone());
        file.put(0, content)?;
        Ok(file)
    }

    /// Creates a directory, mode 0755.
    pub fn mkdir(&self, name: impl AsRef<[u8]>) -> Result<Dir> {
        let node = self.0.create(Name::new(name.as_ref())?, &NewNode::new(NewKind::Dir, 0o755))?;
        Ok(Dir(node.as_dir()?.clone()))
    }

    /// `unlink(2)`.
    pub fn unlink(&self, name: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove(Name::new(name.as_ref())?, Expect::NonDir)
    }

    /// `rmdir(2)`.
    pub fn rmdir(&self, name: impl AsRef<[u8]>) -> Result<()> {
        self.0.remove(Name::new(name.as_ref())?, Expect::EmptyDir)
    }

    /// `link(2)`.
    pub fn link(&self, name: impl AsRef<[u8]>, node: &Node) -> Result<()> {
        self.0.link(Name::new(name.as_ref())?, node)
    }

    /// `renameat2(2)`.
    pub fn rename(&self, name: impl AsRef<[u8]>, to: &Dir, new_name: impl AsRef<[u8]>, mode: RenameMode) -> Result<()> {
        let (name, new_name) = (Name::new(name.as_ref())?, Name::new(new_name.as_ref())?);
        self.0.rename(&RenameOp { name, to: &to.0, new_name, mode })
    }

    /// `rename(2)` in this directory.
    pub fn mv(&self, name: impl AsRef<[u8]>, new_name: impl AsRef<[u8]>) -> Result<()> {
        self.rename(name, self, new_name, RenameMode::Replace)
    }

    /// `rename(2)` to another directory.
    pub fn mv_to(&self, name: impl AsRef<[u8]>, to: &Dir, new_name: impl AsRef<[u8]>) -> Result<()> {
        self.rename(name, to, new_name, RenameMode::Replace)
    }

    /// `RENAME_EXCHANGE`.
    pub fn swap(&self, name: impl AsRef<[u8]>, to: &Dir, new_name: impl AsRef<[u8]>) -> Result<()> {
        self.rename(name, to, new_name, RenameMode::Exchange)
    }

    /// At most `limit` entries after `from`.
    #[track_caller]
    pub fn list_from(&self, from: u64, limit: usize) -> Outcome<Vec<Listed>> {
        let mut listed = Vec::new();
        self.0.read_dir(Cookie(from), &mut |entry: &DirEntry<'_>| {
            if listed.len() >= limit {
                return ControlFlow::Break(());
            }
            listed.push(Listed {
                name: entry.name.as_bytes().to_vec(),
                ino: entry.ino,
                kind: entry.kind.d_type(),
                next: entry.next.0,
            });
            ControlFlow::Continue(())
        })?;
        Ok(listed)
    }

    /// All entries, sorted by name.
    #[track_caller]
    pub fn list(&self) -> Outcome<Vec<Listed>> {
        let mut listed = self.list_from(0, usize::MAX)?;
        listed.sort();
        Ok(listed)
    }

    /// Fails unless the directory holds exactly `expected`, sorted.
    #[track_caller]
    pub fn lists(&self, expected: &[&str]) -> Outcome {
        let names: Vec<String> = self.list()?.iter().map(|entry| show(&entry.name)).collect();
        if names == expected {
            return Ok(());
        }
        Err(Failure::new(format!("directory lists {names:?} instead of {expected:?}")))
    }

    /// What an overlay needs.
    #[track_caller]
    pub fn upper(&self) -> Outcome<&dyn UpperDir> {
        self.0.as_upper().ok_or_else(|| Failure::new("as_upper gives nothing"))
    }
}

impl File {
    /// Writes all of `bytes` at `offset`.
    pub fn put(&self, offset: u64, bytes: impl AsRef<[u8]>) -> Result<()> {
        write_all(&*self.0, offset, bytes.as_ref())
    }

    /// Reads `len` bytes from `offset`; fewer are a failure.
    #[track_caller]
    pub fn get(&self, offset: u64, len: usize) -> Outcome<Vec<u8>> {
        let mut buf = vec![0xa5; len];
        let read = self.0.read_at(offset, &mut buf)?;
        if read == len {
            return Ok(buf);
        }
        Err(Failure::new(format!("read {read} of {len} bytes at {offset}")))
    }

    /// All of the content.
    #[track_caller]
    pub fn content(&self) -> Outcome<Vec<u8>> {
        let size = self.size()?;
        let content =
            self.get(0, usize::try_from(size).map_err(|_| Failure::new("file too large to be read whole"))?)?;
        Ok(content)
    }

    /// The size in bytes.
    #[track_caller]
    pub fn size(&self) -> Outcome<u64> {
        Ok(self.0.attr()?.size)
    }

    /// As a node.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::File(self.0.clone())
    }

    /// Fails unless it holds `expected`.
    #[track_caller]
    pub fn holds(&self, expected: impl AsRef<[u8]>) -> Outcome {
        same_bytes("file", &self.content()?, expected.as_ref())
    }
}

/// Fails at the first byte that differs, without showing megabytes.
#[track_caller]
pub fn same_bytes(what: &str, found: &[u8], expected: &[u8]) -> Outcome {
    if found == expected {
        return Ok(());
    }
    let differs = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    let around = |bytes: &[u8]| show(&bytes[differs.min(bytes.len())..(differs + 16).min(bytes.len())]);
    Err(Failure::new(format!(
        "{what}: {} bytes instead of {}, first difference at {differs}: \"{}\" instead of \"{}\"",
        found.len(),
        expected.len(),
        around(found),
        around(expected)
    )))
}

/// A change of the mode alone.
#[must_use]
pub const fn chmod(mode: u16) -> SetAttr {
    SetAttr { mode: Some(mode), uid: None, gid: None, atime: None, mtime: None }
}

/// Bytes that tell where they were written: no two aligned words of them are equal.
#[must_use]
pub fn pattern(offset: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| {
        let word = (at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word >> (8 * (at % 8))) as u8 | 1
    };
    (offset..offset + len as u64).map(byte).collect()
}
