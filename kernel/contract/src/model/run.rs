//! One run: draws operations and compares. The operations themselves are in `names` and `contents`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use vfs::{Clock, DeviceNumber, Error, Node, SyncKind, Timestamp};

use super::compare;
use super::state::{Expected, Id, Kind, Object, State};
use crate::dsl::{Dir, File, show};
use crate::random::Random;
use crate::tree::{Item, ItemKind, MTIME};
use crate::{Env, Failure, Features, Outcome};

/// Few names, so that operations meet; some of them awkward.
pub(super) const NAMES: [&[u8]; 11] =
    [b"a", b"b", b"c", b"d", b"e", b"f", b"G", b"with space", b"\xff\xfe", b"name.ext", &[b'L'; 255]];
pub(super) const XATTRS: [&[u8]; 3] = [b"user.one", b"user.two", b"user.three"];
/// Directories deeper than this get no subdirectories.
pub(super) const DEPTH: usize = 5;
/// Objects in the tree at the start.
const INITIAL: u64 = 60;
/// Nodes held at a time.
const HELD: usize = 8;
/// How many operations a failure tells.
const TOLD: usize = 10;
/// The largest offset of a write.
pub(super) const REACH: u64 = 40_000;
/// Operations between two comparisons of the whole tree.
const COMPARE_EVERY: u64 = 64;

pub(super) struct Run<'a> {
    pub(super) env: &'a Env<'a>,
    /// None only while the filesystem is mounted again.
    base: Option<Dir>,
    pub(super) state: State,
    pub(super) random: Random,
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

    pub(super) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    pub(super) fn tell(&mut self, text: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(text);
    }

    /// A directory with a name, its path, and its node: looked up, or one that is held.
    pub(super) fn dir(&mut self) -> Outcome<(Id, Vec<u8>, Dir)> {
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
    pub(super) fn node(&mut self, takes: impl Fn(&Object) -> bool) -> Outcome<Option<(Id, String, Node)>> {
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

    pub(super) fn file(&mut self) -> Outcome<Option<(Id, String, File)>> {
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

    /// Lets go of a node that lost its last name, where the filesystem does not keep such nodes alive.
    pub(super) fn forget_unlinked(&mut self, gone: Option<Id>) {
        let Some(gone) = gone else { return };
        if self.state.objects[gone].names == 0 && !self.env.has(Features::OPEN_UNLINKED) {
            self.held.retain(|(id, _)| *id != gone);
        }
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
    pub(super) fn look(&self, dir: Id, name: &[u8], at: &Dir) -> Outcome {
        match self.state.find(dir, name) {
            Some(id) => compare::object(self.env, &self.state, id, &at.at(name)?)?,
            None => at.absent(name)?,
        }
        compare::object(self.env, &self.state, dir, &Node::Dir(at.0.clone()))
    }
}

/// Whether the result is what was expected; the value, if it was to succeed.
pub(super) fn agree<T>(result: Result<T, Error>, expected: Expected) -> Outcome<Option<T>> {
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

pub(super) fn draw_mode(random: &mut Random) -> u16 {
    *random.pick(&[0o644, 0o600, 0o755, 0o4755, 0o1777, 0o2750, 0])
}

pub(super) fn draw_kind(env: &Env<'_>, random: &mut Random) -> Kind {
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
