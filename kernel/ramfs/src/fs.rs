//! The filesystem as a whole: limits, root, space, and nodes by handle.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use base::sync::Mutex;
use hashbrown::{DefaultHashBuilder, HashMap};
use vfs::{DirOps, FileHandle, FileSystem, FsContext, InodeFlags, NAME_MAX, NewKind, NewNode, Node, Result, StatFs};

use crate::dir::Directory;
use crate::inode::{Inode, Linkage, Shared};
use crate::node::RamNode;
use crate::pages::PAGE;
use crate::space::Quota;

/// `TMPFS_MAGIC` of `<linux/magic.h>`: programs know by it that what they write is gone after a reboot.
pub const MAGIC: u64 = 0x0102_1994;

/// The number of the root inode.
const ROOT_INO: u64 = 1;

/// Counts the filesystems made, so that none takes another's handles for its own.
static MADE: AtomicU32 = AtomicU32::new(1);

/// Limits and the root directory's first attributes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most space that file content (by 4 KiB pages), symbolic links' targets and extended attributes may take, in
    /// bytes; `None` is as much as there is memory.
    pub size_limit: Option<u64>,
    /// The most inodes, each further hard link counted as one more; `None` is as many as there is memory for.
    pub inode_limit: Option<u64>,
    /// The most links of an inode: more is `EMLINK`. A directory has two, and one for each subdirectory.
    pub link_max: u32,
    /// Permission bits of the root.
    pub root_mode: u16,
    /// Owner of the root.
    pub root_uid: u32,
    /// Group of the root.
    pub root_gid: u32,
    /// The UUID that goes into handles.
    pub uuid: [u8; 16],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            size_limit: None,
            inode_limit: None,
            link_max: i32::MAX as u32,
            root_mode: 0o755,
            root_uid: 0,
            root_gid: 0,
            uuid: [0; 16],
        }
    }
}

/// A filesystem in memory. When it and every node of it are dropped, all of its memory is free again.
pub struct RamFs {
    shared: Arc<Shared>,
    root: Arc<Inode<Directory>>,
    uuid: [u8; 16],
}

impl RamFs {
    /// An empty filesystem.
    ///
    /// # Errors
    /// `ENOSPC` where the limits have no room for a root; `ENOMEM`.
    pub fn new(context: FsContext, options: &Options) -> Result<Arc<Self>> {
        let now = context.clock.now();
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            context,
            bytes: Quota::new(options.size_limit, "ramfs: no space left"),
            inodes: Quota::new(options.inode_limit, "ramfs: no inode left"),
            link_max: options.link_max,
            generation: made.wrapping_mul(0x9e37_79b1) ^ now.nanos ^ now.secs as u32,
            next_ino: AtomicU64::new(ROOT_INO),
            topology: Mutex::new(()),
            whiteout: Mutex::new(Weak::new()),
            table: Mutex::new(HashMap::new()),
            hasher: DefaultHashBuilder::default(),
        });
        let new = NewNode {
            kind: NewKind::Dir,
            mode: options.root_mode,
            uid: options.root_uid,
            gid: options.root_gid,
            xattrs: &[],
        };
        let RamNode::Dir(root) = shared.make(&new, Linkage::Named, InodeFlags::empty(), now)? else {
            unreachable!("a directory was asked for")
        };
        Ok(Arc::new(Self { shared, root, uuid: options.uuid }))
    }
}

impl FileSystem for RamFs {
    fn type_name(&self) -> &'static str {
        "tmpfs"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        let (bytes, inodes) = (&self.shared.bytes, &self.shared.inodes);
        let page = PAGE as u64;
        let free = bytes.free().unwrap_or(0) / page;
        Ok(StatFs {
            magic: MAGIC,
            block_size: PAGE as u32,
            blocks: bytes.limit().unwrap_or(0) / page,
            blocks_free: free,
            blocks_available: free,
            files: inodes.limit().unwrap_or(0),
            files_free: inodes.free().unwrap_or(0),
            name_max: NAME_MAX as u32,
            id: self.shared.context.dev,
        })
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        let Some(ino) = self.shared.parse_handle(handle) else { return Ok(None) };
        // The strong reference leaves the lock's scope before it can be dropped: an inode's drop takes the lock.
        let found = self.shared.table.lock().get(&ino).and_then(crate::node::WeakNode::upgrade);
        let is_named = |node: &RamNode| node.core().meta.read().linkage == Linkage::Named;
        Ok(found.filter(is_named).map(|node| node.to_vfs()))
    }
}
