//! From a miss to a cached dentry, and the changes of the cache that follow changes of a directory.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dentry::{Caching, Dentry, Place};
use crate::inode::Inode;
use crate::namespace::Namespace;
use crate::{Errno, Name, Node, Result};

impl Namespace {
    /// The dentry of a name that was not in the cache, positive or negative. The caller holds no lock.
    pub(crate) fn lookup_uncached(&self, parent: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let _shared = parent.positive()?.lock.read();
        self.lookup_locked(parent, name)
    }

    /// The dentry of a name, positive or negative. The caller holds the directory's lock.
    pub(crate) fn lookup_locked(&self, parent: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let inode = parent.positive()?;
        if inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        if let Some(dentry) = self.topology.read().lookup(parent, name) {
            return Ok(dentry.clone());
        }
        let name = Name::new(name)?;
        let node = inode.dir()?.lookup(name)?;
        Ok(self.cache(parent, name, node))
    }

    /// Caches what a filesystem said of a name. The caller holds the directory's lock, shared or not.
    fn cache(&self, parent: &Arc<Dentry>, name: Name<'_>, node: Option<Node>) -> Arc<Dentry> {
        let inode = node.map(|node| self.inodes.get(parent.superblock, node));
        if let (Caching::Asked, Some(inode)) = (parent.caching, &inode) {
            inode.forget_triple();
        }
        let dentry = self.new_dentry(parent, name.as_bytes(), inode);
        let mut discarded = Vec::new();
        let mut topology = self.topology.write();
        if let Some(other) = topology.lookup(parent, name.as_bytes()) {
            // Another shared holder was faster.
            return other.clone();
        }
        topology.insert(&dentry, &mut discarded);
        drop(topology);
        dentry
    }

    /// A dentry that is not cached yet.
    pub(crate) fn new_dentry(&self, parent: &Arc<Dentry>, name: &[u8], inode: Option<Arc<Inode>>) -> Arc<Dentry> {
        let place = Place { parent: Some(parent.clone()), name: Arc::from(name) };
        Dentry::new(self.new_id(), parent.superblock, parent.caching, inode, place)
    }

    /// A name has got a node. The caller holds the directory's lock exclusively.
    pub(crate) fn attach(&self, parent: &Arc<Dentry>, name: Name<'_>, inode: Arc<Inode>) -> Arc<Dentry> {
        let dentry = self.new_dentry(parent, name.as_bytes(), Some(inode));
        let mut discarded = Vec::new();
        self.topology.write().insert(&dentry, &mut discarded);
        dentry
    }

    /// A name is gone: its place in the cache is taken by the certainty that there is nothing. The caller holds the
    /// directory's lock exclusively.
    pub(crate) fn detach(&self, parent: &Arc<Dentry>, dentry: &Arc<Dentry>) {
        let negative = self.new_dentry(parent, &dentry.name(), None);
        let mut discarded = Vec::new();
        let mut topology = self.topology.write();
        dentry.set_unlinked(true);
        topology.insert(&negative, &mut discarded);
        drop(topology);
    }
}
