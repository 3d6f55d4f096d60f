//! Directories. `.` and `..` belong to the namespace: no filesystem sees or returns them.

use alloc::sync::Arc;
use core::ops::ControlFlow;

use crate::{Errno, FileType, Name, NewNode, Node, NodeOps, Result, UpperDir};

/// A place in the stream of a directory's entries, opaque but to its filesystem.
///
/// [`START`](Self::START) begins. 1 and 2 are never used, for the namespace puts `.` and `..` there; the rest, up to
/// `i64::MAX`, are the filesystem's, and stay valid while the directory changes: an entry that is there
/// throughout is returned exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cookie(pub u64);

impl Cookie {
    /// Before the first entry.
    pub const START: Self = Self(0);
    /// The smallest value that a filesystem may hand out.
    pub const FIRST: u64 = 3;
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// The inode number, equal to what [`NodeOps::attr`] reports.
    pub ino: u64,
    /// The type.
    pub kind: FileType,
    /// Where to go on after this entry.
    pub next: Cookie,
}

/// Takes entries until it has enough. It must not call back into the directory.
pub trait DirSink {
    /// Takes one entry, or `Break`s without taking it.
    fn entry(&mut self, entry: &DirEntry<'_>) -> ControlFlow<()>;
}

impl<F: FnMut(&DirEntry<'_>) -> ControlFlow<()>> DirSink for F {
    fn entry(&mut self, entry: &DirEntry<'_>) -> ControlFlow<()> {
        self(entry)
    }
}

/// What the caller takes a name to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything but a directory (`unlink(2)`): `EISDIR` for one.
    NonDir,
    /// An empty directory (`rmdir(2)`): `ENOTDIR`, `ENOTEMPTY` else.
    EmptyDir,
}

/// What a rename does with the target name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces what is there: a directory only by a directory and if empty.
    Replace,
    /// `RENAME_NOREPLACE`: `EEXIST` if anything is there.
    NoReplace,
    /// `RENAME_EXCHANGE`: both must be there, and change places.
    Exchange,
}

/// A rename inside one filesystem. The namespace has refused cycles (a directory moved below itself).
#[derive(Clone, Copy)]
pub struct RenameOp<'a> {
    /// The entry that moves, in the directory on which the method is called.
    pub name: Name<'a>,
    /// The directory it moves to; may be the same.
    pub to: &'a Arc<dyn DirOps>,
    /// Its new name.
    pub new_name: Name<'a>,
    /// What becomes of the target.
    pub mode: RenameMode,
}

/// A directory. Changes of entries set its mtime and ctime. Nothing can be created in a removed directory: `ENOENT`.
pub trait DirOps: NodeOps {
    /// The node behind `name`; `None` is certain absence.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`; never `ENOENT`.
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>>;

    /// Gives `sink` the entries after `from`, in the filesystem's order, until it breaks or they end.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`; `EINVAL` for a cookie that was never handed out, if noticed.
    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()>;

    /// Creates an entry and its inode.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` in a removed directory, `ENOSPC`, `EMLINK`, `ENAMETOOLONG`, `EROFS`, `EIO`.
    fn create(&self, _name: Name<'_>, _new: &NewNode<'_>) -> Result<Node> {
        Err(Errno::EROFS.into())
    }

    /// Creates an inode without a name (`O_TMPFILE`): `link` may give it one; the last drop frees it.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `ENOSPC`, `EROFS`, `EIO`.
    fn create_unnamed(&self, _new: &NewNode<'_>) -> Result<Node> {
        Err(Errno::EROFS.into())
    }

    /// Gives `node`, of this filesystem and not a directory, one more name.
    ///
    /// # Errors
    /// `EEXIST`; `EMLINK`; `EXDEV` for another filesystem's node; `EPERM` for a directory; `ENOENT` for an unlinked
    /// inode that was not made by [`create_unnamed`](Self::create_unnamed); `ENOSPC`, `EROFS`, `EIO`.
    fn link(&self, _name: Name<'_>, _node: &Node) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// `ENOENT`; `EISDIR`, `ENOTDIR`, `ENOTEMPTY` by `expect`; `EROFS`, `EIO`.
    fn remove(&self, _name: Name<'_>, _expect: Expect) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    /// Renames an entry. Two names of one inode: nothing happens, successfully, except under `Exchange`'s and
    /// `NoReplace`'s own rules (POSIX `rename`).
    ///
    /// # Errors
    /// `ENOENT`; `EXDEV` where `to` is of another filesystem; `EEXIST`, `EISDIR`, `ENOTDIR`, `ENOTEMPTY` by what is at the
    /// target; `EMLINK`, `ENOSPC`, `EROFS`, `EIO`.
    fn rename(&self, _op: &RenameOp<'_>) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    /// What an overlay's upper layer needs beyond, where this filesystem offers it.
    fn as_upper(&self) -> Option<&dyn UpperDir> {
        None
    }
}
