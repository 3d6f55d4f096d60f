//! The contents of one file copied to another, holes kept: a sparse file stays sparse.

use rustix::fd::OwnedFd;
use rustix::fs::{SeekFrom, fstat, ftruncate, seek};
use rustix::io::Errno;
use strata_rt::file::{for_each_chunk, write_all};

/// Which of the two files an error is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// An error, and whose it is.
pub(super) type Failure = (Side, Errno);

pub(super) fn from_source(errno: Errno) -> Failure {
    (Side::Source, errno)
}

pub(super) fn to_target(errno: Errno) -> Failure {
    (Side::Target, errno)
}

/// Copies all of `input` to the empty file `output`, until `stopped` says so.
///
/// # Errors
/// Those of reading and writing; EINTR when stopped.
pub(super) fn copy(input: &OwnedFd, output: &OwnedFd, mut stopped: impl FnMut() -> bool) -> Result<(), Failure> {
    let mut hole = match seek(input, SeekFrom::Hole(0)) {
        // A file system that knows no holes, or a file without a position: all of it is data.
        Err(_) => return copy_piece(input, output, u64::MAX, &mut stopped),
        Ok(hole) => hole,
    };
    let mut data = 0;
    loop {
        seek(input, SeekFrom::Start(data)).map_err(from_source)?;
        seek(output, SeekFrom::Start(data)).map_err(to_target)?;
        let attributes = fstat(input).map_err(from_source)?;
        let size = u64::try_from(attributes.st_size).unwrap_or(0);
        if hole >= size {
            // The end counts as a hole. What grows there meanwhile, or has no size at all as in /proc, is copied too.
            return copy_piece(input, output, u64::MAX, &mut stopped);
        }
        copy_piece(input, output, hole - data, &mut stopped)?;
        data = match seek(input, SeekFrom::Data(hole)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return ftruncate(output, size).map_err(to_target),
            Err(errno) => return Err(from_source(errno)),
        };
        hole = seek(input, SeekFrom::Hole(data)).map_err(from_source)?;
    }
}

/// Copies up to `length` bytes from where the files stand.
fn copy_piece(
    input: &OwnedFd,
    output: &OwnedFd,
    length: u64,
    stopped: &mut impl FnMut() -> bool,
) -> Result<(), Failure> {
    let mut left = length;
    let mut writing = None;
    let copied = for_each_chunk(input, |piece| {
        if stopped() {
            return Err(Errno::INTR);
        }
        let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        write_all(output, piece).inspect_err(|errno| writing = Some(*errno))?;
        left -= piece.len() as u64;
        // Not an error of anything: the way to leave the loop.
        if left == 0 { Err(Errno::CANCELED) } else { Ok(()) }
    });
    match (copied, writing) {
        (Ok(()), _) | (Err(Errno::CANCELED), None) => Ok(()),
        (Err(errno), Some(_)) => Err(to_target(errno)),
        (Err(errno), None) => Err(from_source(errno)),
    }
}
