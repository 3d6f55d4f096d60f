//! The image of a disk, and the lock that keeps everyone else off it.
//!
//! The lock is an open-file-description lock on the bytes that QEMU locks as well, so a machine that runs from the image and a
//! mount of it exclude each other, like two mounts do.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use host::{Access, FileDisk};
use nix::fcntl::{FcntlArg, fcntl};

/// The first byte that QEMU locks (`RAW_LOCK_PERM_BASE` of its `block/file-posix.c`).
const LOCK_START: i64 = 100;
/// As far as its second set of them (`RAW_LOCK_SHARED_BASE`, with room).
const LOCK_LEN: i64 = 200;
/// How long a new mount waits for one that is being unmounted: `umount(8)` comes back before everything is written.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens an image, or a block device, and locks it for as long as the disk lives.
///
/// # Errors
/// What the host says; `WouldBlock` for an image that is in use.
pub(crate) fn open(path: &Path, access: Access) -> std::io::Result<FileDisk> {
    let file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)?;
    if file.metadata()?.is_dir() {
        return Err(Error::from(ErrorKind::IsADirectory));
    }
    let deadline = Instant::now() + PATIENCE;
    while !try_lock(&file, access)? {
        if Instant::now() >= deadline {
            return Err(Error::from(ErrorKind::WouldBlock));
        }
        thread::sleep(Duration::from_millis(20));
    }
    FileDisk::over(file, access)
}

/// Locks the image if no one else has.
pub(crate) fn try_lock(file: &File, access: Access) -> std::io::Result<bool> {
    let kind = match access {
        Access::ReadWrite => nix::libc::F_WRLCK,
        Access::ReadOnly => nix::libc::F_RDLCK,
    };
    let lock = nix::libc::flock {
        l_type: kind as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: LOCK_START,
        l_len: LOCK_LEN,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => Ok(true),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
