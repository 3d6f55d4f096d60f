//! The flag words of system calls, with Linux's values for x86_64.
//!
//! A system call makes them with `from_bits_retain`: each operation refuses, with the errno that Linux gives, the bits
//! that it does not know.

use crate::{Errno, Result};

/// A file descriptor number, negative for none.
pub type Fd = i32;

/// Stands for the current directory where a descriptor is asked for.
pub const AT_FDCWD: Fd = -100;

/// The longest path, in bytes, without the terminating NUL that `PATH_MAX` counts.
pub const PATH_LEN_MAX: usize = 4095;

/// How many symbolic links one resolution follows.
pub const LINKS_MAX: u32 = 40;

/// The most bytes that one read or write moves (`MAX_RW_COUNT`).
pub const RW_COUNT_MAX: usize = 0x7fff_f000;

bitflags::bitflags! {
    /// Flags of `open(2)`, and the status flags of an open file.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct OpenFlags: u32 {
        /// Open to write only. Neither this nor `O_RDWR`: to read only.
        const O_WRONLY = 0o1;
        /// Open to read and write.
        const O_RDWR = 0o2;
        /// Create the file where it is missing.
        const O_CREAT = 0o100;
        /// With `O_CREAT`: it must be missing. With `O_TMPFILE`: it never gets a name.
        const O_EXCL = 0o200;
        /// Do not make a terminal the controlling one.
        const O_NOCTTY = 0o400;
        /// Throw the content away.
        const O_TRUNC = 0o1000;
        /// Every write goes to the end.
        const O_APPEND = 0o2000;
        /// Do not wait.
        const O_NONBLOCK = 0o4000;
        /// Every write is durable when it returns (`fdatasync`).
        const O_DSYNC = 0o1_0000;
        /// Signal-driven I/O: kept, without effect.
        const FASYNC = 0o2_0000;
        /// Bypass caches: kept, without effect.
        const O_DIRECT = 0o4_0000;
        /// Of old, for files over 2 GiB: without effect.
        const O_LARGEFILE = 0o10_0000;
        /// Only a directory.
        const O_DIRECTORY = 0o20_0000;
        /// A symbolic link at the end is `ELOOP`.
        const O_NOFOLLOW = 0o40_0000;
        /// Reading leaves the access time alone.
        const O_NOATIME = 0o100_0000;
        /// The descriptor is closed by `execve(2)`.
        const O_CLOEXEC = 0o200_0000;
        /// With `O_DSYNC`, `O_SYNC`: attributes too.
        const SYNC_ALL = 0o400_0000;
        /// Every write is durable when it returns (`fsync`).
        const O_SYNC = 0o401_0000;
        /// Only a place in the tree, not its content.
        const O_PATH = 0o1000_0000;
        /// The bit that `O_TMPFILE` adds to `O_DIRECTORY`.
        const TMPFILE_BIT = 0o2000_0000;
        /// A file without a name in the given directory.
        const O_TMPFILE = 0o2020_0000;
        /// The two bits of the access mode.
        const O_ACCMODE = 0o3;
    }

    /// `AT_*` flags of the calls that take a directory descriptor.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct AtFlags: u32 {
        /// Act on a symbolic link itself.
        const AT_SYMLINK_NOFOLLOW = 0x100;
        /// `faccessat2`: ask for the effective ids.
        const AT_EACCESS = 0x200;
        /// `unlinkat`: remove a directory. The same bit as [`AT_EACCESS`](Self::AT_EACCESS).
        const AT_REMOVEDIR = 0x200;
        /// `linkat`: follow a symbolic link at the end of the old path.
        const AT_SYMLINK_FOLLOW = 0x400;
        /// Do not trigger an automount: there are none.
        const AT_NO_AUTOMOUNT = 0x800;
        /// An empty path means the descriptor itself.
        const AT_EMPTY_PATH = 0x1000;
        /// `statx`: ask a remote filesystem anew.
        const AT_STATX_FORCE_SYNC = 0x2000;
        /// `statx`: what is cached will do.
        const AT_STATX_DONT_SYNC = 0x4000;
    }

    /// `RESOLVE_*` flags of `openat2(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct ResolveFlags: u64 {
        /// Crossing a mount is `EXDEV`.
        const RESOLVE_NO_XDEV = 0x01;
        /// Following a link of `/proc` that leads to a file itself is `ELOOP`.
        const RESOLVE_NO_MAGICLINKS = 0x02;
        /// Following any symbolic link is `ELOOP`.
        const RESOLVE_NO_SYMLINKS = 0x04;
        /// Leaving the starting directory is `EXDEV`.
        const RESOLVE_BENEATH = 0x08;
        /// The starting directory is taken for the root.
        const RESOLVE_IN_ROOT = 0x10;
        /// Where the cache does not suffice: `EAGAIN`.
        const RESOLVE_CACHED = 0x20;
    }

    /// `RENAME_*` flags of `renameat2(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RenameFlags: u32 {
        /// The target must be missing.
        const RENAME_NOREPLACE = 1;
        /// The two entries change places.
        const RENAME_EXCHANGE = 2;
        /// Leave a whiteout: refused with `EINVAL`, for it belongs to overlays.
        const RENAME_WHITEOUT = 4;
    }

    /// `XATTR_*` flags of `setxattr(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct XattrFlags: u32 {
        /// It must be missing.
        const XATTR_CREATE = 1;
        /// It must be there.
        const XATTR_REPLACE = 2;
    }

    /// `MS_*` flags of `mount(2)`, and what a mount keeps of them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MountFlags: u64 {
        /// Nothing is changed through this mount.
        const MS_RDONLY = 1;
        /// Set-id bits have no effect at `execve(2)`.
        const MS_NOSUID = 2;
        /// Device nodes cannot be opened.
        const MS_NODEV = 4;
        /// Nothing is executed.
        const MS_NOEXEC = 8;
        /// Every write is durable at once.
        const MS_SYNCHRONOUS = 16;
        /// Change the flags of a mount.
        const MS_REMOUNT = 32;
        /// Mandatory locks, of old: without effect.
        const MS_MANDLOCK = 64;
        /// Every change of a directory is durable at once.
        const MS_DIRSYNC = 128;
        /// Symbolic links are not followed.
        const MS_NOSYMFOLLOW = 256;
        /// Access times are left alone.
        const MS_NOATIME = 1 << 10;
        /// Access times of directories are left alone.
        const MS_NODIRATIME = 1 << 11;
        /// Show a tree at a second place.
        const MS_BIND = 1 << 12;
        /// Move a mount.
        const MS_MOVE = 1 << 13;
        /// With the mounts below.
        const MS_REC = 1 << 14;
        /// Fewer messages: without effect.
        const MS_SILENT = 1 << 15;
        /// Access lists: always on where the filesystem keeps them.
        const MS_POSIXACL = 1 << 16;
        /// Propagation type: accepted, for there is one mount namespace.
        const MS_UNBINDABLE = 1 << 17;
        /// Propagation type: accepted.
        const MS_PRIVATE = 1 << 18;
        /// Propagation type: accepted.
        const MS_SLAVE = 1 << 19;
        /// Propagation type: accepted.
        const MS_SHARED = 1 << 20;
        /// Access times change only when they say something new; the default.
        const MS_RELATIME = 1 << 21;
        /// Inode versions: without effect.
        const MS_I_VERSION = 1 << 23;
        /// Access times always change: taken as `MS_RELATIME`.
        const MS_STRICTATIME = 1 << 24;
        /// Times reach the disk late: without effect.
        const MS_LAZYTIME = 1 << 25;
    }

    /// Flags of `umount2(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct UmountFlags: u32 {
        /// Abort what is pending: without effect.
        const MNT_FORCE = 1;
        /// Take it out of the tree now, unmount when its last user goes.
        const MNT_DETACH = 2;
        /// Mark it, and unmount if it is still marked and unused: `EAGAIN` the first time.
        const MNT_EXPIRE = 4;
        /// Do not follow a symbolic link at the end of the path.
        const UMOUNT_NOFOLLOW = 8;
    }

    /// `RWF_*` flags of `preadv2(2)` and `pwritev2(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RwFlags: u32 {
        /// High priority: without effect.
        const RWF_HIPRI = 0x01;
        /// As `O_DSYNC`, for this write.
        const RWF_DSYNC = 0x02;
        /// As `O_SYNC`, for this write.
        const RWF_SYNC = 0x04;
        /// Do not wait. Regular files never do.
        const RWF_NOWAIT = 0x08;
        /// As `O_APPEND`, for this write.
        const RWF_APPEND = 0x10;
        /// As if without `O_APPEND`, for this write.
        const RWF_NOAPPEND = 0x20;
    }

    /// `FALLOC_FL_*` modes of `fallocate(2)`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct FallocateFlags: u32 {
        /// The size stays.
        const FALLOC_FL_KEEP_SIZE = 0x01;
        /// Give space back.
        const FALLOC_FL_PUNCH_HOLE = 0x02;
        /// Zero a range.
        const FALLOC_FL_ZERO_RANGE = 0x10;
    }

    /// Readiness, as `poll(2)` tells it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct PollEvents: u16 {
        /// Reading would not wait.
        const POLLIN = 0x001;
        /// Urgent data.
        const POLLPRI = 0x002;
        /// Writing would not wait.
        const POLLOUT = 0x004;
        /// An error is pending, or the readers of a pipe are gone.
        const POLLERR = 0x008;
        /// The other side is gone.
        const POLLHUP = 0x010;
        /// As `POLLIN`.
        const POLLRDNORM = 0x040;
        /// As `POLLOUT`.
        const POLLWRNORM = 0x100;
    }
}

impl OpenFlags {
    /// Open to read only: no bit at all.
    pub const O_RDONLY: Self = Self::empty();

    /// What `fcntl(F_SETFL)` changes.
    pub const SETTABLE: Self =
        Self::O_APPEND.union(Self::O_NONBLOCK).union(Self::O_DIRECT).union(Self::O_NOATIME).union(Self::FASYNC);

    /// Whether the access mode lets content be read.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self.bits() & 3, 0 | 2)
    }

    /// Whether the access mode lets content be written.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self.bits() & 3, 1 | 2)
    }

    /// Whether these flags may make a file, so that a mode counts.
    #[must_use]
    pub const fn creates(self) -> bool {
        self.intersects(Self::O_CREAT.union(Self::TMPFILE_BIT))
    }
}

/// What `openat2(2)` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenHow {
    /// Flags.
    pub flags: OpenFlags,
    /// Permission bits of a file that is created, before the umask.
    pub mode: u16,
    /// Limits of the resolution.
    pub resolve: ResolveFlags,
}

impl OpenHow {
    /// What `open(2)` and `openat(2)` mean: unknown flags and superfluous modes are ignored, and so is all that
    /// `O_PATH` makes meaningless.
    #[must_use]
    pub fn from_open(flags: OpenFlags, mode: u32) -> Self {
        let mut flags = OpenFlags::from_bits_truncate(flags.bits());
        if flags.contains(OpenFlags::O_PATH) {
            flags &= OpenFlags::O_PATH | OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW | OpenFlags::O_CLOEXEC;
        }
        let mode = if flags.creates() { (mode & 0o7777) as u16 } else { 0 };
        Self { flags, mode, resolve: ResolveFlags::empty() }
    }

    /// What `openat2(2)` means by the fields of `struct open_how`.
    ///
    /// # Errors
    /// `EINVAL` for unknown bits, and for a mode without a file to create.
    pub fn from_openat2(flags: u64, mode: u64, resolve: u64) -> Result<Self> {
        let flags = u32::try_from(flags).ok().and_then(OpenFlags::from_bits).ok_or(Errno::EINVAL)?;
        let resolve = ResolveFlags::from_bits(resolve).ok_or(Errno::EINVAL)?;
        if mode & !0o7777 != 0 || (mode != 0 && !flags.creates()) {
            return Err(Errno::EINVAL.into());
        }
        Ok(Self { flags, mode: mode as u16, resolve })
    }
}
