//! Where attributes lie, and changing them. Small ones go into the inode, the rest into one block, which inodes with equal
//! attributes may share: it is copied before it changes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sort;
use block::Buffer;
use vfs::{Errno, Error, Result, XattrMode};

use super::codec::{self, Attr, BLOCK_HEADER, MAGIC, RawAttr, Walk};
use super::{ACL_ACCESS, AttrName, acl, prefix};
use crate::bytes::{le32, put32};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::inode::record::{OLD_SIZE, Record};
use crate::transaction::{Handle, Seal};

const CREDITS: usize = 24;
/// The longest value that system calls allow.
const MAX_VALUE: usize = 65536;

/// Where the inode's region of attributes begins, behind its magic number; `None` if there is no place for one.
fn region_start(record: &Record) -> Option<usize> {
    let start = OLD_SIZE + usize::from(record.extra_isize) + 4;
    (record.raw.len() > OLD_SIZE && record.extra_isize > 0 && start + 4 <= record.raw.len()).then_some(start)
}

/// The inode's region, if it holds attributes.
fn inline_region(record: &Record) -> Option<&[u8]> {
    let start = region_start(record)?;
    (le32(&record.raw, start - 4) == MAGIC).then(|| &record.raw[start..])
}

/// Attributes with their places.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Attrs {
    inline: Vec<Attr>,
    block: Vec<Attr>,
}

impl Ext4 {
    fn attribute_block(&self, number: u64) -> Result<Buffer> {
        if self.zones.overlap(number, 1) {
            return Err(self.corrupt("ext4: place of an attribute block"));
        }
        let buffer = self.metadata(number, Seal::Attributes)?;
        let sane = {
            let bytes = buffer.read();
            le32(&bytes, 0) == MAGIC && le32(&bytes, 8) == 1 && le32(&bytes, 4) != 0
        };
        if sane { Ok(buffer) } else { Err(self.corrupt("ext4: header of an attribute block")) }
    }

    /// Calls `each` with every attribute until it returns something.
    fn walk_attributes<T>(&self, inode: &Inode, mut each: impl FnMut(RawAttr<'_>) -> Option<T>) -> Result<Option<T>> {
        let file_acl = {
            let record = inode.record.read();
            for attr in inline_region(&record).into_iter().flat_map(|region| Walk::new(region, 0)) {
                let found = each(attr.map_err(|error| self.failed(error))?);
                if found.is_some() {
                    return Ok(found);
                }
            }
            record.file_acl
        };
        if file_acl != 0 {
            let buffer = self.attribute_block(file_acl)?;
            let bytes = buffer.read();
            for attr in Walk::new(&bytes, BLOCK_HEADER) {
                let found = each(attr.map_err(|error| self.failed(error))?);
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The value of an attribute.
    pub(crate) fn xattr(&self, inode: &Inode, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let name = AttrName::parse(name)?;
        let _content = inode.content.read();
        let value = self.walk_attributes(inode, |attr| (attr.name == name).then(|| attr.value.to_vec()))?;
        match value {
            Some(disk) if name.is_acl() => acl::from_disk(&disk).map(Some).map_err(|error| self.failed(error)),
            value => Ok(value),
        }
    }

    fn has_attribute(&self, inode: &Inode, name: AttrName<'_>) -> Result<bool> {
        Ok(self.walk_attributes(inode, |attr| (attr.name == name).then_some(()))?.is_some())
    }

    /// Calls `each` with the full names of all attributes.
    pub(crate) fn list_xattrs(&self, inode: &Inode, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let _content = inode.content.read();
        let mut full = Vec::new();
        self.walk_attributes(inode, |attr| {
            if let Some(prefix) = prefix(attr.name.index) {
                full.clear();
                full.extend_from_slice(prefix);
                full.extend_from_slice(attr.name.rest);
                each(&full);
            }
            None::<()>
        })
        .map(drop)
    }

    fn load_attributes(&self, inode: &Inode) -> Result<Attrs> {
        let mut attrs = Attrs::default();
        let (mut inline, file_acl) = {
            let record = inode.record.read();
            let count = inline_region(&record).map_or(0, |region| Walk::new(region, 0).count());
            (count, record.file_acl)
        };
        debug_assert!(file_acl == 0 || self.geometry.contains(file_acl, 1));
        self.walk_attributes(inode, |attr| {
            let attr = Attr::new(attr.name, attr.value);
            if inline > 0 {
                inline -= 1;
                attrs.inline.push(attr);
            } else {
                attrs.block.push(attr);
            }
            None::<()>
        })?;
        Ok(attrs)
    }

    /// Sets an attribute.
    pub(crate) fn set_xattr(&self, inode: &Arc<Inode>, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.transact(CREDITS, &[inode], |h| {
            h.set_attribute(inode, name, Some(value), mode)?;
            let now = h.now;
            h.update(inode, |record| record.ctime = now)
        })
    }

    /// Removes an attribute. An access control list that is not there is no error, and nothing changes.
    pub(crate) fn remove_xattr(&self, inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        self.transact(CREDITS, &[inode], |h| {
            let parsed = AttrName::parse(name)?;
            if parsed.is_acl() && !h.fs.has_attribute(inode, parsed)? {
                return Ok(());
            }
            h.set_attribute(inode, name, None, XattrMode::Replace)?;
            let now = h.now;
            h.update(inode, |record| record.ctime = now)
        })
    }
}

impl Handle<'_> {
    /// Sets or removes one attribute.
    pub(crate) fn set_attribute(
        &mut self,
        inode: &Arc<Inode>,
        name: &[u8],
        value: Option<&[u8]>,
        mode: XattrMode,
    ) -> Result<()> {
        let name = AttrName::parse(name)?;
        if value.is_some_and(|value| value.len() > MAX_VALUE) {
            return Err(Error::new(Errno::E2BIG, "value of an attribute"));
        }
        let converted;
        let mut value = value;
        if let Some(list) = value.filter(|_| name.is_acl()) {
            if name.index == ACL_ACCESS {
                let acl = acl::to_disk(list)?;
                if let Some(bits) = acl.bits {
                    self.update(inode, |record| record.mode = (record.mode & !0o777) | bits)?;
                }
                converted = acl.disk;
            } else if inode.is_dir() {
                converted = acl::default_to_disk(list)?;
            } else {
                return Err(Error::new(Errno::EACCES, "default access control list of a file"));
            }
            value = converted.as_deref();
            if value.is_none() {
                return self.put_attribute(inode, name, None);
            }
        }
        let exists = self.fs.has_attribute(inode, name)?;
        match mode {
            XattrMode::Create if exists => return Err(Error::new(Errno::EEXIST, "attribute exists")),
            XattrMode::Replace if !exists => return Err(Error::new(Errno::ENODATA, "no such attribute")),
            _ => {}
        }
        if value.is_none() && !exists {
            return Ok(());
        }
        self.put_attribute(inode, name, value)
    }

    /// The attributes of a new inode.
    pub(crate) fn set_first_attributes(&mut self, inode: &Arc<Inode>, attrs: &[(&[u8], &[u8])]) -> Result<()> {
        for (name, value) in attrs {
            self.set_attribute(inode, name, Some(value), XattrMode::Set)?;
        }
        Ok(())
    }

    fn put_attribute(&mut self, inode: &Arc<Inode>, name: AttrName<'_>, value: Option<&[u8]>) -> Result<()> {
        let old = self.fs.load_attributes(inode)?;
        let mut new = old.clone();
        new.inline.retain(|attr| !attr.is(name));
        new.block.retain(|attr| !attr.is(name));
        if let Some(value) = value {
            let attr = Attr::new(name, value);
            let in_inode = {
                let record = inode.record.read();
                region_start(&record).map_or(0, |start| record.raw.len() - start)
            };
            let in_block = self.fs.geometry.block_size - BLOCK_HEADER;
            if codec::needed(&new.inline) + attr.size() <= in_inode {
                new.inline.push(attr);
            } else if codec::needed(&new.block) + attr.size() <= in_block {
                new.block.push(attr);
            } else {
                new = repack(new, attr, in_inode, in_block)?;
            }
        }
        // An overlay's attributes say where the data of a file is: `fdatasync` must not miss them. All are treated alike.
        self.touch_data(inode)?;
        if new.inline != old.inline {
            self.store_inline(inode, &new.inline)?;
        }
        if new.block != old.block {
            self.store_block(inode, &mut new.block)?;
        }
        Ok(())
    }

    fn store_inline(&mut self, inode: &Arc<Inode>, attrs: &[Attr]) -> Result<()> {
        self.update(inode, |record| {
            if let Some(start) = region_start(record) {
                put32(&mut record.raw, start - 4, if attrs.is_empty() { 0 } else { MAGIC });
                codec::build_inline(&mut record.raw[start..], attrs);
            }
        })
    }

    fn store_block(&mut self, inode: &Arc<Inode>, attrs: &mut [Attr]) -> Result<()> {
        if attrs.is_empty() {
            return self.drop_attribute_block(inode);
        }
        let size = self.fs.geometry.block_size;
        let mut bytes = alloc::vec![0; size];
        codec::build_block(&mut bytes, attrs);
        let number = inode.record.read().file_acl;
        if number != 0 {
            let buffer = self.fs.attribute_block(number)?;
            let alone = le32(&buffer.read(), 4) == 1;
            if alone {
                self.replace(&buffer, Seal::Attributes, 0, &bytes);
                return Ok(());
            }
            self.drop_attribute_block(inode)?;
        }
        let goal = self.goal_near(inode);
        let (start, _) = self.allocate(goal, 1)?;
        let buffer = self.create(start, Seal::Attributes)?;
        self.replace(&buffer, Seal::Attributes, 0, &bytes);
        self.update(inode, |record| record.file_acl = start)?;
        self.count_blocks(inode, 1)
    }

    /// Lets go of an inode's attribute block: shared ones lose a reference, others are freed.
    pub(crate) fn drop_attribute_block(&mut self, inode: &Arc<Inode>) -> Result<()> {
        let number = inode.record.read().file_acl;
        if number == 0 {
            return Ok(());
        }
        let buffer = self.fs.attribute_block(number)?;
        let users = le32(&buffer.read(), 4);
        if users > 1 {
            self.modify(&buffer, Seal::Attributes, 4..8, |bytes| put32(bytes, 0, users - 1));
        } else {
            drop(buffer);
            self.free(number, 1)?;
        }
        self.update(inode, |record| record.file_acl = 0)?;
        self.count_blocks(inode, -1)
    }

    /// After a change of a file's mode its access control list says the same.
    pub(crate) fn change_acl_mode(&mut self, inode: &Arc<Inode>, mode: u16) -> Result<()> {
        let name = AttrName { index: ACL_ACCESS, rest: b"" };
        let list = self.fs.walk_attributes(inode, |attr| (attr.name == name).then(|| attr.value.to_vec()))?;
        let Some(list) = list else { return Ok(()) };
        let list = acl::with_mode(&list, mode).map_err(|error| self.fs.failed(error))?;
        self.put_attribute(inode, name, Some(&list))
    }
}

/// Distributes everything anew: small attributes into the inode, the rest into the block.
fn repack(attrs: Attrs, attr: Attr, in_inode: usize, in_block: usize) -> Result<Attrs> {
    let mut all: Vec<Attr> = attrs.inline.into_iter().chain(attrs.block).chain([attr]).collect();
    sort::by_key(&mut all, Attr::size);
    let mut new = Attrs::default();
    for attr in all {
        if codec::needed(&new.inline) + attr.size() <= in_inode {
            new.inline.push(attr);
        } else {
            new.block.push(attr);
        }
    }
    if !new.block.is_empty() && codec::needed(&new.block) > in_block {
        return Err(Error::new(Errno::ENOSPC, "no place for an attribute"));
    }
    Ok(new)
}
