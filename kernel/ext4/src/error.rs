//! Why a mount was refused.

use alloc::string::String;
use core::fmt;

use vfs::Error;

/// Why a filesystem was not mounted. Nothing was written, unless a journal had been replayed before.
#[derive(Debug)]
pub enum MountError {
    /// The device failed.
    Device(Error),
    /// There is no ext2, ext3 or ext4 superblock.
    NotExt4,
    /// A field of the superblock or of a group descriptor is impossible.
    Corrupt(&'static str),
    /// A checksum does not match.
    Checksum(&'static str),
    /// The medium needs features that are not supported: their names.
    Features(String),
    /// The size of a block, in bytes, is not supported.
    BlockSize(u64),
    /// The filesystem is larger than its device: blocks of the one, blocks of the other.
    DeviceTooSmall {
        /// Blocks that the superblock tells of.
        filesystem: u64,
        /// Blocks of the device.
        device: u64,
    },
    /// The journal cannot be used, whether to replay or to write it.
    Journal(&'static str),
    /// The journal has features that are not known: their bits.
    JournalFeatures {
        /// Those without which it cannot be read.
        incompat: u32,
        /// Those without which it must not be written.
        ro_compat: u32,
    },
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => write!(f, "ext4: the disk failed: {error}"),
            Self::NotExt4 => write!(f, "ext4: no superblock found"),
            Self::Corrupt(what) => write!(f, "ext4: corrupt filesystem: {what}"),
            Self::Checksum(what) => write!(f, "ext4: wrong checksum of {what}"),
            Self::Features(names) => write!(f, "ext4: unsupported features: {names}"),
            Self::BlockSize(bytes) => write!(f, "ext4: unsupported block size of {bytes} bytes"),
            Self::DeviceTooSmall { filesystem, device } => {
                write!(f, "ext4: the filesystem has {filesystem} blocks, its disk only {device}")
            }
            Self::Journal(why) => write!(f, "ext4: the journal cannot be used: {why}"),
            Self::JournalFeatures { incompat, ro_compat } => {
                write!(f, "ext4: unsupported features of the journal: {incompat:#x}, {ro_compat:#x}")
            }
        }
    }
}

impl core::error::Error for MountError {}

impl From<Error> for MountError {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}
