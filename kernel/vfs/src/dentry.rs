//! Dentries: a name in a directory, and the inode behind it or the certainty that there is none.
//!
//! A dentry's identity and inode never change; its place does, by rename, under the exclusive lock of the
//! [`Topology`](crate::topology::Topology). Whoever uses one (an open file, a current directory, a mount, a child) holds an `Arc`, and
//! so keeps its ancestors.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base::sync::RwLock;

use crate::Result;
use crate::inode::Inode;

/// Where a dentry hangs.
pub(crate) struct Place {
    /// `None` for the root of a filesystem.
    pub(crate) parent: Option<Arc<Dentry>>,
    /// Empty for the root of a filesystem.
    pub(crate) name: Arc<[u8]>,
}

/// Whether what a filesystem said of a name is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// It holds until a call changes it.
    Kept,
    /// It is asked each time: [`FileSystem::is_volatile`](crate::FileSystem::is_volatile).
    Asked,
}

/// A name, and what is behind it.
pub(crate) struct Dentry {
    pub(crate) id: u64,
    pub(crate) superblock: u64,
    pub(crate) caching: Caching,
    inode: Option<Arc<Inode>>,
    place: RwLock<Place>,
    /// How many mounts sit here, in any part of the tree.
    mounted: AtomicU32,
    /// The name was removed, or never was (`O_TMPFILE`).
    unlinked: AtomicBool,
    /// It was used since the clock hand passed last.
    referenced: AtomicBool,
}

impl Dentry {
    pub(crate) fn new(
        id: u64,
        superblock: u64,
        caching: Caching,
        inode: Option<Arc<Inode>>,
        place: Place,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            superblock,
            caching,
            inode,
            place: RwLock::new(place),
            mounted: AtomicU32::new(0),
            unlinked: AtomicBool::new(false),
            referenced: AtomicBool::new(true),
        })
    }

    /// The inode; `None` for a negative dentry.
    #[inline]
    pub(crate) fn inode(&self) -> Option<&Arc<Inode>> {
        self.inode.as_ref()
    }

    /// The inode, `ENOENT` for a negative dentry.
    pub(crate) fn positive(&self) -> Result<&Arc<Inode>> {
        self.inode.as_ref().ok_or_else(|| crate::Errno::ENOENT.into())
    }

    /// The target of the symbolic link; `EINVAL` for other kinds.
    pub(crate) fn target(&self) -> Result<Arc<[u8]>> {
        let inode = self.positive()?;
        match self.caching {
            Caching::Kept => inode.target().cloned(),
            Caching::Asked => inode.read_target(),
        }
    }

    /// Whether this is what `parent` has under `name`.
    pub(crate) fn is_at(&self, parent: &Arc<Dentry>, name: &[u8]) -> bool {
        let place = self.place.read();
        place.parent.as_ref().is_some_and(|own| Arc::ptr_eq(own, parent)) && *place.name == *name
    }

    pub(crate) fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.read().parent.clone()
    }

    pub(crate) fn name(&self) -> Arc<[u8]> {
        self.place.read().name.clone()
    }

    /// Moves it; the caller holds the topology exclusively.
    pub(crate) fn set_place(&self, place: Place) -> Place {
        core::mem::replace(&mut *self.place.write(), place)
    }

    pub(crate) fn is_unlinked(&self) -> bool {
        self.unlinked.load(Ordering::Acquire)
    }

    pub(crate) fn set_unlinked(&self, unlinked: bool) {
        self.unlinked.store(unlinked, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_mounted_on(&self) -> bool {
        self.mounted.load(Ordering::Acquire) != 0
    }

    pub(crate) fn add_mount(&self) {
        self.mounted.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_mount(&self) {
        self.mounted.fetch_sub(1, Ordering::AcqRel);
    }

    #[inline]
    pub(crate) fn touch(&self) {
        if !self.referenced.load(Ordering::Relaxed) {
            self.referenced.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was used since the last time this was asked.
    pub(crate) fn take_referenced(&self) -> bool {
        self.referenced.swap(false, Ordering::Relaxed)
    }

    /// Whether `self` is `other` or above it in one filesystem. The caller holds the rename mutex or the topology.
    pub(crate) fn is_ancestor_of(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = other.clone();
        loop {
            if Arc::ptr_eq(self, &at) {
                return true;
            }
            match at.parent() {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }
}

impl Drop for Dentry {
    /// Lets go of the ancestors in a loop: a chain of removed directories can be longer than a stack is deep.
    fn drop(&mut self) {
        let mut next = self.place.get_mut().parent.take();
        while let Some(parent) = next {
            match Arc::into_inner(parent) {
                Some(mut parent) => next = parent.place.get_mut().parent.take(),
                None => break,
            }
        }
    }
}
