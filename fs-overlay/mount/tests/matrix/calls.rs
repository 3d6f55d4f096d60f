//! The system calls of a case, and what each of them answered, as text.

use std::fmt::Write as _;

use rustix::fs::{
    Access, AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW,
    Uid, XattrFlags,
};
use rustix::io::{Errno, Result};

/// What is done to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Opened; where that allows it, read and written.
    Open(OFlags),
    OpenDir,
    Mkdir,
    Rmdir,
    Unlink,
    Mkfifo,
    MakeFile,
    /// A device 0/0, which is a whiteout.
    MakeWhiteout,
    /// A symbolic link to this text is made there.
    Symlink(&'static str),
    ReadLink,
    Stat,
    LinkStat,
    Access,
    Truncate(u64),
    Chmod,
    Chown,
    LinkChown,
    Touch,
    LinkTouch,
    SetXattr,
    LinkSetXattr,
    GetXattr,
    RemoveXattr,
    ListXattrs,
    Allocate,
    Punch,
    /// With the second path.
    Rename(RenameFlags),
    Link(AtFlags),
    /// Opened as one, the other is opened to be changed, and the first is read.
    Copy,
}

/// What is done to one path: every way to open, and everything else.
pub(crate) fn unary() -> Vec<Op> {
    let mut ops = Vec::new();
    for access in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR] {
        for more in [
            OFlags::empty(),
            OFlags::APPEND,
            OFlags::TRUNC,
            OFlags::CREATE,
            OFlags::CREATE | OFlags::EXCL,
            OFlags::CREATE | OFlags::TRUNC,
            OFlags::CREATE | OFlags::EXCL | OFlags::TRUNC,
            OFlags::CREATE | OFlags::NOFOLLOW,
            OFlags::DIRECTORY,
            OFlags::NOFOLLOW,
            OFlags::APPEND | OFlags::TRUNC,
        ] {
            ops.push(Op::Open(access | more));
        }
    }
    ops.extend([
        Op::Open(OFlags::PATH),
        Op::Open(OFlags::PATH | OFlags::NOFOLLOW),
        Op::OpenDir,
        Op::Mkdir,
        Op::Rmdir,
        Op::Unlink,
        Op::Mkfifo,
        Op::MakeFile,
        Op::MakeWhiteout,
        Op::Symlink("nowhere"),
        Op::Symlink("a"),
        Op::ReadLink,
        Op::Stat,
        Op::LinkStat,
        Op::Access,
        Op::Truncate(1),
        Op::Truncate(4),
        Op::Truncate(5000),
        Op::Chmod,
        Op::Chown,
        Op::LinkChown,
        Op::Touch,
        Op::LinkTouch,
        Op::SetXattr,
        Op::LinkSetXattr,
        Op::GetXattr,
        Op::RemoveXattr,
        Op::ListXattrs,
        Op::Allocate,
        Op::Punch,
    ]);
    ops
}

/// What is done to two paths.
pub(crate) fn binary() -> Vec<Op> {
    vec![
        Op::Rename(RenameFlags::empty()),
        Op::Rename(RenameFlags::NOREPLACE),
        Op::Rename(RenameFlags::EXCHANGE),
        Op::Link(AtFlags::empty()),
        Op::Link(AtFlags::SYMLINK_FOLLOW),
        Op::Copy,
    ]
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) op: Op,
    pub(crate) path: String,
    pub(crate) other: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.op {
            Op::Open(flags) => write!(f, "open({}) {}", flag_names(flags), self.path),
            Op::Rename(flags) => write!(f, "rename({:#x}) {} {}", flags.bits(), self.path, self.other),
            Op::Link(flags) => write!(f, "link({:#x}) {} {}", flags.bits(), self.path, self.other),
            Op::Copy => write!(f, "copy {} {}", self.path, self.other),
            op => write!(f, "{op:?} {}", self.path),
        }
    }
}

fn flag_names(flags: OFlags) -> String {
    let mut text = if flags.contains(OFlags::RDWR) {
        "rw".to_owned()
    } else if flags.contains(OFlags::WRONLY) {
        "w".to_owned()
    } else {
        "r".to_owned()
    };
    for (flag, name) in [
        (OFlags::APPEND, "append"),
        (OFlags::TRUNC, "trunc"),
        (OFlags::CREATE, "creat"),
        (OFlags::EXCL, "excl"),
        (OFlags::NOFOLLOW, "nofollow"),
        (OFlags::DIRECTORY, "dir"),
        (OFlags::PATH, "path"),
    ] {
        if flags.contains(flag) {
            let _ = write!(text, ",{name}");
        }
    }
    text
}

/// A result as text; numbers of errors by the names that matter here.
pub(crate) fn said<T: std::fmt::Display>(result: Result<T>) -> String {
    match result {
        Ok(value) => format!("{value}"),
        Err(error) => error_name(error),
    }
}

fn done(result: Result<()>) -> String {
    said(result.map(|()| "ok"))
}

fn error_name(error: Errno) -> String {
    let name = match error {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::NXIO => "ENXIO",
        Errno::ACCESS => "EACCES",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::XDEV => "EXDEV",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::INVAL => "EINVAL",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::LOOP => "ELOOP",
        Errno::NODATA => "ENODATA",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::BADF => "EBADF",
        Errno::SPIPE => "ESPIPE",
        Errno::NODEV => "ENODEV",
        Errno::ROFS => "EROFS",
        Errno::STALE => "ESTALE",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}

fn open(path: &str, flags: OFlags) -> Result<rustix::fd::OwnedFd> {
    // Without waiting for whoever is at the other end.
    rustix::fs::open(path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
}

fn kind_of(fd: &rustix::fd::OwnedFd) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// What a file holds, short of [`u16::MAX`] bytes, with zeros counted.
pub(crate) fn content(fd: &rustix::fd::OwnedFd) -> Result<String> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let count = rustix::io::pread(fd, &mut buffer, 0)?;
    let text = String::from_utf8_lossy(&buffer[..count]);
    let zeros = text.matches('\0').count();
    Ok(format!("{:?}+{zeros}", text.replace('\0', "")))
}

fn open_and_use(path: &str, flags: OFlags) -> Result<String> {
    let fd = open(path, flags)?;
    let kind = kind_of(&fd)?;
    let mut text = format!("{kind:?}");
    if flags.contains(OFlags::PATH) || kind != FileType::RegularFile {
        return Ok(text);
    }
    if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
        let _ = write!(text, " wrote {}", said(rustix::io::write(&fd, b"shark")));
    }
    if !flags.contains(OFlags::WRONLY) {
        let _ = write!(text, " read {}", said(content(&fd)));
    }
    Ok(text)
}

fn described(path: &str, flags: AtFlags) -> Result<String> {
    let stat = rustix::fs::statat(CWD, path, flags)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let size = if kind == FileType::Directory { 0 } else { stat.st_size };
    Ok(format!("{kind:?} {:o} {}:{} {size}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))
}

fn allocate(path: &str, mode: FallocateFlags, offset: u64, len: u64) -> Result<()> {
    let fd = open(path, OFlags::RDWR)?;
    if kind_of(&fd)? != FileType::RegularFile {
        return Ok(());
    }
    rustix::fs::fallocate(&fd, mode, offset, len)
}

/// Opened for reading, then copied by the kernel to the other, which is made where it is not there.
fn copy(from: &str, to: &str) -> Result<String> {
    let source = open(from, OFlags::RDONLY)?;
    let kind = kind_of(&source)?;
    if kind != FileType::RegularFile {
        return Ok(format!("from {kind:?}"));
    }
    let target = open(to, OFlags::RDWR | OFlags::CREATE)?;
    let kind = kind_of(&target)?;
    if kind != FileType::RegularFile {
        return Ok(format!("to {kind:?}"));
    }
    let copied = rustix::fs::copy_file_range(&source, None, &target, Some(&mut 100), 1000);
    Ok(format!("{} {}", said(copied), said(content(&target))))
}

impl Call {
    /// Makes it, below `root`, and tells what came of it.
    pub(crate) fn make(&self, root: &str) -> String {
        let path = format!("{root}/{}", self.path);
        let other = format!("{root}/{}", self.other);
        let path = path.as_str();
        let (mode, dir_mode) = (Mode::from_raw_mode(0o640), Mode::from_raw_mode(0o750));
        let owner = (Some(Uid::from_raw(5)), Some(Gid::from_raw(6)));
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let now = Timestamps { last_access: now, last_modification: now };
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        match self.op {
            Op::Open(flags) => said(open_and_use(path, flags)),
            Op::OpenDir => said(super::scene::names(path).map(|names| names.join(" "))),
            Op::Mkdir => done(rustix::fs::mkdirat(CWD, path, dir_mode)),
            Op::Rmdir => done(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)),
            Op::Unlink => done(rustix::fs::unlinkat(CWD, path, AtFlags::empty())),
            Op::Mkfifo => done(rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0)),
            Op::MakeFile => done(rustix::fs::mknodat(CWD, path, FileType::RegularFile, mode, 0)),
            Op::MakeWhiteout => done(rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0)),
            Op::Symlink(target) => done(rustix::fs::symlinkat(target, CWD, path)),
            Op::ReadLink => {
                said(rustix::fs::readlinkat(CWD, path, Vec::new()).map(|it| it.to_string_lossy().into_owned()))
            }
            Op::Stat => said(described(path, AtFlags::empty())),
            Op::LinkStat => said(described(path, nofollow)),
            Op::Access => {
                let can = |access| done(rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS));
                format!("{} {} {}", can(Access::READ_OK), can(Access::WRITE_OK), can(Access::EXEC_OK))
            }
            Op::Truncate(len) => done(
                nix::unistd::truncate(path, len.try_into().unwrap_or(0))
                    .map_err(|error| Errno::from_raw_os_error(error as i32)),
            ),
            Op::Chmod => done(rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(0o600), AtFlags::empty())),
            Op::Chown => done(rustix::fs::chownat(CWD, path, owner.0, owner.1, AtFlags::empty())),
            Op::LinkChown => done(rustix::fs::chownat(CWD, path, owner.0, owner.1, nofollow)),
            Op::Touch => done(rustix::fs::utimensat(CWD, path, &now, AtFlags::empty())),
            Op::LinkTouch => done(rustix::fs::utimensat(CWD, path, &now, nofollow)),
            Op::SetXattr => done(rustix::fs::setxattr(path, "user.a", b"value", XattrFlags::CREATE)),
            Op::LinkSetXattr => done(rustix::fs::lsetxattr(path, "trusted.a", b"value", XattrFlags::empty())),
            Op::GetXattr => {
                let mut value = Vec::with_capacity(64);
                said(rustix::fs::getxattr(path, "user.a", rustix::buffer::spare_capacity(&mut value)))
            }
            Op::RemoveXattr => done(rustix::fs::removexattr(path, "user.a")),
            Op::ListXattrs => said(xattr_names(path, Follow::Yes).map(|names| names.join(" "))),
            Op::Allocate => done(allocate(path, FallocateFlags::empty(), 4, 9000)),
            Op::Punch => done(allocate(path, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 2, 3)),
            Op::Rename(flags) if flags.is_empty() => done(rustix::fs::renameat(CWD, path, CWD, other)),
            Op::Rename(flags) => done(rustix::fs::renameat_with(CWD, path, CWD, other, flags)),
            Op::Link(flags) => done(rustix::fs::linkat(CWD, path, CWD, other, flags)),
            Op::Copy => said(copy(path, &other)),
        }
    }
}

/// Whether a last symbolic link is followed.
#[derive(Clone, Copy)]
pub(crate) enum Follow {
    Yes,
    No,
}

/// The names of the extended attributes that a user can set, sorted.
pub(crate) fn xattr_names(path: &str, follow: Follow) -> Result<Vec<String>> {
    let mut list = Vec::with_capacity(4096);
    match follow {
        Follow::Yes => rustix::fs::listxattr(path, rustix::buffer::spare_capacity(&mut list))?,
        Follow::No => rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut list))?,
    };
    let names = list.split(|&byte| byte == 0).map(|name| String::from_utf8_lossy(name).into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("user.") || name.starts_with("trusted.")).collect();
    names.sort();
    Ok(names)
}
