//! The same work, for tests and benchmarks: on our filesystem, by the calls that are behind system calls, and on a mounted one of Linux's, by system calls relative to its root.

use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, XattrFlags};
use rustix::io::{pread, pwrite};
use vfs::{
    AT_FDCWD, At, Context, Credentials, Fd, FileSystem, Namespace, NamespaceOptions, OpenFile, OpenFlags, SyncKind,
};

/// Whoever does the work. Paths are below the root; what fails ends the run.
pub trait Worker {
    /// Makes a directory of the root's, and takes paths as below it from now on.
    fn enter_new(&mut self, dir: &str);
    /// `open(2)` of a new file, to read and write.
    fn create(&mut self, path: &str) -> Box<dyn Work>;
    /// `open(2)` to read and write.
    fn open(&mut self, path: &str) -> Box<dyn Work>;
    /// `stat(2)`: gives the size.
    fn stat(&mut self, path: &str) -> u64;
    /// `stat(2)` of what may be absent.
    fn exists(&mut self, path: &str) -> bool;
    /// `chmod(2)`.
    fn chmod(&mut self, path: &str, bits: u16);
    /// `mkdir(2)`.
    fn mkdir(&mut self, path: &str);
    /// `rmdir(2)`.
    fn rmdir(&mut self, path: &str);
    /// `symlink(2)`.
    fn symlink(&mut self, target: &str, path: &str);
    /// `unlink(2)`.
    fn unlink(&mut self, path: &str);
    /// `rename(2)`.
    fn rename(&mut self, from: &str, to: &str);
    /// Reads a directory to its end: gives the number of its names, without `.` and `..`.
    fn list(&mut self, path: &str) -> usize;
    /// `syncfs(2)`.
    fn sync(&mut self);
}

/// An open file.
pub trait Work {
    /// `pwrite(2)`.
    fn write(&self, at: u64, data: &[u8]);
    /// `write(2)`: the file was created here, and nothing else is written to it.
    fn append(&self, data: &[u8]);
    /// `pread(2)`.
    fn read(&self, at: u64, buf: &mut [u8]);
    /// `ftruncate(2)`.
    fn set_len(&self, len: u64);
    /// `fsetxattr(2)`.
    fn set_xattr(&self, name: &str, value: &[u8]);
    /// `fsync(2)`.
    fn fsync(&self);
    /// `fdatasync(2)`.
    fn fdatasync(&self);
}

/// As many as the kernel keeps on a machine of two GiB.
const DENTRIES: usize = 131_072;

/// Our filesystem below the kernel's namespace: paths, permissions, the dentry cache and descriptors are as in a system call.
pub struct Ours {
    fs: Arc<dyn FileSystem>,
    ns: Arc<Namespace>,
    process: Arc<Context>,
}

impl Ours {
    /// A process of root's on a filesystem.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>) -> Self {
        let options = NamespaceOptions { dentry_capacity: DENTRIES, ..NamespaceOptions::default() };
        let ns = Namespace::new(fs.clone(), b"disk", options);
        let process = Arc::new(ns.context(Credentials::root(), 1));
        Self { fs, ns, process }
    }

    fn open_with(&self, path: &str, flags: OpenFlags) -> OpenedByUs {
        let file = self.ns.openat(&self.process, AT_FDCWD, path.as_bytes(), flags, 0o644).unwrap();
        OpenedByUs { file, process: self.process.clone() }
    }
}

/// A descriptor of ours; closed at the end.
struct OpenedByUs {
    file: Fd,
    process: Arc<Context>,
}

impl OpenedByUs {
    fn file(&self) -> Arc<OpenFile> {
        self.process.file(self.file).unwrap()
    }
}

impl Drop for OpenedByUs {
    fn drop(&mut self) {
        self.process.files.close(self.file).unwrap();
    }
}

impl Work for OpenedByUs {
    fn write(&self, at: u64, data: &[u8]) {
        assert_eq!(self.file().write(&self.process, At::Offset(at as i64), data).unwrap(), data.len());
    }

    fn append(&self, data: &[u8]) {
        assert_eq!(self.file().write(&self.process, At::Position, data).unwrap(), data.len());
    }

    fn read(&self, at: u64, buf: &mut [u8]) {
        assert_eq!(self.file().read(At::Offset(at as i64), buf).unwrap(), buf.len());
    }

    fn set_len(&self, len: u64) {
        self.file().truncate(&self.process, len as i64).unwrap();
    }

    fn set_xattr(&self, name: &str, value: &[u8]) {
        self.file().set_xattr(&self.process, name.as_bytes(), value, vfs::XattrFlags::empty()).unwrap();
    }

    fn fsync(&self) {
        self.file().sync(SyncKind::All).unwrap();
    }

    fn fdatasync(&self) {
        self.file().sync(SyncKind::Data).unwrap();
    }
}

impl Worker for Ours {
    fn enter_new(&mut self, dir: &str) {
        self.ns.chdir(&self.process, b"/").unwrap();
        self.mkdir(dir);
        self.ns.chdir(&self.process, dir.as_bytes()).unwrap();
    }

    fn create(&mut self, path: &str) -> Box<dyn Work> {
        Box::new(self.open_with(path, OpenFlags::O_CREAT | OpenFlags::O_EXCL | OpenFlags::O_RDWR))
    }

    fn open(&mut self, path: &str) -> Box<dyn Work> {
        Box::new(self.open_with(path, OpenFlags::O_RDWR))
    }

    fn stat(&mut self, path: &str) -> u64 {
        self.ns.statat(&self.process, AT_FDCWD, path.as_bytes(), vfs::AtFlags::empty()).unwrap().attr.size
    }

    fn exists(&mut self, path: &str) -> bool {
        match self.ns.statat(&self.process, AT_FDCWD, path.as_bytes(), vfs::AtFlags::empty()) {
            Ok(_) => true,
            Err(error) if error == vfs::Errno::ENOENT => false,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn chmod(&mut self, path: &str, bits: u16) {
        let none = vfs::AtFlags::empty();
        self.ns.fchmodat(&self.process, AT_FDCWD, path.as_bytes(), bits.into(), none).unwrap();
    }

    fn mkdir(&mut self, path: &str) {
        self.ns.mkdirat(&self.process, AT_FDCWD, path.as_bytes(), 0o755).unwrap();
    }

    fn rmdir(&mut self, path: &str) {
        self.ns.unlinkat(&self.process, AT_FDCWD, path.as_bytes(), vfs::AtFlags::AT_REMOVEDIR).unwrap();
    }

    fn symlink(&mut self, target: &str, path: &str) {
        self.ns.symlinkat(&self.process, target.as_bytes(), AT_FDCWD, path.as_bytes()).unwrap();
    }

    fn unlink(&mut self, path: &str) {
        self.ns.unlinkat(&self.process, AT_FDCWD, path.as_bytes(), vfs::AtFlags::empty()).unwrap();
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (from, to) = (from.as_bytes(), to.as_bytes());
        self.ns.renameat2(&self.process, AT_FDCWD, from, AT_FDCWD, to, vfs::RenameFlags::empty()).unwrap();
    }

    fn list(&mut self, path: &str) -> usize {
        let dir = self.open_with(path, OpenFlags::O_RDONLY | OpenFlags::O_DIRECTORY);
        let mut buf = vec![0; 32768];
        let mut count = 0;
        loop {
            let len = dir.file().read_dir(&mut buf).unwrap();
            if len == 0 {
                return count;
            }
            // `struct linux_dirent64`: the length of a record is behind two numbers of 64 bits, the name behind its type.
            let mut rest = &buf[..len];
            while !rest.is_empty() {
                let (record, later) = rest.split_at(u16::from_le_bytes([rest[16], rest[17]]).into());
                count += usize::from(!record[19..].starts_with(b".\0") && !record[19..].starts_with(b"..\0"));
                rest = later;
            }
        }
    }

    fn sync(&mut self) {
        self.fs.sync().unwrap();
    }
}

/// Linux's.
pub struct Linux {
    at: PathBuf,
    root: OwnedFd,
}

impl Linux {
    /// On what is mounted at a place; it cannot be unmounted before this is dropped.
    #[must_use]
    pub fn new(at: &Path) -> Self {
        Self { at: at.into(), root: open_dir(at) }
    }

    fn open_with(&self, path: &str, flags: OFlags) -> OwnedFd {
        rustix::fs::openat(&self.root, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644)).unwrap()
    }
}

fn open_dir(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path.as_os_str().as_bytes(), flags, Mode::empty()).unwrap()
}

impl Work for OwnedFd {
    fn write(&self, at: u64, data: &[u8]) {
        assert_eq!(pwrite(self, data, at).unwrap(), data.len());
    }

    fn append(&self, data: &[u8]) {
        assert_eq!(rustix::io::write(self, data).unwrap(), data.len());
    }

    fn read(&self, at: u64, buf: &mut [u8]) {
        assert_eq!(pread(self, &mut *buf, at).unwrap(), buf.len());
    }

    fn set_len(&self, len: u64) {
        rustix::fs::ftruncate(self, len).unwrap();
    }

    fn set_xattr(&self, name: &str, value: &[u8]) {
        rustix::fs::fsetxattr(self, name, value, XattrFlags::empty()).unwrap();
    }

    fn fsync(&self) {
        rustix::fs::fsync(self).unwrap();
    }

    fn fdatasync(&self) {
        rustix::fs::fdatasync(self).unwrap();
    }
}

impl Worker for Linux {
    fn enter_new(&mut self, dir: &str) {
        let path = self.at.join(dir);
        std::fs::create_dir(&path).unwrap();
        self.root = open_dir(&path);
    }

    fn create(&mut self, path: &str) -> Box<dyn Work> {
        Box::new(self.open_with(path, OFlags::CREATE | OFlags::EXCL | OFlags::RDWR))
    }

    fn open(&mut self, path: &str) -> Box<dyn Work> {
        Box::new(self.open_with(path, OFlags::RDWR))
    }

    fn stat(&mut self, path: &str) -> u64 {
        rustix::fs::statat(&self.root, path, AtFlags::empty()).unwrap().st_size as u64
    }

    fn exists(&mut self, path: &str) -> bool {
        match rustix::fs::statat(&self.root, path, AtFlags::empty()) {
            Ok(_) => true,
            Err(rustix::io::Errno::NOENT) => false,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn chmod(&mut self, path: &str, bits: u16) {
        let bits = Mode::from_raw_mode(bits.into());
        rustix::fs::chmodat(&self.root, path, bits, AtFlags::empty()).unwrap();
    }

    fn mkdir(&mut self, path: &str) {
        rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(0o755)).unwrap();
    }

    fn rmdir(&mut self, path: &str) {
        rustix::fs::unlinkat(&self.root, path, AtFlags::REMOVEDIR).unwrap();
    }

    fn symlink(&mut self, target: &str, path: &str) {
        rustix::fs::symlinkat(target, &self.root, path).unwrap();
    }

    fn unlink(&mut self, path: &str) {
        rustix::fs::unlinkat(&self.root, path, AtFlags::empty()).unwrap();
    }

    fn rename(&mut self, from: &str, to: &str) {
        rustix::fs::renameat(&self.root, from, &self.root, to).unwrap();
    }

    fn list(&mut self, path: &str) -> usize {
        let mut buf = [MaybeUninit::uninit(); 32768];
        let dir = self.open_with(path, OFlags::RDONLY | OFlags::DIRECTORY);
        let mut entries = RawDir::new(&dir, &mut buf);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            count += usize::from(!matches!(entry.unwrap().file_name().to_bytes(), b"." | b".."));
        }
        count
    }

    fn sync(&mut self) {
        rustix::fs::syncfs(&self.root).unwrap();
    }
}
