//! Room in the log, and in memory: a transaction is committed before it outgrows either.
//!
//! After every handle the log has room for all that a commit may write (`Ext4::fits`). A handle that would break that
//! is undone and tried once more with all of the log before it; one that no log could hold is refused.

use vfs::{Errno, Error, Result};

use super::Core;
use crate::fs::Ext4;
use crate::journal::Journal;

/// A transaction with this many metadata blocks commits before the next handle begins, whatever the cache's size,
const MAX_BUFFERS: usize = 2048;
/// but at least this many it may have.
const LEAST_BUFFERS: usize = 128;
/// The part of the cache that they may take.
const HELD_SHARE: usize = 4;
/// Metadata blocks that a handle may change more than it said: the bitmaps and descriptors of scattered blocks.
const BEYOND_CREDITS: usize = 128;

impl Ext4 {
    /// How many metadata blocks a transaction may have.
    fn max_buffers(&self, core: &Core) -> usize {
        let most = core.journal.as_ref().map_or(MAX_BUFFERS, Journal::transaction_limit).min(MAX_BUFFERS);
        self.max_held().min(most.max(LEAST_BUFFERS))
    }

    /// How many metadata blocks the cache may keep from their places, for a transaction or for the journal.
    pub(super) fn max_held(&self) -> usize {
        // Each keeps its whole run in memory. Where that has become too much, no more than the least are kept.
        let limit = self.cache.limit();
        let share = if self.cache.bytes() > limit + limit / 8 { 0 } else { limit / HELD_SHARE };
        (share / self.geometry.block_size).max(LEAST_BUFFERS)
    }

    /// Sees to it that a handle of so many credits, and what it may need beyond, fits into the running transaction and that one
    /// into the journal.
    pub(crate) fn make_room(&self, core: &mut Core, credits: usize) -> Result<()> {
        if core.journal.as_ref().is_some_and(|journal| !journal.could_hold(credits)) {
            return Err(Error::new(Errno::ENOSPC, "operation larger than the journal"));
        }
        // The worst case must fit into the journal; the memory that it takes is counted once it is taken.
        let held = core.transaction.buffers.len() + credits;
        let crowded = held > LEAST_BUFFERS && held > self.max_buffers(core);
        if !crowded && self.fits(core, credits + BEYOND_CREDITS) {
            return Ok(());
        }
        self.commit(core)?;
        if self.fits(core, credits + BEYOND_CREDITS) { Ok(()) } else { self.empty_log(core) }
    }

    /// Whether the running transaction, with its data in place and so many blocks more, fits into what is free of the log. This
    /// holds after every handle, with 0: see [`Handle::check_room`](super::Handle::check_room).
    pub(crate) fn fits(&self, core: &Core, more: usize) -> bool {
        let Some(journal) = &core.journal else { return true };
        journal.has_room(core.transaction.buffers.len() + self.placing_credits(core) + more, journal.copies())
    }

    /// Commits, and has what the log holds brought to its place: all of it is free.
    pub(crate) fn empty_log(&self, core: &mut Core) -> Result<()> {
        self.commit(core)?;
        self.empty_journal(core)
    }

    pub(super) fn empty_journal(&self, core: &mut Core) -> Result<()> {
        self.check_not_aborted()?;
        match &mut core.journal {
            Some(journal) => journal.empty(&self.cache).inspect_err(|&error| self.abort(error)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use block::MemoryDisk;
    use vfs::{FileSystem, FsContext, NewKind, NewNode, Timestamp};

    use super::*;
    use crate::MountOptions;
    use crate::format::{FormatOptions, format};
    use crate::inode::table::ROOT_INO;
    use crate::transaction::Seal;

    #[test]
    fn an_operation_that_no_log_could_hold_is_refused_and_leaves_nothing() {
        const NOW: Timestamp = Timestamp { secs: 1_800_000_000, nanos: 0 };
        let disk = Arc::new(MemoryDisk::new(32 << 20));
        format(&*disk, &FormatOptions::new([0x5a; 32], NOW)).unwrap();
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        let fs = Ext4::mount(disk.clone(), context, MountOptions::default()).unwrap();
        let create = |name: &[u8]| {
            let root = fs.inode(ROOT_INO).unwrap();
            fs.create(&root, name, &NewNode::new(NewKind::File, 0o644)).map(drop)
        };
        create(b"before").unwrap();
        // Blocks that are there, and blocks that are made.
        let (first, last) = (3000, 5000);
        let result = fs.transact(10, &[], |h| {
            for block in first..last {
                let buffer = h.metadata(block, Seal::None)?;
                h.modify(&buffer, Seal::None, 0..4, |bytes| bytes.fill(7));
            }
            Ok(())
        });
        assert_eq!(result.unwrap_err(), Errno::ENOSPC);
        let result =
            fs.transact(10, &[], |h| (last..last + 2000).try_for_each(|block| h.create(block, Seal::None).map(drop)));
        assert_eq!(result.unwrap_err(), Errno::ENOSPC);
        create(b"after").unwrap();
        fs.sync().unwrap();
        assert!(!fs.is_read_only());
        assert!(fs.core.lock().transaction.buffers.is_empty());
        fs.empty_log(&mut fs.core.lock()).unwrap();
        for block in first..last {
            let buffer = fs.cache.read(block).unwrap();
            assert!(!buffer.is_dirty() && buffer.read()[..4] == [0; 4], "block {block}");
        }
        fs.unmount().unwrap();
    }
}
