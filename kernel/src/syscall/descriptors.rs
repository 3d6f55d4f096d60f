//! Descriptors: `close`, `dup`, `fcntl`, `flock`, advice.

use vfs::{Blocking, Errno, Fd, FileType, Flock, FlockOp, LockOwner, LockType, OnExec, OpenFlags, Result, Whence};

use super::{Answer, Caller, abi, done};
use crate::user::UserPtr;

/// `close(2)`.
pub(super) fn close(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    done(caller.context.files.close(fd))
}

const CLOSE_RANGE_UNSHARE: u32 = 2;
const CLOSE_RANGE_CLOEXEC: u32 = 4;

/// `close_range(2)`.
pub(super) fn close_range(caller: &mut Caller<'_>, first: u32, last: u32, flags: u32) -> Answer {
    if first > last || flags & !(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let files = &caller.context.files;
    if flags & CLOSE_RANGE_CLOEXEC == 0 {
        files.close_range(first, last);
    } else {
        for fd in files.descriptors() {
            if (first..=last).contains(&(fd as u32)) {
                files.set_on_exec(fd, OnExec::Close)?;
            }
        }
    }
    Ok(0)
}

/// `dup(2)`.
pub(super) fn dup(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    Ok(caller.context.files.dup(fd)? as usize)
}

/// `dup2(2)`.
pub(super) fn dup2(caller: &mut Caller<'_>, fd: Fd, new: Fd) -> Answer {
    Ok(caller.context.files.dup2(fd, new)? as usize)
}

/// `dup3(2)`.
pub(super) fn dup3(caller: &mut Caller<'_>, fd: Fd, new: Fd, flags: u32) -> Answer {
    let flags = OpenFlags::from_bits_retain(flags);
    if !OpenFlags::O_CLOEXEC.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let on_exec = if flags.is_empty() { OnExec::Keep } else { OnExec::Close };
    Ok(caller.context.files.dup3(fd, new, on_exec)? as usize)
}

const F_DUPFD: u32 = 0;
const F_GETFD: u32 = 1;
const F_SETFD: u32 = 2;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_GETLK: u32 = 5;
const F_SETLK: u32 = 6;
const F_SETLKW: u32 = 7;
const F_OFD_GETLK: u32 = 36;
const F_OFD_SETLK: u32 = 37;
const F_OFD_SETLKW: u32 = 38;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_GETPIPE_SZ: u32 = 1032;

const FD_CLOEXEC: u64 = 1;

/// `fcntl(2)`.
pub(super) fn fcntl(caller: &mut Caller<'_>, fd: Fd, command: u32, argument: u64) -> Answer {
    let files = &caller.context.files;
    match command {
        F_DUPFD => Ok(files.dup_from(fd, argument, OnExec::Keep)? as usize),
        F_DUPFD_CLOEXEC => Ok(files.dup_from(fd, argument, OnExec::Close)? as usize),
        F_GETFD => Ok(usize::from(files.on_exec(fd)? == OnExec::Close)),
        F_SETFD => {
            let on_exec = if argument & FD_CLOEXEC != 0 { OnExec::Close } else { OnExec::Keep };
            done(files.set_on_exec(fd, on_exec))
        }
        F_GETFL => Ok(files.get(fd)?.flags().bits() as usize),
        F_SETFL => done(files.get(fd)?.set_flags(&caller.context, OpenFlags::from_bits_retain(argument as u32))),
        F_GETLK | F_OFD_GETLK => {
            let file = files.get(fd)?;
            let claim = UserPtr::<abi::Flock>::new(argument);
            let asked = claim.read()?;
            let found = file.get_lock(&caller.context, &lock(&asked, command)?, owner(command))?;
            claim.write(&answer(&asked, &found))?;
            Ok(0)
        }
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
            let file = files.get(fd)?;
            let asked = UserPtr::<abi::Flock>::new(argument).read()?;
            let blocking = if matches!(command, F_SETLKW | F_OFD_SETLKW) { Blocking::Yes } else { Blocking::No };
            done(file.set_lock(&caller.context, &lock(&asked, command)?, owner(command), blocking))
        }
        F_GETPIPE_SZ => match files.get(fd)?.stat()?.attr.kind {
            FileType::Fifo => Ok(64 << 10),
            _ => Err(Errno::EBADF.into()),
        },
        _ => {
            files.get(fd)?;
            Err(Errno::EINVAL.into())
        }
    }
}

fn owner(command: u32) -> LockOwner {
    match command {
        F_OFD_GETLK | F_OFD_SETLK | F_OFD_SETLKW => LockOwner::OpenFile,
        _ => LockOwner::Process,
    }
}

fn lock(asked: &abi::Flock, command: u32) -> Result<Flock> {
    let kind = match asked.kind {
        0 => LockType::Read,
        1 => LockType::Write,
        2 => LockType::Unlock,
        _ => return Err(Errno::EINVAL.into()),
    };
    let whence = match asked.whence {
        0 => Whence::Set,
        1 => Whence::Current,
        2 => Whence::End,
        _ => return Err(Errno::EINVAL.into()),
    };
    if owner(command) == LockOwner::OpenFile && asked.pid != 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(Flock { kind, whence, start: asked.start, len: asked.len, pid: asked.pid })
}

/// What `F_GETLK` writes: the lock in the way, or what was asked with its kind changed.
fn answer(asked: &abi::Flock, found: &Flock) -> abi::Flock {
    let kind = match found.kind {
        LockType::Unlock => return abi::Flock { kind: 2, ..*asked },
        LockType::Read => 0,
        LockType::Write => 1,
    };
    let whence = match found.whence {
        Whence::Current => 1,
        Whence::End => 2,
        _ => 0,
    };
    abi::Flock { kind, whence, start: found.start, len: found.len, pid: found.pid, ..*asked }
}

const LOCK_SH: u32 = 1;
const LOCK_EX: u32 = 2;
const LOCK_NB: u32 = 4;
const LOCK_UN: u32 = 8;

/// `flock(2)`.
pub(super) fn flock(caller: &mut Caller<'_>, fd: Fd, operation: u32) -> Answer {
    let blocking = if operation & LOCK_NB != 0 { Blocking::No } else { Blocking::Yes };
    let op = match operation & !LOCK_NB {
        LOCK_SH => FlockOp::Shared,
        LOCK_EX => FlockOp::Exclusive,
        LOCK_UN => FlockOp::Unlock,
        _ => return Err(Errno::EINVAL.into()),
    };
    done(caller.context.file(fd)?.flock(op, blocking))
}

/// `fadvise64(2)`: advice is accepted and not needed.
pub(super) fn fadvise64(caller: &mut Caller<'_>, fd: Fd, _offset: i64, length: i64, advice: u32) -> Answer {
    let file = caller.context.file(fd)?;
    if file.stat()?.attr.kind == FileType::Fifo {
        return Err(Errno::ESPIPE.into());
    }
    if length < 0 || advice > 5 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// `readahead(2)`: as [`fadvise64`].
pub(super) fn readahead(caller: &mut Caller<'_>, fd: Fd, _offset: i64, _count: usize) -> Answer {
    let file = caller.context.file(fd)?;
    match file.stat()?.attr.kind {
        FileType::File if file.flags().reads() => Ok(0),
        FileType::File => Err(Errno::EBADF.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}
