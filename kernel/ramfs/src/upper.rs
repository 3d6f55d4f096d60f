//! What an overlay needs of its upper layer: each operation under one hold of the locks.

use vfs::{Errno, Error, Name, NewNode, Node, Over, Publish, Result, Subject, UpperDir, UpperRename, Victim};

use crate::dir::{Directory, MayHold, bury, entry_changed, place_for};
use crate::entries::Slots;
use crate::inode::{Inode, Linkage};
use crate::node::RamNode;
use crate::rename::change_xattrs;

impl UpperDir for Inode<Directory> {
    fn stage(&self, new: &NewNode<'_>) -> Result<Node> {
        let shared = &self.core.shared;
        Ok(shared.make(new, Linkage::Unnamed, self.core.inherited(), shared.now())?.to_vfs())
    }

    fn publish(&self, name: Name<'_>, node: &Node, how: &Publish<'_>) -> Result<()> {
        let shared = &self.core.shared;
        let node = RamNode::from_vfs(node, shared)?;
        let now = shared.now();
        let replaced;
        let _topology = shared.topology.lock();
        let mut entries = self.body.entries.write();
        let place = place_for(&mut entries, name, how.over)?;
        // No other operation names an unnamed inode without the topology lock.
        if node.core().meta.read().linkage != Linkage::Unnamed {
            return Err(Error::new(Errno::EINVAL, "publish of an inode that was not staged"));
        }
        if node.is_dir() {
            self.core.check_subdirectory()?;
        }
        change_xattrs(how.xattrs, |subject| match subject {
            Subject::Moved => Some(node.core()),
            Subject::NewParent => Some(&self.core),
            Subject::Exchanged | Subject::OldParent => None,
        })?;
        if node.is_dir() {
            let mut meta = node.core().meta.write();
            meta.linkage = Linkage::Named;
            meta.ctime = now;
            drop(meta);
            self.core.gain_subdirectory();
        } else {
            node.core().link(now)?;
        }
        replaced = place.put(&mut entries, name, node);
        if let Some(whiteout) = &replaced {
            whiteout.core().unlink(now);
        }
        entry_changed(self, how.parent, now);
        drop(entries);
        drop(replaced);
        Ok(())
    }

    fn create_over(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.create_entry(name, new, Over::Whiteout)
    }

    fn link_over(&self, name: Name<'_>, node: &Node) -> Result<()> {
        self.link_entry(name, node, Over::Whiteout)
    }

    fn whiteout(&self, name: Name<'_>, victim: Victim) -> Result<()> {
        let shared = &self.core.shared;
        let now = shared.now();
        let (removed, contents);
        // Only a directory's end needs a second lock of its kind.
        let _topology = (victim == Victim::Dir).then(|| shared.topology.lock());
        let mut entries = self.body.entries.write();
        match victim {
            Victim::Absent => {
                let place = place_for(&mut entries, name, Over::Nothing)?;
                let whiteout = shared.take_whiteout(now)?;
                (removed, contents) = (place.put(&mut entries, name, whiteout), Slots::new());
            }
            Victim::NonDir => {
                if entries.get(name).ok_or(Errno::ENOENT)?.is_dir() {
                    return Err(Errno::EISDIR.into());
                }
                let whiteout = shared.take_whiteout(now)?;
                (removed, contents) = (entries.replace(name, whiteout), Slots::new());
                if let Some(node) = &removed {
                    node.core().unlink(now);
                }
            }
            Victim::Dir => {
                let dir = entries.get(name).ok_or(Errno::ENOENT)?.as_dir().ok_or(Errno::ENOTDIR)?.clone();
                let whiteout = shared.take_whiteout(now)?;
                match bury(&dir, MayHold::Whiteouts, now) {
                    Ok(buried) => contents = buried,
                    Err(error) => {
                        whiteout.core().unlink(now);
                        return Err(error);
                    }
                }
                removed = entries.replace(name, whiteout);
                self.core.lose_subdirectory();
            }
        }
        self.core.content_changed(now);
        drop(entries);
        drop((removed, contents));
        Ok(())
    }

    fn remove_with_whiteouts(&self, name: Name<'_>) -> Result<()> {
        self.remove_directory(name, MayHold::Whiteouts)
    }

    fn rename_upper(&self, op: &UpperRename<'_>) -> Result<()> {
        self.rename_entry_upper(op)
    }
}
