//! What an overlay asks of its upper layer beyond [`DirOps`]: the steps that Linux overlayfs makes out of several
//! through a work directory, each as one transaction. A whiteout is a character device 0/0, seen as such by
//! [`DirOps::lookup`] and [`DirOps::read_dir`].

use alloc::sync::Arc;

use crate::{DirOps, Name, NewNode, Node, Result};

/// What a new name may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Nothing: `EEXIST` for any entry, a whiteout included.
    Nothing,
    /// A whiteout, or nothing: `EEXIST` for the rest.
    Whiteout,
}

/// What of a directory's times changes with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// mtime and ctime, as for every change.
    Touched,
    /// None: a copy-up does not show in the parent.
    Untouched,
}

/// On which inode of an operation an extended attribute is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The node that is published or moved.
    Moved,
    /// The node at the target that an exchange moves the other way.
    Exchanged,
    /// The directory where the moved node was.
    OldParent,
    /// The directory where it arrives.
    NewParent,
}

/// A change of an extended attribute that belongs to the same transaction.
#[derive(Debug, Clone, Copy)]
pub struct XattrChange<'a> {
    /// Whose.
    pub subject: Subject,
    /// Full name.
    pub name: &'a [u8],
    /// The new value; `None` removes it, if there.
    pub value: Option<&'a [u8]>,
}

/// How a staged node gets its name.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// What may be at the name.
    pub over: Over,
    /// What of the parent's times changes.
    pub parent: Parent,
    /// Extended attributes set with it.
    pub xattrs: &'a [XattrChange<'a>],
}

/// What a whiteout takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The name is absent in the upper (its entry is a lower one): `EEXIST` if not.
    Absent,
    /// An upper entry that is not a directory: `ENOENT`, `EISDIR` if not.
    NonDir,
    /// An upper directory that holds nothing but whiteouts, which go with it: `ENOENT`, `ENOTDIR`, `ENOTEMPTY` if not.
    Dir,
}

/// What a moved entry leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLeft {
    /// Nothing.
    Nothing,
    /// A whiteout, for a lower layer has the name.
    Whiteout,
}

/// What an upper rename does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpperRenameMode {
    /// The entry moves. What is at the target goes: nothing, a whiteout, a non-directory under a non-directory, or, under
    /// a directory, a directory that holds nothing but whiteouts.
    Move(SourceLeft),
    /// The two entries change places.
    Exchange,
}

/// A rename in the upper, one transaction with all that the overlay records about it.
#[derive(Clone, Copy)]
pub struct UpperRename<'a> {
    /// The entry that moves, in the directory on which the method is called.
    pub name: Name<'a>,
    /// The directory it moves to; may be the same.
    pub to: &'a Arc<dyn DirOps>,
    /// Its new name.
    pub new_name: Name<'a>,
    /// What happens at both ends.
    pub mode: UpperRenameMode,
    /// Extended attributes changed with it (redirect, opaque, impure).
    pub xattrs: &'a [XattrChange<'a>],
}

/// A directory of a filesystem that can be an overlay's upper layer. Each method is one atomic, crash-safe step: wholly
/// done or not at all, on disk as in memory. All errors are those of the [`DirOps`] method it resembles.
pub trait UpperDir: DirOps {
    /// Makes an inode that has no name yet, near this directory; unlike [`DirOps::create_unnamed`] of any kind, directories
    /// included. It is filled through its own operations, then [`publish`](Self::publish)ed. Dropped before that, or cut
    /// off by a crash, it leaves nothing.
    ///
    /// # Errors
    /// `ENOSPC`, `EROFS`, `EIO`.
    fn stage(&self, new: &NewNode<'_>) -> Result<Node>;

    /// Gives a staged node its name here.
    ///
    /// # Errors
    /// `EEXIST` by `how.over`; `ENOENT` in a removed directory; `EXDEV`, `EMLINK`, `ENOSPC`, `EROFS`, `EIO`.
    fn publish(&self, name: Name<'_>, node: &Node, how: &Publish<'_>) -> Result<()>;

    /// As [`DirOps::create`], a whiteout at the name replaced.
    ///
    /// # Errors
    /// `EEXIST` for anything but a whiteout; as `create`.
    fn create_over(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node>;

    /// As [`DirOps::link`], a whiteout at the name replaced.
    ///
    /// # Errors
    /// `EEXIST` for anything but a whiteout; as `link`.
    fn link_over(&self, name: Name<'_>, node: &Node) -> Result<()>;

    /// Puts a whiteout at the name, in place of what `victim` says. The filesystem may share one inode among whiteouts.
    ///
    /// # Errors
    /// By `victim`; `ENOSPC`, `EROFS`, `EIO`.
    fn whiteout(&self, name: Name<'_>, victim: Victim) -> Result<()>;

    /// Removes a directory that holds nothing but whiteouts, with them, and leaves no whiteout.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`; `EROFS`, `EIO`.
    fn remove_with_whiteouts(&self, name: Name<'_>) -> Result<()>;

    /// Renames, with whiteout and extended attributes, in one step.
    ///
    /// # Errors
    /// As [`DirOps::rename`].
    fn rename_upper(&self, op: &UpperRename<'_>) -> Result<()>;
}
