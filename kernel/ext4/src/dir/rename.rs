//! Rename: the plain one, and the overlay's with whiteouts and attributes. One handle, whatever it does.

use alloc::sync::Arc;
use core::cell::Cell;

use vfs::{Errno, Error, Result, SourceLeft, XattrChange};

use super::names::{CREDITS, Emptiness, Entry, Vacancy, is_whiteout};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::{Handle, Locks};

/// What a rename does with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Replace,
    NoReplace,
    Exchange,
    /// The overlay's: whiteouts count as nothing, and one may be left behind.
    Upper(SourceLeft),
}

/// A rename.
#[derive(Clone, Copy)]
pub(crate) struct Rename<'a> {
    pub(crate) from: &'a Arc<Inode>,
    pub(crate) name: &'a [u8],
    pub(crate) to: &'a Arc<Inode>,
    pub(crate) new_name: &'a [u8],
    pub(crate) mode: Mode,
    pub(crate) xattrs: &'a [XattrChange<'a>],
}

/// An entry and its inode.
struct Side {
    entry: Entry,
    inode: Arc<Inode>,
}

/// What a rename moves, and over what or where.
struct Plan {
    moved: Side,
    target: Option<Side>,
    vacancy: Option<Vacancy>,
}

impl Ext4 {
    fn side(&self, dir: &Inode, name: &[u8], vacancy: &mut Option<Vacancy>) -> Result<Option<Side>> {
        let Some(entry) = self.find_or_space(dir, name, vacancy)? else { return Ok(None) };
        let inode = self.linked_inode(entry.ino)?;
        Ok(Some(Side { entry, inode }))
    }

    /// Renames.
    pub(crate) fn rename(&self, op: &Rename<'_>) -> Result<()> {
        // Both names are looked up once, by the plan: entries change under the core lock alone, which is held from then on.
        let planned = Cell::new(None);
        // The inodes behind them are locked too: their attributes may change.
        let plan = |fs: &Self| {
            let mut vacancy = None;
            let moved = fs.side(op.from, op.name, &mut None)?.ok_or(Error::new(Errno::ENOENT, "no such name"))?;
            let target = fs.side(op.to, op.new_name, &mut vacancy)?;
            let other = target.as_ref().map(|side| side.inode.clone());
            let locks = Locks::new([Some(op.from.clone()), Some(op.to.clone()), Some(moved.inode.clone()), other]);
            planned.set(Some(Plan { moved, target, vacancy }));
            Ok(locks)
        };
        self.transact_planned(CREDITS, plan, |h| {
            let plan = planned.take().ok_or(Error::new(Errno::EIO, "a rename without a plan"))?;
            h.rename(op, &plan)
        })
    }
}

impl Handle<'_> {
    fn rename(&mut self, op: &Rename<'_>, plan: &Plan) -> Result<()> {
        let Plan { moved, target, .. } = plan;
        self.fs.check_alive(op.to)?;
        if op.mode == Mode::NoReplace && target.is_some() {
            return Err(Error::new(Errno::EEXIST, "name exists"));
        }
        match (op.mode, target) {
            (Mode::Exchange, None) => Err(Error::new(Errno::ENOENT, "no such name")),
            (mode, Some(target)) if Arc::ptr_eq(&target.inode, &moved.inode) => {
                self.rename_to_itself(op, moved, target, mode)
            }
            (Mode::Exchange, Some(target)) => self.exchange(op, moved, target),
            (mode, _) => self.move_entry(op, plan, mode),
        }
    }

    /// Two names of one inode: nothing happens. That whiteouts share one is not to be seen, though: the source goes.
    fn rename_to_itself(&mut self, op: &Rename<'_>, moved: &Side, target: &Side, mode: Mode) -> Result<()> {
        let same_entry = moved.entry.offset == target.entry.offset
            && moved.entry.place.buffer.block() == target.entry.place.buffer.block();
        let leaves = matches!(mode, Mode::Exchange | Mode::Upper(SourceLeft::Whiteout));
        if same_entry || leaves || !is_whiteout(&moved.inode) {
            return Ok(());
        }
        self.remove_entry(op.from, &moved.entry)?;
        self.unlink(op.from, &moved.inode)?;
        self.finish_rename(op, &moved.inode, None)
    }

    fn move_entry(&mut self, op: &Rename<'_>, plan: &Plan, mode: Mode) -> Result<()> {
        let Plan { moved, target, vacancy } = plan;
        let inode = &moved.inode;
        let upper = matches!(mode, Mode::Upper(_));
        let emptiness = if upper { Emptiness::Whiteouts } else { Emptiness::Bare };
        if let Some(target) = target {
            let over_whiteout = upper && is_whiteout(&target.inode);
            match (inode.is_dir(), target.inode.is_dir()) {
                (true, false) if !over_whiteout => return Err(Error::new(Errno::ENOTDIR, "not a directory")),
                (false, true) => return Err(Error::new(Errno::EISDIR, "is a directory")),
                // Before the source is gone: the target may be its parent.
                (true, true) => self.fs.check_empty(&target.inode, emptiness, |_| {})?,
                _ => {}
            }
        }
        if inode.is_dir() && !Arc::ptr_eq(op.from, op.to) {
            self.drop_dir_link(op.from)?;
        }
        // The source goes first: an insertion may move it.
        match mode {
            Mode::Upper(SourceLeft::Whiteout) => {
                let whiteout = self.new_whiteout(op.from)?;
                self.redirect_entry(op.from, &moved.entry, &whiteout)?;
            }
            _ => self.remove_entry(op.from, &moved.entry)?,
        }
        match target {
            Some(target) => {
                self.redirect_entry(op.to, &target.entry, inode)?;
                if target.inode.is_dir() {
                    self.empty_victim(&target.inode, emptiness)?;
                }
                self.unlink(op.to, &target.inode)?;
            }
            None => {
                // With the source its entry may be gone, behind which there was space.
                let Entry { offset, place, .. } = &moved.entry;
                let vacancy = vacancy.filter(|space| (space.block, space.offset) != (place.block, *offset));
                self.insert(op.to, op.new_name, vacancy, inode)?;
            }
        }
        if inode.is_dir() && !Arc::ptr_eq(op.from, op.to) {
            self.add_dir_link(op.to)?;
            self.set_parent(inode, op.to.ino)?;
        }
        self.finish_rename(op, inode, None)
    }

    fn exchange(&mut self, op: &Rename<'_>, moved: &Side, other: &Side) -> Result<()> {
        self.redirect_entry(op.from, &moved.entry, &other.inode)?;
        self.redirect_entry(op.to, &other.entry, &moved.inode)?;
        if !Arc::ptr_eq(op.from, op.to) {
            match (moved.inode.is_dir(), other.inode.is_dir()) {
                (true, false) => {
                    self.drop_dir_link(op.from)?;
                    self.add_dir_link(op.to)?;
                }
                (false, true) => {
                    self.drop_dir_link(op.to)?;
                    self.add_dir_link(op.from)?;
                }
                _ => {}
            }
            if moved.inode.is_dir() {
                self.set_parent(&moved.inode, op.to.ino)?;
            }
            if other.inode.is_dir() {
                self.set_parent(&other.inode, op.from.ino)?;
            }
        }
        self.finish_rename(op, &moved.inode, Some(&other.inode))
    }

    fn finish_rename(&mut self, op: &Rename<'_>, moved: &Arc<Inode>, other: Option<&Arc<Inode>>) -> Result<()> {
        let now = self.now;
        self.update(moved, |record| record.ctime = now)?;
        if let Some(other) = other {
            self.update(other, |record| record.ctime = now)?;
        }
        self.touch_times(op.from)?;
        if !Arc::ptr_eq(op.from, op.to) {
            self.touch_times(op.to)?;
        }
        self.change_attributes(op.xattrs, moved, other, op.from, op.to)
    }

    /// A directory is about to be removed: what it may still hold goes with it. Its size becomes 0, so that whoever frees it,
    /// after a crash too, finds no entries that count.
    pub(crate) fn empty_victim(&mut self, dir: &Arc<Inode>, emptiness: Emptiness) -> Result<()> {
        let mut whiteouts = alloc::vec::Vec::new();
        self.fs.check_empty(dir, emptiness, |inode| whiteouts.push(inode.clone()))?;
        if whiteouts.is_empty() {
            return Ok(());
        }
        for whiteout in &whiteouts {
            self.unlink(dir, whiteout)?;
        }
        self.touch_data(dir)?;
        self.update(dir, |record| record.size = 0)
    }
}
