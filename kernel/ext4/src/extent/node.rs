//! Nodes of an extent tree: a header and entries of 12 bytes, in the inode or in a block of their own.

use vfs::{Errno, Error, Result};

use super::{Extent, MAX_DEPTH, MAX_LEN, State};
use crate::bytes::{le16, le32, put16, put32};
use crate::inode::record::MAP_SIZE;

const MAGIC: u16 = 0xf30a;
/// Size of a header, and of an entry.
pub(crate) const ENTRY: usize = 12;

/// An entry as it is on disk: of a leaf an extent, of an index a key and a block. Both begin with the key.
pub(crate) type RawEntry = [u8; ENTRY];

/// A node's header, checked against the node's size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) entries: usize,
    pub(crate) depth: u16,
}

fn corrupt(what: &'static str) -> Error {
    Error::fault(Errno::EUCLEAN, what)
}

/// How many entries a node of `size` bytes holds.
pub(crate) const fn capacity(size: usize) -> usize {
    (size - ENTRY) / ENTRY
}

impl Header {
    /// Checks a node's header. `depth` is what its parent says it must be.
    pub(crate) fn parse(bytes: &[u8], depth: Option<u16>) -> Result<Self> {
        let header = Self { entries: usize::from(le16(bytes, 2)), depth: le16(bytes, 6) };
        let max = usize::from(le16(bytes, 4));
        if le16(bytes, 0) != MAGIC || header.entries > max || max > capacity(bytes.len()) || header.depth > MAX_DEPTH {
            return Err(corrupt("ext4: header of an extent node"));
        }
        if depth.is_some_and(|depth| depth != header.depth) {
            return Err(corrupt("ext4: depth of an extent node"));
        }
        if header.depth > 0 && header.entries == 0 {
            return Err(corrupt("ext4: empty index node of an extent tree"));
        }
        Ok(header)
    }
}

/// Checks the root of a tree in an inode.
pub(crate) fn check_root(map: &[u8; MAP_SIZE]) -> Result<()> {
    check(map)
}

/// Checks that the entries of a node are possible, in order, and do not overlap.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    let header = Header::parse(bytes, None)?;
    let mut free = 0;
    for index in 0..header.entries {
        let first = u64::from(key(bytes, index));
        if first < free {
            return Err(corrupt("ext4: entries of an extent node out of order"));
        }
        free = if header.depth == 0 { extent(bytes, index)?.end() } else { first + 1 };
    }
    Ok(())
}

/// Writes a header for a node of `size` bytes.
pub(crate) fn put_header(bytes: &mut [u8], size: usize, entries: usize, depth: u16) {
    let max = capacity(size);
    put16(bytes, 0, MAGIC);
    put16(bytes, 2, entries as u16);
    put16(bytes, 4, max as u16);
    put16(bytes, 6, depth);
    put32(bytes, 8, 0);
}

/// The root of an empty tree.
pub(crate) fn empty_root() -> [u8; MAP_SIZE] {
    let mut map = [0; MAP_SIZE];
    put_header(&mut map, MAP_SIZE, 0, 0);
    map
}

/// The key of entry `index`.
pub(crate) fn key(bytes: &[u8], index: usize) -> u32 {
    le32(bytes, ENTRY + index * ENTRY)
}

/// The last entry whose key is not greater than `block`.
pub(crate) fn search(bytes: &[u8], entries: usize, block: u32) -> Option<usize> {
    let (mut low, mut high) = (0, entries);
    while low < high {
        let middle = (low + high) / 2;
        if key(bytes, middle) <= block {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low.checked_sub(1)
}

/// The child that an index entry leads to.
pub(crate) fn child(bytes: &[u8], index: usize) -> u64 {
    let at = ENTRY + index * ENTRY;
    u64::from(le32(bytes, at + 4)) | u64::from(le16(bytes, at + 8)) << 32
}

/// The extent of a leaf entry.
pub(crate) fn extent(bytes: &[u8], index: usize) -> Result<Extent> {
    decode(&bytes[ENTRY + index * ENTRY..ENTRY + (index + 1) * ENTRY])
}

/// The extent in an entry's bytes.
pub(crate) fn decode(entry: &[u8]) -> Result<Extent> {
    let len = u32::from(le16(entry, 4));
    let (len, state) = if len > MAX_LEN { (len - MAX_LEN, State::Unwritten) } else { (len, State::Written) };
    let start = u64::from(le32(entry, 8)) | u64::from(le16(entry, 6)) << 32;
    let extent = Extent { block: le32(entry, 0), len, start, state };
    if len == 0 || extent.end() > u64::from(u32::MAX) + 1 {
        return Err(corrupt("ext4: impossible extent"));
    }
    Ok(extent)
}

/// The entry of an extent.
pub(crate) fn encode(extent: &Extent) -> RawEntry {
    let len = match extent.state {
        State::Written => extent.len,
        State::Unwritten => extent.len + MAX_LEN,
    };
    let mut entry = [0; ENTRY];
    put32(&mut entry, 0, extent.block);
    put16(&mut entry, 4, len as u16);
    put16(&mut entry, 6, (extent.start >> 32) as u16);
    put32(&mut entry, 8, extent.start as u32);
    entry
}

/// The index entry that leads to a block.
pub(crate) fn encode_index(key: u32, block: u64) -> RawEntry {
    let mut entry = [0; ENTRY];
    put32(&mut entry, 0, key);
    put32(&mut entry, 4, block as u32);
    put16(&mut entry, 8, (block >> 32) as u16);
    entry
}
