//! Moving bytes between a program's memory and an open file, in one segment or several.
//!
//! Two ways, by [`OpenFile::may_wait`]:
//! - What never waits for others, regular files above all, is lent the program's memory, segment by segment: one copy from the
//!   archive or the cache.
//! - Pipes and terminals wait, and nothing waits while memory is lent. They fill and drain a buffer of the kernel's. All
//!   segments share it, so a vector is one read, which ends with what is there, and one write, whole up to `PIPE_BUF`.
//!
//! Shared mappings of the file are one with it ([`shared`]): before the transfer stores are written to it, after it pages are read
//! again. Neither happens while memory is lent.

use alloc::vec::Vec;

use vfs::{At, Errno, Error, OpenFile, OpenFlags, Result, RwFlags, Whence};

use super::abi::IoVec;
use super::{Answer, Caller};
use crate::task::Rights;
use crate::task::space::shared;
use crate::user::{MAX_TRANSFER, UserArray, UserBytes, UserPtr};

/// The most segments of a vector (`UIO_MAXIOV`).
const SEGMENTS_MAX: usize = 1024;
/// Segments that are kept on the stack.
const FEW: usize = 8;
/// The largest buffer between a program and what waits, in bytes: as much as a pipe holds.
const BUFFER_MAX: usize = 64 << 10;

/// Where the next piece of a transfer goes.
pub(super) fn after(at: At, done: usize) -> At {
    match at {
        At::Position => At::Position,
        At::Offset(offset) => At::Offset(offset.saturating_add(done as i64)),
    }
}

/// Calls `transfer` with the segments of a vector, [`MAX_TRANSFER`] bytes at most.
///
/// # Errors
/// `EINVAL` for too many segments or a negative length; `EFAULT`, `ENOMEM`; those of `transfer`.
pub(super) fn with_segments(
    vector: UserPtr<IoVec>,
    count: usize,
    transfer: impl FnOnce(&[UserBytes]) -> Answer,
) -> Answer {
    if count > SEGMENTS_MAX {
        return Err(Errno::EINVAL.into());
    }
    let array = UserArray::new(vector, count);
    let mut room = MAX_TRANSFER;
    let mut claim = |segment: &IoVec| {
        let length = (segment.len as usize).min(room);
        room -= length;
        UserBytes::new(segment.base, length)
    };
    let check = |segments: &[IoVec]| match segments.iter().any(|segment| segment.len > i64::MAX as u64) {
        true => Err(Error::from(Errno::EINVAL)),
        false => Ok(()),
    };
    if count <= FEW {
        let mut place = [const { core::mem::MaybeUninit::uninit() }; FEW];
        let segments = array.read_into(&mut place)?;
        check(segments)?;
        let mut claims = [UserBytes::new(0, 0); FEW];
        claims.iter_mut().zip(&*segments).for_each(|(slot, segment)| *slot = claim(segment));
        transfer(&claims[..count])
    } else {
        let segments = array.read()?;
        check(&segments)?;
        let mut claims = Vec::new();
        claims.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        claims.extend(segments.iter().map(claim));
        transfer(&claims)
    }
}

/// Reads into the segments, one after the other.
///
/// # Errors
/// Those of [`OpenFile::read_vectored`]; `EFAULT`, `ENOMEM`.
pub(super) fn read(file: &OpenFile, at: At, segments: &[UserBytes], flags: RwFlags) -> Answer {
    let read_one = |at, bytes: &mut [u8]| {
        if flags.is_empty() { file.read(at, bytes) } else { file.read_vectored(at, &mut [bytes], flags) }
    };
    if file.may_wait() {
        return read_buffered(segments, |bytes| read_one(at, bytes));
    }
    shared::before_read(file)?;
    each(segments, |segment, done| {
        let mut within = 0;
        segment.with_mut(|bytes| {
            let count = read_one(after(at, done + within), bytes)?;
            within += count;
            Ok(count)
        })
    })
}

/// Writes the segments, one after the other. A pipe that nobody reads sends the caller `SIGPIPE`.
///
/// # Errors
/// Those of [`OpenFile::write_vectored`]; `EFAULT`, `ENOMEM`.
pub(super) fn write(caller: &Caller<'_>, file: &OpenFile, at: At, segments: &[UserBytes], flags: RwFlags) -> Answer {
    let context = &caller.context;
    let write_one = |at, bytes: &[u8]| {
        if flags.is_empty() {
            file.write(context, at, bytes)
        } else {
            file.write_vectored(context, at, &[bytes], flags)
        }
    };
    if file.may_wait() {
        let outcome = write_buffered(segments, |bytes| write_one(at, bytes));
        if outcome.as_ref().is_err_and(|error| *error == Errno::EPIPE) {
            super::signals::raise(caller, crate::task::signal::SIGPIPE);
        }
        return outcome;
    }
    shared::before_read(file)?;
    let mut written = 0;
    let outcome = each(segments, |segment, done| {
        let mut within = 0;
        segment.with(|bytes| {
            let count = write_one(after(at, done + within), bytes)?;
            within += count;
            written += count;
            Ok(count)
        })
    });
    note_written(file, at, written);
    outcome
}

/// Gives each segment to `transfer` until one is not done whole. Empty segments ask nothing, unless there is nothing else to
/// ask: then the descriptor is still checked.
fn each(segments: &[UserBytes], mut transfer: impl FnMut(UserBytes, usize) -> Answer) -> Answer {
    let mut done = 0;
    let mut asked = false;
    for segment in segments.iter().filter(|segment| !segment.is_empty()) {
        asked = true;
        match transfer(*segment, done) {
            Ok(count) => {
                done += count;
                if count < segment.len() {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if asked { Ok(done) } else { transfer(UserBytes::new(0, 0), 0) }
}

/// One read through a buffer, then out to the segments.
fn read_buffered(segments: &[UserBytes], read: impl FnOnce(&mut [u8]) -> Answer) -> Answer {
    // As much as the program can take: what is read and cannot be handed over is lost.
    let mut room = 0;
    for segment in segments {
        let wanted = segment.take(BUFFER_MAX - room);
        match wanted.prefault(Rights::WRITE) {
            Ok(ready) => {
                room += ready;
                if ready < wanted.len() {
                    break;
                }
            }
            Err(error) if room == 0 => return Err(error),
            Err(_) => break,
        }
    }
    let mut buffer = buffer(room)?;
    buffer.resize(room, 0);
    let count = read(&mut buffer)?;
    let mut rest = &buffer[..count];
    for segment in segments {
        let taken = segment.write(rest)?;
        rest = &rest[taken..];
    }
    Ok(count)
}

/// Writes what the segments hold, a buffer at a time.
fn write_buffered(segments: &[UserBytes], mut write: impl FnMut(&[u8]) -> Answer) -> Answer {
    let total = segments.iter().map(|segment| segment.len()).sum::<usize>();
    let mut buffer = buffer(total.min(BUFFER_MAX))?;
    let mut done = 0;
    loop {
        buffer.clear();
        let outcome = match gather(segments, done, &mut buffer) {
            Err(error) if buffer.is_empty() => Err(error),
            // Up to a hole at least: then the next round finds nothing but the hole.
            _ => write(&buffer),
        };
        match outcome {
            Ok(count) => {
                done += count;
                if count < buffer.len() || done == total {
                    return Ok(done);
                }
            }
            Err(error) if done == 0 => return Err(error),
            // What was transferred counts; the error comes again with the next call.
            Err(_) => return Ok(done),
        }
    }
}

/// Fills the buffer, up to [`BUFFER_MAX`], with what the segments hold past the first `skip` bytes.
///
/// # Errors
/// `EFAULT`; what could be read before is in the buffer.
fn gather(segments: &[UserBytes], skip: usize, buffer: &mut Vec<u8>) -> Result<()> {
    let mut skip = skip;
    for segment in segments {
        let rest = segment.skip(skip);
        skip = skip.saturating_sub(segment.len());
        let wanted = rest.take(BUFFER_MAX - buffer.len());
        let ready = wanted.prefault(Rights::READ)?;
        let start = buffer.len();
        buffer.resize(start + ready, 0);
        wanted.take(ready).read(&mut buffer[start..]).inspect_err(|_| buffer.truncate(start))?;
        if ready < wanted.len() {
            return Err(Errno::EFAULT.into());
        }
    }
    Ok(())
}

fn buffer(size: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(size).map_err(|_| Error::new(Errno::ENOMEM, "a buffer for a pipe or terminal"))?;
    Ok(buffer)
}

/// Lets mappings of the file see what was written. With `O_APPEND` and at the position, the position tells where it ended.
pub(super) fn note_written(file: &OpenFile, at: At, count: usize) {
    if !shared::is_any() || count == 0 {
        return;
    }
    let end = match at {
        At::Offset(offset) if !file.flags().contains(OpenFlags::O_APPEND) => {
            (offset as u64).saturating_add(count as u64)
        }
        At::Offset(_) => file.stat().map_or(0, |stat| stat.attr.size),
        At::Position => file.seek(0, Whence::Current).unwrap_or(0),
    };
    shared::after_write(file, end.saturating_sub(count as u64), count as u64);
}
