//! Looking a name up, and removing one.

use alloc::sync::Arc;

use vfs::{Errno, Error, Expect, FileType, Node, Result};

use super::block::{self as entries, Entries};
use super::linear::DirBlock;
use crate::bytes::{le16, put8, put16, put32};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::Handle;

/// The most links of an inode.
pub(crate) const LINK_MAX: u32 = 65_000;
/// Metadata blocks that a change of one name may touch.
pub(crate) const CREDITS: usize = 40;

/// An entry that was found.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) ino: u32,
    pub(crate) offset: usize,
    pub(crate) previous: Option<usize>,
    pub(crate) place: DirBlock,
}

/// Where a name would go that a directory has not, for as long as the directory is not changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vacancy {
    pub(crate) block: u32,
    /// Of the entry behind which it fits, or in the place of which.
    pub(crate) offset: usize,
}

/// What a directory may still hold to count as empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptiness {
    /// Nothing.
    Bare,
    /// Whiteouts.
    Whiteouts,
}

impl Ext4 {
    /// Finds a name. The caller holds the directory's `content`.
    pub(crate) fn find(&self, dir: &Inode, name: &[u8]) -> Result<Option<Entry>> {
        self.find_or_space(dir, name, &mut None)
    }

    /// Finds a name, or the space for it, if there is any before a block is split or added.
    pub(crate) fn find_or_space(
        &self,
        dir: &Inode,
        name: &[u8],
        vacancy: &mut Option<Vacancy>,
    ) -> Result<Option<Entry>> {
        if self.is_indexed(dir) { self.find_indexed(dir, name, vacancy) } else { self.find_linear(dir, name, vacancy) }
    }

    /// The space for a name that must not be there.
    pub(crate) fn vacancy(&self, dir: &Inode, name: &[u8]) -> Result<Option<Vacancy>> {
        if let Some(vacancy) = self.missed.lock().vacancy(dir.ino, name) {
            return Ok(vacancy);
        }
        let mut vacancy = None;
        match self.find_or_space(dir, name, &mut vacancy)? {
            Some(_) => Err(Error::new(Errno::EEXIST, "name exists")),
            None => Ok(vacancy),
        }
    }

    /// The node behind a name.
    pub(crate) fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<Option<Node>> {
        let _content = dir.content.read();
        let mut vacancy = None;
        let Some(entry) = self.find_or_space(dir, name, &mut vacancy)? else {
            self.missed.lock().note(dir.ino, name, vacancy);
            return Ok(None);
        };
        let inode = self.linked_inode(entry.ino)?;
        Ok(Some(self.node(&inode).to_node()))
    }

    /// Refuses to change the entries of a directory that has been removed.
    pub(crate) fn check_alive(&self, dir: &Inode) -> Result<()> {
        if dir.record.read().links == 0 && !dir.is_staged() {
            return Err(Error::new(Errno::ENOENT, "directory removed"));
        }
        Ok(())
    }

    /// Whether a directory holds nothing but what `emptiness` allows. Entries allowed are given to `each`.
    pub(crate) fn check_empty(
        &self,
        dir: &Inode,
        emptiness: Emptiness,
        mut each: impl FnMut(&Arc<Inode>),
    ) -> Result<()> {
        for block in 0..self.dir_blocks(dir) {
            let place = self.dir_block(dir, block)?;
            let bytes = place.buffer.read();
            for entry in Entries::new(&bytes[..self.end_of(&place)]) {
                let entry = entry.map_err(|error| self.failed(error))?;
                if entry.ino == 0 || entry.is_dot() {
                    continue;
                }
                let may_be = matches!(entries::kind_from_disk(entry.kind), None | Some(FileType::CharDevice));
                if emptiness == Emptiness::Bare || !may_be {
                    return Err(Error::new(Errno::ENOTEMPTY, "directory not empty"));
                }
                let inode = self.linked_inode(entry.ino)?;
                if !is_whiteout(&inode) {
                    return Err(Error::new(Errno::ENOTEMPTY, "directory not empty"));
                }
                each(&inode);
            }
        }
        Ok(())
    }

    /// Removes a name.
    pub(crate) fn remove(&self, dir: &Arc<Inode>, name: &[u8], expect: Expect) -> Result<()> {
        self.transact(CREDITS, &[dir], |h| {
            let entry = h.fs.find(dir, name)?.ok_or(Error::new(Errno::ENOENT, "no such name"))?;
            let inode = h.fs.linked_inode(entry.ino)?;
            match (expect, inode.is_dir()) {
                (Expect::NonDir, true) => return Err(Error::new(Errno::EISDIR, "is a directory")),
                (Expect::EmptyDir, false) => return Err(Error::new(Errno::ENOTDIR, "not a directory")),
                (Expect::EmptyDir, true) => h.fs.check_empty(&inode, Emptiness::Bare, |_| {})?,
                (Expect::NonDir, false) => {}
            }
            h.remove_entry(dir, &entry)?;
            h.touch_times(dir)?;
            h.unlink(dir, &inode)
        })
    }
}

/// Whether an inode is a whiteout: character device 0/0.
pub(crate) fn is_whiteout(inode: &Inode) -> bool {
    inode.kind == FileType::CharDevice && {
        let device = inode.record.read().device();
        device.major == 0 && device.minor == 0
    }
}

impl Handle<'_> {
    /// Takes an entry out of its block.
    pub(crate) fn remove_entry(&mut self, dir: &Arc<Inode>, entry: &Entry) -> Result<()> {
        self.touch_data(dir)?;
        self.fs.missed.lock().forget();
        let (buffer, seal) = (&entry.place.buffer, entry.place.seal);
        match entry.previous {
            Some(previous) => {
                let joined = {
                    let bytes = buffer.read();
                    le16(&bytes, previous + 4).saturating_add(le16(&bytes, entry.offset + 4))
                };
                self.modify(buffer, seal, previous + 4..previous + 6, |bytes| put16(bytes, 0, joined));
            }
            None => self.modify(buffer, seal, entry.offset..entry.offset + 4, |bytes| put32(bytes, 0, 0)),
        }
        Ok(())
    }

    /// Makes an entry lead to another inode.
    pub(crate) fn redirect_entry(&mut self, dir: &Arc<Inode>, entry: &Entry, inode: &Inode) -> Result<()> {
        self.touch_data(dir)?;
        let kind = self.kind_to_disk(inode.kind);
        let range = entry.offset..entry.offset + entries::ENTRY_HEADER;
        self.modify(&entry.place.buffer, entry.place.seal, range, |bytes| {
            put32(bytes, 0, inode.ino);
            put8(bytes, 7, kind);
        });
        Ok(())
    }

    /// A directory's entries changed.
    pub(crate) fn touch_times(&mut self, dir: &Arc<Inode>) -> Result<()> {
        let now = self.now;
        self.update(dir, |record| {
            record.mtime = now;
            record.ctime = now;
        })
    }

    /// An inode lost a name in `dir`. With the last one it goes to the orphan list, until nobody holds it.
    pub(crate) fn unlink(&mut self, dir: &Arc<Inode>, inode: &Arc<Inode>) -> Result<()> {
        let now = self.now;
        let is_dir = inode.is_dir();
        let links = self.update(inode, |record| {
            record.links = if is_dir { 0 } else { record.links.saturating_sub(1) };
            record.ctime = now;
            record.links
        })?;
        if is_dir {
            self.drop_dir_link(dir)?;
        }
        if links == 0 {
            if self.core.whiteout.as_ref().is_some_and(|shared| Arc::ptr_eq(shared, inode)) {
                self.core.whiteout = None;
            }
            self.add_orphan(inode)?;
            self.fs.queue_reap(inode);
        }
        Ok(())
    }

    /// One more directory names `dir` as its parent.
    pub(crate) fn add_dir_link(&mut self, dir: &Arc<Inode>) -> Result<()> {
        let uncounted = self.fs.geometry.features.ro_compat.contains(crate::features::RoCompat::DIR_NLINK)
            && self.fs.is_indexed(dir);
        self.update(dir, |record| {
            if record.links == 1 {
                return Ok(());
            }
            if record.links >= LINK_MAX {
                if !uncounted {
                    return Err(Error::new(Errno::EMLINK, "too many subdirectories"));
                }
                record.links = 1;
                return Ok(());
            }
            record.links += 1;
            Ok(())
        })?
    }

    /// One directory less names `dir` as its parent.
    pub(crate) fn drop_dir_link(&mut self, dir: &Arc<Inode>) -> Result<()> {
        self.update(dir, |record| {
            if record.links > 2 {
                record.links -= 1;
            }
        })
    }

    /// One more name leads to an inode that is no directory.
    pub(crate) fn add_link(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let now = self.now;
        self.update(inode, |record| {
            if record.links >= LINK_MAX {
                return Err(Error::new(Errno::EMLINK, "too many links"));
            }
            record.links += 1;
            record.ctime = now;
            Ok(())
        })?
    }

    /// Makes `..` of a directory lead to `parent`.
    pub(crate) fn set_parent(&mut self, dir: &Arc<Inode>, parent: u32) -> Result<()> {
        let place = self.fs.dir_block(dir, 0)?;
        let found = {
            let bytes = place.buffer.read();
            entries::find(&bytes[..self.fs.end_of(&place)], b"..", &mut None).map_err(|error| self.fs.failed(error))?
        };
        let Some(found) = found else {
            return Err(self.fs.corrupt("ext4: directory without .."));
        };
        if found.ino != parent {
            self.touch_data(dir)?;
            self.modify(&place.buffer, place.seal, found.offset..found.offset + 4, |bytes| put32(bytes, 0, parent));
        }
        Ok(())
    }
}
