//! The overlay as a whole: what its nodes share ([`Shared`]), and the filesystem that is mounted ([`OverlayFs`]).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use base::sync::Mutex;
use hashbrown::HashSet;
use vfs::{DirOps, Errno, Error, ErrorSequence, FileHandle, FileSystem, Node, NodeOps, Result, StatFs, Told, Trim};

use crate::format::{HandleOf, Names, Origin};
use crate::identity::{Claims, Depth, FsIndex, Numbering, Table};
use crate::index::Index;
use crate::listing::RecentListings;
use crate::merge::Whiteouts;
use crate::mount::InUse;
use crate::node::OverlayDir;
use crate::options::{Options, SyncMode};
use crate::rank::Ranked;
use crate::uuid::{self, Uuid};

/// `OVERLAYFS_SUPER_MAGIC` of `<linux/magic.h>`.
pub const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// The layer that takes the changes.
pub(crate) struct UpperLayer {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) root: Arc<dyn DirOps>,
    /// What says in a handle that an inode is on its filesystem.
    pub(crate) uuid: Uuid,
}

/// A layer that is only read.
pub(crate) struct LowerLayer {
    pub(crate) fs: FsIndex,
    pub(crate) root: Arc<dyn DirOps>,
    pub(crate) whiteouts: Whiteouts,
}

/// A filesystem that some layers are on.
pub(crate) struct LayerFs {
    pub(crate) fs: Arc<dyn FileSystem>,
    /// What says in an `origin` that an inode is on it; `None` where that would be ambiguous.
    pub(crate) uuid: Option<Uuid>,
}

/// What all nodes of an overlay share.
pub(crate) struct Shared {
    pub(crate) dev: u64,
    /// That of the overlay, if it has one.
    pub(crate) uuid: Option<Uuid>,
    pub(crate) options: Options,
    pub(crate) names: &'static Names,
    pub(crate) depth: Depth,
    pub(crate) upper: Option<UpperLayer>,
    /// Topmost first.
    pub(crate) lowers: Box<[LowerLayer]>,
    /// The roots of the data-only layers, topmost first.
    pub(crate) data_only: Box<[Arc<dyn DirOps>]>,
    /// Where copies of inodes with several names are found; `None` under `index=off`.
    pub(crate) index: Option<Index>,
    /// By [`FsIndex`]; the first is the upper's, or where there is none the topmost lower's.
    pub(crate) filesystems: Box<[LayerFs]>,
    /// The roots of all layers and the work directory: none may be met inside another layer.
    pub(crate) traps: HashSet<(FsIndex, u64)>,
    pub(crate) numbering: Numbering,
    pub(crate) claims: Claims,
    pub(crate) table: Table,
    pub(crate) recent: RecentListings,
    /// Held while a directory can move: the shape of the tree stays.
    pub(crate) rename: Ranked<Mutex<()>>,
    pub(crate) in_use: Mutex<Vec<InUse>>,
    /// Which of the upper's write errors were before this mount.
    pub(crate) told: Told,
}

impl LayerFs {
    /// What says in an `origin` that an inode is `node`, which is on this filesystem; `None` where it cannot be found again.
    pub(crate) fn origin(&self, node: &dyn NodeOps) -> Option<Vec<u8>> {
        let origin = Origin { uuid: self.uuid?, handle: node.handle()? };
        origin.to_bytes(HandleOf::Lower)
    }
}

impl Shared {
    /// The filesystem of lower layers that an `origin` names.
    pub(crate) fn filesystem_of(&self, uuid: &[u8; 16]) -> Option<(FsIndex, &dyn FileSystem)> {
        let index = self.filesystems.iter().position(|layer| layer.uuid.as_ref() == Some(uuid))?;
        Some((FsIndex(u16::try_from(index).ok()?), &*self.filesystems[index].fs))
    }

    /// What a sync says under `fsync=volatile`: nothing is made durable, and an error of the upper's write-back stays one, as on Linux.
    pub(crate) fn check_volatile(&self) -> Result<()> {
        let errors = self.upper.as_ref().and_then(|upper| upper.fs.write_errors());
        match errors.is_some_and(|errors| errors.is_news(&self.told)) {
            true => Err(Error::new(Errno::EIO, "the upper layer lost data since the volatile mount")),
            false => Ok(()),
        }
    }
}

/// A mounted overlay.
///
/// It holds its layers' filesystems; unmounting it leaves them mounted. Lower layers must not change while it is mounted, nor the
/// upper other than through it.
///
/// ```
/// # use std::sync::Arc;
/// # use fs_overlay::{Layer, Layers, Options, OverlayFs};
/// # use vfs::{Expect, FileSystem, FsContext, Name, NewKind, NewNode, Timestamp};
/// # let context = |dev| FsContext { dev, clock: Arc::new(|| Timestamp::EPOCH) };
/// # let [lower, upper] = [1, 2].map(|dev| ramfs::RamFs::new(context(dev), &Default::default()).unwrap());
/// # let motd = Name::new(b"motd")?;
/// # lower.root().create(motd, &NewNode::new(NewKind::File, 0o644))?;
/// # let layers =
/// #     Layers { upper: Some(Layer::of(upper.clone())), work: None, lowers: vec![Layer::of(lower.clone())] };
/// let overlay = OverlayFs::mount(context(3), layers, Options::default())?;
/// overlay.root().remove(motd, Expect::NonDir)?;
/// assert!(overlay.root().lookup(motd)?.is_none());
/// assert!(upper.root().lookup(motd)?.unwrap().attr()?.is_whiteout());
/// assert!(lower.root().lookup(motd)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OverlayFs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) root: Arc<OverlayDir>,
    pub(crate) kept: Mutex<Vec<Box<dyn Any + Send + Sync>>>,
}

impl OverlayFs {
    /// How it behaves.
    #[must_use]
    pub fn options(&self) -> Options {
        self.shared.options
    }

    /// Holds something for as long as the overlay is mounted: what keeps its layers' filesystems mounted.
    pub fn keep(&self, what: impl Any + Send + Sync) {
        self.kept.lock().push(Box::new(what));
    }

    /// How many nodes are in use, without the root.
    #[must_use]
    pub fn nodes_in_use(&self) -> usize {
        self.shared.table.len()
    }
}

impl fmt::Debug for OverlayFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayFs")
            .field("options", &self.shared.options)
            .field("lowers", &self.shared.lowers.len())
            .finish_non_exhaustive()
    }
}

impl FileSystem for OverlayFs {
    fn type_name(&self) -> &'static str {
        "overlay"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        Arc::clone(&self.root) as Arc<dyn DirOps>
    }

    /// The space is that of the upper, or without one of the topmost lower layer.
    fn statfs(&self) -> Result<StatFs> {
        let filesystems = &self.shared.filesystems;
        let mut stat = filesystems[0].fs.statfs()?;
        for layer in &filesystems[1..] {
            stat.name_max = stat.name_max.max(layer.fs.statfs()?.name_max);
        }
        stat.magic = OVERLAYFS_MAGIC;
        if let Some(uuid) = &self.shared.uuid {
            stat.id = uuid::to_fsid(uuid);
        }
        Ok(stat)
    }

    fn sync(&self) -> Result<()> {
        match (&self.shared.upper, self.shared.options.sync) {
            (Some(upper), SyncMode::Auto | SyncMode::Strict) => upper.fs.sync(),
            (_, SyncMode::Volatile) => self.shared.check_volatile(),
            (None, _) => Ok(()),
        }
    }

    fn write_errors(&self) -> Option<&ErrorSequence> {
        self.shared.upper.as_ref()?.fs.write_errors()
    }

    fn trim(&self, trim: Trim) -> Result<u64> {
        match &self.shared.upper {
            Some(upper) => upper.fs.trim(trim),
            None => Err(Errno::ENOTTY.into()),
        }
    }

    fn unmount(&self) -> Result<()> {
        if self.shared.options.sync != SyncMode::Volatile {
            self.sync()?;
        }
        let released = core::mem::take(&mut *self.shared.in_use.lock());
        drop(released);
        Ok(())
    }

    /// Its own, if it has one; else made of those of the layers: it is the same as long as the overlay is of the same filesystems.
    fn uuid(&self) -> [u8; 16] {
        if let Some(uuid) = self.shared.uuid {
            return uuid;
        }
        let mut sum = *b"strata overlay..";
        for layer in &*self.shared.filesystems {
            for (byte, other) in sum.iter_mut().zip(layer.fs.uuid()) {
                *byte = byte.rotate_left(3) ^ other;
            }
        }
        sum
    }

    /// Leaves alone have handles.
    fn node_by_handle(&self, handle: &FileHandle) -> Result<Option<Node>> {
        self.shared.node_of_handle(handle)
    }

    fn is_read_only(&self) -> bool {
        self.shared.upper.as_ref().is_none_or(|upper| upper.fs.is_read_only())
    }
}
