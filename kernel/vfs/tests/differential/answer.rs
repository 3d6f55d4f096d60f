//! Answers, in the one form in which both sides give them.

use rustix::io;

/// What a call answered, as text that must be the same on both sides.
pub(crate) type Answer = Result<String, &'static str>;

/// What of a directory's size and block counts differs between filesystems is left out.
pub(crate) fn describe(kind: u32, mode: u32, nlink: u64, uid: u32, gid: u32, size: u64, rdev: u64) -> String {
    let size = if matches!(kind, 0o100_000 | 0o120_000) { size } else { 0 };
    let rdev = if matches!(kind, 0o020_000 | 0o060_000) { rdev } else { 0 };
    format!("{kind:o} {mode:o} x{nlink} {uid}:{gid} {size} {rdev:x}")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of extended attributes, in order; `security.*` may come from the system that the test runs on.
pub(crate) fn names(list: &[u8]) -> String {
    let mut names: Vec<_> = list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(text).collect();
    names.retain(|name| name != "security.selinux");
    names.sort();
    names.join(" ")
}

/// The name of an errno, as this project spells it.
pub(crate) fn errno_name(errno: io::Errno) -> &'static str {
    let all = [
        vfs::Errno::EPERM,
        vfs::Errno::ENOENT,
        vfs::Errno::EIO,
        vfs::Errno::ENXIO,
        vfs::Errno::EBADF,
        vfs::Errno::EAGAIN,
        vfs::Errno::EACCES,
        vfs::Errno::EBUSY,
        vfs::Errno::EEXIST,
        vfs::Errno::EXDEV,
        vfs::Errno::ENODEV,
        vfs::Errno::ENOTTY,
        vfs::Errno::ENOTDIR,
        vfs::Errno::EISDIR,
        vfs::Errno::EINVAL,
        vfs::Errno::ETXTBSY,
        vfs::Errno::EFBIG,
        vfs::Errno::ENOSPC,
        vfs::Errno::ESPIPE,
        vfs::Errno::EROFS,
        vfs::Errno::EMLINK,
        vfs::Errno::EPIPE,
        vfs::Errno::ERANGE,
        vfs::Errno::ENAMETOOLONG,
        vfs::Errno::ENOSYS,
        vfs::Errno::ENOTEMPTY,
        vfs::Errno::ELOOP,
        vfs::Errno::ENODATA,
        vfs::Errno::EOVERFLOW,
        vfs::Errno::EOPNOTSUPP,
        vfs::Errno::EDQUOT,
        vfs::Errno::E2BIG,
    ];
    let number = errno.raw_os_error();
    all.into_iter().find(|errno| i32::from(errno.number()) == number).map_or("E?", vfs::Errno::name)
}
