//! The inode as the namespace knows it: a filesystem's [`Node`] with what all its names and opens share.
//!
//! There is one [`Inode`] for each node in use, found through the [`InodeTable`]. It keeps the permission triple (mode,
//! owner, group) and the access control lists, so that a search through a cached path asks no filesystem; the target of a symbolic
//! link; who has the file open for writing; its record locks; and a named pipe's buffer.
//!
//! Lock order: [`Inode::lock`] is the directory lock of the crate's order (for other kinds: the attribute lock, after all
//! directories). The table's own lock is innermost.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use base::sync::{Mutex, OnceLock, RwLock};
use hashbrown::HashMap;

use crate::acl::{self, Acl};
use crate::credentials::Credentials;
use crate::locks::LockList;
use crate::permission;
use crate::pipe::Pipe;
use crate::{Attr, DirOps, Errno, FileType, InodeFlags, Node, Result, SetAttr};

/// Which object of which mounted filesystem: equal exactly for two handles of one object, unlike numbers, which programs see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    superblock: u64,
    identity: u64,
}

/// What permission checks need to know of an inode.
#[derive(Clone, Copy)]
pub(crate) struct Triple<'a> {
    pub(crate) kind: FileType,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Its flags; none where the filesystem keeps none.
    pub(crate) flags: InodeFlags,
    /// The inode, where it may have an access control list beside its bits.
    pub(crate) listed: Option<&'a Inode>,
}

/// What is known of one of an inode's access control lists.
#[derive(Clone, Default)]
enum Known {
    #[default]
    Nothing,
    Absent,
    List(Arc<Acl>),
}

/// The access control lists of an inode, each asked of the filesystem once.
#[derive(Default)]
struct Lists {
    access: Known,
    default: Known,
    /// Counts the changes, so that what was read before one is not kept after it.
    version: u64,
}

/// A node in use.
pub(crate) struct Inode {
    pub(crate) node: Node,
    key: ObjectId,
    /// Held shared over lookups in the directory, exclusively over changes of its entries and of the inode's attributes.
    pub(crate) lock: RwLock<()>,
    /// `st_mode`, `MODE_KNOWN` once the triple is there, `UNLISTED` once it is known to be all, `INCAPABLE`.
    mode: AtomicU32,
    /// Owner in the upper half, group in the lower.
    owner: AtomicU64,
    flags: AtomicU32,
    /// The directory was removed: nothing is found in it or made in it any more.
    dead: AtomicBool,
    /// Made without a name, never to get one (`O_TMPFILE|O_EXCL`).
    nameless: AtomicBool,
    target: OnceLock<Arc<[u8]>>,
    lists: Mutex<Lists>,
    /// How many have the file open for writing; below zero, how many execute it.
    writers: AtomicI64,
    pub(crate) locks: Mutex<LockList>,
    pipe: Mutex<Weak<Pipe>>,
    table: Weak<InodeTable>,
}

const MODE_KNOWN: u32 = 1 << 31;
/// In [`Inode::mode`]: there is no access list.
const UNLISTED: u32 = 1 << 30;
/// In [`Inode::mode`]: there are no file capabilities (Linux's `S_NOSEC`).
const INCAPABLE: u32 = 1 << 29;

impl Inode {
    pub(crate) fn object(&self) -> ObjectId {
        self.key
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir(_))
    }

    pub(crate) fn is_symlink(&self) -> bool {
        matches!(self.node, Node::Symlink(_))
    }

    /// The directory; `ENOTDIR` else.
    pub(crate) fn dir(&self) -> Result<&Arc<dyn DirOps>> {
        self.node.as_dir()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) fn set_dead(&self) {
        self.dead.store(true, Ordering::Release);
    }

    pub(crate) fn forbid_links(&self) {
        self.nameless.store(true, Ordering::Release);
    }

    pub(crate) fn links_forbidden(&self) -> bool {
        self.nameless.load(Ordering::Acquire)
    }

    /// The triple, if it is known.
    #[inline]
    pub(crate) fn cached_triple(&self) -> Option<Triple<'_>> {
        let mode = self.mode.load(Ordering::Acquire);
        if mode & MODE_KNOWN == 0 {
            return None;
        }
        let owner = self.owner.load(Ordering::Relaxed);
        Some(Triple {
            kind: FileType::from_mode(mode)?,
            mode: (mode & 0o7777) as u16,
            uid: (owner >> 32) as u32,
            gid: owner as u32,
            flags: InodeFlags::from_bits_retain(self.flags.load(Ordering::Relaxed)),
            listed: (mode & UNLISTED == 0).then_some(self),
        })
    }

    /// The triple, asked of the filesystem where it is not known. The caller does not hold [`lock`](Self::lock).
    pub(crate) fn triple(&self) -> Result<Triple<'_>> {
        match self.cached_triple() {
            Some(triple) => Ok(triple),
            None => {
                let _shared = self.lock.read();
                self.triple_locked()
            }
        }
    }

    /// As [`triple`](Self::triple), for those who hold the lock.
    pub(crate) fn triple_locked(&self) -> Result<Triple<'_>> {
        match self.cached_triple() {
            Some(triple) => Ok(triple),
            None => {
                let Attr { kind, mode, uid, gid, flags, .. } = self.node.attr()?;
                let triple = Triple { kind, mode, uid, gid, flags: flags.unwrap_or_default(), listed: Some(self) };
                self.remember(triple);
                Ok(triple)
            }
        }
    }

    /// Keeps what a filesystem was just told or just answered.
    pub(crate) fn remember(&self, triple: Triple<'_>) {
        self.owner.store(u64::from(triple.uid) << 32 | u64::from(triple.gid), Ordering::Relaxed);
        self.flags.store(triple.flags.bits(), Ordering::Relaxed);
        let unlisted = if triple.listed.is_none() { UNLISTED } else { 0 };
        let mode = triple.kind.mode_bits() | u32::from(triple.mode) | MODE_KNOWN | unlisted;
        self.mode.store(mode, Ordering::Release);
    }

    /// Forgets the triple and the lists: the next check asks the filesystem.
    pub(crate) fn forget_triple(&self) {
        let mut lists = self.lists.lock();
        *lists = Lists { version: lists.version + 1, ..Lists::default() };
        self.mode.store(0, Ordering::Release);
    }

    /// The inode's own access control list; `None` where there is none.
    pub(crate) fn access_list(&self) -> Result<Option<Arc<Acl>>> {
        self.list(acl::ACCESS, |lists| &mut lists.access)
    }

    /// What [`access_list`](Self::access_list) answers, if that needs no filesystem.
    pub(crate) fn cached_access_list(&self) -> Option<Option<Arc<Acl>>> {
        match &self.lists.lock().access {
            Known::Nothing => None,
            Known::Absent => Some(None),
            Known::List(list) => Some(Some(list.clone())),
        }
    }

    /// The list that a directory hands down to what is made in it.
    pub(crate) fn default_list(&self) -> Result<Option<Arc<Acl>>> {
        self.list(acl::DEFAULT, |lists| &mut lists.default)
    }

    fn list(&self, name: &[u8], place: impl Fn(&mut Lists) -> &mut Known) -> Result<Option<Arc<Acl>>> {
        let version = {
            let mut lists = self.lists.lock();
            match place(&mut lists) {
                Known::Nothing => lists.version,
                Known::Absent => return Ok(None),
                Known::List(list) => return Ok(Some(list.clone())),
            }
        };
        let list = Acl::of(self.node.ops(), name)?.map(Arc::new);
        let mut lists = self.lists.lock();
        if lists.version == version {
            *place(&mut lists) = list.clone().map_or(Known::Absent, Known::List);
            if list.is_none() && name == acl::ACCESS {
                self.mode.fetch_or(UNLISTED, Ordering::Release);
            }
        }
        Ok(list)
    }

    /// Whether the file may have capabilities that its next change takes away.
    #[inline]
    pub(crate) fn may_have_capabilities(&self) -> bool {
        self.mode.load(Ordering::Acquire) & INCAPABLE == 0
    }

    /// File capabilities are about to be set; the caller holds the lock exclusively.
    pub(crate) fn expect_capabilities(&self) {
        self.mode.fetch_and(!INCAPABLE, Ordering::Release);
    }

    /// Takes the capabilities of a file away, for its content or its owner changes (`security_inode_killpriv`); the caller holds the
    /// lock exclusively.
    pub(crate) fn drop_capabilities_locked(&self, triple: &Triple<'_>) -> Result<()> {
        if triple.kind != FileType::File || !self.may_have_capabilities() {
            return Ok(());
        }
        match self.node.ops().xattr(permission::FILE_CAPABILITIES) {
            Ok(Some(_)) => self.node.ops().remove_xattr(permission::FILE_CAPABILITIES)?,
            Ok(None) => {}
            Err(error) if error.errno() == Errno::EOPNOTSUPP => {}
            Err(error) => return Err(error),
        }
        self.mode.fetch_or(INCAPABLE, Ordering::Release);
        Ok(())
    }

    /// Takes away what a program could have been given by who made it, for its content changes: capabilities, and set-id bits
    /// unless the caller may keep them (`file_remove_privs`). The caller holds the lock exclusively.
    pub(crate) fn drop_privileges_locked(&self, who: &Credentials, triple: &Triple<'_>) -> Result<()> {
        self.drop_capabilities_locked(triple)?;
        match permission::after_write(who, triple) {
            Some(mode) => self.set_attr_locked(&SetAttr { mode: Some(mode), ..SetAttr::default() }),
            None => Ok(()),
        }
    }

    /// Changes attributes; the caller holds the lock exclusively.
    pub(crate) fn set_attr_locked(&self, change: &SetAttr) -> Result<()> {
        let result = self.node.ops().set_attr(change);
        if change.mode.is_some() || change.uid.is_some() || change.gid.is_some() {
            self.forget_triple();
        }
        result
    }

    /// Changes the flags; the caller holds the lock exclusively.
    pub(crate) fn set_flags_locked(&self, flags: InodeFlags) -> Result<()> {
        let result = self.node.ops().set_flags(flags, None);
        self.forget_triple();
        result
    }

    /// The target of a symbolic link, if it was read before.
    pub(crate) fn cached_target(&self) -> Option<&Arc<[u8]>> {
        self.target.get()
    }

    /// The target of a symbolic link, kept from the first time on; `EINVAL` for other kinds.
    pub(crate) fn target(&self) -> Result<&Arc<[u8]>> {
        self.target.try_call_once(|| self.read_target())
    }

    /// The target of a symbolic link, as the filesystem tells it now; `EINVAL` for other kinds.
    pub(crate) fn read_target(&self) -> Result<Arc<[u8]>> {
        let Node::Symlink(link) = &self.node else { return Err(Errno::EINVAL.into()) };
        link.note_access();
        link.target().map(Arc::from)
    }

    /// One more has the file open for writing: `ETXTBSY` while it is executed.
    pub(crate) fn begin_writing(&self) -> Result<()> {
        let claim = |count: i64| (count >= 0).then_some(count + 1);
        self.writers.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).map_err(|_| Errno::ETXTBSY)?;
        Ok(())
    }

    pub(crate) fn end_writing(&self) {
        self.writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// One more executes the file: `ETXTBSY` while it is open for writing.
    pub(crate) fn begin_executing(&self) -> Result<()> {
        let claim = |count: i64| (count <= 0).then_some(count - 1);
        self.writers.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).map_err(|_| Errno::ETXTBSY)?;
        Ok(())
    }

    pub(crate) fn end_executing(&self) {
        self.writers.fetch_add(1, Ordering::AcqRel);
    }

    /// The buffer behind a named pipe, shared by all who have it open.
    pub(crate) fn pipe(&self, make: impl FnOnce() -> Arc<Pipe>) -> Arc<Pipe> {
        let mut pipe = self.pipe.lock();
        pipe.upgrade().unwrap_or_else(|| {
            let new = make();
            *pipe = Arc::downgrade(&new);
            new
        })
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.forget(&self.key);
        }
    }
}

/// Every inode in use.
#[derive(Default)]
pub(crate) struct InodeTable {
    inodes: Mutex<HashMap<ObjectId, Weak<Inode>>>,
}

impl InodeTable {
    /// The inode of a node, made if no one uses it yet.
    pub(crate) fn get(self: &Arc<Self>, superblock: u64, node: Node) -> Arc<Inode> {
        let key = ObjectId { superblock, identity: node.ops().identity() };
        let mut inodes = self.inodes.lock();
        if let Some(inode) = inodes.get(&key).and_then(Weak::upgrade) {
            // Two threads may race here only with nodes of one inode; the second node is dropped after the lock.
            drop(inodes);
            return inode;
        }
        let inode = Arc::new(Inode {
            node,
            key,
            lock: RwLock::new(()),
            mode: AtomicU32::new(0),
            owner: AtomicU64::new(0),
            flags: AtomicU32::new(0),
            dead: AtomicBool::new(false),
            nameless: AtomicBool::new(false),
            target: OnceLock::new(),
            lists: Mutex::default(),
            writers: AtomicI64::new(0),
            locks: Mutex::default(),
            pipe: Mutex::new(Weak::new()),
            table: Arc::downgrade(self),
        });
        inodes.insert(key, Arc::downgrade(&inode));
        inode
    }

    /// Removes the entry of an inode whose last user is gone, unless a new one took its place meanwhile.
    fn forget(&self, key: &ObjectId) {
        let mut inodes = self.inodes.lock();
        if inodes.get(key).is_some_and(|inode| inode.strong_count() == 0) {
            inodes.remove(key);
        }
    }
}
