//! The journal: jbd2's log, which makes a transaction one change on the disk.
//!
//! - `open` takes the journal of a filesystem that is mounted for writing over, [`recover`] replays one that a crash left.
//! - [`Journal::commit`] (`write`) appends a transaction: revoked blocks, tags, copies of the metadata, a flush, the commit
//!   block, durable. The blocks stay in the cache, dirty and held, as [`Journal::pending`].
//! - `checkpoint` brings them to their places, those of the oldest transactions first, when the log will need the room, or
//!   memory is short, and moves the log's tail behind: the tail on the disk advances only after a flush has made the places
//!   durable, and the log's space is used again only after a flush has made the tail durable. Both ride on the flushes of
//!   later commits; only a log that is full flushes for itself.
//!
//! Checkpoints run between transactions, right after a commit, so they bring every block in the state of the last commit. A block that a
//! later transaction has, too, is left to that one. A freed block that any transaction in the log has is revoked by the one that frees it.
//!
//! All of it is behind the core lock.

mod checkpoint;
pub(crate) mod format;
mod write;

use alloc::vec;
use alloc::vec::Vec;

use block::{Buffer, SECTOR_SIZE};
use hashbrown::HashMap;

use crate::bytes::{le16, le32, put, put16, put32};
use crate::error::MountError;
use crate::extent::{Mapping, State};
use crate::features::Incompat;
use crate::fs::Ext4;
use crate::mount::read_superblock;
use crate::recovery::{JournalExtent, JournalMap, recover as replay};
use crate::superblock::{self, STATE_ERROR, SUPERBLOCK_OFFSET, field};
use checkpoint::{Logged, Retiring};
use format::JournalSuperblock;

/// The fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`).
const LEAST_BLOCKS: u64 = 1024;
/// Memory in which the log's blocks are put together, in bytes, and at least this many blocks.
const SCRATCH: usize = 512 << 10;
const LEAST_SCRATCH_BLOCKS: usize = 16;

/// The journal of a filesystem that is mounted for writing.
pub(crate) struct Journal {
    map: JournalMap,
    sb: JournalSuperblock,
    /// The next block of the log to be written, and how many before it are in use.
    head: u32,
    used: u32,
    /// Number of the next transaction.
    sequence: u32,
    /// Blocks whose committed state is not in its place yet.
    pending: HashMap<u64, Buffer>,
    /// Blocks that the log has copies of, and the last transaction that has one.
    logged: HashMap<u64, u32>,
    /// The transactions in the log, the oldest first.
    log: Vec<Logged>,
    /// What leaves the log as soon as the last checkpoint is durable.
    retiring: Option<Retiring>,
    scratch: Vec<u8>,
}

impl Journal {
    /// The most blocks of metadata that one transaction should have.
    pub(crate) fn transaction_limit(&self) -> usize {
        self.sb.ring() as usize / 4
    }

    /// Whether a transaction of so many blocks of metadata and revoked blocks fits into the log now.
    pub(crate) fn has_room(&self, buffers: usize, revoked: usize) -> bool {
        let left = self.sb.ring() - self.used;
        // Asked several times for each operation, so that it is not counted exactly where there is plenty.
        Self::blocks_at_most(buffers, revoked).is_some_and(|blocks| blocks < left)
            || self.blocks_of(buffers, revoked).is_some_and(|blocks| blocks < left)
    }

    /// How many blocks the log has copies of: no transaction revokes more.
    pub(crate) fn copies(&self) -> usize {
        self.logged.len()
    }

    /// Whether the committed state of a block is not in its place yet.
    pub(crate) fn is_pending(&self, block: u64) -> bool {
        self.pending.contains_key(&block)
    }

    /// Whether a transaction of so many blocks can ever fit.
    pub(crate) fn could_hold(&self, buffers: usize) -> bool {
        self.blocks_of(buffers, buffers).is_some_and(|blocks| blocks < self.sb.ring() / 2)
    }

    /// Whether the log has a copy of a block that a recovery would write to its place.
    pub(crate) fn has_copy(&self, block: u64) -> bool {
        self.logged.contains_key(&block)
    }

    /// Calls `each` with the blocks of a range that the log has copies of.
    pub(crate) fn copies_within(&self, start: u64, count: u64, mut each: impl FnMut(u64)) {
        if count <= self.logged.len() as u64 {
            (start..start + count).filter(|&block| self.has_copy(block)).for_each(each);
            return;
        }
        for &block in self.logged.keys() {
            if block >= start && block - start < count {
                each(block);
            }
        }
    }

    /// How much of the log a checkpoint should free now, if one is due, where memory allows `most` blocks to be kept from their places: all
    /// where the next transaction, if it is like the last, would leave no room for two more, for it takes so many until the log is free
    /// of what a checkpoint brings to its place; else a quarter, where three are full. One is under way at a time.
    pub(crate) fn due(&self, most: usize) -> Option<u32> {
        let ring = self.sb.ring();
        let last = self.log.last().map_or(0, |transaction| transaction.used);
        match self.retiring {
            Some(_) => None,
            None if self.pending.len() > most || self.used + 3 * last > ring => Some(ring),
            None => (self.used > ring / 4 * 3).then_some(ring / 4),
        }
    }
}

/// Takes the journal of `fs` over for writing: it is empty, and its superblock says so until the first commit. By then the filesystem's
/// asks for recovery; the other way around a power cut would leave a log that nobody may replay. Returns the errno, too, that an earlier
/// mount left in it.
///
/// # Errors
/// [`MountError::Journal`], [`MountError::JournalFeatures`] for one that cannot be written; [`MountError::Device`].
pub(crate) fn open(fs: &Ext4) -> Result<(Journal, i32), MountError> {
    let map = locate(fs)?;
    let device = &**fs.cache.device();
    let geometry = &fs.geometry;
    let mut bytes = vec![0; geometry.block_size];
    map.read(device, 0, &mut bytes)?;
    let mut sb = JournalSuperblock::parse(bytes, map.blocks())?;
    if u64::from(sb.ring()) + 1 < LEAST_BLOCKS {
        return Err(MountError::Journal("its size is impossible"));
    }
    if sb.start != 0 {
        log::warn!("ext4: the journal is not empty and not needed: its content is dropped");
        // Numbers of what may be left in it are not used again soon.
        sb.sequence = sb.sequence.wrapping_add(sb.ring());
        sb.start = 0;
        device.write_durable(map.sector(0)?, sb.encode())?;
    }
    let is_64bit = geometry.features.incompat.contains(Incompat::BIT64);
    sb.choose_features(geometry.features.has_checksums(), is_64bit)?;
    let errno = core::mem::take(&mut sb.errno);
    let blocks = (SCRATCH.min(fs.cache.limit() / 8) / geometry.block_size).max(LEAST_SCRATCH_BLOCKS);
    let journal = Journal {
        head: sb.first,
        used: 0,
        sequence: sb.sequence,
        pending: HashMap::new(),
        logged: HashMap::new(),
        log: Vec::new(),
        retiring: None,
        scratch: vec![0; blocks * geometry.block_size],
        map,
        sb,
    };
    Ok((journal, errno))
}

/// Replays the journal and clears the mark that asked for it. Whatever `fs` has cached is stale afterwards.
///
/// # Errors
/// [`MountError::Journal`] where the journal is external, cannot be found or cannot be trusted; [`MountError::Device`].
pub(crate) fn recover(fs: &Ext4) -> Result<(), MountError> {
    let geometry = &fs.geometry;
    if geometry.journal_inode == 0 {
        return Err(MountError::Journal("it is on another device"));
    }
    let map = locate(fs)?;
    let device = &**fs.cache.device();
    // An error is recorded outside of the journal, whose copy of the superblock would undo it.
    let before = read_superblock(device)?;
    let done = replay(device, &map, geometry.block_size, geometry.blocks)?;
    // The superblock may have been in the journal: read it again.
    let mut raw = read_superblock(device)?;
    let incompat = le32(&raw, field::FEATURE_INCOMPAT) & !Incompat::RECOVER.bits();
    put32(&mut raw, field::FEATURE_INCOMPAT, incompat);
    let mut state = le16(&raw, field::STATE) | le16(&before, field::STATE) & STATE_ERROR;
    if le32(&before, field::ERROR_COUNT) != 0 {
        put(&mut raw, field::ERROR_COUNT, &before[field::ERROR_COUNT..field::ERROR_END]);
    }
    if done.errno != 0 {
        state |= STATE_ERROR;
    }
    put16(&mut raw, field::STATE, state);
    superblock::seal(&mut raw);
    device.write(SUPERBLOCK_OFFSET / SECTOR_SIZE as u64, &raw)?;
    device.flush()?;
    log::info!("ext4: journal replayed: {} transactions, {} blocks", done.transactions, done.blocks);
    Ok(())
}

/// The journal's extents.
fn locate(fs: &Ext4) -> Result<JournalMap, MountError> {
    let unusable = |_| MountError::Journal("its inode cannot be read");
    let inode = fs.inode(fs.geometry.journal_inode).map_err(unusable)?;
    let blocks = inode.record.read().size >> fs.geometry.block_bits;
    if blocks < LEAST_BLOCKS || blocks > fs.geometry.blocks {
        return Err(MountError::Journal("its size is impossible"));
    }
    let mut extents = Vec::new();
    let mut logical = 0;
    while u64::from(logical) < blocks {
        match fs.map(&inode, logical).map_err(unusable)? {
            Mapping::Blocks { start, len, state: State::Written } => {
                extents.try_reserve(1).map_err(|_| MountError::Journal("no memory for its map"))?;
                extents.push(JournalExtent { logical, physical: start, blocks: len });
                logical = logical.saturating_add(len);
            }
            _ => return Err(MountError::Journal("its file has a hole")),
        }
    }
    Ok(JournalMap { extents, block_size: fs.geometry.block_size })
}
