//! Entries of extended attributes (`struct ext4_xattr_entry`): walking a region, and building one.

use alloc::vec::Vec;

use base::sort;
use vfs::{Errno, Error, Result};

use super::AttrName;
use crate::bytes::{le16, le32, put, put8, put16, put32};

/// First word of a block, and of the region in an inode.
pub(super) const MAGIC: u32 = 0xea02_0000;
/// Size of a block's header.
pub(super) const BLOCK_HEADER: usize = 32;
const ENTRY_HEADER: usize = 16;

/// An attribute in a region.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawAttr<'a> {
    pub(super) name: AttrName<'a>,
    pub(super) value: &'a [u8],
}

/// An attribute on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attr {
    pub(super) index: u8,
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Attr {
    pub(super) fn new(name: AttrName<'_>, value: &[u8]) -> Self {
        Self { index: name.index, name: name.rest.to_vec(), value: value.to_vec() }
    }

    pub(super) fn is(&self, name: AttrName<'_>) -> bool {
        self.index == name.index && self.name == name.rest
    }

    /// The bytes that the attribute takes, entry and value.
    pub(super) fn size(&self) -> usize {
        entry_size(self.name.len()) + padded(self.value.len())
    }
}

const fn padded(len: usize) -> usize {
    (len + 3) & !3
}

const fn entry_size(name_len: usize) -> usize {
    padded(ENTRY_HEADER + name_len)
}

/// Walks the entries of a region from `offset` on. Values lie relative to the region's start.
pub(super) struct Walk<'a> {
    region: &'a [u8],
    offset: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(region: &'a [u8], offset: usize) -> Self {
        Self { region, offset }
    }

    fn parse(&self) -> Option<(RawAttr<'a>, usize)> {
        let entry = self.region.get(self.offset..)?;
        if entry.len() < ENTRY_HEADER {
            return None;
        }
        let name_len = usize::from(entry[0]);
        let rest = entry.get(ENTRY_HEADER..ENTRY_HEADER + name_len)?;
        let size = le32(entry, 8) as usize;
        if le32(entry, 4) != 0 {
            // The value is in an inode of its own, a feature that is refused.
            return None;
        }
        let value = if size == 0 {
            &[]
        } else {
            let start = usize::from(le16(entry, 2));
            self.region.get(start..start.checked_add(size)?)?
        };
        let next = self.offset + entry_size(name_len);
        Some((RawAttr { name: AttrName { index: entry[1], rest }, value }, next))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<RawAttr<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        // Four zero bytes end the list.
        match self.region.get(self.offset..self.offset + 4) {
            Some(&[0, 0, 0, 0]) => return None,
            None if self.offset >= self.region.len() => return None,
            _ => {}
        }
        match self.parse() {
            Some((attr, next)) => {
                self.offset = next;
                Some(Ok(attr))
            }
            None => {
                self.offset = self.region.len();
                Some(Err(Error::fault(Errno::EUCLEAN, "ext4: corrupt extended attribute")))
            }
        }
    }
}

/// The bytes that attributes need in a region, the end mark included.
pub(super) fn needed(attrs: &[Attr]) -> usize {
    attrs.iter().map(Attr::size).sum::<usize>() + 4
}

/// Which hashes entries carry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hashes {
    None,
    Entries,
}

fn build(region: &mut [u8], first: usize, attrs: &[Attr], hashes: Hashes) {
    let mut at = first;
    let mut values = region.len();
    for attr in attrs {
        values -= padded(attr.value.len());
        let hash = if hashes == Hashes::Entries { entry_hash(attr) } else { 0 };
        let entry = &mut region[at..];
        put8(entry, 0, attr.name.len() as u8);
        put8(entry, 1, attr.index);
        put16(entry, 2, if attr.value.is_empty() { 0 } else { values as u16 });
        put32(entry, 8, attr.value.len() as u32);
        put32(entry, 12, hash);
        put(entry, ENTRY_HEADER, &attr.name);
        put(region, values, &attr.value);
        at += entry_size(attr.name.len());
    }
}

/// Writes attributes that fit into the region of an inode.
pub(super) fn build_inline(region: &mut [u8], attrs: &[Attr]) {
    region.fill(0);
    build(region, 0, attrs, Hashes::None);
}

/// Writes attributes that fit into a block; sorts them as Linux does. The checksum comes at commit.
pub(super) fn build_block(block: &mut [u8], attrs: &mut [Attr]) {
    block.fill(0);
    sort::by(attrs, |a, b| (a.index, a.name.len(), &a.name) < (b.index, b.name.len(), &b.name));
    put32(block, 0, MAGIC);
    put32(block, 4, 1);
    put32(block, 8, 1);
    put32(block, 12, block_hash(attrs));
    build(block, BLOCK_HEADER, attrs, Hashes::Entries);
}

/// Hash of an entry's name and value (`ext4_xattr_hash_entry`).
fn entry_hash(attr: &Attr) -> u32 {
    let name = attr.name.iter().fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
    attr.value.chunks(4).fold(name, |hash, chunk| {
        let mut word = [0; 4];
        word[..chunk.len()].copy_from_slice(chunk);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

/// Hash of a block: by it Linux finds blocks to share.
fn block_hash(attrs: &[Attr]) -> u32 {
    let mut hash = 0_u32;
    for attr in attrs {
        let entry = entry_hash(attr);
        if entry == 0 {
            return 0;
        }
        hash = hash.rotate_left(16) ^ entry;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn attributes_survive_a_region() {
        let attrs = [
            Attr { index: 1, name: b"mime".to_vec(), value: b"text/plain".to_vec() },
            Attr { index: 4, name: b"overlay.opaque".to_vec(), value: b"y".to_vec() },
            Attr { index: 2, name: vec![], value: vec![7; 20] },
            Attr { index: 1, name: b"empty".to_vec(), value: vec![] },
        ];
        let mut region = vec![0xff; needed(&attrs)];
        build_inline(&mut region, &attrs);
        let read: Vec<Attr> =
            Walk::new(&region, 0).map(|attr| attr.map(|a| Attr::new(a.name, a.value)).unwrap()).collect();
        assert_eq!(read, attrs);
    }

    #[test]
    fn entries_that_leave_the_region_are_errors() {
        let mut region = vec![0; 64];
        build_inline(&mut region, &[Attr { index: 1, name: b"a".to_vec(), value: vec![1; 8] }]);
        for (at, value) in [(0, 200_u8), (2, 60), (8, 99), (4, 1)] {
            let mut bad = region.clone();
            bad[at] = value;
            assert!(Walk::new(&bad, 0).any(|attr| attr.is_err()), "{at}");
        }
    }
}
