//! Operations on names: creation, links, removal, renames.

use alloc::format;
use alloc::vec::Vec;

use vfs::{Errno, Name, NewKind, NewNode, RenameMode};

use super::compare;
use super::run::{DEPTH, NAMES, Run, agree, draw_kind, draw_mode};
use super::state::{Id, Kind, Object, join};
use crate::dsl::show;
use crate::{Features, Outcome};

impl Run<'_> {
    pub(super) fn create(&mut self) -> Outcome {
        let (dir, path, at) = self.dir()?;
        let name = *self.random.pick(&NAMES);
        let is_deep = path.iter().filter(|&&byte| byte == b'/').count() + 1 >= DEPTH;
        let kind = match draw_kind(self.env, &mut self.random) {
            Kind::Dir { .. } if is_deep => Kind::File(Vec::new()),
            // Content comes by writes.
            Kind::File(_) => Kind::File(Vec::new()),
            kind => kind,
        };
        let (mode, now) = (draw_mode(&mut self.random), self.now());
        self.tell(format!("create \"{}\" {kind:?} {mode:o}", show(&join(&path, name))));
        let new = NewNode { uid: 0, gid: 0, xattrs: &[], kind: new_kind(&kind), mode };
        let result = at.create(Name::new(name)?, &new);
        let expected = self.state.create(dir, name, Object::new(kind.clone(), mode, now), now);
        let made = agree(result, expected.map(|_| ()))?;
        if let (Some(made), Ok(id)) = (made, expected) {
            compare::node(self.env, &self.state, id, &made)?;
        }
        self.look(dir, name, &at)
    }

    pub(super) fn link(&mut self) -> Outcome {
        if !self.env.has(Features::HARD_LINKS) {
            return Ok(());
        }
        let Some((id, told, node)) = self.node(|_| true)? else { return Ok(()) };
        let (dir, path, at) = self.dir()?;
        let (name, now) = (*self.random.pick(&NAMES), self.now());
        self.tell(format!("link {told} at \"{}\"", show(&join(&path, name))));
        let result = at.link(name, &node);
        let expected = self.state.link(dir, name, id, now);
        agree(result, expected)?;
        compare::object(self.env, &self.state, id, &node)?;
        self.look(dir, name, &at)
    }

    /// A name of `dir`, more often than not one that is there.
    fn name_in(&mut self, dir: Id) -> Vec<u8> {
        let names: Vec<_> = self.state.entries(dir).keys().cloned().collect();
        if names.is_empty() || self.random.one_in(6) {
            return self.random.pick(&NAMES).to_vec();
        }
        self.random.pick(&names).clone()
    }

    pub(super) fn unlink(&mut self) -> Outcome {
        let (dir, path, at) = self.dir()?;
        let (name, now) = (self.name_in(dir), self.now());
        self.tell(format!("unlink \"{}\"", show(&join(&path, &name))));
        let gone = self.state.find(dir, &name);
        let result = at.unlink(&name);
        let expected = self.state.unlink(dir, &name, now);
        agree(result, expected)?;
        self.forget_unlinked(gone);
        self.look(dir, &name, &at)
    }

    pub(super) fn rmdir(&mut self) -> Outcome {
        let (dir, path, at) = self.dir()?;
        let (name, now) = (self.name_in(dir), self.now());
        self.tell(format!("rmdir \"{}\"", show(&join(&path, &name))));
        let gone = self.state.find(dir, &name);
        let result = at.rmdir(&name);
        let expected = self.state.rmdir(dir, &name, now);
        agree(result, expected)?;
        self.forget_unlinked(gone);
        self.look(dir, &name, &at)
    }

    pub(super) fn rename(&mut self) -> Outcome {
        let ((from, from_path, from_at), (to, to_path, to_at)) = (self.dir()?, self.dir()?);
        let name = self.name_in(from);
        let new_name = if self.random.one_in(2) { self.name_in(to) } else { self.random.pick(&NAMES).to_vec() };
        let mode = match self.random.below(10) {
            0..6 => RenameMode::Replace,
            6..8 => RenameMode::NoReplace,
            _ if self.env.has(Features::EXCHANGE) => RenameMode::Exchange,
            _ => RenameMode::Replace,
        };
        // The namespace refuses these, a filesystem never sees them.
        let (moved, target) = (self.state.find(from, &name), self.state.find(to, &new_name));
        let swallows = |id: Option<Id>, dir: Id| id.is_some_and(|id| self.state.is_below(dir, id));
        if swallows(moved, to) || (mode == RenameMode::Exchange && swallows(target, from)) {
            return Ok(());
        }
        let now = self.now();
        let told = (show(&join(&from_path, &name)), show(&join(&to_path, &new_name)));
        self.tell(format!("rename \"{}\" to \"{}\" {mode:?}", told.0, told.1));
        let result = from_at.rename(&name, &to_at, &new_name, mode);
        if !self.env.has(Features::ANY_RENAME) && result.as_ref().is_err_and(|error| error.errno() == Errno::EXDEV) {
            return self.look(from, &name, &from_at);
        }
        let expected = self.state.rename((from, &name), (to, &new_name), mode, now);
        agree(result, expected)?;
        self.forget_unlinked(target);
        self.look(from, &name, &from_at)?;
        self.look(to, &new_name, &to_at)
    }
}

fn new_kind(kind: &Kind) -> NewKind<'_> {
    match kind {
        Kind::File(_) => NewKind::File,
        Kind::Dir { .. } => NewKind::Dir,
        Kind::Symlink(target) => NewKind::Symlink(target),
        Kind::CharDevice(number) => NewKind::CharDevice(*number),
        Kind::Fifo => NewKind::Fifo,
    }
}
