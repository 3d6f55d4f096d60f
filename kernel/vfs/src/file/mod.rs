//! An open file: what a descriptor refers to (`open(2)`, "open file description").
//!
//! It has the position and the status flags, which all descriptors made from it by `dup(2)` and `fork(2)` share. `io` has reads
//! and writes, `copy` both at once, `position` seeks and directory listings, `control` the rest of the calls on descriptors, `lock` the advisory
//! locks.
//!
//! Lock order: an open file's position is held over the filesystem call that moves it, outside of all locks of the
//! namespace.

mod control;
mod copy;
mod io;
mod lock;
mod position;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use base::sync::Mutex;

pub use control::Mapping;
pub use io::At;

use crate::credentials::Credentials;
use crate::device::OpenDevice;
use crate::flags::OpenFlags;
use crate::inode::Inode;
use crate::locks::Holder;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::pipe::PipeEnd;
use crate::{Attr, Errno, ErrorSequence, FileOps, InodeFlags, Node, Result, Told};

/// An open file.
pub struct OpenFile {
    ns: Arc<Namespace>,
    origin: Origin,
    kind: Kind,
    /// Access mode, which never changes, and status flags.
    flags: AtomicU32,
    position: Mutex<u64>,
    claim: Claim,
    /// By which credentials it was opened.
    opener: u64,
    id: u64,
    /// Which errors of the file's write-back, and of its filesystem's, it has been told of.
    told: Told,
    told_of_all: Told,
}

/// Where an open file comes from.
pub(crate) enum Origin {
    /// A name in the tree.
    Tree(Location),
    /// Nowhere in the tree: a pipe, or a device without a node. It has these attributes.
    Anonymous(Attr),
}

/// What calls on it act on.
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A driver.
    Device(Arc<dyn OpenDevice>),
    /// An end of a pipe.
    Pipe(PipeEnd),
    /// Nothing (`O_PATH`).
    Path,
}

/// What an open file keeps others from doing, for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    None,
    /// Executing the file, and making its mount read-only.
    Write,
    /// Writing the file.
    Execute,
}

impl Claim {
    /// Makes the claim: `ETXTBSY` where another's is in the way, `EROFS` to write where nothing is written.
    pub(crate) fn take(self, place: &Location) -> Result<()> {
        let inode = place.inode()?;
        match self {
            Self::None => Ok(()),
            Self::Write => {
                inode.begin_writing()?;
                // Counted before it asks, so that a remount that misses the count is seen here.
                place.mount.begin_writing();
                place.mount.want_write().map(drop).inspect_err(|_| self.release(place))
            }
            Self::Execute => inode.begin_executing(),
        }
    }

    pub(crate) fn release(self, place: &Location) {
        match (self, place.inode()) {
            (Self::Write, Ok(inode)) => {
                place.mount.end_writing();
                inode.end_writing();
            }
            (Self::Execute, Ok(inode)) => inode.end_executing(),
            _ => {}
        }
    }
}

/// Flags that an open file keeps: creation flags are spent.
const KEPT: OpenFlags = OpenFlags::O_ACCMODE
    .union(OpenFlags::SETTABLE)
    .union(OpenFlags::O_SYNC)
    .union(OpenFlags::O_PATH)
    .union(OpenFlags::O_LARGEFILE)
    .union(OpenFlags::O_DIRECTORY)
    .union(OpenFlags::O_NOFOLLOW);

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn sample(errors: Option<&ErrorSequence>) -> Told {
    errors.map(ErrorSequence::sample).unwrap_or_default()
}

impl OpenFile {
    /// Makes an open file of what was opened; `claim` has been taken.
    pub(crate) fn new(
        ns: &Arc<Namespace>,
        who: &Credentials,
        origin: Origin,
        kind: Kind,
        flags: OpenFlags,
        claim: Claim,
    ) -> Arc<Self> {
        let (told, told_of_all) = match (&origin, &kind) {
            (Origin::Tree(location), Kind::File | Kind::Dir) => {
                let node = location.node().ok();
                let of_file = node.and_then(|node| node.ops().write_errors());
                (sample(of_file), sample(location.file_system().write_errors()))
            }
            _ => Default::default(),
        };
        Arc::new(Self {
            opener: who.stamp(),
            ns: ns.clone(),
            origin,
            kind,
            flags: AtomicU32::new((flags & KEPT).bits()),
            position: Mutex::new(0),
            claim,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            told,
            told_of_all,
        })
    }

    /// `fcntl(F_GETFL)`: access mode and status flags.
    #[must_use]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Where in the tree it is; `None` for a pipe or a device that was opened without a name.
    #[must_use]
    pub const fn location(&self) -> Option<&Location> {
        match &self.origin {
            Origin::Tree(location) => Some(location),
            Origin::Anonymous(_) => None,
        }
    }

    /// Whether it was opened by these very credentials.
    pub(crate) const fn was_opened_by(&self, who: &Credentials) -> bool {
        self.opener == who.stamp()
    }

    /// Whether it is only a place in the tree (`O_PATH`).
    #[must_use]
    pub const fn is_path(&self) -> bool {
        matches!(self.kind, Kind::Path)
    }

    /// `EBADF` for a file that was opened with `O_PATH`.
    fn not_path(&self) -> Result<()> {
        if self.is_path() { Err(Errno::EBADF.into()) } else { Ok(()) }
    }

    /// The regular file; asked only where [`Kind::File`] says that it is one.
    fn file(&self) -> Result<&Arc<dyn FileOps>> {
        match self.location() {
            Some(location) => location.node()?.as_file(),
            None => Err(Errno::EINVAL.into()),
        }
    }

    fn node(&self) -> Option<&Node> {
        self.location().and_then(|location| location.node().ok())
    }

    fn inode(&self) -> Option<&Arc<Inode>> {
        self.location().and_then(|location| location.inode().ok())
    }

    /// The flags of the inode; none for what is nowhere in the tree.
    fn inode_flags(&self) -> Result<InodeFlags> {
        self.inode().map_or(Ok(InodeFlags::empty()), |inode| Ok(inode.triple()?.flags))
    }

    /// Where it is in the tree, for calls that change the inode: `EINVAL` for what is nowhere.
    fn place(&self) -> Result<&Location> {
        self.location().ok_or_else(|| Errno::EINVAL.into())
    }

    /// One descriptor of it in a table is closed: the process's record locks on the file go (POSIX `fcntl`).
    pub(crate) fn closed_by(&self, owner: u64) {
        if let (false, Some(inode)) = (self.is_path(), self.inode())
            && inode.locks.lock().clear_all(Holder::Process(owner))
        {
            self.ns.wait.wake();
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let (Some(place), Some(inode)) = (self.location(), self.inode()) else { return };
        self.claim.release(place);
        if !self.is_path() {
            let mut locks = inode.locks.lock();
            let (records, whole) = (locks.clear_all(Holder::OpenFile(self.id)), locks.clear_whole(self.id));
            drop(locks);
            if records || whole {
                self.ns.wait.wake();
            }
        }
    }
}
