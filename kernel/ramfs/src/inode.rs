//! An inode: identity, metadata, and a body by kind; and what all inodes of one filesystem share.
//!
//! [`Core`] is what every kind has, [`Body`] what a kind adds. `NodeOps` is implemented once, here, for all of them.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use base::sync::{Mutex, RwLock};
use hashbrown::{DefaultHashBuilder, HashMap};
use vfs::acl::{self, Acl};
use vfs::{
    Attr, DeviceNumber, Errno, Error, FileHandle, FileType, FsContext, InodeFlags, NodeId, NodeOps, Result, SetAttr,
    SetTime, Timestamp, XattrMode, XattrSet, mode,
};

use crate::memory::copy;
use crate::node::{Special, WeakNode};
use crate::space::Quota;
use crate::xattrs::{self, Xattrs};

/// `FILEID_INO64_GEN` of `<linux/exportfs.h>`: 64 bits of inode number, 32 of generation, little-endian here.
pub(crate) const HANDLE_KIND: u8 = 0x81;
/// Length of a handle in bytes.
const HANDLE_LEN: usize = 12;
/// How long `relatime` leaves an access time alone, in seconds.
const RELATIME_SECS: i64 = 24 * 60 * 60;

/// The flags that an inode can have, as in Linux's tmpfs: there is nothing to be made durable.
pub(crate) const SETTABLE: InodeFlags = InodeFlags::PROTECTION.union(InodeFlags::NODUMP).union(InodeFlags::NOATIME);

/// What the inodes of one filesystem share.
pub(crate) struct Shared {
    pub(crate) context: FsContext,
    /// Space: pages, symbolic links' targets, extended attributes.
    pub(crate) bytes: Quota,
    /// Inodes, and every further name of one.
    pub(crate) inodes: Quota,
    /// The most links of an inode.
    pub(crate) link_max: u32,
    /// Tells handles of this filesystem from those of one that was there before.
    pub(crate) generation: u32,
    pub(crate) next_ino: AtomicU64,
    /// Outermost lock: see the crate's documentation.
    pub(crate) topology: Mutex<()>,
    /// The inode that whiteouts share until it has no link left to give.
    pub(crate) whiteout: Mutex<Weak<Inode<Special>>>,
    pub(crate) table: Mutex<HashMap<u64, WeakNode>>,
    pub(crate) hasher: DefaultHashBuilder,
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// The inode number in `handle`, if it is of this filesystem.
    pub(crate) fn parse_handle(&self, handle: &FileHandle) -> Option<u64> {
        let bytes: &[u8; HANDLE_LEN] = (&*handle.bytes).try_into().ok()?;
        let (ino, generation) = bytes.split_first_chunk::<8>()?;
        let ours = handle.kind == HANDLE_KIND && generation == self.generation.to_le_bytes();
        ours.then(|| u64::from_le_bytes(*ino))
    }
}

/// Whether an inode has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linkage {
    /// Made without a name, may get one.
    Unnamed,
    Named,
    /// Lost its last name for good.
    Unlinked,
}

/// The metadata of an inode.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) linkage: Linkage,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) btime: Timestamp,
    pub(crate) xattrs: Xattrs,
    pub(crate) flags: InodeFlags,
}

/// What every kind of inode has.
pub(crate) struct Core {
    pub(crate) ino: u64,
    pub(crate) shared: Arc<Shared>,
    pub(crate) meta: RwLock<Meta>,
}

impl Core {
    /// The flags that a new inode has from this directory.
    pub(crate) fn inherited(&self) -> InodeFlags {
        self.meta.read().flags & InodeFlags::INHERITED
    }

    /// The content changed: a file was written, a directory's entries changed.
    pub(crate) fn content_changed(&self, now: Timestamp) {
        let mut meta = self.meta.write();
        meta.mtime = now;
        meta.ctime = now;
    }

    /// The inode changed.
    pub(crate) fn changed(&self, now: Timestamp) {
        self.meta.write().ctime = now;
    }

    /// One name less.
    pub(crate) fn unlink(&self, now: Timestamp) {
        let mut meta = self.meta.write();
        meta.ctime = now;
        meta.nlink = meta.nlink.saturating_sub(1);
        if meta.nlink == 0 {
            meta.linkage = Linkage::Unlinked;
        } else {
            self.shared.inodes.release(1);
        }
    }

    /// One name more, for what is not a directory.
    ///
    /// # Errors
    /// `ENOENT` for an inode that was unlinked; `EMLINK`; `ENOSPC`.
    pub(crate) fn link(&self, now: Timestamp) -> Result<()> {
        let mut meta = self.meta.write();
        match meta.linkage {
            Linkage::Unlinked => return Err(Error::new(Errno::ENOENT, "link of an unlinked inode")),
            Linkage::Named if meta.nlink >= self.shared.link_max => return Err(Errno::EMLINK.into()),
            Linkage::Named => self.shared.inodes.charge(1)?.keep(),
            Linkage::Unnamed => {}
        }
        meta.linkage = Linkage::Named;
        meta.nlink += 1;
        meta.ctime = now;
        Ok(())
    }

    /// The directory itself was removed.
    pub(crate) fn unlink_directory(&self, now: Timestamp) {
        let mut meta = self.meta.write();
        meta.ctime = now;
        meta.nlink = 0;
        meta.linkage = Linkage::Unlinked;
    }

    /// Checks that a directory may get one more subdirectory.
    ///
    /// # Errors
    /// `EMLINK`.
    pub(crate) fn check_subdirectory(&self) -> Result<()> {
        if self.meta.read().nlink >= self.shared.link_max { Err(Errno::EMLINK.into()) } else { Ok(()) }
    }

    /// A subdirectory came: its `..` is a link.
    pub(crate) fn gain_subdirectory(&self) {
        self.meta.write().nlink += 1;
    }

    /// A subdirectory went.
    pub(crate) fn lose_subdirectory(&self) {
        let mut meta = self.meta.write();
        meta.nlink = meta.nlink.saturating_sub(1);
    }
}

/// How much a body holds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Space in use, in units of 512 bytes.
    pub(crate) blocks: u64,
}

/// What a kind of inode adds to [`Core`].
pub(crate) trait Body: Send + Sync + Sized + 'static {
    fn file_type(&self) -> FileType;

    /// The number of a device.
    fn rdev(&self) -> DeviceNumber {
        DeviceNumber::default()
    }

    /// Calls `observe` with the extent, which cannot change meanwhile.
    fn with_extent<R>(&self, observe: impl FnOnce(Extent) -> R) -> R;

    /// Called once, when nobody uses the inode any more: gives its space back.
    fn release(&mut self, shared: &Shared);
}

/// An inode.
pub(crate) struct Inode<B: Body> {
    pub(crate) core: Core,
    pub(crate) body: B,
}

impl<B: Body> Drop for Inode<B> {
    fn drop(&mut self) {
        self.body.release(&self.core.shared);
        let shared = &self.core.shared;
        let meta = self.core.meta.get_mut();
        shared.bytes.release(meta.xattrs.charge());
        shared.inodes.release(1);
        let gone = shared.table.lock().remove(&self.core.ino);
        drop(gone);
    }
}

impl<B: Body> NodeOps for Inode<B> {
    fn id(&self) -> NodeId {
        NodeId { dev: self.core.shared.context.dev, ino: self.core.ino }
    }

    fn attr(&self) -> Result<Attr> {
        Ok(self.body.with_extent(|extent| {
            let meta = self.core.meta.read();
            Attr {
                dev: self.core.shared.context.dev,
                ino: self.core.ino,
                kind: self.body.file_type(),
                mode: meta.mode,
                nlink: meta.nlink,
                uid: meta.uid,
                gid: meta.gid,
                rdev: self.body.rdev(),
                size: extent.size,
                blocks: extent.blocks,
                block_size: crate::pages::PAGE as u32,
                atime: meta.atime,
                mtime: meta.mtime,
                ctime: meta.ctime,
                btime: Some(meta.btime),
                flags: Some(meta.flags),
            }
        }))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let now = self.core.shared.now();
        let resolve = |time: SetTime| match time {
            SetTime::Now => Ok(now),
            SetTime::At(at) if at.nanos < base::time::NANOS_PER_SEC => Ok(at),
            SetTime::At(_) => Err(Error::new(Errno::EINVAL, "timestamp with a full second of nanoseconds")),
        };
        let (atime, mtime) = (change.atime.map(resolve).transpose()?, change.mtime.map(resolve).transpose()?);
        let mut meta = self.core.meta.write();
        if let Some(mode) = change.mode {
            meta.xattrs.set_mode(mode)?;
            meta.mode = mode & mode::PERMISSIONS;
        }
        meta.uid = change.uid.unwrap_or(meta.uid);
        meta.gid = change.gid.unwrap_or(meta.gid);
        meta.atime = atime.unwrap_or(meta.atime);
        meta.mtime = mtime.unwrap_or(meta.mtime);
        meta.ctime = now;
        Ok(())
    }

    fn set_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        if !matches!(self.body.file_type(), FileType::File | FileType::Dir) {
            return Err(Errno::ENOTTY.into());
        }
        if !SETTABLE.contains(flags) {
            return Err(Error::new(Errno::EOPNOTSUPP, "ramfs: a flag that it does not have"));
        }
        let shared = &self.core.shared;
        let mut meta = self.core.meta.write();
        match with {
            Some(XattrSet { name, value: Some(value) }) => set(shared, &mut meta, name, value, XattrMode::Set)?,
            Some(XattrSet { name, value: None }) => remove(shared, &mut meta, name),
            None => {}
        }
        meta.flags = flags;
        meta.ctime = shared.now();
        Ok(())
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        xattrs::check_name(name)?;
        self.core.meta.read().xattrs.get(name).map(copy).transpose()
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let shared = &self.core.shared;
        let now = shared.now();
        let list = if acl::is_acl(name) { Acl::parse(value)? } else { None };
        let mut meta = self.core.meta.write();
        match &list {
            None if acl::is_acl(name) => remove(shared, &mut meta, name),
            Some(list) if name == acl::ACCESS && list.is_minimal() => remove(shared, &mut meta, name),
            _ => set(shared, &mut meta, name, value, mode)?,
        }
        if let Some(list) = list.filter(|_| name == acl::ACCESS) {
            meta.mode = meta.mode & !0o777 | list.mode_bits();
        }
        meta.ctime = now;
        Ok(())
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        xattrs::check_name(name)?;
        let shared = &self.core.shared;
        let now = shared.now();
        let mut meta = self.core.meta.write();
        if meta.xattrs.get(name).is_none() {
            if acl::is_acl(name) {
                return Ok(());
            }
            return Err(Errno::ENODATA.into());
        }
        remove(shared, &mut meta, name);
        meta.ctime = now;
        Ok(())
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.core.meta.read().xattrs.names().for_each(each);
        Ok(())
    }

    fn note_access(&self) {
        let now = self.core.shared.now();
        let is_due = |meta: &Meta| {
            !meta.flags.contains(InodeFlags::NOATIME)
                && (meta.atime <= meta.mtime
                    || meta.atime <= meta.ctime
                    || now.secs.saturating_sub(meta.atime.secs) >= RELATIME_SECS)
        };
        if is_due(&self.core.meta.read()) {
            self.core.meta.write().atime = now;
        }
    }

    fn handle(&self) -> Option<FileHandle> {
        let mut bytes = Vec::with_capacity(HANDLE_LEN);
        bytes.extend_from_slice(&self.core.ino.to_le_bytes());
        bytes.extend_from_slice(&self.core.shared.generation.to_le_bytes());
        Some(FileHandle { kind: HANDLE_KIND, bytes: bytes.into_boxed_slice() })
    }
}

impl Shared {
    /// The next inode number: none is ever used twice.
    pub(crate) fn next_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }
}

/// Sets an attribute and charges the filesystem for it.
fn set(shared: &Shared, meta: &mut Meta, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
    let before = meta.xattrs.charge();
    let growth = meta.xattrs.growth(name, value);
    let charge = shared.bytes.charge(growth)?;
    meta.xattrs.set(name, value, mode)?;
    charge.keep();
    shared.bytes.release(before + growth - meta.xattrs.charge());
    Ok(())
}

/// Removes an attribute, if it is there, and gives its space back.
fn remove(shared: &Shared, meta: &mut Meta, name: &[u8]) {
    let before = meta.xattrs.charge();
    meta.xattrs.remove(name);
    shared.bytes.release(before - meta.xattrs.charge());
}
