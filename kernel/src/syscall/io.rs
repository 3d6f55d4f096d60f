//! Reading and writing: `read`, `write` and their kin, `lseek`, `sendfile`, `copy_file_range`, `ioctl`.
//!
//! How the bytes move is in [`super::transfer`].

use vfs::{At, Context, Errno, Fd, OpenFile, OpenFlags, Result, RwFlags, UserMemory, Whence};

use super::abi::IoVec;
use super::transfer::{self, after, note_written, with_segments};
use super::{Answer, Caller};
use crate::task::space::shared;
use crate::user::{MAX_TRANSFER, UserBytes, UserPtr};

/// `read(2)`.
pub(super) fn read(caller: &mut Caller<'_>, fd: Fd, buffer: u64, count: usize) -> Answer {
    let file = caller.context.file(fd)?;
    transfer::read(&file, At::Position, &[UserBytes::new(buffer, count)], RwFlags::empty())
}

/// `write(2)`.
pub(super) fn write(caller: &mut Caller<'_>, fd: Fd, buffer: u64, count: usize) -> Answer {
    let file = caller.context.file(fd)?;
    transfer::write(caller, &file, At::Position, &[UserBytes::new(buffer, count)], RwFlags::empty())
}

/// `pread64(2)`.
pub(super) fn pread64(caller: &mut Caller<'_>, fd: Fd, buffer: u64, count: usize, offset: i64) -> Answer {
    let file = caller.context.file(fd)?;
    transfer::read(&file, At::Offset(offset), &[UserBytes::new(buffer, count)], RwFlags::empty())
}

/// `pwrite64(2)`.
pub(super) fn pwrite64(caller: &mut Caller<'_>, fd: Fd, buffer: u64, count: usize, offset: i64) -> Answer {
    let file = caller.context.file(fd)?;
    transfer::write(caller, &file, At::Offset(offset), &[UserBytes::new(buffer, count)], RwFlags::empty())
}

/// `readv(2)`.
pub(super) fn readv(caller: &mut Caller<'_>, fd: Fd, vector: UserPtr<IoVec>, count: usize) -> Answer {
    read_vector(caller, fd, vector, count, At::Position, RwFlags::empty())
}

/// `writev(2)`.
pub(super) fn writev(caller: &mut Caller<'_>, fd: Fd, vector: UserPtr<IoVec>, count: usize) -> Answer {
    write_vector(caller, fd, vector, count, At::Position, RwFlags::empty())
}

/// `preadv(2)`. On x86_64 the whole offset is in the first of its two arguments.
pub(super) fn preadv(caller: &mut Caller<'_>, fd: Fd, vector: UserPtr<IoVec>, count: usize, offset: i64) -> Answer {
    read_vector(caller, fd, vector, count, At::Offset(offset), RwFlags::empty())
}

/// `pwritev(2)`.
pub(super) fn pwritev(caller: &mut Caller<'_>, fd: Fd, vector: UserPtr<IoVec>, count: usize, offset: i64) -> Answer {
    write_vector(caller, fd, vector, count, At::Offset(offset), RwFlags::empty())
}

/// `preadv2(2)`: offset -1 is the position.
pub(super) fn preadv2(
    caller: &mut Caller<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _high: u64,
    flags: u32,
) -> Answer {
    read_vector(caller, fd, vector, count, position_or(offset), RwFlags::from_bits_retain(flags))
}

/// `pwritev2(2)`.
pub(super) fn pwritev2(
    caller: &mut Caller<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: usize,
    offset: i64,
    _high: u64,
    flags: u32,
) -> Answer {
    write_vector(caller, fd, vector, count, position_or(offset), RwFlags::from_bits_retain(flags))
}

fn position_or(offset: i64) -> At {
    if offset == -1 { At::Position } else { At::Offset(offset) }
}

fn read_vector(
    caller: &mut Caller<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: usize,
    at: At,
    flags: RwFlags,
) -> Answer {
    let file = caller.context.file(fd)?;
    with_segments(vector, count, |segments| transfer::read(&file, at, segments, flags))
}

fn write_vector(
    caller: &mut Caller<'_>,
    fd: Fd,
    vector: UserPtr<IoVec>,
    count: usize,
    at: At,
    flags: RwFlags,
) -> Answer {
    let file = caller.context.file(fd)?;
    with_segments(vector, count, |segments| transfer::write(caller, &file, at, segments, flags))
}

/// `lseek(2)`.
pub(super) fn lseek(caller: &mut Caller<'_>, fd: Fd, offset: i64, whence: u32) -> Answer {
    let file = caller.context.file(fd)?;
    Ok(file.seek(offset, Whence::from_raw(whence)?)? as usize)
}

/// `sendfile(2)`.
pub(super) fn sendfile(caller: &mut Caller<'_>, out: Fd, input: Fd, offset: UserPtr<i64>, count: usize) -> Answer {
    let from = caller.context.file(input)?;
    let to = caller.context.file(out)?;
    copy(caller, (&from, offset), (&to, UserPtr::new(0)), count, OpenFile::copy_to)
}

/// `copy_file_range(2)`.
pub(super) fn copy_file_range(
    caller: &mut Caller<'_>,
    input: Fd,
    input_offset: UserPtr<i64>,
    out: Fd,
    out_offset: UserPtr<i64>,
    count: usize,
    flags: u32,
) -> Answer {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let from = caller.context.file(input)?;
    let to = caller.context.file(out)?;
    copy(caller, (&from, input_offset), (&to, out_offset), count, OpenFile::copy_range_to)
}

/// Copies between two files; an offset that is given is used in place of the position, and moved.
fn copy(
    caller: &Caller<'_>,
    (from, from_offset): (&OpenFile, UserPtr<i64>),
    (to, to_offset): (&OpenFile, UserPtr<i64>),
    count: usize,
    how: fn(&OpenFile, &Context, At, &OpenFile, At, usize) -> Result<usize>,
) -> Answer {
    let place = |offset: UserPtr<i64>| match offset.optional() {
        None => Ok(At::Position),
        Some(offset) => offset.read().map(At::Offset),
    };
    let (from_at, to_at) = (place(from_offset)?, place(to_offset)?);
    shared::before_read(from)?;
    shared::before_read(to)?;
    let copied = how(from, &caller.context, from_at, to, to_at, count.min(MAX_TRANSFER))?;
    note_written(to, to_at, copied);
    for (offset, at) in [(from_offset, from_at), (to_offset, to_at)] {
        if let At::Offset(_) = at {
            let At::Offset(moved) = after(at, copied) else { continue };
            offset.write(&moved)?;
        }
    }
    Ok(copied)
}

/// A program's memory for drivers.
struct CallerMemory;

impl UserMemory for CallerMemory {
    fn copy_in(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        UserBytes::whole(address, buf.len()).read(buf)
    }

    fn copy_out(&self, address: u64, data: &[u8]) -> Result<()> {
        UserBytes::whole(address, data.len()).write(data).map(drop)
    }
}

const FIONCLEX: u32 = 0x5450;
const FIOCLEX: u32 = 0x5451;
const FIONBIO: u32 = 0x5421;

/// `ioctl(2)`.
pub(super) fn ioctl(caller: &mut Caller<'_>, fd: Fd, command: u32, argument: u64) -> Answer {
    let file = caller.context.file(fd)?;
    match command {
        FIOCLEX | FIONCLEX => {
            let on_exec = if command == FIOCLEX { vfs::OnExec::Close } else { vfs::OnExec::Keep };
            super::done(caller.context.files.set_on_exec(fd, on_exec))
        }
        FIONBIO => {
            let wanted = UserPtr::<i32>::new(argument).read()? != 0;
            let mut flags = file.flags();
            flags.set(OpenFlags::O_NONBLOCK, wanted);
            super::done(file.set_flags(&caller.context, flags))
        }
        _ => Ok(file.ioctl(&caller.context, command, argument, &CallerMemory)? as usize),
    }
}
