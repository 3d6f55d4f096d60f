//! Data that the disk did not take.
//!
//! A data block that cannot be written stops nothing: as with Linux it is told at the file and at the filesystem, where every
//! open file learns of it once ([`vfs::ErrorSequence`]), and all else goes on. Metadata is another matter: a failed write of it
//! stops the filesystem.
//!
//! Blocks that came to their file in the running transaction hold what somebody else had in them, if their data did not
//! reach them. Before the transaction commits they become unwritten ones, which read as zeros.

use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::Result;

use crate::extent::{Extent, Mapping, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::{Core, Handle, Locks, Try};

impl Ext4 {
    /// Writes file data back.
    pub(crate) fn write_back(&self) {
        self.cache.write_back();
        self.note_failures();
    }

    /// Tells of what could not be written since the last time.
    pub(crate) fn note_failures(&self) {
        // Held over all of it: who finds nothing left to tell finds it told.
        let mut lost = self.lost.lock();
        for failed in self.cache.take_failures() {
            self.tell_lost(failed.owner);
            lost.extend((failed.block..failed.block + u64::from(failed.blocks)).map(|block| (failed.owner, block)));
        }
    }

    /// Data of an inode is lost: whoever syncs it is told. Whose inode is in memory no more, nobody has open.
    pub(crate) fn tell_lost(&self, ino: u32) {
        self.write_errors.record();
        let news = self.inodes.get(ino).is_none_or(|inode| inode.write_errors.record());
        if news {
            log::error!("ext4: data of inode {ino} could not be written and is lost");
        }
    }

    /// Has blocks that the running transaction gave to files, and whose data did not reach them, read as zeros.
    pub(crate) fn clear_lost(&self, core: &mut Core) {
        let mut lost: Vec<(u32, u64)> = core::mem::take(&mut *self.lost.lock());
        lost.retain(|&(_, block)| core.transaction.is_fresh(block));
        for blocks in lost.chunk_by(|one, next| one.0 == next.0 && one.1 + 1 == next.1) {
            let (ino, start) = blocks[0];
            if let Err(error) = self.clear_blocks(core, ino, start, blocks.len() as u64) {
                log::error!("ext4: inode {ino} shows what its blocks had before: {error}");
            }
        }
    }

    /// Blocks hold nothing of their file's yet: whatever failed with them before is of no more interest.
    pub(crate) fn forget_lost(&self, start: u64, count: u64) {
        let mut lost = self.lost.lock();
        if !lost.is_empty() {
            lost.retain(|&(_, block)| block < start || block - start >= count);
        }
    }

    fn clear_blocks(&self, core: &mut Core, ino: u32, start: u64, count: u64) -> Result<()> {
        let inode = self.inode(ino)?;
        let mut at = 0;
        while at < u32::MAX {
            let mapping = self.map(&inode, at)?;
            if let Mapping::Blocks { start: first, len, state: State::Written } = mapping {
                let (from, to) = (start.max(first), (start + count).min(first + u64::from(len)));
                if from < to {
                    let extent = Extent {
                        block: at + (from - first) as u32,
                        len: (to - from) as u32,
                        start: from,
                        state: State::Unwritten,
                    };
                    let locks = Locks::new([Some(inode.clone()), None, None, None]);
                    self.run(core, &locks, Try::Last, |h| h.unwrite(&inode, extent))?;
                }
            }
            at = at.saturating_add(mapping.len().max(1));
        }
        Ok(())
    }
}

impl Handle<'_> {
    fn unwrite(&mut self, inode: &Arc<Inode>, extent: Extent) -> Result<()> {
        self.remap(inode, extent.block, extent.end(), Some(extent), Removed::Keep)?;
        self.forget_content(extent.start, u64::from(extent.len));
        Ok(())
    }
}
