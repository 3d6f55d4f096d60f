//! Lookup: one name of an overlay directory through all its layers.
//!
//! [`OverlayDir::resolve`] walks from the upper down, by the rules of [`crate::merge`] and along redirects, and says what the
//! name means ([`Found`]). [`OverlayDir::node`] makes it a node, or finds the one in use. Both want the directory's
//! entries held, shared at least.

use alloc::sync::Arc;

use vfs::{DirOps, Errno, Error, FileOps, Name, Node, NodeOps, Result, SpecialOps, SymlinkOps};

use crate::create::NodeRoom;
use crate::format::{Opaque, Origin, Redirect};
use crate::fs::{LowerLayer, Shared};
use crate::identity::{FsIndex, Key, Kind, LayerIndex, OverlayNode};
use crate::index::{InUpper, IndexName};
use crate::leaf::{Leaf, Links, LowerLeaf};
use crate::merge::{LayerEntry, Whiteouts, layer_entry};
use crate::metacopy::Data;
use crate::node::{Core, DirParts, OverlayDir, Place};
use crate::search::{Above, Lowers, Search};
use crate::xattr;

/// What a name of an overlay directory means.
pub(crate) enum Found {
    /// A directory: the parts, and its number.
    Dir(DirParts, u64),
    /// A leaf of the upper, and its number.
    Upper(UpperLeaf, u64),
    /// A leaf of a lower layer, and its number.
    Lower(LowerLeaf<Node>, u64),
}

/// A leaf of the upper.
pub(crate) struct UpperLeaf {
    pub(crate) node: Node,
    /// Where its content is.
    pub(crate) data: Data,
    /// Its entry in the index, if it has one.
    pub(crate) index: Option<IndexName>,
}

impl UpperLeaf {
    /// One that has its content.
    pub(crate) fn whole(node: Node) -> Self {
        Self { node, data: Data::Own, index: None }
    }
}

impl Found {
    /// The inode number.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Dir(_, number) | Self::Upper(_, number) | Self::Lower(_, number) => *number,
        }
    }

    /// Whether the upper has an entry for it.
    pub(crate) fn in_upper(&self) -> InUpper {
        match self {
            Self::Upper(..) => InUpper::Yes,
            Self::Dir(parts, _) if parts.upper.is_some() => InUpper::Yes,
            Self::Dir(..) | Self::Lower(..) => InUpper::No,
        }
    }
}

impl OverlayDir {
    /// What `name` means here; `None` is certain absence.
    ///
    /// # Errors
    /// Those of the layers; `ELOOP` where a layer contains the root of another; `EPERM` for a redirect that may not be followed
    /// or a file whose data is elsewhere (`metacopy=off`); `EINVAL` for a redirect that is none.
    pub(crate) fn resolve(&self, name: Name<'_>) -> Result<Option<Found>> {
        let fs = &*self.core.fs;
        if self.is_gone() {
            return Ok(None);
        }
        let mut upper = None;
        let mut upper_redirect = None;
        let mut search = Search::new(fs, name);
        if let Some(dir) = self.upper() {
            match layer_entry(fs.names, &**dir, name, Whiteouts::Devices)? {
                None => {}
                Some(LayerEntry::Whiteout) => return Ok(None),
                Some(LayerEntry::Leaf(node)) => {
                    // Listings look at origins only where the mark says so, and both must agree on the number.
                    let (number, index) =
                        if self.is_impure()? { fs.original(&node)? } else { (fs.own_number(&node)?, None) };
                    let data = match fs.metacopy_of(&node)? {
                        None => Data::Own,
                        Some(redirect) => {
                            if let Some(redirect) = redirect {
                                search.follow(redirect);
                            }
                            match search.through(self, Above::Metacopy)? {
                                Lowers::Data(data) => Data::below(data),
                                Lowers::Leaf(_) | Lowers::Dirs(_) => Data::Missing,
                            }
                        }
                    };
                    return Ok(Some(Found::Upper(UpperLeaf { node, data, index }, number)));
                }
                Some(LayerEntry::Dir(dir)) => {
                    fs.refuse_trap(FsIndex::UPPER, &*dir)?;
                    match Opaque::parse(xattr::of_layer(&*dir, fs.names.opaque)?.as_deref()) {
                        Opaque::Yes => search.hide(),
                        Opaque::No | Opaque::XattrWhiteouts => {
                            if let Some(redirect) = fs.redirect_of(&*dir)? {
                                upper_redirect = Some(redirect.clone());
                                search.follow(redirect);
                            }
                        }
                    }
                    upper = Some(dir);
                }
            }
        }
        let above = if upper.is_some() { Above::Dir } else { Above::Nothing };
        let lowers = match search.through(self, above)? {
            Lowers::Data(_) => return Err(Error::fault(Errno::EIO, "overlay: data where none was looked for")),
            Lowers::Leaf(leaf) => {
                let number = fs.number_of_lower(leaf.layer, leaf.node.ops())?;
                return Ok(Some(Found::Lower(leaf, number)));
            }
            Lowers::Dirs(lowers) => lowers,
        };
        let number = match (&upper, lowers.first()) {
            (_, Some(lower)) => fs.number_of_lower(lower.layer, &*lower.dir)?,
            (Some(upper), None) => fs.numbering.number(FsIndex::UPPER, upper.id().ino)?,
            (None, None) => return Ok(None),
        };
        let parts = DirParts { upper, lowers: lowers.into_boxed_slice(), redirect: upper_redirect };
        Ok(Some(Found::Dir(parts, number)))
    }

    /// The node of `found` at `name`: the one in use, or a new one.
    ///
    /// # Errors
    /// `ENOMEM`; `ESTALE` where the layers contradict each other.
    pub(crate) fn node(&self, name: Name<'_>, found: Found) -> Result<OverlayNode> {
        self.node_in(name, found, None)
    }

    /// As [`node`](Self::node), with room that is held for what is new in the upper.
    ///
    /// # Errors
    /// Those of [`node`](Self::node); no `ENOMEM` with room.
    pub(crate) fn node_in(&self, name: Name<'_>, found: Found, room: Option<&NodeRoom<'_>>) -> Result<OverlayNode> {
        match found {
            Found::Dir(parts, number) => {
                let key = match (&parts.upper, parts.lowers.first()) {
                    (Some(upper), _) => Key::Upper(upper.id().ino),
                    (None, Some(lower)) => Key::Lower(self.core.fs.lower(lower.layer).fs, lower.dir.id().ino),
                    (None, None) => return Err(Error::fault(Errno::EIO, "overlay: a directory without any part")),
                };
                self.share(name, key, number, room, |core, place| OverlayNode::Dir(OverlayDir::new(core, parts, place)))
            }
            Found::Upper(leaf, number) => self.upper_node(name, leaf, number, room),
            Found::Lower(leaf, number) => {
                let fs = &*self.core.fs;
                let (filesystem, ino) = (fs.lower(leaf.layer).fs, leaf.node.id().ino);
                // Nobody puts the inode into the index between the look at it and the entry in the table.
                let mut _index = None;
                let key = match (leaf.links, &leaf.index, &fs.index) {
                    (Links::Several, Some(_), Some(index)) => {
                        _index = Some(index.inodes.read());
                        if let Some(upper) = fs.in_index(&leaf)? {
                            return self.upper_node(name, upper, number, None);
                        }
                        Key::Shared(filesystem, ino)
                    }
                    (Links::One, ..) => Key::Lower(filesystem, ino),
                    (Links::Several, ..) => self.name_key(name),
                };
                match leaf.node.clone() {
                    Node::File(node) => self.lower_leaf::<dyn FileOps>(name, key, leaf.with(node), number),
                    Node::Symlink(node) => self.lower_leaf::<dyn SymlinkOps>(name, key, leaf.with(node), number),
                    Node::Special(node) => self.lower_leaf::<dyn SpecialOps>(name, key, leaf.with(node), number),
                    Node::Dir(_) => Err(Error::fault(Errno::EIO, "overlay: a directory where a leaf was")),
                }
            }
        }
    }

    fn upper_node(
        &self,
        name: Name<'_>,
        leaf: UpperLeaf,
        number: u64,
        room: Option<&NodeRoom<'_>>,
    ) -> Result<OverlayNode> {
        let UpperLeaf { node, data, index } = leaf;
        match node {
            Node::File(node) => self.upper_leaf::<dyn FileOps>(name, node, data, index, number, room),
            Node::Symlink(node) => self.upper_leaf::<dyn SymlinkOps>(name, node, data, index, number, room),
            Node::Special(node) => self.upper_leaf::<dyn SpecialOps>(name, node, data, index, number, room),
            Node::Dir(_) => Err(Error::fault(Errno::EIO, "overlay: a directory where a leaf was")),
        }
    }

    fn upper_leaf<T: Kind + ?Sized>(
        &self,
        name: Name<'_>,
        node: Arc<T>,
        data: Data,
        index: Option<IndexName>,
        number: u64,
        room: Option<&NodeRoom<'_>>,
    ) -> Result<OverlayNode> {
        let key = Key::Upper(node.id().ino);
        self.share(name, key, number, room, |core, _| T::overlay(Leaf::of_upper(core, node, data, index)))
    }

    fn lower_leaf<T: Kind + ?Sized>(
        &self,
        name: Name<'_>,
        key: Key,
        lower: LowerLeaf<Arc<T>>,
        number: u64,
    ) -> Result<OverlayNode> {
        let is_shared = matches!(key, Key::Shared(..));
        self.share(name, key, number, None, |core, place| {
            T::overlay(Leaf::of_lower(core, lower, if is_shared { Place::Shared } else { place }))
        })
    }

    fn name_key(&self, name: Name<'_>) -> Key {
        Key::Name(core::ptr::from_ref(self).addr(), name.to_owned())
    }

    /// The node in use under `key`, if it is the object at `name`; else a new one. A key that another object has (two
    /// names that lead to one lower inode, which no overlay writes) is left to it, and the name becomes the key.
    fn share(
        &self,
        name: Name<'_>,
        key: Key,
        number: u64,
        room: Option<&NodeRoom<'_>>,
        make: impl FnOnce(Core, Place) -> OverlayNode,
    ) -> Result<OverlayNode> {
        let fs = &self.core.fs;
        let fits = |node: &OverlayNode| matches!(key, Key::Upper(_) | Key::Shared(..)) || node.is_lower_at(self, name);
        if let Some(node) = fs.table.find(&key)
            && fits(&node)
        {
            return Ok(node);
        }
        let place = Place::At { parent: self.this()?, name: name.to_owned() };
        let node = make(Core::new(Arc::clone(fs), number, key.clone()), place);
        for key in [key.clone(), self.name_key(name)] {
            node.core().set_key(key.clone());
            match fs.table.enter(key, &node, room.map(|room| &room.table))? {
                None => return Ok(node),
                Some(other) if fits(&other) => return Ok(other),
                Some(_) => {}
            }
        }
        Err(Error::fault(Errno::ESTALE, "overlay: two objects at one name"))
    }
}

impl Shared {
    /// The lower layer of an index.
    pub(crate) fn lower(&self, layer: LayerIndex) -> &LowerLayer {
        // An index is made only from a layer that is there, and layers are never removed.
        &self.lowers[usize::from(layer.0)]
    }

    /// The redirect of a layer's directory, or of a file without data.
    ///
    /// # Errors
    /// `EINVAL` for one that is broken; those of the layer.
    pub(crate) fn redirect_of<N: NodeOps + ?Sized>(&self, dir: &N) -> Result<Option<Redirect>> {
        xattr::of_layer(dir, self.names.redirect)?.map(|value| Redirect::parse(&value)).transpose()
    }

    /// Refuses the root of another layer inside a layer.
    pub(crate) fn refuse_trap(&self, filesystem: FsIndex, dir: &dyn DirOps) -> Result<()> {
        if self.traps.contains(&(filesystem, dir.id().ino)) {
            return Err(Error::fault(Errno::ELOOP, "overlay: a layer contains the root of another layer"));
        }
        Ok(())
    }

    /// The number of an inode of a lower layer.
    pub(crate) fn number_of_lower(&self, layer: LayerIndex, node: &dyn NodeOps) -> Result<u64> {
        self.numbering.number(self.lower(layer).fs, node.id().ino)
    }

    /// The number of a leaf of the upper: that of the lower inode it was copied up from, if that is known and has no
    /// other name.
    pub(crate) fn original_number(&self, node: &Node) -> Result<u64> {
        self.original(node).map(|(number, _)| number)
    }

    /// The same, with its entry in the index, if it has one: then the lower inode may have other names.
    pub(crate) fn original(&self, node: &Node) -> Result<(u64, Option<IndexName>)> {
        match (self.origin_of(node)?, self.claims.number(node.id().ino)) {
            (Some((filesystem, original, index)), _) => Ok((self.numbering.number(filesystem, original)?, index)),
            (None, Some(number)) => Ok((number, None)),
            (None, None) => Ok((self.own_number(node)?, None)),
        }
    }

    /// The number of what began in the upper.
    pub(crate) fn own_number(&self, node: &Node) -> Result<u64> {
        self.numbering.number(FsIndex::UPPER, node.id().ino)
    }

    fn origin_of(&self, node: &Node) -> Result<Option<(FsIndex, u64, Option<IndexName>)>> {
        let Some(value) = xattr::of_layer(node.ops(), self.names.origin)? else { return Ok(None) };
        let Some(origin) = Origin::parse(&value) else { return Ok(None) };
        let Some((filesystem, lower)) = self.filesystem_of(&origin.uuid) else { return Ok(None) };
        let Some(original) = lower.node_by_handle(&origin.handle)? else { return Ok(None) };
        let attr = original.attr()?;
        if attr.kind != node.file_type()? {
            return Ok(None);
        }
        let index = match attr.nlink {
            1 => None,
            // Several copies may claim it: the one in the index has it.
            links => match IndexName::of(&value, links) {
                Some(name) if self.is_in_index(&name, node.id().ino)? => Some(name),
                _ => return Ok(None),
            },
        };
        Ok(Some((filesystem, original.id().ino, index)))
    }
}
