//! Copying from one open file to another.

use alloc::vec::Vec;

use super::{At, Kind, OpenFile};
use crate::context::Context;
use crate::flags::{OpenFlags, RW_COUNT_MAX};
use crate::{Errno, Result};

/// How much is copied at a time.
const COPY_CHUNK: usize = 64 * 1024;

impl OpenFile {
    /// `sendfile(2)`: from this file to another, at most `len` bytes.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`write`](Self::write); `EINVAL` where this is no regular file.
    pub fn copy_to(&self, ctx: &Context, at: At, to: &Self, to_at: At, len: usize) -> Result<usize> {
        if !self.flags().reads() || !to.flags().writes() {
            return Err(Errno::EBADF.into());
        }
        let Kind::File = self.kind else { return Err(Errno::EINVAL.into()) };
        let len = len.min(RW_COUNT_MAX);
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(len.min(COPY_CHUNK)).map_err(|_| Errno::ENOMEM)?;
        chunk.resize(len.min(COPY_CHUNK), 0);
        let mut done = 0;
        while done < len {
            let wanted = chunk.len().min(len - done);
            let mut step = || -> Result<(usize, usize)> {
                let from = match at {
                    At::Position => At::Offset(i64::try_from(*self.position.lock()).map_err(|_| Errno::EOVERFLOW)?),
                    At::Offset(offset) => At::Offset(advance(offset, done)?),
                };
                let read = self.read(from, &mut chunk[..wanted])?;
                if read == 0 {
                    return Ok((0, 0));
                }
                let to_at = match to_at {
                    At::Position => At::Position,
                    At::Offset(offset) => At::Offset(advance(offset, done)?),
                };
                let written = to.write(ctx, to_at, &chunk[..read])?;
                if at == At::Position {
                    *self.position.lock() += written as u64;
                }
                Ok((read, written))
            };
            match step() {
                Ok((_, 0)) => break,
                Ok((read, written)) => {
                    done += written;
                    if written < read {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// `copy_file_range(2)`: as [`copy_to`](Self::copy_to), between regular files.
    ///
    /// # Errors
    /// As `copy_to`; `EISDIR`; `EINVAL` for other kinds and for ranges of one file that overlap; `EBADF` to append.
    pub fn copy_range_to(&self, ctx: &Context, at: At, to: &Self, to_at: At, len: usize) -> Result<usize> {
        for file in [self, to] {
            match file.kind {
                Kind::File => {}
                Kind::Dir => return Err(Errno::EISDIR.into()),
                Kind::Path => return Err(Errno::EBADF.into()),
                _ => return Err(Errno::EINVAL.into()),
            }
        }
        if !self.flags().reads() || !to.flags().writes() || to.flags().contains(OpenFlags::O_APPEND) {
            return Err(Errno::EBADF.into());
        }
        let from = self.offset_of(at)?;
        let onto = to.offset_of(to_at)?;
        let len64 = len as u64;
        if from.checked_add(len64).is_none_or(|end| end > i64::MAX as u64)
            || onto.checked_add(len64).is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(Errno::EOVERFLOW.into());
        }
        let size = self.file()?.attr()?.size;
        let len64 = len64.min(size.saturating_sub(from));
        let same = self.inode().map(|inode| inode.object()) == to.inode().map(|inode| inode.object());
        if same && from < onto + len64 && onto < from + len64 {
            return Err(Errno::EINVAL.into());
        }
        self.copy_to(ctx, at, to, to_at, len64 as usize)
    }

    fn offset_of(&self, at: At) -> Result<u64> {
        match at {
            At::Position => Ok(*self.position.lock()),
            At::Offset(offset) => u64::try_from(offset).map_err(|_| Errno::EINVAL.into()),
        }
    }
}

fn advance(offset: i64, by: usize) -> Result<i64> {
    i64::try_from(by).ok().and_then(|by| offset.checked_add(by)).ok_or_else(|| Errno::EINVAL.into())
}
