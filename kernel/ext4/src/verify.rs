//! Checksums of metadata blocks: where each kind keeps its own, and how it is computed.

use crate::bytes::{le16, le32, put8, put16, put32};
use crate::checksum::crc32c;
use crate::superblock::Geometry;
use crate::transaction::Seal;

/// Size of the tail of a block of directory entries: an entry without inode, with the checksum in its last four bytes.
pub(crate) const DIR_TAIL: usize = 12;
const DIR_TAIL_TYPE: u8 = 0xde;
/// Offset of the checksum in the header of an attribute block.
const ATTRIBUTES_CHECKSUM: usize = 0x10;

/// The place of a block's checksum and its value. `None` if the block's own fields make no sense.
fn compute(geometry: &Geometry, bytes: &[u8], block: u64, seal: Seal) -> Option<(usize, u32)> {
    let size = bytes.len();
    Some(match seal {
        Seal::Directory(seed) => (size - 4, crc32c(seed, &bytes[..size - DIR_TAIL])),
        Seal::IndexRoot(seed) => index(bytes, seed, 32)?,
        Seal::IndexNode(seed) => index(bytes, seed, 8)?,
        Seal::Extents(seed) => {
            let end = 12 + 12 * usize::from(le16(bytes, 4));
            if end + 4 > size {
                return None;
            }
            (end, crc32c(seed, &bytes[..end]))
        }
        Seal::Attributes => {
            let sum = crc32c(geometry.checksum_seed, &block.to_le_bytes());
            let sum = crc32c(crc32c(sum, &bytes[..ATTRIBUTES_CHECKSUM]), &[0; 4]);
            (ATTRIBUTES_CHECKSUM, crc32c(sum, &bytes[ATTRIBUTES_CHECKSUM + 4..]))
        }
        Seal::Orphans(seed) => (size - 4, crc32c(crc32c(seed, &block.to_le_bytes()), &bytes[..size - 8])),
        Seal::None | Seal::Superblock | Seal::BlockBitmap(_) | Seal::InodeBitmap(_) => return None,
    })
}

/// An htree block's tail lies behind the last entry that there is place for.
fn index(bytes: &[u8], seed: u32, entries: usize) -> Option<(usize, u32)> {
    let limit = usize::from(le16(bytes, entries));
    let count = usize::from(le16(bytes, entries + 2));
    let tail = entries + limit * 8;
    if count > limit || tail + 8 > bytes.len() {
        return None;
    }
    let sum = crc32c(seed, &bytes[..entries + count * 8]);
    Some((tail + 4, crc32c(crc32c(sum, &bytes[tail..tail + 4]), &[0; 4])))
}

/// Whether a block's checksum is right. `true` for kinds that have none.
pub(crate) fn verify(geometry: &Geometry, bytes: &[u8], block: u64, seal: Seal) -> bool {
    if !geometry.features.has_checksums() || seal == Seal::None {
        return true;
    }
    if let Seal::Directory(_) = seal
        && !has_tail(bytes)
    {
        return false;
    }
    compute(geometry, bytes, block, seal).is_some_and(|(at, sum)| le32(bytes, at) == sum)
}

/// Puts the checksum into a block.
pub(crate) fn seal(geometry: &Geometry, bytes: &mut [u8], block: u64, seal: Seal) {
    if let Some((at, sum)) = compute(geometry, bytes, block, seal) {
        put32(bytes, at, sum);
    }
}

/// Whether a block of entries ends with a tail.
fn has_tail(bytes: &[u8]) -> bool {
    let at = bytes.len() - DIR_TAIL;
    le32(bytes, at) == 0
        && le16(bytes, at + 4) == DIR_TAIL as u16
        && bytes[at + 6] == 0
        && bytes[at + 7] == DIR_TAIL_TYPE
}

/// Writes an empty tail at the end of a block of entries.
pub(crate) fn put_dir_tail(bytes: &mut [u8]) {
    let at = bytes.len() - DIR_TAIL;
    bytes[at..].fill(0);
    put16(bytes, at + 4, DIR_TAIL as u16);
    put8(bytes, at + 7, DIR_TAIL_TYPE);
}
