//! Nodes: an inode's index and its mount, made when asked for. Whatever they answer is computed from the index's
//! records; what they read is copied once, from the archive to the caller.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::marker::PhantomData;

use vfs::{
    AllocateMode, Attr, Cookie, DeviceNumber, DirEntry, DirOps, DirSink, Errno, Error, FileHandle, FileOps, FileType,
    InodeFlags, Name, Node, NodeId, NodeOps, Result, SetAttr, SpecialOps, SymlinkOps, XattrMode, XattrSet,
};

use crate::fs::Core;
use crate::header::BLOCK;
use crate::record::{Content, Inode, InodeIndex, Overlay};
use crate::span::Span;
use crate::whiteout::OPAQUE_XATTR;

/// Preferred size of I/O (`st_blksize`), in bytes.
const IO_SIZE: u32 = 4096;

/// Marks the node of a regular file.
pub(crate) struct Regular;
/// Marks the node of a directory.
pub(crate) struct Directory;
/// Marks the node of a symbolic link.
pub(crate) struct Link;
/// Marks the node of a device or a pipe.
pub(crate) struct Device;

/// A handle of an inode, of the kind that `K` marks.
pub(crate) struct TarNode<K> {
    core: Arc<Core>,
    index: InodeIndex,
    kind: PhantomData<K>,
}

pub(crate) type DirNode = TarNode<Directory>;

/// The node of an inode.
pub(crate) fn node(core: &Arc<Core>, index: InodeIndex) -> Node {
    let core = core.clone();
    match core.index.inode(index).kind() {
        FileType::File => Node::File(Arc::new(TarNode::<Regular>::new(core, index))),
        FileType::Dir => Node::Dir(Arc::new(DirNode::new(core, index))),
        FileType::Symlink => Node::Symlink(Arc::new(TarNode::<Link>::new(core, index))),
        FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
            Node::Special(Arc::new(TarNode::<Device>::new(core, index)))
        }
    }
}

impl<K> TarNode<K> {
    pub(crate) const fn new(core: Arc<Core>, index: InodeIndex) -> Self {
        Self { core, index, kind: PhantomData }
    }

    fn inode(&self) -> &Inode {
        self.core.index.inode(self.index)
    }

    fn bytes(&self) -> &[u8] {
        self.core.archive.bytes()
    }
}

impl<K: Any + Send + Sync> NodeOps for TarNode<K> {
    fn id(&self) -> NodeId {
        NodeId { dev: self.core.dev, ino: number(self.index) }
    }

    fn attr(&self) -> Result<Attr> {
        let inode = self.inode();
        let index = &self.core.index;
        let stored = match (inode.content(), index.extents_of(inode)) {
            (Content::File { .. }, _) => inode.size,
            // Its stored bytes lie side by side.
            (Content::SparseFile, [first, .., last]) => last.place + last.len - first.place,
            (Content::SparseFile, [only]) => only.len,
            _ => 0,
        };
        let (atime, ctime) = match index.extra(inode) {
            Some(extra) => (extra.atime(), extra.ctime()),
            None => (inode.mtime(), inode.mtime()),
        };
        Ok(Attr {
            dev: self.core.dev,
            ino: number(self.index),
            kind: inode.kind(),
            mode: inode.permissions(),
            nlink: inode.nlink,
            uid: inode.uid,
            gid: inode.gid,
            rdev: match inode.content() {
                Content::Device { number } => number,
                _ => DeviceNumber::default(),
            },
            size: inode.size,
            blocks: stored.div_ceil(BLOCK as u64),
            block_size: IO_SIZE,
            atime,
            mtime: inode.mtime(),
            ctime,
            btime: None,
            // An archive has none; over it an overlay can have some.
            flags: Some(InodeFlags::empty()),
        })
    }

    fn set_attr(&self, _change: &SetAttr) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    fn set_flags(&self, _flags: InodeFlags, _with: Option<XattrSet<'_>>) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let (inode, index) = (self.inode(), &self.core.index);
        if inode.overlay == Overlay::Opaque && name == OPAQUE_XATTR.0 {
            return copy(OPAQUE_XATTR.1).map(Some);
        }
        let found = index.xattrs_of(inode).iter().find(|xattr| index.text(self.bytes(), xattr.name) == name);
        found.map(|xattr| copy(index.text(self.bytes(), xattr.value))).transpose()
    }

    fn set_xattr(&self, _name: &[u8], _value: &[u8], _mode: XattrMode) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    fn remove_xattr(&self, _name: &[u8]) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let (inode, index) = (self.inode(), &self.core.index);
        let opaque = inode.overlay == Overlay::Opaque;
        if opaque {
            each(OPAQUE_XATTR.0);
        }
        for xattr in index.xattrs_of(inode) {
            let name = index.text(self.bytes(), xattr.name);
            if !(opaque && name == OPAQUE_XATTR.0) {
                each(name);
            }
        }
        Ok(())
    }

    fn handle(&self) -> Option<FileHandle> {
        Some(self.core.handle(self.index))
    }
}

impl FileOps for TarNode<Regular> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let inode = self.inode();
        let left = inode.size.saturating_sub(offset);
        let len = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = &mut buf[..len];
        match inode.content() {
            _ if buf.is_empty() => {}
            Content::File { place } => self.copy_out(place + offset, buf)?,
            _ => self.read_sparse(offset, buf)?,
        }
        Ok(len)
    }

    fn allocate(&self, _mode: AllocateMode, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        let inode = self.inode();
        if offset >= inode.size {
            return Ok(None);
        }
        if inode.content() != Content::SparseFile {
            return Ok(Some(offset));
        }
        let extents = self.core.index.extents_of(inode);
        let next = extents.partition_point(|extent| extent.end() <= offset);
        Ok(extents.get(next).map(|extent| extent.start.max(offset)))
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        let inode = self.inode();
        if offset >= inode.size {
            return Ok(None);
        }
        if inode.content() != Content::SparseFile {
            return Ok(Some(inode.size));
        }
        // Extents that touch were joined, so a hole, or the end, follows each.
        let extents = self.core.index.extents_of(inode);
        let next = extents.partition_point(|extent| extent.end() <= offset);
        Ok(Some(match extents.get(next) {
            Some(extent) if extent.start <= offset => extent.end(),
            _ => offset,
        }))
    }
}

impl TarNode<Regular> {
    fn read_sparse(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let extents = self.core.index.extents_of(self.inode());
        let first = extents.partition_point(|extent| extent.end() <= offset);
        let mut filled = 0;
        for extent in &extents[first..] {
            let at = offset + filled as u64;
            let hole = usize::try_from(extent.start.saturating_sub(at)).unwrap_or(usize::MAX);
            let Some((zeros, rest)) = buf[filled..].split_at_mut_checked(hole) else { break };
            zeros.fill(0);
            let at = at + hole as u64;
            let left = usize::try_from(extent.end() - at).unwrap_or(usize::MAX).min(rest.len());
            self.copy_out(extent.place + (at - extent.start), &mut rest[..left])?;
            filled += hole + left;
        }
        buf[filled..].fill(0);
        Ok(())
    }

    fn copy_out(&self, place: u64, buf: &mut [u8]) -> Result<()> {
        let start = usize::try_from(place).ok();
        let from = start.and_then(|start| self.bytes().get(start..)).and_then(|bytes| bytes.get(..buf.len()));
        // The mount checked it: only bytes that shrank since lead here.
        buf.copy_from_slice(from.ok_or_else(|| Error::fault(Errno::EIO, "the mounted tar archive was cut"))?);
        Ok(())
    }
}

impl DirOps for TarNode<Directory> {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        let index = &self.core.index;
        let found = index.find(self.bytes(), self.index, name.as_bytes());
        Ok(found.map(|dentry| node(&self.core, index.dentry(dentry).inode)))
    }

    /// Cookies are places in the arena of entries: a seek costs nothing.
    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let index = &self.core.index;
        let after = match from {
            Cookie::START => None,
            Cookie(cookie) => {
                let entry = cookie.checked_sub(Cookie::FIRST).and_then(|place| index.entry_of(self.index, place));
                Some(entry.ok_or(Error::new(Errno::EINVAL, "no place in this directory"))?)
            }
        };
        for (place, dentry) in index.entries_after(self.index, after) {
            let entry = DirEntry {
                name: Name::new(dentry.name.span().of(self.bytes()))?,
                ino: number(dentry.inode),
                kind: index.inode(dentry.inode).kind(),
                next: Cookie(u64::from(place.0) + Cookie::FIRST),
            };
            if sink.entry(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl SymlinkOps for TarNode<Link> {
    fn target(&self) -> Result<Vec<u8>> {
        let inode = self.inode();
        match inode.content() {
            Content::Symlink { place } => copy(Span::new(place as usize, inode.size as usize).of(self.bytes())),
            _ => Err(Errno::EINVAL.into()),
        }
    }
}

impl SpecialOps for TarNode<Device> {}

fn number(index: InodeIndex) -> u64 {
    u64::from(index.0) + 1
}

fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Errno::ENOMEM)?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
