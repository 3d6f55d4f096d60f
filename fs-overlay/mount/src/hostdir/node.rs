//! Inodes of the host, by kind, each behind a descriptor.

use std::sync::{Arc, OnceLock};

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, SeekFrom, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno as HostErrno;
use vfs::{
    Attr, Cookie, DeviceNumber, DirEntry, DirOps, DirSink, Errno, Error, FileOps, FileType, InodeFlags, Name, NameBuf,
    Node, NodeId, NodeOps, Result, SpecialOps, SymlinkOps, Timestamp, XattrSet, mode,
};

use super::{Shared, from_host};

/// How an inode is held: not opened, so that no right to its content is needed and nothing happens to a device.
pub(super) const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The longest list of names or value of an extended attribute.
const XATTR_MAX: usize = 65_536;

pub(super) fn stat(fd: &OwnedFd) -> Result<Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT, mask).map_err(from_host)
}

/// What every kind has.
struct Held {
    shared: Arc<Shared>,
    fd: OwnedFd,
    ino: u64,
}

impl Held {
    /// Where the host finds the inode again, without looking anything up.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn attr(&self) -> Result<Attr> {
        let stat = stat(&self.fd)?;
        let kind = FileType::from_mode(u32::from(stat.stx_mode))
            .ok_or(Error::new(Errno::EIO, "an inode of a type that no one knows"))?;
        let has_birth = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        Ok(Attr {
            dev: self.shared.dev,
            ino: self.ino,
            kind,
            mode: stat.stx_mode & mode::PERMISSIONS,
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            rdev: DeviceNumber::new(stat.stx_rdev_major, stat.stx_rdev_minor),
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            block_size: stat.stx_blksize,
            atime: timestamp(&stat.stx_atime),
            mtime: timestamp(&stat.stx_mtime),
            ctime: timestamp(&stat.stx_ctime),
            btime: has_birth.then(|| timestamp(&stat.stx_btime)),
            // Those of the host are its own business; over it an overlay can have some.
            flags: Some(InodeFlags::empty()),
        })
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::with_capacity(256);
        loop {
            match rustix::fs::getxattr(self.path(), name, spare_capacity(&mut value)) {
                Ok(_) => return Ok(Some(value)),
                Err(HostErrno::NODATA) => return Ok(None),
                Err(HostErrno::RANGE) if value.capacity() < XATTR_MAX => value.reserve_exact(XATTR_MAX),
                Err(error) => return Err(from_host(error)),
            }
        }
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut names = Vec::with_capacity(1024);
        loop {
            match rustix::fs::listxattr(self.path(), spare_capacity(&mut names)) {
                Ok(_) => break,
                Err(HostErrno::RANGE) if names.capacity() < XATTR_MAX => names.reserve_exact(XATTR_MAX),
                Err(HostErrno::OPNOTSUPP) => return Ok(()),
                Err(error) => return Err(from_host(error)),
            }
        }
        names.split(|&byte| byte == 0).filter(|name| !name.is_empty()).for_each(each);
        Ok(())
    }
}

fn timestamp(time: &StatxTimestamp) -> Timestamp {
    Timestamp { secs: time.tv_sec, nanos: time.tv_nsec }
}

/// Opens for reading, without leaving a trace in atime where that is allowed.
fn open(path: &str, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(HostErrno::PERM) => rustix::fs::openat(CWD, path, flags, Mode::empty()),
        opened => opened,
    }
    .map_err(from_host)
}

macro_rules! node_ops {
    ($($kind:ty),*) => {$(
        impl NodeOps for $kind {
            fn id(&self) -> NodeId {
                NodeId { dev: self.held.shared.dev, ino: self.held.ino }
            }

            fn attr(&self) -> Result<Attr> {
                self.held.attr()
            }

            fn set_flags(&self, _: InodeFlags, _: Option<XattrSet<'_>>) -> Result<()> {
                Err(Errno::EROFS.into())
            }

            fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
                self.held.xattr(name)
            }

            fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
                self.held.list_xattrs(each)
            }
        }
    )*};
}

node_ops!(DirNode, FileNode, LinkNode, SpecialNode);

/// A directory.
pub(super) struct DirNode {
    held: Held,
    /// Its entries, in the order of their names: it does not change while it is mounted.
    entries: OnceLock<Arc<[Entry]>>,
}

struct Entry {
    name: NameBuf,
    ino: u64,
    kind: FileType,
}

impl DirNode {
    pub(super) fn new(shared: Arc<Shared>, fd: OwnedFd, ino: u64) -> Arc<Self> {
        Arc::new(Self { held: Held { shared, fd, ino }, entries: OnceLock::new() })
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.held.fd
    }

    fn entries(&self) -> Result<Arc<[Entry]>> {
        if let Some(entries) = self.entries.get() {
            return Ok(entries.clone());
        }
        let entries = self.read_entries()?;
        Ok(self.entries.get_or_init(|| entries).clone())
    }

    fn read_entries(&self) -> Result<Arc<[Entry]>> {
        let dir = open(&self.held.path(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut stream = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
        let mut entries = Vec::new();
        while let Some(entry) = stream.next() {
            let entry = entry.map_err(from_host)?;
            let bytes = entry.file_name().to_bytes();
            if matches!(bytes, b"." | b"..") {
                continue;
            }
            let name = Name::new(bytes)?;
            let kind = match entry.file_type() {
                rustix::fs::FileType::Unknown => match self.lookup(name)? {
                    Some(node) => node.file_type()?,
                    None => continue,
                },
                known => FileType::from_mode(known.as_raw_mode())
                    .ok_or(Error::new(Errno::EIO, "an entry of a type that no one knows"))?,
            };
            entries.push(Entry { name: name.to_owned(), ino: entry.ino(), kind });
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries.into())
    }
}

impl DirOps for DirNode {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        let fd = match rustix::fs::openat(&self.held.fd, name.as_bytes(), HOLD, Mode::empty()) {
            Ok(fd) => fd,
            Err(HostErrno::NOENT | HostErrno::NAMETOOLONG) => return Ok(None),
            Err(error) => return Err(from_host(error)),
        };
        let shared = self.held.shared.clone();
        let stat = stat(&fd)?;
        if (stat.stx_dev_major, stat.stx_dev_minor) != shared.host_dev {
            return Err(Error::new(Errno::EXDEV, "another filesystem is mounted in a directory of the host"));
        }
        let ino = stat.stx_ino;
        if FileType::from_mode(u32::from(stat.stx_mode)) == Some(FileType::Dir) {
            return Ok(Some(Node::Dir(Self::new(shared, fd, ino))));
        }
        let held = Held { shared, fd, ino };
        Ok(Some(match FileType::from_mode(u32::from(stat.stx_mode)) {
            Some(FileType::File) => Node::File(Arc::new(FileNode { held, content: OnceLock::new() })),
            Some(FileType::Symlink) => Node::Symlink(Arc::new(LinkNode { held })),
            _ => Node::Special(Arc::new(SpecialNode { held })),
        }))
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let entries = self.entries()?;
        let start = usize::try_from(from.0.saturating_sub(Cookie::FIRST - 1)).unwrap_or(usize::MAX);
        for (index, entry) in entries.iter().enumerate().skip(start) {
            let next = Cookie(Cookie::FIRST + index as u64);
            let entry = DirEntry { name: entry.name.as_name(), ino: entry.ino, kind: entry.kind, next };
            if sink.entry(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// A regular file, opened at its first read.
struct FileNode {
    held: Held,
    content: OnceLock<OwnedFd>,
}

impl FileNode {
    fn content(&self) -> Result<&OwnedFd> {
        if let Some(content) = self.content.get() {
            return Ok(content);
        }
        let content = open(&self.held.path(), OFlags::RDONLY)?;
        Ok(self.content.get_or_init(|| content))
    }

    fn seek(&self, to: SeekFrom) -> Result<Option<u64>> {
        match rustix::fs::seek(self.content()?, to) {
            Ok(offset) => Ok(Some(offset)),
            Err(HostErrno::NXIO) => Ok(None),
            Err(error) => Err(from_host(error)),
        }
    }
}

impl FileOps for FileNode {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let content = self.content()?;
        let mut done = 0;
        while done < buf.len() {
            match rustix::io::pread(content, &mut buf[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(HostErrno::INTR) => {}
                Err(error) => return Err(from_host(error)),
            }
        }
        Ok(done)
    }

    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        self.seek(SeekFrom::Data(offset))
    }

    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        self.seek(SeekFrom::Hole(offset))
    }
}

struct LinkNode {
    held: Held,
}

impl SymlinkOps for LinkNode {
    fn target(&self) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.held.fd, "", Vec::new()).map_err(from_host)?;
        Ok(target.into_bytes())
    }
}

struct SpecialNode {
    held: Held,
}

impl SpecialOps for SpecialNode {}
