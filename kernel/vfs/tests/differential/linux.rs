//! A call on Linux.

use std::collections::BTreeMap;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs as linux;
use rustix::io;
use vfs::FileType;

use crate::answer::{Answer, describe, errno_name, names, text};
use crate::op::{Op, SLOTS};

pub(crate) struct Linux {
    slots: Vec<Option<OwnedFd>>,
}

fn uid(id: u32) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(id)
}

fn gid(id: u32) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(id)
}

impl Linux {
    /// Into an empty tmpfs that only this thread sees.
    pub(crate) fn new() -> io::Result<Self> {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        use rustix::thread::UnshareFlags;
        #[expect(deprecated, reason = "the safe form is right for these flags: neither has to do with descriptors")]
        rustix::thread::unshare(UnshareFlags::FS | UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let root = std::env::temp_dir().into_os_string().into_string().map_err(|_| io::Errno::INVAL)?;
        mount("none", &root, "tmpfs", MountFlags::empty(), c"mode=1777")?;
        rustix::process::chdir(&root)?;
        rustix::process::chroot(".")?;
        rustix::process::umask(linux::Mode::empty());
        Ok(Self { slots: (0..SLOTS).map(|_| None).collect() })
    }

    fn at(&self, slot: Option<usize>) -> BorrowedFd<'_> {
        match slot {
            None => linux::CWD,
            Some(slot) => self.fd(slot),
        }
    }

    fn fd(&self, slot: usize) -> BorrowedFd<'_> {
        self.slots[slot].as_ref().map_or(linux::CWD, AsFd::as_fd)
    }

    pub(crate) fn run(&mut self, op: &Op) -> Answer {
        self.call(op).map_err(errno_name)
    }

    fn call(&mut self, op: &Op) -> io::Result<String> {
        let flags_of = linux::AtFlags::from_bits_retain;
        let done = |()| String::new();
        Ok(match op {
            Op::User { real, effective, groups } => {
                use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
                set_thread_res_uid(uid(0), uid(0), uid(0))?;
                set_thread_groups(&groups.iter().map(|&id| gid(id)).collect::<Vec<_>>())?;
                set_thread_res_gid(gid(*real), gid(*effective), gid(0))?;
                set_thread_res_uid(uid(*real), uid(*effective), uid(0))?;
                String::new()
            }
            Op::Umask(mask) => {
                format!("{:o}", rustix::process::umask(linux::Mode::from_bits_retain(*mask)).bits())
            }
            Op::Open { slot, dir, path, flags, mode } => {
                let flags = linux::OFlags::from_bits_retain(*flags);
                let fd = linux::openat(self.at(*dir), path, flags, linux::Mode::from_bits_retain(*mode))?;
                self.slots[*slot] = Some(fd);
                "open".into()
            }
            Op::Open2 { slot, dir, path, flags, resolve } => {
                let flags = linux::OFlags::from_bits_retain(*flags);
                let resolve = linux::ResolveFlags::from_bits_retain(*resolve);
                let fd = linux::openat2(self.at(*dir), path, flags, linux::Mode::empty(), resolve)?;
                self.slots[*slot] = Some(fd);
                "open".into()
            }
            Op::Close(slot) => {
                self.slots[*slot] = Some(linux::open("/", linux::OFlags::PATH, linux::Mode::empty())?);
                String::new()
            }
            Op::Read { slot, len } => {
                let mut buf = vec![0; *len];
                let count = io::read(self.fd(*slot), &mut buf[..])?;
                format!("{:?}", &buf[..count])
            }
            Op::Pread { slot, len, offset } => {
                let mut buf = vec![0; *len];
                let count = io::pread(self.fd(*slot), &mut buf[..], *offset as u64)?;
                format!("{:?}", &buf[..count])
            }
            Op::Write { slot, len, byte } => io::write(self.fd(*slot), &vec![*byte; *len])?.to_string(),
            Op::Pwrite { slot, len, byte, offset } => {
                io::pwrite(self.fd(*slot), &vec![*byte; *len], *offset as u64)?.to_string()
            }
            Op::Seek { slot, whence, offset } => {
                let to = match whence {
                    0 => linux::SeekFrom::Start(*offset as u64),
                    1 => linux::SeekFrom::Current(*offset),
                    2 => linux::SeekFrom::End(*offset),
                    3 => linux::SeekFrom::Data(*offset as u64),
                    _ => linux::SeekFrom::Hole(*offset as u64),
                };
                let found = linux::seek(self.fd(*slot), to);
                if *whence < 3 {
                    return found.map(|position| position.to_string());
                }
                if found.is_err_and(|errno| errno != io::Errno::NXIO) {
                    return found.map(|_| String::new());
                }
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                String::new()
            }
            Op::Ftruncate { slot, len } => linux::ftruncate(self.fd(*slot), *len).map(done)?,
            Op::Fallocate { slot, mode, offset, len } => {
                let mode = linux::FallocateFlags::from_bits_retain(*mode);
                linux::fallocate(self.fd(*slot), mode, *offset, *len).map(done)?
            }
            Op::Fstat(slot) => show_linux(&linux::fstat(self.fd(*slot))?),
            Op::Fchmod { slot, mode } => {
                linux::fchmod(self.fd(*slot), linux::Mode::from_bits_retain(*mode)).map(done)?
            }
            Op::Fchown { slot, uid: to, gid: group } => {
                linux::fchown(self.fd(*slot), to.map(uid), group.map(gid)).map(done)?
            }
            Op::Fsync(slot) => linux::fsync(self.fd(*slot)).map(done)?,
            Op::List(slot) => {
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                let mut buf = Vec::with_capacity(65_536);
                let mut entries = BTreeMap::new();
                let mut dir = linux::RawDir::new(self.fd(*slot), buf.spare_capacity_mut());
                while let Some(entry) = dir.next() {
                    let entry = entry?;
                    let kind = FileType::from_mode(entry.file_type().as_raw_mode()).map_or(0, FileType::d_type);
                    entries.insert(text(entry.file_name().to_bytes()), kind);
                }
                linux::seek(self.fd(*slot), linux::SeekFrom::Start(0))?;
                format!("{entries:?}")
            }
            Op::Fchdir(slot) => rustix::process::fchdir(self.fd(*slot)).map(done)?,
            Op::Setfl { slot, flags } => {
                linux::fcntl_setfl(self.fd(*slot), linux::OFlags::from_bits_retain(*flags | 0o4000))?;
                format!("{:o}", linux::fcntl_getfl(self.fd(*slot))?.bits() & 0o1_036_000)
            }
            Op::Mkdir { dir, path, mode } => {
                linux::mkdirat(self.at(*dir), path, linux::Mode::from_bits_retain(*mode)).map(done)?
            }
            Op::Mknod { dir, path, mode, dev } => {
                let kind = linux::FileType::from_raw_mode(*mode);
                let mode = linux::Mode::from_bits_retain(*mode & 0o7777);
                linux::mknodat(self.at(*dir), path, kind, mode, *dev).map(done)?
            }
            Op::Symlink { target, dir, path } => linux::symlinkat(target, self.at(*dir), path).map(done)?,
            Op::Link { old_dir, old, dir, path, flags } => {
                linux::linkat(self.at(*old_dir), old, self.at(*dir), path, flags_of(*flags)).map(done)?
            }
            Op::Unlink { dir, path, flags } => linux::unlinkat(self.at(*dir), path, flags_of(*flags)).map(done)?,
            Op::Rename { old_dir, old, dir, path, flags } => {
                let flags = linux::RenameFlags::from_bits_retain(*flags);
                linux::renameat_with(self.at(*old_dir), old, self.at(*dir), path, flags).map(done)?
            }
            Op::Chmod { dir, path, mode } => {
                let mode = linux::Mode::from_bits_retain(*mode);
                linux::chmodat(self.at(*dir), path, mode, linux::AtFlags::empty()).map(done)?
            }
            Op::Chown { dir, path, uid: to, gid: group, flags } => {
                linux::chownat(self.at(*dir), path, to.map(uid), group.map(gid), flags_of(*flags)).map(done)?
            }
            Op::Utimens { dir, path, times, flags } => {
                let time = |(secs, nanos): (i64, i64)| linux::Timespec { tv_sec: secs, tv_nsec: nanos };
                let [last_access, last_modification] = times.map(time);
                let times = linux::Timestamps { last_access, last_modification };
                linux::utimensat(self.at(*dir), path, &times, flags_of(*flags))?;
                let stamp = times.last_modification;
                let mut text = String::new();
                if stamp.tv_nsec < 0x3fff_fffe && linux::statat(self.at(*dir), path, flags_of(*flags)).is_ok() {
                    text = format!("{}.{}", stamp.tv_sec, stamp.tv_nsec);
                }
                text
            }
            Op::Access { dir, path, mode, flags } => {
                let mode = linux::Access::from_bits_retain(*mode);
                linux::accessat(self.at(*dir), path, mode, flags_of(*flags)).map(done)?
            }
            Op::Readlink { dir, path } => text(linux::readlinkat(self.at(*dir), path, Vec::new())?.as_bytes()),
            Op::Stat { dir, path, flags } => show_linux(&linux::statat(self.at(*dir), path, flags_of(*flags))?),
            Op::SetXattr { path, name, len, flags, follow } => {
                let (value, flags) = (vec![b'v'; *len], linux::XattrFlags::from_bits_retain(*flags));
                let set = if *follow {
                    linux::setxattr(path, *name, &value, flags)
                } else {
                    linux::lsetxattr(path, *name, &value, flags)
                };
                set.map(done)?
            }
            Op::GetXattr { path, name, follow } => {
                let mut value = [0; 100];
                let len = if *follow {
                    linux::getxattr(path, *name, &mut value[..])?
                } else {
                    linux::lgetxattr(path, *name, &mut value[..])?
                };
                text(&value[..len])
            }
            Op::ListXattr { path, follow } => {
                let mut value = vec![0; 1000];
                let len = if *follow {
                    linux::listxattr(path, &mut value[..])?
                } else {
                    linux::llistxattr(path, &mut value[..])?
                };
                names(&value[..len])
            }
            Op::RemoveXattr { path, name, follow } => {
                let removed = if *follow { linux::removexattr(path, *name) } else { linux::lremovexattr(path, *name) };
                removed.map(done)?
            }
            Op::Flags { dir, path, toggle } => {
                for slot in 0..SLOTS {
                    self.call(&Op::Close(slot))?;
                }
                let flags = linux::OFlags::RDONLY | linux::OFlags::NONBLOCK;
                let file = linux::openat(self.at(*dir), path, flags, linux::Mode::empty())?;
                let old = linux::ioctl_getflags(&file)?.bits();
                if *toggle != 0 {
                    linux::ioctl_setflags(&file, linux::IFlags::from_bits_retain(old ^ toggle))?;
                }
                let shown = linux::statx(&file, "", linux::AtFlags::EMPTY_PATH, linux::StatxFlags::empty())?;
                format!("{:x} {:x}", linux::ioctl_getflags(&file)?.bits(), shown.stx_attributes.bits() & 0x70)
            }
            Op::Chdir(path) => rustix::process::chdir(path).map(done)?,
            Op::Getcwd => text(rustix::process::getcwd(Vec::new())?.as_bytes()),
        })
    }
}

fn show_linux(stat: &linux::Stat) -> String {
    let (kind, mode) = (stat.st_mode & 0o170_000, stat.st_mode & 0o7777);
    let (nlink, size) = (stat.st_nlink, stat.st_size as u64);
    describe(kind, mode, nlink, stat.st_uid, stat.st_gid, size, stat.st_rdev)
}
