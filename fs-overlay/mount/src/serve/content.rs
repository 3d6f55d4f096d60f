//! Files' content and attributes.

use std::cell::RefCell;

use fuser::{Request, TimeOrNow, WriteFlags};
use vfs::{AllocateMode, Attr, Errno, FileOps, FileType, Node, OpenIntent, Result, SetAttr, XattrMode, acl, mode};

use super::attr::set_time;
use super::caller::{self, CAP_FSETID, CAP_SYS_ADMIN};
use super::{Server, flags};

/// How much of a `copy_file_range(2)` is done in one go: the caller asks again.
const COPY_MAX: u64 = 16 << 20;
/// How much is read and written at a time.
const COPY_CHUNK: usize = 1 << 20;

const FALLOC_KEEP_SIZE: i32 = 1;
const FALLOC_PUNCH_HOLE: i32 = 2;
const FALLOC_ZERO_RANGE: i32 = 16;

const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

const XATTR_CREATE: i32 = 1;
const XATTR_REPLACE: i32 = 2;

/// What a `setattr` of the protocol changes.
pub(super) struct Change {
    pub(super) mode: Option<u32>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size: Option<u64>,
    pub(super) atime: Option<TimeOrNow>,
    pub(super) mtime: Option<TimeOrNow>,
}

impl Server {
    pub(super) fn change(&self, number: u64, change: &Change) -> Result<Attr> {
        let node = self.node(number)?;
        flags::may_change(&node, change)?;
        match change.size {
            // Maybe `O_TRUNC`, which changes the times of an empty file too.
            Some(0) => node.as_file()?.prepare_open(OpenIntent::Truncate)?,
            Some(size) => node.as_file()?.set_len(size)?,
            None => {}
        }
        let rest = SetAttr {
            mode: change.mode.map(|mode| mode as u16 & mode::PERMISSIONS),
            uid: change.uid,
            gid: change.gid,
            atime: change.atime.map(set_time),
            mtime: change.mtime.map(set_time),
        };
        if rest != SetAttr::default() {
            node.ops().set_attr(&rest)?;
        }
        node.attr()
    }

    /// Opens. What is opened to be written is copied up by its first change: `O_TRUNC` arrives as a change of the size, after the
    /// kernel has seen that no one executes the file, and data that was copied before would have been copied for nothing.
    /// Returns what was opened.
    pub(super) fn prepare(&self, number: u64, flags: i32) -> Result<Node> {
        let node = self.node(number)?;
        flags::may_open(&node, flags)?;
        node.as_file()?.prepare_open(OpenIntent::Read)?;
        Ok(node)
    }

    /// Reads, and gives what was read to `take`.
    pub(super) fn read_with(&self, number: u64, offset: u64, size: u32, take: impl FnOnce(Result<&[u8]>)) {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| {
            let size = size as usize;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let read = self.node(number).and_then(|node| {
                let file = node.as_file()?;
                let count = file.read_at(offset, &mut buffer[..size])?;
                file.note_access();
                Ok(count)
            });
            take(read.map(|count| &buffer[..count]));
        });
    }

    /// Writes; fewer bytes than given only where something failed on the way.
    pub(super) fn write(&self, number: u64, offset: u64, data: &[u8], how: WriteFlags) -> Result<u32> {
        let node = self.node(number)?;
        // What comes out of the page cache was written before.
        if !how.contains(WriteFlags::FUSE_WRITE_CACHE) {
            flags::of(node.ops())?.check_growth()?;
        }
        let done = write_all(&**node.as_file()?, offset, data)?;
        u32::try_from(done).map_err(|_| Errno::EINVAL.into())
    }

    pub(super) fn allocate(&self, number: u64, offset: u64, len: u64, flags: i32) -> Result<()> {
        let mode = match flags {
            0 => AllocateMode::Extend,
            FALLOC_KEEP_SIZE => AllocateMode::KeepSize,
            flags if flags == FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE => AllocateMode::PunchHole,
            FALLOC_ZERO_RANGE => AllocateMode::ZeroRange,
            flags if flags == FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE => AllocateMode::ZeroRangeKeepSize,
            _ => return Err(Errno::EOPNOTSUPP.into()),
        };
        if len == 0 || offset.checked_add(len).is_none() {
            return Err(Errno::EINVAL.into());
        }
        let node = self.node(number)?;
        let protected = flags::of(node.ops())?;
        match mode {
            AllocateMode::Extend | AllocateMode::KeepSize => protected.check_growth()?,
            AllocateMode::PunchHole | AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize => {
                protected.check_change()?;
            }
        }
        node.as_file()?.allocate(mode, offset, len)
    }

    pub(super) fn seek(&self, number: u64, offset: i64, whence: i32) -> Result<i64> {
        let node = self.node(number)?;
        let file = node.as_file()?;
        let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
        let found = match whence {
            SEEK_DATA => file.seek_data(offset)?,
            SEEK_HOLE => file.seek_hole(offset)?,
            _ => return Err(Errno::EINVAL.into()),
        };
        i64::try_from(found.ok_or(Errno::ENXIO)?).map_err(|_| Errno::EOVERFLOW.into())
    }

    /// Copies from file to file, at most [`COPY_MAX`] bytes.
    pub(super) fn copy(&self, from: (u64, u64), to: (u64, u64), len: u64) -> Result<u32> {
        let (source, target) = (self.node(from.0)?, self.node(to.0)?);
        flags::of(target.ops())?.check_growth()?;
        let (source, target) = (source.as_file()?, target.as_file()?);
        let len = len.min(COPY_MAX);
        let mut buffer = vec![0; COPY_CHUNK.min(len as usize)];
        let mut done = 0u64;
        while done < len {
            let want = buffer.len().min((len - done) as usize);
            let count = match source.read_at(from.1.saturating_add(done), &mut buffer[..want]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            match write_all(&**target, to.1.saturating_add(done), &buffer[..count]) {
                Ok(written) => {
                    done += written as u64;
                    if written < count {
                        break;
                    }
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        u32::try_from(done).map_err(|_| Errno::EINVAL.into())
    }

    pub(super) fn set_xattr(
        &self,
        request: &Request,
        number: u64,
        name: &[u8],
        value: &[u8],
        flags: i32,
    ) -> Result<()> {
        check_xattr_name(name)?;
        let node = self.node(number)?;
        flags::of(node.ops())?.check_change()?;
        let mode = match flags & (XATTR_CREATE | XATTR_REPLACE) {
            0 => XattrMode::Set,
            XATTR_CREATE => XattrMode::Create,
            XATTR_REPLACE => XattrMode::Replace,
            _ => match node.ops().xattr(name)? {
                Some(_) => return Err(Errno::EEXIST.into()),
                None => return Err(Errno::ENODATA.into()),
            },
        };
        node.ops().set_xattr(name, value, mode)?;
        // As `posix_acl_update_mode` of Linux: whoever is not of the group cannot keep its bit.
        if name == acl::ACCESS && request.uid() != 0 {
            let attr = node.attr()?;
            let has_bit = attr.kind != FileType::Symlink && attr.mode & mode::SET_GID != 0;
            if has_bit && !caller::is_in_group(request, attr.gid) && !caller::is_capable(request, CAP_FSETID) {
                let mode = attr.mode & !mode::SET_GID;
                node.ops().set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
            }
        }
        Ok(())
    }

    pub(super) fn xattr(&self, number: u64, name: &[u8]) -> Result<Vec<u8>> {
        if is_bare_prefix(name) {
            return Err(Errno::EINVAL.into());
        }
        self.node(number)?.ops().xattr(name)?.ok_or(Errno::ENODATA.into())
    }

    pub(super) fn remove_xattr(&self, number: u64, name: &[u8]) -> Result<()> {
        check_xattr_name(name)?;
        let node = self.node(number)?;
        flags::of(node.ops())?.check_change()?;
        node.ops().remove_xattr(name)
    }

    /// The names of the extended attributes that the caller may know of, each ended by a NUL.
    pub(super) fn xattr_names(&self, request: &Request, number: u64) -> Result<Vec<u8>> {
        let node = self.node(number)?;
        let (mut names, mut trusted) = (Vec::new(), Vec::new());
        node.ops().list_xattrs(&mut |name| {
            let list = if name.starts_with(b"trusted.") { &mut trusted } else { &mut names };
            list.extend_from_slice(name);
            list.push(0);
        })?;
        if !trusted.is_empty() && caller::is_capable(request, CAP_SYS_ADMIN) {
            names.append(&mut trusted);
        }
        Ok(names)
    }
}

/// The classes of extended attributes that can be changed; of `system.`, the access lists alone (`xattr(7)`).
const CLASSES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// Whether a name is a class and nothing more.
fn is_bare_prefix(name: &[u8]) -> bool {
    CLASSES.contains(&name)
}

/// `EINVAL` for a class alone, `EOPNOTSUPP` for one that is not there: Linux's own filesystems say so before they look.
fn check_xattr_name(name: &[u8]) -> Result<()> {
    if is_bare_prefix(name) {
        return Err(Errno::EINVAL.into());
    }
    if acl::is_acl(name) || CLASSES.iter().any(|class| name.starts_with(class)) {
        return Ok(());
    }
    Err(Errno::EOPNOTSUPP.into())
}

/// Writes all of `data`, or up to where it fails; the error only where nothing was written.
fn write_all(file: &dyn FileOps, offset: u64, data: &[u8]) -> Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match file.write_at(offset.saturating_add(done as u64), &data[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
