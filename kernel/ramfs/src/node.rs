//! A node of this filesystem by kind, strong and weak; symbolic links and special nodes; and how nodes are made.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use base::sync::RwLock;
use vfs::{
    DeviceNumber, DirOps, Errno, Error, FileType, InodeFlags, NewKind, NewNode, Node, Result, SpecialOps, SymlinkOps,
    Timestamp, XattrMode, mode,
};

use crate::content::Content;
use crate::dir::Directory;
use crate::inode::{Body, Core, Extent, Inode, Linkage, Meta, Shared};
use crate::memory::{boxed, copy, out_of_memory};
use crate::xattrs::Xattrs;

/// The longest target of a symbolic link, in bytes.
const TARGET_MAX: usize = 4095;

/// A symbolic link's body.
pub(crate) struct Target(Box<[u8]>);

impl Body for Target {
    fn file_type(&self) -> FileType {
        FileType::Symlink
    }

    fn with_extent<R>(&self, observe: impl FnOnce(Extent) -> R) -> R {
        observe(Extent { size: self.0.len() as u64, blocks: 0 })
    }

    fn release(&mut self, shared: &Shared) {
        shared.bytes.release(self.0.len() as u64);
    }
}

impl SymlinkOps for Inode<Target> {
    fn target(&self) -> Result<Vec<u8>> {
        copy(&self.body.0)
    }
}

/// The body of a device, named pipe or socket.
pub(crate) enum Special {
    CharDevice(DeviceNumber),
    BlockDevice(DeviceNumber),
    Fifo,
    Socket,
}

impl Body for Special {
    fn file_type(&self) -> FileType {
        match self {
            Self::CharDevice(_) => FileType::CharDevice,
            Self::BlockDevice(_) => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }

    fn rdev(&self) -> DeviceNumber {
        match self {
            Self::CharDevice(number) | Self::BlockDevice(number) => *number,
            Self::Fifo | Self::Socket => DeviceNumber::default(),
        }
    }

    fn with_extent<R>(&self, observe: impl FnOnce(Extent) -> R) -> R {
        observe(Extent::default())
    }

    fn release(&mut self, _shared: &Shared) {}
}

impl SpecialOps for Inode<Special> {}

/// A node, held.
#[derive(Clone)]
pub(crate) enum RamNode {
    File(Arc<Inode<Content>>),
    Dir(Arc<Inode<Directory>>),
    Symlink(Arc<Inode<Target>>),
    Special(Arc<Inode<Special>>),
}

/// A node, known as long as others hold it.
pub(crate) enum WeakNode {
    File(Weak<Inode<Content>>),
    Dir(Weak<Inode<Directory>>),
    Symlink(Weak<Inode<Target>>),
    Special(Weak<Inode<Special>>),
}

impl core::fmt::Debug for RamNode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}({})", self.file_type(), self.ino())
    }
}

impl RamNode {
    pub(crate) fn core(&self) -> &Core {
        match self {
            Self::File(inode) => &inode.core,
            Self::Dir(inode) => &inode.core,
            Self::Symlink(inode) => &inode.core,
            Self::Special(inode) => &inode.core,
        }
    }

    pub(crate) fn ino(&self) -> u64 {
        self.core().ino
    }

    pub(crate) fn file_type(&self) -> FileType {
        match self {
            Self::File(_) => FileType::File,
            Self::Dir(_) => FileType::Dir,
            Self::Symlink(_) => FileType::Symlink,
            Self::Special(inode) => inode.body.file_type(),
        }
    }

    pub(crate) fn as_dir(&self) -> Option<&Arc<Inode<Directory>>> {
        match self {
            Self::Dir(dir) => Some(dir),
            _ => None,
        }
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.as_dir().is_some()
    }

    /// Whether it is the character device 0/0.
    pub(crate) fn is_whiteout(&self) -> bool {
        matches!(self, Self::Special(inode)
            if matches!(inode.body, Special::CharDevice(DeviceNumber { major: 0, minor: 0 })))
    }

    /// As others see it.
    pub(crate) fn to_vfs(&self) -> Node {
        match self.clone() {
            Self::File(inode) => Node::File(inode),
            Self::Dir(inode) => Node::Dir(inode),
            Self::Symlink(inode) => Node::Symlink(inode),
            Self::Special(inode) => Node::Special(inode),
        }
    }

    /// The node of this filesystem behind `node`.
    ///
    /// # Errors
    /// `EXDEV` if it is another filesystem's.
    pub(crate) fn from_vfs(node: &Node, shared: &Arc<Shared>) -> Result<Self> {
        fn of<B: Body>(any: Arc<dyn Any + Send + Sync>) -> Option<Arc<Inode<B>>> {
            any.downcast().ok()
        }
        let ours = match node.clone() {
            Node::File(node) => of(node).map(Self::File),
            Node::Dir(node) => of(node).map(Self::Dir),
            Node::Symlink(node) => of(node).map(Self::Symlink),
            Node::Special(node) => of(node).map(Self::Special),
        };
        ours.filter(|ours| Arc::ptr_eq(&ours.core().shared, shared)).ok_or_else(foreign)
    }

    pub(crate) fn downgrade(&self) -> WeakNode {
        match self {
            Self::File(inode) => WeakNode::File(Arc::downgrade(inode)),
            Self::Dir(inode) => WeakNode::Dir(Arc::downgrade(inode)),
            Self::Symlink(inode) => WeakNode::Symlink(Arc::downgrade(inode)),
            Self::Special(inode) => WeakNode::Special(Arc::downgrade(inode)),
        }
    }
}

impl WeakNode {
    pub(crate) fn upgrade(&self) -> Option<RamNode> {
        match self {
            Self::File(inode) => inode.upgrade().map(RamNode::File),
            Self::Dir(inode) => inode.upgrade().map(RamNode::Dir),
            Self::Symlink(inode) => inode.upgrade().map(RamNode::Symlink),
            Self::Special(inode) => inode.upgrade().map(RamNode::Special),
        }
    }
}

fn foreign() -> Error {
    Error::new(Errno::EXDEV, "node of another filesystem")
}

/// The directory of this filesystem behind `dir`.
///
/// # Errors
/// `EXDEV` if it is another filesystem's.
pub(crate) fn own_dir<'a>(dir: &'a Arc<dyn DirOps>, shared: &Arc<Shared>) -> Result<&'a Inode<Directory>> {
    (&**dir as &dyn Any)
        .downcast_ref::<Inode<Directory>>()
        .filter(|dir| Arc::ptr_eq(&dir.core.shared, shared))
        .ok_or_else(foreign)
}

impl Shared {
    /// Makes an inode.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM`; `EINVAL`, `ENAMETOOLONG` for a target that no symbolic link can have; those of extended
    /// attributes.
    pub(crate) fn make(
        self: &Arc<Self>,
        new: &NewNode<'_>,
        linkage: Linkage,
        flags: InodeFlags,
        now: Timestamp,
    ) -> Result<RamNode> {
        let target = match new.kind {
            NewKind::Symlink(target) => check_target(target)?,
            _ => &[],
        };
        let mut xattrs = Xattrs::default();
        for (name, value) in new.xattrs {
            xattrs.set(name, value, XattrMode::Set)?;
        }
        let inode = self.inodes.charge(1)?;
        let bytes = self.bytes.charge(xattrs.charge() + target.len() as u64)?;
        let target = boxed(target)?;
        let nlink = match (new.kind, linkage) {
            (NewKind::Dir, _) => 2,
            (_, Linkage::Named) => 1,
            _ => 0,
        };
        let meta = Meta {
            mode: new.mode & mode::PERMISSIONS,
            uid: new.uid,
            gid: new.gid,
            nlink,
            linkage,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            xattrs,
            flags,
        };
        inode.keep();
        bytes.keep();
        let core = Core { ino: self.next_ino(), shared: self.clone(), meta: RwLock::new(meta) };
        let node = match new.kind {
            NewKind::File => RamNode::File(Arc::new(Inode { core, body: Content::default() })),
            NewKind::Dir => RamNode::Dir(Arc::new(Inode { core, body: Directory::new(self.hasher.clone()) })),
            NewKind::Symlink(_) => RamNode::Symlink(Arc::new(Inode { core, body: Target(target) })),
            NewKind::CharDevice(number) => special(core, Special::CharDevice(number)),
            NewKind::BlockDevice(number) => special(core, Special::BlockDevice(number)),
            NewKind::Fifo => special(core, Special::Fifo),
            NewKind::Socket => special(core, Special::Socket),
        };
        self.register(node)
    }

    /// Puts a new node into the table, or drops it.
    fn register(&self, node: RamNode) -> Result<RamNode> {
        let mut table = self.table.lock();
        if table.try_reserve(1).is_ok() {
            table.insert(node.ino(), node.downgrade());
            return Ok(node);
        }
        // The node's drop takes the table's lock.
        drop(table);
        drop(node);
        Err(out_of_memory())
    }

    /// One more whiteout: a name of the shared one, or a new one where that has all the names it can have.
    ///
    /// # Errors
    /// `ENOSPC`, `ENOMEM`.
    pub(crate) fn take_whiteout(self: &Arc<Self>, now: Timestamp) -> Result<RamNode> {
        let mut cached = self.whiteout.lock();
        if let Some(inode) = cached.upgrade() {
            match inode.core.link(now) {
                Ok(()) => return Ok(RamNode::Special(inode)),
                Err(error) if error == Errno::EMLINK || error == Errno::ENOENT => {}
                Err(error) => return Err(error),
            }
        }
        let new = NewNode::new(NewKind::CharDevice(DeviceNumber::new(0, 0)), 0);
        let node = self.make(&new, Linkage::Named, InodeFlags::empty(), now)?;
        if let RamNode::Special(inode) = &node {
            *cached = Arc::downgrade(inode);
        }
        Ok(node)
    }
}

fn special(core: Core, body: Special) -> RamNode {
    RamNode::Special(Arc::new(Inode { core, body }))
}

fn check_target(target: &[u8]) -> Result<&[u8]> {
    if target.is_empty() || target.contains(&0) {
        return Err(Error::new(Errno::EINVAL, "target of a symbolic link"));
    }
    if target.len() > TARGET_MAX {
        return Err(Error::new(Errno::ENAMETOOLONG, "target of a symbolic link over 4,095 bytes"));
    }
    Ok(target)
}
