//! Whole trees as values: taken through the contract or from a mounted directory of Linux's, and compared entry by entry.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use contract::random::Random;
use rustix::fs::{Mode, OFlags, SeekFrom, lgetxattr, llistxattr, open, seek};
use rustix::io::pread;
use vfs::{Cookie, DeviceNumber, DirEntry, FileOps, FileSystem, FileType, Node, Result, Timestamp};

/// What is known of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `st_mode`.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: (u32, u32),
    /// Zero for a directory: it never shrinks, and when it grows is the filesystem's affair.
    pub size: u64,
    /// A sum over all pieces of 4 KiB that are not zeros.
    pub content: u64,
    pub target: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    /// The first path by which the inode is found.
    pub first: Vec<u8>,
}

impl Entry {
    /// The type.
    pub fn kind(&self) -> FileType {
        FileType::from_mode(self.mode).expect("a snapshot holds types that exist")
    }
}

/// Entries by path. The root is the empty path; its `lost+found` is left out.
pub type Tree = BTreeMap<Vec<u8>, Entry>;

/// Something that gives bytes at offsets and knows its holes.
trait Source {
    fn read(&self, offset: u64, buf: &mut [u8]) -> usize;
    fn data(&self, offset: u64) -> Option<u64>;
    fn hole(&self, offset: u64) -> u64;
}

const PIECE: usize = 4096;
/// Files up to here are read from end to end, others where they have data.
const READ_WHOLE: u64 = 4 << 20;

fn sum(source: &dyn Source, size: u64) -> u64 {
    let mut sum = 0_u64;
    let mut buf = vec![0; 64 * PIECE];
    let mut range = |from: u64, to: u64| {
        let mut at = from;
        while at < to {
            let want = ((to - at) as usize).min(buf.len());
            let mut got = 0;
            while got < want {
                let count = source.read(at + got as u64, &mut buf[got..want]);
                assert!(count > 0, "read at {} of {size} bytes gave nothing", at + got as u64);
                got += count;
            }
            for (index, piece) in buf[..want].chunks(PIECE).enumerate() {
                if piece.iter().any(|&byte| byte != 0) {
                    sum = sum.wrapping_add(piece_sum(at + (index * PIECE) as u64, piece));
                }
            }
            at += want as u64;
        }
    };
    if size <= READ_WHOLE {
        range(0, size);
        return sum;
    }
    let mut at = 0;
    while let Some(data) = source.data(at) {
        assert!(data >= at && data < size, "data at {data}, asked from {at} of {size}");
        let hole = source.hole(data);
        assert!(hole > data && hole <= size, "a hole at {hole} after data at {data} of {size}");
        let aligned = hole.next_multiple_of(PIECE as u64).min(size);
        range((data / PIECE as u64 * PIECE as u64).max(at), aligned);
        at = aligned;
    }
    sum
}

fn piece_sum(offset: u64, piece: &[u8]) -> u64 {
    // The number of zeros at the end must not count: the last piece of a file may be short.
    let mut state = Random::new(offset).next();
    for word in piece.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        let word = u64::from_le_bytes(bytes);
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    state
}

struct Ours<'a>(&'a dyn FileOps);

impl Source for Ours<'_> {
    fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        self.0.read_at(offset, buf).unwrap_or_else(|error| panic!("read at {offset}: {error:?}"))
    }

    fn data(&self, offset: u64) -> Option<u64> {
        self.0.seek_data(offset).unwrap_or_else(|error| panic!("seek_data {offset}: {error:?}"))
    }

    fn hole(&self, offset: u64) -> u64 {
        self.0
            .seek_hole(offset)
            .unwrap_or_else(|error| panic!("seek_hole {offset}: {error:?}"))
            .expect("the end of a file is a hole")
    }
}

struct Linux(rustix::fd::OwnedFd);

impl Source for Linux {
    fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        pread(&self.0, buf, offset).expect("Linux reads its file")
    }

    fn data(&self, offset: u64) -> Option<u64> {
        seek(&self.0, SeekFrom::Data(offset)).ok()
    }

    fn hole(&self, offset: u64) -> u64 {
        // Of unwritten blocks smaller than a page Linux may answer that a hole begins where it has just found data. What is read in
        // vain does not change a sum.
        seek(&self.0, SeekFrom::Hole(offset)).expect("the end of a file is a hole").max(offset + 1)
    }
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = dir.to_vec();
    if !dir.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// The tree of a filesystem under test. What a directory lists and what its names look up to must agree.
///
/// # Errors
/// The filesystem's.
pub fn of_fs(fs: &dyn FileSystem) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut first = HashMap::new();
    let mut left = vec![(Vec::new(), Node::Dir(fs.root()))];
    while let Some((path, node)) = left.pop() {
        let entry = entry_of(&node, &path, &mut first)?;
        assert!(tree.insert(path.clone(), entry).is_none(), "{} is listed twice", path.escape_ascii());
        let Node::Dir(dir) = &node else { continue };
        let mut listed = Vec::new();
        dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
            listed.push((entry.name.to_owned(), entry.ino, entry.kind));
            ControlFlow::Continue(())
        })?;
        // Backwards, so that names are met in order and the first of several links is the least.
        listed.sort_by(|a, b| b.0.cmp(&a.0));
        for (name, ino, kind) in listed {
            if path.is_empty() && name.as_bytes() == b"lost+found" {
                continue;
            }
            let child = dir.lookup(name.as_name())?;
            let child = child.unwrap_or_else(|| panic!("{name:?} is listed, and not found"));
            let attr = child.attr()?;
            assert_eq!((attr.ino, attr.kind), (ino, kind), "{name:?} as listed");
            left.push((join(&path, name.as_bytes()), child));
        }
    }
    name_first_links(&mut tree);
    Ok(tree)
}

fn entry_of(node: &Node, path: &[u8], first: &mut HashMap<u64, Vec<u8>>) -> Result<Entry> {
    let attr = node.attr()?;
    let mut names = Vec::new();
    node.ops().list_xattrs(&mut |name| names.push(name.to_vec()))?;
    let mut xattrs = BTreeMap::new();
    for name in names {
        let value = node.ops().xattr(&name)?;
        let value = value.unwrap_or_else(|| panic!("xattr {} is listed, and not there", name.escape_ascii()));
        assert!(xattrs.insert(name, value).is_none(), "an xattr is listed twice");
    }
    let content = match node {
        Node::File(file) => sum(&Ours(&**file), attr.size),
        _ => 0,
    };
    let target = match node {
        Node::Symlink(link) => link.target()?,
        _ => Vec::new(),
    };
    let first = first.entry(attr.ino).or_insert_with(|| path.to_vec()).clone();
    Ok(Entry {
        mode: attr.st_mode(),
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: (attr.rdev.major, attr.rdev.minor),
        size: if attr.kind == FileType::Dir { 0 } else { attr.size },
        content,
        target,
        xattrs,
        atime: attr.atime,
        mtime: attr.mtime,
        first,
    })
}

/// The tree below a directory of the host.
pub fn of_linux(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first = HashMap::new();
    let mut left = vec![Vec::new()];
    while let Some(path) = left.pop() {
        let full = if path.is_empty() { root.to_path_buf() } else { root.join(std::ffi::OsStr::from_bytes(&path)) };
        let entry = linux_entry(&full, &path, &mut first);
        if entry.kind() == FileType::Dir {
            for child in fs::read_dir(&full).expect("a directory of the tree") {
                let name = child.expect("an entry").file_name();
                if !(path.is_empty() && name.as_bytes() == b"lost+found") {
                    left.push(join(&path, name.as_bytes()));
                }
            }
        }
        tree.insert(path, entry);
    }
    name_first_links(&mut tree);
    tree
}

fn linux_entry(full: &Path, path: &[u8], first: &mut HashMap<u64, Vec<u8>>) -> Entry {
    let meta = fs::symlink_metadata(full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
    let kind = meta.file_type();
    let bytes = full.as_os_str().as_bytes();
    let rdev = DeviceNumber::decode(meta.rdev());
    let content = if kind.is_file() {
        sum(
            &Linux(
                open(bytes, OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC, Mode::empty()).expect("a file opens"),
            ),
            meta.size(),
        )
    } else {
        0
    };
    let target = if kind.is_symlink() {
        fs::read_link(full).expect("a link").as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let device = kind.is_char_device() || kind.is_block_device();
    Entry {
        mode: meta.mode(),
        nlink: meta.nlink() as u32,
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: if device { (rdev.major, rdev.minor) } else { (0, 0) },
        size: if kind.is_dir() { 0 } else { meta.size() },
        content,
        target,
        xattrs: linux_xattrs(bytes),
        atime: Timestamp { secs: meta.atime(), nanos: meta.atime_nsec() as u32 },
        mtime: Timestamp { secs: meta.mtime(), nanos: meta.mtime_nsec() as u32 },
        first: first.entry(meta.ino()).or_insert_with(|| path.to_vec()).clone(),
    }
}

fn linux_xattrs(path: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut buf = vec![0_u8; 65536];
    let count = llistxattr(path, &mut buf[..]).expect("llistxattr");
    let names: Vec<Vec<u8>> =
        buf[..count].split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
    names
        .into_iter()
        .map(|name| {
            let count = lgetxattr(path, &name[..], &mut buf[..]).expect("lgetxattr");
            (name, buf[..count].to_vec())
        })
        .collect()
}

/// Makes `first` of every entry the least path of its inode, however the tree was walked.
fn name_first_links(tree: &mut Tree) {
    let mut least: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for (path, entry) in tree.iter() {
        least.entry(entry.first.clone()).or_insert_with(|| path.clone());
    }
    for entry in tree.values_mut() {
        entry.first = least[&entry.first].clone();
    }
}

/// What differs between two trees, `None` if nothing does. At most 12 differences are told.
pub fn difference(found: &Tree, expected: &Tree) -> Option<String> {
    let mut text = String::new();
    let mut count = 0;
    let mut say = |line: String| {
        count += 1;
        if count <= 12 {
            let _ = writeln!(text, "{line}");
        }
    };
    for (path, entry) in expected {
        match found.get(path) {
            None => say(format!("/{} is missing", path.escape_ascii())),
            Some(other) if other != entry => say(format!("/{}: {}", path.escape_ascii(), fields(other, entry))),
            Some(_) => {}
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        say(format!("/{} should not be there", path.escape_ascii()));
    }
    (count > 0).then(|| format!("{count} differences\n{text}"))
}

fn fields(found: &Entry, expected: &Entry) -> String {
    let mut text = String::new();
    macro_rules! field {
        ($($name:ident)+) => {$(
            if found.$name != expected.$name {
                let _ = write!(text, "{} {:?} instead of {:?}; ", stringify!($name), found.$name, expected.$name);
            }
        )+};
    }
    if found.mode != expected.mode {
        let _ = write!(text, "mode {:o} instead of {:o}; ", found.mode, expected.mode);
    }
    field!(nlink uid gid rdev size content atime mtime);
    if found.target != expected.target {
        let (found, expected) = (found.target.escape_ascii(), expected.target.escape_ascii());
        let _ = write!(text, "target {found} instead of {expected}; ");
    }
    if found.first != expected.first {
        let (found, expected) = (found.first.escape_ascii(), expected.first.escape_ascii());
        let _ = write!(text, "the inode of /{found} instead of that of /{expected}; ");
    }
    for name in found.xattrs.keys().chain(expected.xattrs.keys()) {
        let (a, b) = (found.xattrs.get(name), expected.xattrs.get(name));
        if a != b {
            let len = |value: Option<&Vec<u8>>| value.map(Vec::len);
            let _ = write!(text, "xattr {}: {:?} bytes instead of {:?}; ", name.escape_ascii(), len(a), len(b));
        }
    }
    text
}

/// Fails the test unless the trees are equal.
#[track_caller]
pub fn assert_same(found: &Tree, expected: &Tree, what: &str) {
    if let Some(text) = difference(found, expected) {
        panic!("{what}: {text}");
    }
}
