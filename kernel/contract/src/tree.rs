//! A tree of files, declared: a fixture builds it in its own way, a test then finds it there.

use alloc::sync::Arc;

use vfs::{DeviceNumber, DirOps, Errno, Error, Name, NewKind, NewNode, Node, Result, SetAttr, SetTime, Timestamp};

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind<'a> {
    /// Regular file of these extents: offset and bytes. What lies between is a hole.
    File(&'a [(u64, &'a [u8])]),
    /// Regular file of these bytes.
    Plain(&'a [u8]),
    /// Directory.
    Dir,
    /// Symbolic link with this target.
    Symlink(&'a [u8]),
    /// One more name of the item with this path, which comes earlier.
    HardLink(&'a [u8]),
    /// Character device.
    CharDevice(DeviceNumber),
    /// Block device.
    BlockDevice(DeviceNumber),
    /// Named pipe.
    Fifo,
    /// Socket endpoint.
    Socket,
}

/// One entry of the tree.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Path from the base, components separated by `/`; the parent is an earlier item.
    pub path: &'a [u8],
    /// What it is.
    pub kind: ItemKind<'a>,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the content's last change.
    pub mtime: Timestamp,
    /// Extended attributes: full names with values.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

/// The times of items that name no other: in 2001, with nanoseconds.
pub const MTIME: Timestamp = Timestamp { secs: 1_000_000_000, nanos: 987_654_321 };

impl<'a> Item<'a> {
    /// An item of root's, mode 0644 (a directory: 0755).
    #[must_use]
    pub const fn new(path: &'a [u8], kind: ItemKind<'a>) -> Self {
        let mode = match kind {
            ItemKind::Dir => 0o755,
            ItemKind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        Self { path, kind, mode, uid: 0, gid: 0, mtime: MTIME, xattrs: &[] }
    }

    /// With these permission bits.
    #[must_use]
    pub const fn mode(mut self, mode: u16) -> Self {
        self.mode = mode;
        self
    }

    /// With this owner and group.
    #[must_use]
    pub const fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.uid = uid;
        self.gid = gid;
        self
    }

    /// With this time of change.
    #[must_use]
    pub const fn mtime(mut self, mtime: Timestamp) -> Self {
        self.mtime = mtime;
        self
    }

    /// With these extended attributes.
    #[must_use]
    pub const fn xattrs(mut self, xattrs: &'a [(&'a [u8], &'a [u8])]) -> Self {
        self.xattrs = xattrs;
        self
    }

    /// The kind of inode to create; `None` for a hard link.
    #[must_use]
    pub const fn new_kind(&self) -> Option<NewKind<'a>> {
        Some(match self.kind {
            ItemKind::File(_) | ItemKind::Plain(_) => NewKind::File,
            ItemKind::Dir => NewKind::Dir,
            ItemKind::Symlink(target) => NewKind::Symlink(target),
            ItemKind::HardLink(_) => return None,
            ItemKind::CharDevice(number) => NewKind::CharDevice(number),
            ItemKind::BlockDevice(number) => NewKind::BlockDevice(number),
            ItemKind::Fifo => NewKind::Fifo,
            ItemKind::Socket => NewKind::Socket,
        })
    }
}

/// A regular file of these bytes.
#[must_use]
pub const fn file<'a>(path: &'a [u8], bytes: &'a [u8]) -> Item<'a> {
    Item::new(path, ItemKind::Plain(bytes))
}

/// A regular file with holes.
#[must_use]
pub const fn sparse<'a>(path: &'a [u8], extents: &'a [(u64, &'a [u8])]) -> Item<'a> {
    Item::new(path, ItemKind::File(extents))
}

/// A directory.
#[must_use]
pub const fn dir(path: &[u8]) -> Item<'_> {
    Item::new(path, ItemKind::Dir)
}

/// A symbolic link.
#[must_use]
pub const fn symlink<'a>(path: &'a [u8], target: &'a [u8]) -> Item<'a> {
    Item::new(path, ItemKind::Symlink(target))
}

/// One more name for the item at `target`.
#[must_use]
pub const fn hard_link<'a>(path: &'a [u8], target: &'a [u8]) -> Item<'a> {
    Item::new(path, ItemKind::HardLink(target))
}

/// A character device.
#[must_use]
pub const fn char_device(path: &[u8], major: u32, minor: u32) -> Item<'_> {
    Item::new(path, ItemKind::CharDevice(DeviceNumber::new(major, minor)))
}

/// A block device.
#[must_use]
pub const fn block_device(path: &[u8], major: u32, minor: u32) -> Item<'_> {
    Item::new(path, ItemKind::BlockDevice(DeviceNumber::new(major, minor)))
}

/// A named pipe.
#[must_use]
pub const fn fifo(path: &[u8]) -> Item<'_> {
    Item::new(path, ItemKind::Fifo)
}

/// A socket endpoint.
#[must_use]
pub const fn socket(path: &[u8]) -> Item<'_> {
    Item::new(path, ItemKind::Socket)
}

/// The node at `path` below `base`.
///
/// # Errors
/// `ENOENT`, `ENOTDIR`, the filesystem's.
pub fn walk(base: &Arc<dyn DirOps>, path: &[u8]) -> Result<Node> {
    let mut node = Node::Dir(base.clone());
    for component in path.split(|&byte| byte == b'/').filter(|component| !component.is_empty()) {
        let found = node.as_dir()?.lookup(Name::new(component)?)?;
        node = found.ok_or(Error::new(Errno::ENOENT, "path of the tree"))?;
    }
    Ok(node)
}

/// The directory that holds `path`, and its last component.
fn parent<'a>(base: &Arc<dyn DirOps>, path: &'a [u8]) -> Result<(Arc<dyn DirOps>, Name<'a>)> {
    let (above, last) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    };
    Ok((walk(base, above)?.as_dir()?.clone(), Name::new(last)?))
}

/// Writes all of `bytes` at `offset`.
///
/// # Errors
/// `ENOSPC` where not all of it fits; the filesystem's.
pub fn write_all(file: &dyn vfs::FileOps, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let written = file.write_at(offset, bytes)?;
        if written == 0 || written > bytes.len() {
            return Err(Error::new(Errno::EIO, "write_at returned nonsense"));
        }
        offset += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Makes `tree` below `base`, through the contract. Directories get their times last, deepest first.
///
/// # Errors
/// The filesystem's.
pub fn build(base: &Arc<dyn DirOps>, tree: &[Item<'_>]) -> Result<()> {
    for item in tree {
        let (dir, name) = parent(base, item.path)?;
        if let ItemKind::HardLink(target) = item.kind {
            dir.link(name, &walk(base, target)?)?;
            continue;
        }
        let kind = item.new_kind().ok_or(Error::new(Errno::EINVAL, "kind of an item"))?;
        let new = NewNode { kind, mode: item.mode, uid: item.uid, gid: item.gid, xattrs: item.xattrs };
        let node = dir.create(name, &new)?;
        match item.kind {
            ItemKind::Plain(bytes) => write_all(&**node.as_file()?, 0, bytes)?,
            ItemKind::File(extents) => {
                for (offset, bytes) in extents {
                    write_all(&**node.as_file()?, *offset, bytes)?;
                }
            }
            _ => {}
        }
    }
    for item in tree.iter().rev().filter(|item| !matches!(item.kind, ItemKind::HardLink(_))) {
        let times = SetAttr {
            atime: Some(SetTime::At(item.mtime)),
            mtime: Some(SetTime::At(item.mtime)),
            ..SetAttr::default()
        };
        walk(base, item.path)?.ops().set_attr(&times)?;
    }
    Ok(())
}
