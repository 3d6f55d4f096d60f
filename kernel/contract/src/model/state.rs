//! The model: what a filesystem holds, and what each operation makes of it.
//!
//! An operation either happens wholly or answers the errnos of which the filesystem may give any. Objects are never
//! thrown away, so a held node finds its own whatever became of its names.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use vfs::{AllocateMode, DeviceNumber, Errno, FileType, RenameMode, Timestamp};

/// Index of an object.
pub(super) type Id = usize;
/// The base directory.
pub(super) const BASE: Id = 0;
/// What must come of an operation: done, or one of these errors.
pub(super) type Expected = Result<(), &'static [Errno]>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File(Vec<u8>),
    Dir { entries: BTreeMap<Vec<u8>, Id>, parent: Option<Id> },
    Symlink(Vec<u8>),
    CharDevice(DeviceNumber),
    Fifo,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Names; of a directory: one or none.
    pub(super) names: u32,
    pub(super) mtime: Timestamp,
    /// Unknown as long as only the fixture changed it.
    pub(super) ctime: Option<Timestamp>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Object {
    pub(super) fn new(kind: Kind, mode: u16, now: Timestamp) -> Self {
        Self { kind, mode, uid: 0, gid: 0, names: 0, mtime: now, ctime: Some(now), xattrs: BTreeMap::new() }
    }

    pub(super) const fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir { .. })
    }

    pub(super) const fn file_type(&self) -> FileType {
        match self.kind {
            Kind::File(_) => FileType::File,
            Kind::Dir { .. } => FileType::Dir,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::CharDevice(_) => FileType::CharDevice,
            Kind::Fifo => FileType::Fifo,
        }
    }
}

pub(super) struct State {
    pub(super) objects: Vec<Object>,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        let kind = Kind::Dir { entries: BTreeMap::new(), parent: None };
        let base = Object { names: 1, ctime: None, ..Object::new(kind, 0o755, now) };
        Self { objects: Vec::from([base]) }
    }

    pub(super) fn entries(&self, dir: Id) -> &BTreeMap<Vec<u8>, Id> {
        static NONE: BTreeMap<Vec<u8>, Id> = BTreeMap::new();
        match &self.objects[dir].kind {
            Kind::Dir { entries, .. } => entries,
            _ => &NONE,
        }
    }

    fn entries_mut(&mut self, dir: Id) -> Option<&mut BTreeMap<Vec<u8>, Id>> {
        match &mut self.objects[dir].kind {
            Kind::Dir { entries, .. } => Some(entries),
            _ => None,
        }
    }

    pub(super) fn find(&self, dir: Id, name: &[u8]) -> Option<Id> {
        self.entries(dir).get(name).copied()
    }

    /// Every directory with a name, and its path.
    pub(super) fn dirs(&self) -> Vec<(Id, Vec<u8>)> {
        let mut found = Vec::from([(BASE, Vec::new())]);
        let mut next = 0;
        while let Some((dir, path)) = found.get(next).cloned() {
            for (name, &child) in self.entries(dir) {
                if self.objects[child].is_dir() {
                    found.push((child, join(&path, name)));
                }
            }
            next += 1;
        }
        found
    }

    /// Every path, parents first.
    pub(super) fn paths(&self) -> Vec<(Id, Vec<u8>)> {
        let mut found = Vec::new();
        for (dir, path) in self.dirs() {
            found.extend(self.entries(dir).iter().map(|(name, &child)| (child, join(&path, name))));
        }
        found
    }

    /// Whether `dir` is `above` or below it.
    pub(super) fn is_below(&self, dir: Id, above: Id) -> bool {
        let mut at = Some(dir);
        while let Some(id) = at {
            if id == above {
                return true;
            }
            at = match self.objects[id].kind {
                Kind::Dir { parent, .. } => parent,
                _ => None,
            };
        }
        false
    }

    pub(super) fn subdirs(&self, dir: Id) -> u32 {
        self.entries(dir).values().filter(|&&child| self.objects[child].is_dir()).count() as u32
    }

    fn touch(&mut self, id: Id, now: Timestamp) {
        self.objects[id].mtime = now;
        self.objects[id].ctime = Some(now);
    }

    pub(super) fn changed(&mut self, id: Id, now: Timestamp) {
        self.objects[id].ctime = Some(now);
    }

    fn set_parent(&mut self, id: Id, new: Id) {
        if let Kind::Dir { parent, .. } = &mut self.objects[id].kind {
            *parent = Some(new);
        }
    }

    fn put(&mut self, dir: Id, name: &[u8], id: Id) {
        if let Some(entries) = self.entries_mut(dir) {
            entries.insert(name.to_vec(), id);
        }
        self.set_parent(id, dir);
    }

    fn take(&mut self, dir: Id, name: &[u8]) {
        if let Some(entries) = self.entries_mut(dir) {
            entries.remove(name);
        }
    }

    fn lose_name(&mut self, id: Id, now: Timestamp) {
        self.objects[id].names -= 1;
        self.changed(id, now);
    }

    /// What a new name in `dir` must meet.
    pub(super) fn check_new(&self, dir: Id, name: &[u8]) -> Expected {
        if self.objects[dir].names == 0 {
            return Err(&[Errno::ENOENT]);
        }
        if self.find(dir, name).is_some() {
            return Err(&[Errno::EEXIST]);
        }
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        dir: Id,
        name: &[u8],
        object: Object,
        now: Timestamp,
    ) -> Result<Id, &'static [Errno]> {
        self.check_new(dir, name)?;
        let id = self.objects.len();
        self.objects.push(Object { names: 1, ..object });
        self.put(dir, name, id);
        self.touch(dir, now);
        Ok(id)
    }

    pub(super) fn link(&mut self, dir: Id, name: &[u8], id: Id, now: Timestamp) -> Expected {
        let checked = self.check_new(dir, name);
        if self.objects[id].is_dir() {
            return Err(if checked.is_ok() { &[Errno::EPERM] } else { &[Errno::EPERM, Errno::EEXIST, Errno::ENOENT] });
        }
        if self.objects[id].names == 0 {
            return Err(if checked.is_ok() { &[Errno::ENOENT] } else { &[Errno::ENOENT, Errno::EEXIST] });
        }
        checked?;
        self.put(dir, name, id);
        self.objects[id].names += 1;
        self.changed(id, now);
        self.touch(dir, now);
        Ok(())
    }

    pub(super) fn unlink(&mut self, dir: Id, name: &[u8], now: Timestamp) -> Expected {
        let id = self.find(dir, name).ok_or(&[Errno::ENOENT][..])?;
        if self.objects[id].is_dir() {
            return Err(&[Errno::EISDIR]);
        }
        self.take(dir, name);
        self.lose_name(id, now);
        self.touch(dir, now);
        Ok(())
    }

    pub(super) fn rmdir(&mut self, dir: Id, name: &[u8], now: Timestamp) -> Expected {
        let id = self.find(dir, name).ok_or(&[Errno::ENOENT][..])?;
        if !self.objects[id].is_dir() {
            return Err(&[Errno::ENOTDIR]);
        }
        if !self.entries(id).is_empty() {
            return Err(&[Errno::ENOTEMPTY]);
        }
        self.take(dir, name);
        self.lose_name(id, now);
        self.touch(dir, now);
        Ok(())
    }

    /// The caller has refused cycles.
    pub(super) fn rename(&mut self, from: (Id, &[u8]), to: (Id, &[u8]), mode: RenameMode, now: Timestamp) -> Expected {
        let moved = self.find(from.0, from.1).ok_or(&[Errno::ENOENT][..])?;
        if self.objects[to.0].names == 0 {
            return Err(&[Errno::ENOENT]);
        }
        let target = self.find(to.0, to.1);
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(&[Errno::EEXIST]),
            (RenameMode::Exchange, None) => return Err(&[Errno::ENOENT]),
            (_, Some(target)) if target == moved => return Ok(()),
            (RenameMode::Exchange, Some(target)) => {
                self.put(to.0, to.1, moved);
                self.put(from.0, from.1, target);
                self.changed(target, now);
            }
            (_, target) => {
                if let Some(victim) = target {
                    match (self.objects[moved].is_dir(), self.objects[victim].is_dir()) {
                        (false, true) => return Err(&[Errno::EISDIR]),
                        (true, false) => return Err(&[Errno::ENOTDIR]),
                        (true, true) if !self.entries(victim).is_empty() => return Err(&[Errno::ENOTEMPTY]),
                        _ => self.lose_name(victim, now),
                    }
                }
                self.take(from.0, from.1);
                self.put(to.0, to.1, moved);
            }
        }
        self.changed(moved, now);
        self.touch(from.0, now);
        self.touch(to.0, now);
        Ok(())
    }

    pub(super) fn content(&self, id: Id) -> &[u8] {
        match &self.objects[id].kind {
            Kind::File(content) => content,
            _ => &[],
        }
    }

    fn change_content(&mut self, id: Id, now: Timestamp, change: impl FnOnce(&mut Vec<u8>)) {
        if let Kind::File(content) = &mut self.objects[id].kind {
            change(content);
        }
        self.touch(id, now);
    }

    pub(super) fn write(&mut self, id: Id, offset: usize, bytes: &[u8], now: Timestamp) {
        self.change_content(id, now, |content| {
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[offset..end].copy_from_slice(bytes);
        });
    }

    pub(super) fn set_len(&mut self, id: Id, len: usize, now: Timestamp) {
        self.change_content(id, now, |content| content.resize(len, 0));
    }

    pub(super) fn allocate(&mut self, id: Id, mode: AllocateMode, offset: usize, len: usize, now: Timestamp) {
        self.change_content(id, now, |content| {
            let (size, end) = (content.len(), offset + len);
            if matches!(mode, AllocateMode::Extend | AllocateMode::ZeroRange) && size < end {
                content.resize(end, 0);
            }
            let zeroes = !matches!(mode, AllocateMode::Extend | AllocateMode::KeepSize);
            let size = content.len();
            if zeroes && offset < size {
                content[offset..end.min(size)].fill(0);
            }
        });
    }
}

/// A path and one more component.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}
