//! One block of directory entries (`struct ext4_dir_entry_2`): walking, finding, inserting, removing.
//!
//! Every step checks the entry against the block, so a corrupt block ends in an error, never past its end.

use core::ops::Range;

use vfs::{Errno, Error, FileType, Result};

use crate::bytes::{le16, le32, put, put8, put16, put32};

/// Size of an entry without its name.
pub(crate) const ENTRY_HEADER: usize = 8;

/// The bytes that an entry with a name of that length needs.
pub(crate) const fn entry_size(name_len: usize) -> usize {
    (ENTRY_HEADER + name_len + 3) & !3
}

/// An entry as it lies in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawEntry<'a> {
    pub(crate) offset: usize,
    /// 0 for an unused one.
    pub(crate) ino: u32,
    /// Bytes to the next entry.
    pub(crate) len: usize,
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
}

impl RawEntry<'_> {
    /// The bytes that the entry needs itself.
    pub(crate) fn used(&self) -> usize {
        if self.ino == 0 { 0 } else { entry_size(self.name.len()) }
    }

    pub(crate) fn is_dot(&self) -> bool {
        matches!(self.name, b"." | b"..")
    }
}

/// Walks the entries of a block; `bytes` ends before the tail, if there is one.
pub(crate) struct Entries<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<RawEntry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        if offset >= self.bytes.len() {
            return None;
        }
        let rest = &self.bytes[offset..];
        let entry = parse(rest, offset);
        match &entry {
            Some(entry) => self.offset += entry.len,
            None => self.offset = self.bytes.len(),
        }
        Some(entry.ok_or_else(|| Error::fault(Errno::EUCLEAN, "ext4: corrupt directory entry")))
    }
}

#[inline]
fn parse(rest: &[u8], offset: usize) -> Option<RawEntry<'_>> {
    // One load for all: most of what a directory costs is this walk.
    let head = u64::from_le_bytes(*rest.first_chunk::<ENTRY_HEADER>()?);
    let len = usize::from((head >> 32) as u16);
    let name_len = usize::from((head >> 48) as u8);
    if !len.is_multiple_of(4) || entry_size(name_len) > len || len > rest.len() {
        return None;
    }
    let name = rest.get(ENTRY_HEADER..ENTRY_HEADER + name_len)?;
    Some(RawEntry { offset, ino: head as u32, len, kind: (head >> 56) as u8, name })
}

/// The entry of a name, with the one before it in the block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) offset: usize,
    pub(crate) previous: Option<usize>,
    pub(crate) ino: u32,
}

/// Finds a name in a block; if it is not there, `space` is the first entry behind which, or in which, one of its length fits.
pub(crate) fn find(bytes: &[u8], name: &[u8], space: &mut Option<usize>) -> Result<Option<Found>> {
    let mut previous = None;
    for entry in Entries::new(bytes) {
        let entry = entry?;
        // Names of one directory rather begin alike than end so, and most are of one length.
        if entry.ino != 0 && entry.name.last() == name.last() && entry.name == name {
            return Ok(Some(Found { offset: entry.offset, previous, ino: entry.ino }));
        }
        if space.is_none() && entry.len - entry.used() >= entry_size(name.len()) {
            *space = Some(entry.offset);
        }
        previous = Some(entry.offset);
    }
    Ok(None)
}

/// The bytes that [`insert`] changes of the entry at `offset`, if it is one that leaves space for the name.
pub(crate) fn insert_range(bytes: &[u8], offset: usize, name_len: usize) -> Option<Range<usize>> {
    let entry = parse(bytes.get(offset..)?, offset)?;
    let len = entry.used() + entry_size(name_len);
    (len <= entry.len).then_some(offset..offset + len)
}

fn used_at(bytes: &[u8], offset: usize) -> usize {
    if le32(bytes, offset) == 0 { 0 } else { entry_size(usize::from(bytes[offset + 6])) }
}

/// Puts an entry behind the one that `part` begins with, or in its place if that is unused.
pub(crate) fn insert(part: &mut [u8], ino: u32, kind: u8, name: &[u8]) {
    let len = usize::from(le16(part, 4));
    let used = used_at(part, 0);
    // Where a corrupt medium has the block in a file, too, it may have been written to since it was looked at.
    if used + entry_size(name.len()) > part.len().min(len) {
        return;
    }
    if used > 0 {
        put16(part, 4, used as u16);
    }
    put_entry(&mut part[used..], ino, len - used, kind, name);
}

/// Writes an entry of `len` bytes in all.
pub(crate) fn put_entry(slot: &mut [u8], ino: u32, len: usize, kind: u8, name: &[u8]) {
    put32(slot, 0, ino);
    put16(slot, 4, len as u16);
    put8(slot, 6, name.len() as u8);
    put8(slot, 7, kind);
    put(slot, ENTRY_HEADER, name);
}

/// Makes all of `slot` one unused entry.
pub(crate) fn put_unused(slot: &mut [u8]) {
    let len = slot.len();
    put32(slot, 0, 0);
    put16(slot, 4, len as u16);
    put16(slot, 6, 0);
}

/// Fills `area` with entries, the last one taking what is left. They fit.
pub(crate) fn pack<'a>(area: &mut [u8], entries: impl IntoIterator<Item = (u32, u8, &'a [u8])>) {
    let mut at = 0;
    let mut last = None;
    for (ino, kind, name) in entries {
        let len = entry_size(name.len());
        if at + len > area.len() {
            debug_assert!(false, "entries of one block fit into another");
            break;
        }
        put_entry(&mut area[at..], ino, len, kind, name);
        last = Some(at);
        at += len;
    }
    match last {
        Some(last) => {
            let len = area.len() - last;
            put16(area, last + 4, len as u16);
        }
        None => put_unused(area),
    }
}

/// The number that stands for a type in entries; 0 where the medium keeps none.
pub(crate) const fn kind_to_disk(kind: FileType) -> u8 {
    match kind {
        FileType::File => 1,
        FileType::Dir => 2,
        FileType::CharDevice => 3,
        FileType::BlockDevice => 4,
        FileType::Fifo => 5,
        FileType::Socket => 6,
        FileType::Symlink => 7,
    }
}

/// The type that a number in an entry stands for; `None` if the inode must be asked.
pub(crate) const fn kind_from_disk(kind: u8) -> Option<FileType> {
    Some(match kind {
        1 => FileType::File,
        2 => FileType::Dir,
        3 => FileType::CharDevice,
        4 => FileType::BlockDevice,
        5 => FileType::Fifo,
        6 => FileType::Socket,
        7 => FileType::Symlink,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn names(bytes: &[u8]) -> Vec<Vec<u8>> {
        Entries::new(bytes)
            .map(Result::unwrap)
            .filter(|entry| entry.ino != 0)
            .map(|entry| entry.name.to_vec())
            .collect()
    }

    #[test]
    fn entries_are_inserted_into_slack_and_found() {
        let mut block = vec![0; 256];
        put_unused(&mut block);
        for (ino, name) in [(11, &b"a"[..]), (12, b"long-name-of-a-file"), (13, b"b")] {
            let mut at = None;
            assert!(find(&block, name, &mut at).unwrap().is_none());
            let at = at.unwrap();
            assert!(insert_range(&block, at, name.len()).unwrap().end <= block.len());
            insert(&mut block[at..], ino, 1, name);
        }
        assert_eq!(names(&block), [&b"a"[..], b"long-name-of-a-file", b"b"]);
        let found = find(&block, b"b", &mut None).unwrap().unwrap();
        assert_eq!((found.ino, found.previous), (13, Some(12)));
        for (name, expected) in [(&b"c"[..], Some(40)), (&[b'x'; 220], None)] {
            let mut space = None;
            assert!(find(&block, name, &mut space).unwrap().is_none());
            assert_eq!(space, expected);
        }
    }

    #[test]
    fn nothing_is_inserted_where_there_is_no_entry_or_too_little_space() {
        let mut block = vec![0; 256];
        put_entry(&mut block, 11, 256, 1, b"name");
        assert_eq!(insert_range(&block, 0, 200), Some(0..12 + 208));
        assert_eq!(insert_range(&block, 0, 240), None);
        for offset in [12, 252, 256, 300] {
            assert_eq!(insert_range(&block, offset, 1), None, "{offset}");
        }
        put16(&mut block, 4, 300);
        assert_eq!(insert_range(&block, 0, 1), None);
    }

    #[test]
    fn a_corrupt_entry_is_an_error_and_ends_the_walk() {
        for (at, value) in [(4, 6_u16), (4, 0), (4, 300), (4, 8), (6, 250)] {
            let mut block = vec![0; 256];
            put_entry(&mut block, 11, 256, 1, b"name");
            put16(&mut block, at, value);
            let mut entries = Entries::new(&block);
            assert_eq!(entries.next().unwrap().unwrap_err(), Errno::EUCLEAN, "{at} {value}");
            assert!(entries.next().is_none());
        }
    }
}
