//! Reading and writing.

use alloc::vec::Vec;

use super::{Kind, OpenFile};
use crate::context::Context;
use crate::device::{OpenDevice, Seeking};
use crate::flags::{MountFlags, OpenFlags, RW_COUNT_MAX, RwFlags};
use crate::{Errno, FileOps, InodeFlags, Result, SyncKind, permission, sync_and_tell};

/// Where a read or write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At the position, which moves along.
    Position,
    /// At this offset, the position untouched (`pread(2)`); negative is `EINVAL`.
    Offset(i64),
}

/// Vectors of up to this many bytes are appended in one piece.
const GATHER_MAX: usize = 1 << 20;

impl OpenFile {
    /// `read(2)`, `pread(2)`.
    ///
    /// # Errors
    /// `EBADF` unless open to read; `EISDIR`, `EINVAL`, `ESPIPE`, `EAGAIN`, `EINTR`, `EIO`.
    pub fn read(&self, at: At, buf: &mut [u8]) -> Result<usize> {
        let count = buf.len().min(RW_COUNT_MAX);
        self.read_with(at, count, self.flags(), |at, read| read(at, &mut buf[..count]))
    }

    /// `readv(2)`, `preadv(2)`, `preadv2(2)`.
    ///
    /// # Errors
    /// As [`read`](Self::read); `EOPNOTSUPP` for unknown flags.
    pub fn read_vectored(&self, at: At, bufs: &mut [&mut [u8]], flags: RwFlags) -> Result<usize> {
        if !(RwFlags::RWF_HIPRI | RwFlags::RWF_NOWAIT).contains(flags) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let total = total_len(bufs.iter().map(|buf| buf.len()))?;
        let mut how = self.flags();
        how.set(OpenFlags::O_NONBLOCK, how.contains(OpenFlags::O_NONBLOCK) || flags.contains(RwFlags::RWF_NOWAIT));
        self.read_with(at, total, how, |at, read| {
            let mut done = 0;
            for buf in bufs.iter_mut() {
                let wanted = buf.len().min(total - done);
                if wanted == 0 {
                    continue;
                }
                // What was read before an error is not lost: the next call meets the error.
                match read(at + done as u64, &mut buf[..wanted]) {
                    Ok(count) => {
                        done += count;
                        if count < wanted {
                            break;
                        }
                    }
                    Err(error) if done == 0 => return Err(error),
                    Err(_) => break,
                }
            }
            Ok(done)
        })
    }

    /// `write(2)`, `pwrite(2)`. Set-id bits go unless the caller may keep them.
    ///
    /// # Errors
    /// `EBADF` unless open to write; `EPERM` for a file that became immutable; `EFBIG`, `EINVAL`, `ESPIPE`, `EPIPE`, `EAGAIN`, `EINTR`,
    /// `EROFS`, `ENOSPC`, `EIO`.
    pub fn write(&self, ctx: &Context, at: At, data: &[u8]) -> Result<usize> {
        self.write_with(ctx, at, &[data], self.flags())
    }

    /// `writev(2)`, `pwritev(2)`, `pwritev2(2)`.
    ///
    /// # Errors
    /// As [`write`](Self::write); `EOPNOTSUPP` for unknown flags; `EINVAL` for `RWF_APPEND` with `RWF_NOAPPEND`; `EPERM` for
    /// `RWF_NOAPPEND` on an append-only file.
    pub fn write_vectored(&self, ctx: &Context, at: At, data: &[&[u8]], flags: RwFlags) -> Result<usize> {
        if !RwFlags::all().contains(flags) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if flags.contains(RwFlags::RWF_APPEND | RwFlags::RWF_NOAPPEND) {
            return Err(Errno::EINVAL.into());
        }
        let mut how = self.flags();
        for (theirs, ours) in [
            (RwFlags::RWF_DSYNC, OpenFlags::O_DSYNC),
            (RwFlags::RWF_SYNC, OpenFlags::O_SYNC),
            (RwFlags::RWF_APPEND, OpenFlags::O_APPEND),
            (RwFlags::RWF_NOWAIT, OpenFlags::O_NONBLOCK),
        ] {
            if flags.contains(theirs) {
                how |= ours;
            }
        }
        if flags.contains(RwFlags::RWF_NOAPPEND) && how.contains(OpenFlags::O_APPEND) {
            if self.inode_flags()?.contains(InodeFlags::APPEND) {
                return Err(Errno::EPERM.into());
            }
            how -= OpenFlags::O_APPEND;
        }
        self.write_with(ctx, at, data, how)
    }

    /// Reads through `each`, which is given the offset and the way to read there.
    fn read_with(
        &self,
        at: At,
        total: usize,
        flags: OpenFlags,
        each: impl FnOnce(u64, &mut dyn FnMut(u64, &mut [u8]) -> Result<usize>) -> Result<usize>,
    ) -> Result<usize> {
        self.check_at(at)?;
        if !flags.reads() {
            return Err(Errno::EBADF.into());
        }
        match &self.kind {
            Kind::File => {
                let file = self.file()?;
                let read = self.positioned(at, total, |offset| {
                    if total == 0 {
                        return Ok((0, offset));
                    }
                    let count = each(offset, &mut |offset, buf| file.read_at(offset, buf))?;
                    Ok((count, offset + count as u64))
                })?;
                if total > 0 {
                    self.note_access();
                }
                Ok(read)
            }
            Kind::Dir => Err(Errno::EISDIR.into()),
            Kind::Device(device) => self.device_at(&**device, at, total, |offset| {
                each(offset, &mut |offset, buf| device.read(offset, buf, flags))
            }),
            Kind::Pipe(pipe) => {
                let mut any = false;
                each(0, &mut |_, buf| {
                    // Once something has come, a vector takes no more than is there.
                    if core::mem::replace(&mut any, true) && pipe.available() == 0 {
                        return Ok(0);
                    }
                    pipe.read(buf, flags)
                })
            }
            Kind::Path => Err(Errno::EBADF.into()),
        }
    }

    fn write_with(&self, ctx: &Context, at: At, data: &[&[u8]], flags: OpenFlags) -> Result<usize> {
        self.check_at(at)?;
        if !flags.writes() {
            return Err(Errno::EBADF.into());
        }
        let total = total_len(data.iter().map(|part| part.len()))?;
        match &self.kind {
            Kind::File => {
                let file = self.file()?;
                let inode_flags = self.inode_flags()?;
                inode_flags.check_growth()?;
                let appends = flags.contains(OpenFlags::O_APPEND);
                let written = self.positioned(at, total, |offset| {
                    if total == 0 {
                        return Ok((0, offset));
                    }
                    let begin = match ctx.file_size_limit {
                        u64::MAX => offset,
                        _ if appends => file.attr()?.size,
                        _ => offset,
                    };
                    let room = ctx.file_size_limit.saturating_sub(begin);
                    if room == 0 {
                        return Err(Errno::EFBIG.into());
                    }
                    let total = total.min(usize::try_from(room).unwrap_or(usize::MAX));
                    self.drop_set_id(ctx)?;
                    if appends { append(&**file, data, total) } else { write_parts(&**file, offset, data, total) }
                })?;
                if written > 0 {
                    self.sync_written(&**file, flags, inode_flags)?;
                }
                Ok(written)
            }
            Kind::Dir | Kind::Path => Err(Errno::EBADF.into()),
            Kind::Device(device) => self.device_at(&**device, at, total, |offset| {
                write_each(data, total, |done, part| device.write(offset + done as u64, part, flags))
            }),
            Kind::Pipe(pipe) => write_each(data, total, |_, part| pipe.write(part, flags)),
        }
    }

    /// Whether there can be a transfer at this place: `EINVAL` before the beginning, `ESPIPE` at an offset of what has none.
    fn check_at(&self, at: At) -> Result<()> {
        if matches!(at, At::Offset(..0)) {
            return Err(Errno::EINVAL.into());
        }
        self.not_path()?;
        let has_offsets = match &self.kind {
            Kind::Pipe(_) => false,
            Kind::Device(device) => device.seeking() != Seeking::No,
            _ => true,
        };
        if at == At::Position || has_offsets { Ok(()) } else { Err(Errno::ESPIPE.into()) }
    }

    /// Finds the offset of a transfer of up to `total` bytes, and moves the position behind it. `transfer` returns how many bytes went,
    /// and where the position is then.
    fn positioned(&self, at: At, total: usize, transfer: impl FnOnce(u64) -> Result<(usize, u64)>) -> Result<usize> {
        let fits = |offset: u64| offset.checked_add(total as u64).is_some_and(|end| end <= i64::MAX as u64);
        match at {
            At::Offset(offset) => {
                let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
                if !fits(offset) {
                    return Err(Errno::EINVAL.into());
                }
                Ok(transfer(offset)?.0)
            }
            At::Position => {
                let mut position = self.position.lock();
                if !fits(*position) {
                    return Err(Errno::EINVAL.into());
                }
                let (count, end) = transfer(*position)?;
                if count > 0 {
                    *position = end;
                }
                Ok(count)
            }
        }
    }

    /// A transfer on a device: with a position only where the device has one, so that no lock is held while a terminal waits.
    fn device_at(
        &self,
        device: &dyn OpenDevice,
        at: At,
        total: usize,
        transfer: impl FnOnce(u64) -> Result<usize>,
    ) -> Result<usize> {
        match device.seeking() {
            Seeking::UpTo(_) => {
                self.positioned(at, total, |offset| transfer(offset).map(|count| (count, offset + count as u64)))
            }
            Seeking::Ignored | Seeking::No => transfer(0),
        }
    }

    /// Tells the filesystem that content was read, unless the descriptor or the mount wants the access time left alone.
    pub(super) fn note_access(&self) {
        let Some(location) = self.location() else { return };
        let quiet = if matches!(self.kind, Kind::Dir) {
            MountFlags::MS_NOATIME | MountFlags::MS_NODIRATIME | MountFlags::MS_RDONLY
        } else {
            MountFlags::MS_NOATIME | MountFlags::MS_RDONLY
        };
        if self.flags().contains(OpenFlags::O_NOATIME) || location.mount.has(quiet) {
            return;
        }
        if let Ok(node) = location.node() {
            node.ops().note_access();
        }
    }

    /// Takes away before content changes what [`Inode::drop_privileges_locked`] says.
    pub(super) fn drop_set_id(&self, ctx: &Context) -> Result<()> {
        let Some(inode) = self.inode() else { return Ok(()) };
        if !inode.may_have_capabilities() && permission::after_write(&ctx.credentials, &inode.triple()?).is_none() {
            return Ok(());
        }
        let _exclusive = inode.lock.write();
        inode.drop_privileges_locked(&ctx.credentials, &inode.triple_locked()?)
    }

    /// `O_SYNC` and `O_DSYNC`, by the descriptor, the mount or the inode.
    fn sync_written(&self, file: &dyn FileOps, flags: OpenFlags, inode: InodeFlags) -> Result<()> {
        let mount_syncs = self.location().is_some_and(|location| location.mount.has(MountFlags::MS_SYNCHRONOUS));
        if flags.contains(OpenFlags::O_SYNC) || mount_syncs {
            sync_and_tell(file, SyncKind::All, &self.told)
        } else if flags.contains(OpenFlags::O_DSYNC) || inode.contains(InodeFlags::SYNC) {
            sync_and_tell(file, SyncKind::Data, &self.told)
        } else {
            Ok(())
        }
    }
}

/// The length of a vector, cut to what one call moves; `EINVAL` past what a call can return.
fn total_len(parts: impl Iterator<Item = usize>) -> Result<usize> {
    let mut total: usize = 0;
    for part in parts {
        total = total.checked_add(part).filter(|&total| isize::try_from(total).is_ok()).ok_or(Errno::EINVAL)?;
    }
    Ok(total.min(RW_COUNT_MAX))
}

/// Writes the parts one after the other until `total` bytes are out or a part comes up short; an error counts only at the beginning.
fn write_each(data: &[&[u8]], total: usize, mut write: impl FnMut(usize, &[u8]) -> Result<usize>) -> Result<usize> {
    let mut done = 0;
    for part in data {
        let part = &part[..part.len().min(total - done)];
        if part.is_empty() {
            continue;
        }
        match write(done, part) {
            Ok(count) => {
                done += count;
                if count < part.len() {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn write_parts(file: &dyn FileOps, offset: u64, data: &[&[u8]], total: usize) -> Result<(usize, u64)> {
    let done = write_each(data, total, |done, part| file.write_at(offset + done as u64, part))?;
    Ok((done, offset + done as u64))
}

/// Appends a vector: in one piece, unless it is huge.
fn append(file: &dyn FileOps, data: &[&[u8]], total: usize) -> Result<(usize, u64)> {
    let single = data.iter().find(|part| part.len() >= total);
    if let Some(part) = single {
        let (begin, count) = file.append(&part[..total])?;
        return Ok((count, begin + count as u64));
    }
    let mut whole = Vec::new();
    if total <= GATHER_MAX && whole.try_reserve_exact(total).is_ok() {
        for part in data {
            let part = &part[..part.len().min(total - whole.len())];
            whole.extend_from_slice(part);
        }
        let (begin, count) = file.append(&whole)?;
        return Ok((count, begin + count as u64));
    }
    let mut end = 0;
    let done = write_each(data, total, |_, part| {
        let (begin, count) = file.append(part)?;
        end = begin + count as u64;
        Ok(count)
    })?;
    Ok((done, end))
}
