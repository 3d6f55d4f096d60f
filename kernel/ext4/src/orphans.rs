//! The list of orphans in memory: the chain that the superblock begins and `i_dtime` goes on, indexed by number, so that an inode
//! comes and goes in a few steps however many there are.

use alloc::sync::Arc;

use hashbrown::HashMap;

use crate::inode::Inode;

/// The numbers of an orphan's neighbours; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Neighbours {
    /// That came after it, and leads to it. Of the head that is the superblock.
    pub(crate) newer: u32,
    /// That it leads to.
    pub(crate) older: u32,
}

/// Inodes that have lost their names or are being cut, the newest at the head.
#[derive(Default)]
pub(crate) struct Orphans {
    by_number: HashMap<u32, (Arc<Inode>, Neighbours)>,
    head: u32,
}

impl Orphans {
    /// The number of the newest; 0 for none.
    pub(crate) fn head(&self) -> u32 {
        self.head
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(crate) fn contains(&self, ino: u32) -> bool {
        self.by_number.contains_key(&ino)
    }

    /// An inode of the list, and those beside it.
    pub(crate) fn get(&self, ino: u32) -> Option<&(Arc<Inode>, Neighbours)> {
        self.by_number.get(&ino)
    }

    /// All, the newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Inode>> {
        let first = self.get(self.head);
        core::iter::successors(first, |(_, beside)| self.get(beside.older)).map(|(inode, _)| inode)
    }

    /// Puts an inode that is not there at a place: between neighbours, one of which may be none.
    pub(crate) fn insert(&mut self, inode: Arc<Inode>, beside: Neighbours) {
        let ino = inode.ino;
        self.join(beside.newer, ino);
        if let Some((_, older)) = self.by_number.get_mut(&beside.older) {
            older.newer = ino;
        }
        self.by_number.insert(ino, (inode, beside));
    }

    /// Puts an inode at the head.
    pub(crate) fn push(&mut self, inode: Arc<Inode>) {
        self.insert(inode, Neighbours { newer: 0, older: self.head });
    }

    /// Takes an inode out; returns where it was.
    pub(crate) fn remove(&mut self, ino: u32) -> Option<Neighbours> {
        let (_, beside) = self.by_number.remove(&ino)?;
        self.join(beside.newer, beside.older);
        if let Some((_, older)) = self.by_number.get_mut(&beside.older) {
            older.newer = beside.newer;
        }
        Some(beside)
    }

    /// Has the inode `newer`, or the head, lead to `older`.
    fn join(&mut self, newer: u32, older: u32) {
        match self.by_number.get_mut(&newer) {
            Some((_, beside)) => beside.older = older,
            None => self.head = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use base::time::Timestamp;
    use block::MemoryDisk;
    use vfs::{FileSystem, FileType, FsContext, NewKind, NewNode};

    use super::*;
    use crate::format::{FormatOptions, format};
    use crate::inode::record::Record;
    use crate::inode::table::ROOT_INO;
    use crate::{Ext4, MountOptions};

    const NOW: Timestamp = Timestamp { secs: 1_800_000_000, nanos: 5 };

    fn mount(disk: Arc<MemoryDisk>) -> Arc<Ext4> {
        let context = FsContext { dev: 1, clock: Arc::new(|| NOW) };
        Ext4::mount(disk, context, MountOptions::default()).unwrap()
    }

    #[test]
    fn orphans_come_and_go_anywhere_and_back() {
        let disk = Arc::new(MemoryDisk::new(16 << 20));
        format(&*disk, &FormatOptions::new([0x5a; 32], NOW)).unwrap();
        let geometry = mount(disk).geometry.clone();
        let mut orphans = Orphans::default();
        for ino in 1..=5 {
            orphans.push(Arc::new(Inode::new(ino, 0, Record::new(FileType::File, &geometry, 1, NOW))));
        }
        let order = |orphans: &Orphans| orphans.iter().map(|inode| inode.ino).collect::<Vec<_>>();
        assert_eq!(order(&orphans), [5, 4, 3, 2, 1]);
        for ino in [3, 5, 1] {
            let before = order(&orphans);
            let inode = orphans.get(ino).unwrap().0.clone();
            let beside = orphans.remove(ino).unwrap();
            assert!(!orphans.contains(ino));
            orphans.insert(inode, beside);
            assert_eq!(order(&orphans), before);
            orphans.remove(ino).unwrap();
            assert_eq!(order(&orphans), before.into_iter().filter(|&other| other != ino).collect::<Vec<_>>());
        }
        assert_eq!((orphans.head(), orphans.len()), (4, 2));
    }

    /// More than one list had place for once, and each in any place of it.
    #[test]
    fn seventy_thousand_files_without_names_survive_a_crash_as_a_chain_that_the_next_mount_frees() {
        let disk = Arc::new(MemoryDisk::new(1200 << 20));
        format(&*disk, &FormatOptions { inode_size: 128, ..FormatOptions::new([0x5a; 32], NOW) }).unwrap();
        let fs = mount(disk.clone());
        let free = fs.statfs().unwrap().files_free;
        assert!(free > 70_000, "{free} inodes");
        let root = fs.inode(ROOT_INO).unwrap();
        let new = NewNode::new(NewKind::File, 0o600);
        let mut nodes: Vec<_> = (0..70_000).map(|_| fs.create_unnamed(&root, &new).unwrap()).collect();
        fs.sync().unwrap();
        let crashed = Arc::new(disk.snapshot());
        // The oldest first: it lies behind all others.
        for node in nodes.drain(..20_000) {
            drop(node);
        }
        fs.sync().unwrap();
        assert_eq!(fs.core.lock().orphans.len(), 50_000);
        drop((nodes, fs));
        let fs = mount(crashed);
        assert!(!fs.is_read_only());
        assert_eq!((fs.statfs().unwrap().files_free, fs.core.lock().orphans.len()), (free, 0));
    }
}
