//! Making a filesystem: [`format`], which writes what `mkfs.ext4` would, in one batch of a few dozen requests.
//!
//! It is for blank disks alone: `format` itself asks [`is_blank`], so that nothing is ever lost.
//! Tables that nobody reads before they are written (inode tables, bitmaps of untouched groups, the journal's body) are
//! marked uninitialised instead of being zeroed. `layout` says what goes where, `image` makes the bytes.

mod blank;
mod image;
mod layout;
pub(crate) mod mark;

use alloc::vec::Vec;
use core::fmt;

use base::time::Timestamp;
use base::{Errno, Error};
use block::{BlockDevice, Io, SECTOR_SIZE};

pub use blank::is_blank;
use image::Image;
use layout::Layout;

/// What a new filesystem is to be.
#[derive(Debug, Clone, Copy)]
pub struct FormatOptions {
    /// Block size in bytes: 1,024, 2,048 or 4,096.
    pub block_size: u32,
    /// Size of an inode record in bytes: 128 or 256.
    pub inode_size: u16,
    /// UUID of the filesystem; should be random.
    pub uuid: [u8; 16],
    /// Seed of the directory hash; should be random.
    pub hash_seed: [u8; 16],
    /// Volume name, padded with NUL.
    pub label: [u8; 16],
    /// The time of its making.
    pub now: Timestamp,
}

impl FormatOptions {
    /// Blocks of 4 KiB and inodes of 256 bytes, with an identity drawn from `random`.
    #[must_use]
    pub fn new(random: [u8; 32], now: Timestamp) -> Self {
        let (mut uuid, mut hash_seed) = ([0; 16], [0; 16]);
        uuid.copy_from_slice(&random[..16]);
        hash_seed.copy_from_slice(&random[16..]);
        // Version 4, variant 1 of RFC 9562: a random UUID.
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        Self { block_size: 4096, inode_size: 256, uuid, hash_seed, label: [0; 16], now }
    }
}

/// Why a disk was not formatted. It was not written to, except for [`FormatError::Device`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// There is something on it.
    NotBlank,
    /// Its size and the least size, in bytes.
    TooSmall {
        /// What it has.
        bytes: u64,
        /// What a filesystem of this block size needs.
        least: u64,
    },
    /// Its size in bytes: more than block numbers of 32 bits reach.
    TooLarge {
        /// What it has.
        bytes: u64,
    },
    /// It cannot be written.
    ReadOnly,
    /// A size that ext4 does not know.
    BadOptions(&'static str),
    /// The device failed on the way.
    Device(Error),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBlank => f.write_str("the disk is not blank"),
            Self::TooSmall { bytes, least } => {
                write!(f, "the disk has {} KiB, a filesystem needs {} KiB", bytes >> 10, least >> 10)
            }
            Self::TooLarge { bytes } => write!(f, "the disk has {} GiB, more than can be formatted here", bytes >> 30),
            Self::ReadOnly => f.write_str("the disk is read-only"),
            Self::BadOptions(what) => f.write_str(what),
            Self::Device(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl core::error::Error for FormatError {}

impl From<Error> for FormatError {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

impl From<FormatError> for Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::NotBlank => Self::new(Errno::EEXIST, "the disk is not blank"),
            FormatError::TooSmall { .. } => Self::new(Errno::ENOSPC, "the disk is too small for a filesystem"),
            FormatError::TooLarge { .. } => Self::new(Errno::EFBIG, "the disk is too large to be formatted here"),
            FormatError::ReadOnly => Self::new(Errno::EROFS, "the disk is read-only"),
            FormatError::BadOptions(what) => Self::new(Errno::EINVAL, what),
            FormatError::Device(error) => error,
        }
    }
}

/// Makes an ext4 filesystem on a blank disk: journal, metadata checksums, 64-bit block numbers, flexible groups, an empty
/// root with `lost+found`. A mark comes first, then all but the superblock, then that, then the mark goes, each after a flush:
/// cut off anywhere, the disk is blank, or a filesystem, or begun and counts as blank.
///
/// # Errors
/// See [`FormatError`].
pub fn format(device: &dyn BlockDevice, options: &FormatOptions) -> Result<(), FormatError> {
    if !is_blank(device)? {
        return Err(FormatError::NotBlank);
    }
    let capabilities = device.capabilities();
    if capabilities.read_only {
        return Err(FormatError::ReadOnly);
    }
    let layout = Layout::new(capabilities.sectors * SECTOR_SIZE as u64, options)?;
    let image = Image::new(&layout, options);
    device.write(0, &mark::new(&image.superblock))?;
    device.flush()?;
    let per_block = u64::from(options.block_size) / SECTOR_SIZE as u64;
    let mut batch: Vec<Io<'_>> =
        image.pieces.iter().map(|(block, data)| Io::Write { sector: block * per_block, data }).collect();
    device.transfer(&mut batch)?;
    device.flush()?;
    device.write(image::SUPERBLOCK_OFFSET / SECTOR_SIZE as u64, &image.superblock)?;
    device.flush()?;
    mark::clear(device)?;
    Ok(())
}

#[cfg(test)]
mod tests;
