//! Seeking, and listing directories.

use core::ops::ControlFlow;

use super::{Kind, OpenFile};
use crate::device::Seeking;
use crate::locks::Whence;
use crate::{Cookie, DirEntry, Errno, FileType, Result};

/// Bytes of `struct linux_dirent64` before the name.
const DIRENT_HEADER: usize = 19;

impl OpenFile {
    /// `lseek(2)`.
    ///
    /// # Errors
    /// `EINVAL`, `ENXIO` past the data, `ESPIPE`, `EOVERFLOW`, `EBADF` with `O_PATH`.
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64> {
        match &self.kind {
            Kind::Path => Err(Errno::EBADF.into()),
            Kind::Pipe(_) => Err(Errno::ESPIPE.into()),
            Kind::Device(device) => match device.seeking() {
                Seeking::No => Err(Errno::ESPIPE.into()),
                Seeking::Ignored => Ok(0),
                Seeking::UpTo(len) => self.seek_to(offset, whence, || Ok(len)),
            },
            Kind::Dir => match whence {
                Whence::Set | Whence::Current => self.seek_to(offset, whence, || Ok(0)),
                _ => Err(Errno::EINVAL.into()),
            },
            Kind::File => {
                let file = self.file()?;
                match whence {
                    Whence::Data | Whence::Hole => {
                        let from = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                        let mut position = self.position.lock();
                        let found = if whence == Whence::Data { file.seek_data(from)? } else { file.seek_hole(from)? };
                        *position = found.ok_or(Errno::ENXIO)?;
                        Ok(*position)
                    }
                    _ => self.seek_to(offset, whence, || Ok(file.attr()?.size)),
                }
            }
        }
    }

    fn seek_to(&self, offset: i64, whence: Whence, end: impl FnOnce() -> Result<u64>) -> Result<u64> {
        let mut position = self.position.lock();
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => *position,
            Whence::End => end()?,
            Whence::Data | Whence::Hole => return Err(Errno::EINVAL.into()),
        };
        let base = i64::try_from(base).map_err(|_| Errno::EOVERFLOW)?;
        let to = base.checked_add(offset).ok_or(Errno::EOVERFLOW)?;
        *position = u64::try_from(to).map_err(|_| Errno::EINVAL)?;
        Ok(*position)
    }

    /// `getdents64(2)`: as many `struct linux_dirent64` as fit into `buf`, `.` and `..` first; 0 at the end.
    ///
    /// # Errors
    /// `ENOTDIR`; `EINVAL` where not one fits; `ENOENT` in a removed directory; `EBADF`, `EIO`.
    pub fn read_dir(&self, buf: &mut [u8]) -> Result<usize> {
        let place = match &self.kind {
            Kind::Path => return Err(Errno::EBADF.into()),
            Kind::Dir => self.place()?,
            _ => return Err(Errno::ENOTDIR.into()),
        };
        let mut position = self.position.lock();
        let inode = place.inode()?;
        if inode.is_dead() {
            return Err(Errno::ENOENT.into());
        }
        let mut out = Dirents { buf, len: 0, position: *position, full: false };
        if out.position == 0 {
            out.put(inode.node.id().ino, 1, FileType::Dir, b".");
        }
        if out.position == 1 {
            let above = place.dentry.parent();
            let above = above.as_ref().and_then(|dentry| dentry.inode()).unwrap_or(inode);
            out.put(above.node.id().ino, 2, FileType::Dir, b"..");
        }
        let mut result = Ok(());
        if out.position >= 2 && !out.full {
            let from = if out.position == 2 { Cookie::START } else { Cookie(out.position) };
            result = inode.dir()?.read_dir(from, &mut |entry: &DirEntry<'_>| {
                out.put(entry.ino, entry.next.0, entry.kind, entry.name.as_bytes());
                if out.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        let Dirents { len, position: reached, full, .. } = out;
        *position = reached;
        drop(position);
        self.note_access();
        match result {
            _ if len > 0 => Ok(len),
            Err(error) => Err(error),
            Ok(()) if full => Err(Errno::EINVAL.into()),
            Ok(()) => Ok(0),
        }
    }
}

/// A buffer that fills with `struct linux_dirent64`.
struct Dirents<'a> {
    buf: &'a mut [u8],
    len: usize,
    /// Where to go on behind what is in the buffer.
    position: u64,
    full: bool,
}

impl Dirents<'_> {
    fn put(&mut self, ino: u64, next: u64, kind: FileType, name: &[u8]) {
        // The name is ended by a NUL, the record padded to eight bytes.
        let record_len = (DIRENT_HEADER + name.len() + 1).next_multiple_of(8);
        let Some(record) = self.buf.get_mut(self.len..self.len + record_len) else {
            self.full = true;
            return;
        };
        record[0..8].copy_from_slice(&ino.to_ne_bytes());
        record[8..16].copy_from_slice(&next.to_ne_bytes());
        record[16..18].copy_from_slice(&(record_len as u16).to_ne_bytes());
        record[18] = kind.d_type();
        record[DIRENT_HEADER..DIRENT_HEADER + name.len()].copy_from_slice(name);
        record[DIRENT_HEADER + name.len()..].fill(0);
        self.len += record_len;
        self.position = next;
    }
}
