//! The index: every inode and every directory entry of an archive, in arenas of small records.
//!
//! What few members have (holes, extended attributes, other times) is in side tables. Names stay in the archive; the
//! hash table holds entries' places only, 5 to 12 bytes each. Built by `place`, then never changed, so that nothing here
//! needs a lock.

use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::{Reason, TarError};
use crate::record::{Content, Dentry, DentryIndex, Extra, Inode, InodeIndex, Run};
use crate::span::{NameSpan, Packed};
use crate::sparse::Extent;
use crate::xattr::{self, Xattr};

/// The last record numbers are kept free: for "none", and so that inode and cookie numbers fit.
const RECORDS_MAX: usize = u32::MAX as usize - 16;

/// All inodes and entries of an archive.
pub(crate) struct Index {
    inodes: Vec<Inode>,
    dentries: Vec<Dentry>,
    by_name: HashTable<DentryIndex>,
    hasher: DefaultHashBuilder,
    extras: Vec<Extra>,
    pub(crate) extents: Vec<Extent>,
    pub(crate) xattrs: Vec<Xattr>,
    /// Text that the archive holds only encoded.
    pub(crate) decoded: Vec<u8>,
    /// Inode records without a name left.
    free: Vec<InodeIndex>,
}

impl Index {
    /// An index of nothing but a root directory.
    pub(crate) fn new(root: Inode) -> Result<Self, TarError> {
        let mut index = Self {
            inodes: Vec::new(),
            dentries: Vec::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            extras: Vec::new(),
            extents: Vec::new(),
            xattrs: Vec::new(),
            decoded: Vec::new(),
            free: Vec::new(),
        };
        push(&mut index.inodes, root, 0)?;
        Ok(index)
    }

    pub(crate) fn inode(&self, index: InodeIndex) -> &Inode {
        &self.inodes[index.0 as usize]
    }

    pub(crate) fn inode_mut(&mut self, index: InodeIndex) -> &mut Inode {
        &mut self.inodes[index.0 as usize]
    }

    /// The inode of a number that came from outside, if one is there.
    pub(crate) fn by_number(&self, number: u64) -> Option<InodeIndex> {
        let index = u32::try_from(number.checked_sub(1)?).ok()?;
        let inode = self.inodes.get(index as usize)?;
        (inode.nlink > 0).then_some(InodeIndex(index))
    }

    pub(crate) fn dentry(&self, index: DentryIndex) -> &Dentry {
        &self.dentries[index.0 as usize]
    }

    pub(crate) fn extra(&self, inode: &Inode) -> Option<&Extra> {
        self.extras.get(inode.extra()?)
    }

    pub(crate) fn extents_of(&self, inode: &Inode) -> &[Extent] {
        self.extra(inode).map_or(&[], |extra| slice(&self.extents, extra.extents))
    }

    pub(crate) fn xattrs_of(&self, inode: &Inode) -> &[Xattr] {
        self.extra(inode).map_or(&[], |extra| slice(&self.xattrs, extra.xattrs))
    }

    /// The bytes of a name or value of an extended attribute.
    pub(crate) fn text<'a, const BITS: u32>(&'a self, archive: &'a [u8], place: Packed<BITS>) -> &'a [u8] {
        xattr::text(place.span(), archive, &self.decoded)
    }

    /// Inodes in use, and directory entries.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.inodes.len() - self.free.len(), self.dentries.len())
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        fn of<T>(records: &Vec<T>) -> usize {
            records.capacity() * size_of::<T>()
        }
        of(&self.inodes)
            + of(&self.dentries)
            + self.by_name.allocation_size()
            + of(&self.extras)
            + of(&self.extents)
            + of(&self.xattrs)
            + of(&self.decoded)
            + of(&self.free)
    }

    /// Finds an entry of a directory.
    pub(crate) fn find(&self, archive: &[u8], parent: InodeIndex, name: &[u8]) -> Option<DentryIndex> {
        let hash = self.hash(parent, name);
        let found = self.by_name.find(spread(hash), |&index| {
            let dentry = self.dentry(index);
            dentry.hash == hash && dentry.parent == parent && dentry.name.span().of(archive) == name
        });
        found.copied()
    }

    /// The entries of a directory after one of them, or from the first.
    pub(crate) fn entries_after(
        &self,
        dir: InodeIndex,
        after: Option<DentryIndex>,
    ) -> impl Iterator<Item = (DentryIndex, &Dentry)> {
        let first = match (after, self.inode(dir).content()) {
            (Some(after), _) => self.dentry(after).next,
            (None, Content::Dir { first, .. }) => first,
            (None, _) => DentryIndex::NONE,
        };
        let following = move |&(_, dentry): &(DentryIndex, &Dentry)| self.listed(dentry.next);
        core::iter::successors(self.listed(first), following)
    }

    /// The entry at a place that came from outside, if it is one of `dir`.
    pub(crate) fn entry_of(&self, dir: InodeIndex, place: u64) -> Option<DentryIndex> {
        let index = DentryIndex(u32::try_from(place).ok()?);
        (self.listed(index)?.1.parent == dir).then_some(index)
    }

    fn listed(&self, index: DentryIndex) -> Option<(DentryIndex, &Dentry)> {
        self.dentries.get(index.0 as usize).map(|dentry| (index, dentry))
    }

    /// Adds an inode; a record that became free is used first.
    pub(crate) fn add_inode(&mut self, inode: Inode, offset: usize) -> Result<InodeIndex, TarError> {
        match self.free.pop() {
            Some(index) => {
                *self.inode_mut(index) = inode;
                Ok(index)
            }
            None => push(&mut self.inodes, inode, offset).map(InodeIndex),
        }
    }

    /// Adds an entry at the end of a directory that has none of the name, and counts a subdirectory's `..`.
    pub(crate) fn add_dentry(
        &mut self,
        archive: &[u8],
        parent: InodeIndex,
        name: NameSpan,
        inode: InodeIndex,
        offset: usize,
    ) -> Result<(), TarError> {
        let hash = self.hash(parent, name.span().of(archive));
        let dentries = &self.dentries;
        let rehash = |index: &DentryIndex| spread(dentries[index.0 as usize].hash);
        self.by_name.try_reserve(1, rehash).map_err(|_| TarError::new(offset, Reason::NoMemory))?;
        let dentry = Dentry { name, parent, inode, next: DentryIndex::NONE, hash };
        let index = DentryIndex(push(&mut self.dentries, dentry, offset)?);
        self.by_name.insert_unique(spread(hash), index, |index| spread(self.dentries[index.0 as usize].hash));

        let dir = self.inode_mut(parent);
        dir.size += 1;
        if let Content::Dir { first, last } = dir.content() {
            if last == DentryIndex::NONE {
                dir.set_entries(index, index);
            } else {
                dir.set_entries(first, index);
                self.dentries[last.0 as usize].next = index;
            }
        }
        self.count_subdirectory(parent, inode);
        Ok(())
    }

    /// Gives an entry another inode, and drops what it had: nothing, or a directory that is empty.
    pub(crate) fn replace(&mut self, dentry: DentryIndex, inode: InodeIndex, offset: usize) -> Result<(), TarError> {
        let Dentry { parent, inode: old, .. } = *self.dentry(dentry);
        self.free.try_reserve(1).map_err(|_| TarError::new(offset, Reason::NoMemory))?;
        let record = self.inode_mut(old);
        if record.is_dir() {
            record.nlink = 0;
            self.inode_mut(parent).nlink -= 1;
        } else {
            record.nlink -= 1;
        }
        if self.inode(old).nlink == 0 {
            self.free.push(old);
        }
        self.dentries[dentry.0 as usize].inode = inode;
        self.count_subdirectory(parent, inode);
        Ok(())
    }

    fn count_subdirectory(&mut self, parent: InodeIndex, inode: InodeIndex) {
        if self.inode(inode).is_dir() {
            // At most as many as there are records, and those are counted in 32 bits.
            self.inode_mut(parent).nlink += 1;
        }
    }

    /// Adds the side record of an inode.
    pub(crate) fn add_extra(&mut self, extra: Extra, offset: usize) -> Result<u32, TarError> {
        push(&mut self.extras, extra, offset)
    }

    /// Gives back memory that growth left over.
    pub(crate) fn compact(&mut self) {
        compact(&mut self.inodes);
        compact(&mut self.dentries);
        compact(&mut self.extras);
        compact(&mut self.extents);
        compact(&mut self.xattrs);
        compact(&mut self.decoded);
    }

    /// Hashes with a key of its own, so that no archive can bring names that all collide.
    fn hash(&self, parent: InodeIndex, name: &[u8]) -> u32 {
        let hash = self.hasher.hash_one((parent.0, name));
        (hash ^ (hash >> 32)) as u32
    }
}

/// Spreads a hash of 32 bits over 64: the table takes its position from the low bits and a tag from the top.
const fn spread(hash: u32) -> u64 {
    hash as u64 | (hash as u64) << 32
}

fn slice<T>(records: &[T], run: Run) -> &[T] {
    let start = run.start as usize;
    records.get(start..start + run.len as usize).unwrap_or_default()
}

/// Appends a record and returns its place; the offset is for the message.
fn push<T>(records: &mut Vec<T>, record: T, offset: usize) -> Result<u32, TarError> {
    if records.len() >= RECORDS_MAX {
        return Err(TarError::new(offset, Reason::TooMany("members")));
    }
    records.try_reserve(1).map_err(|_| TarError::new(offset, Reason::NoMemory))?;
    records.push(record);
    Ok(records.len() as u32 - 1)
}

/// Appends records and returns where they are.
pub(crate) fn append<T: Copy>(records: &mut Vec<T>, new: &[T], offset: usize) -> Result<Run, TarError> {
    if records.len() + new.len() >= RECORDS_MAX {
        return Err(TarError::new(offset, Reason::TooMany("extents or attributes")));
    }
    records.try_reserve(new.len()).map_err(|_| TarError::new(offset, Reason::NoMemory))?;
    let start = records.len() as u32;
    records.extend_from_slice(new);
    Ok(Run { start, len: new.len() as u32 })
}

/// Moves records into a buffer of their size. Where memory is short they stay: shrinking must not be able to fail.
fn compact<T: Copy>(records: &mut Vec<T>) {
    let mut exact = Vec::new();
    if records.len() < records.capacity() && exact.try_reserve_exact(records.len()).is_ok() {
        exact.extend_from_slice(records);
        *records = exact;
    }
}
