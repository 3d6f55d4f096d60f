//! Directories, read whole and sorted.
//!
//! Key type: [`Entry`]. A directory is read at once because its readers sort it, and because some of them remove what they read.

use alloc::ffi::CString;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Room for the entries of one `getdents64`, in bytes.
const BUFFER: usize = 16 * 1024;

/// One name in a directory.
pub struct Entry {
    /// The name, one component.
    pub name: CString,
    /// The inode number that the directory gives for it.
    pub ino: u64,
    /// The kind that the directory gives for it; [`FileType::Unknown`] when it does not say.
    pub kind: FileType,
}

impl Entry {
    /// The name's bytes.
    pub fn name(&self) -> &[u8] {
        self.name.to_bytes()
    }
}

/// Opens the directory `name` in `parent`; a symbolic link at its place is refused.
///
/// # Errors
/// Those of `openat(2)`; ELOOP or ENOTDIR for what is no directory.
pub fn open_in(parent: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Opens the directory at `path`, through symbolic links.
///
/// # Errors
/// Those of `openat(2)`; ENOTDIR for what is no directory.
pub fn open(path: impl Arg) -> Result<OwnedFd, Errno> {
    openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The entries of the open directory, without `.` and `..`, in the order of their bytes.
///
/// # Errors
/// Those of `getdents64(2)`; ENOMEM.
pub fn entries(directory: impl AsFd) -> Result<Vec<Entry>, Errno> {
    let mut entries = all_entries(directory)?;
    entries.retain(|entry| entry.name() != b"." && entry.name() != b"..");
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The entries of the open directory, `.` and `..` too, in the order the kernel gives them.
///
/// # Errors
/// As [`entries`].
pub fn all_entries(directory: impl AsFd) -> Result<Vec<Entry>, Errno> {
    let mut buffer = Vec::<u8>::new();
    buffer.try_reserve_exact(BUFFER).map_err(|_| Errno::NOMEM)?;
    let mut reader = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut entries = Vec::new();
    while let Some(entry) = reader.next() {
        let entry = entry?;
        entries.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        entries.push(Entry { name: entry.file_name().into(), ino: entry.ino(), kind: entry.file_type() });
    }
    Ok(entries)
}
