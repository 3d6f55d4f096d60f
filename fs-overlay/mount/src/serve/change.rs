//! Changes of entries: what the kernel has checked is carried out, with owner, group, mode and lists as Linux gives them to a new
//! inode.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use fuser::{RenameFlags, Request};
use vfs::acl::{self, Acl};
use vfs::birth::{self, Birth};
use vfs::{DirOps, Errno, Expect, FileType, Name, NewKind, NewNode, Node, RenameMode, RenameOp, Result};

use super::attr::device;
use super::{Server, flags};

/// A place for an entry.
pub(super) struct Place<'a> {
    pub(super) parent: u64,
    pub(super) name: &'a OsStr,
}

/// The mode that was asked for, before the umask.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) mode: u32,
    pub(super) umask: u32,
}

impl Server {
    /// Makes an entry and its inode.
    ///
    /// # Errors
    /// Those of [`vfs::DirOps::create`].
    pub(super) fn make(&self, request: &Request, at: &Place<'_>, kind: NewKind<'_>, asked: Asked) -> Result<Node> {
        let dir = self.dir(at.parent)?;
        let name = Name::new(at.name.as_bytes())?;
        let above = dir.attr()?;
        above.flags.unwrap_or_default().check_growth()?;
        let default = Acl::of(&*dir, acl::DEFAULT)?;
        let parent = birth::Parent { mode: above.mode, gid: above.gid, default: default.as_ref() };
        let new = birth::Asked {
            kind: kind.file_type(),
            mode: (asked.mode & 0o7777) as u16,
            umask: (asked.umask & 0o777) as u16,
            gid: request.gid(),
        };
        // The kernel has taken the set-group-id bit away already from whom it is refused.
        let birth = Birth::new(&parent, &new, || true)?;
        let (mode, gid) = (birth.mode, birth.gid);
        dir.create(name, &NewNode { kind, mode, uid: request.uid(), gid, xattrs: &birth.xattrs() })
    }

    /// `mknod(2)`, with the type in the mode.
    ///
    /// # Errors
    /// `EINVAL` for an unknown type; as [`make`](Self::make).
    pub(super) fn make_special(&self, request: &Request, at: &Place<'_>, asked: Asked, rdev: u32) -> Result<Node> {
        let kind = match FileType::from_mode(asked.mode) {
            Some(FileType::File) => NewKind::File,
            Some(FileType::CharDevice) => NewKind::CharDevice(device(rdev)),
            Some(FileType::BlockDevice) => NewKind::BlockDevice(device(rdev)),
            Some(FileType::Fifo) => NewKind::Fifo,
            Some(FileType::Socket) => NewKind::Socket,
            Some(FileType::Dir | FileType::Symlink) | None => return Err(Errno::EINVAL.into()),
        };
        self.make(request, at, kind, asked)
    }

    pub(super) fn remove(&self, at: &Place<'_>, expect: Expect) -> Result<()> {
        let (dir, name) = (self.dir(at.parent)?, Name::new(at.name.as_bytes())?);
        flags::may_remove(&*dir, name)?;
        dir.remove(name, expect)
    }

    pub(super) fn give_name(&self, node: u64, at: &Place<'_>) -> Result<Node> {
        let node = self.node(node)?;
        let dir = self.dir(at.parent)?;
        flags::of(&*dir)?.check_growth()?;
        flags::of(node.ops())?.check_change()?;
        dir.link(Name::new(at.name.as_bytes())?, &node)?;
        Ok(node)
    }

    pub(super) fn move_entry(&self, from: &Place<'_>, to: &Place<'_>, how: RenameFlags) -> Result<()> {
        let exchange = RenameFlags::RENAME_EXCHANGE;
        let no_replace = RenameFlags::RENAME_NOREPLACE;
        let mode = match how {
            how if how.is_empty() => RenameMode::Replace,
            how if how == exchange => RenameMode::Exchange,
            how if how == no_replace => RenameMode::NoReplace,
            _ => return Err(Errno::EINVAL.into()),
        };
        let (source, target) = (self.dir(from.parent)?, self.dir(to.parent)?);
        let (name, new_name) = (Name::new(from.name.as_bytes())?, Name::new(to.name.as_bytes())?);
        flags::may_remove(&*source, name)?;
        flags::may_arrive(&*target, new_name)?;
        source.rename(&RenameOp { name, to: &target, new_name, mode })?;
        if from.parent != to.parent {
            self.note_move(&*target, new_name, to.parent);
            if mode == RenameMode::Exchange {
                self.note_move(&*source, name, from.parent);
            }
        }
        Ok(())
    }

    /// Keeps in mind what is above a directory now. The kernel holds the locks of both parents meanwhile.
    fn note_move(&self, dir: &dyn DirOps, name: Name<'_>, parent: u64) {
        if let Ok(Some(node @ Node::Dir(_))) = dir.lookup(name) {
            self.table.moved(&node, parent);
        }
    }
}
