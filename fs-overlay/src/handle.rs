//! Handles: what finds a leaf of this overlay again after a remount, so that an overlay over it keeps its inode numbers.
//!
//! A handle is Linux's (`OVL_FILEID_V1`): three bytes of padding and the real inode's handle as in an `origin`, flag 4 for one of the
//! upper. It leads to a node by inode alone: one that is in use, or one whose names are not known and which is not copied up.

use alloc::sync::Arc;

use vfs::{Errno, FileHandle, FileOps, Node, NodeOps, Result, SpecialOps, SymlinkOps};

use crate::format::{HandleOf, Origin};
use crate::fs::Shared;
use crate::identity::{Key, Kind, LayerIndex};
use crate::index::IndexName;
use crate::leaf::{Leaf, LowerLeaf};
use crate::metacopy::Data;
use crate::node::{Core, Place};

/// `OVL_FILEID_V1` of Linux's `fs/overlayfs/overlayfs.h`.
const KIND: u8 = 0xf8;
const PADDING: usize = 3;
/// The longest handle.
const LEN_MAX: usize = 128;

impl Shared {
    /// The handle of an inode of the upper.
    pub(crate) fn handle_of_upper<N: NodeOps + ?Sized>(&self, node: &N) -> Option<FileHandle> {
        let origin = Origin { uuid: self.upper.as_ref()?.uuid, handle: node.handle()? };
        padded(&origin.to_bytes(HandleOf::Upper)?)
    }

    /// The handle of an inode of a lower layer.
    pub(crate) fn handle_of_lower<N: NodeOps + ?Sized>(&self, layer: LayerIndex, node: &N) -> Option<FileHandle> {
        let uuid = self.filesystems[usize::from(self.lower(layer).fs.0)].uuid?;
        padded(&Origin { uuid, handle: node.handle()? }.to_bytes(HandleOf::Lower)?)
    }

    /// The leaf of a handle.
    ///
    /// # Errors
    /// Those of the layers.
    pub(crate) fn node_of_handle(self: &Arc<Self>, handle: &FileHandle) -> Result<Option<Node>> {
        if handle.kind != KIND {
            return Ok(None);
        }
        let Some((of, origin)) = handle.bytes.get(PADDING..).and_then(Origin::parse_any) else { return Ok(None) };
        match of {
            HandleOf::Upper => self.upper_of_handle(&origin),
            HandleOf::Lower => self.lower_of_handle(&origin),
        }
    }

    fn upper_of_handle(self: &Arc<Self>, origin: &Origin) -> Result<Option<Node>> {
        let Some(upper) = self.upper.as_ref().filter(|upper| upper.uuid == origin.uuid) else { return Ok(None) };
        let Some(node) = upper.fs.node_by_handle(&origin.handle)? else { return Ok(None) };
        if node.attr()?.is_whiteout() || matches!(node, Node::Dir(_)) {
            return Ok(None);
        }
        let (number, index) = self.original(&node)?;
        let key = Key::Upper(node.id().ino);
        if let Some(known) = self.table.find(&key) {
            return Ok(Some(known.into_node()));
        }
        // Where the data of a file without data is, only its names tell.
        let data = if self.metacopy_of(&node)?.is_some() { Data::Missing } else { Data::Own };
        let core = Core::new(Arc::clone(self), number, key);
        Ok(match node {
            Node::File(node) => Some(upper_leaf::<dyn FileOps>(core, node, data, index)),
            Node::Symlink(node) => Some(upper_leaf::<dyn SymlinkOps>(core, node, data, index)),
            Node::Special(node) => Some(upper_leaf::<dyn SpecialOps>(core, node, data, index)),
            Node::Dir(_) => None,
        })
    }

    fn lower_of_handle(self: &Arc<Self>, origin: &Origin) -> Result<Option<Node>> {
        let Some((filesystem, fs)) = self.filesystem_of(&origin.uuid) else { return Ok(None) };
        let Some(node) = fs.node_by_handle(&origin.handle)? else { return Ok(None) };
        if matches!(node, Node::Dir(_)) {
            return Ok(None);
        }
        let Some(layer) = self.lowers.iter().position(|lower| lower.fs == filesystem) else { return Ok(None) };
        let leaf = LowerLeaf::new(self, LayerIndex(u16::try_from(layer).map_err(|_| Errno::EIO)?), node)?;
        let number = self.number_of_lower(leaf.layer, leaf.node.ops())?;
        let key = Key::Lower(filesystem, leaf.node.id().ino);
        if let Some(known) = self.table.find(&key) {
            return Ok(Some(known.into_node()));
        }
        let core = Core::new(Arc::clone(self), number, key);
        Ok(match leaf.node.clone() {
            Node::File(node) => Some(lower_leaf::<dyn FileOps>(core, leaf.with(node))),
            Node::Symlink(node) => Some(lower_leaf::<dyn SymlinkOps>(core, leaf.with(node))),
            Node::Special(node) => Some(lower_leaf::<dyn SpecialOps>(core, leaf.with(node))),
            Node::Dir(_) => None,
        })
    }
}

fn padded(bytes: &[u8]) -> Option<FileHandle> {
    let bytes = [&[0; PADDING][..], bytes].concat();
    (bytes.len() <= LEN_MAX).then(|| FileHandle { kind: KIND, bytes: bytes.into() })
}

fn upper_leaf<T: Kind + ?Sized>(core: Core, node: Arc<T>, data: Data, index: Option<IndexName>) -> Node {
    T::overlay(Leaf::of_upper(core, node, data, index)).into_node()
}

fn lower_leaf<T: Kind + ?Sized>(core: Core, lower: LowerLeaf<Arc<T>>) -> Node {
    T::overlay(Leaf::of_lower(core, lower, Place::Detached)).into_node()
}
