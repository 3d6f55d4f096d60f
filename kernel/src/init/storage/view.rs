//! Filesystems as `mount(2)` hands them out: [`Claimed`] gives its disk free when it is unmounted, [`View`] shows one that
//! belongs to the root and outlives the mount.

use alloc::sync::Arc;

use ext4::Ext4;
use vfs::{DirOps, FileHandle, FileSystem, Node, Result, StatFs};

use crate::dev;

/// A filesystem with a disk of its own.
pub(super) struct Claimed {
    fs: Arc<Ext4>,
    index: usize,
}

impl Claimed {
    /// Takes over a disk that was claimed.
    pub(super) fn new(fs: Arc<Ext4>, index: usize) -> Self {
        Self { fs, index }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        dev::release_disk(self.index);
    }
}

impl FileSystem for Claimed {
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

    fn unmount(&self) -> Result<()> {
        self.fs.unmount()
    }

    fn is_read_only(&self) -> bool {
        self.fs.is_read_only()
    }

    fn uuid(&self) -> [u8; 16] {
        self.fs.uuid()
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        self.fs.node_by_handle(handle)
    }
}

/// The root's disk, to look at.
pub(super) struct View {
    fs: Arc<Ext4>,
}

impl View {
    /// A view of a filesystem that is mounted.
    pub(super) fn new(fs: Arc<Ext4>) -> Self {
        Self { fs }
    }
}

impl FileSystem for View {
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

    fn unmount(&self) -> Result<()> {
        // It goes on to serve the root.
        self.fs.sync()
    }

    fn is_read_only(&self) -> bool {
        true
    }

    fn uuid(&self) -> [u8; 16] {
        self.fs.uuid()
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        self.fs.node_by_handle(handle)
    }
}
