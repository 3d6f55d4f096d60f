//! Renames, the plain ones and the overlay's, as one procedure: check everything, prepare what can fail, then
//! change what cannot.

use alloc::sync::Arc;

use base::sync::RwLockWriteGuard;
use vfs::{
    Errno, Error, Name, RenameMode, RenameOp, Result, SourceLeft, Subject, Timestamp, UpperRename, UpperRenameMode,
    XattrChange, XattrMode,
};

use crate::dir::{Directory, MayHold, Place, bury};
use crate::entries::{Entries, Slots};
use crate::inode::{Core, Inode, Meta};
use crate::node::{RamNode, own_dir};
use crate::space::Charge;
use crate::xattrs::Xattrs;

/// What happens at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Replace,
    NoReplace,
    Exchange,
    /// The overlay's move: whiteouts at the target count as nothing.
    Upper(SourceLeft),
}

/// A rename with its directories resolved.
struct Move<'a> {
    from: &'a Inode<Directory>,
    name: Name<'a>,
    to: &'a Inode<Directory>,
    new_name: Name<'a>,
    mode: Mode,
    xattrs: &'a [XattrChange<'a>],
}

impl Inode<Directory> {
    pub(crate) fn rename_entry(&self, op: &RenameOp<'_>) -> Result<()> {
        let mode = match op.mode {
            RenameMode::Replace => Mode::Replace,
            RenameMode::NoReplace => Mode::NoReplace,
            RenameMode::Exchange => Mode::Exchange,
        };
        let to = own_dir(op.to, &self.core.shared)?;
        Move { from: self, name: op.name, to, new_name: op.new_name, mode, xattrs: &[] }.run()
    }

    pub(crate) fn rename_entry_upper(&self, op: &UpperRename<'_>) -> Result<()> {
        let mode = match op.mode {
            UpperRenameMode::Move(left) => Mode::Upper(left),
            UpperRenameMode::Exchange => Mode::Exchange,
        };
        let to = own_dir(op.to, &self.core.shared)?;
        Move { from: self, name: op.name, to, new_name: op.new_name, mode, xattrs: op.xattrs }.run()
    }
}

/// The entries of both directories, locked: once if they are one.
enum Locked<'a> {
    One(RwLockWriteGuard<'a, Entries>),
    Two { from: RwLockWriteGuard<'a, Entries>, to: RwLockWriteGuard<'a, Entries> },
}

impl Locked<'_> {
    fn from(&mut self) -> &mut Entries {
        match self {
            Self::One(entries) | Self::Two { from: entries, .. } => entries,
        }
    }

    fn to(&mut self) -> &mut Entries {
        match self {
            Self::One(entries) | Self::Two { to: entries, .. } => entries,
        }
    }
}

/// What is dropped after the locks.
#[derive(Default)]
struct Graveyard {
    victim: Option<RamNode>,
    contents: Slots,
}

impl Move<'_> {
    fn is_within_one(&self) -> bool {
        core::ptr::eq(self.from, self.to)
    }

    fn run(&self) -> Result<()> {
        let shared = &self.from.core.shared;
        let now = shared.now();
        let mut graveyard = Graveyard::default();
        let _topology = shared.topology.lock();
        // The topology lock is held: two locks in any order.
        let mut locked = if self.is_within_one() {
            Locked::One(self.from.body.entries.write())
        } else {
            Locked::Two { from: self.from.body.entries.write(), to: self.to.body.entries.write() }
        };
        locked.to().check_live()?;
        let moved = locked.from().get(self.name).ok_or(Errno::ENOENT)?.clone();
        let target = locked.to().get(self.new_name).cloned();
        match (self.mode, &target) {
            (Mode::NoReplace, Some(_)) => return Err(Errno::EEXIST.into()),
            (Mode::Exchange, None) => return Err(Errno::ENOENT.into()),
            (_, Some(target)) if target.ino() == moved.ino() => return Ok(()),
            (Mode::Exchange, Some(target)) => return self.exchange(&mut locked, moved, target.clone(), now),
            _ => {}
        }
        self.shift(&mut locked, moved, target, &mut graveyard, now)
    }

    /// Moves the entry, over `target` if there is one.
    fn shift(
        &self,
        locked: &mut Locked<'_>,
        moved: RamNode,
        target: Option<RamNode>,
        graveyard: &mut Graveyard,
        now: Timestamp,
    ) -> Result<()> {
        let shared = &self.from.core.shared;
        refuse_cycle(&moved, self.to)?;
        let (may_hold, left) = match self.mode {
            Mode::Upper(left) => (MayHold::Whiteouts, left),
            _ => (MayHold::Nothing, SourceLeft::Nothing),
        };
        let victim_dir = self.check_target(&moved, target.as_ref(), may_hold)?;
        if moved.is_dir() && victim_dir.is_none() && !self.is_within_one() {
            self.to.core.check_subdirectory()?;
        }
        let place = match &target {
            Some(_) => Place::Taken,
            None => Place::Free(locked.to().room(self.new_name)?),
        };
        let whiteout = match left {
            SourceLeft::Whiteout => Some(shared.take_whiteout(now)?),
            SourceLeft::Nothing => None,
        };
        let prepared = self.change_xattrs(&moved, None).and_then(|()| match &victim_dir {
            Some(dir) => bury(dir, may_hold, now),
            None => Ok(Slots::new()),
        });
        match prepared {
            Ok(contents) => graveyard.contents = contents,
            Err(error) => {
                if let Some(whiteout) = whiteout {
                    whiteout.core().unlink(now);
                    graveyard.victim = Some(whiteout);
                }
                return Err(error);
            }
        }

        graveyard.victim = place.put(locked.to(), self.new_name, moved.clone());
        match whiteout {
            Some(whiteout) => drop(locked.from().replace(self.name, whiteout)),
            None => drop(locked.from().remove(self.name)),
        }
        match (&graveyard.victim, &victim_dir) {
            (_, Some(_)) => self.to.core.lose_subdirectory(),
            (Some(victim), None) => victim.core().unlink(now),
            (None, None) => {}
        }
        if moved.is_dir() {
            self.from.core.lose_subdirectory();
            self.to.core.gain_subdirectory();
        }
        self.touch(&moved, now);
        Ok(())
    }

    /// Checks what may be replaced by what; returns the directory that goes, if it is one.
    fn check_target(
        &self,
        moved: &RamNode,
        target: Option<&RamNode>,
        may_hold: MayHold,
    ) -> Result<Option<Arc<Inode<Directory>>>> {
        let Some(target) = target else { return Ok(None) };
        if may_hold == MayHold::Whiteouts && target.is_whiteout() {
            return Ok(None);
        }
        match (moved.is_dir(), target.as_dir()) {
            (false, None) => Ok(None),
            (false, Some(_)) => Err(Errno::EISDIR.into()),
            (true, None) => Err(Errno::ENOTDIR.into()),
            // The entry that moves is in it, and its lock is held.
            (true, Some(dir)) if core::ptr::eq(&**dir, self.from) => Err(Errno::ENOTEMPTY.into()),
            (true, Some(dir)) => {
                let entries = dir.body.entries.read();
                let is_removable = match may_hold {
                    MayHold::Nothing => entries.is_empty(),
                    MayHold::Whiteouts => entries.holds_only_whiteouts(),
                };
                if is_removable { Ok(Some(dir.clone())) } else { Err(Errno::ENOTEMPTY.into()) }
            }
        }
    }

    fn exchange(&self, locked: &mut Locked<'_>, moved: RamNode, target: RamNode, now: Timestamp) -> Result<()> {
        refuse_cycle(&moved, self.to)?;
        refuse_cycle(&target, self.from)?;
        let crosses = !self.is_within_one();
        if crosses && moved.is_dir() && !target.is_dir() {
            self.to.core.check_subdirectory()?;
        }
        if crosses && target.is_dir() && !moved.is_dir() {
            self.from.core.check_subdirectory()?;
        }
        self.change_xattrs(&moved, Some(&target))?;
        // Each goes where the other was; the two returned are the very nodes that were put in.
        drop(locked.to().replace(self.new_name, moved.clone()));
        drop(locked.from().replace(self.name, target.clone()));
        if moved.is_dir() != target.is_dir() {
            let (loses, gains) = if moved.is_dir() { (self.from, self.to) } else { (self.to, self.from) };
            loses.core.lose_subdirectory();
            gains.core.gain_subdirectory();
        }
        target.core().changed(now);
        self.touch(&moved, now);
        Ok(())
    }

    fn touch(&self, moved: &RamNode, now: Timestamp) {
        moved.core().changed(now);
        self.from.core.content_changed(now);
        self.to.core.content_changed(now);
    }

    fn change_xattrs(&self, moved: &RamNode, exchanged: Option<&RamNode>) -> Result<()> {
        change_xattrs(self.xattrs, |subject| match subject {
            Subject::Moved => Some(moved.core()),
            Subject::Exchanged => exchanged.map(RamNode::core),
            Subject::OldParent => Some(&self.from.core),
            Subject::NewParent => Some(&self.to.core),
        })
    }
}

/// The namespace refuses to move a directory below itself; the one step of it that is seen here is refused again.
fn refuse_cycle(moved: &RamNode, to: &Inode<Directory>) -> Result<()> {
    match moved.as_dir() {
        Some(dir) if core::ptr::eq(&**dir, to) => Err(Error::new(Errno::EINVAL, "directory moved into itself")),
        _ => Ok(()),
    }
}

/// A new set of attributes for one inode, not yet in force.
struct Prepared<'a> {
    core: &'a Core,
    meta: RwLockWriteGuard<'a, Meta>,
    xattrs: Xattrs,
    charge: Option<Charge<'a>>,
}

/// Makes all of `changes`, or none. The topology lock is held, which allows several inodes to be locked at once.
///
/// # Errors
/// `EINVAL` for a subject that the operation has not; `ENOSPC`, `ENOMEM`, those of `set_xattr`.
pub(crate) fn change_xattrs<'a>(
    changes: &[XattrChange<'_>],
    inode_of: impl Fn(Subject) -> Option<&'a Core>,
) -> Result<()> {
    // One place for each subject.
    let mut prepared: [Option<Prepared<'a>>; 4] = [None, None, None, None];
    for change in changes {
        let core = inode_of(change.subject)
            .ok_or(Error::new(Errno::EINVAL, "extended attribute of an inode that has no part in it"))?;
        let is_it = |place: &Option<Prepared<'a>>| place.as_ref().is_none_or(|one| core::ptr::eq(one.core, core));
        let place = prepared.iter_mut().find(|place| is_it(place)).expect("as many places as subjects");
        let one = match place {
            Some(one) => one,
            None => {
                let meta = core.meta.write();
                let xattrs = meta.xattrs.try_clone()?;
                place.insert(Prepared { core, meta, xattrs, charge: None })
            }
        };
        match change.value {
            Some(value) => one.xattrs.set(change.name, value, XattrMode::Set)?,
            None => one.xattrs.remove(change.name),
        }
    }
    for one in prepared.iter_mut().flatten() {
        let growth = one.xattrs.charge().saturating_sub(one.meta.xattrs.charge());
        one.charge = Some(one.core.shared.bytes.charge(growth)?);
    }
    for mut one in prepared.into_iter().flatten() {
        let shrinkage = one.meta.xattrs.charge().saturating_sub(one.xattrs.charge());
        if let Some(charge) = one.charge {
            charge.keep();
        }
        one.meta.xattrs = one.xattrs;
        one.core.shared.bytes.release(shrinkage);
    }
    Ok(())
}
