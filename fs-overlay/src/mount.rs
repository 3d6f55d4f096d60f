//! Mounting: the layers are checked against each other, and the work directory is made what Linux expects.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use base::sync::Mutex;
use hashbrown::HashSet;
use vfs::{
    DirOps, Errno, Error, ErrorSequence, FileSystem, FsContext, Name, NewKind, NewNode, Node, Over, Parent, Publish,
    SetAttr, SetTime,
};

use crate::format::{Names, Opaque};
use crate::fs::{LayerFs, LowerLayer, OverlayFs, Shared, UpperLayer};
use crate::identity::{Claims, Depth, FsIndex, Key, LayerIndex, Numbering, Table};
use crate::index::Index;
use crate::listing::RecentListings;
use crate::merge::Whiteouts;
use crate::node::{Core, DirParts, LowerDir, OverlayDir, Place};
use crate::options::{IndexMode, LOWERS_MAX, MountError, Options, SyncMode, UuidMode, XattrClass};
use crate::rank::{Rank, Ranked};
use crate::{uuid, xattr};

/// What stands for the UUID of a filesystem that is not to be told by it.
const NO_UUID: uuid::Uuid = [0; 16];

/// One layer: a directory of a mounted filesystem.
#[derive(Clone)]
pub struct Layer {
    /// The filesystem. Layers on one filesystem must hold the same `Arc`.
    pub fs: Arc<dyn FileSystem>,
    /// The directory of it that is the layer.
    pub root: Arc<dyn DirOps>,
}

impl Layer {
    /// A whole filesystem as a layer.
    #[must_use]
    pub fn of(fs: Arc<dyn FileSystem>) -> Self {
        let root = fs.root();
        Self { fs, root }
    }
}

/// The layers of an overlay.
#[derive(Clone, Default)]
pub struct Layers {
    /// The layer that takes the changes; without it the overlay is read-only. Its directories must offer
    /// [`vfs::UpperDir`].
    pub upper: Option<Layer>,
    /// The work directory, on the upper's filesystem and outside the upper layer. Nothing is kept in it: it exists for the
    /// sake of Linux, which cannot mount the upper without one, and holds the mark of `fsync=volatile`.
    pub work: Option<Layer>,
    /// The layers that are only read, topmost first. The last [`Options::data_only`] are asked for the data of files alone.
    pub lowers: Vec<Layer>,
}

/// Directories that are the upper or the work directory of some overlay.
static IN_USE: Mutex<Vec<(usize, u64)>> = Mutex::new(Vec::new());

/// The mark of an upper or work directory in use; dropped, the directory is free.
pub(crate) struct InUse((usize, u64));

impl InUse {
    fn mark(option: &[u8], layer: &Layer) -> Result<Self, MountError> {
        // The filesystem is told by its address, which is its own as long as the overlay holds it.
        let key = (Arc::as_ptr(&layer.fs).addr(), layer.root.id().ino);
        let mut table = IN_USE.lock();
        if table.contains(&key) {
            return Err(MountError::new(Errno::EBUSY, option, "in use by another overlay"));
        }
        table.push(key);
        Ok(Self(key))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        IN_USE.lock().retain(|&key| key != self.0);
    }
}

impl OverlayFs {
    /// Mounts an overlay of `layers`. The device it reports is `context.dev`; its times are the upper's.
    ///
    /// # Errors
    /// `EINVAL` for layers that cannot be: none lower, more than 500, an upper that is read-only or whose filesystem
    /// cannot be one, a work directory elsewhere, overlays nested deeper than two, an upper that was used with `fsync=volatile`;
    /// `ELOOP` for a directory that is two layers; `EBUSY` for an upper in use; `ESTALE` for an upper that was used with another
    /// lower layer under `index=on`; the errors of the layers.
    pub fn mount(context: FsContext, layers: Layers, options: Options) -> Result<Arc<Self>, MountError> {
        let refuse = |option: &[u8], reason| MountError::new(Errno::EINVAL, option, reason);
        let Some(merged) = layers.lowers.len().checked_sub(options.data_only).filter(|&count| count > 0) else {
            return Err(refuse(b"lowerdir", "missing"));
        };
        if layers.lowers.len() > LOWERS_MAX {
            return Err(refuse(b"lowerdir", "too many lower layers, the limit is 500"));
        }
        let names = Names::of(options.xattrs);
        let mut found = Survey::default();
        let mut in_use = Vec::new();
        let mut upper = match layers.upper {
            Some(upper) => {
                check_upper(&upper, names)?;
                found.add(b"upperdir", &upper)?;
                in_use.push(InUse::mark(b"upperdir", &upper)?);
                if let Some(work) = &layers.work {
                    if !Arc::ptr_eq(&work.fs, &upper.fs) {
                        return Err(refuse(b"workdir", "not on the filesystem of upperdir"));
                    }
                    found.add(b"workdir", work)?;
                    in_use.push(InUse::mark(b"workdir", work)?);
                }
                let uuid = upper.fs.uuid();
                Some(UpperLayer { fs: upper.fs, root: upper.root, uuid })
            }
            None => None,
        };
        let (mut lowers, mut data_only) = (Vec::new(), Vec::new());
        for (index, lower) in layers.lowers.into_iter().enumerate() {
            let fs = found.add(b"lowerdir", &lower)?;
            if index >= merged {
                data_only.push(lower.root);
                continue;
            }
            let opaque =
                xattr::of_layer(&*lower.root, names.opaque).map_err(|error| layer_error(b"lowerdir", error))?;
            lowers.push(LowerLayer {
                fs,
                root: lower.root,
                whiteouts: Whiteouts::of(Opaque::parse(opaque.as_deref())),
            });
        }
        if let (Some(upper), Some(work)) = (&upper, &layers.work) {
            prepare_work(&*work.root, options.sync)?;
            if options.sync == SyncMode::Volatile {
                upper.fs.sync().map_err(|error| layer_error(b"workdir", error))?;
            }
        }
        let mut filesystems = found.filesystems(&lowers);
        if let (UuidMode::Off, Some(upper), [only]) = (options.uuid, &mut upper, &mut *filesystems) {
            (upper.uuid, only.uuid) = (NO_UUID, only.uuid.map(|_| NO_UUID));
        }
        let index = match (options.index, &upper, &layers.work) {
            (IndexMode::Off, ..) | (IndexMode::On, None, _) => None,
            (IndexMode::On, Some(_), None) => return Err(refuse(b"index=on", "needs workdir")),
            (IndexMode::On, Some(upper), Some(work)) => {
                let top = lowers.first().ok_or_else(|| refuse(b"lowerdir", "missing"))?;
                let lower = filesystems[usize::from(top.fs.0)].origin(&*top.root);
                Some(Index::open(names, upper, &*work.root, lower, found.depth)?)
            }
        };
        let errors = upper.as_ref().and_then(|upper| upper.fs.write_errors());
        // The last thing before the mount is made, so that one that is refused writes none.
        let uuid = upper.as_ref().and_then(|upper| uuid::of_upper(names, &*upper.root, &options));
        let shared = Arc::new(Shared {
            told: errors.map(ErrorSequence::sample).unwrap_or_default(),
            dev: context.dev,
            uuid,
            options,
            names,
            depth: found.depth,
            numbering: Numbering::new(found.depth),
            filesystems,
            index,
            traps: found.traps,
            upper,
            lowers: lowers.into(),
            data_only: data_only.into(),
            claims: Claims::default(),
            table: Table::default(),
            recent: RecentListings::default(),
            rename: Ranked::new(Rank::Rename, found.depth),
            in_use: Mutex::new(in_use),
        });
        let root = root(&shared).map_err(|error| layer_error(b"lowerdir", error))?;
        Ok(Arc::new(Self { shared, root, kept: Mutex::default() }))
    }
}

/// Makes the directory of a new upper layer at `name`, with the attributes of the topmost lower layer's root (mode, owner, extended
/// attributes, times): the root that the overlay will show is then the lower one's. It appears whole or not at all.
///
/// # Errors
/// `EEXIST`; `EOPNOTSUPP` on a filesystem that cannot hold an upper layer; those of [`vfs::UpperDir::publish`].
pub fn make_upper(parent: &dyn DirOps, name: Name<'_>, lower: &dyn DirOps) -> Result<Arc<dyn DirOps>, Error> {
    let parent =
        parent.as_upper().ok_or_else(|| Error::new(Errno::EOPNOTSUPP, "the filesystem cannot hold an upper layer"))?;
    let attr = lower.attr()?;
    let attributes = xattr::to_copy(Names::of(XattrClass::Trusted), lower)?;
    let xattrs: Vec<(&[u8], &[u8])> = attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
    let new = NewNode { kind: NewKind::Dir, mode: attr.mode, uid: attr.uid, gid: attr.gid, xattrs: &xattrs };
    let staged = parent.stage(&new)?;
    let (atime, mtime) = (SetTime::At(attr.atime), SetTime::At(attr.mtime));
    staged.ops().set_attr(&SetAttr { atime: Some(atime), mtime: Some(mtime), ..SetAttr::default() })?;
    parent.publish(name, &staged, &Publish { over: Over::Nothing, parent: Parent::Touched, xattrs: &[] })?;
    staged.as_dir().cloned()
}

/// The root directory: all layers' roots merged, whatever they say about each other.
fn root(shared: &Arc<Shared>) -> Result<Arc<OverlayDir>, Error> {
    let mut lowers = Vec::new();
    for (index, lower) in shared.lowers.iter().enumerate() {
        let layer = LayerIndex(u16::try_from(index).map_err(|_| Errno::EINVAL)?);
        lowers.push(LowerDir { layer, dir: Arc::clone(&lower.root), whiteouts: lower.whiteouts });
    }
    let top = lowers.first().ok_or(Errno::EINVAL)?;
    let top_fs = shared.lower(top.layer).fs;
    let number = shared.numbering.number(top_fs, top.dir.id().ino)?;
    let upper = shared.upper.as_ref().map(|upper| Arc::clone(&upper.root));
    let key = match &upper {
        Some(upper) => Key::Upper(upper.id().ino),
        None => Key::Lower(top_fs, top.dir.id().ino),
    };
    let parts = DirParts { upper, lowers: lowers.into(), redirect: None };
    Ok(OverlayDir::new(Core::new(Arc::clone(shared), number, key), parts, Place::Root))
}

fn check_upper(upper: &Layer, names: &Names) -> Result<(), MountError> {
    let refuse = |reason| Err(MountError::new(Errno::EINVAL, b"upperdir", reason));
    if upper.root.as_upper().is_none() {
        log::error!("overlay: upperdir is on {}, which cannot hold an upper layer", upper.fs.type_name());
        return refuse("its filesystem cannot hold an upper layer");
    }
    if upper.fs.is_read_only() {
        return refuse("read-only; without upperdir the overlay is read-only too");
    }
    match upper.root.xattr(names.opaque) {
        Ok(_) => Ok(()),
        Err(error) if error == Errno::EOPNOTSUPP => {
            refuse("its filesystem keeps no extended attributes of the overlay")
        }
        Err(error) => Err(layer_error(b"upperdir", error)),
    }
}

pub(crate) fn layer_error(option: &[u8], error: Error) -> MountError {
    let reason = if error.context().is_empty() { "the layer cannot be read" } else { error.context() };
    MountError::new(error.errno(), option, reason)
}

/// Makes `work/` where it is missing, and refuses what an overlay with `fsync=volatile` left.
fn prepare_work(base: &dyn DirOps, sync: SyncMode) -> Result<(), MountError> {
    let failed = |error| layer_error(b"workdir", error);
    let work = subdir(base, b"work").map_err(failed)?;
    let has_mark = || -> Result<bool, Error> {
        match work.lookup(Name::new(b"incompat")?)? {
            Some(Node::Dir(incompat)) => Ok(incompat.lookup(Name::new(b"volatile")?)?.is_some()),
            _ => Ok(false),
        }
    };
    if has_mark().map_err(failed)? {
        return Err(MountError::new(
            Errno::EINVAL,
            b"workdir",
            "the upper layer was used with fsync=volatile and cannot be trusted; discard it and its work directory",
        ));
    }
    if sync == SyncMode::Volatile {
        let mark = || -> Result<(), Error> {
            let volatile = subdir(&*subdir(&*work, b"incompat")?, b"volatile")?;
            volatile.create(Name::new(b"dirty")?, &NewNode::new(NewKind::File, 0)).map(drop)
        };
        mark().map_err(failed)?;
    }
    Ok(())
}

pub(crate) fn subdir(parent: &dyn DirOps, name: &[u8]) -> Result<Arc<dyn DirOps>, Error> {
    let name = Name::new(name)?;
    let node = match parent.lookup(name)? {
        Some(node) => node,
        None => parent.create(name, &NewNode::new(NewKind::Dir, 0))?,
    };
    match node {
        Node::Dir(dir) => Ok(dir),
        _ => Err(Error::new(Errno::EEXIST, "one of its entries is not a directory")),
    }
}

/// What is known of the layers that were seen.
struct Survey {
    filesystems: Vec<Arc<dyn FileSystem>>,
    traps: HashSet<(FsIndex, u64)>,
    depth: Depth,
}

impl Default for Survey {
    fn default() -> Self {
        Self { filesystems: Vec::new(), traps: HashSet::new(), depth: Depth::One }
    }
}

impl Survey {
    fn add(&mut self, option: &[u8], layer: &Layer) -> Result<FsIndex, MountError> {
        if let Some(inner) = (&*layer.fs as &dyn Any).downcast_ref::<OverlayFs>() {
            if inner.shared.depth == Depth::Two {
                return Err(MountError::new(Errno::EINVAL, option, "overlays nested deeper than two"));
            }
            self.depth = Depth::Two;
        }
        let known = self.filesystems.iter().position(|fs| Arc::ptr_eq(fs, &layer.fs));
        let index = known.unwrap_or_else(|| {
            self.filesystems.push(Arc::clone(&layer.fs));
            self.filesystems.len() - 1
        });
        // At most 500 lower layers, an upper and its work directory.
        let index = FsIndex(u16::try_from(index).unwrap_or(u16::MAX));
        if !self.traps.insert((index, layer.root.id().ino)) {
            return Err(MountError::new(Errno::ELOOP, option, "a directory that is another layer already"));
        }
        Ok(index)
    }

    /// The filesystems, with the UUIDs by which a lower one is told.
    fn filesystems(&self, lowers: &[LowerLayer]) -> Box<[LayerFs]> {
        let mut is_lower = alloc::vec![false; self.filesystems.len()];
        lowers.iter().for_each(|lower| is_lower[usize::from(lower.fs.0)] = true);
        let uuids: Vec<_> = self.filesystems.iter().map(|fs| fs.uuid()).collect();
        let usable = |index: usize| {
            let with_same = uuids.iter().zip(&is_lower).filter(|&(uuid, &is_lower)| is_lower && *uuid == uuids[index]);
            // None at all is as good as any, if only one filesystem has none.
            is_lower[index] && with_same.count() == 1
        };
        let layer_fs = |(index, fs): (usize, &Arc<dyn FileSystem>)| LayerFs {
            fs: Arc::clone(fs),
            uuid: usable(index).then_some(uuids[index]),
        };
        self.filesystems.iter().enumerate().map(layer_fs).collect()
    }
}
