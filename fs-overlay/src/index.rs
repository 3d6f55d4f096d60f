//! The index (`index=on`): names of one lower inode stay names of one file when it is copied up.
//!
//! The copy of a lower inode with several names goes to `index/` beside the work directory, under the inode's `origin` in hexadecimal
//! digits. Every name finds it there, so none need be touched: one step. A name gets an entry in the upper when it is about to be
//! removed, replaced or moved ([`OverlayDir::link_up`]).
//!
//! The attribute `nlink` of the copy tells how many names the file has in the overlay, relative to the inode's links in the
//! upper. That difference does not change when a name in the upper comes or goes, so those steps need not write it. Only where a name of
//! the lower layer gets its entry it does: there the count is first told relative to the lower inode, which does not change, then the link
//! is made, then the count is told relative to the upper again. At each point it is right.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use base::sync::{Mutex, MutexGuard, RwLock};
use vfs::{
    Cookie, DirEntry, DirOps, Errno, Error, Expect, Name, NameBuf, Node, NodeOps, Over, Parent, Publish, Result,
    UpperDir, XattrMode,
};

use crate::format::{HandleOf, LinkCount, Names, Origin, YES};
use crate::fs::{Shared, UpperLayer};
use crate::identity::{Depth, LayerIndex, OverlayNode};
use crate::leaf::LowerLeaf;
use crate::lookup::{Found, UpperLeaf};
use crate::metacopy::Data;
use crate::mount::{layer_error, subdir};
use crate::node::OverlayDir;
use crate::options::MountError;
use crate::rank::{Held, Rank, Ranked};
use crate::xattr;

/// The directory of the copies.
pub(crate) struct Index {
    dir: Arc<dyn DirOps>,
    /// Shared while an inode is looked for here and in the table of nodes, exclusive while its copy is published.
    pub(crate) inodes: Ranked<RwLock<()>>,
    /// Held while names of copies come and go, with their counts.
    links: Ranked<Mutex<()>>,
}

/// Where the copy of a lower inode with several names is.
#[derive(Debug, Clone)]
pub(crate) struct IndexName {
    name: NameBuf,
    /// How many names the inode has in its layer.
    lower_links: u32,
}

/// Whether the upper has an entry of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUpper {
    No,
    Yes,
}

/// Whether the index keeps the names of an object together.
pub(crate) enum Indexed<'a> {
    No,
    /// It will, once the inode is copied up.
    InLower,
    /// It does.
    InUpper(Node, &'a IndexName),
}

impl IndexName {
    /// That of an inode with this `origin` and so many names in its layer; `None` where it cannot be a name.
    pub(crate) fn of(origin: &[u8], lower_links: u32) -> Option<Self> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| DIGITS[usize::from(value & 15)];
        let digits: Vec<u8> = origin.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect();
        Some(Self { name: Name::new(&digits).ok()?.to_owned(), lower_links })
    }

    /// The count of a copy that has its name in the index alone.
    pub(crate) fn first_count(&self) -> Vec<u8> {
        LinkCount::OverUpper(i64::from(self.lower_links) - 1).to_bytes()
    }
}

impl Index {
    /// Opens the index, or makes it, and checks that it belongs to these layers.
    ///
    /// # Errors
    /// `ESTALE` where the upper was used with another lower layer, or the index with another upper; those of the layers.
    pub(crate) fn open(
        names: &Names,
        upper: &UpperLayer,
        work: &dyn DirOps,
        lower_origin: Option<Vec<u8>>,
        depth: Depth,
    ) -> Result<Self, MountError> {
        let failed = |error| layer_error(b"workdir", error);
        let dir = subdir(work, b"index").map_err(failed)?;
        let handle = upper.root.handle().map(|handle| Origin { uuid: upper.uuid, handle });
        let own = handle.and_then(|origin| origin.to_bytes(HandleOf::Upper));
        let is_same = |node: &dyn NodeOps, name: &[u8], value: Option<Vec<u8>>| -> Result<bool> {
            let Some(value) = value else { return Ok(true) };
            match xattr::of_layer(node, name)? {
                Some(known) => Ok(known == value),
                None => node.set_xattr(name, &value, XattrMode::Set).map(|()| true),
            }
        };
        let stale = |option, reason| Err(MountError::new(Errno::ESTALE, option, reason));
        if !is_same(&*upper.root, names.origin, lower_origin).map_err(failed)? {
            return stale(b"lowerdir", "the upper layer was used with another lower layer, and index=on");
        }
        if !is_same(&*dir, names.upper, own).map_err(failed)? {
            return stale(b"workdir", "its index belongs to another upper layer");
        }
        let inodes = Ranked::new(Rank::Inodes, depth);
        let index = Self { dir, inodes, links: Ranked::new(Rank::Links, depth) };
        index.sweep(names).map_err(failed)?;
        Ok(index)
    }

    /// Removes copies whose last name is gone: what a crash left between the two.
    fn sweep(&self, names: &Names) -> Result<()> {
        let mut entries: Vec<NameBuf> = Vec::new();
        let mut room = Ok(());
        self.dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
            room = entries.try_reserve(1);
            if room.is_err() {
                return ControlFlow::Break(());
            }
            entries.push(entry.name.to_owned());
            ControlFlow::Continue(())
        })?;
        room.map_err(|_| Errno::ENOMEM)?;
        for name in entries {
            let Some(node) = self.dir.lookup(name.as_name())? else { continue };
            let count = xattr::of_layer(node.ops(), names.nlink)?.and_then(|value| LinkCount::parse(&value));
            if let Some(LinkCount::OverUpper(more)) = count
                && i64::from(node.attr()?.nlink) + more <= 0
            {
                self.dir.remove(name.as_name(), Expect::NonDir)?;
            }
        }
        Ok(())
    }

    /// The directory, for changes.
    ///
    /// # Errors
    /// `EIO` where the upper stopped being one.
    pub(crate) fn upper(&self) -> Result<&dyn UpperDir> {
        self.dir.as_upper().ok_or_else(|| Error::fault(Errno::EIO, "overlay: the index is no upper directory"))
    }

    fn find(&self, name: &IndexName) -> Result<Option<Node>> {
        match self.dir.lookup(name.name.as_name()) {
            Err(error) if error == Errno::ENAMETOOLONG => Ok(None),
            found => found,
        }
    }

    /// Gives a staged copy its name; the caller holds `inodes`.
    ///
    /// # Errors
    /// Those of [`UpperDir::publish`].
    pub(crate) fn publish(&self, name: &IndexName, staged: &Node) -> Result<()> {
        let how = Publish { over: Over::Nothing, parent: Parent::Touched, xattrs: &[] };
        self.upper()?.publish(name.name.as_name(), staged, &how)
    }
}

impl Shared {
    /// Where the copy of an inode of a lower layer with several names is to be; `None` under `index=off`, and where the inode
    /// could not be found again.
    pub(crate) fn index_name(&self, layer: LayerIndex, node: &dyn NodeOps, links: u32) -> Option<IndexName> {
        self.index.as_ref()?;
        IndexName::of(&self.origin(layer, node)?, links)
    }

    /// Whether the copy under `name` is inode `ino` of the upper.
    ///
    /// # Errors
    /// Those of the upper.
    pub(crate) fn is_in_index(&self, name: &IndexName, ino: u64) -> Result<bool> {
        let Some(index) = &self.index else { return Ok(false) };
        Ok(index.find(name)?.is_some_and(|node| node.id().ino == ino))
    }

    /// The copy of a lower leaf, if it has one.
    ///
    /// # Errors
    /// `EIO` for a copy of another kind; those of the layers.
    pub(crate) fn in_index(&self, leaf: &LowerLeaf<Node>) -> Result<Option<UpperLeaf>> {
        let (Some(index), Some(name)) = (&self.index, &leaf.index) else { return Ok(None) };
        let Some(node) = index.find(name)? else { return Ok(None) };
        if node.file_type()? != leaf.node.file_type()? {
            return Err(Error::fault(Errno::EIO, "overlay: an index entry of another kind than its origin"));
        }
        let data = match (self.metacopy_of(&node)?, &leaf.data, &leaf.node) {
            (None, ..) => Data::Own,
            (Some(_), Data::Own, Node::File(file)) => Data::Below(Arc::clone(file)),
            (Some(_), data, _) => data.clone(),
        };
        Ok(Some(UpperLeaf { node, data, index: Some(name.clone()) }))
    }

    /// How many names a file of the index has in the overlay; `links` is how many it has in the upper.
    ///
    /// # Errors
    /// Those of the upper.
    pub(crate) fn links_of<N: NodeOps + ?Sized>(&self, index: &IndexName, upper: &N, links: u32) -> Result<u32> {
        let count = xattr::of_layer(upper, self.names.nlink)?.and_then(|value| LinkCount::parse(&value));
        let total = match count {
            Some(LinkCount::OverUpper(more)) => i64::from(links) + more,
            Some(LinkCount::OverLower(more)) => i64::from(index.lower_links) + more,
            None => i64::from(links),
        };
        Ok(u32::try_from(total.max(0)).unwrap_or(u32::MAX))
    }

    /// Held while names of copies come and go.
    pub(crate) fn hold_links(&self) -> Option<Held<MutexGuard<'_, ()>>> {
        self.index.as_ref().map(|index| index.links.lock())
    }

    /// Sees to it that the count of `inode` is told relative to the upper, before names there come or go; the caller
    /// holds the links.
    ///
    /// # Errors
    /// Those of the upper.
    pub(crate) fn count_over_upper(&self, inode: &Node, index: &IndexName) -> Result<()> {
        let count = xattr::of_layer(inode.ops(), self.names.nlink)?.and_then(|value| LinkCount::parse(&value));
        if let Some(LinkCount::OverUpper(_)) = count {
            return Ok(());
        }
        let links = inode.attr()?.nlink;
        let total = self.links_of(index, inode.ops(), links)?;
        let count = LinkCount::OverUpper(i64::from(total) - i64::from(links)).to_bytes();
        inode.ops().set_xattr(self.names.nlink, &count, XattrMode::Set)
    }

    /// Takes the copy of an object that just lost a name out of the index, if that was the last; the caller holds the links.
    pub(crate) fn forget_unused(&self, node: &OverlayNode) {
        let (Some(index), Indexed::InUpper(inode, name)) = (&self.index, node.indexed()) else { return };
        let forget = || -> Result<()> {
            if self.links_of(name, inode.ops(), inode.attr()?.nlink)? == 0 {
                index.dir.remove(name.name.as_name(), Expect::NonDir)?;
            }
            Ok(())
        };
        if let Err(error) = forget() {
            // The next mount sees that nothing leads to it.
            log::warn!("overlay: a removed file keeps its space until the next mount: {error}");
        }
    }
}

impl OverlayDir {
    /// Copies up what is at `name`, if the index keeps its names together and one of them is to go.
    ///
    /// # Errors
    /// Those of the layers.
    pub(crate) fn copy_up_indexed(&self, name: Name<'_>) -> Result<()> {
        if self.core.fs.index.is_none() {
            return Ok(());
        }
        let node = {
            let _entries = self.entries.read();
            match self.resolve(name)? {
                Some(found @ Found::Lower(..)) => self.node(name, found)?,
                _ => return Ok(()),
            }
        };
        if node.is_indexed() { node.copy_up() } else { Ok(()) }
    }

    /// Gives the name of an inode in the index an entry in the upper, copying the inode up first.
    ///
    /// # Errors
    /// Those of the layers.
    pub(crate) fn link_up_indexed(&self, name: Name<'_>) -> Result<()> {
        if self.core.fs.index.is_none() {
            return Ok(());
        }
        self.copy_up_indexed(name)?;
        let _entries = self.entries.write();
        let Some(found) = self.resolve(name)? else { return Ok(()) };
        let in_upper = found.in_upper();
        match self.node(name, found)?.indexed() {
            Indexed::InUpper(inode, index) => {
                let _links = self.core.fs.hold_links();
                self.link_up(name, &inode, index, in_upper)
            }
            Indexed::No | Indexed::InLower => Ok(()),
        }
    }

    /// Gives `name` an entry in the upper, unless it has one, and leaves a count that follows it; the caller holds the entries
    /// and the links.
    ///
    /// # Errors
    /// Those of the upper: what users see is as before.
    pub(crate) fn link_up(&self, name: Name<'_>, inode: &Node, index: &IndexName, in_upper: InUpper) -> Result<()> {
        let fs = &*self.core.fs;
        if in_upper == InUpper::No {
            let upper = self.changeable()?;
            if !self.is_impure()? {
                upper.set_xattr(fs.names.impure, YES, XattrMode::Set)?;
                self.set_impure();
            }
            let total = fs.links_of(index, inode.ops(), inode.attr()?.nlink)?;
            let count = LinkCount::OverLower(i64::from(total) - i64::from(index.lower_links)).to_bytes();
            inode.ops().set_xattr(fs.names.nlink, &count, XattrMode::Set)?;
            upper.link_over(name, inode)?;
        }
        fs.count_over_upper(inode, index)
    }
}

impl OverlayNode {
    /// Whether the index keeps its names together, and its inode there.
    pub(crate) fn indexed(&self) -> Indexed<'_> {
        let (index, upper) = match self {
            Self::Dir(_) => return Indexed::No,
            Self::File(leaf) => (&leaf.index, leaf.upper().map(|upper| Node::File(Arc::clone(upper)))),
            Self::Symlink(leaf) => (&leaf.index, leaf.upper().map(|upper| Node::Symlink(Arc::clone(upper)))),
            Self::Special(leaf) => (&leaf.index, leaf.upper().map(|upper| Node::Special(Arc::clone(upper)))),
        };
        match (index, upper) {
            (None, _) => Indexed::No,
            (Some(_), None) => Indexed::InLower,
            (Some(index), Some(upper)) => Indexed::InUpper(upper, index),
        }
    }

    /// Whether the index keeps its names together.
    pub(crate) fn is_indexed(&self) -> bool {
        !matches!(self.indexed(), Indexed::No)
    }
}
