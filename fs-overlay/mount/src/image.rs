//! A file of the host as a disk, and the lock that keeps everyone else off it.
//!
//! The lock is an open-file-description lock on the bytes that QEMU locks as well, so a machine that runs from the image and a
//! mount of it exclude each other, like two mounts do.

use std::fs::{File, OpenOptions};
use std::io::{Error as IoError, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use base::{Errno, Error, Result};
use block::{BlockDevice, Capabilities, Io, SECTOR_SIZE};
use nix::fcntl::{FcntlArg, fcntl};

/// The first byte that QEMU locks (`RAW_LOCK_PERM_BASE` of its `block/file-posix.c`).
const LOCK_START: i64 = 100;
/// As far as its second set of them (`RAW_LOCK_SHARED_BASE`, with room).
const LOCK_LEN: i64 = 200;
/// How long a new mount waits for one that is being unmounted: `umount(8)` comes back before everything is written.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the image may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// A disk image in a file of the host, or a block device of it. Locked while it lives.
pub(crate) struct FileDisk {
    file: File,
    capabilities: Capabilities,
}

impl FileDisk {
    /// Opens an image and locks it.
    ///
    /// # Errors
    /// What the host says; `WouldBlock` for an image that is in use.
    pub(crate) fn open(path: &Path, access: Access) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(access == Access::ReadWrite).open(path)?;
        if file.metadata()?.is_dir() {
            return Err(IoError::from(std::io::ErrorKind::IsADirectory));
        }
        let deadline = Instant::now() + PATIENCE;
        while !try_lock(&file, access)? {
            if Instant::now() >= deadline {
                return Err(IoError::from(std::io::ErrorKind::WouldBlock));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR_SIZE as u64;
        let read_only = access == Access::ReadOnly;
        Ok(Self { file, capabilities: Capabilities { sectors, read_only, flush: true, discard: false } })
    }
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

fn failed(error: IoError) -> Error {
    log::error!("disk image: {error}");
    Error::new(Errno::EIO, "disk image")
}

impl BlockDevice for FileDisk {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.capabilities.check(batch)?;
        for io in batch {
            let offset = io.sector() * SECTOR_SIZE as u64;
            match io {
                Io::Read { buf, .. } => self.file.read_exact_at(buf, offset).map_err(failed)?,
                Io::Write { data, .. } => self.file.write_all_at(data, offset).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(failed)
    }
}
