//! Handles and transactions: how metadata changes.
//!
//! Every operation is a [`Handle`] in the running [`Transaction`]. It reserves credits (the number of metadata blocks that it
//! may change), changes buffers and records through the handle only, and ends. The handle keeps what was there before; if the
//! operation fails, [undo] puts everything back, in the cache and in memory, so no operation is ever half applied.
//!
//! The transaction collects the changed metadata blocks, which the cache holds back ([`block::Dirty::Held`]), and the changed
//! inodes. [Commit](commit) seals the checksums once, writes the file data, then the metadata into the [journal](crate::journal).
//! Blocks that the transaction freed are given out again only after it has committed.
//!
//! Lock order: core lock (one handle at a time) → `content` of the inodes that the handle changes → `record` → inode table →
//! buffer cache.

mod commit;
mod handle;
mod room;
mod undo;

use alloc::sync::Arc;
use alloc::vec::Vec;

use block::Buffer;
use hashbrown::HashMap;
use vfs::{Errno, Error, Result};

use crate::file::Piece;
use crate::fs::Ext4;
use crate::group::Group;
use crate::inode::Inode;
use crate::journal::Journal;
use crate::orphans::Orphans;
use crate::space::{Promised, Window};
pub(crate) use handle::Handle;
use undo::UndoLog;

/// What is put into a metadata block when its transaction commits, and checked when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    /// Nothing here: the checksum is elsewhere, or in each record.
    None,
    /// The superblock's counters, time and checksum.
    Superblock,
    /// The checksum in the group's descriptor.
    BlockBitmap(u32),
    /// As `BlockBitmap`.
    InodeBitmap(u32),
    /// The tail of a block of entries of the inode with this seed.
    Directory(u32),
    /// The tail of an htree's root.
    IndexRoot(u32),
    /// The tail of another index block of an htree.
    IndexNode(u32),
    /// The tail of a block of an extent tree.
    Extents(u32),
    /// The header of a block of extended attributes.
    Attributes,
    /// A block of the file of orphans of the inode with this seed.
    Orphans(u32),
}

/// Free space and inodes of the whole filesystem, the sums over the groups.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u64,
}

/// The running transaction.
pub(crate) struct Transaction {
    pub(crate) id: u32,
    buffers: HashMap<u64, (Buffer, Seal)>,
    inodes: Vec<Arc<Inode>>,
    groups: Vec<u32>,
    /// Ranges of blocks that were freed.
    freed: Vec<(u64, u64)>,
    /// Those of them that the journal has copies of.
    revoked: Vec<u64>,
    /// When it began, in seconds.
    began: Option<i64>,
    /// New blocks belong to files: their data must be on the disk before the metadata that leads to it.
    fresh: Vec<(u64, u64)>,
    /// Files that were cut in the middle of a block, which is changed only when that is committed.
    pub(crate) cut_tails: Vec<Arc<Inode>>,
}

impl Transaction {
    fn new(id: u32) -> Self {
        Self {
            id,
            buffers: HashMap::new(),
            inodes: Vec::new(),
            groups: Vec::new(),
            freed: Vec::new(),
            revoked: Vec::new(),
            began: None,
            fresh: Vec::new(),
            cut_tails: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.buffers.is_empty() && self.inodes.is_empty() && self.groups.is_empty()
    }

    /// Blocks are none of the transaction's any more.
    fn drop_buffers(&mut self, start: u64, count: u64) {
        if count <= self.buffers.len() as u64 {
            for block in start..start + count {
                self.buffers.remove(&block);
            }
        } else {
            self.buffers.retain(|&block, _| block < start || block - start >= count);
        }
    }

    /// Whether a block came to its file in this transaction.
    pub(crate) fn is_fresh(&self, block: u64) -> bool {
        self.fresh.iter().any(|&(start, count)| block >= start && block - start < count)
    }

    /// Whether blocks wait for the commit to become free.
    pub(crate) fn has_freed(&self) -> bool {
        !self.freed.is_empty()
    }
}

/// All that changes under the core lock.
pub(crate) struct Core {
    pub(crate) groups: Vec<Group>,
    pub(crate) counters: Counters,
    pub(crate) orphans: Orphans,
    /// The inode that whiteouts share.
    pub(crate) whiteout: Option<Arc<Inode>>,
    /// Blocks reserved for files that grow, by inode number.
    pub(crate) windows: HashMap<u32, Window>,
    /// Files with data that has no place yet, some perhaps no longer.
    pub(crate) delayed: Vec<Arc<Inode>>,
    pub(crate) promised: Promised,
    pub(crate) transaction: Transaction,
    /// Where transactions go; without one, metadata goes straight to its place.
    pub(crate) journal: Option<Journal>,
    undo: UndoLog,
    /// How many handles there have been.
    handles: u64,
    /// Of the last write: its memory is kept for the next.
    pub(crate) pieces: Vec<Piece>,
    /// The last handle failed for want of room in the log.
    pub(crate) crowded: bool,
    /// For `i_generation` of new inodes.
    pub(crate) generation: u32,
}

impl Core {
    pub(crate) fn new(groups: Vec<Group>, generation: u32) -> Self {
        let mut counters = Counters::default();
        for group in &groups {
            counters.free_blocks += u64::from(group.desc.free_blocks);
            counters.free_inodes += u64::from(group.desc.free_inodes);
        }
        Self {
            groups,
            counters,
            orphans: Orphans::default(),
            whiteout: None,
            windows: HashMap::new(),
            delayed: Vec::new(),
            promised: Promised::default(),
            transaction: Transaction::new(1),
            journal: None,
            undo: UndoLog::default(),
            handles: 0,
            pieces: Vec::new(),
            crowded: false,
            generation,
        }
    }
}

/// What a second try of an operation may do that the first may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Try {
    /// Out of space may mean that freed blocks wait for a commit: say so rather than do a part.
    First,
    /// There is no more to come.
    Last,
}

impl Ext4 {
    /// Runs one operation as a handle that changes at most about `credits` metadata blocks, with the `content` of the
    /// inodes in `lock` held exclusively. If `body` fails, nothing has happened. Out of space while freed blocks
    /// wait for their transaction, it commits and tries once more.
    pub(crate) fn transact<T>(
        &self,
        credits: usize,
        lock: &[&Arc<Inode>],
        body: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        self.transact_planned(
            credits,
            |_| {
                let mut locks = Locks::default();
                for (slot, inode) in locks.inodes.iter_mut().zip(lock) {
                    *slot = Some((*inode).clone());
                }
                Ok(locks)
            },
            body,
        )
    }

    /// As [`transact`](Self::transact), where the inodes to lock are found under the core lock.
    pub(crate) fn transact_planned<T>(
        &self,
        credits: usize,
        plan: impl Fn(&Self) -> Result<Locks>,
        mut body: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        keep(|keep| self.transact_each(credits, &plan, &mut |h| body(h).map(&mut *keep)))
    }

    fn transact_each(&self, credits: usize, plan: &dyn Fn(&Self) -> Result<Locks>, body: Body<'_>) -> Result<()> {
        let mut core = self.core.lock();
        let mut attempt = Try::First;
        let mut emptied = false;
        let result = loop {
            self.check_writable()?;
            self.make_room(&mut core, credits)?;
            if !core.transaction.has_freed() && core.windows.is_empty() && core.delayed.is_empty() {
                attempt = Try::Last;
            }
            let locks = plan(self)?;
            let result = self.run_each(&mut core, &locks, attempt, body);
            drop(locks);
            match result {
                Err(_) if core.crowded && !emptied => {
                    emptied = true;
                    attempt = Try::Last;
                    self.empty_log(&mut core)?;
                }
                Err(error) if error == Errno::ENOSPC && attempt == Try::First && !core.crowded => {
                    attempt = Try::Last;
                    self.discard_windows(&mut core);
                    self.commit(&mut core)?;
                }
                result => break result,
            }
        };
        // What was freed must be there for whoever has the lock next.
        self.reap_queued(&mut core);
        drop(core);
        // A node that was dropped just before the lock was released could not reap.
        self.try_reap();
        result
    }
}

impl Ext4 {
    /// Runs one handle. The caller has the core lock, and has seen to it that the transaction has room.
    pub(crate) fn run<T>(
        &self,
        core: &mut Core,
        locks: &Locks,
        attempt: Try,
        mut body: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        keep(|keep| self.run_each(core, locks, attempt, &mut |h| body(h).map(&mut *keep)))
    }

    fn run_each(&self, core: &mut Core, locks: &Locks, attempt: Try, body: Body<'_>) -> Result<()> {
        let guards = locks.lock();
        let mut handle = Handle::new(self, core, attempt);
        let result = body(&mut handle).and_then(|()| handle.check_room());
        let crowded = handle.is_crowded();
        match result {
            Ok(()) => handle.stop(),
            Err(_) => handle.undo(),
        }
        core.crowded = crowded;
        debug_assert!(result.is_err() || self.fits(core, 0), "the log has no room for the transaction");
        drop(guards);
        result
    }

    /// As [`transact`](Self::transact), for work that is done with the core lock held already.
    pub(crate) fn transact_with<T>(
        &self,
        core: &mut Core,
        credits: usize,
        inode: &Arc<Inode>,
        mut body: impl FnMut(&mut Handle<'_>) -> Result<T>,
    ) -> Result<T> {
        keep(|keep| self.transact_each_with(core, credits, inode, &mut |h| body(h).map(&mut *keep)))
    }

    fn transact_each_with(&self, core: &mut Core, credits: usize, inode: &Arc<Inode>, body: Body<'_>) -> Result<()> {
        let locks = Locks::new([Some(inode.clone()), None, None, None]);
        self.check_writable()?;
        self.make_room(core, credits)?;
        match self.run_each(core, &locks, Try::Last, body) {
            Err(_) if core.crowded => {
                self.empty_log(core)?;
                self.run_each(core, &locks, Try::Last, body)
            }
            result => result,
        }
    }
}

/// What a handle does, whatever comes of it: all of them run through one function, for the kernel is to be small.
type Body<'a> = &'a mut dyn FnMut(&mut Handle<'_>) -> Result<()>;

/// What `work` gave to its argument, if it succeeds.
fn keep<T>(work: impl FnOnce(&mut dyn FnMut(T)) -> Result<()>) -> Result<T> {
    let mut kept = None;
    work(&mut |value| kept = Some(value))?;
    kept.ok_or(Error::new(Errno::EIO, "a handle without a result"))
}

type ContentGuard<'a> = base::sync::RwLockWriteGuard<'a, ()>;

/// The inodes whose content a handle changes.
#[derive(Default)]
pub(crate) struct Locks {
    inodes: [Option<Arc<Inode>>; 4],
}

impl Locks {
    pub(crate) fn new(inodes: [Option<Arc<Inode>>; 4]) -> Self {
        Self { inodes }
    }

    /// Locks each content once. Only holders of the core lock take more than one, so their order does not matter.
    fn lock(&self) -> [Option<ContentGuard<'_>>; 4] {
        let mut guards = [None, None, None, None];
        for (i, inode) in self.inodes.iter().enumerate() {
            let Some(inode) = inode else { continue };
            let twice = self.inodes[..i].iter().flatten().any(|earlier| Arc::ptr_eq(earlier, inode));
            if !twice {
                guards[i] = Some(exclusive(&inode.content));
            }
        }
        guards
    }
}

/// Locks a content whose readers go on for as long as they come: those who come later wait.
fn exclusive(content: &base::sync::RwLock<()>) -> ContentGuard<'_> {
    content.write_next()
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use base::sync::RwLock;

    use super::exclusive;

    #[test]
    fn a_reader_does_not_pass_a_change_that_waits() {
        let content = RwLock::new(());
        thread::scope(|scope| {
            let first = content.read();
            let change = scope.spawn(|| drop(exclusive(&content)));
            let begin = Instant::now();
            while content.try_read().is_some() {
                assert!(begin.elapsed() < Duration::from_secs(60), "readers go on passing it");
                thread::yield_now();
            }
            drop(first);
            change.join().unwrap();
            assert!(content.try_read().is_some());
        });
    }
}
