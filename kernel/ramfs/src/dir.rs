//! Directories: the body, and the operations on one entry. Renames are in [`crate::rename`], the overlay's in [`crate::upper`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sync::RwLock;
use hashbrown::DefaultHashBuilder;
use vfs::{
    Cookie, DirEntry, DirOps, DirSink, Errno, Expect, FileType, Name, NewKind, NewNode, Node, Over, Parent, RenameOp,
    Result, Timestamp, UpperDir,
};

use crate::entries::{Entries, Room, Slots};
use crate::inode::{Body, Extent, Inode, Linkage, Shared};
use crate::node::RamNode;

/// What an entry adds to the size that a directory reports, in bytes.
const ENTRY_SIZE: u64 = 20;

/// A directory's body.
pub(crate) struct Directory {
    pub(crate) entries: RwLock<Entries>,
}

impl Directory {
    pub(crate) fn new(hasher: DefaultHashBuilder) -> Self {
        Self { entries: RwLock::new(Entries::new(hasher)) }
    }
}

impl Body for Directory {
    fn file_type(&self) -> FileType {
        FileType::Dir
    }

    fn with_extent<R>(&self, observe: impl FnOnce(Extent) -> R) -> R {
        let entries = self.entries.read();
        observe(Extent { size: entries.len() as u64 * ENTRY_SIZE, blocks: 0 })
    }

    /// Takes the tree below apart with a list of its own: recursion would need a stack as deep as the tree.
    fn release(&mut self, _shared: &Shared) {
        let mut pending: Vec<Slots> = Vec::new();
        let mut current = self.entries.get_mut().take_all();
        loop {
            for node in current.drain(..).filter_map(crate::entries::Slot::into_node) {
                let RamNode::Dir(dir) = node else { continue };
                let Some(mut inode) = Arc::into_inner(dir) else { continue };
                let below = inode.body.entries.get_mut().take_all();
                if !below.is_empty() && pending.try_reserve(1).is_ok() {
                    pending.push(below);
                }
            }
            match pending.pop() {
                Some(next) => current = next,
                None => return,
            }
        }
    }
}

/// Where a node goes: a name that is free, or the place of another node.
pub(crate) enum Place {
    Free(Room),
    /// The place of what is there: at the same position of a listing.
    Taken,
}

impl Place {
    /// Puts `node` there; returns what it replaced.
    pub(crate) fn put(self, entries: &mut Entries, name: Name<'_>, node: RamNode) -> Option<RamNode> {
        match self {
            Self::Free(room) => {
                entries.insert(room, node);
                None
            }
            Self::Taken => entries.replace(name, node),
        }
    }
}

/// The place of a new name, by what it may take the place of.
///
/// # Errors
/// `ENOENT` in a removed directory; `EEXIST`; `ENOMEM`.
pub(crate) fn place_for(entries: &mut Entries, name: Name<'_>, over: Over) -> Result<Place> {
    entries.check_live()?;
    match entries.get(name) {
        None => entries.room(name).map(Place::Free),
        Some(node) if over == Over::Whiteout && node.is_whiteout() => Ok(Place::Taken),
        Some(_) => Err(Errno::EEXIST.into()),
    }
}

impl Inode<Directory> {
    /// Creates an inode at `name`.
    pub(crate) fn create_entry(&self, name: Name<'_>, new: &NewNode<'_>, over: Over) -> Result<Node> {
        let shared = &self.core.shared;
        let now = shared.now();
        let replaced;
        let mut entries = self.body.entries.write();
        let place = place_for(&mut entries, name, over)?;
        let is_dir = matches!(new.kind, NewKind::Dir);
        if is_dir {
            self.core.check_subdirectory()?;
        }
        let node = shared.make(new, Linkage::Named, self.core.inherited(), now)?;
        let created = node.to_vfs();
        replaced = place.put(&mut entries, name, node);
        if let Some(whiteout) = &replaced {
            whiteout.core().unlink(now);
        }
        if is_dir {
            self.core.gain_subdirectory();
        }
        self.core.content_changed(now);
        drop(entries);
        drop(replaced);
        Ok(created)
    }

    /// Gives `node` the name `name` as well.
    pub(crate) fn link_entry(&self, name: Name<'_>, node: &Node, over: Over) -> Result<()> {
        let shared = &self.core.shared;
        let node = RamNode::from_vfs(node, shared)?;
        if node.is_dir() {
            return Err(Errno::EPERM.into());
        }
        let now = shared.now();
        let replaced;
        let _topology = shared.topology.lock();
        let mut entries = self.body.entries.write();
        let place = place_for(&mut entries, name, over)?;
        node.core().link(now)?;
        replaced = place.put(&mut entries, name, node);
        if let Some(whiteout) = &replaced {
            whiteout.core().unlink(now);
        }
        self.core.content_changed(now);
        drop(entries);
        drop(replaced);
        Ok(())
    }

    /// Removes a name of what is not a directory.
    fn unlink(&self, name: Name<'_>) -> Result<()> {
        let now = self.core.shared.now();
        let mut entries = self.body.entries.write();
        if entries.get(name).ok_or(Errno::ENOENT)?.is_dir() {
            return Err(Errno::EISDIR.into());
        }
        let removed = entries.remove(name);
        if let Some(node) = &removed {
            node.core().unlink(now);
        }
        self.core.content_changed(now);
        drop(entries);
        drop(removed);
        Ok(())
    }

    /// Removes a directory that holds nothing, or nothing but what `may_hold` allows.
    pub(crate) fn remove_directory(&self, name: Name<'_>, may_hold: MayHold) -> Result<()> {
        let shared = &self.core.shared;
        let now = shared.now();
        let (removed, buried);
        let topology = shared.topology.lock();
        let mut entries = self.body.entries.write();
        buried = entries.get(name).ok_or(Errno::ENOENT)?.as_dir().ok_or(Errno::ENOTDIR)?.clone();
        let contents = bury(&buried, may_hold, now)?;
        removed = entries.remove(name);
        self.core.lose_subdirectory();
        self.core.content_changed(now);
        drop(entries);
        drop(topology);
        drop((removed, buried, contents));
        Ok(())
    }
}

/// What a directory may hold and yet be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayHold {
    Nothing,
    Whiteouts,
}

/// Marks `dir` removed, with the whiteouts in it; returns them, to be dropped after the locks. The topology lock is held.
///
/// # Errors
/// `ENOTEMPTY`: nothing has changed.
pub(crate) fn bury(dir: &Inode<Directory>, may_hold: MayHold, now: Timestamp) -> Result<Slots> {
    let mut entries = dir.body.entries.write();
    let is_removable = match may_hold {
        MayHold::Nothing => entries.is_empty(),
        MayHold::Whiteouts => entries.holds_only_whiteouts(),
    };
    if !is_removable {
        return Err(Errno::ENOTEMPTY.into());
    }
    for (_, whiteout, _) in entries.after(Cookie::START) {
        whiteout.core().unlink(now);
    }
    let contents = entries.bury();
    dir.core.unlink_directory(now);
    Ok(contents)
}

impl DirOps for Inode<Directory> {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        Ok(self.body.entries.read().get(name).map(RamNode::to_vfs))
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let entries = self.body.entries.read();
        for (name, node, next) in entries.after(from) {
            let entry = DirEntry { name: Name::new(name)?, ino: node.ino(), kind: node.file_type(), next };
            if sink.entry(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.create_entry(name, new, Over::Nothing)
    }

    fn create_unnamed(&self, new: &NewNode<'_>) -> Result<Node> {
        if matches!(new.kind, NewKind::Dir) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        self.stage(new)
    }

    fn link(&self, name: Name<'_>, node: &Node) -> Result<()> {
        self.link_entry(name, node, Over::Nothing)
    }

    fn remove(&self, name: Name<'_>, expect: Expect) -> Result<()> {
        match expect {
            Expect::NonDir => self.unlink(name),
            Expect::EmptyDir => self.remove_directory(name, MayHold::Nothing),
        }
    }

    fn rename(&self, op: &RenameOp<'_>) -> Result<()> {
        self.rename_entry(op)
    }

    fn as_upper(&self) -> Option<&dyn UpperDir> {
        Some(self)
    }
}

/// What of `dir`'s times an entry's change sets.
pub(crate) fn entry_changed(dir: &Inode<Directory>, parent: Parent, now: Timestamp) {
    match parent {
        Parent::Touched => dir.core.content_changed(now),
        Parent::Untouched => {}
    }
}
