//! Regular files: stateless reads and writes. Positions belong to descriptors.

use crate::{Errno, NodeOps, Result};

/// What a file is being opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenIntent {
    /// To read, or to execute.
    Read,
    /// To write: an overlay copies the file up now, so that later writes cannot meet `EROFS`.
    Write,
    /// To write, the content thrown away first (`O_TRUNC`): an overlay copies no data.
    Truncate,
}

/// What `fallocate(2)` is to do with a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllocateMode {
    /// Reserve space; the file grows to the end of the range.
    Extend,
    /// Reserve space; the size stays (`FALLOC_FL_KEEP_SIZE`).
    KeepSize,
    /// Give space back; the range reads as zeros (`FALLOC_FL_PUNCH_HOLE`).
    PunchHole,
    /// The range reads as zeros, its space kept; the file may grow (`FALLOC_FL_ZERO_RANGE`).
    ZeroRange,
    /// As `ZeroRange`, the size stays.
    ZeroRangeKeepSize,
}

/// A regular file. Offsets and lengths are in bytes. A write or a change of size sets mtime and ctime.
pub trait FileOps: NodeOps {
    /// Called at every open, before the descriptor exists. After [`OpenIntent::Truncate`] the file is empty, its times
    /// changed as by [`set_len`](Self::set_len).
    ///
    /// # Errors
    /// `EROFS`, `ENOSPC`, `EIO`.
    fn prepare_open(&self, intent: OpenIntent) -> Result<()> {
        match intent {
            OpenIntent::Read => Ok(()),
            OpenIntent::Write => Err(Errno::EROFS.into()),
            OpenIntent::Truncate => Err(Errno::EROFS.into()),
        }
    }

    /// Reads from `offset` into `buf`; returns how many bytes, fewer only at the end of the file.
    /// The bytes go straight from where the filesystem has them into `buf`, copied once.
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;

    /// Writes `data` at `offset`, growing the file where needed; returns how many bytes, at least one unless
    /// `data` is empty. Fewer than asked where space ran out on the way.
    ///
    /// # Errors
    /// `ENOSPC`, `EFBIG`, `EROFS`, `EIO`.
    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<usize> {
        Err(Errno::EROFS.into())
    }

    /// Writes `data` at the end of the file in one step (`O_APPEND`); returns the offset at which it begins and how
    /// many bytes were written.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    fn append(&self, _data: &[u8]) -> Result<(u64, usize)> {
        Err(Errno::EROFS.into())
    }

    /// Cuts the file to `len` bytes, or grows it with a hole. mtime and ctime change even where `len` is the size.
    ///
    /// # Errors
    /// `EFBIG`, `ENOSPC`, `EROFS`, `EIO`.
    fn set_len(&self, _len: u64) -> Result<()> {
        Err(Errno::EROFS.into())
    }

    /// Reserves, frees or zeroes a range; `len` is at least 1 and `offset + len` does not overflow.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a mode that the filesystem lacks; `EFBIG`, `ENOSPC`, `EROFS`, `EIO`.
    fn allocate(&self, _mode: AllocateMode, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// The first byte at or after `offset` that is not in a hole, `None` if only holes follow or `offset` is past the
    /// end (`SEEK_DATA`).
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn seek_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok((offset < self.attr()?.size).then_some(offset))
    }

    /// The first byte at or after `offset` that is in a hole; the end of the file counts as one. `None` if `offset` is
    /// past the end (`SEEK_HOLE`).
    ///
    /// # Errors
    /// `EIO`, `EUCLEAN`.
    fn seek_hole(&self, offset: u64) -> Result<Option<u64>> {
        let size = self.attr()?.size;
        Ok((offset < size).then_some(size))
    }
}
