//! What the outside holds of an inode: one type for every kind, behind the traits of each.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use base::time::NANOS_PER_SEC;
use vfs::{
    AllocateMode, Attr, Cookie, DirOps, DirSink, Errno, Error, ErrorSequence, Expect, FileHandle, FileOps, FileType,
    InodeFlags, Name, NewNode, Node, NodeId, NodeOps, OpenIntent, Publish, RenameMode, RenameOp, Result, SetAttr,
    SetTime, SpecialOps, SymlinkOps, SyncKind, UpperDir, UpperRename, UpperRenameMode, Victim, XattrMode, XattrSet,
};

use crate::dir::rename::{Mode, Rename};
use crate::file::{Position, Seek};
use crate::fs::{Ext4, other_filesystem};
use crate::inode::Inode;
use crate::inode::record::flag;

/// Access times are renewed at least this often, in seconds (`relatime`).
const ATIME_AGE: i64 = 24 * 60 * 60;
/// Metadata blocks that a change of attributes touches.
const CREDITS: usize = 24;

/// An inode as the outside holds it. There is one at a time for each inode; with it goes an inode that has no name.
pub struct Ext4Node {
    pub(crate) fs: Arc<Ext4>,
    pub(crate) inode: Arc<Inode>,
}

impl Drop for Ext4Node {
    fn drop(&mut self) {
        self.fs.node_dropped(&self.inode);
    }
}

impl Ext4Node {
    /// `FILEID_INO32_GEN` of `<linux/exportfs.h>`.
    pub(crate) const HANDLE_KIND: u8 = 1;

    pub(crate) fn new(fs: Arc<Ext4>, inode: Arc<Inode>) -> Self {
        Self { fs, inode }
    }

    pub(crate) fn to_node(self: Arc<Self>) -> Node {
        match self.inode.kind {
            FileType::File => Node::File(self),
            FileType::Dir => Node::Dir(self),
            FileType::Symlink => Node::Symlink(self),
            _ => Node::Special(self),
        }
    }

    /// The inode of a node of this filesystem.
    fn own(&self, node: &Node) -> Result<Arc<Inode>> {
        match node.downcast_ref::<Self>() {
            Some(other) if Arc::ptr_eq(&other.fs, &self.fs) => Ok(other.inode.clone()),
            _ => Err(other_filesystem()),
        }
    }

    fn own_dir(&self, dir: &Arc<dyn DirOps>) -> Result<Arc<Inode>> {
        match (&**dir as &dyn Any).downcast_ref::<Self>() {
            Some(other) if Arc::ptr_eq(&other.fs, &self.fs) => Ok(other.inode.clone()),
            _ => Err(other_filesystem()),
        }
    }
}

impl NodeOps for Ext4Node {
    fn id(&self) -> NodeId {
        NodeId { dev: self.fs.context.dev, ino: u64::from(self.inode.ino) }
    }

    fn attr(&self) -> Result<Attr> {
        Ok(self.inode.attr(&self.fs))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let inode = &self.inode;
        let sane = |set: Option<SetTime>| !matches!(set, Some(SetTime::At(time)) if time.nanos >= NANOS_PER_SEC);
        if !sane(change.atime) || !sane(change.mtime) {
            return Err(Error::new(Errno::EINVAL, "nanoseconds of a time"));
        }
        self.fs.transact(CREDITS, &[inode], |h| {
            let now = h.now;
            let time = |set: SetTime| match set {
                SetTime::Now => now,
                SetTime::At(time) => h.fs.geometry.fit_time(time),
            };
            h.update(inode, |record| {
                if let Some(mode) = change.mode {
                    record.mode = mode & vfs::mode::PERMISSIONS;
                }
                record.uid = change.uid.unwrap_or(record.uid);
                record.gid = change.gid.unwrap_or(record.gid);
                record.atime = change.atime.map_or(record.atime, time);
                record.mtime = change.mtime.map_or(record.mtime, time);
                record.ctime = now;
            })?;
            match change.mode {
                Some(mode) if inode.kind != FileType::Symlink => h.change_acl_mode(inode, mode),
                _ => Ok(()),
            }
        })
    }

    fn set_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        let inode = &self.inode;
        if !matches!(inode.kind, FileType::File | FileType::Dir) {
            return Err(Errno::ENOTTY.into());
        }
        self.fs.transact(CREDITS, &[inode], |h| {
            let wanted = flags.bits();
            let old = inode.record.read().flags;
            let chosen = wanted & flag::SETTABLE;
            // What Linux would have to convert the inode for, and what no inode of the type has.
            let added = wanted & !old & (flag::UNSUPPORTED | flag::EXTENTS);
            if wanted & !flag::VISIBLE != 0 || added != 0 || chosen & !flag::of(inode.kind) != 0 {
                return Err(Error::new(Errno::EOPNOTSUPP, "ext4: a flag that the inode cannot have"));
            }
            if let Some(XattrSet { name, value }) = with {
                h.set_attribute(inode, name, value, XattrMode::Set)?;
            }
            let now = h.now;
            h.update(inode, |record| {
                record.flags = record.flags & !flag::SETTABLE | chosen;
                record.ctime = now;
            })
        })
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.fs.xattr(&self.inode, name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.fs.set_xattr(&self.inode, name, value, mode)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.fs.remove_xattr(&self.inode, name)
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.fs.list_xattrs(&self.inode, each)
    }

    fn sync(&self, kind: SyncKind) -> Result<()> {
        self.fs.sync_node(&self.inode, kind)
    }

    fn write_errors(&self) -> Option<&ErrorSequence> {
        Some(&self.inode.write_errors)
    }

    fn note_access(&self) {
        let now = self.fs.geometry.fit_time(self.fs.context.clock.now());
        let stale = {
            let record = self.inode.record.read();
            let atime = record.atime;
            let due = atime <= record.mtime || atime <= record.ctime || now.secs - atime.secs >= ATIME_AGE;
            due && record.flags & flag::NOATIME == 0
        };
        if stale && self.fs.health.is_writable() {
            self.fs.note_access(&self.inode, now);
        }
    }

    fn handle(&self) -> Option<FileHandle> {
        let generation = self.inode.record.read().generation;
        let mut bytes = [0; 8];
        crate::bytes::put32(&mut bytes, 0, self.inode.ino);
        crate::bytes::put32(&mut bytes, 4, generation);
        Some(FileHandle { kind: Self::HANDLE_KIND, bytes: bytes.into() })
    }
}

impl FileOps for Ext4Node {
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        match intent {
            OpenIntent::Read => Ok(()),
            OpenIntent::Write => self.fs.check_writable(),
            OpenIntent::Truncate => self.fs.set_file_len(&self.inode, 0),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.fs.read_file(&self.inode, offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<usize> {
        self.fs.write_file(&self.inode, Position::At(offset), data).map(|(_, len)| len)
    }

    fn append(&self, data: &[u8]) -> Result<(u64, usize)> {
        self.fs.write_file(&self.inode, Position::End, data)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.fs.set_file_len(&self.inode, len)
    }

    fn allocate(&self, mode: AllocateMode, offset: u64, len: u64) -> Result<()> {
        self.fs.allocate_file(&self.inode, mode, offset, len)
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        self.fs.seek(&self.inode, offset, Seek::Data)
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.fs.seek(&self.inode, offset, Seek::Hole)
    }
}

impl SymlinkOps for Ext4Node {
    fn target(&self) -> Result<Vec<u8>> {
        self.fs.symlink_target(&self.inode)
    }
}

impl SpecialOps for Ext4Node {}

impl DirOps for Ext4Node {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        self.fs.lookup(&self.inode, name.as_bytes())
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        self.fs.list(&self.inode, from, sink)
    }

    fn create(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.fs.create(&self.inode, name.as_bytes(), new).map(Ext4Node::to_node)
    }

    fn create_unnamed(&self, new: &NewNode<'_>) -> Result<Node> {
        if new.kind.file_type() == FileType::Dir {
            return Err(Error::new(Errno::EOPNOTSUPP, "directory without a name"));
        }
        self.stage(new)
    }

    fn link(&self, name: Name<'_>, node: &Node) -> Result<()> {
        let inode = self.own(node)?;
        self.fs.link(&self.inode, name.as_bytes(), &inode)
    }

    fn remove(&self, name: Name<'_>, expect: Expect) -> Result<()> {
        self.fs.remove(&self.inode, name.as_bytes(), expect)
    }

    fn rename(&self, op: &RenameOp<'_>) -> Result<()> {
        let to = self.own_dir(op.to)?;
        self.fs.rename(&Rename {
            from: &self.inode,
            name: op.name.as_bytes(),
            to: &to,
            new_name: op.new_name.as_bytes(),
            mode: match op.mode {
                RenameMode::Replace => Mode::Replace,
                RenameMode::NoReplace => Mode::NoReplace,
                RenameMode::Exchange => Mode::Exchange,
            },
            xattrs: &[],
        })
    }

    fn as_upper(&self) -> Option<&dyn UpperDir> {
        Some(self)
    }
}

impl UpperDir for Ext4Node {
    fn stage(&self, new: &NewNode<'_>) -> Result<Node> {
        self.fs.create_unnamed(&self.inode, new).map(Ext4Node::to_node)
    }

    fn publish(&self, name: Name<'_>, node: &Node, how: &Publish<'_>) -> Result<()> {
        let inode = self.own(node)?;
        self.fs.publish(&self.inode, name.as_bytes(), &inode, how)
    }

    fn create_over(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.fs.create_over(&self.inode, name.as_bytes(), new).map(Ext4Node::to_node)
    }

    fn link_over(&self, name: Name<'_>, node: &Node) -> Result<()> {
        let inode = self.own(node)?;
        self.fs.link_over(&self.inode, name.as_bytes(), &inode)
    }

    fn whiteout(&self, name: Name<'_>, victim: Victim) -> Result<()> {
        self.fs.whiteout(&self.inode, name.as_bytes(), victim)
    }

    fn remove_with_whiteouts(&self, name: Name<'_>) -> Result<()> {
        self.fs.remove_with_whiteouts(&self.inode, name.as_bytes())
    }

    fn rename_upper(&self, op: &UpperRename<'_>) -> Result<()> {
        let to = self.own_dir(op.to)?;
        self.fs.rename(&Rename {
            from: &self.inode,
            name: op.name.as_bytes(),
            to: &to,
            new_name: op.new_name.as_bytes(),
            mode: match op.mode {
                UpperRenameMode::Move(left) => Mode::Upper(left),
                UpperRenameMode::Exchange => Mode::Exchange,
            },
            xattrs: op.xattrs,
        })
    }
}

impl Ext4 {
    /// Where a symbolic link leads.
    pub(crate) fn symlink_target(&self, inode: &Inode) -> Result<Vec<u8>> {
        let size = {
            let record = inode.record.read();
            let size = record.size as usize;
            if record.is_fast_symlink(&self.geometry) {
                return Ok(record.map[..size].to_vec());
            }
            size
        };
        // A link that is not in its inode has at most one block: its record was checked.
        let mut target = alloc::vec![0; size];
        let read = self.read_file(inode, 0, &mut target)?;
        target.truncate(read);
        if target.is_empty() || target.contains(&0) {
            return Err(self.corrupt("ext4: target of a symbolic link"));
        }
        Ok(target)
    }
}
