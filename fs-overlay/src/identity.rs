//! Who is who: inode numbers of the overlay, and the table that finds a node again while it is in use.
//!
//! # Numbers
//! All nodes share the overlay's device, so a number says which filesystem of the layers the inode is on and which of its
//! inodes it is: `number = filesystem << shift | inode`. Filesystem 0 is the upper's, so its numbers stay as they
//! are. An object keeps the number of the lower inode it began as: in memory over its copy-up, and over remounts
//! through the `origin` attribute. With `shift` 40, and 50 for an overlay over overlays, every real inode number below 2^40
//! (2^50) fits; a larger one gets the next free number of a range of its own, which it keeps until the unmount. Where an
//! `origin` cannot be recorded (the lower filesystem has no handles), [`Claims`] keeps the number until the unmount.
//!
//! # Table
//! [`Table`] holds nodes weakly under a [`Key`]: where the object's content is. A lower object that is copied up changes
//! its key in the moment of publication. The table's lock is a leaf: nothing is called and nothing dropped under it.

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};

use base::sync::Mutex;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use vfs::{Errno, FileOps, Name, NameBuf, Node, NodeOps, Result, SpecialOps, SymlinkOps};

use crate::copy_up::Content;
use crate::leaf::Leaf;
use crate::node::{Core, OverlayDir};
use crate::room::{Room, RoomMap};

/// Which filesystem among those that the layers are on. The upper's is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FsIndex(pub(crate) u16);

impl FsIndex {
    pub(crate) const UPPER: Self = Self(0);
}

/// Which lower layer: 0 is the topmost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LayerIndex(pub(crate) u16);

/// Bits of a number that tell the filesystem: at most 1 + 500.
const FILESYSTEM_BITS: u32 = 9;

/// How deep overlays are stacked: Linux's `FILESYSTEM_MAX_STACK_DEPTH` is 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// No layer is an overlay.
    One,
    /// Some layer is an overlay of depth one.
    Two,
}

/// Makes inode numbers.
pub(crate) struct Numbering {
    shift: u32,
    /// Numbers of inodes whose own number does not fit.
    large: RoomMap<(FsIndex, u64), u64>,
}

impl Numbering {
    pub(crate) fn new(depth: Depth) -> Self {
        // The numbers of an overlay of depth one are below 2^50: its shift, its filesystems, its own large ones.
        let shift = match depth {
            Depth::One => 40,
            Depth::Two => 50,
        };
        Self { shift, large: RoomMap::default() }
    }

    /// The overlay's number for inode `ino` of a layer's filesystem.
    ///
    /// # Errors
    /// `ENOMEM` where a number that does not fit cannot be remembered.
    pub(crate) fn number(&self, filesystem: FsIndex, ino: u64) -> Result<u64> {
        self.number_in(None, filesystem, ino)
    }

    /// As [`number`](Self::number), with room that is held for it.
    ///
    /// # Errors
    /// `ENOMEM`: never, with room.
    pub(crate) fn number_in(&self, room: Option<&NumberRoom<'_>>, filesystem: FsIndex, ino: u64) -> Result<u64> {
        if ino >> self.shift == 0 {
            return Ok(u64::from(filesystem.0) << self.shift | ino);
        }
        let mut large = self.large.lock();
        large.make_room(room)?;
        let next = 1 << (self.shift + FILESYSTEM_BITS) | large.map.len() as u64;
        Ok(*large.map.entry((filesystem, ino)).or_insert(next))
    }

    /// Holds room for a number.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn reserve(&self) -> Result<NumberRoom<'_>> {
        self.large.reserve()
    }
}

/// Room for the number of an inode whose own does not fit.
pub(crate) type NumberRoom<'a> = Room<'a, (FsIndex, u64), u64>;

/// Numbers of upper inodes that their `origin` attributes do not tell. A leaf lock.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<u64, u64>>);

impl Claims {
    /// The number of upper inode `ino`, if it is remembered.
    pub(crate) fn number(&self, ino: u64) -> Option<u64> {
        self.0.lock().get(&ino).copied()
    }

    /// Remembers it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn remember(&self, ino: u64, number: u64) -> Result<()> {
        let mut claims = self.0.lock();
        claims.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        claims.insert(ino, number);
        Ok(())
    }

    /// Forgets upper inode `ino`: another has its number now.
    pub(crate) fn forget(&self, ino: u64) {
        self.0.lock().remove(&ino);
    }
}

/// Where an object's content is, as far as it tells objects apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// In this inode of the upper.
    Upper(u64),
    /// In this inode of a lower filesystem, which has no other name.
    Lower(FsIndex, u64),
    /// In this inode of a lower filesystem, whose names the index keeps together.
    Shared(FsIndex, u64),
    /// In a lower inode that other names share, and from which this name will part when it is copied up: the object is the
    /// name, in the directory at this address. The directory lives as long as the key: the object holds it.
    Name(usize, NameBuf),
}

/// A node of the overlay, by kind.
#[derive(Clone)]
pub(crate) enum OverlayNode {
    Dir(Arc<OverlayDir>),
    File(Arc<Leaf<dyn FileOps>>),
    Symlink(Arc<Leaf<dyn SymlinkOps>>),
    Special(Arc<Leaf<dyn SpecialOps>>),
}

enum WeakNode {
    Dir(Weak<OverlayDir>),
    File(Weak<Leaf<dyn FileOps>>),
    Symlink(Weak<Leaf<dyn SymlinkOps>>),
    Special(Weak<Leaf<dyn SpecialOps>>),
}

impl OverlayNode {
    /// The node as the contract has it.
    pub(crate) fn into_node(self) -> Node {
        match self {
            Self::Dir(node) => Node::Dir(node),
            Self::File(node) => Node::File(node),
            Self::Symlink(node) => Node::Symlink(node),
            Self::Special(node) => Node::Special(node),
        }
    }

    pub(crate) fn core(&self) -> &Core {
        match self {
            Self::Dir(node) => &node.core,
            Self::File(node) => &node.core,
            Self::Symlink(node) => &node.core,
            Self::Special(node) => &node.core,
        }
    }

    /// Whether it is in lower layers only, and at `name` in `parent`.
    pub(crate) fn is_lower_at(&self, parent: &OverlayDir, name: Name<'_>) -> bool {
        match self {
            Self::Dir(node) => node.upper().is_none() && node.is_at(parent, name),
            Self::File(node) => node.is_lower_at(parent, name),
            Self::Symlink(node) => node.is_lower_at(parent, name),
            Self::Special(node) => node.is_lower_at(parent, name),
        }
    }

    fn downgrade(&self) -> WeakNode {
        match self {
            Self::Dir(node) => WeakNode::Dir(Arc::downgrade(node)),
            Self::File(node) => WeakNode::File(Arc::downgrade(node)),
            Self::Symlink(node) => WeakNode::Symlink(Arc::downgrade(node)),
            Self::Special(node) => WeakNode::Special(Arc::downgrade(node)),
        }
    }
}

impl WeakNode {
    fn upgrade(&self) -> Option<OverlayNode> {
        Some(match self {
            Self::Dir(node) => OverlayNode::Dir(node.upgrade()?),
            Self::File(node) => OverlayNode::File(node.upgrade()?),
            Self::Symlink(node) => OverlayNode::Symlink(node.upgrade()?),
            Self::Special(node) => OverlayNode::Special(node.upgrade()?),
        })
    }
}

pub(crate) struct Listed {
    node: WeakNode,
    /// Whose entry it is: a node that is being dropped must not take out the entry of its successor.
    serial: u64,
}

/// Room for a node in the table.
pub(crate) type TableRoom<'a> = Room<'a, Key, Listed>;

/// The nodes in use.
#[derive(Default)]
pub(crate) struct Table {
    nodes: RoomMap<Key, Listed>,
    serial: AtomicU64,
}

impl Table {
    /// A number that no other node has.
    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// The node in use under `key`.
    pub(crate) fn find(&self, key: &Key) -> Option<OverlayNode> {
        self.nodes.lock().map.get(key).and_then(|listed| listed.node.upgrade())
    }

    /// Holds room for a node.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn reserve(&self) -> Result<TableRoom<'_>> {
        self.nodes.reserve()
    }

    /// Lists `node` under its key, or returns the one that is there already.
    ///
    /// # Errors
    /// `ENOMEM`: never, with `room`.
    pub(crate) fn enter(
        &self,
        key: Key,
        node: &OverlayNode,
        room: Option<&TableRoom<'_>>,
    ) -> Result<Option<OverlayNode>> {
        let listed = Listed { node: node.downgrade(), serial: node.core().serial() };
        let mut table = self.nodes.lock();
        table.make_room(room)?;
        match table.map.entry(key) {
            Entry::Occupied(mut entry) => match entry.get().node.upgrade() {
                Some(other) => Ok(Some(other)),
                None => {
                    let stale = entry.insert(listed);
                    drop(table);
                    drop(stale);
                    Ok(None)
                }
            },
            Entry::Vacant(entry) => {
                entry.insert(listed);
                Ok(None)
            }
        }
    }

    /// Lists the node of this serial number under `new` instead of `old`. It stays unlisted where memory is short: it is then
    /// found again as another node, whose content is the same inode of the upper.
    pub(crate) fn rekey(&self, old: &Key, new: Key, serial: u64) {
        let mut stale = None;
        let mut table = self.nodes.lock();
        if table.make_room(None).is_err() {
            log::warn!("overlay: out of memory for the node table");
            return;
        }
        if let Entry::Occupied(entry) = table.map.entry(old.clone())
            && entry.get().serial == serial
        {
            let listed = entry.remove();
            stale = table.map.insert(new, listed);
        }
        drop(table);
        drop(stale);
    }

    /// Forgets the node of this serial number, if it is listed under `key`.
    pub(crate) fn forget(&self, key: &Key, serial: u64) {
        let mut table = self.nodes.lock();
        let stale = match table.map.get(key) {
            Some(listed) if listed.serial == serial => table.map.remove(key),
            _ => None,
        };
        drop(table);
        drop(stale);
    }

    /// How many nodes are in use.
    pub(crate) fn len(&self) -> usize {
        self.nodes.lock().map.len()
    }
}

/// The kinds of leaves, so that one type serves them all.
pub(crate) trait Kind: NodeOps {
    /// The node, if it is of this kind.
    fn from_node(node: Node) -> Option<Arc<Self>>;
    /// Any node of this kind.
    fn into_node(this: Arc<Self>) -> Node;
    /// The overlay's node of this kind.
    fn overlay(leaf: Arc<Leaf<Self>>) -> OverlayNode;
    /// The file that has the content of `leaf`, where its topmost part has attributes alone.
    fn data_elsewhere(leaf: &Leaf<Self>) -> Option<&Arc<dyn FileOps>>;
    /// Gives the part in the upper its data, where that has attributes alone.
    ///
    /// # Errors
    /// Those of the layers.
    fn complete(leaf: &Leaf<Self>, content: Content) -> Result<()>;
}

macro_rules! kind {
    ($ops:ident, $variant:ident, $data:expr, $complete:expr) => {
        impl Kind for dyn $ops {
            fn from_node(node: Node) -> Option<Arc<Self>> {
                match node {
                    Node::$variant(node) => Some(node),
                    _ => None,
                }
            }

            fn into_node(this: Arc<Self>) -> Node {
                Node::$variant(this)
            }

            fn overlay(leaf: Arc<Leaf<Self>>) -> OverlayNode {
                OverlayNode::$variant(leaf)
            }

            fn data_elsewhere(leaf: &Leaf<Self>) -> Option<&Arc<dyn FileOps>> {
                $data(leaf)
            }

            fn complete(leaf: &Leaf<Self>, content: Content) -> Result<()> {
                $complete(leaf, content)
            }
        }
    };
}

kind!(FileOps, File, Leaf::data_file, Leaf::complete);
kind!(SymlinkOps, Symlink, |_| None, |_, _| Ok(()));
kind!(SpecialOps, Special, |_| None, |_, _| Ok(()));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_filesystems_apart_and_leave_the_upper_as_it_is() {
        let numbering = Numbering::new(Depth::One);
        assert_eq!(numbering.number(FsIndex::UPPER, 12).unwrap(), 12);
        assert_eq!(numbering.number(FsIndex(1), 12).unwrap(), 1 << 40 | 12);
        assert_eq!(numbering.number(FsIndex(500), (1 << 40) - 1).unwrap(), (501 << 40) - 1);
    }

    #[test]
    fn a_large_number_is_mapped_and_stays() {
        let numbering = Numbering::new(Depth::One);
        let first = numbering.number(FsIndex(3), u64::MAX).unwrap();
        let second = numbering.number(FsIndex(3), u64::MAX - 1).unwrap();
        assert_ne!(first, second);
        assert!(first >> 49 == 1 && second >> 49 == 1);
        assert_eq!(numbering.number(FsIndex(3), u64::MAX).unwrap(), first);
    }

    #[test]
    fn the_numbers_of_an_overlay_fit_into_those_of_the_next() {
        let inner = Numbering::new(Depth::One);
        let outer = Numbering::new(Depth::Two);
        let number = inner.number(FsIndex(500), u64::MAX).unwrap();
        assert_eq!(outer.number(FsIndex(2), number).unwrap(), 2 << 50 | number);
    }
}
