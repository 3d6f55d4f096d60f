//! What a handle changed, so that its failure leaves no trace.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use block::{Buffer, Dirty};

use super::{Core, Counters};
use crate::fs::Ext4;
use crate::group::Descriptor;
use crate::inode::Inode;
use crate::inode::record::Record;
use crate::inode::table::Slot;
use crate::orphans::Neighbours;
use crate::space::release;

/// One change, and how to take it back.
pub(super) enum Change {
    /// Bytes of a buffer; the old ones are the last `len` of the log's bytes.
    Bytes { buffer: Buffer, offset: usize, len: usize },
    /// A block that was made, without content before.
    Created(u64),
    /// An inode's record.
    Record(Arc<Inode>, Box<Record>),
    /// A group's descriptor.
    Group(u32, Descriptor),
    /// Blocks taken: whatever the cache has of them goes.
    Taken(u64, u64),
    /// Blocks freed: they are not available to others yet.
    Freed(u64, u64),
    /// The content of blocks that stay taken is of no more interest.
    Forgotten(u64, u64),
    /// An inode put into the table, and what was there.
    Slot(Arc<Inode>, Option<Slot>),
    /// An inode put on the orphan list.
    OrphanAdded(u32),
    /// An inode taken off the orphan list, at this place.
    OrphanRemoved(Arc<Inode>, Neighbours),
    /// A staged inode that got its name.
    Published(Arc<Inode>),
}

/// Saved records whose memory is kept: as many as most handles have.
const SPARE: usize = 4;

/// The changes of the handle that runs. Its memory is kept from one handle to the next.
#[derive(Default)]
pub(super) struct UndoLog {
    changes: Vec<Change>,
    bytes: Vec<u8>,
    #[expect(clippy::vec_box, reason = "the boxes are what is kept: they go into changes and come back")]
    spare: Vec<Box<Record>>,
    counters: Counters,
    whiteout: Option<Arc<Inode>>,
}

impl UndoLog {
    pub(super) fn begin(&mut self, counters: Counters, whiteout: Option<Arc<Inode>>) {
        self.clear();
        self.counters = counters;
        self.whiteout = whiteout;
    }

    pub(super) fn clear(&mut self) {
        for change in self.changes.drain(..) {
            if let Change::Record(_, record) = change
                && self.spare.len() < SPARE
            {
                self.spare.push(record);
            }
        }
        self.bytes.clear();
        self.whiteout = None;
        if self.bytes.capacity() > 1 << 20 {
            self.bytes = Vec::new();
        }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    pub(super) fn push_bytes(&mut self, buffer: &Buffer, offset: usize, old: &[u8]) {
        self.bytes.extend_from_slice(old);
        self.changes.push(Change::Bytes { buffer: buffer.clone(), offset, len: old.len() });
    }

    /// Saves an inode's record.
    pub(super) fn push_record(&mut self, inode: &Arc<Inode>) {
        let record = inode.record.read();
        let saved = match self.spare.pop() {
            Some(mut spare) => {
                spare.copy_from(&record);
                spare
            }
            None => Box::new(record.clone()),
        };
        drop(record);
        self.changes.push(Change::Record(inode.clone(), saved));
    }

    /// Ranges of blocks that the handle freed.
    pub(super) fn freed(&self) -> impl Iterator<Item = (u64, u64)> {
        self.changes.iter().filter_map(|change| match change {
            Change::Freed(start, count) => Some((*start, *count)),
            _ => None,
        })
    }

    /// Ranges of blocks whose content is of no more interest.
    pub(super) fn forgotten(&self) -> impl Iterator<Item = (u64, u64)> {
        self.changes.iter().filter_map(|change| match change {
            Change::Forgotten(start, count) => Some((*start, *count)),
            _ => None,
        })
    }

    /// Takes everything back, last change first.
    pub(super) fn undo(fs: &Ext4, core: &mut Core) {
        let mut log = core::mem::take(&mut core.undo);
        while let Some(change) = log.changes.pop() {
            match change {
                Change::Bytes { buffer, offset, len } => {
                    let from = log.bytes.len() - len;
                    fs.cache.write(&buffer, Dirty::Held)[offset..offset + len].copy_from_slice(&log.bytes[from..]);
                    log.bytes.truncate(from);
                }
                Change::Created(block) => {
                    core.transaction.buffers.remove(&block);
                    fs.cache.forget(block, 1);
                }
                Change::Record(inode, record) => *inode.record.write() = *record,
                Change::Group(number, desc) => {
                    let group = &mut core.groups[number as usize];
                    group.desc = desc;
                    group.longest_run = u32::MAX;
                }
                Change::Taken(start, count) => {
                    core.transaction.drop_buffers(start, count);
                    fs.cache.forget(start, count);
                }
                Change::Freed(start, count) => {
                    release(&mut core.groups, &fs.geometry, start, count);
                    core.promised.freed -= count;
                }
                Change::Forgotten(..) => {}
                Change::Slot(inode, slot) => {
                    let inodes = &mut core.transaction.inodes;
                    if let Some(at) = inodes.iter().rposition(|dirty| Arc::ptr_eq(dirty, &inode)) {
                        inodes.remove(at);
                    }
                    fs.inodes.restore(inode.ino, slot);
                }
                Change::OrphanAdded(ino) => {
                    core.orphans.remove(ino);
                }
                Change::OrphanRemoved(inode, beside) => core.orphans.insert(inode, beside),
                Change::Published(inode) => inode.staged.store(true, core::sync::atomic::Ordering::Relaxed),
            }
        }
        core.counters = log.counters;
        core.whiteout = log.whiteout.take();
        core.undo = log;
    }
}
