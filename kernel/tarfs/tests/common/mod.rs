//! What the tests share: a writer of archives block by block, and snapshots of trees that can be compared.
#![expect(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tarfs::{MountOptions, TarError, TarFs};
use vfs::{Cookie, DirEntry, DirOps, Errno, FileSystem, FileType, FsContext, Name, Node, Timestamp};

pub const BLOCK: usize = 512;

/// An archive in the making.
#[derive(Default, Clone)]
pub struct Tar(pub Vec<u8>);

/// The fields of a header that tests vary.
#[derive(Clone)]
pub struct Header {
    pub name: Vec<u8>,
    pub prefix: Vec<u8>,
    pub link: Vec<u8>,
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub size: u64,
    pub mtime: u64,
    pub magic: [u8; 8],
    pub device: (u32, u32),
}

impl Header {
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            prefix: Vec::new(),
            link: Vec::new(),
            kind,
            mode: 0o644,
            uid: 0,
            size: 0,
            mtime: 1_000_000_000,
            magic: *b"ustar\x0000",
            device: (0, 0),
        }
    }

    /// The block, its checksum right.
    pub fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.uid).as_bytes());
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link);
        put(257, &self.magic);
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        put(345, &self.prefix);
        fix_checksum(&mut block);
        block
    }
}

/// Writes the checksum that a header's bytes have.
pub fn fix_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum = block[..BLOCK].iter().map(|&byte| u32::from(byte)).sum::<u32>();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// One pax record.
pub fn record(keyword: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let rest = keyword.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len += 1;
    }
    let mut record = format!("{len} {keyword}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

impl Tar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn header(&mut self, header: &Header) -> &mut Self {
        self.0.extend_from_slice(&header.block());
        self
    }

    pub fn data(&mut self, data: &[u8]) -> &mut Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// A header and its data.
    pub fn member(&mut self, header: &Header, data: &[u8]) -> &mut Self {
        self.header(&Header { size: data.len() as u64, ..header.clone() }).data(data)
    }

    pub fn file(&mut self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> &mut Self {
        self.member(&Header::new(b'0', name), data.as_ref())
    }

    pub fn dir(&mut self, name: impl AsRef<[u8]>, mode: u32) -> &mut Self {
        self.header(&Header { mode, ..Header::new(b'5', name) })
    }

    pub fn symlink(&mut self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        self.header(&Header { link: target.as_ref().to_vec(), ..Header::new(b'2', name) })
    }

    pub fn link(&mut self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &mut Self {
        self.header(&Header { link: target.as_ref().to_vec(), ..Header::new(b'1', name) })
    }

    pub fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        self.extended(b'x', records)
    }

    pub fn extended(&mut self, kind: u8, records: &[(&str, &[u8])]) -> &mut Self {
        let data: Vec<u8> = records.iter().flat_map(|(keyword, value)| record(keyword, value)).collect();
        self.member(&Header::new(kind, "./PaxHeaders/x"), &data)
    }

    pub fn long(&mut self, kind: u8, text: impl AsRef<[u8]>) -> &mut Self {
        let mut data = text.as_ref().to_vec();
        data.push(0);
        self.member(&Header { magic: *b"ustar  \0", ..Header::new(kind, "././@LongLink") }, &data)
    }

    /// The archive with its end marker.
    pub fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 2 * BLOCK, 0);
        bytes
    }
}

pub fn context() -> FsContext {
    FsContext { dev: 0x2a, clock: Arc::new(|| Timestamp::EPOCH) }
}

pub fn mount(bytes: impl Into<Vec<u8>>) -> Arc<TarFs> {
    try_mount(bytes).unwrap_or_else(|error| panic!("{error}"))
}

pub fn try_mount(bytes: impl Into<Vec<u8>>) -> Result<Arc<TarFs>, TarError> {
    TarFs::mount(bytes.into(), &context(), MountOptions::default())
}

/// Follows `path` without symbolic links; `None` where it is not.
pub fn find(fs: &TarFs, path: &str) -> Option<Node> {
    let mut node = Node::Dir(fs.root());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let Node::Dir(dir) = &node else { return None };
        node = dir.lookup(Name::new(name.as_bytes()).unwrap()).unwrap()?;
    }
    Some(node)
}

/// The whole content of a file, read in steps of `step` bytes.
pub fn content(node: &Node, step: usize) -> Vec<u8> {
    let file = node.as_file().unwrap();
    let mut all = Vec::new();
    let mut buf = vec![0xa5; step];
    loop {
        match file.read_at(all.len() as u64, &mut buf).unwrap() {
            0 => return all,
            len => all.extend_from_slice(&buf[..len]),
        }
    }
}

pub fn read(fs: &TarFs, path: &str) -> String {
    let node = find(fs, path).unwrap_or_else(|| panic!("no {path}"));
    String::from_utf8(content(&node, 700)).unwrap()
}

/// Names, numbers and types of a directory in its order, and the cookies after each.
pub fn list(dir: &Arc<dyn DirOps>) -> Vec<(Vec<u8>, u64, FileType, Cookie)> {
    let mut entries = Vec::new();
    let mut sink = |entry: &DirEntry<'_>| {
        entries.push((entry.name.as_bytes().to_vec(), entry.ino, entry.kind, entry.next));
        ControlFlow::Continue(())
    };
    dir.read_dir(Cookie::START, &mut sink).unwrap();
    entries
}

/// What two trees are compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub kind: FileType,
    pub mode: u16,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub rdev: u64,
    pub mtime: Timestamp,
    /// The first path of the same inode.
    pub first: Vec<u8>,
    /// A file's bytes or a link's target.
    pub content: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub type Tree = BTreeMap<Vec<u8>, Snapshot>;

/// Everything that a mount shows.
pub fn snapshot(fs: &TarFs) -> Tree {
    let mut tree = Tree::new();
    let mut firsts = HashMap::new();
    visit(&Node::Dir(fs.root()), Vec::new(), &mut tree, &mut firsts);
    settle(tree, &firsts)
}

fn visit(node: &Node, path: Vec<u8>, tree: &mut Tree, firsts: &mut HashMap<u64, Vec<u8>>) {
    let attr = node.attr().unwrap();
    assert_eq!(node.id().ino, attr.ino);
    note(firsts, attr.ino, &path);
    let content = match node {
        Node::File(_) => content(node, 4093),
        Node::Symlink(link) => link.target().unwrap(),
        _ => Vec::new(),
    };
    let mut xattrs = BTreeMap::new();
    node.ops()
        .list_xattrs(&mut |name| {
            let value = node.ops().xattr(name).unwrap().unwrap();
            assert!(xattrs.insert(name.to_vec(), value).is_none(), "an attribute is listed twice");
        })
        .unwrap();
    if let Node::Dir(dir) = node {
        let entries = list(dir);
        let subdirectories = entries.iter().filter(|entry| entry.2 == FileType::Dir).count();
        assert_eq!(attr.nlink as usize, 2 + subdirectories, "links of {}", path.escape_ascii());
        for (name, ino, kind, _) in entries {
            let inner = dir.lookup(Name::new(&name).unwrap()).unwrap().expect("a listed name is found");
            let inner_attr = inner.attr().unwrap();
            assert_eq!((inner_attr.ino, inner_attr.kind), (ino, kind));
            visit(&inner, join(&path, &name), tree, firsts);
        }
    }
    let snapshot = Snapshot {
        kind: attr.kind,
        mode: attr.mode,
        nlink: if attr.kind == FileType::Dir { 0 } else { attr.nlink },
        uid: attr.uid,
        gid: attr.gid,
        size: if attr.kind == FileType::Dir { 0 } else { attr.size },
        rdev: attr.rdev.encode(),
        mtime: attr.mtime,
        // The number, until all paths are known.
        first: attr.ino.to_le_bytes().to_vec(),
        content,
        xattrs,
    };
    tree.insert(path, snapshot);
}

/// Everything that is in a directory of the host.
pub fn host_snapshot(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut firsts = HashMap::new();
    host_visit(root, Vec::new(), &mut tree, &mut firsts);
    settle(tree, &firsts)
}

fn host_visit(at: &Path, path: Vec<u8>, tree: &mut Tree, firsts: &mut HashMap<u64, Vec<u8>>) {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;

    let meta = std::fs::symlink_metadata(at).unwrap();
    let kind = FileType::from_mode(meta.mode()).unwrap();
    note(firsts, meta.ino(), &path);
    let content = match kind {
        FileType::File => std::fs::read(at).unwrap(),
        FileType::Symlink => std::fs::read_link(at).unwrap().as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    if kind == FileType::Dir {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            host_visit(&entry.path(), join(&path, entry.file_name().as_bytes()), tree, firsts);
        }
    }
    let dir = kind == FileType::Dir;
    let snapshot = Snapshot {
        kind,
        mode: (meta.mode() & 0o7777) as u16,
        nlink: if dir { 0 } else { meta.nlink() as u32 },
        uid: meta.uid(),
        gid: meta.gid(),
        size: if dir { 0 } else { meta.size() },
        rdev: meta.rdev(),
        mtime: Timestamp { secs: meta.mtime(), nanos: meta.mtime_nsec() as u32 },
        first: meta.ino().to_le_bytes().to_vec(),
        content,
        xattrs: host_xattrs(at),
    };
    tree.insert(path, snapshot);
}

fn host_xattrs(at: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0u8; 65_536];
    use std::os::unix::ffi::OsStrExt;
    let Ok(len) = rustix::fs::llistxattr(at.as_os_str().as_bytes(), &mut names[..]) else { return BTreeMap::new() };
    let names = names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0u8; 65_536];
            let len =
                rustix::fs::lgetxattr(at.as_os_str().as_bytes(), std::str::from_utf8(name).unwrap(), &mut value[..])
                    .unwrap();
            (name.to_vec(), value[..len].to_vec())
        })
        .collect()
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

fn note(firsts: &mut HashMap<u64, Vec<u8>>, ino: u64, path: &[u8]) {
    let first = firsts.entry(ino).or_insert_with(|| path.to_vec());
    if path < first.as_slice() {
        *first = path.to_vec();
    }
}

fn settle(mut tree: Tree, firsts: &HashMap<u64, Vec<u8>>) -> Tree {
    for snapshot in tree.values_mut() {
        snapshot.first = firsts[&u64::from_le_bytes(snapshot.first[..].try_into().unwrap())].clone();
    }
    tree
}

/// Fails with the first difference of two trees.
pub fn assert_same(ours: &Tree, theirs: &Tree, what: &str) {
    for path in ours.keys().chain(theirs.keys()) {
        let (our, their) = (ours.get(path), theirs.get(path));
        if our != their {
            let brief = |snapshot: Option<&Snapshot>| {
                snapshot.map(|snapshot| {
                    let mut brief = snapshot.clone();
                    brief.content.truncate(40);
                    brief
                })
            };
            panic!("{what}: {}:\nours   {:?}\ntheirs {:?}", path.escape_ascii(), brief(our), brief(their));
        }
    }
}

/// Asserts that a node answers an errno.
pub fn assert_errno<T: std::fmt::Debug>(result: vfs::Result<T>, errno: Errno) {
    assert_eq!(result.unwrap_err(), errno);
}

/// A directory of the host that goes with the test.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tarfs-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Pseudo-random numbers that a seed repeats (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Prints the seed when the test fails while it lives.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}
