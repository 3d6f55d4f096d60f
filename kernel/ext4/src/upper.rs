//! What an overlay asks of its upper layer, each step one handle ([`vfs::UpperDir`]).
//!
//! A whiteout is a character device 0/0. All whiteouts of a mount share one inode, until it has as many links as an inode can
//! have; then a new one begins.

use alloc::sync::Arc;

use vfs::{
    DeviceNumber, Errno, Error, NewKind, NewNode, Over, Parent, Publish, Result, Subject, Victim, XattrChange,
    XattrMode,
};

use crate::dir::names::{CREDITS, Emptiness, LINK_MAX, Vacancy, is_whiteout};
use crate::dir::{Creation, Entry};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::node::Ext4Node;
use crate::transaction::{Handle, Locks};

/// What is at a name before a new entry comes there.
enum Place {
    Free(Option<Vacancy>),
    Whiteout(Entry, Arc<Inode>),
}

impl Ext4 {
    /// Gives a staged inode its name.
    pub(crate) fn publish(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>, how: &Publish<'_>) -> Result<()> {
        self.transact(CREDITS, &[dir, inode], |h| {
            if !inode.is_staged() {
                return Err(Error::new(Errno::EINVAL, "inode is not staged"));
            }
            h.fs.check_alive(dir)?;
            let place = h.place(dir, name, how.over)?;
            let now = h.now;
            if inode.is_dir() {
                h.add_dir_link(dir)?;
                h.set_parent(inode, dir.ino)?;
            }
            let is_dir = inode.is_dir();
            h.publish_inode(inode)?;
            h.update(inode, |record| {
                if !is_dir {
                    record.links = 1;
                }
                record.ctime = now;
            })?;
            h.put(dir, name, place, inode)?;
            if how.parent == Parent::Touched {
                h.touch_times(dir)?;
            }
            h.change_attributes(how.xattrs, inode, None, dir, dir)
        })
    }

    /// Creates an entry and its inode, over a whiteout if there is one.
    pub(crate) fn create_over(&self, dir: &Arc<Inode>, name: &[u8], new: &NewNode<'_>) -> Result<Arc<Ext4Node>> {
        self.transact(CREDITS, &[dir], |h| {
            h.fs.check_alive(dir)?;
            let place = h.place(dir, name, Over::Whiteout)?;
            let inode = h.new_inode(dir, new, Creation::Named)?;
            if inode.is_dir() {
                h.add_dir_link(dir)?;
            }
            h.put(dir, name, place, &inode)?;
            h.touch_times(dir)?;
            Ok(h.fs.node(&inode))
        })
    }

    /// Gives an inode one more name, over a whiteout if there is one.
    pub(crate) fn link_over(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        self.transact(CREDITS, &[dir], |h| {
            h.check_linkable(inode)?;
            h.fs.check_alive(dir)?;
            let place = h.place(dir, name, Over::Whiteout)?;
            h.add_link(inode)?;
            h.publish_inode(inode)?;
            h.put(dir, name, place, inode)?;
            h.touch_times(dir)
        })
    }

    /// Puts a whiteout at a name.
    pub(crate) fn whiteout(&self, dir: &Arc<Inode>, name: &[u8], victim: Victim) -> Result<()> {
        let plan = |fs: &Self| fs.lock_victim(dir, name, victim);
        self.transact_planned(CREDITS, plan, |h| {
            h.fs.check_alive(dir)?;
            let mut vacancy = None;
            let found = h.fs.find_or_space(dir, name, &mut vacancy)?;
            let whiteout = match (victim, &found) {
                (Victim::Absent, Some(_)) => return Err(Error::new(Errno::EEXIST, "name exists")),
                (Victim::Absent, None) => {
                    let whiteout = h.new_whiteout(dir)?;
                    h.insert(dir, name, vacancy, &whiteout)?;
                    return h.touch_times(dir);
                }
                (_, None) => return Err(Error::new(Errno::ENOENT, "no such name")),
                (_, Some(_)) => h.new_whiteout(dir)?,
            };
            if let Some(entry) = found {
                let inode = h.check_victim(&entry, victim)?;
                h.redirect_entry(dir, &entry, &whiteout)?;
                h.unlink(dir, &inode)?;
            }
            h.touch_times(dir)
        })
    }

    /// Removes a directory that holds nothing but whiteouts.
    pub(crate) fn remove_with_whiteouts(&self, dir: &Arc<Inode>, name: &[u8]) -> Result<()> {
        let plan = |fs: &Self| fs.lock_victim(dir, name, Victim::Dir);
        self.transact_planned(CREDITS, plan, |h| {
            let entry = h.fs.find(dir, name)?.ok_or(Error::new(Errno::ENOENT, "no such name"))?;
            let inode = h.check_victim(&entry, Victim::Dir)?;
            h.remove_entry(dir, &entry)?;
            h.unlink(dir, &inode)?;
            h.touch_times(dir)
        })
    }
}

impl Ext4 {
    /// A directory is changed, and the one in it that is to go is emptied: nobody looks into it meanwhile.
    fn lock_victim(&self, dir: &Arc<Inode>, name: &[u8], victim: Victim) -> Result<Locks> {
        let found = if victim == Victim::Dir { self.find(dir, name)? } else { None };
        let inode = found.map(|entry| self.linked_inode(entry.ino)).transpose()?;
        Ok(Locks::new([Some(dir.clone()), inode, None, None]))
    }
}

impl Handle<'_> {
    /// What is at a name, if a new entry may come there.
    fn place(&self, dir: &Inode, name: &[u8], over: Over) -> Result<Place> {
        let mut vacancy = None;
        let Some(entry) = self.fs.find_or_space(dir, name, &mut vacancy)? else { return Ok(Place::Free(vacancy)) };
        let inode = self.fs.linked_inode(entry.ino)?;
        if over == Over::Whiteout && is_whiteout(&inode) {
            return Ok(Place::Whiteout(entry, inode));
        }
        Err(Error::new(Errno::EEXIST, "name exists"))
    }

    /// Makes a name lead to an inode whose links are right already.
    fn put(&mut self, dir: &Arc<Inode>, name: &[u8], place: Place, inode: &Arc<Inode>) -> Result<()> {
        match place {
            Place::Free(vacancy) => self.insert(dir, name, vacancy, inode),
            Place::Whiteout(entry, whiteout) => {
                self.redirect_entry(dir, &entry, inode)?;
                self.unlink(dir, &whiteout)
            }
        }
    }

    /// The inode of an entry that is to go, emptied if it is a directory.
    fn check_victim(&mut self, entry: &Entry, victim: Victim) -> Result<Arc<Inode>> {
        let inode = self.fs.linked_inode(entry.ino)?;
        match (victim, inode.is_dir()) {
            (Victim::Dir, true) => self.empty_victim(&inode, Emptiness::Whiteouts)?,
            (Victim::Dir, false) => return Err(Error::new(Errno::ENOTDIR, "not a directory")),
            (_, true) => return Err(Error::new(Errno::EISDIR, "is a directory")),
            (_, false) => {}
        }
        Ok(inode)
    }

    /// One more link of the shared whiteout, for a name in `dir`.
    pub(crate) fn new_whiteout(&mut self, dir: &Arc<Inode>) -> Result<Arc<Inode>> {
        if let Some(shared) = self.core.whiteout.clone()
            && (1..LINK_MAX).contains(&shared.record.read().links)
        {
            self.update(&shared, |record| record.links += 1)?;
            return Ok(shared);
        }
        let new = NewNode::new(NewKind::CharDevice(DeviceNumber::new(0, 0)), 0);
        let inode = self.new_inode(dir, &new, Creation::Named)?;
        self.core.whiteout = Some(inode.clone());
        Ok(inode)
    }

    /// Changes of attributes that belong to the operation.
    pub(crate) fn change_attributes(
        &mut self,
        changes: &[XattrChange<'_>],
        moved: &Arc<Inode>,
        exchanged: Option<&Arc<Inode>>,
        old_parent: &Arc<Inode>,
        new_parent: &Arc<Inode>,
    ) -> Result<()> {
        for change in changes {
            let subject = match change.subject {
                Subject::Moved => moved,
                Subject::Exchanged => exchanged.ok_or(Error::new(Errno::EINVAL, "no exchanged node"))?,
                Subject::OldParent => old_parent,
                Subject::NewParent => new_parent,
            };
            let mode = XattrMode::Set;
            self.set_attribute(subject, change.name, change.value, mode)?;
        }
        Ok(())
    }
}
