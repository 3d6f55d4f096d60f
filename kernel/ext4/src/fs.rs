//! The mounted filesystem.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base::sync::{Mutex, OnceLock};
use block::{Buffer, BufferCache};
use vfs::{
    DirOps, Errno, Error, ErrorSequence, FileHandle, FileSystem, FsContext, NAME_MAX, Node, Result, StatFs, Trim,
};

use crate::bytes::{le32, put16, put32};
use crate::dir::Missed;
use crate::extent::node;
use crate::features::Incompat;
use crate::group::SystemZones;
use crate::health::Health;
use crate::inode::Inode;
use crate::inode::table::InodeTable;
use crate::node::Ext4Node;
use crate::superblock::{self, Geometry, STATE_VALID, SUPERBLOCK_SIZE, field};
use crate::transaction::{Core, Seal};
use crate::verify;

/// `f_type` of `statfs(2)`.
const MAGIC: u64 = 0xef53;
/// File data is written back when it takes this part of the cache.
const DIRTY_SHARE: usize = 2;

/// A mounted ext4 filesystem.
pub struct Ext4 {
    this: Weak<Ext4>,
    pub(crate) cache: BufferCache,
    pub(crate) geometry: Geometry,
    pub(crate) zones: SystemZones,
    /// First block of each group's inode table.
    pub(crate) tables: Vec<u64>,
    pub(crate) context: FsContext,
    pub(crate) inodes: InodeTable,
    pub(crate) core: Mutex<Core>,
    /// Inodes whose last node was dropped and that may have to be freed, or whose window may be.
    pub(crate) dropped: Mutex<Vec<u32>>,
    /// The name that a lookup missed last.
    pub(crate) missed: Mutex<Missed>,
    /// Inodes whose access time is newer in memory than in any transaction.
    pub(crate) accessed: Mutex<Vec<Arc<Inode>>>,
    pub(crate) health: Health,
    /// Blocks that are no file's and never will be.
    pub(crate) overhead: AtomicU64,
    /// What the superblock said of how much was ever written, in KiB.
    pub(crate) written_before: u64,
    /// Blocks of file data that have no place yet.
    pub(crate) delayed_blocks: AtomicU64,
    /// Data of any file that was lost; and whose blocks it was in, for the transaction that gave them to the file.
    pub(crate) write_errors: ErrorSequence,
    pub(crate) lost: Mutex<Vec<(u32, u64)>>,
    /// The medium was clean when it was mounted.
    pub(crate) was_clean: bool,
    /// The disk is told of blocks as they become free.
    pub(crate) discards: AtomicBool,
    /// A transaction that began so many seconds ago commits at the next tick.
    pub(crate) commit_interval: u32,
    /// The root directory stays in memory.
    pub(crate) root: OnceLock<Arc<Inode>>,
}

/// What [`Ext4`] is put together from, by the mount.
pub(crate) struct Parts {
    pub(crate) cache: BufferCache,
    pub(crate) geometry: Geometry,
    pub(crate) zones: SystemZones,
    pub(crate) tables: Vec<u64>,
    pub(crate) context: FsContext,
    pub(crate) core: Core,
    pub(crate) health: Health,
    pub(crate) overhead: u64,
    pub(crate) written_before: u64,
    pub(crate) was_clean: bool,
    pub(crate) discards: bool,
    pub(crate) commit_interval: u32,
}

impl Ext4 {
    pub(crate) fn assemble(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            cache: parts.cache,
            geometry: parts.geometry,
            zones: parts.zones,
            tables: parts.tables,
            context: parts.context,
            inodes: InodeTable::default(),
            core: Mutex::new(parts.core),
            dropped: Mutex::new(Vec::new()),
            missed: Mutex::default(),
            accessed: Mutex::new(Vec::new()),
            health: parts.health,
            overhead: AtomicU64::new(parts.overhead),
            written_before: parts.written_before,
            delayed_blocks: AtomicU64::new(0),
            write_errors: ErrorSequence::default(),
            lost: Mutex::new(Vec::new()),
            was_clean: parts.was_clean,
            discards: AtomicBool::new(parts.discards),
            commit_interval: parts.commit_interval,
            root: OnceLock::new(),
        })
    }

    /// The filesystem as its nodes hold it.
    pub(crate) fn this(&self) -> Arc<Self> {
        match self.this.upgrade() {
            Some(this) => this,
            None => unreachable!("a filesystem is used only through its Arc"),
        }
    }

    /// First block of a group's inode table.
    pub(crate) fn table_start(&self, group: u32) -> u64 {
        self.tables.get(group as usize).copied().unwrap_or(0)
    }

    /// A metadata block, read and checked. Bitmaps and inode tables are checked by those who read them.
    pub(crate) fn metadata(&self, block: u64, seal: Seal) -> Result<Buffer> {
        let buffer = self.cache.read(block).map_err(|error| self.failed_at(error, block))?;
        let checked_elsewhere =
            matches!(seal, Seal::None | Seal::Superblock | Seal::BlockBitmap(_) | Seal::InodeBitmap(_));
        if checked_elsewhere || buffer.is_verified() {
            return Ok(buffer);
        }
        if !verify::verify(&self.geometry, &buffer.read(), block, seal) {
            let what = match seal {
                Seal::Directory(_) => "ext4: wrong checksum of a directory block",
                Seal::IndexRoot(_) | Seal::IndexNode(_) => "ext4: wrong checksum of a directory index",
                Seal::Extents(_) => "ext4: wrong checksum of an extent node",
                Seal::Attributes => "ext4: wrong checksum of an attribute block",
                _ => "ext4: wrong checksum of a metadata block",
            };
            return Err(self.failed_at(Error::fault(Errno::EUCLEAN, what), block));
        }
        if let Seal::Extents(_) = seal {
            node::check(&buffer.read()).map_err(|error| self.failed_at(error, block))?;
        }
        buffer.set_verified();
        Ok(buffer)
    }

    /// The buffer cache, for its limit and its figures.
    #[must_use]
    pub fn cache(&self) -> &BufferCache {
        &self.cache
    }

    /// The volume's label, up to 16 bytes without zeros.
    ///
    /// # Errors
    /// `EIO`.
    pub fn label(&self) -> Result<Vec<u8>> {
        let (block, offset) = self.geometry.super_location();
        let buffer = self.metadata(block, Seal::None)?;
        let bytes = buffer.read();
        let name = &bytes[offset + field::VOLUME_NAME..offset + field::VOLUME_NAME + 16];
        Ok(name.iter().copied().take_while(|&byte| byte != 0).collect())
    }

    /// What a timer calls every few seconds: the running transaction commits if it is old enough, and file data with it.
    ///
    /// # Errors
    /// `EIO`: what was not written stays in memory.
    pub fn tick(&self) -> Result<()> {
        if self.health.is_writable() {
            let mut core = self.core.lock();
            self.reap_queued(&mut core);
            self.keep_accesses(&mut core);
            self.commit_if_due(&mut core)?;
        }
        Ok(())
    }

    /// Writes file data back when there is much of it.
    pub(crate) fn throttle(&self) -> Result<()> {
        let delayed = self.delayed_bytes();
        let limit = self.cache.limit();
        // One block that was changed keeps its whole run in memory.
        if self.cache.queued_bytes() + delayed > limit / DIRTY_SHARE || self.cache.pinned_bytes() + delayed > limit {
            if delayed > 0 {
                let mut core = self.core.lock();
                match self.make_room(&mut core, 0).and_then(|()| self.place_all(&mut core)) {
                    Err(_) if core.crowded => self.commit(&mut core)?,
                    // What has its place is written all the same: that gives memory back.
                    Err(error) if error != Errno::ENOMEM => return Err(error),
                    _ => self.check_not_aborted()?,
                }
            }
            self.write_back();
        }
        Ok(())
    }

    /// Changes fields of the superblock at once, outside of a transaction.
    pub(crate) fn write_superblock(&self, core: &mut Core, change: impl FnOnce(&mut [u8])) -> Result<()> {
        self.check_not_aborted()?;
        let (block, offset) = self.geometry.super_location();
        let buffer = self.metadata(block, Seal::None)?;
        {
            let mut bytes = self.cache.write(&buffer, block::Dirty::Held);
            let raw = &mut bytes[offset..offset + SUPERBLOCK_SIZE];
            self.store_superblock(core, raw);
            change(raw);
            superblock::seal(raw);
        }
        let written = self.cache.write_buffers(&[buffer]).and_then(|()| self.cache.flush());
        written.inspect_err(|&error| self.abort(error))
    }
}

impl FileSystem for Ext4 {
    fn type_name(&self) -> &'static str {
        "ext4"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        match self.root.get() {
            Some(inode) => self.node(inode),
            None => unreachable!("a mount ends with the root directory in memory"),
        }
    }

    fn statfs(&self) -> Result<StatFs> {
        let (free_blocks, free_inodes) = {
            let core = self.core.lock();
            // As Linux: what data without a place was promised is not free.
            (core.counters.free_blocks.saturating_sub(core.promised.data), core.counters.free_inodes)
        };
        // As Linux: a fiftieth, 4,096 clusters at most, is kept for conversions of extents.
        let clusters = self.geometry.cluster_bits;
        let kept = ((self.geometry.blocks >> clusters) / 50).min(4096) << clusters;
        let free_blocks = free_blocks << clusters;
        let overhead = self.overhead.load(Ordering::Relaxed);
        Ok(StatFs {
            magic: MAGIC,
            block_size: self.geometry.block_size as u32,
            blocks: self.geometry.blocks.saturating_sub(overhead),
            blocks_free: free_blocks,
            blocks_available: free_blocks.saturating_sub(self.geometry.reserved_blocks + kept),
            files: u64::from(self.geometry.inodes),
            files_free: free_inodes,
            name_max: NAME_MAX as u32,
            id: self.geometry.fsid(),
        })
    }

    fn sync(&self) -> Result<()> {
        let mut core = self.core.lock();
        if self.health.is_writable() {
            self.reap_queued(&mut core);
            self.keep_accesses(&mut core);
        }
        self.commit(&mut core)
    }

    fn write_errors(&self) -> Option<&ErrorSequence> {
        Some(&self.write_errors)
    }

    fn trim(&self, trim: Trim) -> Result<u64> {
        self.trim_free(trim)
    }

    fn unmount(&self) -> Result<()> {
        let mut core = self.core.lock();
        if self.health.is_writable() {
            self.reap_queued(&mut core);
            self.keep_accesses(&mut core);
            // Whoever still holds what has no name holds it in vain.
            self.reap_orphans(&mut core);
        }
        self.discard_windows(&mut core);
        self.commit(&mut core)?;
        // What the commit left to be made zero.
        self.flush_data()?;
        if let Some(journal) = &mut core.journal {
            self.check_not_aborted()?;
            journal.close(&self.cache).inspect_err(|&error| self.abort(error))?;
            core.journal = None;
        }
        if self.health.may_mark_superblock() {
            let clean = self.was_clean && self.health.is_writable();
            self.write_superblock(&mut core, |raw| {
                let incompat = le32(raw, field::FEATURE_INCOMPAT) & !Incompat::RECOVER.bits();
                put32(raw, field::FEATURE_INCOMPAT, incompat);
                if clean {
                    let state = crate::bytes::le16(raw, field::STATE) | STATE_VALID;
                    put16(raw, field::STATE, state);
                }
            })?;
        }
        self.health.close();
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        !self.health.is_writable()
    }

    fn uuid(&self) -> [u8; 16] {
        self.geometry.uuid
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        if handle.kind != Ext4Node::HANDLE_KIND || handle.bytes.len() != 8 {
            return Ok(None);
        }
        let (ino, generation) = (le32(&handle.bytes, 0), le32(&handle.bytes, 4));
        if !self.is_nameable(ino) {
            return Ok(None);
        }
        Ok(self.node_of_handle(ino, generation)?.map(Ext4Node::to_node))
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.health.is_writable() && self.cache.queued_bytes() + self.delayed_bytes() != 0 {
            log::warn!("ext4: dropped without unmount: changes since the last commit are lost");
        }
    }
}

/// An error for what lies outside of this filesystem.
pub(crate) fn other_filesystem() -> Error {
    Error::new(Errno::EXDEV, "inode of another filesystem")
}
