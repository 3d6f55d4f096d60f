//! The tree as it is, read by system calls.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fgetxattr, openat, readlinkat, statat, unlinkat};
use rustix::io::Errno;
use storm::{Kind, MARK, Node, Tree, UNFINISHED};
use strata_rt::{dir, file, text};

/// The longest value of the attribute that is looked for.
const VALUE: usize = 64;

/// All below the open directory, but what is not compared; what is unfinished is removed.
///
/// # Errors
/// Those of the calls.
pub(crate) fn tree(top: &OwnedFd) -> Result<Tree, Errno> {
    let mut tree = Tree::default();
    below(top, b"", &mut tree)?;
    Ok(tree)
}

fn below(open: &OwnedFd, path: &[u8], tree: &mut Tree) -> Result<(), Errno> {
    for entry in dir::entries(open)? {
        let name = entry.name();
        if path.is_empty() && name == MARK {
            continue;
        }
        if name == UNFINISHED {
            unlinkat(open, name, AtFlags::empty())?;
            continue;
        }
        let path = if path.is_empty() { Vec::from(name) } else { text::join(path, name) };
        let stat = statat(open, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (mut kind, mut xattr) = (Kind::Fifo, None);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = openat(open, name, flags, Mode::empty())?;
                let mut bytes = Vec::new();
                file::for_each_chunk(&opened, |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })?;
                kind = Kind::File(bytes);
                xattr = attribute(&opened)?;
            }
            FileType::Directory => {
                kind = Kind::Dir;
                below(&dir::open_in(open.as_fd(), name)?, &path, tree)?;
            }
            FileType::Symlink => kind = Kind::Symlink(readlinkat(open, name, Vec::new())?.into_bytes()),
            FileType::Fifo => {}
            _ => return Err(Errno::INVAL),
        }
        tree.add(path, stat.st_ino, Node { kind, mode: stat.st_mode & 0o7777, uid: stat.st_uid, xattr });
    }
    Ok(())
}

fn attribute(file: &OwnedFd) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0; VALUE];
    match fgetxattr(file, storm::XATTR, &mut value[..]) {
        Ok(len) => Ok(Some(value[..len].into())),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}
