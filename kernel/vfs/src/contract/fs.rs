//! A mounted filesystem as a whole.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;

use crate::{Clock, DirOps, Errno, ErrorSequence, NAME_MAX, Node, Result};

/// What a filesystem is given when it is mounted.
#[derive(Clone)]
pub struct FsContext {
    /// The device it reports in [`crate::Attr::dev`], encoded.
    pub dev: u64,
    /// Where its timestamps come from.
    pub clock: Arc<dyn Clock>,
}

/// What `statfs(2)` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// `f_type`, the magic number of `<linux/magic.h>`.
    pub magic: u64,
    /// Unit of the block counts, in bytes.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for the unprivileged.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// The longest name, in bytes.
    pub name_max: u32,
    /// `f_fsid`.
    pub id: u64,
}

impl StatFs {
    /// A filesystem without space of its own.
    #[must_use]
    pub const fn none(magic: u64) -> Self {
        Self {
            magic,
            block_size: 4096,
            blocks: 0,
            blocks_free: 0,
            blocks_available: 0,
            files: 0,
            files_free: 0,
            name_max: NAME_MAX as u32,
            id: 0,
        }
    }
}

/// What finds an inode again after a remount (`name_to_handle_at(2)`): meaningful with the filesystem's UUID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileHandle {
    /// Which encoding, the filesystem's own choice (`enum fid_type` of `<linux/exportfs.h>`).
    pub kind: u8,
    /// The encoding, at most 128 bytes.
    pub bytes: Box<[u8]>,
}

/// Which free space the medium shall be told of (`struct fstrim_range` of `<linux/fs.h>`), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// Where on the medium to begin.
    pub start: u64,
    /// How much of it to look at.
    pub len: u64,
    /// Free pieces that are shorter stay as they are.
    pub least: u64,
}

/// A mounted filesystem.
pub trait FileSystem: Any + Send + Sync {
    /// Its type as `mount(2)` names it.
    fn type_name(&self) -> &'static str;

    /// The root directory.
    fn root(&self) -> Arc<dyn DirOps>;

    /// Space and limits.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn statfs(&self) -> Result<StatFs>;

    /// Makes everything durable (`syncfs(2)`), as far as it can be: data that was lost is among the
    /// [`write_errors`](Self::write_errors).
    ///
    /// # Errors
    /// `EIO`.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// What of any file's content could not be written to the medium; `None` where that cannot be.
    fn write_errors(&self) -> Option<&ErrorSequence> {
        None
    }

    /// Tells the medium which of its space is free (`FITRIM`); returns how many bytes it was told of.
    ///
    /// # Errors
    /// `ENOTTY` where there is nothing that could be told, `EOPNOTSUPP` for a medium that does not listen; `EINVAL` for an impossible
    /// range; `EROFS`, `EIO`.
    fn trim(&self, _trim: Trim) -> Result<u64> {
        Err(Errno::ENOTTY.into())
    }

    /// Writes everything and marks the medium clean. Nothing may use the filesystem afterwards.
    ///
    /// # Errors
    /// `EIO`: the medium is then not marked clean.
    fn unmount(&self) -> Result<()> {
        self.sync()
    }

    /// Whether every change answers `EROFS`; may become true when an error stops the filesystem.
    fn is_read_only(&self) -> bool;

    /// Whether names, targets of links and owners change by themselves, because the filesystem is a view of something
    /// else (`/proc`): callers then keep nothing of them, and ask each time.
    fn is_volatile(&self) -> bool {
        false
    }

    /// The UUID that goes into handles; all zero where it has none.
    fn uuid(&self) -> [u8; 16] {
        [0; 16]
    }

    /// The inode of a handle; `None` if it is gone or the handle is not of this filesystem.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn node_by_handle(&self, _handle: &FileHandle) -> Result<Option<Node>> {
        Ok(None)
    }
}
