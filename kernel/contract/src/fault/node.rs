//! The wrappers of files, symbolic links and special nodes, and what all wrappers forward alike.

use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::{
    AllocateMode, Attr, FileHandle, FileOps, InodeFlags, NodeId, NodeOps, OpenIntent, Result, SetAttr, SpecialOps,
    SymlinkOps, SyncKind, XattrMode, XattrSet,
};

use super::{Calls, Control};

/// A wrapper: `inner` and the control, and `NodeOps` forwarded to it.
macro_rules! wrapper {
    ($(#[$doc:meta])* $name:ident, $ops:ident) => {
        $(#[$doc])*
        pub struct $name {
            pub(super) inner: Arc<dyn $ops>,
            pub(super) control: Arc<Control>,
        }

        impl $name {
            pub(super) fn wrap(inner: Arc<dyn $ops>, control: &Arc<Control>) -> Arc<Self> {
                Arc::new(Self { inner, control: control.clone() })
            }

            /// The node behind it.
            #[must_use]
            pub fn inner(&self) -> &Arc<dyn $ops> {
                &self.inner
            }
        }

        impl NodeOps for $name {
            fn identity(&self) -> u64 {
                self.inner.identity()
            }

            fn id(&self) -> NodeId {
                self.inner.id()
            }

            fn attr(&self) -> Result<Attr> {
                self.control.enter(Calls::ATTR)?;
                self.inner.attr()
            }

            fn set_attr(&self, change: &SetAttr) -> Result<()> {
                self.control.enter(Calls::SET_ATTR)?;
                self.inner.set_attr(change)
            }

            fn set_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
                self.control.enter(Calls::SET_ATTR)?;
                self.inner.set_flags(flags, with)
            }

            fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
                self.control.enter(Calls::XATTR)?;
                self.inner.xattr(name)
            }

            fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
                self.control.enter(Calls::SET_XATTR)?;
                self.inner.set_xattr(name, value, mode)
            }

            fn remove_xattr(&self, name: &[u8]) -> Result<()> {
                self.control.enter(Calls::SET_XATTR)?;
                self.inner.remove_xattr(name)
            }

            fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
                self.control.enter(Calls::XATTR)?;
                self.inner.list_xattrs(each)
            }

            fn sync(&self, kind: SyncKind) -> Result<()> {
                self.control.enter(Calls::SYNC)?;
                self.inner.sync(kind)
            }

            fn note_access(&self) {
                // It has no way to fail; a plan that names it is spent in vain.
                let _ = self.control.enter(Calls::NOTE_ACCESS);
                self.inner.note_access();
            }

            fn handle(&self) -> Option<FileHandle> {
                self.inner.handle()
            }
        }
    };
}

pub(super) use wrapper;

wrapper! {
    /// A regular file of the wrapped filesystem.
    FaultFile, FileOps
}

wrapper! {
    /// A symbolic link of the wrapped filesystem.
    FaultSymlink, SymlinkOps
}

wrapper! {
    /// A special node of the wrapped filesystem.
    FaultSpecial, SpecialOps
}

impl FileOps for FaultFile {
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        self.control.enter(Calls::OPEN)?;
        self.inner.prepare_open(intent)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.control.enter(Calls::READ)?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.control.enter(Calls::WRITE)?;
        self.inner.write_at(offset, data)
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        self.control.enter(Calls::WRITE)?;
        self.inner.append(data)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.control.enter(Calls::RESIZE)?;
        self.inner.set_len(len)
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.control.enter(Calls::RESIZE)?;
        self.inner.allocate(mode, offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        self.control.enter(Calls::READ)?;
        self.inner.seek_data(offset)
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.control.enter(Calls::READ)?;
        self.inner.seek_hole(offset)
    }
}

impl SymlinkOps for FaultSymlink {
    fn target(&self) -> Result<Vec<u8>> {
        self.control.enter(Calls::TARGET)?;
        self.inner.target()
    }
}

impl SpecialOps for FaultSpecial {}
