//! A call on the namespace.

use std::collections::BTreeMap;

use vfs::{
    AT_FDCWD, At, AtFlags, Context, Credentials, FallocateFlags, Fd, NamespaceOptions, OpenFlags, OpenHow, Protections,
    RenameFlags, Stat, SyncKind, TimeChange, Timestamp, Whence, XattrFlags,
};

use crate::answer::{Answer, describe, names, text};
use crate::common::{World, ioctl_flags};
use crate::op::{Op, SLOTS};

pub(crate) struct Ours {
    world: World,
    task: Context,
    slots: Vec<Option<Fd>>,
}

impl Ours {
    pub(crate) fn new(protections: Protections) -> Self {
        let world = World::with(NamespaceOptions { protections, dentry_capacity: 12, ..NamespaceOptions::default() });
        let task = world.ns.context(Credentials::root(), 1);
        task.fs.set_umask(0);
        world.chmod(&task, "/", 0o1777).unwrap();
        Self { world, task, slots: vec![None; SLOTS] }
    }

    fn at(&self, slot: Option<usize>) -> Fd {
        slot.map_or(AT_FDCWD, |slot| self.slots[slot].unwrap_or(-1))
    }

    fn fd(&self, slot: usize) -> Fd {
        self.slots[slot].unwrap_or(-1)
    }

    fn keep(&mut self, slot: usize, fd: Fd) -> String {
        if let Some(old) = self.slots[slot].replace(fd) {
            self.task.files.close(old).unwrap();
        }
        "open".into()
    }

    pub(crate) fn run(&mut self, op: &Op) -> Answer {
        self.call(op).map_err(|error| error.errno().name())
    }

    fn call(&mut self, op: &Op) -> vfs::Result<String> {
        let ns = self.world.ns.clone();
        let task = self.task.clone();
        let task = &task;
        let done = |()| String::new();
        let nofollow = |follow: bool| if follow { AtFlags::empty() } else { AtFlags::AT_SYMLINK_NOFOLLOW };
        Ok(match op {
            Op::User { real, effective, groups } => {
                let who = &mut self.task.credentials;
                who.set_resuid([Some(0), Some(0), Some(0)])?;
                who.set_groups(groups)?;
                let gid = |id| if id == 0 { 0 } else { id };
                who.set_resgid([Some(gid(*real)), Some(gid(*effective)), Some(0)])?;
                who.set_resuid([Some(*real), Some(*effective), Some(0)])?;
                String::new()
            }
            Op::Umask(mask) => format!("{:o}", task.fs.set_umask(*mask)),
            Op::Open { slot, dir, path, flags, mode } => {
                let flags = OpenFlags::from_bits_retain(*flags);
                let fd = ns.openat(task, self.at(*dir), path.as_bytes(), flags, *mode)?;
                self.keep(*slot, fd)
            }
            Op::Open2 { slot, dir, path, flags, resolve } => {
                let how = OpenHow::from_openat2(u64::from(*flags), 0, *resolve)?;
                let fd = ns.openat2(task, self.at(*dir), path.as_bytes(), &how)?;
                self.keep(*slot, fd)
            }
            Op::Close(slot) => {
                let fd = ns.openat(task, AT_FDCWD, b"/", OpenFlags::O_PATH, 0)?;
                self.keep(*slot, fd);
                String::new()
            }
            Op::Read { slot, len } => {
                let mut buf = vec![0; *len];
                let count = task.file(self.fd(*slot))?.read(At::Position, &mut buf)?;
                format!("{:?}", &buf[..count])
            }
            Op::Pread { slot, len, offset } => {
                let mut buf = vec![0; *len];
                let count = task.file(self.fd(*slot))?.read(At::Offset(*offset), &mut buf)?;
                format!("{:?}", &buf[..count])
            }
            Op::Write { slot, len, byte } => {
                task.file(self.fd(*slot))?.write(task, At::Position, &vec![*byte; *len])?.to_string()
            }
            Op::Pwrite { slot, len, byte, offset } => {
                task.file(self.fd(*slot))?.write(task, At::Offset(*offset), &vec![*byte; *len])?.to_string()
            }
            Op::Seek { slot, whence, offset } => {
                let file = task.file(self.fd(*slot))?;
                let found = file.seek(*offset, Whence::from_raw(*whence)?);
                if *whence < 3 {
                    return found.map(|position| position.to_string());
                }
                // What counts as a hole is the filesystem's choice.
                if found.as_ref().is_err_and(|error| *error != vfs::Errno::ENXIO) {
                    return found.map(|_| String::new());
                }
                file.seek(0, Whence::Set)?;
                String::new()
            }
            Op::Ftruncate { slot, len } => task.file(self.fd(*slot))?.truncate(task, *len as i64).map(done)?,
            Op::Fallocate { slot, mode, offset, len } => {
                let mode = FallocateFlags::from_bits_retain(*mode);
                let file = task.file(self.fd(*slot))?;
                file.allocate(task, mode, *offset as i64, *len as i64).map(done)?
            }
            Op::Fstat(slot) => show(&task.file(self.fd(*slot))?.stat()?),
            Op::Fchmod { slot, mode } => task.file(self.fd(*slot))?.chmod(task, *mode).map(done)?,
            Op::Fchown { slot, uid, gid } => task.file(self.fd(*slot))?.chown(task, *uid, *gid).map(done)?,
            Op::Fsync(slot) => task.file(self.fd(*slot))?.sync(SyncKind::All).map(done)?,
            Op::List(slot) => {
                let file = task.file(self.fd(*slot))?;
                file.seek(0, Whence::Set)?;
                let entries = list(&file)?;
                file.seek(0, Whence::Set)?;
                entries
            }
            Op::Fchdir(slot) => ns.fchdir(task, self.fd(*slot)).map(done)?,
            Op::Setfl { slot, flags } => {
                let file = task.file(self.fd(*slot))?;
                file.set_flags(task, OpenFlags::from_bits_retain(*flags | 0o4000))?;
                format!("{:o}", file.flags().bits() & 0o1_036_000)
            }
            Op::Mkdir { dir, path, mode } => ns.mkdirat(task, self.at(*dir), path.as_bytes(), *mode).map(done)?,
            Op::Mknod { dir, path, mode, dev } => {
                ns.mknodat(task, self.at(*dir), path.as_bytes(), *mode, *dev).map(done)?
            }
            Op::Symlink { target, dir, path } => {
                ns.symlinkat(task, target.as_bytes(), self.at(*dir), path.as_bytes()).map(done)?
            }
            Op::Link { old_dir, old, dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                let (old_dir, dir) = (self.at(*old_dir), self.at(*dir));
                ns.linkat(task, old_dir, old.as_bytes(), dir, path.as_bytes(), flags).map(done)?
            }
            Op::Unlink { dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.unlinkat(task, self.at(*dir), path.as_bytes(), flags).map(done)?
            }
            Op::Rename { old_dir, old, dir, path, flags } => {
                let flags = RenameFlags::from_bits_retain(*flags);
                let (old_dir, dir) = (self.at(*old_dir), self.at(*dir));
                ns.renameat2(task, old_dir, old.as_bytes(), dir, path.as_bytes(), flags).map(done)?
            }
            Op::Chmod { dir, path, mode } => {
                ns.fchmodat(task, self.at(*dir), path.as_bytes(), *mode, AtFlags::empty()).map(done)?
            }
            Op::Chown { dir, path, uid, gid, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.fchownat(task, self.at(*dir), path.as_bytes(), *uid, *gid, flags).map(done)?
            }
            Op::Utimens { dir, path, times, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                let times = times.map(|(secs, nanos)| TimeChange::from_raw(secs, nanos));
                let [Ok(atime), Ok(mtime)] = times else { unreachable!("they are in range") };
                ns.utimensat(task, self.at(*dir), Some(path.as_bytes()), Some([atime, mtime]), flags)?;
                let mut text = String::new();
                if let TimeChange::At(Timestamp { secs, nanos }) = mtime {
                    let stat = ns.statat(task, self.at(*dir), path.as_bytes(), flags);
                    if let Ok(stat) = stat {
                        assert_eq!(stat.attr.mtime, Timestamp { secs, nanos });
                        text = format!("{secs}.{nanos}");
                    }
                }
                text
            }
            Op::Access { dir, path, mode, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                ns.faccessat(task, self.at(*dir), path.as_bytes(), *mode, flags).map(done)?
            }
            Op::Readlink { dir, path } => text(&ns.readlinkat(task, self.at(*dir), path.as_bytes())?),
            Op::Stat { dir, path, flags } => {
                let flags = AtFlags::from_bits_retain(*flags);
                show(&ns.statat(task, self.at(*dir), path.as_bytes(), flags)?)
            }
            Op::SetXattr { path, name, len, flags, follow } => {
                let (name, value) = (name.as_bytes(), vec![b'v'; *len]);
                let how = XattrFlags::from_bits_retain(*flags);
                ns.setxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow), name, &value, how).map(done)?
            }
            Op::GetXattr { path, name, follow } => {
                text(&ns.getxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow), name.as_bytes())?)
            }
            Op::ListXattr { path, follow } => {
                names(&ns.listxattrat(task, AT_FDCWD, path.as_bytes(), nofollow(*follow))?)
            }
            Op::RemoveXattr { path, name, follow } => {
                let flags = nofollow(*follow);
                ns.removexattrat(task, AT_FDCWD, path.as_bytes(), flags, name.as_bytes()).map(done)?
            }
            Op::Flags { dir, path, toggle } => {
                for slot in 0..SLOTS {
                    self.call(&Op::Close(slot))?;
                }
                let how = OpenHow::from_open(OpenFlags::O_RDONLY | OpenFlags::O_NONBLOCK, 0);
                let file = ns.open(task, self.at(*dir), path.as_bytes(), &how)?;
                let old = ioctl_flags(task, &file, None)?;
                if *toggle != 0 {
                    ioctl_flags(task, &file, Some(old ^ toggle))?;
                }
                let shown = file.stat()?.attr.flags.unwrap_or_default().bits() & 0x70;
                format!("{:x} {shown:x}", ioctl_flags(task, &file, None)?)
            }
            Op::Chdir(path) => ns.chdir(task, path.as_bytes()).map(done)?,
            Op::Getcwd => text(&ns.getcwd(task)?),
        })
    }
}

fn show(stat: &Stat) -> String {
    let attr = &stat.attr;
    let kind = attr.kind.mode_bits();
    let (mode, nlink) = (u32::from(attr.mode), u64::from(attr.nlink));
    describe(kind, mode, nlink, attr.uid, attr.gid, attr.size, attr.rdev.encode())
}

fn list(file: &vfs::OpenFile) -> vfs::Result<String> {
    let mut entries = BTreeMap::new();
    let mut buf = [0; 100 + 280];
    loop {
        let len = file.read_dir(&mut buf)?;
        if len == 0 {
            break;
        }
        let mut at = 0;
        while at < len {
            let record = &buf[at..];
            let size = usize::from(u16::from_ne_bytes([record[16], record[17]]));
            let name = record[19..size].split(|&byte| byte == 0).next().unwrap();
            assert!(entries.insert(text(name), record[18]).is_none(), "an entry came twice");
            at += size;
        }
    }
    Ok(format!("{entries:?}"))
}
