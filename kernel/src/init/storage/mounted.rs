//! Filesystems of disks as `mount(2)` hands them out.

use alloc::sync::Arc;

use ext4::Ext4;
use vfs::{DirOps, ErrorSequence, FileHandle, FileSystem, Node, Result, StatFs, Trim};

use crate::dev;

/// Whose a mounted disk is.
pub(super) enum Hold {
    /// The mount's own: the disk of this number, which is free again after it.
    Own(usize),
    /// The root's, which outlives the mount and changes through the overlay alone: it is there to be looked at.
    View,
}

/// A filesystem that is mounted beside the root. Everything is the filesystem's own answer, but what [`Hold`] forbids.
pub(super) struct Mounted {
    fs: Arc<Ext4>,
    hold: Hold,
}

impl Mounted {
    /// Mounts a filesystem; a disk of the mount's own was claimed.
    pub(super) fn new(fs: Arc<Ext4>, hold: Hold) -> Self {
        Self { fs, hold }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Hold::Own(index) = self.hold {
            dev::release_disk(index);
        }
    }
}

impl FileSystem for Mounted {
    fn type_name(&self) -> &'static str {
        self.fs.type_name()
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.fs.root()
    }

    fn statfs(&self) -> Result<StatFs> {
        self.fs.statfs()
    }

    fn sync(&self) -> Result<()> {
        self.fs.sync()
    }

    fn trim(&self, trim: Trim) -> Result<u64> {
        self.fs.trim(trim)
    }

    fn write_errors(&self) -> Option<&ErrorSequence> {
        self.fs.write_errors()
    }

    fn unmount(&self) -> Result<()> {
        match self.hold {
            Hold::Own(_) => self.fs.unmount(),
            Hold::View => self.fs.sync(),
        }
    }

    fn is_read_only(&self) -> bool {
        match self.hold {
            Hold::Own(_) => self.fs.is_read_only(),
            Hold::View => true,
        }
    }

    fn is_volatile(&self) -> bool {
        // What is shown of the root's disk changes beside this mount.
        matches!(self.hold, Hold::View) || self.fs.is_volatile()
    }

    fn uuid(&self) -> [u8; 16] {
        self.fs.uuid()
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        self.fs.node_by_handle(handle)
    }
}
