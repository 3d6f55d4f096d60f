//! Copy-up: a lower object gets its part in the upper.
//!
//! Parents first. A copy is staged as an inode without a name, filled with data (holes kept), attributes and times out of sight,
//! and published in one step that leaves the parent's times alone. Before that step nothing is visible, and a
//! failure drops the staged inode; after it the copy is complete.
//!
//! The node's own copy-up lock is held all the time, so a file is copied once; the parent's entries are held for
//! the publication only, so a large copy blocks nobody but those who want the same file changed.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use vfs::{
    Errno, Error, FileOps, FileType, InodeFlags, Name, NewKind, NewNode, Node, NodeOps, Over, Parent, Publish, Result,
    SetAttr, SetTime, Subject, SyncKind, Told, UpperDir, XattrChange, sync_and_tell,
};

use crate::format::YES;
use crate::fs::Shared;
use crate::identity::{FsIndex, Kind, LayerIndex};
use crate::index::IndexName;
use crate::leaf::{Leaf, Links};
use crate::metacopy::{Data, Extent};
use crate::node::OverlayDir;
use crate::options::SyncMode;
use crate::xattr::{self, Attributes};

/// The most data in flight: one buffer of a copy-up.
const CHUNK: usize = 128 * 1024;

/// How much of a file's data its copy gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// All, and its mtime.
    Whole,
    /// What is below this size, which becomes the file's, changed now.
    Resized(u64),
    /// Under `metacopy=on` none, else all.
    Attributes,
}

impl OverlayDir {
    /// The part in the upper, made where there is none yet, here and in the directories above.
    ///
    /// # Errors
    /// `EROFS` without an upper; `ENOENT` if it was removed; those of the layers.
    pub(crate) fn copy_up(&self) -> Result<&dyn UpperDir> {
        self.copy_up_with(None)
    }

    /// The same; if it is copied up now, its copy has these flags in place of the lower directory's.
    ///
    /// # Errors
    /// As [`copy_up`](Self::copy_up); those of [`NodeOps::set_flags`].
    pub(crate) fn copy_up_with(&self, flags: Option<InodeFlags>) -> Result<&dyn UpperDir> {
        if self.upper().is_none() {
            self.core.fs.writable()?;
            // By iteration, for directories may be nested deeper than a stack is.
            let mut missing = vec![self.this()?];
            while let Some(dir) = missing.last() {
                let Some((parent, _)) = dir.position() else {
                    // Removed: another may have copied it up before.
                    if dir.upper().is_some() {
                        break;
                    }
                    return Err(Errno::ENOENT.into());
                };
                if parent.upper().is_some() {
                    break;
                }
                missing.push(parent);
            }
            while let Some(dir) = missing.pop() {
                // The last is this directory itself.
                dir.copy_up_alone(flags.filter(|_| missing.is_empty()))?;
            }
        }
        self.changeable()
    }

    /// Copies up this directory, whose parent has been.
    fn copy_up_alone(&self, flags: Option<InodeFlags>) -> Result<()> {
        let _copying = self.core.copying.lock();
        if self.upper().is_some() {
            return Ok(());
        }
        let (parent, name) = self.position().ok_or(Errno::ENOENT)?;
        let lower = self.lowers.first().ok_or(Errno::ENOENT)?;
        let original = Node::Dir(Arc::clone(&lower.dir));
        let copy = Copy {
            fs: &self.core.fs,
            layer: lower.layer,
            original: &original,
            links: Links::One,
            data: None,
            index: None,
            flags,
        };
        let staged = copy.stage(parent.changeable()?, Content::Whole)?;
        let staged_dir = Arc::clone(staged.as_dir()?);

        let _entries = parent.entries.write();
        if self.is_gone() {
            return Err(Errno::ENOENT.into());
        }
        parent.publish(name.as_name(), &staged)?;
        self.set_upper(staged_dir);
        Ok(())
    }

    /// Gives a staged copy its name here; the caller holds the entries.
    fn publish(&self, name: Name<'_>, staged: &Node) -> Result<()> {
        let mark = XattrChange { subject: Subject::NewParent, name: self.core.fs.names.impure, value: Some(YES) };
        let marks = if self.is_impure()? { &[][..] } else { core::slice::from_ref(&mark) };
        let how = Publish { over: Over::Nothing, parent: Parent::Untouched, xattrs: marks };
        self.changeable()?.publish(name, staged, &how)?;
        self.set_impure();
        Ok(())
    }
}

impl<T: Kind + ?Sized> Leaf<T> {
    /// The part in the upper, made where there is none yet. `content` counts only then.
    ///
    /// # Errors
    /// `EROFS` without an upper; those of the layers.
    pub(crate) fn copy_up(&self, content: Content) -> Result<&T> {
        self.copy_up_with(content, None)
    }

    /// The same; if it is copied up now, its copy has these flags in place of the lower inode's.
    ///
    /// # Errors
    /// As [`copy_up`](Self::copy_up); those of [`NodeOps::set_flags`].
    pub(crate) fn copy_up_with(&self, content: Content, flags: Option<InodeFlags>) -> Result<&T> {
        loop {
            if let Some(upper) = self.upper() {
                if content != Content::Attributes && self.is_partial() {
                    T::complete(self, content)?;
                }
                return Ok(upper);
            }
            self.core.fs.writable()?;
            // A copy in the index needs no directory.
            if let Some((parent, _)) = self.position() {
                match parent.copy_up() {
                    Ok(_) => {}
                    // The parent was removed, so this was removed before.
                    Err(error) if error == Errno::ENOENT && self.position().is_none() => {}
                    Err(error) => return Err(error),
                }
            }
            self.copy_up_alone(content, flags)?;
        }
    }

    /// Copies up this leaf, whose parent has been.
    fn copy_up_alone(&self, content: Content, flags: Option<InodeFlags>) -> Result<()> {
        let _copying = self.core.copying.lock();
        if self.upper().is_some() {
            return Ok(());
        }
        let lower = self.lower.as_ref().ok_or(Errno::EIO)?;
        if self.is_detached() {
            return Err(Error::new(Errno::ESTALE, "copy-up of a node that was found by its handle"));
        }
        let fs = &*self.core.fs;
        let original = T::into_node(Arc::clone(&lower.node));
        let extent = Extent::of(fs, &original, content);
        let content = if extent == Extent::Attributes { content } else { content.or_whole() };
        if matches!(lower.data, Data::Missing) && content == Content::Whole {
            return Err(Error::fault(Errno::EIO, "overlay: the data of a metacopy file is in no lower layer"));
        }
        let data = T::data_elsewhere(self);
        let (layer, links, index) = (lower.layer, lower.links, self.index.as_ref());
        let copy = Copy { fs, layer, original: &original, links, data, index, flags };
        let position = self.position();
        let staged = match (&position, &self.index, &fs.index) {
            (_, Some(_), Some(index)) => copy.stage(index.upper()?, content)?,
            (Some((parent, _)), ..) => copy.stage(parent.changeable()?, content)?,
            // Removed, but open: its copy gets no name.
            (None, ..) => copy.stage(fs.upper_root()?, content)?,
        };
        let number = match lower.links {
            _ if self.index.is_some() => self.core.number(),
            Links::One => {
                let number = self.core.number();
                if fs.original_number(&staged)? != number {
                    fs.claims.remember(staged.id().ino, number)?;
                }
                number
            }
            // It parts from the other names of the lower inode, which keep the number.
            Links::Several => fs.numbering.number(FsIndex::UPPER, staged.id().ino)?,
        };
        let upper = T::from_node(staged.clone())
            .ok_or_else(|| Error::fault(Errno::EIO, "overlay: the upper staged a node of another kind"))?;
        if let (Some(name), Some(index)) = (&self.index, &fs.index) {
            let _inodes = index.inodes.write();
            index.publish(name, &staged)?;
            self.set_upper(upper, number, extent);
            return Ok(());
        }
        let Some((parent, name)) = position else {
            self.set_upper(upper, number, extent);
            return Ok(());
        };
        let _entries = parent.entries.write();
        // If it was removed meanwhile, its copy gets no name.
        if self.position().is_some() {
            parent.publish(name.as_name(), &staged)?;
            if number != self.core.number() {
                parent.forget_listing();
            }
        }
        self.set_upper(upper, number, extent);
        Ok(())
    }
}

/// A lower object on its way up.
pub(crate) struct Copy<'a> {
    fs: &'a Shared,
    layer: LayerIndex,
    original: &'a Node,
    links: Links,
    /// The file that has its content, where that is another.
    data: Option<&'a Arc<dyn FileOps>>,
    index: Option<&'a IndexName>,
    /// What flags it is to have, if not the lower object's.
    pub(crate) flags: Option<InodeFlags>,
}

impl Copy<'_> {
    /// Makes a complete copy without a name, near `parent`.
    fn stage(&self, parent: &dyn UpperDir, content: Content) -> Result<Node> {
        let attr = self.original.attr()?;
        let target = match self.original {
            Node::Symlink(link) => link.target()?,
            _ => Vec::new(),
        };
        let kind = match attr.kind {
            FileType::File => NewKind::File,
            FileType::Dir => NewKind::Dir,
            FileType::Symlink => NewKind::Symlink(&target),
            FileType::CharDevice => NewKind::CharDevice(attr.rdev),
            FileType::BlockDevice => NewKind::BlockDevice(attr.rdev),
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket,
        };
        let mut attributes = xattr::to_copy(self.fs.names, self.original.ops())?;
        if content == Content::Attributes {
            attributes.push((self.fs.names.metacopy.to_vec(), Vec::new()));
        }
        // A name that parts from its inode has no origin: several copies would claim it.
        if self.links == Links::One || self.index.is_some() {
            let origin = self.fs.origin(self.layer, self.original.ops());
            attributes.push((self.fs.names.origin.to_vec(), origin.unwrap_or_default()));
        }
        if let Some(index) = self.index {
            attributes.push((self.fs.names.nlink.to_vec(), index.first_count()));
        }
        // Only these have flags that programs set.
        let lower_flags = attr.flags.filter(|_| matches!(attr.kind, FileType::File | FileType::Dir));
        if let Some(letters) = lower_flags.and_then(|flags| self.protection(flags).to_bytes()) {
            attributes.push((self.fs.names.protattr.to_vec(), letters.to_vec()));
        }
        let new = NewNode { kind, mode: attr.mode, uid: attr.uid, gid: attr.gid, xattrs: &[] };
        let staged = self.stage_with(parent, &new, &attributes)?;
        self.fs.claims.forget(staged.id().ino);

        let mut mtime = SetTime::At(attr.mtime);
        let mut size = 0;
        if let (Node::File(from), Node::File(to)) = (self.original, &staged) {
            let from = self.data.unwrap_or(from);
            let original_size = if self.data.is_some() { from.attr()?.size } else { attr.size };
            match content {
                Content::Whole => size = original_size,
                Content::Resized(new) => {
                    size = new;
                    mtime = SetTime::Now;
                }
                // The size is there for Linux; `size` says how much is to be made durable.
                Content::Attributes if original_size > 0 => to.set_len(original_size)?,
                Content::Attributes => {}
            }
            copy_data(&**from, &**to, size.min(original_size))?;
            if size > original_size {
                to.set_len(size)?;
            }
        }
        self.give_flags(&staged, lower_flags.unwrap_or_default())?;
        let times = SetAttr { atime: Some(SetTime::At(attr.atime)), mtime: Some(mtime), ..SetAttr::default() };
        staged.ops().set_attr(&times)?;
        match (self.fs.options.sync, attr.kind) {
            (SyncMode::Auto, FileType::File) if size > 0 => sync_new(staged.ops())?,
            (SyncMode::Strict, _) => sync_new(staged.ops())?,
            (SyncMode::Auto | SyncMode::Volatile, _) => {}
        }
        Ok(staged)
    }

    /// Stages an inode with extended attributes. What the upper's filesystem keeps none of is lost, as on Linux,
    /// unless it protects the file: `security.*` and access control lists.
    fn stage_with(&self, parent: &dyn UpperDir, new: &NewNode<'_>, attributes: &Attributes) -> Result<Node> {
        let all: Vec<(&[u8], &[u8])> = attributes.iter().map(|(name, value)| (&**name, &**value)).collect();
        match parent.stage(&NewNode { xattrs: &all, ..*new }) {
            Err(error) if error == Errno::EOPNOTSUPP || error == Errno::EPERM => {}
            staged => return staged,
        }
        let staged = parent.stage(new)?;
        for (name, value) in all {
            match staged.ops().set_xattr(name, value, vfs::XattrMode::Set) {
                Err(error) if error == Errno::EOPNOTSUPP && !must_copy(name) => {}
                // A symbolic link or device can have no `user.` attribute, so none of the overlay's under `userxattr`.
                Err(error) if error == Errno::EPERM && name == self.fs.names.origin => {}
                result => result?,
            }
        }
        Ok(staged)
    }
}

/// Makes a copy durable, and fails where any of it is lost.
pub(crate) fn sync_new(node: &dyn NodeOps) -> Result<()> {
    sync_and_tell(node, SyncKind::All, &Told::default())
}

fn must_copy(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"system.posix_acl_")
}

/// Copies the first `size` bytes of `from`, in chunks; holes stay holes.
pub(crate) fn copy_data(from: &dyn FileOps, to: &dyn FileOps, size: u64) -> Result<()> {
    if size == 0 {
        return Ok(());
    }
    let chunk = usize::try_from(size).map_or(CHUNK, |size| size.min(CHUNK));
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(chunk).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(chunk, 0);

    let mut copied = 0;
    while let Some(mut offset) = from.seek_data(copied)?.filter(|&start| start < size) {
        // A hole that does not begin after its data would make this loop endless.
        let end = from.seek_hole(offset)?.filter(|&end| end > offset).unwrap_or(size).min(size);
        while offset < end {
            let wanted = usize::try_from(end - offset).map_or(chunk, |left| left.min(chunk));
            let read = from.read_at(offset, &mut buffer[..wanted])?;
            if read == 0 {
                return Err(Error::fault(Errno::EIO, "overlay: a lower file shrank under its copy-up"));
            }
            write_all(to, offset, &buffer[..read])?;
            offset += read as u64;
        }
        copied = end;
    }
    if copied < size {
        to.set_len(size)?;
    }
    Ok(())
}

fn write_all(to: &dyn FileOps, mut offset: u64, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let written = to.write_at(offset, data)?;
        let rest = data.get(written..).filter(|_| written > 0);
        data = rest
            .ok_or_else(|| Error::fault(Errno::EIO, "overlay: the upper wrote nothing, or more than it was given"))?;
        offset += written as u64;
    }
    Ok(())
}

/// The directory operations that the upper's root must have.
impl Shared {
    /// Refuses a change of an overlay without an upper.
    ///
    /// # Errors
    /// `EROFS`.
    pub(crate) fn writable(&self) -> Result<()> {
        if self.upper.is_some() { Ok(()) } else { Err(Error::new(Errno::EROFS, "overlay without an upper layer")) }
    }

    /// The value of the `origin` attribute of a copy of `node`; `None` where that cannot be found again.
    pub(crate) fn origin(&self, layer: LayerIndex, node: &dyn NodeOps) -> Option<Vec<u8>> {
        self.filesystems[usize::from(self.lower(layer).fs.0)].origin(node)
    }

    fn upper_root(&self) -> Result<&dyn UpperDir> {
        let upper = self.upper.as_ref().ok_or(Errno::EROFS)?;
        upper.root.as_upper().ok_or_else(|| Errno::EROFS.into())
    }
}
