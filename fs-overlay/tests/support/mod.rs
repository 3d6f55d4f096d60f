//! What the tests of the overlay share: trees by path, layers in memory, and dumps that can be compared.
#![expect(dead_code, reason = "each test uses its part")]

pub(crate) mod disk;
pub(crate) mod linux;
pub(crate) mod ops;
pub(crate) mod random;
pub(crate) mod shortest;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use fs_overlay::{Layer, Layers, Options, OverlayFs, SHARED_RANK, watch_locks};
use ramfs::RamFs;
use vfs::{
    Cookie, DirEntry, DirOps, Errno, Expect, FileOps, FileSystem, FileType, FsContext, InodeFlags, Name, NewKind,
    NewNode, Node, OpenIntent, RenameMode, RenameOp, Result, Timestamp, XattrMode,
};

/// The time of everything in a layer before the test begins.
pub(crate) const OLD: Timestamp = Timestamp { secs: 1_000_000_000, nanos: 123_456_789 };

/// A clock that moves by itself, so that no two changes are at one time.
pub(crate) fn clock() -> Arc<dyn vfs::Clock> {
    static NOW: AtomicI64 = AtomicI64::new(1_700_000_000);
    Arc::new(|| Timestamp { secs: NOW.fetch_add(1, Ordering::Relaxed), nanos: 5 })
}

thread_local! {
    /// Which of the threads that a test schedules itself on this one is running.
    pub(crate) static TASK: Cell<fn() -> usize> = const { Cell::new(|| 0) };
    /// The numbers of the overlay's locks that each of them holds.
    static HELD: RefCell<BTreeMap<usize, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Has every lock that any thread takes checked against those it holds.
fn check_lock_order() {
    let wanted = |number: u8| {
        HELD.with_borrow_mut(|held| {
            let held = held.entry(TASK.get()()).or_default();
            let is_inner = |&other: &u8| other < number || (other == number && number % 16 == SHARED_RANK);
            assert!(held.iter().all(is_inner), "lock {number} is wanted under {held:?}");
            held.push(number);
        });
    };
    let released = |number: u8| {
        HELD.with_borrow_mut(|held| {
            let held = held.entry(TASK.get()()).or_default();
            let last = held.iter().rposition(|&other| other == number).expect("a lock that is let go was taken");
            held.remove(last);
        });
    };
    watch_locks(wanted, released);
}

/// A context with a device of its own.
pub(crate) fn context() -> FsContext {
    check_lock_order();
    static DEV: AtomicU64 = AtomicU64::new(0x100);
    FsContext { dev: DEV.fetch_add(1, Ordering::Relaxed), clock: clock() }
}

/// A filesystem in memory with a UUID of its own.
pub(crate) fn ram() -> Arc<RamFs> {
    ram_of_size(None)
}

/// The same with a limit in bytes.
pub(crate) fn ram_of_size(size_limit: Option<u64>) -> Arc<RamFs> {
    let context = context();
    let mut uuid = [0xee; 16];
    uuid[..8].copy_from_slice(&context.dev.to_le_bytes());
    RamFs::new(context, &ramfs::Options { uuid, size_limit, ..Default::default() }).unwrap()
}

/// An overlay of whole filesystems with the default options.
pub(crate) fn overlay(upper: &Arc<dyn FileSystem>, lowers: &[Arc<dyn FileSystem>]) -> Arc<OverlayFs> {
    overlay_with(upper, lowers, Options::default())
}

/// An overlay of whole filesystems.
pub(crate) fn overlay_with(
    upper: &Arc<dyn FileSystem>,
    lowers: &[Arc<dyn FileSystem>],
    options: Options,
) -> Arc<OverlayFs> {
    let layers = Layers {
        upper: Some(Layer::of(upper.clone())),
        work: None,
        lowers: lowers.iter().cloned().map(Layer::of).collect(),
    };
    OverlayFs::mount(context(), layers, options).unwrap()
}

/// A lower and an upper in memory with the overlay over them.
pub(crate) struct Rig {
    pub(crate) lower: Arc<dyn FileSystem>,
    pub(crate) upper: Arc<dyn FileSystem>,
    pub(crate) fs: Arc<OverlayFs>,
}

impl Rig {
    /// Builds the lower with `build` first.
    pub(crate) fn new(build: impl FnOnce(&Tree)) -> Self {
        let lower: Arc<dyn FileSystem> = ram();
        build(&Tree::of(&*lower));
        let upper: Arc<dyn FileSystem> = ram();
        let fs = overlay(&upper, std::slice::from_ref(&lower));
        Self { lower, upper, fs }
    }

    /// The merged tree.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&*self.fs)
    }

    /// The upper layer as it is.
    pub(crate) fn raw(&self) -> Tree {
        Tree::of(&*self.upper)
    }

    /// Unmounts and mounts again.
    pub(crate) fn remount(&mut self) {
        self.fs.unmount().unwrap();
        self.fs = overlay(&self.upper, std::slice::from_ref(&self.lower));
    }
}

/// A filesystem by paths. Symbolic links are not followed.
#[derive(Clone)]
pub(crate) struct Tree(pub(crate) Arc<dyn DirOps>);

pub(crate) fn name(bytes: &str) -> Name<'_> {
    Name::new(bytes.as_bytes()).unwrap()
}

impl Tree {
    pub(crate) fn of(fs: &dyn FileSystem) -> Self {
        Self(fs.root())
    }

    /// The node at a path; `""` is the root.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Node>> {
        let mut node = Node::Dir(self.0.clone());
        for part in path.split('/').filter(|part| !part.is_empty()) {
            // A symbolic link of these tests leads nowhere.
            let dir = match &node {
                Node::Symlink(_) => return Err(Errno::ENOENT.into()),
                node => node.as_dir()?.clone(),
            };
            match dir.lookup(name(part))? {
                Some(next) => node = next,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    pub(crate) fn get(&self, path: &str) -> Result<Node> {
        self.find(path)?.ok_or_else(|| Errno::ENOENT.into())
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.find(path).unwrap().is_some()
    }

    pub(crate) fn dir(&self, path: &str) -> Result<Arc<dyn DirOps>> {
        match self.get(path)? {
            Node::Symlink(_) => Err(Errno::ENOENT.into()),
            node => node.as_dir().cloned(),
        }
    }

    /// The directory that holds the last component, and this.
    pub(crate) fn parent<'a>(&self, path: &'a str) -> Result<(Arc<dyn DirOps>, Name<'a>)> {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.dir(parent)?, name(last)))
    }

    pub(crate) fn file(&self, path: &str) -> Result<Arc<dyn FileOps>> {
        match self.get(path)? {
            Node::Symlink(_) => Err(Errno::ELOOP.into()),
            node => node.as_file().cloned(),
        }
    }

    pub(crate) fn create(&self, path: &str, new: &NewNode<'_>) -> Result<Node> {
        let (dir, last) = self.parent(path)?;
        dir.create(last, new)
    }

    pub(crate) fn mkdir(&self, path: &str) -> Result<()> {
        self.create(path, &NewNode::new(NewKind::Dir, 0o755)).map(drop)
    }

    pub(crate) fn symlink(&self, path: &str, target: &str) -> Result<()> {
        self.create(path, &NewNode::new(NewKind::Symlink(target.as_bytes()), 0o777)).map(drop)
    }

    /// Makes a file with this content, or opens it with `O_TRUNC` and writes it.
    pub(crate) fn put(&self, path: &str, data: &str) -> Result<()> {
        let (dir, last) = self.parent(path)?;
        let file = match dir.lookup(last)? {
            Some(node) => node.as_file()?.clone(),
            None => dir.create(last, &NewNode::new(NewKind::File, 0o644))?.as_file()?.clone(),
        };
        file.prepare_open(OpenIntent::Truncate)?;
        write_all(&*file, 0, data.as_bytes())
    }

    pub(crate) fn append(&self, path: &str, data: &str) -> Result<()> {
        let file = self.file(path)?;
        file.prepare_open(OpenIntent::Write)?;
        file.append(data.as_bytes()).map(drop)
    }

    pub(crate) fn read(&self, path: &str) -> Result<String> {
        read_all(&*self.file(path)?).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    pub(crate) fn unlink(&self, path: &str) -> Result<()> {
        let (dir, last) = self.parent(path)?;
        dir.remove(last, Expect::NonDir)
    }

    pub(crate) fn rmdir(&self, path: &str) -> Result<()> {
        let (dir, last) = self.parent(path)?;
        dir.remove(last, Expect::EmptyDir)
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.rename_with(from, to, RenameMode::Replace)
    }

    pub(crate) fn exchange(&self, from: &str, to: &str) -> Result<()> {
        self.rename_with(from, to, RenameMode::Exchange)
    }

    pub(crate) fn rename_with(&self, from: &str, to: &str, mode: RenameMode) -> Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        from_dir.rename(&RenameOp { name: from_name, to: &to_dir, new_name: to_name, mode })
    }

    pub(crate) fn link(&self, from: &str, to: &str) -> Result<()> {
        let node = self.get(from)?;
        let (dir, last) = self.parent(to)?;
        dir.link(last, &node)
    }

    pub(crate) fn whiteout(&self, path: &str) {
        let device = NewKind::CharDevice(vfs::DeviceNumber::new(0, 0));
        self.create(path, &NewNode::new(device, 0)).unwrap();
    }

    pub(crate) fn set_xattr(&self, path: &str, attribute: &str, value: &[u8]) -> Result<()> {
        self.get(path)?.ops().set_xattr(attribute.as_bytes(), value, XattrMode::Set)
    }

    pub(crate) fn flags(&self, path: &str) -> InodeFlags {
        self.get(path).unwrap().attr().unwrap().flags.unwrap() & InodeFlags::COMMON
    }

    pub(crate) fn set_flags(&self, path: &str, flags: InodeFlags) -> Result<()> {
        self.get(path)?.ops().set_flags(flags, None)
    }

    pub(crate) fn xattr(&self, path: &str, attribute: &str) -> Option<Vec<u8>> {
        self.get(path).unwrap().ops().xattr(attribute.as_bytes()).unwrap()
    }

    /// What tools show as the layer.
    pub(crate) fn layer(&self, path: &str) -> String {
        String::from_utf8(self.xattr(path, "system.strata.layer").unwrap()).unwrap()
    }

    pub(crate) fn ino(&self, path: &str) -> u64 {
        self.get(path).unwrap().attr().unwrap().ino
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = entries(&*self.dir(path).unwrap()).into_iter().map(|(name, ..)| name).collect();
        names.sort();
        names
    }

    /// Everything below the root, one line an entry; checks on the way that listings agree with lookups.
    pub(crate) fn dump(&self, detail: Detail) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        lines.insert("/".into(), describe(&Node::Dir(self.0.clone()), detail));
        dump_dir(&*self.0, "", detail, &mut lines);
        lines
    }
}

/// How much a dump tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What users of the overlay see.
    Merged,
    /// What is on the upper, with the overlay's own attributes.
    Raw,
    /// What users see of the content, without times and links.
    Content,
}

fn dump_dir(dir: &dyn DirOps, path: &str, detail: Detail, lines: &mut BTreeMap<String, String>) {
    for (name, ino, kind) in entries(dir) {
        let path = format!("{path}/{name}");
        let node = dir.lookup(Name::new(name.as_bytes()).unwrap()).unwrap();
        let node = node.unwrap_or_else(|| panic!("{path} is listed, but not found"));
        let attr = node.attr().unwrap();
        assert_eq!(attr.ino, ino, "d_ino of {path}");
        assert_eq!(attr.kind, kind, "d_type of {path}");
        assert_eq!((attr.dev, attr.ino), (node.id().dev, node.id().ino), "identity of {path}");
        let line = describe(&node, detail);
        assert!(lines.insert(path.clone(), line).is_none(), "{path} is listed twice");
        if let Node::Dir(dir) = node {
            dump_dir(&*dir, &path, detail, lines);
        }
    }
}

/// The entries of a directory, read a few at a time.
pub(crate) fn entries(dir: &dyn DirOps) -> Vec<(String, u64, FileType)> {
    let mut found = Vec::new();
    let mut from = Cookie::START;
    loop {
        let mut taken = 0;
        dir.read_dir(from, &mut |entry: &DirEntry<'_>| {
            if taken == 7 {
                return ControlFlow::Break(());
            }
            taken += 1;
            from = entry.next;
            let name = String::from_utf8(entry.name.as_bytes().to_vec()).unwrap();
            found.push((name, entry.ino, entry.kind));
            ControlFlow::Continue(())
        })
        .unwrap();
        if taken < 7 {
            return found;
        }
    }
}

fn describe(node: &Node, detail: Detail) -> String {
    let attr = node.attr().unwrap();
    let mut xattrs = BTreeMap::new();
    let mut names = Vec::new();
    node.ops().list_xattrs(&mut |name| names.push(name.to_vec())).unwrap();
    for name in names {
        let value = node.ops().xattr(&name).unwrap().expect("a listed attribute has a value");
        xattrs.insert(String::from_utf8(name).unwrap(), value);
    }
    let content = match node {
        Node::File(file) => read_all(&**file).unwrap(),
        Node::Symlink(link) => link.target().unwrap(),
        Node::Dir(_) | Node::Special(_) => Vec::new(),
    };
    Description {
        mode: attr.st_mode(),
        owner: (attr.uid, attr.gid),
        nlink: attr.nlink,
        rdev: (attr.rdev.major, attr.rdev.minor),
        mtime: (attr.mtime.secs, attr.mtime.nanos),
        flags: (attr.flags.unwrap_or_default() & SHOWN_FLAGS).bits(),
        content,
        xattrs,
    }
    .line(detail)
}

/// The inode flags that `statx(2)` shows, at the same bits.
pub(crate) const SHOWN_FLAGS: InodeFlags = InodeFlags::PROTECTION.union(InodeFlags::NODUMP);

/// What is told of a node, whoever tells it.
pub(crate) struct Description {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) nlink: u32,
    pub(crate) rdev: (u32, u32),
    pub(crate) mtime: (i64, u32),
    /// [`SHOWN_FLAGS`].
    pub(crate) flags: u32,
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

impl Description {
    pub(crate) fn line(&self, detail: Detail) -> String {
        let is_whiteout = self.mode & 0o170_000 == 0o020_000 && self.rdev == (0, 0);
        if is_whiteout {
            return "whiteout".into();
        }
        let mut line = format!("{:06o} {}:{}", self.mode, self.owner.0, self.owner.1);
        if self.rdev != (0, 0) {
            line += &format!(" dev {}:{}", self.rdev.0, self.rdev.1);
        }
        if self.flags != 0 {
            line += &format!(" flags {:#x}", self.flags);
        }
        if detail != Detail::Content {
            // Times of changes differ from run to run: what counts is whether there was one.
            let old = self.mtime == (OLD.secs, OLD.nanos);
            line += &format!(" links {} {}", self.nlink, if old { "old" } else { "new" });
        }
        if self.content.len() > 64 {
            let sum = self
                .content
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
            line += &format!(" {} bytes {sum:016x}", self.content.len());
        } else if !self.content.is_empty() {
            line += &format!(" \"{}\"", self.content.escape_ascii());
        }
        for (name, value) in &self.xattrs {
            match &**name {
                // Linux gives an overlay an identity of its own when it first mounts it.
                "trusted.overlay.uuid" => {}
                // The handle in it is the lower filesystem's own.
                "trusted.overlay.origin" => {
                    line += if value.is_empty() { " origin unknown" } else { " origin" };
                }
                name => line += &format!(" {name}={}", value.escape_ascii()),
            }
        }
        line
    }
}

pub(crate) fn read_all(file: &dyn FileOps) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.attr()?.size).unwrap() + 1];
    let len = file.read_at(0, &mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}

pub(crate) fn write_all(file: &dyn FileOps, mut offset: u64, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        let written = file.write_at(offset, data)?;
        offset += written as u64;
        data = &data[written..];
    }
    Ok(())
}

/// A random number generator whose seed replays it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A number from the environment: `STRATA_SEED`, `STRATA_OPS`.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}
