//! The namespace itself: one tree of mounts, and what all calls share.
//!
//! Lock order, outermost first: [`Namespace::rename`] → directories' inode locks (ancestor first, else by address) → the
//! attribute locks of other inodes → the topology → locks inside of it (a dentry's place, a mount's place) → the inode
//! table. A filesystem is called under the first three at most.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use base::sync::{Mutex, OnceLock, RwLock};

use crate::context::{Context, FsState};
use crate::credentials::Credentials;
use crate::dentry::{Caching, Dentry, Place};
use crate::device::DeviceTable;
use crate::fd_table::FdTable;
use crate::flags::MountFlags;
use crate::inode::InodeTable;
use crate::mount::{FileSystemTypes, Location, Mount, Reaper, Superblock};
use crate::topology::Topology;
use crate::wait::{NeverWait, Wait};
use crate::{FileSystem, Node};

/// Whether a protection of `proc_sys_fs(5)` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// Off, as in a kernel that no one configured.
    #[default]
    Off,
    /// On, as level 1.
    On,
}

/// The protections of sticky directories and hard links, `fs.protected_*`. All are off unless asked for, as in Linux itself;
/// distributions switch them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protections {
    /// Links in sticky world-writable directories are followed only for their owner or the directory's.
    pub symlinks: Protection,
    /// Hard links only to files that one owns or may read and write.
    pub hardlinks: Protection,
    /// `O_CREAT` does not open others' FIFOs in sticky directories.
    pub fifos: Protection,
    /// `O_CREAT` does not open others' files in sticky directories.
    pub regular: Protection,
}

/// How a namespace is set up.
#[derive(Clone)]
pub struct NamespaceOptions {
    /// How many dentries the cache keeps, those in use not counted against it; about 300 bytes each.
    pub dentry_capacity: usize,
    /// Protections.
    pub protections: Protections,
    /// How calls wait.
    pub wait: Arc<dyn Wait>,
    /// What the root mount keeps of `mount(2)`'s flags.
    pub root_flags: MountFlags,
}

impl Default for NamespaceOptions {
    fn default() -> Self {
        Self {
            dentry_capacity: 16_384,
            protections: Protections::default(),
            wait: Arc::new(NeverWait),
            root_flags: MountFlags::MS_RELATIME,
        }
    }
}

/// The tree of all mounts, with every operation on it: `ops` has them by family.
pub struct Namespace {
    pub(crate) topology: RwLock<Topology>,
    pub(crate) inodes: Arc<InodeTable>,
    /// Held over a rename from one directory to another, so that ancestry stands still.
    pub(crate) rename: Mutex<()>,
    pub(crate) protections: Protections,
    pub(crate) wait: Arc<dyn Wait>,
    pub(crate) types: OnceLock<Arc<dyn FileSystemTypes>>,
    pub(crate) reaper: Arc<Reaper>,
    root: Arc<Mount>,
    devices: DeviceTable,
    next_id: AtomicU64,
}

impl Namespace {
    /// A tree whose root is the root of `fs`.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>, source: &[u8], options: NamespaceOptions) -> Arc<Self> {
        let inodes = Arc::<InodeTable>::default();
        let reaper = Arc::<Reaper>::default();
        let superblock = Superblock::new(1, fs, reaper.clone());
        let root = root_dentry(2, &superblock, &inodes);
        let root = Mount::new(3, superblock, root, source, options.root_flags, None);
        Arc::new(Self {
            topology: RwLock::new(Topology::new(options.dentry_capacity)),
            inodes,
            rename: Mutex::new(()),
            protections: options.protections,
            wait: options.wait,
            types: OnceLock::new(),
            reaper,
            root,
            devices: DeviceTable::new(),
            next_id: AtomicU64::new(4),
        })
    }

    /// Registers the filesystem types of `mount(2)`. The first call counts; before it, every type is unknown.
    pub fn set_file_system_types(&self, types: Arc<dyn FileSystemTypes>) {
        self.types.call_once(|| types);
    }

    /// The drivers behind device nodes.
    #[must_use]
    pub const fn devices(&self) -> &DeviceTable {
        &self.devices
    }

    /// A task at the root of the tree, without descriptors.
    #[must_use]
    pub fn context(&self, credentials: Credentials, pid: i32) -> Context {
        Context {
            credentials,
            fs: Arc::new(FsState::new(self.root())),
            files: Arc::new(FdTable::new()),
            file_size_limit: u64::MAX,
            pid,
        }
    }

    /// The root of the tree, with what is mounted over it.
    #[must_use]
    pub fn root(&self) -> Location {
        let topology = self.topology.read();
        let mut mount = &self.root;
        while let Some(above) = topology.mount_at(mount, &mount.root) {
            mount = above;
        }
        Location { mount: mount.clone(), dentry: mount.root.clone() }
    }

    pub(crate) const fn root_mount(&self) -> &Arc<Mount> {
        &self.root
    }

    /// A number that nothing else in this namespace has.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// How many dentries are cached now.
    #[must_use]
    pub fn cached_dentries(&self) -> usize {
        self.topology.read().len()
    }

    /// Gives up every cached dentry that is not in use, for the sake of memory; with them go the inodes that no
    /// filesystem needs for itself.
    pub fn shrink_cache(&self) {
        loop {
            let mut discarded = Vec::new();
            self.topology.write().shrink(&mut discarded);
            if discarded.is_empty() {
                return;
            }
        }
    }

    /// Unmounts filesystems whose last user is gone. Every call that resolves a path does this first.
    #[inline]
    pub fn reap(&self) {
        if self.reaper.is_waiting() {
            // A fault was logged where it started, and no one is left to be told.
            let _ = self.reap_waiting();
        }
    }
}

/// The dentry of a filesystem's root directory.
pub(crate) fn root_dentry(id: u64, superblock: &Superblock, inodes: &Arc<InodeTable>) -> Arc<Dentry> {
    let inode = inodes.get(superblock.id, Node::Dir(superblock.fs.root()));
    let caching = if superblock.fs.is_volatile() { Caching::Asked } else { Caching::Kept };
    Dentry::new(id, superblock.id, caching, Some(inode), Place { parent: None, name: Arc::from(&b""[..]) })
}
