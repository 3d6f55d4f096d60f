//! Files, symbolic links and special nodes: one upper inode, or one lower inode until it is copied up.
//!
//! A [`Leaf`] resolves its top part at each call, so whoever opened it before its copy-up sees what is written after.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};

use base::sync::{Mutex, OnceLock};
use vfs::{
    AllocateMode, Attr, Errno, Error, ErrorSequence, FileHandle, FileOps, InodeFlags, Name, Node, NodeId, NodeOps,
    OpenIntent, Result, SetAttr, SpecialOps, SymlinkOps, SyncKind, XattrMode, XattrSet,
};

use crate::copy_up::Content;
use crate::fs::Shared;
use crate::identity::{Kind, LayerIndex};
use crate::index::{InUpper, IndexName};
use crate::metacopy::{Data, Extent};
use crate::node::{Core, OverlayDir, Place};
use crate::options::SyncMode;
use crate::xattr::{self, LAYER_XATTR};

/// Whether a lower inode has names beside the one it was found at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    One,
    Several,
}

/// A leaf of a lower layer.
#[derive(Clone)]
pub(crate) struct LowerLeaf<N> {
    pub(crate) layer: LayerIndex,
    pub(crate) node: N,
    pub(crate) links: Links,
    /// Where its content is.
    pub(crate) data: Data,
    /// Where its copy is, if the index keeps its names together.
    pub(crate) index: Option<IndexName>,
}

impl LowerLeaf<Node> {
    /// # Errors
    /// Those of the layer.
    pub(crate) fn new(fs: &Shared, layer: LayerIndex, node: Node) -> Result<Self> {
        let nlink = node.attr()?.nlink;
        let links = if nlink > 1 { Links::Several } else { Links::One };
        let index = if nlink > 1 { fs.index_name(layer, node.ops(), nlink) } else { None };
        Ok(Self { layer, node, links, data: Data::Own, index })
    }
}

impl<N> LowerLeaf<N> {
    /// The same with another view of the node.
    pub(crate) fn with<M>(self, node: M) -> LowerLeaf<M> {
        LowerLeaf { layer: self.layer, node, links: self.links, data: self.data, index: self.index }
    }
}

/// A node that is no directory.
pub(crate) struct Leaf<T: ?Sized> {
    pub(crate) core: Core,
    upper: OnceLock<Arc<T>>,
    /// `None` for what was found in the upper.
    pub(crate) lower: Option<LowerLeaf<Arc<T>>>,
    /// Where the content of the upper part is, while that has none.
    data: Data,
    /// Whether the upper part has attributes alone. Set before the part is, cleared once its data is whole.
    is_partial: AtomicBool,
    /// Where the copy is, if the index keeps the names together.
    pub(crate) index: Option<IndexName>,
    /// A leaf lock.
    place: Mutex<Place>,
}

impl<T: Kind + ?Sized> Leaf<T> {
    pub(crate) fn of_upper(core: Core, node: Arc<T>, data: Data, index: Option<IndexName>) -> Arc<Self> {
        let is_partial = AtomicBool::new(!matches!(data, Data::Own));
        let upper = OnceLock::initialized(node);
        Arc::new(Self { core, upper, lower: None, data, is_partial, index, place: Mutex::new(Place::Upper) })
    }

    pub(crate) fn of_lower(core: Core, lower: LowerLeaf<Arc<T>>, place: Place) -> Arc<Self> {
        let (data, is_partial) = (Data::Own, AtomicBool::new(false));
        let index = lower.index.clone();
        Arc::new(Self {
            core,
            upper: OnceLock::new(),
            lower: Some(lower),
            data,
            is_partial,
            index,
            place: Mutex::new(place),
        })
    }

    /// The part in the upper.
    pub(crate) fn upper(&self) -> Option<&Arc<T>> {
        self.upper.get()
    }

    /// The part that has the attributes, and unless it is a file's the content.
    ///
    /// # Errors
    /// `EIO`: never, for every leaf has a part; the type cannot say so.
    pub(crate) fn top(&self) -> Result<&T> {
        match (self.upper.get(), &self.lower) {
            (Some(upper), _) => Ok(upper),
            (None, Some(lower)) => Ok(&lower.node),
            (None, None) => Err(Error::fault(Errno::EIO, "overlay: a node without any part")),
        }
    }

    /// Whether there is a part in the upper that has attributes alone.
    pub(crate) fn is_partial(&self) -> bool {
        self.is_partial.load(Ordering::Acquire)
    }

    /// Records that the part in the upper has its data.
    pub(crate) fn set_whole(&self) {
        self.is_partial.store(false, Ordering::Release);
    }

    /// Where the content is, if not in the topmost part.
    pub(crate) fn data(&self) -> &Data {
        match &self.lower {
            Some(lower) => &lower.data,
            None => &self.data,
        }
    }

    /// Sets the part in the upper; the caller holds the parent's entries, or the node has no name.
    pub(crate) fn set_upper(&self, upper: Arc<T>, number: u64, extent: Extent) {
        self.is_partial.store(extent == Extent::Attributes, Ordering::Release);
        self.core.moved_to_upper(upper.id().ino, number);
        self.upper.call_once(|| upper);
        let mut place = self.place.lock();
        if matches!(*place, Place::At { .. }) {
            let old = mem::replace(&mut *place, Place::Upper);
            drop(place);
            drop(old);
        }
    }

    /// Whether its name was removed before it was copied up.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(*self.place.lock(), Place::Gone)
    }

    /// Whether it was found by its handle, so that it cannot be copied up.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(*self.place.lock(), Place::Detached)
    }

    /// Parent and name of a leaf that is not in the upper; `None` if it was removed.
    pub(crate) fn position(&self) -> Option<(Arc<OverlayDir>, vfs::NameBuf)> {
        match &*self.place.lock() {
            Place::At { parent, name } => Some((Arc::clone(parent), name.clone())),
            Place::Root | Place::Shared | Place::Detached | Place::Upper | Place::Gone => None,
        }
    }

    pub(crate) fn is_lower_at(&self, parent: &OverlayDir, name: Name<'_>) -> bool {
        self.place.lock().is_at(parent, name)
    }

    /// Records that its name was removed, if that is the overlay's to know; the caller holds the parent's entries.
    pub(crate) fn set_gone(&self) {
        let mut place = self.place.lock();
        if matches!(*place, Place::At { .. }) {
            let old = mem::replace(&mut *place, Place::Gone);
            drop(place);
            drop(old);
            self.core.forget();
        }
    }

    fn layer_name(&self) -> Vec<u8> {
        match (self.upper.get(), &self.lower) {
            (None, Some(lower)) => format!("lower{}", lower.layer.0).into_bytes(),
            (Some(_), _) | (None, None) => b"upper".to_vec(),
        }
    }
}

impl<T: ?Sized> Drop for Leaf<T> {
    fn drop(&mut self) {
        self.core.forget();
    }
}

impl<T: Kind + ?Sized> NodeOps for Leaf<T> {
    fn id(&self) -> NodeId {
        self.core.id()
    }

    fn identity(&self) -> u64 {
        self.core.serial()
    }

    fn attr(&self) -> Result<Attr> {
        let mut attr = self.top()?.attr()?;
        let id = self.id();
        (attr.dev, attr.ino) = (id.dev, id.ino);
        if self.is_gone() {
            attr.nlink = 0;
        }
        if let (Some(index), Some(upper)) = (&self.index, self.upper.get()) {
            attr.nlink = self.core.fs.links_of(index, &**upper, attr.nlink)?;
        }
        if let Some(data) = T::data_elsewhere(self) {
            let content = data.attr()?;
            (attr.size, attr.blocks) = (content.size, content.blocks);
        }
        attr.flags = self.core.flags(attr.flags, self.upper.get().map(|upper| &**upper))?;
        Ok(attr)
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let top = self.copy_up(Content::Attributes)?;
        // Who gives the file its data puts back the time that the file had before.
        let _copying = (change.mtime.is_some() && self.is_partial()).then(|| self.core.copying.lock());
        top.set_attr(change)
    }

    fn set_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        self.change_flags(flags, with)
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        if name == LAYER_XATTR {
            return Ok(Some(self.layer_name()));
        }
        xattr::get(self.core.fs.names, self.top()?, name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.core.fs.writable()?;
        let name = xattr::check_set(self.core.fs.names, self.top()?, name, mode)?;
        self.copy_up(Content::Attributes)?.set_xattr(&name, value, mode)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.core.fs.writable()?;
        let in_upper = if self.upper.get().is_some() { InUpper::Yes } else { InUpper::No };
        let name = xattr::check_remove(self.core.fs.names, self.top()?, name, in_upper)?;
        self.copy_up(Content::Attributes)?.remove_xattr(&name)
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        xattr::list(self.core.fs.names, self.top()?, each)
    }

    fn sync(&self, kind: SyncKind) -> Result<()> {
        match (self.upper.get(), self.core.fs.options.sync) {
            (Some(upper), SyncMode::Auto | SyncMode::Strict) => upper.sync(kind),
            (_, SyncMode::Volatile) => self.core.fs.check_volatile(),
            (None, _) => Ok(()),
        }
    }

    fn write_errors(&self) -> Option<&ErrorSequence> {
        self.upper.get().and_then(|upper| upper.write_errors())
    }

    fn handle(&self) -> Option<FileHandle> {
        match (self.upper.get(), &self.lower) {
            (Some(upper), _) => self.core.fs.handle_of_upper(&**upper),
            (None, Some(lower)) => self.core.fs.handle_of_lower(lower.layer, &*lower.node),
            (None, None) => None,
        }
    }

    fn note_access(&self) {
        if let Some(upper) = self.upper.get() {
            upper.note_access();
        }
    }
}

impl FileOps for Leaf<dyn FileOps> {
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        match intent {
            OpenIntent::Read => self.content()?.prepare_open(intent),
            OpenIntent::Write => self.copy_up(Content::Whole)?.prepare_open(intent),
            OpenIntent::Truncate => self.copy_up(Content::Resized(0))?.prepare_open(intent),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.content()?.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.copy_up(Content::Whole)?.write_at(offset, data)
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        self.copy_up(Content::Whole)?.append(data)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        // A copy is made with its new size: one step, and no more data than stays. Whoever copied it up
        // meanwhile copied it whole, so the size is set in any case.
        self.copy_up(Content::Resized(len))?.set_len(len)
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.copy_up(Content::Whole)?.allocate(mode, offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        self.content()?.seek_data(offset)
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.content()?.seek_hole(offset)
    }
}

impl SymlinkOps for Leaf<dyn SymlinkOps> {
    fn target(&self) -> Result<Vec<u8>> {
        self.top()?.target()
    }
}

impl SpecialOps for Leaf<dyn SpecialOps> {}
