//! Operations on our filesystem, with what the namespace does above it on Linux's behalf.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use block::BlockDevice;
use contract::tree::walk;
use ext4::{Discard, Ext4, MountMode, MountOptions};
use vfs::{
    Cookie, DeviceNumber, DirEntry, DirOps, Error, Expect, FileOps, FileSystem, FsContext, Name, NewKind, NewNode,
    Node, RenameOp, Result, SetAttr, SetTime, SourceLeft, Timestamp, UpperRename, UpperRenameMode, mode,
};

use crate::op::{Answer, Device, Op, World, bytes_answer, split};

pub struct Ours {
    pub fs: Arc<Ext4>,
    mount: Box<dyn Fn() -> Arc<Ext4>>,
    held: Vec<Arc<dyn FileOps>>,
}

fn mount(disk: &Arc<dyn BlockDevice>, clock: &Arc<AtomicI64>) -> Arc<Ext4> {
    let clock = clock.clone();
    let now = move || Timestamp { secs: clock.fetch_add(1, Ordering::Relaxed), nanos: 123_456_789 };
    let context = FsContext { dev: 0x801, clock: Arc::new(now) };
    // A small cache, so that blocks leave it and come back; and the disk is told of what is free as it becomes so.
    let options = MountOptions {
        mode: MountMode::ReadWrite,
        cache_bytes: 2 << 20,
        discard: Discard::OnFree,
        ..MountOptions::default()
    };
    Ext4::mount(disk.clone(), context, options).unwrap_or_else(|error| panic!("mount: {error}"))
}

impl Ours {
    pub fn new(disk: Arc<dyn BlockDevice>) -> Self {
        let clock = Arc::new(AtomicI64::new(super::OUR_CLOCK.start));
        Self::mounted_by(move || mount(&disk, &clock))
    }

    /// What `mount` mounts, now and again.
    pub fn mounted_by(mount: impl Fn() -> Arc<Ext4> + 'static) -> Self {
        Self { fs: mount(), mount: Box::new(mount), held: Vec::new() }
    }

    /// Lets go of the files that are held, unmounts and mounts.
    pub fn remount(&mut self) {
        self.held.clear();
        self.fs.unmount().expect("an unmount");
        self.fs = (self.mount)();
    }

    pub fn unmount(mut self) {
        self.held.clear();
        self.fs.unmount().expect("an unmount");
    }

    fn at(&self, path: &[u8]) -> Result<Node> {
        walk(&self.fs.root(), path)
    }

    fn file(&self, path: &[u8]) -> Result<Arc<dyn FileOps>> {
        Ok(self.at(path)?.as_file()?.clone())
    }

    fn parent<'a>(&self, path: &'a [u8]) -> Result<(Arc<dyn DirOps>, Name<'a>)> {
        let (dir, name) = split(path);
        Ok((self.at(dir)?.as_dir()?.clone(), Name::new(name)?))
    }

    /// A new node in `dir`: a set-group-id directory gives its group, and to directories its bit.
    fn new_node<'a>(dir: &dyn DirOps, kind: NewKind<'a>, bits: u16) -> Result<NewNode<'a>> {
        let mut new = NewNode::new(kind, bits);
        let parent = dir.attr()?;
        if parent.mode & mode::SET_GID != 0 {
            new.gid = parent.gid;
            if kind == NewKind::Dir {
                new.mode |= mode::SET_GID;
            }
        }
        Ok(new)
    }

    fn create(&self, path: &[u8], kind: NewKind<'_>, bits: u16) -> Result<Answer> {
        let (dir, name) = self.parent(path)?;
        dir.create(name, &Self::new_node(&*dir, kind, bits)?)?;
        Ok(Answer::Done)
    }

    fn try_apply(&mut self, op: &Op) -> Result<Answer> {
        match op {
            Op::Create(path, bits) => return self.create(path, NewKind::File, *bits),
            Op::Mkdir(path, bits) => return self.create(path, NewKind::Dir, *bits),
            Op::Symlink(path, target) => return self.create(path, NewKind::Symlink(target), 0o777),
            Op::Mknod(path, device, bits) => {
                let kind = match *device {
                    Device::Char(major, minor) => NewKind::CharDevice(DeviceNumber::new(major, minor)),
                    Device::Block(major, minor) => NewKind::BlockDevice(DeviceNumber::new(major, minor)),
                    Device::Fifo => NewKind::Fifo,
                    Device::Socket => NewKind::Socket,
                };
                return self.create(path, kind, *bits);
            }
            Op::Write(path, offset, data) => {
                return Ok(Answer::Value(self.file(path)?.write_at(*offset, data.bytes())? as u64));
            }
            Op::Append(path, data) => return Ok(Answer::Value(self.file(path)?.append(data.bytes())?.1 as u64)),
            Op::Truncate(path, len) => self.file(path)?.set_len(*len)?,
            Op::Allocate(path, how, offset, len) => self.file(path)?.allocate(*how, *offset, *len)?,
            Op::Read(path, offset, len) => return read(&*self.file(path)?, *offset, *len),
            Op::ReadLink(path) => match self.at(path)? {
                Node::Symlink(link) => return Ok(Answer::Bytes(link.target()?)),
                _ => return Err(vfs::Errno::EINVAL.into()),
            },
            Op::List(path) => {
                let mut names = Vec::new();
                self.at(path)?.as_dir()?.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
                    names.push(entry.name.as_bytes().to_vec());
                    ControlFlow::Continue(())
                })?;
                names.sort();
                return Ok(Answer::Names(names));
            }
            Op::Link(old, new) => {
                let node = self.at(old)?;
                let (dir, name) = self.parent(new)?;
                if dir.lookup(name)?.is_some() {
                    // The namespace looks at the new name first.
                    return Err(vfs::Errno::EEXIST.into());
                }
                dir.link(name, &node)?;
            }
            Op::Rename(old, new, how) => {
                let ((from, name), (to, new_name)) = (self.parent(old)?, self.parent(new)?);
                from.rename(&RenameOp { name, to: &to, new_name, mode: *how })?;
            }
            Op::RenameWhiteout(old, new) => {
                let ((from, name), (to, new_name)) = (self.parent(old)?, self.parent(new)?);
                let upper = from.as_upper().expect("ext4 is an upper");
                let how = UpperRenameMode::Move(SourceLeft::Whiteout);
                upper.rename_upper(&UpperRename { name, to: &to, new_name, mode: how, xattrs: &[] })?;
            }
            Op::Unlink(path) => {
                let (dir, name) = self.parent(path)?;
                dir.remove(name, Expect::NonDir)?;
            }
            Op::Rmdir(path) => {
                let (dir, name) = self.parent(path)?;
                dir.remove(name, Expect::EmptyDir)?;
            }
            Op::Chmod(path, bits) => {
                self.at(path)?.ops().set_attr(&SetAttr { mode: Some(*bits), ..SetAttr::default() })?;
            }
            Op::Chown(path, uid, gid, bits) => {
                let change = SetAttr { mode: *bits, uid: Some(*uid), gid: Some(*gid), ..SetAttr::default() };
                self.at(path)?.ops().set_attr(&change)?;
            }
            Op::Utimens(path, atime, mtime) => {
                let change =
                    SetAttr { atime: atime.map(SetTime::At), mtime: mtime.map(SetTime::At), ..SetAttr::default() };
                self.at(path)?.ops().set_attr(&change)?;
            }
            Op::SetXattr(path, name, data, how) => {
                self.at(path)?.ops().set_xattr(name.as_bytes(), data.bytes(), *how)?;
            }
            Op::RemoveXattr(path, name) => self.at(path)?.ops().remove_xattr(name.as_bytes())?,
            Op::Unnamed(path, data) => {
                let (dir, name) = self.parent(path)?;
                let node = dir.create_unnamed(&Self::new_node(&*dir, NewKind::File, 0o600)?)?;
                node.as_file()?.write_at(0, data.bytes())?;
                dir.link(name, &node)?;
            }
            Op::Hold(path) => {
                let file = self.file(path)?;
                self.held.push(file);
            }
            Op::HeldWrite(index, offset, data) => {
                return Ok(Answer::Value(self.held[*index].write_at(*offset, data.bytes())? as u64));
            }
            Op::HeldRead(index, offset, len) => return read(&*self.held[*index], *offset, *len),
            Op::HeldRelease(index) => drop(self.held.swap_remove(*index)),
            Op::Sync => self.fs.sync()?,
        }
        Ok(Answer::Done)
    }
}

fn read(file: &dyn FileOps, offset: u64, len: usize) -> Result<Answer> {
    let mut buf = vec![0xa5; len];
    let count = file.read_at(offset, &mut buf)?;
    Ok(bytes_answer(&buf[..count]))
}

impl World for Ours {
    fn apply(&mut self, op: &Op) -> Answer {
        self.try_apply(op).unwrap_or_else(|error: Error| Answer::Errno(i32::from(error.errno().number())))
    }
}
