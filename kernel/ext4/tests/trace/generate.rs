//! Random operations over a tree that is known: most make sense, some must fail.

use std::collections::BTreeMap;

use contract::random::Random;
use vfs::{AllocateMode, RenameMode, Timestamp, XattrMode};

use crate::op::{Answer, Data, Device, Op, Path, split};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Dir,
    Symlink,
    Special,
    Whiteout,
}

pub struct Generator {
    random: Random,
    small_inodes: bool,
    nodes: BTreeMap<Path, Kind>,
    held: usize,
    made: u64,
}

const XATTRS: [&str; 6] =
    ["user.a", "user.mime_type", "trusted.overlay.opaque", "trusted.x", "security.thing", "user.longer.name.of.it"];
/// Nodes beyond which more is removed than made.
const MANY: usize = 220;

impl Generator {
    pub fn new(seed: u64, small_inodes: bool) -> Self {
        let nodes = BTreeMap::from([(Vec::new(), Kind::Dir)]);
        Self { random: Random::new(seed), small_inodes, nodes, held: 0, made: 0 }
    }

    /// All files that were held have been let go.
    pub fn released(&mut self) {
        self.held = 0;
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn any(&mut self, takes: impl Fn(Kind) -> bool) -> Option<Path> {
        let paths: Vec<&Path> = self.nodes.iter().filter(|(_, kind)| takes(**kind)).map(|(path, _)| path).collect();
        if paths.is_empty() {
            return None;
        }
        Some(paths[self.random.below(paths.len() as u64) as usize].clone())
    }

    fn any_file(&mut self) -> Path {
        self.any(|kind| kind == Kind::File).unwrap_or_else(|| b"no file".to_vec())
    }

    fn any_but_whiteouts(&mut self) -> Path {
        self.any(|kind| kind != Kind::Whiteout).unwrap_or_default()
    }

    /// Anything but the root.
    fn any_node(&mut self) -> Path {
        for _ in 0..8 {
            match self.any(|_| true) {
                Some(path) if !path.is_empty() => return path,
                _ => {}
            }
        }
        b"no node".to_vec()
    }

    /// A path for something new: mostly free, now and then taken, or below what is no directory.
    fn new_path(&mut self) -> Path {
        if self.random.one_in(25) {
            return self.any_node();
        }
        let mut path = if self.random.one_in(60) {
            // Not below a symbolic link, which Linux would follow.
            self.any(|kind| kind != Kind::Symlink).unwrap_or_default()
        } else {
            // One directory gets many entries, for its index's sake.
            let busy = b"busy".to_vec();
            if self.random.one_in(3) && self.nodes.get(&busy) == Some(&Kind::Dir) {
                busy
            } else {
                self.any(|kind| kind == Kind::Dir).unwrap_or_default()
            }
        };
        if path.split(|&byte| byte == b'/').count() > 6 {
            path.clear();
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        self.made += 1;
        let mut name = if self.random.one_in(4) {
            format!("{}", self.random.below(40)).into_bytes()
        } else {
            format!("n{}", self.made).into_bytes()
        };
        match self.random.below(12) {
            0 => name.resize(255, b'x'),
            1..=3 => {
                let len = name.len() + self.below(90);
                name.resize(len, 0xc3);
            }
            _ => {}
        }
        path.extend_from_slice(&name);
        path
    }

    fn data(&mut self, most: usize) -> Data {
        let len = match self.random.below(4) {
            0 => self.below(64) + 1,
            1 => self.below(5000) + 1,
            2 => (self.below(most / 1024) + 1) * 1024,
            _ => self.below(most) + 1,
        };
        Data { seed: self.random.next(), len }
    }

    fn offset(&mut self) -> u64 {
        match self.random.below(20) {
            0 => self.random.below(1 << 36),
            1..=4 => 0,
            5..=9 => self.random.below(64) * 4096,
            10..=14 => self.random.below(256) * 1024,
            _ => self.random.below(256 * 1024),
        }
    }

    fn time(&mut self) -> Option<Timestamp> {
        if self.random.one_in(4) {
            return None;
        }
        let range = match self.random.below(if self.small_inodes { 2 } else { 4 }) {
            0 => -2_000_000_000..-1_000_000,
            1 => 1_000_000..900_000_000,
            2 => 2_200_000_000..4_200_000_000,
            _ => 4_300_000_000..15_000_000_000_i64,
        };
        let secs = range.start + self.random.below((range.end - range.start) as u64) as i64;
        Some(Timestamp { secs, nanos: self.random.below(1_000_000_000) as u32 })
    }

    fn permissions(&mut self) -> u16 {
        self.random.below(0o1000) as u16
    }

    /// The next operation.
    pub fn next(&mut self) -> Op {
        if self.made == 0 {
            self.made = 1;
            return Op::Mkdir(b"busy".to_vec(), 0o755);
        }
        let crowded = self.nodes.len() > MANY;
        match self.random.below(100) {
            0..=9 if crowded => Op::Unlink(self.any_node()),
            10..=13 if crowded => Op::Rmdir(self.any_dir()),
            0..=9 => Op::Create(self.new_path(), self.permissions()),
            10..=13 => Op::Mkdir(self.new_path(), self.permissions()),
            14..=16 => {
                let len = match self.random.below(4) {
                    0 => self.below(900) + 60,
                    1 => 57 + self.below(6),
                    _ => self.below(59) + 1,
                };
                Op::Symlink(self.new_path(), vec![b'a' + (len % 26) as u8; len])
            }
            17..=19 => {
                let path = self.new_path();
                let (major, minor) = (self.random.below(4096) as u32, self.random.below(1 << 20) as u32);
                let device = match self.random.below(6) {
                    0 => Device::Char(0, 0),
                    1 => Device::Char(major, minor),
                    2 => Device::Block(major, minor),
                    3 => Device::Block(major % 256, minor % 256),
                    4 => Device::Fifo,
                    _ => Device::Socket,
                };
                Op::Mknod(path, device, self.permissions())
            }
            20..=31 => Op::Write(self.any_file(), self.offset(), self.data(100_000)),
            32..=35 => Op::Append(self.any_file(), self.data(60_000)),
            36..=39 => Op::Truncate(self.any_file(), self.offset()),
            40..=45 => {
                let modes = [
                    AllocateMode::Extend,
                    AllocateMode::KeepSize,
                    AllocateMode::PunchHole,
                    AllocateMode::PunchHole,
                    AllocateMode::ZeroRange,
                    AllocateMode::ZeroRangeKeepSize,
                ];
                let how = *self.random.pick(&modes);
                let len = if self.random.one_in(2) { self.random.below(64) * 1024 } else { self.random.below(150_000) };
                Op::Allocate(self.any_file(), how, self.offset(), len + 1)
            }
            46..=49 => Op::Read(self.any_file(), self.offset(), self.below(100_000) + 1),
            50 => Op::ReadLink(self.any(|kind| kind == Kind::Symlink).unwrap_or_default()),
            51 => Op::List(self.any(|kind| kind == Kind::Dir).unwrap_or_default()),
            52..=54 => Op::Link(self.any_node(), self.new_path()),
            55..=64 => self.rename(),
            65..=66 => self.rename_whiteout(),
            67..=71 => Op::Unlink(self.any_node()),
            72..=73 => Op::Rmdir(self.any_node()),
            // Whiteouts may share an inode: their attributes are left alone.
            74..=76 => match self.any(|kind| !matches!(kind, Kind::Symlink | Kind::Whiteout)) {
                Some(path) => Op::Chmod(path, self.random.below(0o10000) as u16),
                None => Op::Sync,
            },
            77..=79 => {
                let path = self.any_but_whiteouts();
                let bits = match self.nodes.get(&path) {
                    Some(Kind::Symlink) => None,
                    _ => Some(self.random.below(0o10000) as u16),
                };
                let ids = [0, 1, 1000, 65_534, 65_536, 70_000, u32::MAX - 1];
                Op::Chown(path, *self.random.pick(&ids), *self.random.pick(&ids), bits)
            }
            80..=83 => Op::Utimens(self.any_but_whiteouts(), self.time(), self.time()),
            84..=88 => {
                let path = self.any(|kind| matches!(kind, Kind::File | Kind::Dir)).unwrap_or_default();
                let name = XATTRS[self.below(XATTRS.len())];
                let len = match self.random.below(4) {
                    0 => 0,
                    1 => self.below(20),
                    2 => self.below(100),
                    _ => self.below(400),
                };
                let how = *self.random.pick(&[XattrMode::Set, XattrMode::Set, XattrMode::Create, XattrMode::Replace]);
                Op::SetXattr(path, name, Data { seed: self.random.next(), len }, how)
            }
            89..=90 => {
                let path = self.any(|kind| matches!(kind, Kind::File | Kind::Dir)).unwrap_or_default();
                Op::RemoveXattr(path, XATTRS[self.below(XATTRS.len())])
            }
            91..=92 => Op::Unnamed(self.new_path(), self.data(40_000)),
            93..=94 if self.held < 6 => Op::Hold(self.any_file()),
            93..=97 if self.held > 0 => {
                let index = self.below(self.held);
                match self.random.below(4) {
                    0 => Op::HeldRelease(index),
                    1 => Op::HeldRead(index, self.offset(), self.below(50_000) + 1),
                    _ => Op::HeldWrite(index, self.offset(), self.data(30_000)),
                }
            }
            _ => Op::Sync,
        }
    }

    fn rename(&mut self) -> Op {
        let old = self.any_node();
        let how =
            *self.random.pick(&[RenameMode::Replace, RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
        let onto = how == RenameMode::Exchange || self.random.one_in(3);
        let new = if onto && !self.random.one_in(8) { self.any_node() } else { self.new_path() };
        // A directory below itself is the namespace's to refuse, and so is what it says of one path given twice.
        if below(&old, &new) || below(&new, &old) || old == new {
            return Op::Sync;
        }
        Op::Rename(old, new, how)
    }

    fn rename_whiteout(&mut self) -> Op {
        let (old, new) = (self.any_node(), self.new_path());
        let (from, onto) = (self.nodes.get(&old), self.nodes.get(&new));
        // What a plain rename and one in an overlay's upper do alike.
        let alike = match (from, onto) {
            (_, None) => true,
            (Some(Kind::Dir), Some(_)) | (Some(_), Some(Kind::Dir)) => false,
            _ => true,
        };
        if !alike || below(&old, &new) || below(&new, &old) || old == new {
            return Op::Sync;
        }
        Op::RenameWhiteout(old, new)
    }

    /// A directory that is not the root.
    fn any_dir(&mut self) -> Path {
        match self.any(|kind| kind == Kind::Dir) {
            Some(path) if !path.is_empty() => path,
            _ => b"no directory".to_vec(),
        }
    }

    /// Takes over what an operation did.
    pub fn learn(&mut self, op: &Op, answer: &Answer) {
        if matches!(answer, Answer::Errno(_)) {
            return;
        }
        let mut insert = |path: &Path, kind| self.nodes.insert(path.clone(), kind);
        match op {
            Op::Create(path, _) | Op::Unnamed(path, _) => drop(insert(path, Kind::File)),
            Op::Mkdir(path, _) => drop(insert(path, Kind::Dir)),
            Op::Symlink(path, _) => drop(insert(path, Kind::Symlink)),
            Op::Mknod(path, Device::Char(0, 0), _) => drop(insert(path, Kind::Whiteout)),
            Op::Mknod(path, ..) => drop(insert(path, Kind::Special)),
            Op::Link(old, new) => {
                if let Some(kind) = self.nodes.get(old).copied() {
                    self.nodes.insert(new.clone(), kind);
                }
            }
            Op::Unlink(path) | Op::Rmdir(path) => drop(self.nodes.remove(path)),
            // Two names of one inode stay as they are, which cannot be told from here: both are kept, and a name that is
            // gone makes an operation that fails on both sides.
            Op::Rename(old, new, RenameMode::Exchange) => {
                let (a, b) = (self.take(old), self.take(new));
                self.put(a, new);
                self.put(b, old);
            }
            Op::Rename(old, new, _) => {
                let moved = self.take(old);
                self.take(new);
                self.put(moved, new);
            }
            Op::RenameWhiteout(old, new) => {
                let moved = self.take(old);
                self.take(new);
                self.put(moved, new);
                self.nodes.insert(old.clone(), Kind::Whiteout);
            }
            Op::Hold(_) => self.held += 1,
            Op::HeldRelease(_) => self.held -= 1,
            _ => {}
        }
        debug_assert!(self.nodes.keys().all(|path| path.is_empty() || self.nodes.contains_key(split(path).0)));
    }

    /// Removes a node and all below it; gives them with the rest of their paths.
    fn take(&mut self, path: &Path) -> Vec<(Path, Kind)> {
        let all: Vec<Path> = self.nodes.keys().filter(|other| *other == path || below(path, other)).cloned().collect();
        all.into_iter()
            .filter_map(|other| {
                let kind = self.nodes.remove(&other)?;
                Some((other[path.len()..].to_vec(), kind))
            })
            .collect()
    }

    fn put(&mut self, nodes: Vec<(Path, Kind)>, at: &Path) {
        for (rest, kind) in nodes {
            let mut path = at.clone();
            path.extend_from_slice(&rest);
            self.nodes.insert(path, kind);
        }
    }
}

/// Whether `path` is below `dir`.
fn below(dir: &[u8], path: &[u8]) -> bool {
    path.len() > dir.len() && path.starts_with(dir) && path[dir.len()] == b'/'
}
