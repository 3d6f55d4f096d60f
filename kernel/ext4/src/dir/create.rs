//! New inodes, with a name or still without.

use alloc::sync::Arc;

use vfs::{Errno, Error, InodeFlags, NewKind, NewNode, Result};

use super::names::CREDITS;
use crate::extent::{Extent, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::inode::record::{MAP_SIZE, Record, flag};
use crate::node::Ext4Node;
use crate::transaction::{Handle, Seal};

/// What becomes of a new inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It gets a name in the same handle.
    Named,
    /// It waits for a name on the orphan list.
    Staged,
}

impl Ext4 {
    /// Creates an entry and its inode. It is held before anybody else can find it and take its name away.
    pub(crate) fn create(&self, dir: &Arc<Inode>, name: &[u8], new: &NewNode<'_>) -> Result<Arc<Ext4Node>> {
        self.transact(CREDITS, &[dir], |h| {
            h.fs.check_alive(dir)?;
            let vacancy = h.fs.vacancy(dir, name)?;
            let inode = h.new_inode(dir, new, Creation::Named)?;
            if inode.is_dir() {
                h.add_dir_link(dir)?;
            }
            h.insert(dir, name, vacancy, &inode)?;
            h.touch_times(dir)?;
            Ok(h.fs.node(&inode))
        })
    }

    /// Creates an inode without a name.
    pub(crate) fn create_unnamed(&self, dir: &Arc<Inode>, new: &NewNode<'_>) -> Result<Arc<Ext4Node>> {
        self.transact(CREDITS, &[dir], |h| h.new_inode(dir, new, Creation::Staged).map(|inode| h.fs.node(&inode)))
    }

    /// Gives an inode one more name.
    pub(crate) fn link(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        self.transact(CREDITS, &[dir], |h| {
            h.check_linkable(inode)?;
            h.fs.check_alive(dir)?;
            let vacancy = h.fs.vacancy(dir, name)?;
            h.add_link(inode)?;
            h.publish_inode(inode)?;
            h.insert(dir, name, vacancy, inode)?;
            h.touch_times(dir)
        })
    }
}

impl Handle<'_> {
    /// Refuses what can have no further name.
    pub(crate) fn check_linkable(&self, inode: &Inode) -> Result<()> {
        if inode.is_dir() {
            return Err(Error::new(Errno::EPERM, "link to a directory"));
        }
        if inode.record.read().links == 0 && !inode.is_staged() {
            return Err(Error::new(Errno::ENOENT, "link to a removed inode"));
        }
        Ok(())
    }

    /// An inode without a name is about to have one: it leaves the orphan list. Until that is durable a crash frees its data,
    /// so `fdatasync` must not miss it.
    pub(crate) fn publish_inode(&mut self, inode: &Arc<Inode>) -> Result<()> {
        if inode.is_staged() {
            self.touch_data(inode)?;
            // One that is being cut is there for that.
            if !inode.is_being_cut() {
                self.remove_orphan(inode)?;
            }
            self.note_published(inode);
        }
        Ok(())
    }

    /// Makes an inode, complete but for its name.
    pub(crate) fn new_inode(&mut self, dir: &Arc<Inode>, new: &NewNode<'_>, creation: Creation) -> Result<Arc<Inode>> {
        let kind = new.kind.file_type();
        let ino = self.allocate_inode(dir, kind)?;
        let generation = self.next_generation();
        let geometry = &self.fs.geometry;
        let mut record = Record::new(kind, geometry, generation, self.now);
        record.mode = new.mode & vfs::mode::PERMISSIONS;
        record.uid = new.uid;
        record.gid = new.gid;
        record.flags = dir.record.read().flags & InodeFlags::INHERITED.bits() & flag::of(kind);
        record.links = match (kind, creation) {
            (vfs::FileType::Dir, _) => 2,
            (_, Creation::Named) => 1,
            (_, Creation::Staged) => 0,
        };
        match new.kind {
            NewKind::CharDevice(number) | NewKind::BlockDevice(number) => record.set_device(number),
            NewKind::Symlink(target) => {
                if target.len() >= geometry.block_size {
                    return Err(Error::new(Errno::ENAMETOOLONG, "target of a symbolic link"));
                }
                if target.is_empty() {
                    return Err(Error::new(Errno::ENOENT, "target of a symbolic link"));
                }
                record.size = target.len() as u64;
                if target.len() < MAP_SIZE {
                    record.map[..target.len()].copy_from_slice(target);
                }
            }
            _ => {}
        }
        let inode = Arc::new(Inode::new(ino, geometry.inode_seed(ino, generation), record));
        self.insert_inode(&inode)?;
        match new.kind {
            NewKind::File => self.start_extents(&inode)?,
            NewKind::Dir => {
                self.start_extents(&inode)?;
                let place = self.append_dir_block(&inode, Seal::Directory(inode.seed))?;
                let kind = self.kind_to_disk(kind);
                self.write_entries(&place, [(ino, kind, &b"."[..]), (dir.ino, kind, b"..")]);
            }
            NewKind::Symlink(target) if target.len() >= MAP_SIZE => {
                self.start_extents(&inode)?;
                let goal = self.goal_near(&inode);
                let (start, _) = self.allocate(goal, 1)?;
                let extent = Extent { block: 0, len: 1, start, state: State::Written };
                self.remap(&inode, 0, 1, Some(extent), Removed::Keep)?;
                self.count_blocks(&inode, 1)?;
                // In the log, as Linux has it: nobody syncs a link, so a target that is lost could be told to no one.
                let buffer = self.create(start, Seal::None)?;
                self.modify(&buffer, Seal::None, 0..target.len(), |bytes| bytes.copy_from_slice(target));
            }
            _ => {}
        }
        if !new.xattrs.is_empty() {
            self.set_first_attributes(&inode, new.xattrs)?;
        }
        if creation == Creation::Staged {
            inode.staged.store(true, core::sync::atomic::Ordering::Relaxed);
            self.add_orphan(&inode)?;
        }
        Ok(inode)
    }
}
