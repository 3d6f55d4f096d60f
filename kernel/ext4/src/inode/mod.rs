//! Inodes in memory.
//!
//! An [`Inode`] is what the filesystem knows of one; an [`Ext4Node`](crate::node::Ext4Node) is what the outside
//! holds. The [table] maps numbers to both, so that two lookups share one. An inode stays in the table while a node
//! lives or the running transaction has changed it.

mod access;
mod reap;
pub(crate) mod record;
pub(crate) mod table;

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use base::sync::{Mutex, RwLock};
use vfs::{Attr, DeviceNumber, ErrorSequence, FileType, InodeFlags};

use crate::file::delayed::Delayed;
use crate::fs::Ext4;
use record::{Record, flag};

/// Where the last sequential read ended, and how far ahead reads go now.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ReadAhead {
    /// Block after the last one that was read.
    pub(crate) next: u64,
    /// Blocks to read ahead.
    pub(crate) window: u32,
}

/// An inode.
///
/// Lock order: `content` → `record`. Structure (mapping, entries, attributes in blocks) changes only while the filesystem's
/// core lock and this inode's `content` are held exclusively, so whoever holds `content` shared may follow it.
/// `record` is never held over I/O.
#[derive(Debug)]
pub(crate) struct Inode {
    pub(crate) ino: u32,
    /// Seed of the checksums of this inode's blocks.
    pub(crate) seed: u32,
    pub(crate) kind: FileType,
    pub(crate) content: RwLock<()>,
    pub(crate) record: RwLock<Record>,
    /// The transaction that changed it last.
    pub(crate) transaction: AtomicU32,
    /// The transaction that last changed what its data cannot be found without: name, size, mapping, attributes.
    pub(crate) data_transaction: AtomicU32,
    /// The transaction that last cut off a part of a block, which is on the disk as it was until the commit.
    pub(crate) cut_transaction: AtomicU32,
    /// The handle that saved the record last.
    pub(crate) handle: AtomicU64,
    /// A staged inode: it has no name yet, and a directory may be filled all the same.
    pub(crate) staged: AtomicBool,
    /// Is in the list of inodes with an access time to be kept.
    pub(crate) is_accessed: AtomicBool,
    /// Holds a reservation of blocks.
    pub(crate) has_window: AtomicBool,
    pub(crate) read_ahead: Mutex<ReadAhead>,
    /// Data that has no place on the disk yet, and how many blocks of it.
    pub(crate) delayed: Mutex<Delayed>,
    pub(crate) delayed_blocks: AtomicU32,
    /// Is among the files of [`Core::delayed`](crate::transaction::Core).
    pub(crate) is_delayed: AtomicBool,
    /// Blocks from this one on are being freed, in more handles than one: the file is on the orphan list, and neither grows
    /// nor is written to before that has come to its end.
    pub(crate) cut: Mutex<Option<u32>>,
    /// Data that was lost.
    pub(crate) write_errors: ErrorSequence,
}

impl Inode {
    pub(crate) fn new(ino: u32, seed: u32, record: Record) -> Self {
        Self {
            ino,
            seed,
            kind: record.kind,
            content: RwLock::new(()),
            record: RwLock::new(record),
            transaction: AtomicU32::new(0),
            data_transaction: AtomicU32::new(0),
            cut_transaction: AtomicU32::new(0),
            handle: AtomicU64::new(0),
            staged: AtomicBool::new(false),
            is_accessed: AtomicBool::new(false),
            has_window: AtomicBool::new(false),
            read_ahead: Mutex::new(ReadAhead::default()),
            delayed: Mutex::default(),
            delayed_blocks: AtomicU32::new(0),
            is_delayed: AtomicBool::new(false),
            cut: Mutex::new(None),
            write_errors: ErrorSequence::default(),
        }
    }

    pub(crate) fn is_staged(&self) -> bool {
        self.staged.load(Ordering::Relaxed)
    }

    /// What the medium shall say of its links: nothing while it is staged, so that a crash frees it.
    pub(crate) fn links_on_disk(&self, record: &Record) -> u32 {
        if self.is_staged() { 0 } else { record.links }
    }

    /// Whether blocks behind its end are still to be freed.
    pub(crate) fn is_being_cut(&self) -> bool {
        self.cut.lock().is_some()
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind == FileType::Dir
    }

    pub(crate) fn attr(&self, fs: &Ext4) -> Attr {
        let record = self.record.read();
        let delayed = u64::from(self.delayed_blocks.load(Ordering::Relaxed)) << (fs.geometry.block_bits - 9);
        let special = matches!(record.kind, FileType::CharDevice | FileType::BlockDevice);
        Attr {
            dev: fs.context.dev,
            ino: u64::from(self.ino),
            kind: record.kind,
            mode: record.mode,
            nlink: record.links,
            uid: record.uid,
            gid: record.gid,
            rdev: if special { record.device() } else { DeviceNumber::default() },
            size: record.size,
            blocks: record.sectors + delayed,
            block_size: fs.geometry.block_size as u32,
            atime: record.atime,
            mtime: record.mtime,
            ctime: record.ctime,
            btime: record.has_btime().then_some(record.btime),
            flags: Some(InodeFlags::from_bits_retain(record.flags & flag::VISIBLE)),
        }
    }
}
