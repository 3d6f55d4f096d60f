//! The end of inodes: what nobody names and nobody holds is freed. Unlinking is one thing, this is another.
//!
//! A dropped node puts its inode's number into a queue. Whoever next holds the core lock works it off: the dropping thread
//! itself if the lock is free, else the one that has it.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use vfs::{Result, SyncKind};

use super::Inode;
use crate::extent::Progress;
use crate::fs::Ext4;
use crate::space::window;
use crate::transaction::Core;

/// Metadata blocks that freeing an inode may change in one handle.
const CREDITS: usize = 64;

impl Inode {
    /// Whether no name leads here.
    pub(crate) fn is_nameless(&self) -> bool {
        self.is_staged() || self.record.read().links == 0
    }
}

impl Ext4 {
    /// The last node of an inode is gone.
    pub(crate) fn node_dropped(&self, inode: &Arc<Inode>) {
        if inode.is_nameless() || inode.has_window.load(Ordering::Relaxed) {
            self.dropped.lock().push(inode.ino);
            self.try_reap();
        } else {
            // The table's reference and the node's own.
            self.inodes.release(inode, |_| Arc::strong_count(inode) > 2);
        }
    }

    /// Queues an inode that lost its last name, in case that nobody holds it.
    pub(crate) fn queue_reap(&self, inode: &Inode) {
        self.dropped.lock().push(inode.ino);
    }

    /// Works the queue off if nobody has the core lock.
    pub(crate) fn try_reap(&self) {
        while !self.dropped.lock().is_empty() {
            let Some(mut core) = self.core.try_lock() else { return };
            self.reap_queued(&mut core);
        }
    }

    /// Works the queue of dropped inodes off.
    pub(crate) fn reap_queued(&self, core: &mut Core) {
        loop {
            let Some(ino) = self.dropped.lock().pop() else { return };
            let Some(inode) = self.inodes.get(ino) else { continue };
            if self.inodes.is_open(&inode) {
                continue;
            }
            if inode.has_window.swap(false, Ordering::Relaxed) {
                window::discard(self, core, ino);
            }
            if inode.is_nameless() && self.health.is_writable() {
                // An error has been told where it arose; the inode stays on the orphan list for the next mount.
                let _ = self.reap(core, &inode);
            } else {
                self.inodes.release(&inode, |_| Arc::strong_count(&inode) > 2);
            }
        }
    }

    /// Frees an inode that nobody names or holds.
    pub(crate) fn reap(&self, core: &mut Core, inode: &Arc<Inode>) -> Result<()> {
        if inode.record.read().dtime != 0 && !core.orphans.contains(inode.ino) {
            // Freed already: it was queued twice.
            return Ok(());
        }
        self.drop_delayed(core, inode, 0);
        if inode.is_dir() {
            self.empty_directory(core, inode)?;
        }
        let owns = inode.record.read().owns_blocks(&self.geometry);
        while self.transact_with(core, CREDITS, inode, |h| {
            if owns && h.truncate_blocks(inode, 0)? == Progress::More {
                return Ok(Progress::More);
            }
            h.drop_attribute_block(inode)?;
            h.remove_orphan(inode)?;
            let deleted = h.now.secs as u32;
            h.update(inode, |record| {
                record.links = 0;
                record.size = 0;
                record.sectors = 0;
                record.dtime = deleted.max(1);
            })?;
            h.free_inode(inode)?;
            h.check_room()?;
            inode.staged.store(false, Ordering::Relaxed);
            Ok(Progress::Done)
        })? == Progress::More
        {}
        Ok(())
    }

    /// `fsync(2)` of one inode.
    pub(crate) fn sync_node(&self, inode: &Inode, kind: SyncKind) -> Result<()> {
        if self.health.is_aborted() {
            return self.check_not_aborted();
        }
        self.sync_inode(inode, kind)
    }
}
