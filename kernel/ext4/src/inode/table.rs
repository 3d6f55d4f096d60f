//! The table of inodes in memory, and reading one from the disk.

use alloc::sync::{Arc, Weak};

use base::sync::Mutex;
use block::Buffer;
use hashbrown::HashMap;
use vfs::{Errno, Error, Result};

use super::{Inode, Record};
use crate::fs::Ext4;
use crate::node::Ext4Node;

/// The root directory.
pub(crate) const ROOT_INO: u32 = 2;

pub(crate) struct Slot {
    pub(crate) inode: Arc<Inode>,
    node: Weak<Ext4Node>,
}

impl Slot {
    pub(crate) fn new(inode: Arc<Inode>) -> Self {
        Self { inode, node: Weak::new() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.node.strong_count() != 0
    }
}

/// Inodes by number.
#[derive(Default)]
pub(crate) struct InodeTable {
    slots: Mutex<HashMap<u32, Slot>>,
}

impl InodeTable {
    /// Puts a new inode in, and returns what was there under its number.
    pub(crate) fn insert(&self, inode: &Arc<Inode>) -> Option<Slot> {
        self.slots.lock().insert(inode.ino, Slot::new(inode.clone()))
    }

    /// Undoes an [`insert`](Self::insert).
    pub(crate) fn restore(&self, ino: u32, slot: Option<Slot>) {
        let mut slots = self.slots.lock();
        match slot {
            Some(slot) => slots.insert(ino, slot),
            None => slots.remove(&ino),
        };
    }

    pub(crate) fn get(&self, ino: u32) -> Option<Arc<Inode>> {
        self.slots.lock().get(&ino).map(|slot| slot.inode.clone())
    }

    /// Whether somebody outside holds the inode.
    pub(crate) fn is_open(&self, inode: &Arc<Inode>) -> bool {
        self.slots.lock().get(&inode.ino).is_some_and(|slot| Arc::ptr_eq(&slot.inode, inode) && slot.is_open())
    }

    /// Lets go of an inode that nobody outside holds, unless `keep` says otherwise, or whoever opens it next is to be told that data
    /// of it is lost.
    pub(crate) fn release(&self, inode: &Arc<Inode>, keep: impl FnOnce(&Inode) -> bool) {
        let mut slots = self.slots.lock();
        let idle = slots.get(&inode.ino).is_some_and(|slot| Arc::ptr_eq(&slot.inode, inode) && !slot.is_open());
        if idle && !inode.write_errors.is_untold() && !keep(inode) {
            slots.remove(&inode.ino);
        }
    }
}

impl Ext4 {
    /// The inode of that number, read from the disk if need be.
    pub(crate) fn inode(&self, ino: u32) -> Result<Arc<Inode>> {
        if let Some(inode) = self.inodes.get(ino) {
            return Ok(inode);
        }
        let (buffer, offset) = self.record_buffer(ino)?;
        self.load(ino, &buffer, offset).map_err(|error| self.failed(error))
    }

    /// Puts an inode into the table, unless somebody was faster. The record is parsed with the table locked: another thread
    /// may have loaded, changed, committed and released the inode since its block was read.
    fn load(&self, ino: u32, buffer: &Buffer, offset: usize) -> Result<Arc<Inode>> {
        let mut slots = self.inodes.slots.lock();
        if let Some(slot) = slots.get(&ino) {
            return Ok(slot.inode.clone());
        }
        let record = Record::parse(&buffer.read()[offset..offset + self.geometry.inode_size], &self.geometry, ino)?;
        let seed = self.geometry.inode_seed(ino, record.generation);
        let inode = Arc::new(Inode::new(ino, seed, record));
        slots.insert(ino, Slot::new(inode.clone()));
        Ok(inode)
    }

    /// What the outside holds of an inode: one for all.
    pub(crate) fn node(&self, inode: &Arc<Inode>) -> Arc<Ext4Node> {
        let mut slots = self.inodes.slots.lock();
        let slot = slots.entry(inode.ino).or_insert_with(|| Slot::new(inode.clone()));
        if let Some(node) = slot.node.upgrade() {
            return node;
        }
        let node = Arc::new(Ext4Node::new(self.this(), slot.inode.clone()));
        slot.node = Arc::downgrade(&node);
        node
    }

    /// What a file handle leads to: the inode of that number and generation, if it has a name or somebody holds it. What has
    /// neither is on its way out, and is not held again.
    pub(crate) fn node_of_handle(&self, ino: u32, generation: u32) -> Result<Option<Arc<Ext4Node>>> {
        loop {
            let Some(inode) = self.allocated_inode(ino)? else { return Ok(None) };
            // While its record is looked at it loses no name, and whoever frees what has lost the last one looks into the table for
            // holders after that.
            let record = inode.record.read();
            if record.generation != generation {
                return Ok(None);
            }
            let mut slots = self.inodes.slots.lock();
            let Some(slot) = slots.get_mut(&ino).filter(|slot| Arc::ptr_eq(&slot.inode, &inode)) else {
                // It was released since, or freed and another has its number.
                continue;
            };
            if let Some(node) = slot.node.upgrade() {
                return Ok(Some(node));
            }
            if record.links == 0 || inode.is_staged() {
                return Ok(None);
            }
            let node = Arc::new(Ext4Node::new(self.this(), inode.clone()));
            slot.node = Arc::downgrade(&node);
            return Ok(Some(node));
        }
    }

    /// Whether a directory entry may name this inode.
    pub(crate) fn is_nameable(&self, ino: u32) -> bool {
        ino == ROOT_INO || (self.geometry.first_inode..=self.geometry.inodes).contains(&ino)
    }

    /// The number of the block of the inode table that holds a record, and the offset within.
    pub(crate) fn record_location(&self, ino: u32) -> (u64, usize) {
        let (group, index) = self.geometry.inode_location(ino);
        let per_block = self.geometry.inodes_per_block();
        let block = self.table_start(group) + u64::from(index / per_block);
        (block, (index % per_block) as usize * self.geometry.inode_size)
    }

    /// The block of the inode table that holds a record, and the offset within.
    fn record_buffer(&self, ino: u32) -> Result<(Buffer, usize)> {
        if ino == 0 || ino > self.geometry.inodes {
            return Err(self.corrupt("ext4: inode number out of range"));
        }
        let (block, offset) = self.record_location(ino);
        let buffer = match self.cache.get(block) {
            Some(buffer) => buffer,
            None => {
                // Inodes of one directory lie together: bring the neighbourhood with one request.
                let (group, _) = self.geometry.inode_location(ino);
                let start = self.table_start(group);
                let within = (block - start) & !7;
                let count = u64::from(self.geometry.table_blocks).saturating_sub(within).min(8) as u32;
                let _ = self.cache.fill(&[(start + within, count)]);
                self.cache.read(block).map_err(|error| self.failed(error))?
            }
        };
        Ok((buffer, offset))
    }

    /// An inode that a name or a handle leads to: allocated and linked.
    pub(crate) fn linked_inode(&self, ino: u32) -> Result<Arc<Inode>> {
        if !self.is_nameable(ino) {
            return Err(self.corrupt("ext4: entry names an inode out of range"));
        }
        let inode = self.inode(ino)?;
        if inode.record.read().links == 0 && !inode.is_staged() {
            return Err(self.failed(Error::fault(Errno::EUCLEAN, "ext4: entry names a deleted inode")));
        }
        Ok(inode)
    }
}

impl InodeTable {
    /// Lets go of every inode that nobody uses.
    pub(crate) fn sweep(&self) {
        self.slots.lock().retain(|_, slot| slot.is_open() || Arc::strong_count(&slot.inode) > 1);
    }
}

#[cfg(test)]
mod tests {
    use base::time::Timestamp;
    use block::MemoryDisk;
    use vfs::{FileSystem, FsContext, NewKind, NewNode};

    use super::*;
    use crate::MountOptions;
    use crate::format::{FormatOptions, format};

    const NOW: Timestamp = Timestamp { secs: 1_800_000_000, nanos: 5 };

    #[test]
    fn an_inode_that_changed_while_its_block_was_read_is_loaded_as_it_is_now() {
        let disk = Arc::new(MemoryDisk::new(16 << 20));
        format(&*disk, &FormatOptions::new([0x5a; 32], NOW)).unwrap();
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        let fs = Ext4::mount(disk, context, MountOptions::default()).unwrap();
        let root = fs.inode(ROOT_INO).unwrap();
        let ino = fs.create(&root, b"f", &NewNode::new(NewKind::File, 0o644)).unwrap().inode.ino;
        fs.sync().unwrap();
        let (buffer, offset) = fs.record_buffer(ino).unwrap();
        // Another thread loads, changes, commits and releases it.
        let inode = fs.inode(ino).unwrap();
        fs.set_file_len(&inode, 4711).unwrap();
        drop(inode);
        fs.sync().unwrap();
        fs.inodes.sweep();
        assert!(fs.inodes.get(ino).is_none());
        assert_eq!(fs.load(ino, &buffer, offset).unwrap().record.read().size, 4711);
    }

    #[test]
    fn a_new_inode_is_held_from_the_moment_that_it_has_a_name() {
        let disk = Arc::new(MemoryDisk::new(16 << 20));
        format(&*disk, &FormatOptions::new([0x5a; 32], NOW)).unwrap();
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        let fs = Ext4::mount(disk, context, MountOptions::default()).unwrap();
        let root = fs.inode(ROOT_INO).unwrap();
        let node = fs.create(&root, b"f", &NewNode::new(NewKind::File, 0o644)).unwrap();
        // Before its creator has done anything with it, it loses the name.
        fs.remove(&root, b"f", vfs::Expect::NonDir).unwrap();
        assert_eq!(node.inode.record.read().dtime, 0, "it is not freed");
        assert!(fs.inodes.is_open(&node.inode));
    }

    #[test]
    fn a_handle_does_not_revive_what_is_about_to_be_freed() {
        let disk = Arc::new(MemoryDisk::new(16 << 20));
        format(&*disk, &FormatOptions::new([0x5a; 32], NOW)).unwrap();
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        let fs = Ext4::mount(disk, context, MountOptions::default()).unwrap();
        let root = fs.inode(ROOT_INO).unwrap();
        let node = fs.create(&root, b"f", &NewNode::new(NewKind::File, 0o644)).unwrap();
        let handle = vfs::NodeOps::handle(&*node).unwrap();
        let found = || fs.node_by_handle(&handle).unwrap();
        assert!(found().is_some());
        fs.remove(&root, b"f", vfs::Expect::NonDir).unwrap();
        assert!(found().is_some(), "it is held");
        // As if whoever frees it had just seen that nobody holds it.
        let inode = node.inode.clone();
        let mut core = fs.core.lock();
        drop(node);
        assert!(!fs.inodes.is_open(&inode));
        assert_eq!(inode.record.read().dtime, 0, "it is the last of the list");
        assert!(found().is_none());
        fs.reap_queued(&mut core);
        drop(core);
        assert_ne!(inode.record.read().dtime, 0, "it is freed");
        assert!(found().is_none());
        // A successor of the same number is another.
        drop(inode);
        let next = fs.create(&root, b"g", &NewNode::new(NewKind::File, 0o644)).unwrap();
        assert_eq!(u64::from(next.inode.ino), u64::from(crate::bytes::le32(&handle.bytes, 0)));
        assert!(found().is_none());
    }
}
