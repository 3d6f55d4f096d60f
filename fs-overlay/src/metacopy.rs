//! Files of which the upper, or a lower layer, has the attributes alone: a change of attributes need not copy the data (`metacopy`).
//!
//! Such a file carries the attribute `metacopy`; its content is that of the next file below at its name, or where its `redirect`
//! says, data-only layers included. [`Data`] tells where a part's content is, [`Extent`] what a copy has. The first change of the
//! content makes the file whole: its data is copied into the inode, whose size was right before, and the removal of the attribute
//! is the step by which it counts. Until then readers see what is below.

use alloc::sync::Arc;

use vfs::{Errno, Error, FileOps, Node, Result, SetAttr, SetTime};

use crate::copy_up::{Content, copy_data, sync_new};
use crate::format::{Redirect, check_metacopy};
use crate::fs::Shared;
use crate::leaf::Leaf;
use crate::merge::{LayerEntry, Whiteouts, layer_entry};
use crate::options::{MetacopyMode, RedirectMode, SyncMode};
use crate::xattr;

/// Where the content of a part is.
#[derive(Clone)]
pub(crate) enum Data {
    /// In itself.
    Own,
    /// In this file of a lower layer.
    Below(Arc<dyn FileOps>),
    /// Nowhere to be found: the layers changed.
    Missing,
}

impl Data {
    /// What a search below found.
    pub(crate) fn below(file: Option<Arc<dyn FileOps>>) -> Self {
        file.map_or(Self::Missing, Self::Below)
    }
}

/// How much of an object a copy in the upper has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    Attributes,
}

impl Extent {
    /// That of a copy that is made for the sake of `content`.
    pub(crate) fn of(fs: &Shared, original: &Node, content: Content) -> Self {
        match (fs.options.metacopy, original, content) {
            (MetacopyMode::Create, Node::File(_), Content::Attributes) => Self::Attributes,
            _ => Self::Whole,
        }
    }
}

impl Content {
    /// What is copied where the attributes alone are not enough.
    pub(crate) fn or_whole(self) -> Self {
        match self {
            Self::Attributes | Self::Whole => Self::Whole,
            Self::Resized(size) => Self::Resized(size),
        }
    }
}

impl Leaf<dyn FileOps> {
    /// The part that has the content.
    ///
    /// # Errors
    /// `EIO` where the layers have it no more.
    pub(crate) fn content(&self) -> Result<&dyn FileOps> {
        if self.upper().is_some() && !self.is_partial() {
            return self.top();
        }
        match (self.data(), &self.lower) {
            (Data::Below(file), _) => Ok(&**file),
            (Data::Own, Some(lower)) => Ok(&*lower.node),
            (Data::Own, None) => self.top(),
            (Data::Missing, _) => {
                Err(Error::fault(Errno::EIO, "overlay: the data of a metacopy file is in no lower layer"))
            }
        }
    }

    /// The file below that has the content, where the topmost part has attributes alone.
    pub(crate) fn data_file(&self) -> Option<&Arc<dyn FileOps>> {
        let upper = self.upper().is_some();
        match (self.data(), &self.lower) {
            _ if upper && !self.is_partial() => None,
            (Data::Below(file), _) => Some(file),
            (Data::Own, Some(lower)) if upper => Some(&lower.node),
            (Data::Own | Data::Missing, _) => None,
        }
    }

    /// Gives the part in the upper its data, as far as `content` says.
    ///
    /// # Errors
    /// Those of the layers: readers then still see what is below, and the next try begins anew.
    pub(crate) fn complete(&self, content: Content) -> Result<()> {
        let _copying = self.core.copying.lock();
        let (Some(to), true) = (self.upper(), self.is_partial()) else { return Ok(()) };
        let attr = to.attr()?;
        let result = self.complete_with(&**to, content, SetTime::At(attr.mtime));
        if result.is_err() {
            // What was written takes space and is not seen: it goes, and the file looks as before.
            let times = SetAttr { mtime: Some(SetTime::At(attr.mtime)), ..SetAttr::default() };
            let undone = to.set_len(0).and_then(|()| to.set_len(attr.size)).and_then(|()| to.set_attr(&times));
            if let Err(error) = undone {
                log::warn!("overlay: space of a copy that failed is not given back: {error}");
            }
            return result;
        }
        self.set_whole();
        result
    }

    fn complete_with(&self, to: &dyn FileOps, content: Content, mtime: SetTime) -> Result<()> {
        let fs = &*self.core.fs;
        let (size, mtime) = match content {
            Content::Whole | Content::Attributes => (self.content()?.attr()?.size, mtime),
            Content::Resized(size) => (size, SetTime::Now),
        };
        if to.seek_data(0)?.is_some() {
            // Left by a try that a crash ended.
            let old = to.attr()?.size;
            to.set_len(0)?;
            to.set_len(old)?;
        }
        if size > 0 {
            let from = self.content()?;
            copy_data(from, to, size.min(from.attr()?.size))?;
        }
        if to.attr()?.size != size {
            to.set_len(size)?;
        }
        to.set_attr(&SetAttr { mtime: Some(mtime), ..SetAttr::default() })?;
        if size > 0 && fs.options.sync != SyncMode::Volatile {
            sync_new(to)?;
        }
        to.remove_xattr(fs.names.metacopy)
    }
}

impl Shared {
    /// Whether a leaf of a layer has attributes alone: then where its data is, if not below at its own name.
    ///
    /// # Errors
    /// `EPERM` under `metacopy=off`; `EIO`, `EINVAL` for attributes that are broken; those of the layer.
    pub(crate) fn metacopy_of(&self, node: &Node) -> Result<Option<Option<Redirect>>> {
        self.metacopy_above(node, &[])
    }

    /// The same of a file above which of all layers `data_only` alone are left to have its data. Those are followed into whatever the
    /// options say: they are there for nothing else.
    ///
    /// # Errors
    /// Those of [`metacopy_of`](Self::metacopy_of).
    pub(crate) fn metacopy_above(
        &self,
        node: &Node,
        data_only: &[Arc<dyn vfs::DirOps>],
    ) -> Result<Option<Option<Redirect>>> {
        let Node::File(file) = node else { return Ok(None) };
        let Some(value) = xattr::of_layer(&**file, self.names.metacopy)? else { return Ok(None) };
        let refuses = self.options.metacopy == MetacopyMode::Refuse || self.options.redirect == RedirectMode::Refuse;
        if refuses && data_only.is_empty() {
            return Err(Error::fault(Errno::EPERM, "overlay: a metacopy file that metacopy=off refuses"));
        }
        check_metacopy(&value)?;
        self.redirect_of(&**file).map(Some)
    }

    /// The file at a path from the root of the data-only layers: of the topmost that has one.
    ///
    /// # Errors
    /// Those of the layers.
    pub(crate) fn data_only(&self, path: &[vfs::NameBuf]) -> Result<Option<Arc<dyn FileOps>>> {
        let Some((last, above)) = path.split_last() else { return Ok(None) };
        let entry = |dir: &Arc<dyn vfs::DirOps>, name: &vfs::NameBuf| {
            layer_entry(self.names, &**dir, name.as_name(), Whiteouts::Devices)
        };
        'layers: for root in &*self.data_only {
            let mut dir = Arc::clone(root);
            for name in above {
                match entry(&dir, name)? {
                    Some(LayerEntry::Dir(next)) => dir = next,
                    Some(LayerEntry::Whiteout | LayerEntry::Leaf(_)) | None => continue 'layers,
                }
            }
            if let Some(LayerEntry::Leaf(Node::File(file))) = entry(&dir, last)? {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}
