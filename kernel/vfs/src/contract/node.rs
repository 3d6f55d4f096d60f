//! Nodes: an enum by kind, so that no method exists only to answer `ENOTDIR`.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use crate::{
    Attr, DirOps, Errno, ErrorSequence, FileHandle, FileOps, FileType, InodeFlags, Location, Result, SetAttr, XattrSet,
};

/// What programs see an inode as: device and inode number. Names that an overlay will part at copy-up show one number for as long
/// as they have not parted; which objects are one tells [`NodeOps::identity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// The filesystem's device, as in [`Attr::dev`].
    pub dev: u64,
    /// Its inode number, as in [`Attr::ino`].
    pub ino: u64,
}

/// An inode of any kind. Cloning shares it. While a clone lives the inode does, unlinked or not; the last
/// drop of an unlinked one gives its space back.
#[derive(Clone)]
pub enum Node {
    /// Regular file.
    File(Arc<dyn FileOps>),
    /// Directory.
    Dir(Arc<dyn DirOps>),
    /// Symbolic link.
    Symlink(Arc<dyn SymlinkOps>),
    /// Device, named pipe or socket.
    Special(Arc<dyn SpecialOps>),
}

impl Node {
    /// What every kind can do.
    #[must_use]
    pub fn ops(&self) -> &dyn NodeOps {
        match self {
            Self::File(node) => &**node,
            Self::Dir(node) => &**node,
            Self::Symlink(node) => &**node,
            Self::Special(node) => &**node,
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.ops().id()
    }

    /// Its attributes.
    ///
    /// # Errors
    /// `EIO` or `EUCLEAN` where the medium fails.
    pub fn attr(&self) -> Result<Attr> {
        self.ops().attr()
    }

    /// Its type, without a read of the inode; the kinds of special nodes need one.
    ///
    /// # Errors
    /// As [`attr`](Self::attr).
    pub fn file_type(&self) -> Result<FileType> {
        Ok(match self {
            Self::File(_) => FileType::File,
            Self::Dir(_) => FileType::Dir,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(_) => self.attr()?.kind,
        })
    }

    /// The directory.
    ///
    /// # Errors
    /// `ENOTDIR` for every other kind.
    pub fn as_dir(&self) -> Result<&Arc<dyn DirOps>> {
        match self {
            Self::Dir(dir) => Ok(dir),
            _ => Err(Errno::ENOTDIR.into()),
        }
    }

    /// The regular file.
    ///
    /// # Errors
    /// `EISDIR` for a directory, `EINVAL` for the rest.
    pub fn as_file(&self) -> Result<&Arc<dyn FileOps>> {
        match self {
            Self::File(file) => Ok(file),
            Self::Dir(_) => Err(Errno::EISDIR.into()),
            _ => Err(Errno::EINVAL.into()),
        }
    }

    /// The filesystem's own type behind this node, if it is a `T`.
    #[must_use]
    pub fn downcast_ref<T: NodeOps>(&self) -> Option<&T> {
        (self.ops() as &dyn Any).downcast_ref()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::File(_) => "File",
            Self::Dir(_) => "Dir",
            Self::Symlink(_) => "Symlink",
            Self::Special(_) => "Special",
        };
        let id = self.id();
        write!(f, "{kind}({:#x}:{})", id.dev, id.ino)
    }
}

/// How far a `sync` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// The data, and what is needed to read it back (`fdatasync(2)`).
    Data,
    /// Data and all attributes (`fsync(2)`).
    All,
}

/// What must hold for a `set_xattr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// `XATTR_CREATE`: `EEXIST` if there.
    Create,
    /// `XATTR_REPLACE`: `ENODATA` if absent.
    Replace,
}

/// What every inode can do. Names of extended attributes are whole (`user.mime`), and no permission is checked here.
pub trait NodeOps: Any + Send + Sync {
    /// Its device and number: no I/O, never fails.
    fn id(&self) -> NodeId;

    /// Which object of its filesystem it is: equal exactly for the handles of one object, and the same for as long as a handle lives.
    /// The inode number, unless the filesystem's numbers are not so.
    fn identity(&self) -> u64 {
        self.id().ino
    }

    /// Its attributes. `dev` and `ino` are those of [`id`](Self::id).
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN` from the medium.
    fn attr(&self) -> Result<Attr>;

    /// Changes attributes, all or none.
    ///
    /// # Errors
    /// `EROFS`, `ENOSPC`, `EIO`.
    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    /// Sets the flags, and with them one extended attribute: all or nothing, in one step. Those of [`Attr::flags`] that are shown but
    /// cannot be changed stay, whatever is said of them. Sets ctime to now.
    ///
    /// # Errors
    /// `ENOTTY` where the inode keeps none; `EOPNOTSUPP` for one that it cannot have; `EROFS`, `EIO`; those of
    /// [`set_xattr`](Self::set_xattr).
    fn set_flags(&self, _flags: InodeFlags, _with: Option<XattrSet<'_>>) -> Result<()> {
        Err(Errno::ENOTTY.into())
    }

    /// The value of an extended attribute, `None` if it has none of the name.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the filesystem keeps none of this class; `EIO`, `EUCLEAN`.
    fn xattr(&self, _name: &[u8]) -> Result<Option<Vec<u8>>> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// `EEXIST`, `ENODATA` by mode; `ENOSPC` or `E2BIG` where it does not fit; `ERANGE` for a name over 255 bytes;
    /// `EOPNOTSUPP`, `EROFS`, `EIO`.
    fn set_xattr(&self, _name: &[u8], _value: &[u8], _mode: XattrMode) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Removes an extended attribute. An access control list ([`acl`](crate::acl)) that is not there is no error and no change; an
    /// overlay alone says `ENODATA` of one, where the file is in a lower layer.
    ///
    /// # Errors
    /// `ENODATA` if absent; `EOPNOTSUPP`, `EROFS`, `EIO`.
    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// Calls `each` with the name of every extended attribute.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn list_xattrs(&self, _each: &mut dyn FnMut(&[u8])) -> Result<()> {
        Ok(())
    }

    /// Makes what was changed durable. That data was lost on the way to the medium is no error of this call, whoever brought it there: it
    /// is among the [`write_errors`](Self::write_errors), and [`sync_and_tell`](crate::sync_and_tell) asks for both.
    ///
    /// # Errors
    /// `EIO`, `EROFS` after an error that stopped the filesystem.
    fn sync(&self, _kind: SyncKind) -> Result<()> {
        Ok(())
    }

    /// What of the content could not be written to the medium after it had been taken; `None` where that cannot be.
    fn write_errors(&self) -> Option<&ErrorSequence> {
        None
    }

    /// Tells that the content was read: the filesystem updates atime as `relatime` says, if it keeps one and the inode is not
    /// [`InodeFlags::NOATIME`].
    fn note_access(&self) {}

    /// A handle that finds this inode again after a remount, where the filesystem can make one.
    fn handle(&self) -> Option<FileHandle> {
        None
    }
}

/// What following a symbolic link means.
pub enum Lead {
    /// To go on with its text.
    Text,
    /// The same, of a link that stands for more than its text (`/proc/self/exe`), which `RESOLVE_NO_MAGICLINKS` refuses.
    Magic,
    /// To be at this place, whatever its text says: at the file behind a descriptor (`/proc/self/fd/N`), which may have no name.
    /// `RESOLVE_NO_MAGICLINKS` refuses it.
    Place(Location),
}

/// A symbolic link.
pub trait SymlinkOps: NodeOps {
    /// The target: 1 to 4,095 bytes.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn target(&self) -> Result<Vec<u8>>;

    /// What following it means. Asked of [volatile](crate::FileSystem::is_volatile) filesystems only.
    ///
    /// # Errors
    /// `ENOENT` where what it stood for is gone; `EACCES`.
    fn lead(&self) -> Result<Lead> {
        Ok(Lead::Text)
    }
}

/// A device, named pipe or socket: a name and attributes; what is behind it is not the filesystem's.
pub trait SpecialOps: NodeOps {}
