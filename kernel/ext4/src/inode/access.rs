//! Access times. Whoever reads does not wait for a commit: the time goes into the record in memory, and the inode into a list that
//! the next tick, sync or unmount works off.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use vfs::Timestamp;

use super::Inode;
use crate::fs::Ext4;
use crate::transaction::{Core, Locks, Try};

/// Metadata blocks that a time touches.
const CREDITS: usize = 1;
/// Inodes that the list has at most; the time of others gets to the disk only if they change in other ways.
const MOST: usize = 4096;

impl Ext4 {
    /// Sets the access time of an inode.
    pub(crate) fn note_access(&self, inode: &Arc<Inode>, now: Timestamp) {
        inode.record.write().atime = now;
        if !inode.is_accessed.swap(true, Ordering::Relaxed) {
            let mut accessed = self.accessed.lock();
            if accessed.len() < MOST {
                accessed.push(inode.clone());
            } else {
                inode.is_accessed.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Makes the access times that were set since the last time part of the running transaction.
    pub(crate) fn keep_accesses(&self, core: &mut Core) {
        let accessed = core::mem::take(&mut *self.accessed.lock());
        for inode in accessed {
            inode.is_accessed.store(false, Ordering::Relaxed);
            // What has no name may be gone; an access time that cannot be kept is no reason to fail.
            if !inode.is_nameless() && self.check_writable().is_ok() && self.make_room(core, CREDITS).is_ok() {
                let _ = self.run(core, &Locks::default(), Try::Last, |h| h.touch(&inode));
            }
        }
    }
}
