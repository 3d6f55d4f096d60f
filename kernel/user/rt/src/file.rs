//! Files as wholes: written to the last byte, read to the end, copied from one descriptor to another.

use alloc::vec::Vec;

use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::path::Arg;

/// The size of one read or write when a file is copied or scanned, in bytes.
pub const CHUNK: usize = 64 * 1024;

/// Writes all of `bytes`.
///
/// # Errors
/// Those of `write(2)`; EIO when the kernel takes nothing without saying why.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match retry_on_intr(|| write(&fd, bytes))? {
            0 => return Err(Errno::IO),
            count => bytes = &bytes[count..],
        }
    }
    Ok(())
}

/// Calls `sink` with each piece of what is left in `fd`, until the end or the first error.
///
/// # Errors
/// Those of `read(2)`, ENOMEM without room for one chunk, and what `sink` gives.
pub fn for_each_chunk(fd: impl AsFd, mut sink: impl FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut buffer = Vec::<u8>::new();
    buffer.try_reserve_exact(CHUNK).map_err(|_| Errno::NOMEM)?;
    loop {
        let piece = match read(&fd, buffer.spare_capacity_mut()) {
            Ok((piece, _)) => piece,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno),
        };
        if piece.is_empty() {
            return Ok(());
        }
        sink(piece)?;
    }
}

/// The contents of the file at `path`, up to `limit` bytes.
///
/// # Errors
/// Those of `open(2)` and `read(2)`; EFBIG when the file is longer than `limit`; ENOMEM.
pub fn read_whole(path: impl Arg, limit: usize) -> Result<Vec<u8>, Errno> {
    let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut contents = Vec::new();
    for_each_chunk(fd, |piece| {
        if piece.len() > limit - contents.len() {
            return Err(Errno::FBIG);
        }
        contents.try_reserve(piece.len()).map_err(|_| Errno::NOMEM)?;
        contents.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(contents)
}
