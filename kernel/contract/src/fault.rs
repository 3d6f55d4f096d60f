//! A filesystem around another that counts its calls, and lets chosen ones fail.
//!
//! [`FaultFs`] forwards everything; [`Control`] belongs to the test:
//!
//! ```
//! # use std::sync::Arc;
//! # use contract::fault::{Calls, FaultFs};
//! # use vfs::{Errno, FileSystem, FsContext, Name, NewKind, NewNode, Timestamp};
//! # let context = FsContext { dev: 1, clock: Arc::new(|| Timestamp::EPOCH) };
//! # let name = Name::new(b"f").unwrap();
//! # let new = NewNode::new(NewKind::File, 0o600);
//! let (fs, control) = FaultFs::new(ramfs::RamFs::new(context, &ramfs::Options::default()).unwrap());
//! control.fail_nth(Calls::CHANGES, 1, Errno::ENOSPC); // the next change fails, once
//! assert_eq!(fs.root().create(name, &new).unwrap_err(), Errno::ENOSPC);
//! assert!(control.is_spent());
//! fs.root().create(name, &new).unwrap();
//! control.reset();
//! // … something that shall not touch the filesystem …
//! assert_eq!(control.count(Calls::all()), 0);
//! ```
//!
//! A call that fails has no effect: the inner filesystem is not asked. Nodes that come back in as operands (of `link`,
//! `rename`, `publish`) are unwrapped; foreign ones go through as they are, for the inner filesystem to refuse.

mod dir;
mod node;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use base::sync::Mutex;
use vfs::{DirOps, Errno, Error, FileHandle, FileSystem, Node, Result, StatFs};

pub use dir::FaultDir;
pub use node::{FaultFile, FaultSpecial, FaultSymlink};

bitflags::bitflags! {
    /// Kinds of calls.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Calls: u32 {
        /// `DirOps::lookup`.
        const LOOKUP = 1;
        /// `attr`.
        const ATTR = 1 << 1;
        /// `read_dir`.
        const READ_DIR = 1 << 2;
        /// `read_at`, `seek_data`, `seek_hole`.
        const READ = 1 << 3;
        /// `SymlinkOps::target`.
        const TARGET = 1 << 4;
        /// `xattr`, `list_xattrs`.
        const XATTR = 1 << 5;
        /// `write_at`, `append`.
        const WRITE = 1 << 6;
        /// `set_len`, `allocate`.
        const RESIZE = 1 << 7;
        /// `set_attr`.
        const SET_ATTR = 1 << 8;
        /// `set_xattr`, `remove_xattr`.
        const SET_XATTR = 1 << 9;
        /// `create`, `create_over`.
        const CREATE = 1 << 10;
        /// `create_unnamed`, `stage`.
        const STAGE = 1 << 11;
        /// `publish`.
        const PUBLISH = 1 << 12;
        /// `link`, `link_over`.
        const LINK = 1 << 13;
        /// `remove`, `remove_with_whiteouts`.
        const REMOVE = 1 << 14;
        /// `whiteout`.
        const WHITEOUT = 1 << 15;
        /// `rename`, `rename_upper`.
        const RENAME = 1 << 16;
        /// `sync` of a node or of the filesystem, `unmount`.
        const SYNC = 1 << 17;
        /// `prepare_open`.
        const OPEN = 1 << 18;
        /// `note_access`: counted, it cannot fail.
        const NOTE_ACCESS = 1 << 19;
        /// `statfs`, `node_by_handle`.
        const FILESYSTEM = 1 << 20;

        /// What reads the medium.
        const READS = Self::LOOKUP.bits() | Self::ATTR.bits() | Self::READ_DIR.bits() | Self::READ.bits()
            | Self::TARGET.bits() | Self::XATTR.bits();
        /// What changes it.
        const CHANGES = Self::WRITE.bits() | Self::RESIZE.bits() | Self::SET_ATTR.bits() | Self::SET_XATTR.bits()
            | Self::CREATE.bits() | Self::STAGE.bits() | Self::PUBLISH.bits() | Self::LINK.bits()
            | Self::REMOVE.bits() | Self::WHITEOUT.bits() | Self::RENAME.bits();
    }
}

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duration {
    Once,
    /// As a disk that is gone.
    Forever,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    among: Calls,
    /// Calls of these kinds until the one that fails.
    countdown: u64,
    errno: Errno,
    duration: Duration,
}

/// The test's hand on a [`FaultFs`].
#[derive(Debug)]
pub struct Control {
    counts: [AtomicU64; KINDS],
    plan: Mutex<Option<Plan>>,
    failed: AtomicU64,
}

/// Number of kinds of calls.
const KINDS: usize = 21;
const _: () = assert!(Calls::all().bits() == (1 << KINDS) - 1);

impl Control {
    fn new() -> Arc<Self> {
        let counts = core::array::from_fn(|_| AtomicU64::new(0));
        Arc::new(Self { counts, plan: Mutex::new(None), failed: AtomicU64::new(0) })
    }

    /// How many calls of these kinds were made since the last [`reset`](Self::reset).
    #[must_use]
    pub fn count(&self, calls: Calls) -> u64 {
        let of_kind = |(kind, count): (usize, &AtomicU64)| match calls.bits() & (1 << kind) {
            0 => 0,
            _ => count.load(Ordering::Relaxed),
        };
        self.counts.iter().enumerate().map(of_kind).sum()
    }

    /// Forgets counts, and the plan.
    pub fn reset(&self) {
        *self.plan.lock() = None;
        self.failed.store(0, Ordering::Relaxed);
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// The `nth` call of these kinds from now on, 1 being the next, fails with `errno`; those after it do not.
    pub fn fail_nth(&self, among: Calls, nth: u64, errno: Errno) {
        *self.plan.lock() = Some(Plan { among, countdown: nth, errno, duration: Duration::Once });
    }

    /// The `nth` call of these kinds from now on and all that follow fail with `errno`.
    pub fn fail_from(&self, among: Calls, nth: u64, errno: Errno) {
        *self.plan.lock() = Some(Plan { among, countdown: nth, errno, duration: Duration::Forever });
    }

    /// Whether the call that was to fail came: if not, the operation makes fewer calls, and a loop over `nth` is at its end.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.failures() > 0
    }

    /// How many calls failed since the last [`reset`](Self::reset).
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// No call fails any more; counts go on.
    pub fn heal(&self) {
        *self.plan.lock() = None;
    }

    /// Counts a call, which is of one kind, and fails it if its turn has come.
    fn enter(&self, call: Calls) -> Result<()> {
        if let Some(count) = self.counts.get(call.bits().trailing_zeros() as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut slot = self.plan.lock();
        let Some(plan) = slot.as_mut().filter(|plan| plan.among.contains(call)) else { return Ok(()) };
        plan.countdown = plan.countdown.saturating_sub(1);
        if plan.countdown > 0 {
            return Ok(());
        }
        let errno = plan.errno;
        if plan.duration == Duration::Once {
            *slot = None;
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(errno, "injected fault"))
    }
}

/// The wrapper.
pub struct FaultFs {
    inner: Arc<dyn FileSystem>,
    root: Arc<FaultDir>,
    control: Arc<Control>,
}

impl FaultFs {
    /// Wraps a filesystem.
    #[must_use]
    pub fn new(inner: Arc<dyn FileSystem>) -> (Arc<Self>, Arc<Control>) {
        let control = Control::new();
        let root = FaultDir::wrap(inner.root(), &control);
        (Arc::new(Self { inner, root, control: control.clone() }), control)
    }
}

/// Wraps a node that the inner filesystem gave.
fn wrap(node: Node, control: &Arc<Control>) -> Node {
    match node {
        Node::File(inner) => Node::File(FaultFile::wrap(inner, control)),
        Node::Dir(inner) => Node::Dir(FaultDir::wrap(inner, control)),
        Node::Symlink(inner) => Node::Symlink(FaultSymlink::wrap(inner, control)),
        Node::Special(inner) => Node::Special(FaultSpecial::wrap(inner, control)),
    }
}

/// The inner filesystem's node, or the node itself if it is a foreign one.
fn unwrap(node: &Node) -> Node {
    let inner = match node {
        Node::File(_) => node.downcast_ref::<FaultFile>().map(|wrapper| Node::File(wrapper.inner.clone())),
        Node::Dir(_) => node.downcast_ref::<FaultDir>().map(|wrapper| Node::Dir(wrapper.inner.clone())),
        Node::Symlink(_) => node.downcast_ref::<FaultSymlink>().map(|wrapper| Node::Symlink(wrapper.inner.clone())),
        Node::Special(_) => node.downcast_ref::<FaultSpecial>().map(|wrapper| Node::Special(wrapper.inner.clone())),
    };
    inner.unwrap_or_else(|| node.clone())
}

impl FileSystem for FaultFs {
    fn type_name(&self) -> &'static str {
        self.inner.type_name()
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        self.control.enter(Calls::FILESYSTEM)?;
        self.inner.statfs()
    }

    fn sync(&self) -> Result<()> {
        self.control.enter(Calls::SYNC)?;
        self.inner.sync()
    }

    fn unmount(&self) -> Result<()> {
        self.control.enter(Calls::SYNC)?;
        self.inner.unmount()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn is_volatile(&self) -> bool {
        self.inner.is_volatile()
    }

    fn uuid(&self) -> [u8; 16] {
        self.inner.uuid()
    }

    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        self.control.enter(Calls::FILESYSTEM)?;
        Ok(self.inner.node_by_handle(handle)?.map(|node| wrap(node, &self.control)))
    }
}
