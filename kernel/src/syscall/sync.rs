//! Making things durable.

use vfs::{Errno, Fd, FileType, SyncKind};

use super::{Answer, Caller, done};
use crate::init::namespace;
use crate::task::space::shared;

/// `sync(2)`: it never fails; what went wrong was logged.
pub(super) fn sync(_caller: &mut Caller<'_>) -> Answer {
    let _ = shared::flush_all().and(namespace().sync());
    Ok(0)
}

/// `syncfs(2)`.
pub(super) fn syncfs(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    shared::flush_all()?;
    done(namespace().syncfs(&caller.context, fd))
}

/// `fsync(2)`.
pub(super) fn fsync(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    let file = caller.context.file(fd)?;
    shared::before_read(&file)?;
    done(file.sync(SyncKind::All))
}

/// `fdatasync(2)`.
pub(super) fn fdatasync(caller: &mut Caller<'_>, fd: Fd) -> Answer {
    let file = caller.context.file(fd)?;
    shared::before_read(&file)?;
    done(file.sync(SyncKind::Data))
}

/// `sync_file_range(2)`: the range's data are made durable with the rest of the file's, which is more than was asked.
pub(super) fn sync_file_range(caller: &mut Caller<'_>, fd: Fd, offset: i64, count: i64, flags: u32) -> Answer {
    let file = caller.context.file(fd)?;
    if flags & !7 != 0 || offset < 0 || count < 0 || offset.checked_add(count).is_none() {
        return Err(Errno::EINVAL.into());
    }
    match file.stat()?.attr.kind {
        FileType::File | FileType::Dir | FileType::BlockDevice if flags == 0 => Ok(0),
        FileType::File | FileType::Dir | FileType::BlockDevice => done(file.sync(SyncKind::Data)),
        _ => Err(Errno::ESPIPE.into()),
    }
}
