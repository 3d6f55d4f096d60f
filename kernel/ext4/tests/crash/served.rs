//! A disk of ours under Linux's own ext4: it is served as a file over FUSE, of which a loop device makes a disk. What Linux writes and
//! when it flushes reaches our disk in that order, for the file is opened without a cache.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use block::{BlockDevice, SECTOR_SIZE};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, SessionACL, WriteFlags,
};

const NAME: &str = "image";
const FILE: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(100_000);

/// A disk that is a file of the host for as long as this lives.
pub(crate) struct Served {
    session: Option<BackgroundSession>,
    at: PathBuf,
}

impl Served {
    /// Serves `disk` in the directory `at`, which is made.
    pub(crate) fn new(disk: Arc<dyn BlockDevice>, at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).expect("a mount point can be made");
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("strata-served".into())];
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(Server { disk }, &at, &config).expect("root may mount FUSE");
        Self { session: Some(session), at }
    }

    /// The disk as a file.
    pub(crate) fn file(&self) -> PathBuf {
        self.at.join(NAME)
    }

    /// Whether this machine has FUSE.
    pub(crate) fn is_possible() -> bool {
        Path::new("/dev/fuse").exists()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // A test that fails leaves the loop device, which holds the file.
            let _ = rustix::mount::unmount(crate::common::disk::arg(&self.at), rustix::mount::UnmountFlags::DETACH);
            if !std::thread::panicking() {
                session.join().expect("the server ends with its mount");
            }
        }
    }
}

struct Server {
    disk: Arc<dyn BlockDevice>,
}

impl Server {
    fn attr(&self, number: INodeNo) -> FileAttr {
        let is_file = number == FILE;
        let sectors = self.disk.capabilities().sectors;
        FileAttr {
            ino: number,
            size: if is_file { sectors * SECTOR_SIZE as u64 } else { 0 },
            blocks: if is_file { sectors } else { 0 },
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

fn empty(result: vfs::Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(_) => reply.error(Errno::EIO),
    }
}

impl Filesystem for Server {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // Else requests end at 128 KiB; a kernel that cannot is as good.
        let _ = config.add_capabilities(InitFlags::FUSE_MAX_PAGES);
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _req: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&FOREVER, &self.attr(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attr(ino));
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = self.disk.capabilities().sectors * SECTOR_SIZE as u64;
        let want = u64::from(size).min(end.saturating_sub(offset)) as usize;
        // Programs that look for signatures read what is no multiple of a sector.
        let first = offset / SECTOR_SIZE as u64;
        let skip = (offset % SECTOR_SIZE as u64) as usize;
        let mut bytes = vec![0; (skip + want).next_multiple_of(SECTOR_SIZE)];
        match self.disk.read(first, &mut bytes) {
            Ok(()) => reply.data(&bytes[skip..skip + want]),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let aligned = offset.is_multiple_of(SECTOR_SIZE as u64) && data.len().is_multiple_of(SECTOR_SIZE);
        if aligned && self.disk.write(offset / SECTOR_SIZE as u64, data).is_ok() {
            reply.written(data.len() as u32);
        } else {
            reply.error(Errno::EIO);
        }
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        empty(self.disk.flush(), reply);
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }
}
