//! Short forms of calls of the contract, by path.

use std::sync::Arc;

use contract::dsl::Dir;
use contract::tree::{walk, write_all};
use vfs::{
    DirOps, Errno, FileOps, FileSystem, Name, NewKind, NewNode, Node, RenameMode, RenameOp, Result, SetAttr, SetTime,
    Timestamp, XattrMode,
};

/// The root, with the suite's short forms.
pub fn root(fs: &dyn FileSystem) -> Dir {
    Dir(fs.root())
}

/// The node at a path.
pub fn at(fs: &dyn FileSystem, path: &str) -> Result<Node> {
    walk(&fs.root(), path.as_bytes())
}

/// The directory that holds a path, and the last component.
pub fn parent<'a>(fs: &dyn FileSystem, path: &'a str) -> Result<(Arc<dyn DirOps>, Name<'a>)> {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    Ok((at(fs, above)?.as_dir()?.clone(), Name::new(last.as_bytes())?))
}

/// Creates a node of root's.
pub fn make(fs: &dyn FileSystem, path: &str, kind: NewKind<'_>, mode: u16) -> Result<Node> {
    let (dir, name) = parent(fs, path)?;
    dir.create(name, &NewNode::new(kind, mode))
}

/// Creates a directory.
pub fn mkdir(fs: &dyn FileSystem, path: &str) -> Result<Arc<dyn DirOps>> {
    Ok(make(fs, path, NewKind::Dir, 0o755)?.as_dir()?.clone())
}

/// Creates a file with content.
pub fn file(fs: &dyn FileSystem, path: &str, content: &[u8]) -> Result<Arc<dyn FileOps>> {
    let node = make(fs, path, NewKind::File, 0o644)?;
    let file = node.as_file()?.clone();
    write_all(&*file, 0, content)?;
    Ok(file)
}

/// The regular file at a path.
pub fn open(fs: &dyn FileSystem, path: &str) -> Result<Arc<dyn FileOps>> {
    Ok(at(fs, path)?.as_file()?.clone())
}

/// All of a file's content, at most 64 MiB.
pub fn read(fs: &dyn FileSystem, path: &str) -> Result<Vec<u8>> {
    let file = open(fs, path)?;
    let size = file.attr()?.size;
    if size > 64 << 20 {
        return Err(Errno::EFBIG.into());
    }
    let mut content = vec![0xa5; size as usize];
    let count = file.read_at(0, &mut content)?;
    content.truncate(count);
    Ok(content)
}

/// `unlink(2)`.
pub fn unlink(fs: &dyn FileSystem, path: &str) -> Result<()> {
    let (dir, name) = parent(fs, path)?;
    dir.remove(name, vfs::Expect::NonDir)
}

/// `rmdir(2)`.
pub fn rmdir(fs: &dyn FileSystem, path: &str) -> Result<()> {
    let (dir, name) = parent(fs, path)?;
    dir.remove(name, vfs::Expect::EmptyDir)
}

/// `link(2)`.
pub fn link(fs: &dyn FileSystem, old: &str, new: &str) -> Result<()> {
    let node = at(fs, old)?;
    let (dir, name) = parent(fs, new)?;
    dir.link(name, &node)
}

/// `renameat2(2)`.
pub fn rename(fs: &dyn FileSystem, old: &str, new: &str, mode: RenameMode) -> Result<()> {
    let (from, name) = parent(fs, old)?;
    let (to, new_name) = parent(fs, new)?;
    from.rename(&RenameOp { name, to: &to, new_name, mode })
}

/// Sets an extended attribute.
pub fn set_xattr(fs: &dyn FileSystem, path: &str, name: &str, value: &[u8]) -> Result<()> {
    at(fs, path)?.ops().set_xattr(name.as_bytes(), value, XattrMode::Set)
}

/// Sets both times.
pub const fn times(atime: Timestamp, mtime: Timestamp) -> SetAttr {
    SetAttr { mode: None, uid: None, gid: None, atime: Some(SetTime::At(atime)), mtime: Some(SetTime::At(mtime)) }
}
