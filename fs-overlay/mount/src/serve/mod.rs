//! The filesystem that the kernel talks to over FUSE: [`Server`] answers each request from the overlay's nodes.
//!
//! The kernel resolves paths, checks permissions (`default_permissions`, access lists included), keeps dentries, attributes and
//! pages; since no one else changes the tree, it keeps them for long. Numbers of inodes are in `table`; changes of entries in
//! `change`, contents and attributes in `content`, inode flags in `flags`, directory streams in `listing`; `caller` tells what the
//! kernel left open. Several threads call at once, and no lock of this module is held over a call of the overlay.

mod attr;
mod caller;
mod change;
mod content;
mod flags;
mod listing;
mod open;
mod table;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek,
    ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use vfs::{DirOps, Errno, Expect, FileSystem, Name, NewKind, Node, Result, SyncKind};

use attr::{ABSENT, Described, absent, errno, to_fuse, ttl};
use change::{Asked, Place};
use content::Change;
use open::OpenFiles;
use table::Table;

/// The largest request: as much as the kernel's pages per request allow.
const REQUEST_MAX: u32 = 1 << 20;

/// Everything is found by the inode's number: open directories need no handle, and files only for what they were [told](open).
const NO_HANDLE: FileHandle = FileHandle(0);

/// An open directory whose listing is no access: `O_NOATIME`.
const QUIET: FileHandle = FileHandle(1);

/// Numbers are not used again while the kernel knows them.
const GENERATION: Generation = Generation(0);

/// Answers the kernel.
pub(crate) struct Server {
    fs: Arc<dyn FileSystem>,
    table: Table,
    open: OpenFiles,
}

impl Server {
    /// A server of this filesystem.
    pub(crate) fn new(fs: Arc<dyn FileSystem>) -> Self {
        let table = Table::new(Node::Dir(fs.root()));
        Self { fs, table, open: OpenFiles::default() }
    }

    fn node(&self, number: u64) -> Result<Node> {
        self.table.get(number).ok_or(Errno::ESTALE.into())
    }

    fn dir(&self, number: u64) -> Result<Arc<dyn DirOps>> {
        self.node(number)?.as_dir().cloned()
    }

    /// Tells of a node at a name of the directory `parent`.
    fn describe(&self, node: &Node, parent: INodeNo) -> Result<Described> {
        let attr = node.attr()?;
        Ok(Described::new(self.table.remember(node, parent.0), &attr))
    }

    fn reply_entry(&self, node: Result<Node>, parent: INodeNo, reply: ReplyEntry) {
        match node.and_then(|node| self.describe(&node, parent)) {
            Ok(it) => reply.entry_with_ttls(&it.attr_ttl, &it.entry_ttl, &it.attr, GENERATION),
            Err(error) => reply.error(errno(error)),
        }
    }
}

fn reply_empty(result: Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn reply_written(result: Result<u32>, reply: ReplyWrite) {
    match result {
        Ok(count) => reply.written(count),
        Err(error) => reply.error(errno(error)),
    }
}

/// `getxattr(2)` and `listxattr(2)`: the size alone, or the value where it fits.
fn reply_xattr(result: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match result.and_then(|value| Ok((vfs::fit(&value, size as usize)?.is_some(), value))) {
        Ok((true, value)) => reply.data(&value),
        // Values are at most 64 KiB, lists of their names not much more.
        Ok((false, value)) => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let needed = InitFlags::FUSE_DONT_MASK | InitFlags::FUSE_POSIX_ACL;
        config.add_capabilities(needed).map_err(|missing| {
            io::Error::new(io::ErrorKind::Unsupported, format!("the kernel's FUSE lacks {missing:?}"))
        })?;
        for wished in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            // A kernel without it is slower, no more.
            let _ = config.add_capabilities(wished);
        }
        // Both answer with the nearest that is possible, which is then in force.
        let _ = config.set_max_write(REQUEST_MAX);
        let _ = config.set_max_readahead(REQUEST_MAX).map_err(|least| config.set_max_readahead(least));
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.dir(parent.0).and_then(|dir| dir.lookup(Name::new(name.as_bytes())?));
        match found {
            Ok(Some(node)) => self.reply_entry(Ok(node), parent, reply),
            Ok(None) => reply.entry(&ABSENT, &absent(), GENERATION),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn forget(&self, _: &Request, number: INodeNo, times: u64) {
        self.table.forget(number.0, times);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(number.0).and_then(|node| node.attr()) {
            Ok(attr) => reply.attr(&ttl(&attr), &to_fuse(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.change(number.0, &Change { mode, uid, gid, size, atime, mtime }) {
            Ok(attr) => reply.attr(&ttl(&attr), &to_fuse(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.node(number.0).and_then(|node| match &node {
            Node::Symlink(link) => {
                let target = link.target()?;
                link.note_access();
                Ok(target)
            }
            _ => Err(Errno::EINVAL.into()),
        });
        match target {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let place = Place { parent: parent.0, name };
        self.reply_entry(self.make_special(request, &place, Asked { mode, umask }, rdev), parent, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let place = Place { parent: parent.0, name };
        self.reply_entry(self.make(request, &place, NewKind::Dir, Asked { mode, umask }), parent, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.remove(&Place { parent: parent.0, name }, Expect::NonDir), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.remove(&Place { parent: parent.0, name }, Expect::EmptyDir), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let place = Place { parent: parent.0, name };
        let kind = NewKind::Symlink(target.as_os_str().as_bytes());
        self.reply_entry(self.make(request, &place, kind, Asked { mode: 0o777, umask: 0 }), parent, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (Place { parent: parent.0, name }, Place { parent: new_parent.0, name: new_name });
        reply_empty(self.move_entry(&from, &to, flags), reply);
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.reply_entry(self.give_name(number.0, &Place { parent: parent.0, name }), parent, reply);
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.prepare(number.0, flags.0) {
            Ok(node) => reply.opened(FileHandle(self.open.open(&node)), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let place = Place { parent: parent.0, name };
        let made = self.make(request, &place, NewKind::File, Asked { mode, umask });
        match made.and_then(|node| Ok((self.describe(&node, parent)?, self.open.open(&node)))) {
            Ok((it, number)) => {
                let handle = FileHandle(number);
                reply.created(&it.shortest(), &it.attr, GENERATION, handle, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.read_with(number.0, offset, size, |read| match read {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply_written(self.write(number.0, offset, data, flags), reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Nothing is kept back here, so the kernel need not ask again.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.open.close(handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, only_data: bool, reply: ReplyEmpty) {
        let kind = if only_data { SyncKind::Data } else { SyncKind::All };
        reply_empty(self.node(number.0).and_then(|node| self.open.sync(handle.0, &node, kind)), reply);
    }

    fn opendir(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let quiet = flags.0 & vfs::OpenFlags::O_NOATIME.bits() as i32 != 0;
        reply.opened(if quiet { QUIET } else { NO_HANDLE }, FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = |dir| {
            listing::plain(&self.table, (number.0, &dir), offset, &mut reply)?;
            note_listing(&dir, handle, offset);
            Ok(())
        };
        match self.dir(number.0).and_then(listed) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = |dir| {
            listing::with_attributes(&self.table, (number.0, &dir), offset, &mut reply)?;
            note_listing(&dir, handle, offset);
            Ok(())
        };
        match self.dir(number.0).and_then(listed) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, only_data: bool, reply: ReplyEmpty) {
        let kind = if only_data { SyncKind::Data } else { SyncKind::All };
        reply_empty(self.node(number.0).and_then(|node| node.ops().sync(kind)), reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.fs.statfs() {
            Ok(it) => reply.statfs(
                it.blocks,
                it.blocks_free,
                it.blocks_available,
                it.files,
                it.files_free,
                it.block_size,
                it.name_max,
                it.block_size,
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setxattr(
        &self,
        request: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        reply_empty(self.set_xattr(request, number.0, name.as_bytes(), value, flags), reply);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        reply_xattr(self.xattr(number.0, name.as_bytes()), size, reply);
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        reply_xattr(self.xattr_names(request, number.0), size, reply);
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.remove_xattr(number.0, name.as_bytes()), reply);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn ioctl(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        command: u32,
        argument: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        match self.flags_command(number.0, command, argument) {
            Ok(answer) => reply.ioctl(0, &answer),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        reply: ReplyPoll,
    ) {
        // The kernel then takes files as always ready.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        reply_empty(self.allocate(number.0, offset, length, mode), reply);
    }

    fn lseek(&self, _: &Request, number: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.seek(number.0, offset, whence) {
            Ok(offset) => reply.offset(offset),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply_written(self.copy((from.0, from_offset), (to.0, to_offset), len), reply);
    }
}

/// A listing has begun, and is an access unless its opener wants none.
fn note_listing(dir: &Arc<dyn DirOps>, handle: FileHandle, offset: u64) {
    if offset == 0 && handle != QUIET {
        dir.note_access();
    }
}
