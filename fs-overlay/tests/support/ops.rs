//! Trees and operations, the same for every side that they are built and done on. `random` makes them up.

use std::collections::BTreeMap;

use vfs::acl::{self, Acl};
use vfs::birth::{self, Birth};
use vfs::{
    AllocateMode, DeviceNumber, DirOps, Errno, Expect, FileType, NewKind, NewNode, Node, OpenIntent, RenameMode,
    RenameOp, Result, SetAttr, SetTime, Timestamp, XattrMode,
};

use super::{OLD, Tree, entries, read_all, write_all};

/// An entry of a layer before the overlay is mounted.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) path: String,
    pub(crate) kind: ItemKind,
    pub(crate) mode: u16,
    pub(crate) owner: (u32, u32),
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Debug, Clone)]
pub(crate) enum ItemKind {
    Dir,
    File(Vec<u8>),
    /// Bytes at an offset, after a hole.
    Sparse(u64, Vec<u8>),
    Symlink(String),
    Fifo,
    Device(u32, u32),
    Whiteout,
    HardLink(String),
}

/// Builds a layer in memory.
pub(crate) fn build(tree: &Tree, items: &[Item]) {
    for item in items {
        if let ItemKind::HardLink(to) = &item.kind {
            tree.link(to, &item.path).unwrap();
            continue;
        }
        let xattrs: Vec<(&[u8], &[u8])> = item.xattrs.iter().map(|(name, value)| (name.as_bytes(), &**value)).collect();
        let kind = match &item.kind {
            ItemKind::Dir => NewKind::Dir,
            ItemKind::File(_) | ItemKind::Sparse(..) => NewKind::File,
            ItemKind::Symlink(target) => NewKind::Symlink(target.as_bytes()),
            ItemKind::Fifo => NewKind::Fifo,
            ItemKind::Device(major, minor) => NewKind::CharDevice(DeviceNumber::new(*major, *minor)),
            ItemKind::Whiteout | ItemKind::HardLink(_) => NewKind::CharDevice(DeviceNumber::new(0, 0)),
        };
        let (uid, gid) = item.owner;
        let node = tree.create(&item.path, &NewNode { kind, mode: item.mode, uid, gid, xattrs: &xattrs }).unwrap();
        if let Node::File(file) = &node {
            match &item.kind {
                ItemKind::File(data) => write_all(&**file, 0, data).unwrap(),
                ItemKind::Sparse(offset, data) => write_all(&**file, *offset, data).unwrap(),
                _ => {}
            }
        }
    }
    let old = SetAttr { atime: Some(SetTime::At(OLD)), mtime: Some(SetTime::At(OLD)), ..SetAttr::default() };
    for item in items.iter().rev() {
        tree.get(&item.path).unwrap().ops().set_attr(&old).unwrap();
    }
    tree.0.set_attr(&old).unwrap();
}

/// What a layer in memory holds, to be built elsewhere.
pub(crate) fn items_of(tree: &Tree) -> Vec<Item> {
    let mut items = Vec::new();
    let mut seen = BTreeMap::new();
    collect(&*tree.0, "", &mut seen, &mut items);
    items
}

fn collect(dir: &dyn DirOps, prefix: &str, seen: &mut BTreeMap<u64, String>, items: &mut Vec<Item>) {
    for (name, ..) in entries(dir) {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let node = dir.lookup(super::name(&name)).unwrap().unwrap();
        let attr = node.attr().unwrap();
        let mut xattrs = Vec::new();
        node.ops()
            .list_xattrs(&mut |name| xattrs.push((String::from_utf8(name.to_vec()).unwrap(), Vec::new())))
            .unwrap();
        for (name, value) in &mut xattrs {
            *value = node.ops().xattr(name.as_bytes()).unwrap().unwrap();
        }
        let kind = match &node {
            _ if attr.is_whiteout() => ItemKind::Whiteout,
            Node::Dir(_) => ItemKind::Dir,
            _ if seen.contains_key(&attr.ino) => ItemKind::HardLink(seen[&attr.ino].clone()),
            Node::File(file) => ItemKind::File(read_all(&**file).unwrap()),
            Node::Symlink(link) => ItemKind::Symlink(String::from_utf8(link.target().unwrap()).unwrap()),
            Node::Special(_) if attr.kind == FileType::Fifo => ItemKind::Fifo,
            Node::Special(_) => ItemKind::Device(attr.rdev.major, attr.rdev.minor),
        };
        seen.insert(attr.ino, path.clone());
        items.push(Item { path: path.clone(), kind, mode: attr.mode, owner: (attr.uid, attr.gid), xattrs });
        if let Node::Dir(dir) = &node {
            collect(&**dir, &path, seen, items);
        }
    }
}

/// One operation on a tree.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Mkdir(String),
    Create(String, Vec<u8>),
    Write(String, u64, Vec<u8>),
    OpenTruncate(String, Vec<u8>),
    Append(String, Vec<u8>),
    Truncate(String, u64),
    /// `fallocate(2)`; then the time is set, for tmpfs leaves that of what it allocates as it is.
    Allocate(String, AllocateMode, u64, u64),
    /// A file without a name in the directory of the path (`O_TMPFILE`), written, and given that name by `linkat(2)`.
    Unnamed(String, Vec<u8>),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, RenameMode),
    Link(String, String),
    Symlink(String, String),
    Fifo(String),
    Device(String, u32, u32),
    Chmod(String, u16),
    Chown(String, u32, u32),
    SetXattr(String, String, Vec<u8>),
    RemoveXattr(String, String),
    SetMtime(String, i64),
    Remount,
}

impl Op {
    /// The path whose object stays the same object, if the operation is one that only changes it.
    pub(crate) fn changes(&self) -> Option<&str> {
        match self {
            Self::Write(path, ..)
            | Self::OpenTruncate(path, _)
            | Self::Append(path, _)
            | Self::Truncate(path, _)
            | Self::Allocate(path, ..)
            | Self::Chmod(path, _)
            | Self::Chown(path, ..)
            | Self::SetXattr(path, ..)
            | Self::RemoveXattr(path, _)
            | Self::SetMtime(path, _) => Some(path),
            _ => None,
        }
    }
}

/// Does `op` on a tree, as the system call would with `O_NOFOLLOW`.
pub(crate) fn apply(tree: &Tree, op: &Op) -> Result<()> {
    // What the kernel refuses before the filesystem is asked.
    let no_follow = |path: &str| match tree.get(path)? {
        Node::Symlink(_) => Err(Errno::ENOENT.into()),
        node => Ok::<Node, vfs::Error>(node),
    };
    match op {
        Op::Mkdir(path) => create(tree, path, NewKind::Dir, 0o755).map(drop),
        Op::Create(path, data) => {
            let node = create(tree, path, NewKind::File, 0o644)?;
            write_all(&**node.as_file()?, 0, data)
        }
        Op::Write(path, offset, data) => {
            let file = open(tree, path)?;
            file.prepare_open(OpenIntent::Write)?;
            write_all(&*file, *offset, data)
        }
        Op::OpenTruncate(path, data) => {
            let file = open(tree, path)?;
            file.prepare_open(OpenIntent::Truncate)?;
            write_all(&*file, 0, data)
        }
        Op::Append(path, data) => {
            let file = open(tree, path)?;
            file.prepare_open(OpenIntent::Write)?;
            if data.is_empty() { Ok(()) } else { file.append(data).map(drop) }
        }
        Op::Truncate(path, len) => no_follow(path)?.as_file()?.set_len(*len),
        Op::Allocate(path, mode, offset, len) => {
            let file = open(tree, path)?;
            file.prepare_open(OpenIntent::Write)?;
            file.allocate(*mode, *offset, *len)?;
            set_times(&*file, ALLOCATED)
        }
        Op::Unnamed(path, data) => {
            let (dir, last) = tree.parent(path)?;
            let node = with_birth(&*dir, NewKind::File, 0o644, |new| dir.create_unnamed(new))?;
            write_all(&**node.as_file()?, 0, data)?;
            if dir.lookup(last)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            dir.link(last, &node)
        }
        Op::Unlink(path) => {
            let (dir, last) = tree.parent(path)?;
            dir.remove(last, Expect::NonDir)
        }
        Op::Rmdir(path) => {
            let (dir, last) = tree.parent(path)?;
            dir.remove(last, Expect::EmptyDir)
        }
        Op::Rename(from, to, mode) => {
            let (from_dir, from_name) = tree.parent(from)?;
            let (to_dir, to_name) = tree.parent(to)?;
            // The kernel sees by the path that the target is above the source.
            let is_above = from.strip_prefix(to.as_str()).is_some_and(|rest| rest.starts_with('/'));
            if is_above && *mode == RenameMode::Replace && from_dir.lookup(from_name)?.is_some() {
                return Err(Errno::ENOTEMPTY.into());
            }
            from_dir.rename(&RenameOp { name: from_name, to: &to_dir, new_name: to_name, mode: *mode })
        }
        Op::Link(from, to) => {
            let node = tree.get(from)?;
            let (dir, last) = tree.parent(to)?;
            if dir.lookup(last)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            dir.link(last, &node)
        }
        Op::Symlink(path, target) => tree.symlink(path, target),
        Op::Fifo(path) => create(tree, path, NewKind::Fifo, 0o644).map(drop),
        Op::Device(path, major, minor) => {
            let device = NewKind::CharDevice(DeviceNumber::new(*major, *minor));
            let (dir, last) = tree.parent(path)?;
            if dir.lookup(last)?.is_some() {
                return Err(Errno::EEXIST.into());
            }
            with_birth(&*dir, device, 0o600, |new| dir.create(last, new)).map(drop)
        }
        Op::Chmod(path, mode) => no_follow(path)?.ops().set_attr(&SetAttr { mode: Some(*mode), ..SetAttr::default() }),
        Op::Chown(path, uid, gid) => {
            let node = tree.get(path)?;
            let mut change = SetAttr { uid: Some(*uid), gid: Some(*gid), ..SetAttr::default() };
            // As chown(2) does for root, too.
            let mode = node.attr()?.mode;
            if node.attr()?.kind != FileType::Dir && mode & 0o6000 != 0 {
                change.mode = Some(mode & if mode & 0o10 != 0 { !0o6000 } else { !0o4000 });
            }
            node.ops().set_attr(&change)
        }
        Op::SetXattr(path, name, value) if acl::is_acl(name.as_bytes()) => set_list(&tree.get(path)?, name, value),
        Op::RemoveXattr(path, name) if acl::is_acl(name.as_bytes()) => set_list(&tree.get(path)?, name, b""),
        Op::SetXattr(path, name, value) => {
            let node = tree.get(path)?;
            if name.starts_with("user.") && !matches!(node, Node::File(_) | Node::Dir(_)) {
                return Err(Errno::EPERM.into());
            }
            node.ops().set_xattr(name.as_bytes(), value, XattrMode::Set)
        }
        Op::RemoveXattr(path, name) => {
            let node = tree.get(path)?;
            if name.starts_with("user.") && !matches!(node, Node::File(_) | Node::Dir(_)) {
                return Err(Errno::EPERM.into());
            }
            node.ops().remove_xattr(name.as_bytes())
        }
        Op::SetMtime(path, secs) => set_times(tree.get(path)?.ops(), *secs),
        Op::Remount => Ok(()),
    }
}

/// The time that a file gets which was allocated to, in seconds.
pub(crate) const ALLOCATED: i64 = 77;

fn set_times(node: &dyn vfs::NodeOps, secs: i64) -> Result<()> {
    let time = Some(SetTime::At(Timestamp::from_secs(secs)));
    node.set_attr(&SetAttr { atime: time, mtime: time, ..SetAttr::default() })
}

/// Makes something by root with what its directory hands down, as the kernel does for a filesystem.
fn create(tree: &Tree, path: &str, kind: NewKind<'_>, mode: u16) -> Result<Node> {
    let (dir, last) = tree.parent(path)?;
    with_birth(&*dir, kind, mode, |new| dir.create(last, new))
}

fn with_birth(
    dir: &dyn DirOps,
    kind: NewKind<'_>,
    mode: u16,
    make: impl FnOnce(&NewNode<'_>) -> Result<Node>,
) -> Result<Node> {
    let (above, default) = (dir.attr()?, Acl::of(dir, acl::DEFAULT)?);
    let parent = birth::Parent { mode: above.mode, gid: above.gid, default: default.as_ref() };
    let asked = birth::Asked { kind: kind.file_type(), mode, umask: 0, gid: 0 };
    let born = Birth::new(&parent, &asked, || true)?;
    make(&NewNode { kind, mode: born.mode, uid: 0, gid: born.gid, xattrs: &born.xattrs() })
}

/// Sets an access control list, or takes it away if there is no entry in it, as the kernel does for a filesystem.
fn set_list(node: &Node, name: &str, value: &[u8]) -> Result<()> {
    // What is no whole list is refused first, what is an impossible one last.
    let entries = value.len().saturating_sub(4);
    if !entries.is_multiple_of(8) {
        return Err(Errno::EINVAL.into());
    }
    match node {
        Node::Symlink(_) => return Err(Errno::EOPNOTSUPP.into()),
        Node::Dir(_) => {}
        _ if name.as_bytes() != acl::DEFAULT => {}
        _ if entries > 0 => return Err(Errno::EACCES.into()),
        _ => return Ok(()),
    }
    match Acl::parse(value)? {
        Some(_) => node.ops().set_xattr(name.as_bytes(), value, XattrMode::Set),
        None => node.ops().remove_xattr(name.as_bytes()),
    }
}

/// What open(2) gives for writing with `O_NOFOLLOW | O_NONBLOCK`, for regular files alone.
fn open(tree: &Tree, path: &str) -> Result<std::sync::Arc<dyn vfs::FileOps>> {
    match tree.get(path)? {
        Node::File(file) => Ok(file),
        Node::Dir(_) => Err(Errno::EISDIR.into()),
        Node::Symlink(_) => Err(Errno::ELOOP.into()),
        Node::Special(_) => Err(Errno::EINVAL.into()),
    }
}
