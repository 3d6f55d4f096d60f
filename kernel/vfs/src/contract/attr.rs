//! What is known of an inode, how it is changed, and what a new one starts with.

use crate::{InodeFlags, Timestamp};

/// Bits of a file mode below the type (`<linux/stat.h>`).
pub mod mode {
    /// Set user id on execution.
    pub const SET_UID: u16 = 0o4000;
    /// Set group id on execution; on a directory, inherit its group.
    pub const SET_GID: u16 = 0o2000;
    /// On a directory: only owners remove entries.
    pub const STICKY: u16 = 0o1000;
    /// All permission bits: set-id, sticky, and rwx three times.
    pub const PERMISSIONS: u16 = 0o7777;
}

/// The type of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Bound endpoint of a Unix-domain socket.
    Socket,
}

impl FileType {
    /// The `S_IFMT` bits of `st_mode`.
    #[must_use]
    pub const fn mode_bits(self) -> u32 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Dir => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
            Self::Socket => 0o140_000,
        }
    }

    /// The type that the `S_IFMT` bits of `mode` name, if any.
    #[must_use]
    pub const fn from_mode(mode: u32) -> Option<Self> {
        Some(match mode & 0o170_000 {
            0o010_000 => Self::Fifo,
            0o020_000 => Self::CharDevice,
            0o040_000 => Self::Dir,
            0o060_000 => Self::BlockDevice,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// `d_type` of `getdents64(2)`.
    #[must_use]
    pub const fn d_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// The number of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DeviceNumber {
    /// Which driver: 12 bits in Linux.
    pub major: u32,
    /// Which of its devices: 20 bits in Linux.
    pub minor: u32,
}

impl DeviceNumber {
    /// A device number of its two parts.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Linux's encoding in `st_dev`, `st_rdev` and `mknod(2)` (`new_encode_dev` widened, as glibc's `makedev`).
    #[must_use]
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
    }

    /// The inverse of [`encode`](Self::encode).
    #[must_use]
    pub const fn decode(dev: u64) -> Self {
        Self {
            major: (((dev >> 8) & 0xfff) | ((dev >> 32) & 0xffff_f000)) as u32,
            minor: ((dev & 0xff) | ((dev >> 12) & 0xffff_ff00)) as u32,
        }
    }
}

/// What `stat(2)` tells of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Device that the filesystem reports (`st_dev`, encoded).
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: FileType,
    /// Permission bits only: [`mode::PERMISSIONS`].
    pub mode: u16,
    /// Hard links.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of a device node, else 0/0.
    pub rdev: DeviceNumber,
    /// Size in bytes.
    pub size: u64,
    /// Space in use, in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of I/O, in bytes.
    pub block_size: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth, where the filesystem keeps it.
    pub btime: Option<Timestamp>,
    /// Flags, where the filesystem keeps them.
    pub flags: Option<InodeFlags>,
}

impl Attr {
    /// `st_mode`: type and permission bits.
    #[must_use]
    pub const fn st_mode(&self) -> u32 {
        self.kind.mode_bits() | self.mode as u32
    }

    /// Whether this is an overlay whiteout: character device 0/0.
    #[must_use]
    pub const fn is_whiteout(&self) -> bool {
        matches!(self.kind, FileType::CharDevice) && self.rdev.major == 0 && self.rdev.minor == 0
    }
}

/// A new value of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The filesystem's clock.
    Now,
    /// This time.
    At(Timestamp),
}

/// A change of attributes: what is `None` stays. One call is one atomic change, and sets ctime to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the content.
    pub mtime: Option<SetTime>,
}

/// What a new inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKind<'a> {
    /// Regular file, empty.
    File,
    /// Directory, empty.
    Dir,
    /// Symbolic link with this target: 1 to 4,095 bytes, no NUL.
    Symlink(&'a [u8]),
    /// Character device.
    CharDevice(DeviceNumber),
    /// Block device.
    BlockDevice(DeviceNumber),
    /// Named pipe.
    Fifo,
    /// Socket endpoint.
    Socket,
}

impl NewKind<'_> {
    /// The type of the inode.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        match self {
            Self::File => FileType::File,
            Self::Dir => FileType::Dir,
            Self::Symlink(_) => FileType::Symlink,
            Self::CharDevice(_) => FileType::CharDevice,
            Self::BlockDevice(_) => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }
}

/// Everything that a new inode starts with, so that creation is one step. Owner, group and mode are final:
/// the caller has applied the umask and set-group-id inheritance.
#[derive(Debug, Clone, Copy)]
pub struct NewNode<'a> {
    /// What it is.
    pub kind: NewKind<'a>,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes: full names with values.
    pub xattrs: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> NewNode<'a> {
    /// A node of root's without extended attributes.
    #[must_use]
    pub const fn new(kind: NewKind<'a>, mode: u16) -> Self {
        Self { kind, mode, uid: 0, gid: 0, xattrs: &[] }
    }
}

bitflags::bitflags! {
    /// What a caller wants to do with an inode (`access(2)`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Access: u8 {
        /// Execute, or search a directory.
        const EXECUTE = 1;
        /// Write, or change the entries of a directory.
        const WRITE = 2;
        /// Read, or list a directory.
        const READ = 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_encode_as_glibc_does() {
        for (major, minor, encoded) in [(5, 1, 0x501), (254, 300, 0x10_fe2c), (0, 0, 0), (0xfff, 0xf_ffff, 0xffff_ffff)]
        {
            let number = DeviceNumber::new(major, minor);
            assert_eq!(number.encode(), encoded);
            assert_eq!(DeviceNumber::decode(encoded), number);
        }
    }

    #[test]
    fn types_survive_the_mode_bits() {
        for bits in 0..16u32 {
            if let Some(kind) = FileType::from_mode(bits << 12) {
                assert_eq!(kind.mode_bits(), bits << 12);
                assert_eq!(u32::from(kind.d_type()), bits);
            }
        }
    }
}
