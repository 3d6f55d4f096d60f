//! Operations on a mounted filesystem of Linux's.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
    XattrFlags, chownat, fallocate, ftruncate, linkat, lremovexattr, lsetxattr, makedev, mkdir, mknodat, open,
    readlink, rename, renameat_with, rmdir, symlinkat, unlink, utimensat,
};
use rustix::io::{Result, pread, pwrite, write};
use vfs::{AllocateMode, RenameMode, Timestamp, XattrMode};

use crate::op::{Answer, Device, Op, World, bytes_answer, split};

pub struct Linux {
    root: Vec<u8>,
    held: Vec<OwnedFd>,
}

impl Linux {
    pub fn new(root: &std::path::Path) -> Self {
        rustix::process::umask(Mode::empty());
        Self { root: root.as_os_str().as_bytes().to_vec(), held: Vec::new() }
    }

    /// Lets go of the files that are held.
    pub fn release(&mut self) {
        self.held.clear();
    }

    fn full(&self, path: &[u8]) -> CString {
        let mut full = self.root.clone();
        full.push(b'/');
        full.extend_from_slice(path);
        CString::new(full).expect("a path without NUL")
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
        open(&*self.full(path), flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    fn try_apply(&mut self, op: &Op) -> Result<Answer> {
        match op {
            Op::Create(path, bits) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(open(&*self.full(path), flags, mode(*bits))?);
            }
            Op::Mkdir(path, bits) => mkdir(&*self.full(path), mode(*bits))?,
            Op::Symlink(path, target) => symlinkat(&target[..], CWD, &*self.full(path))?,
            Op::Mknod(path, device, bits) => {
                let (kind, number) = match *device {
                    Device::Char(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
                    Device::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
                    Device::Fifo => (FileType::Fifo, 0),
                    Device::Socket => (FileType::Socket, 0),
                };
                mknodat(CWD, &*self.full(path), kind, mode(*bits), number)?;
            }
            Op::Write(path, offset, data) => {
                return Ok(Answer::Value(pwrite(self.open(path, OFlags::WRONLY)?, data.bytes(), *offset)? as u64));
            }
            Op::Append(path, data) => {
                let file = self.open(path, OFlags::WRONLY | OFlags::APPEND)?;
                return Ok(Answer::Value(write(file, data.bytes())? as u64));
            }
            Op::Truncate(path, len) => ftruncate(self.open(path, OFlags::WRONLY)?, *len)?,
            Op::Allocate(path, how, offset, len) => {
                let flags = match how {
                    AllocateMode::Extend => FallocateFlags::empty(),
                    AllocateMode::KeepSize => FallocateFlags::KEEP_SIZE,
                    AllocateMode::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    AllocateMode::ZeroRange => FallocateFlags::ZERO_RANGE,
                    AllocateMode::ZeroRangeKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                };
                fallocate(self.open(path, OFlags::WRONLY)?, flags, *offset, *len)?;
            }
            Op::Read(path, offset, len) => return read(&self.open(path, OFlags::RDONLY)?, *offset, *len),
            Op::ReadLink(path) => return Ok(Answer::Bytes(readlink(&*self.full(path), Vec::new())?.into_bytes())),
            Op::List(path) => {
                let full = self.full(path);
                let full = std::ffi::OsStr::from_bytes(full.as_bytes());
                let errno = |error: std::io::Error| {
                    rustix::io::Errno::from_raw_os_error(error.raw_os_error().expect("an error of the system"))
                };
                let mut names = Vec::new();
                for entry in std::fs::read_dir(full).map_err(errno)? {
                    names.push(entry.map_err(errno)?.file_name().as_bytes().to_vec());
                }
                names.sort();
                return Ok(Answer::Names(names));
            }
            Op::Link(old, new) => linkat(CWD, &*self.full(old), CWD, &*self.full(new), AtFlags::empty())?,
            Op::Rename(old, new, how) => {
                let (old, new) = (self.full(old), self.full(new));
                match how {
                    RenameMode::Replace => rename(&*old, &*new)?,
                    RenameMode::NoReplace => renameat_with(CWD, &*old, CWD, &*new, RenameFlags::NOREPLACE)?,
                    RenameMode::Exchange => renameat_with(CWD, &*old, CWD, &*new, RenameFlags::EXCHANGE)?,
                }
            }
            Op::RenameWhiteout(old, new) => {
                renameat_with(CWD, &*self.full(old), CWD, &*self.full(new), RenameFlags::WHITEOUT)?;
            }
            Op::Unlink(path) => unlink(&*self.full(path))?,
            Op::Rmdir(path) => rmdir(&*self.full(path))?,
            Op::Chmod(path, bits) => rustix::fs::chmod(&*self.full(path), mode(*bits))?,
            Op::Chown(path, uid, gid, bits) => {
                let full = self.full(path);
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                chownat(CWD, &*full, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                if let Some(bits) = bits {
                    rustix::fs::chmod(&*full, mode(*bits))?;
                }
            }
            Op::Utimens(path, atime, mtime) => {
                let spec = |time: &Option<Timestamp>| match time {
                    Some(time) => Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) },
                    None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
                };
                let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
                utimensat(CWD, &*self.full(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Op::SetXattr(path, name, data, how) => {
                let flags = match how {
                    XattrMode::Set => XattrFlags::empty(),
                    XattrMode::Create => XattrFlags::CREATE,
                    XattrMode::Replace => XattrFlags::REPLACE,
                };
                lsetxattr(&*self.full(path), *name, data.bytes(), flags)?;
            }
            Op::RemoveXattr(path, name) => lremovexattr(&*self.full(path), *name)?,
            Op::Unnamed(path, data) => {
                let (dir, _) = split(path);
                let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
                let file = open(&*self.full(dir), flags, mode(0o600))?;
                pwrite(&file, data.bytes(), 0)?;
                linkat(&file, "", CWD, &*self.full(path), AtFlags::EMPTY_PATH)?;
            }
            Op::Hold(path) => {
                let file = self.open(path, OFlags::RDWR)?;
                self.held.push(file);
            }
            Op::HeldWrite(index, offset, data) => {
                return Ok(Answer::Value(pwrite(&self.held[*index], data.bytes(), *offset)? as u64));
            }
            Op::HeldRead(index, offset, len) => return read(&self.held[*index], *offset, *len),
            Op::HeldRelease(index) => drop(self.held.swap_remove(*index)),
            Op::Sync => {}
        }
        Ok(Answer::Done)
    }
}

fn mode(bits: u16) -> Mode {
    Mode::from_raw_mode(u32::from(bits))
}

fn read(file: &OwnedFd, offset: u64, len: usize) -> Result<Answer> {
    let mut buf = vec![0xa5; len];
    let count = pread(file, &mut buf[..], offset)?;
    Ok(bytes_answer(&buf[..count]))
}

impl World for Linux {
    fn apply(&mut self, op: &Op) -> Answer {
        self.try_apply(op).unwrap_or_else(|errno| Answer::Errno(errno.raw_os_error()))
    }
}
