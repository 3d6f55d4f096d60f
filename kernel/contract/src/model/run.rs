//! One run: draws operations, does them on both sides, compares.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use vfs::{
    AllocateMode, Clock, DeviceNumber, Errno, Error, Name, NewKind, NewNode, Node, RenameMode, SetAttr, SetTime,
    SyncKind, Timestamp, XattrMode,
};

use super::compare;
use super::state::{Expected, Id, Kind, Object, State, join};
use crate::dsl::{Dir, File, same_bytes, show};
use crate::random::Random;
use crate::tree::{Item, ItemKind, MTIME};
use crate::{Env, Failure, Features, Outcome};

/// Few names, so that operations meet; some of them awkward.
const NAMES: [&[u8]; 11] =
    [b"a", b"b", b"c", b"d", b"e", b"f", b"G", b"with space", b"\xff\xfe", b"name.ext", &[b'L'; 255]];
const XATTRS: [&[u8]; 3] = [b"user.one", b"user.two", b"user.three"];
/// Directories deeper than this get no subdirectories.
const DEPTH: usize = 5;
/// Objects in the tree at the start.
const INITIAL: u64 = 60;
/// Nodes held at a time.
const HELD: usize = 8;
/// How many operations a failure tells.
const TOLD: usize = 10;
/// The largest offset of a write.
const REACH: u64 = 40_000;
/// Operations between two comparisons of the whole tree.
const COMPARE_EVERY: u64 = 64;

pub(super) struct Run<'a> {
    env: &'a Env<'a>,
    /// None only while the filesystem is mounted again.
    base: Option<Dir>,
    state: State,
    random: Random,
    held: Vec<(Id, Node)>,
    told: VecDeque<String>,
}

impl<'a> Run<'a> {
    /// Draws a tree and mounts it.
    pub(super) fn start(env: &'a Env<'a>, seed: u64) -> Outcome<Self> {
        let mut random = Random::new(seed);
        let mut state = State::new(MTIME);
        for _ in 0..INITIAL {
            let dirs = shallow(&state);
            let (dir, name) = (*random.pick(&dirs), *random.pick(&NAMES));
            let links: Vec<_> = state.paths().into_iter().filter(|(id, _)| !state.objects[*id].is_dir()).collect();
            if env.has(Features::HARD_LINKS) && !links.is_empty() && random.one_in(8) {
                let linked = random.pick(&links).0;
                // A taken name is passed over.
                let _ = state.link(dir, name, linked, MTIME);
            } else {
                let kind = draw_kind(env, &mut random);
                let mode = draw_mode(&mut random);
                let _ = state.create(dir, name, Object::new(kind, mode, MTIME), MTIME);
            }
        }
        for object in &mut state.objects {
            object.ctime = None;
        }
        let base = mount(env, &state)?;
        Ok(Self { env, base: Some(base), state, random, held: Vec::new(), told: VecDeque::new() })
    }

    /// Does `ops` operations.
    pub(super) fn go(mut self, ops: u64) -> Outcome {
        let mut result = self.compare_all();
        for number in 0..ops {
            if result.is_err() {
                break;
            }
            self.env.clock.tick();
            result = self.step().and_then(|()| match (number + 1) % COMPARE_EVERY {
                0 => self.compare_all(),
                _ => Ok(()),
            });
            result = result.map_err(|failure| failure.while_doing(format!("operation {number}")));
        }
        result.and_then(|()| self.compare_all()).map_err(|failure| {
            let told: Vec<_> = self.told.iter().map(String::as_str).collect();
            failure.while_doing(format!("after\n    {}\n", told.join("\n    ")))
        })
    }

    fn compare_all(&self) -> Outcome {
        compare::tree(self.env, &self.state, self.base()?)?;
        for (id, node) in &self.held {
            compare::node(self.env, &self.state, *id, node).map_err(|failure| failure.while_doing("a held node"))?;
        }
        Ok(())
    }

    fn base(&self) -> Outcome<&Dir> {
        self.base.as_ref().ok_or_else(|| Failure::new("the last remount failed"))
    }

    fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    fn tell(&mut self, text: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(text);
    }

    /// A directory with a name, its path, and its node: looked up, or one that is held.
    fn dir(&mut self) -> Outcome<(Id, Vec<u8>, Dir)> {
        let dirs = self.state.dirs();
        let (id, path) = self.random.pick(&dirs).clone();
        if self.random.one_in(3)
            && let Some((_, Node::Dir(dir))) = self.held.iter().find(|(held, _)| *held == id)
        {
            return Ok((id, path, Dir(dir.clone())));
        }
        let node = self.base()?.dir(&path)?;
        Ok((id, path, node))
    }

    /// A node that `takes` takes: by a path, or one that is held and may have none.
    fn node(&mut self, takes: impl Fn(&Object) -> bool) -> Outcome<Option<(Id, String, Node)>> {
        if self.random.one_in(3) {
            let held: Vec<_> = self.held.iter().filter(|(id, _)| takes(&self.state.objects[*id])).cloned().collect();
            if !held.is_empty() {
                let (id, node) = self.random.pick(&held).clone();
                return Ok(Some((id, format!("held {id}"), node)));
            }
        }
        let paths: Vec<_> = self.state.paths().into_iter().filter(|(id, _)| takes(&self.state.objects[*id])).collect();
        if paths.is_empty() {
            return Ok(None);
        }
        let (id, path) = self.random.pick(&paths).clone();
        let node = self.base()?.at(&path)?;
        Ok(Some((id, format!("\"{}\"", show(&path)), node)))
    }

    fn file(&mut self) -> Outcome<Option<(Id, String, File)>> {
        let found = self.node(|object| matches!(object.kind, Kind::File(_)))?;
        Ok(match found {
            Some((id, told, Node::File(file))) => Some((id, told, File(file))),
            _ => None,
        })
    }

    fn step(&mut self) -> Outcome {
        match self.random.below(100) {
            0..16 => self.create(),
            16..21 => self.link(),
            21..29 => self.unlink(),
            29..34 => self.rmdir(),
            34..48 => self.rename(),
            48..62 => self.write(),
            62..67 => self.set_len(),
            67..71 => self.allocate(),
            71..76 => self.read(),
            76..83 => self.set_attr(),
            83..89 => self.xattr(),
            89..92 => self.list(),
            92..96 => self.hold(),
            96..98 => {
                if !self.held.is_empty() {
                    let position = self.random.below(self.held.len() as u64) as usize;
                    let (id, _) = self.held.swap_remove(position);
                    self.tell(format!("drop held {id}"));
                }
                Ok(())
            }
            _ => self.sync_or_remount(),
        }
    }

    fn create(&mut self) -> Outcome {
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

    fn link(&mut self) -> Outcome {
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

    fn unlink(&mut self) -> Outcome {
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

    fn rmdir(&mut self) -> Outcome {
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

    fn rename(&mut self) -> Outcome {
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
        let expected = self.state.rename((from, &name), (to, &new_name), mode, now);
        agree(result, expected)?;
        self.forget_unlinked(target);
        self.look(from, &name, &from_at)?;
        self.look(to, &new_name, &to_at)
    }

    /// Lets go of a node that lost its last name, where the filesystem does not keep such nodes alive.
    fn forget_unlinked(&mut self, gone: Option<Id>) {
        let Some(gone) = gone else { return };
        if self.state.objects[gone].names == 0 && !self.env.has(Features::OPEN_UNLINKED) {
            self.held.retain(|(id, _)| *id != gone);
        }
    }

    fn write(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let mut bytes = alloc::vec![0; 1 + self.random.below(9_000) as usize];
        self.random.fill(&mut bytes);
        let now = self.now();
        let offset = if self.random.one_in(3) {
            self.tell(format!("append {} bytes to {told}", bytes.len()));
            let (offset, written) = file.append(&bytes)?;
            crate::check_eq!((offset, written), (self.state.content(id).len() as u64, bytes.len()), "append");
            offset
        } else {
            let offset = self.random.below(REACH);
            self.tell(format!("write {} bytes at {offset} to {told}", bytes.len()));
            file.put(offset, &bytes)?;
            offset
        };
        self.state.write(id, offset as usize, &bytes, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    fn set_len(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let (len, now) = (if self.random.one_in(4) { 0 } else { self.random.below(REACH) }, self.now());
        self.tell(format!("set_len {len} of {told}"));
        file.set_len(len)?;
        self.state.set_len(id, len as usize, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    fn allocate(&mut self) -> Outcome {
        let mut modes = Vec::new();
        for (feature, offered) in [
            (Features::ALLOCATE, [AllocateMode::Extend, AllocateMode::KeepSize]),
            (Features::PUNCH_HOLE, [AllocateMode::PunchHole; 2]),
            (Features::ZERO_RANGE, [AllocateMode::ZeroRange, AllocateMode::ZeroRangeKeepSize]),
        ] {
            if self.env.has(feature) {
                modes.extend(offered);
            }
        }
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        if modes.is_empty() {
            return Ok(());
        }
        let mode = *self.random.pick(&modes);
        let (offset, len, now) = (self.random.below(REACH), 1 + self.random.below(15_000), self.now());
        self.tell(format!("allocate {mode:?} {offset}+{len} of {told}"));
        file.allocate(mode, offset, len)?;
        self.state.allocate(id, mode, offset as usize, len as usize, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    fn read(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let (offset, len) = (self.random.below(REACH) as usize, self.random.below(10_000) as usize);
        self.tell(format!("read {len} bytes at {offset} of {told}"));
        let mut buf = alloc::vec![0xa5; len];
        let read = file.read_at(offset as u64, &mut buf)?;
        let content = self.state.content(id);
        let rest = content.get(offset..).unwrap_or_default();
        same_bytes("read", &buf[..read], &rest[..rest.len().min(len)])
    }

    fn set_attr(&mut self) -> Outcome {
        let Some((id, told, node)) = self.node(|_| true)? else { return Ok(()) };
        let now = self.now();
        let mut change = SetAttr::default();
        let object = &mut self.state.objects[id];
        if self.random.one_in(2) && !matches!(object.kind, Kind::Symlink(_)) {
            object.mode = draw_mode(&mut self.random);
            change.mode = Some(object.mode);
        }
        if self.random.one_in(3) {
            object.uid = self.random.below(100_000) as u32;
            change.uid = Some(object.uid);
        }
        if self.random.one_in(3) {
            object.gid = self.random.below(100_000) as u32;
            change.gid = Some(object.gid);
        }
        if self.random.one_in(3) {
            let nanos = self.random.below(1_000_000_000) as u32;
            object.mtime = Timestamp { secs: self.random.below(4_000_000_000) as i64, nanos };
            change.mtime = Some(SetTime::At(object.mtime));
        }
        self.state.changed(id, now);
        self.tell(format!("set_attr {change:?} of {told}"));
        node.ops().set_attr(&change)?;
        compare::object(self.env, &self.state, id, &node)
    }

    fn xattr(&mut self) -> Outcome {
        let has_any = |object: &Object| matches!(object.kind, Kind::File(_) | Kind::Dir { .. });
        let Some((id, told, node)) = self.node(has_any)? else { return Ok(()) };
        if !self.env.has(Features::USER_XATTRS) {
            return Ok(());
        }
        let (name, now) = (*self.random.pick(&XATTRS), self.now());
        let is_there = self.state.objects[id].xattrs.contains_key(name);
        if self.random.one_in(3) {
            self.tell(format!("remove_xattr {} of {told}", show(name)));
            let expected: Expected = if is_there { Ok(()) } else { Err(&[Errno::ENODATA]) };
            agree(node.ops().remove_xattr(name), expected)?;
            self.state.objects[id].xattrs.remove(name);
        } else {
            let mut value = alloc::vec![0; self.random.below(200) as usize];
            self.random.fill(&mut value);
            let mode = *self.random.pick(&[XattrMode::Set, XattrMode::Set, XattrMode::Create, XattrMode::Replace]);
            self.tell(format!("set_xattr {} {mode:?} {} bytes of {told}", show(name), value.len()));
            let expected: Expected = match (mode, is_there) {
                (XattrMode::Create, true) => Err(&[Errno::EEXIST]),
                (XattrMode::Replace, false) => Err(&[Errno::ENODATA]),
                _ => Ok(()),
            };
            if agree(node.ops().set_xattr(name, &value, mode), expected)?.is_none() {
                return compare::node(self.env, &self.state, id, &node);
            }
            self.state.objects[id].xattrs.insert(name.to_vec(), value);
            self.state.changed(id, now);
            return compare::node(self.env, &self.state, id, &node);
        }
        if is_there {
            self.state.changed(id, now);
        }
        compare::node(self.env, &self.state, id, &node)
    }

    fn list(&mut self) -> Outcome {
        let (dir, path, at) = self.dir()?;
        self.tell(format!("list \"{}\"", show(&path)));
        compare::listing(&self.state, dir, &at)
    }

    fn hold(&mut self) -> Outcome {
        if self.held.len() >= HELD {
            return Ok(());
        }
        if let Some((id, told, node)) = self.node(|_| true)? {
            self.tell(format!("hold {id}, {told}"));
            self.held.push((id, node));
        }
        Ok(())
    }

    fn sync_or_remount(&mut self) -> Outcome {
        if self.env.has(Features::REMOUNT) && self.random.one_in(3) {
            self.tell("remount".into());
            self.held.clear();
            // Nothing of the filesystem may be in use: the base goes, too.
            self.base = None;
            self.base = Some(self.env.remount()?);
            return self.compare_all();
        }
        self.tell("sync".into());
        if let Some((_, _, node)) = self.node(|_| true)? {
            node.ops().sync(SyncKind::All)?;
        }
        Ok(self.env.fs()?.sync()?)
    }

    /// Compares what is at a name.
    fn look(&self, dir: Id, name: &[u8], at: &Dir) -> Outcome {
        match self.state.find(dir, name) {
            Some(id) => compare::object(self.env, &self.state, id, &at.at(name)?)?,
            None => at.absent(name)?,
        }
        compare::object(self.env, &self.state, dir, &Node::Dir(at.0.clone()))
    }
}

/// Whether the result is what was expected; the value, if it was to succeed.
fn agree<T>(result: Result<T, Error>, expected: Expected) -> Outcome<Option<T>> {
    match (result, expected) {
        (Ok(value), Ok(())) => Ok(Some(value)),
        (Err(error), Err(errnos)) if errnos.contains(&error.errno()) => Ok(None),
        (Err(error), expected) => Err(Failure::new(format!("{error:?} instead of {expected:?}"))),
        (Ok(_), Err(errnos)) => Err(Failure::new(format!("succeeded instead of {errnos:?}"))),
    }
}

/// The directories that may get subdirectories.
fn shallow(state: &State) -> Vec<Id> {
    let depth = |path: &[u8]| path.split(|&byte| byte == b'/').count();
    state.dirs().into_iter().filter(|(_, path)| depth(path) < DEPTH).map(|(id, _)| id).collect()
}

fn draw_mode(random: &mut Random) -> u16 {
    *random.pick(&[0o644, 0o600, 0o755, 0o4755, 0o1777, 0o2750, 0])
}

fn draw_kind(env: &Env<'_>, random: &mut Random) -> Kind {
    match random.below(10) {
        0..5 => {
            let mut content = alloc::vec![0; random.below(6_000) as usize];
            random.fill(&mut content);
            Kind::File(content)
        }
        5..8 => Kind::Dir { entries: BTreeMap::new(), parent: None },
        8 if env.has(Features::DEVICES) => match random.one_in(2) {
            true => Kind::Fifo,
            false => Kind::CharDevice(DeviceNumber::new(1, 3)),
        },
        _ => Kind::Symlink(random.pick(&[&b"a"[..], b"../b", b"/absolute/path", &[b't'; 300]]).to_vec()),
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

/// Mounts a filesystem with the model's tree.
fn mount(env: &Env<'_>, state: &State) -> Outcome<Dir> {
    let paths = state.paths();
    let mut first = BTreeMap::new();
    let mut items = Vec::new();
    for (id, path) in &paths {
        let object = &state.objects[*id];
        let kind = match (first.get(id), &object.kind) {
            (Some(&target), _) => ItemKind::HardLink(target),
            (None, Kind::File(content)) => ItemKind::Plain(content),
            (None, Kind::Dir { .. }) => ItemKind::Dir,
            (None, Kind::Symlink(target)) => ItemKind::Symlink(target),
            (None, Kind::CharDevice(number)) => ItemKind::CharDevice(*number),
            (None, Kind::Fifo) => ItemKind::Fifo,
        };
        first.entry(*id).or_insert(path.as_slice());
        items.push(Item::new(path, kind).mode(object.mode).mtime(object.mtime));
    }
    Ok(env.start(&items)?)
}
