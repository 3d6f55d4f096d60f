//! The records of the index: an [`Inode`] of 48 bytes, a [`Dentry`] of 24, and an [`Extra`] for what few inodes have.

use base::time::Timestamp;
use vfs::{DeviceNumber, FileType};

use crate::span::NameSpan;

/// The place of a sparse file's data: none that an archive has.
const SPARSE: u64 = u64::MAX;

/// Which inode: its place in the arena. The inode number is one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InodeIndex(pub(crate) u32);

/// The root directory.
pub(crate) const ROOT: InodeIndex = InodeIndex(0);

/// Which directory entry: its place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DentryIndex(pub(crate) u32);

impl DentryIndex {
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// What an inode is, as far as its kind differs from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Data at this place of the archive.
    File { place: u64 },
    /// Data where the extents say.
    SparseFile,
    /// Entries from the first to the last, each naming the next.
    Dir { first: DentryIndex, last: DentryIndex },
    /// The target at this place of the archive, as long as the size says.
    Symlink { place: u64 },
    /// A device.
    Device { number: DeviceNumber },
    /// A named pipe.
    Fifo,
}

/// What an archive with whiteouts says of an inode beyond its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Overlay {
    /// Nothing.
    #[default]
    Plain,
    /// It was made of a whiteout's name; a member of the hidden name takes its place.
    Whiteout,
    /// A directory that hides what lies below it in lower layers.
    Opaque,
}

/// The record of an inode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inode {
    /// Bytes of a file or a link's target, entries of a directory.
    pub(crate) size: u64,
    place: u64,
    mtime_secs: i64,
    mtime_nanos: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Names; 0 for a record that is free.
    pub(crate) nlink: u32,
    /// One more than the place of its `Extra`; 0 for none.
    extra: u32,
    /// Type and permissions as in `st_mode`.
    mode: u16,
    pub(crate) overlay: Overlay,
}

const _: () = assert!(size_of::<Inode>() == 48 && size_of::<Dentry>() == 24 && size_of::<Extra>() == 40);

impl Inode {
    pub(crate) fn new(kind: FileType, permissions: u16, mtime: Timestamp, content: Content) -> Self {
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let place = match content {
            Content::File { place } | Content::Symlink { place } => place,
            Content::Dir { first, last } => pair(first.0, last.0),
            Content::Device { number } => pair(number.major, number.minor),
            Content::SparseFile => SPARSE,
            Content::Fifo => 0,
        };
        Self {
            size: 0,
            place,
            mtime_secs: mtime.secs,
            mtime_nanos: mtime.nanos,
            uid: 0,
            gid: 0,
            nlink: 1,
            extra: 0,
            // The type bits are the upper four of sixteen.
            mode: kind.mode_bits() as u16 | permissions,
            overlay: Overlay::Plain,
        }
    }

    /// A directory without entries.
    pub(crate) fn dir(permissions: u16, mtime: Timestamp) -> Self {
        let content = Content::Dir { first: DentryIndex::NONE, last: DentryIndex::NONE };
        Self { nlink: 2, ..Self::new(FileType::Dir, permissions, mtime, content) }
    }

    pub(crate) const fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub(crate) fn kind(&self) -> FileType {
        // `new` put it there.
        FileType::from_mode(u32::from(self.mode)).unwrap_or(FileType::File)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == FileType::Dir
    }

    pub(crate) fn content(&self) -> Content {
        let (low, high) = (self.place as u32, (self.place >> 32) as u32);
        match self.kind() {
            FileType::File if self.place == SPARSE => Content::SparseFile,
            FileType::File => Content::File { place: self.place },
            FileType::Dir => Content::Dir { first: DentryIndex(low), last: DentryIndex(high) },
            FileType::Symlink => Content::Symlink { place: self.place },
            FileType::CharDevice | FileType::BlockDevice => Content::Device { number: DeviceNumber::new(low, high) },
            FileType::Fifo | FileType::Socket => Content::Fifo,
        }
    }

    pub(crate) fn permissions(&self) -> u16 {
        self.mode & vfs::mode::PERMISSIONS
    }

    pub(crate) fn mtime(&self) -> Timestamp {
        Timestamp { secs: self.mtime_secs, nanos: self.mtime_nanos }
    }

    /// Takes over attributes, and keeps kind, content and links.
    pub(crate) fn set_attributes(&mut self, other: &Self) {
        let kind = self.mode & !vfs::mode::PERMISSIONS;
        (self.mode, self.uid, self.gid) = (kind | other.permissions(), other.uid, other.gid);
        (self.mtime_secs, self.mtime_nanos) = (other.mtime_secs, other.mtime_nanos);
    }

    /// Where its `Extra` is.
    pub(crate) fn extra(&self) -> Option<usize> {
        (self.extra as usize).checked_sub(1)
    }

    /// Says where its `Extra` is.
    pub(crate) fn set_extra(&mut self, extra: Option<u32>) {
        self.extra = extra.map_or(0, |extra| extra + 1);
    }

    /// Says which entries of a directory are its first and last.
    pub(crate) fn set_entries(&mut self, first: DentryIndex, last: DentryIndex) {
        self.place = u64::from(first.0) | u64::from(last.0) << 32;
    }
}

/// The record of a directory entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dentry {
    pub(crate) name: NameSpan,
    pub(crate) parent: InodeIndex,
    pub(crate) inode: InodeIndex,
    /// The next of the same directory.
    pub(crate) next: DentryIndex,
    pub(crate) hash: u32,
}

/// Records of a side table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Run {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

/// What few inodes have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extra {
    atime_secs: i64,
    ctime_secs: i64,
    atime_nanos: u32,
    ctime_nanos: u32,
    pub(crate) xattrs: Run,
    pub(crate) extents: Run,
}

impl Extra {
    pub(crate) fn new(atime: Timestamp, ctime: Timestamp) -> Self {
        Self {
            atime_secs: atime.secs,
            ctime_secs: ctime.secs,
            atime_nanos: atime.nanos,
            ctime_nanos: ctime.nanos,
            xattrs: Run::default(),
            extents: Run::default(),
        }
    }

    pub(crate) fn atime(&self) -> Timestamp {
        Timestamp { secs: self.atime_secs, nanos: self.atime_nanos }
    }

    pub(crate) fn ctime(&self) -> Timestamp {
        Timestamp { secs: self.ctime_secs, nanos: self.ctime_nanos }
    }
}
