//! New entries: create, create without a name, link. A whiteout at the name is replaced in the same step.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use vfs::{
    DeviceNumber, Errno, Error, FileOps, Name, NewKind, NewNode, Node, NodeOps, Result, SpecialOps, SymlinkOps,
    XattrMode,
};

use crate::copy_up::Content;
use crate::format::YES;
use crate::fs::Shared;
use crate::identity::{FsIndex, Kind, NumberRoom, OverlayNode, TableRoom};
use crate::leaf::Leaf;
use crate::lookup::{Found, UpperLeaf};
use crate::node::{DirParts, OverlayDir};

impl OverlayDir {
    /// [`DirOps::create`](vfs::DirOps::create).
    pub(crate) fn create_entry(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        refuse_whiteout(new)?;
        self.expect_absent(name)?;
        let upper = self.copy_up()?;

        let _entries = self.entries.write();
        if self.resolve(name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        // Once the entry is made, nothing may fail for want of memory.
        let room = self.core.fs.reserve()?;
        let node = upper.create_over(name, &NewNode { xattrs: &self.new_xattrs(new).borrowed(), ..*new })?;
        let number = self.core.fs.new_number(&node, Some(&room));
        let made = number.and_then(|number| self.node_in(name, of_upper(node, number), Some(&room)));
        match &made {
            Ok(made) => {
                made.core().begins_unprotected();
                self.add_entry(name, made.core().number(), Ok(new.kind.file_type()));
            }
            Err(_) => self.forget_listing(),
        }
        made.map(OverlayNode::into_node)
    }

    /// [`DirOps::create_unnamed`](vfs::DirOps::create_unnamed).
    pub(crate) fn create_without_name(&self, new: &NewNode<'_>) -> Result<Node> {
        refuse_whiteout(new)?;
        if matches!(new.kind, NewKind::Dir) {
            return Err(Error::new(Errno::EINVAL, "directory without a name"));
        }
        let upper = self.copy_up()?;
        let _entries = self.entries.read();
        if self.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        let attributes = NewAttributes::escaped(self, new);
        let node = upper.create_unnamed(&NewNode { xattrs: &attributes.borrowed(), ..*new })?;
        let number = self.core.fs.new_number(&node, None)?;
        // Stands for none: a leaf of the upper is told by its inode, whatever its names.
        let name = Name::new(b"#unnamed")?;
        Ok(self.node(name, of_upper(node, number))?.into_node())
    }

    /// [`DirOps::link`](vfs::DirOps::link).
    pub(crate) fn link_entry(&self, name: Name<'_>, node: &Node) -> Result<()> {
        match node {
            Node::Dir(_) => Err(Error::new(Errno::EPERM, "hard link to a directory")),
            Node::File(_) => self.link_leaf::<dyn FileOps>(name, node),
            Node::Symlink(_) => self.link_leaf::<dyn SymlinkOps>(name, node),
            Node::Special(_) => self.link_leaf::<dyn SpecialOps>(name, node),
        }
    }

    fn link_leaf<T: Kind + ?Sized>(&self, name: Name<'_>, node: &Node) -> Result<()>
    where
        Leaf<T>: NodeOps,
    {
        let leaf = node.downcast_ref::<Leaf<T>>().filter(|leaf| self.shares_overlay(&leaf.core));
        let leaf = leaf.ok_or_else(|| Error::new(Errno::EXDEV, "link to a node of another filesystem"))?;
        self.expect_absent(name)?;
        let removed = || Error::new(Errno::ENOENT, "link to a removed file");
        if leaf.is_gone() {
            return Err(removed());
        }
        leaf.copy_up(Content::Whole)?;
        // Its name may have gone before its copy got one. Later the upper knows.
        if leaf.is_gone() {
            return Err(removed());
        }
        let original = leaf.upper().ok_or(Errno::EROFS)?;
        let upper = self.copy_up()?;

        let _entries = self.entries.write();
        if self.resolve(name)?.is_some() {
            return Err(Errno::EEXIST.into());
        }
        if leaf.core.has_origin(&**original)? && !self.is_impure()? {
            // Before the link: a mark too many costs a look-up a listing, one too few a wrong d_ino.
            upper.set_xattr(self.core.fs.names.impure, YES, XattrMode::Set)?;
            self.set_impure();
        }
        let _links = match &leaf.index {
            None => None,
            Some(index) => {
                let links = self.core.fs.hold_links();
                if leaf.attr()?.nlink == 0 {
                    return Err(removed());
                }
                self.core.fs.count_over_upper(&T::into_node(original.clone()), index)?;
                links
            }
        };
        upper.link_over(name, &T::into_node(original.clone()))?;
        self.add_entry(name, leaf.core.number(), node.file_type());
        Ok(())
    }

    /// Fails early where something is at `name`, so that a change which cannot succeed copies nothing up.
    fn expect_absent(&self, name: Name<'_>) -> Result<()> {
        if self.upper().is_none() {
            let _entries = self.entries.read();
            if self.resolve(name)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
        }
        Ok(())
    }

    /// The attributes that a new entry starts with: those asked for, and `opaque` on a directory under which lower ones could
    /// otherwise show through, now or after a change of the layers.
    fn new_xattrs<'a>(&self, new: &NewNode<'a>) -> NewAttributes<'a> {
        let mut attributes = NewAttributes::escaped(self, new);
        if matches!(new.kind, NewKind::Dir) && !self.lowers.is_empty() {
            attributes.0.push((Cow::Borrowed(self.core.fs.names.opaque), YES));
        }
        attributes
    }
}

/// Names and values for a new inode.
struct NewAttributes<'a>(Vec<(Cow<'a, [u8]>, &'a [u8])>);

impl<'a> NewAttributes<'a> {
    /// Those that a user asked for, as the upper is to have them.
    fn escaped(dir: &OverlayDir, new: &NewNode<'a>) -> Self {
        Self(new.xattrs.iter().map(|&(name, value)| (dir.core.fs.names.on_layer(name), value)).collect())
    }

    fn borrowed(&self) -> Vec<(&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, *value)).collect()
    }
}

impl Shared {
    /// Holds the memory that a new node needs in what all nodes share.
    ///
    /// # Errors
    /// `ENOMEM`.
    fn reserve(&self) -> Result<NodeRoom<'_>> {
        Ok(NodeRoom { table: self.table.reserve()?, number: self.numbering.reserve()? })
    }

    /// The number of an inode that was just made in the upper.
    fn new_number(&self, node: &Node, room: Option<&NodeRoom<'_>>) -> Result<u64> {
        let ino = node.id().ino;
        self.claims.forget(ino);
        self.numbering.number_in(room.map(|room| &room.number), FsIndex::UPPER, ino)
    }
}

/// Room for a node that is about to be made.
pub(crate) struct NodeRoom<'a> {
    pub(crate) table: TableRoom<'a>,
    number: NumberRoom<'a>,
}

/// What a new inode of the upper is to the overlay.
fn of_upper(node: Node, number: u64) -> Found {
    match node {
        Node::Dir(dir) => Found::Dir(DirParts { upper: Some(dir), lowers: Box::default(), redirect: None }, number),
        leaf => Found::Upper(UpperLeaf::whole(leaf), number),
    }
}

/// A user's whiteout would hide nothing and break the layer.
fn refuse_whiteout(new: &NewNode<'_>) -> Result<()> {
    match new.kind {
        NewKind::CharDevice(DeviceNumber { major: 0, minor: 0 }) => {
            Err(Error::new(Errno::EPERM, "character device 0/0 is a whiteout"))
        }
        _ => Ok(()),
    }
}
