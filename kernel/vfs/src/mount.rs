//! Mounted filesystems: [`Superblock`] (one filesystem), [`Mount`] (its place in the tree), [`Location`] (a dentry as seen
//! through a mount, Linux's `struct path`), and the hook through which `mount(2)` finds filesystem types.
//!
//! The tree itself is in [`crate::topology`]; the operations on it are in `ops::mount`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use base::sync::{Mutex, RwLock};

use crate::context::Context;
use crate::dentry::Dentry;
use crate::flags::MountFlags;
use crate::inode::Inode;
use crate::namespace::Namespace;
use crate::{Attr, Errno, FileSystem, InodeFlags, Node, ObjectId, Result, SyncKind};

/// A filesystem in the tree, at however many places.
pub(crate) struct Superblock {
    pub(crate) id: u64,
    pub(crate) fs: Arc<dyn FileSystem>,
    /// How many mounts show it.
    mounts: AtomicUsize,
    unmounted: AtomicBool,
    reaper: Arc<Reaper>,
}

impl Superblock {
    pub(crate) fn new(id: u64, fs: Arc<dyn FileSystem>, reaper: Arc<Reaper>) -> Arc<Self> {
        Arc::new(Self { id, fs, mounts: AtomicUsize::new(0), unmounted: AtomicBool::new(false), reaper })
    }

    /// Unmounts the filesystem, once.
    pub(crate) fn unmount(&self) -> Result<()> {
        if self.unmounted.swap(true, Ordering::AcqRel) { Ok(()) } else { self.fs.unmount() }
    }
}

/// Filesystems whose last mount is gone, to be unmounted by the next call that holds no lock.
#[derive(Default)]
pub(crate) struct Reaper {
    waiting: AtomicBool,
    superblocks: Mutex<Vec<Arc<Superblock>>>,
}

impl Reaper {
    /// Whether there is something to do; cheap enough for every call.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes what is to be done.
    pub(crate) fn take(&self) -> Vec<Arc<Superblock>> {
        let mut superblocks = self.superblocks.lock();
        self.waiting.store(false, Ordering::Release);
        core::mem::take(&mut *superblocks)
    }
}

/// A filesystem at a place of the tree.
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) superblock: Arc<Superblock>,
    pub(crate) root: Arc<Dentry>,
    /// What `mount(2)` called the source; for `/proc/mounts` only.
    pub(crate) source: Box<[u8]>,
    flags: AtomicU64,
    /// How many files are open for writing through it.
    writers: AtomicUsize,
    /// Where it sits; `None` for the root of all and for what was taken out of the tree.
    on: RwLock<Option<Location>>,
    /// `MNT_EXPIRE` was here, and no one since.
    pub(crate) expiring: AtomicBool,
}

impl Mount {
    pub(crate) fn new(
        id: u64,
        superblock: Arc<Superblock>,
        root: Arc<Dentry>,
        source: &[u8],
        flags: MountFlags,
        on: Option<Location>,
    ) -> Arc<Self> {
        superblock.mounts.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self {
            id,
            superblock,
            root,
            source: source.into(),
            flags: AtomicU64::new(flags.bits()),
            writers: AtomicUsize::new(0),
            on: RwLock::new(on),
            expiring: AtomicBool::new(false),
        })
    }

    pub(crate) fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Takes new flags: `EBUSY` to become read-only while files are open for writing or something is being changed.
    pub(crate) fn remount(&self, flags: MountFlags) -> Result<()> {
        // The flags first, then the count: whoever changes something counts first and then looks at the flags.
        let before = self.flags.swap(flags.bits(), Ordering::SeqCst);
        if flags.contains(MountFlags::MS_RDONLY) && self.writers.load(Ordering::SeqCst) != 0 {
            self.flags.store(before, Ordering::SeqCst);
            return Err(Errno::EBUSY.into());
        }
        Ok(())
    }

    /// One more file is open for writing.
    pub(crate) fn begin_writing(&self) {
        self.writers.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_writing(&self) {
        self.writers.fetch_sub(1, Ordering::SeqCst);
    }

    /// A path led through it: whoever asked for its end by `MNT_EXPIRE` asks again.
    #[inline]
    pub(crate) fn note_use(&self) {
        if self.expiring.load(Ordering::Relaxed) {
            self.expiring.store(false, Ordering::Relaxed);
        }
    }

    pub(crate) fn has(&self, flags: MountFlags) -> bool {
        self.flags().intersects(flags)
    }

    /// Where it sits.
    pub(crate) fn on(&self) -> Option<Location> {
        self.on.read().clone()
    }

    /// Takes it off its place; the caller holds the topology exclusively, and drops the answer after.
    pub(crate) fn detach(&self) -> Option<Location> {
        self.on.write().take()
    }

    /// `EROFS` where nothing may change through this mount. It does not become read-only while the answer lives.
    pub(crate) fn want_write(&self) -> Result<Writing<'_>> {
        self.begin_writing();
        let writing = Writing(self);
        let flags = MountFlags::from_bits_retain(self.flags.load(Ordering::SeqCst));
        if flags.contains(MountFlags::MS_RDONLY) || self.superblock.fs.is_read_only() {
            return Err(Errno::EROFS.into());
        }
        Ok(writing)
    }
}

/// A change that is being made through a mount: [`Mount::want_write`].
#[must_use = "the mount may become read-only once it is dropped"]
pub(crate) struct Writing<'a>(&'a Mount);

impl Writing<'_> {
    /// Ends a change of the entries of `dir`, which is durable at once under `MS_SYNCHRONOUS` and `MS_DIRSYNC`, and if its flags
    /// want that. The caller holds its lock.
    pub(crate) fn changed_entries(&self, dir: &Inode) -> Result<()> {
        if dir.triple_locked()?.flags.intersects(InodeFlags::SYNC | InodeFlags::DIRSYNC) {
            return dir.node.ops().sync(SyncKind::All);
        }
        self.settle(MountFlags::MS_SYNCHRONOUS | MountFlags::MS_DIRSYNC, dir)
    }

    /// Ends a change of an inode, which is durable at once under `MS_SYNCHRONOUS`.
    pub(crate) fn changed(&self, inode: &Inode) -> Result<()> {
        self.settle(MountFlags::MS_SYNCHRONOUS, inode)
    }

    fn settle(&self, when: MountFlags, inode: &Inode) -> Result<()> {
        if self.0.has(when) { inode.node.ops().sync(SyncKind::All) } else { Ok(()) }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.end_writing();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let superblock = &self.superblock;
        if superblock.mounts.fetch_sub(1, Ordering::AcqRel) == 1 {
            superblock.reaper.superblocks.lock().push(superblock.clone());
            superblock.reaper.waiting.store(true, Ordering::Release);
        }
    }
}

/// A place in the tree that is in use: it stays what it is however names change, and keeps its mount from being
/// unmounted.
#[derive(Clone)]
pub struct Location {
    pub(crate) mount: Arc<Mount>,
    pub(crate) dentry: Arc<Dentry>,
}

impl Location {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }

    /// The inode; a location always has one.
    pub(crate) fn inode(&self) -> Result<&Arc<Inode>> {
        self.dentry.positive()
    }

    /// The filesystem's node.
    ///
    /// # Errors
    /// `ENOENT`, never in practice: no location of an absent name leaves the namespace.
    pub fn node(&self) -> Result<&Node> {
        Ok(&self.inode()?.node)
    }

    /// Which object it is.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    pub fn object(&self) -> Result<ObjectId> {
        Ok(self.inode()?.object())
    }

    /// The attributes, as the filesystem tells them now.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    pub fn attr(&self) -> Result<Attr> {
        self.node()?.attr()
    }

    /// Keeps the filesystem mounted without a place in the tree, for as long as the answer lives: what an overlay's layer needs
    /// once its own mount is gone (Linux's `clone_private_mount`).
    #[must_use]
    pub fn pin(&self) -> Pin {
        let Mount { id, superblock, source, .. } = &*self.mount;
        Pin { _mount: Mount::new(*id, superblock.clone(), self.dentry.clone(), source, self.mount.flags(), None) }
    }

    /// The filesystem that it is in.
    #[must_use]
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.mount.superblock.fs
    }

    /// The flags of the mount through which it is seen.
    #[must_use]
    pub fn mount_flags(&self) -> MountFlags {
        self.mount.flags()
    }

    /// The number of that mount, as in `/proc/self/mountinfo` and `statx(2)`.
    #[must_use]
    pub fn mount_id(&self) -> u64 {
        self.mount.id
    }

    /// Whether `is_it` says so of a directory above this place, on the same filesystem, whatever is mounted on the way.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    pub fn is_below(&self, mut is_it: impl FnMut(ObjectId) -> bool) -> Result<bool> {
        let mut above = self.dentry.parent();
        while let Some(dentry) = above {
            if is_it(dentry.positive()?.object()) {
                return Ok(true);
            }
            above = dentry.parent();
        }
        Ok(false)
    }

    /// Whether this is the root of its mount.
    #[must_use]
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, &self.mount.root)
    }
}

/// Keeps a filesystem mounted: [`Location::pin`].
pub struct Pin {
    _mount: Arc<Mount>,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location(mount {}, \"{}\")", self.mount.id, self.dentry.name().escape_ascii())
    }
}

/// One line of `/proc/mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The number of the mount.
    pub id: u64,
    /// The number of the mount on which it sits; its own for the root.
    pub parent: u64,
    /// What was mounted.
    pub source: Vec<u8>,
    /// Where, as seen from the root of the one who asks.
    pub target: Vec<u8>,
    /// The type of the filesystem.
    pub fs_type: &'static str,
    /// What the mount keeps of the flags, `MS_RDONLY` also where the filesystem is read-only by itself.
    pub flags: MountFlags,
    /// `st_dev` of its root.
    pub dev: u64,
}

impl MountEntry {
    /// The flags as options, as in `/proc/mounts`: `rw,nosuid,relatime`.
    #[must_use]
    pub fn options(&self) -> Vec<u8> {
        let names = [
            (MountFlags::MS_NOSUID, &b",nosuid"[..]),
            (MountFlags::MS_NODEV, b",nodev"),
            (MountFlags::MS_NOEXEC, b",noexec"),
            (MountFlags::MS_SYNCHRONOUS, b",sync"),
            (MountFlags::MS_DIRSYNC, b",dirsync"),
            (MountFlags::MS_NOATIME, b",noatime"),
            (MountFlags::MS_NODIRATIME, b",nodiratime"),
            (MountFlags::MS_RELATIME, b",relatime"),
            (MountFlags::MS_NOSYMFOLLOW, b",nosymfollow"),
        ];
        let mut options = Vec::from(if self.flags.contains(MountFlags::MS_RDONLY) { &b"ro"[..] } else { b"rw" });
        for (flag, name) in names {
            if self.flags.contains(flag) {
                options.extend_from_slice(name);
            }
        }
        options
    }
}

/// What `mount(2)` was told.
pub struct MountRequest<'a> {
    /// The tree, for a source that is a path in it.
    pub namespace: &'a Arc<Namespace>,
    /// The caller.
    pub context: &'a Context,
    /// What to mount: a device's path, or any word.
    pub source: &'a [u8],
    /// The type.
    pub fs_type: &'a [u8],
    /// Flags; `MS_RDONLY` asks for a filesystem that writes nothing at all.
    pub flags: MountFlags,
    /// Options of the filesystem, separated by commas.
    pub data: &'a [u8],
}

/// The filesystem types that the kernel has.
pub trait FileSystemTypes: Send + Sync {
    /// Makes or finds the filesystem that is to be mounted. The same one may be answered twice: it is then shown at both
    /// places.
    ///
    /// # Errors
    /// `ENODEV` for an unknown type; `ENOTBLK`, `ENXIO`, `EBUSY`, `EINVAL`, `EUCLEAN`, `EIO` by what is wrong with the source.
    fn open(&self, request: &MountRequest<'_>) -> Result<Arc<dyn FileSystem>>;

    /// `MS_REMOUNT`: tells a mounted filesystem new options. The flags of the mount itself are the namespace's.
    ///
    /// # Errors
    /// `EINVAL` for options that cannot change; `EROFS` where it cannot become writable.
    fn remount(&self, _fs: &Arc<dyn FileSystem>, _request: &MountRequest<'_>) -> Result<()> {
        Ok(())
    }
}
