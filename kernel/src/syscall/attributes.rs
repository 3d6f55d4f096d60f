//! What is known of a file, and changing it: `stat` and its kin, `access`, `chmod`, `chown`, times, sizes.

use vfs::{AT_FDCWD, AtFlags, Errno, FallocateFlags, Fd, OpenFlags, OpenHow, Result, TimeChange};

use super::abi::{MountPlace, Stat, Statx, TimeSpec, TimeVal, Utimbuf};
use super::{Answer, Caller, done, optional_id, with_path};
use crate::init::namespace;
use crate::task::space::shared;
use crate::user::{UserPtr, UserString};

/// `stat(2)`.
pub(super) fn stat(caller: &mut Caller<'_>, path: UserString, result: UserPtr<Stat>) -> Answer {
    newfstatat(caller, AT_FDCWD, path, result, 0)
}

/// `lstat(2)`.
pub(super) fn lstat(caller: &mut Caller<'_>, path: UserString, result: UserPtr<Stat>) -> Answer {
    newfstatat(caller, AT_FDCWD, path, result, AtFlags::AT_SYMLINK_NOFOLLOW.bits())
}

/// `fstat(2)`.
pub(super) fn fstat(caller: &mut Caller<'_>, fd: Fd, result: UserPtr<Stat>) -> Answer {
    let stat = caller.context.file(fd)?.stat()?;
    done(result.write(&Stat::from(&stat.attr)))
}

/// `newfstatat(2)`.
pub(super) fn newfstatat(
    caller: &mut Caller<'_>,
    at: Fd,
    path: UserString,
    result: UserPtr<Stat>,
    flags: u32,
) -> Answer {
    let stat = stat_at(caller, at, path, flags)?;
    done(result.write(&Stat::from(&stat.attr)))
}

/// `statx(2)`.
pub(super) fn statx(
    caller: &mut Caller<'_>,
    at: Fd,
    path: UserString,
    flags: u32,
    mask: u32,
    result: UserPtr<Statx>,
) -> Answer {
    const STATX_RESERVED: u32 = 0x8000_0000;
    let sync = AtFlags::AT_STATX_FORCE_SYNC | AtFlags::AT_STATX_DONT_SYNC;
    if mask & STATX_RESERVED != 0 || AtFlags::from_bits_retain(flags).contains(sync) {
        return Err(Errno::EINVAL.into());
    }
    let stat = stat_at(caller, at, path, flags)?;
    let place = MountPlace { id: stat.mount_id, is_root: stat.is_mount_root };
    done(result.write(&Statx::new(&stat.attr, Some(place))))
}

fn stat_at(caller: &Caller<'_>, at: Fd, path: UserString, flags: u32) -> Result<vfs::Stat> {
    let flags = AtFlags::from_bits_retain(flags);
    if path.is_null() && flags.contains(AtFlags::AT_EMPTY_PATH) {
        return namespace().statat(&caller.context, at, b"", flags);
    }
    with_path(path, |path| namespace().statat(&caller.context, at, path, flags))
}

/// `access(2)`.
pub(super) fn access(caller: &mut Caller<'_>, path: UserString, mode: u32) -> Answer {
    faccessat2(caller, AT_FDCWD, path, mode, 0)
}

/// `faccessat(2)`.
pub(super) fn faccessat(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32) -> Answer {
    faccessat2(caller, at, path, mode, 0)
}

/// `faccessat2(2)`.
pub(super) fn faccessat2(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32, flags: u32) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    done(with_path(path, |path| namespace().faccessat(&caller.context, at, path, mode, flags)))
}

/// `chmod(2)`.
pub(super) fn chmod(caller: &mut Caller<'_>, path: UserString, mode: u32) -> Answer {
    fchmodat2(caller, AT_FDCWD, path, mode, 0)
}

/// `fchmod(2)`.
pub(super) fn fchmod(caller: &mut Caller<'_>, fd: Fd, mode: u32) -> Answer {
    done(caller.context.file(fd)?.chmod(&caller.context, mode))
}

/// `fchmodat(2)`.
pub(super) fn fchmodat(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32) -> Answer {
    fchmodat2(caller, at, path, mode, 0)
}

/// `fchmodat2(2)`.
pub(super) fn fchmodat2(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32, flags: u32) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    done(with_path(path, |path| namespace().fchmodat(&caller.context, at, path, mode, flags)))
}

/// `chown(2)`.
pub(super) fn chown(caller: &mut Caller<'_>, path: UserString, uid: u32, gid: u32) -> Answer {
    fchownat(caller, AT_FDCWD, path, uid, gid, 0)
}

/// `lchown(2)`.
pub(super) fn lchown(caller: &mut Caller<'_>, path: UserString, uid: u32, gid: u32) -> Answer {
    fchownat(caller, AT_FDCWD, path, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW.bits())
}

/// `fchown(2)`.
pub(super) fn fchown(caller: &mut Caller<'_>, fd: Fd, uid: u32, gid: u32) -> Answer {
    done(caller.context.file(fd)?.chown(&caller.context, optional_id(uid), optional_id(gid)))
}

/// `fchownat(2)`.
pub(super) fn fchownat(caller: &mut Caller<'_>, at: Fd, path: UserString, uid: u32, gid: u32, flags: u32) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    let (uid, gid) = (optional_id(uid), optional_id(gid));
    done(with_path(path, |path| namespace().fchownat(&caller.context, at, path, uid, gid, flags)))
}

/// `utimensat(2)`: no path is the descriptor itself, no times are now.
pub(super) fn utimensat(
    caller: &mut Caller<'_>,
    at: Fd,
    path: UserString,
    times: UserPtr<[TimeSpec; 2]>,
    flags: u32,
) -> Answer {
    let times = match times.optional() {
        None => None,
        Some(times) => {
            let [atime, mtime] = times.read()?;
            Some([TimeChange::from_raw(atime.secs, atime.nanos)?, TimeChange::from_raw(mtime.secs, mtime.nanos)?])
        }
    };
    set_times(caller, at, path, times, AtFlags::from_bits_retain(flags))
}

/// `utimes(2)`.
pub(super) fn utimes(caller: &mut Caller<'_>, path: UserString, times: UserPtr<[TimeVal; 2]>) -> Answer {
    futimesat(caller, AT_FDCWD, path, times)
}

/// `futimesat(2)`.
pub(super) fn futimesat(caller: &mut Caller<'_>, at: Fd, path: UserString, times: UserPtr<[TimeVal; 2]>) -> Answer {
    let times = match times.optional() {
        None => None,
        Some(times) => {
            let [atime, mtime] = times.read()?;
            Some([TimeChange::At(atime.to_timestamp()?), TimeChange::At(mtime.to_timestamp()?)])
        }
    };
    set_times(caller, at, path, times, AtFlags::empty())
}

/// `utime(2)`.
pub(super) fn utime(caller: &mut Caller<'_>, path: UserString, times: UserPtr<Utimbuf>) -> Answer {
    let times = match times.optional() {
        None => None,
        Some(times) => {
            let times = times.read()?;
            Some([times.atime, times.mtime].map(|secs| TimeChange::At(vfs::Timestamp::from_secs(secs))))
        }
    };
    set_times(caller, AT_FDCWD, path, times, AtFlags::empty())
}

fn set_times(caller: &Caller<'_>, at: Fd, path: UserString, times: Option<[TimeChange; 2]>, flags: AtFlags) -> Answer {
    let context = &caller.context;
    if path.is_null() {
        return done(namespace().utimensat(context, at, None, times, flags));
    }
    done(with_path(path, |path| namespace().utimensat(context, at, Some(path), times, flags)))
}

/// `truncate(2)`.
pub(super) fn truncate(caller: &mut Caller<'_>, path: UserString, length: i64) -> Answer {
    done(with_path(path, |path| {
        let change = || namespace().truncate(&caller.context, path, length);
        if !shared::is_any() {
            return change();
        }
        let place = OpenHow::from_open(OpenFlags::O_PATH, 0);
        shared::changing(&*namespace().open(&caller.context, AT_FDCWD, path, &place)?, change)
    }))
}

/// `ftruncate(2)`.
pub(super) fn ftruncate(caller: &mut Caller<'_>, fd: Fd, length: i64) -> Answer {
    let file = caller.context.file(fd)?;
    done(shared::changing(&file, || file.truncate(&caller.context, length)))
}

/// `fallocate(2)`.
pub(super) fn fallocate(caller: &mut Caller<'_>, fd: Fd, mode: u32, offset: i64, length: i64) -> Answer {
    let file = caller.context.file(fd)?;
    let mode = FallocateFlags::from_bits_retain(mode);
    done(shared::changing(&file, || file.allocate(&caller.context, mode, offset, length)))
}
