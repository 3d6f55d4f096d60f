//! Where a scan stands: a mount and a dentry, by reference for as long as the topology is locked.

use alloc::sync::Arc;
use core::ops::Deref;

use super::LookupFlags;
use crate::dentry::Dentry;
use crate::mount::{Location, Mount};
use crate::topology::Topology;
use crate::{Errno, Result};

/// A reference into the topology, or a share of one's own.
pub(super) enum Held<'g, T> {
    Ref(&'g Arc<T>),
    Own(Arc<T>),
}

impl<T> Held<'_, T> {
    pub(super) fn into_owned(self) -> Arc<T> {
        match self {
            Self::Ref(shared) => shared.clone(),
            Self::Own(own) => own,
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = Arc<T>;

    #[inline]
    fn deref(&self) -> &Arc<T> {
        match self {
            Self::Ref(shared) => shared,
            Self::Own(own) => own,
        }
    }
}

/// Where a scan stands.
pub(super) struct Cursor<'g> {
    pub(super) mount: Held<'g, Mount>,
    pub(super) dentry: Held<'g, Dentry>,
}

impl<'g> Cursor<'g> {
    pub(super) fn at(location: &'g Location) -> Self {
        Self { mount: Held::Ref(&location.mount), dentry: Held::Ref(&location.dentry) }
    }

    pub(super) fn is(&self, location: &Location) -> bool {
        Arc::ptr_eq(&self.dentry, &location.dentry) && Arc::ptr_eq(&self.mount, &location.mount)
    }

    pub(super) fn into_location(self) -> Location {
        Location { mount: self.mount.into_owned(), dentry: self.dentry.into_owned() }
    }

    /// Onto what is mounted here, if anything.
    #[inline]
    pub(super) fn cross(&mut self, topology: &'g Topology, flags: LookupFlags) -> Result<()> {
        while let Some(mount) = topology.mount_at(&self.mount, &self.dentry) {
            if flags.contains(LookupFlags::NO_XDEV) {
                return Err(Errno::EXDEV.into());
            }
            if !flags.contains(LookupFlags::EXPIRING) {
                mount.note_use();
            }
            self.dentry = Held::Ref(&mount.root);
            self.mount = Held::Ref(mount);
        }
        Ok(())
    }

    /// To the directory above, through mounts, not above `root`.
    pub(super) fn up(&mut self, topology: &'g Topology, root: &Location, flags: LookupFlags) -> Result<()> {
        loop {
            if self.is(root) {
                if flags.contains(LookupFlags::BENEATH) {
                    return Err(Errno::EXDEV.into());
                }
                break;
            }
            if !Arc::ptr_eq(&self.dentry, &self.mount.root) {
                if let Some(parent) = self.dentry.parent() {
                    self.dentry = Held::Own(parent);
                }
                break;
            }
            match self.mount.on() {
                Some(_) if flags.contains(LookupFlags::NO_XDEV) => return Err(Errno::EXDEV.into()),
                Some(below) => {
                    self.mount = Held::Own(below.mount);
                    self.dentry = Held::Own(below.dentry);
                }
                None if flags.contains(LookupFlags::BENEATH) => return Err(Errno::EXDEV.into()),
                None => break,
            }
        }
        self.cross(topology, flags)
    }
}
