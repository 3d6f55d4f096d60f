//! Block groups: their descriptors, and which blocks of a group are metadata.

use alloc::boxed::Box;
use alloc::vec::Vec;

use base::sort;

use crate::bytes::{le16, le32, put16, put32};
use crate::checksum::{crc16, crc32c};
use crate::features::RoCompat;
use crate::superblock::Geometry;

/// `bg_flags`: the inode bitmap and table were never written.
pub(crate) const INODE_UNINIT: u16 = 1;
/// `bg_flags`: the block bitmap was never written.
pub(crate) const BLOCK_UNINIT: u16 = 2;

const CHECKSUM: usize = 0x1e;

/// What a group's descriptor says (`struct ext4_group_desc`).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Descriptor {
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) used_dirs: u32,
    pub(crate) itable_unused: u32,
    pub(crate) flags: u16,
    pub(crate) block_bitmap_checksum: u32,
    pub(crate) inode_bitmap_checksum: u32,
}

impl Descriptor {
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let wide = raw.len() >= 64;
        let high16 = |at| if wide { u32::from(le16(raw, at)) << 16 } else { 0 };
        let high32 = |at| if wide { u64::from(le32(raw, at)) << 32 } else { 0 };
        Self {
            block_bitmap: u64::from(le32(raw, 0x0)) | high32(0x20),
            inode_bitmap: u64::from(le32(raw, 0x4)) | high32(0x24),
            inode_table: u64::from(le32(raw, 0x8)) | high32(0x28),
            free_blocks: u32::from(le16(raw, 0xc)) | high16(0x2c),
            free_inodes: u32::from(le16(raw, 0xe)) | high16(0x2e),
            used_dirs: u32::from(le16(raw, 0x10)) | high16(0x30),
            itable_unused: u32::from(le16(raw, 0x1c)) | high16(0x32),
            flags: le16(raw, 0x12),
            block_bitmap_checksum: u32::from(le16(raw, 0x18)) | high16(0x38),
            inode_bitmap_checksum: u32::from(le16(raw, 0x1a)) | high16(0x3a),
        }
    }

    /// Puts everything into `raw`, checksum included; fields that are not known here stay.
    pub(crate) fn store(&self, raw: &mut [u8], geometry: &Geometry, group: u32) {
        put32(raw, 0x0, self.block_bitmap as u32);
        put32(raw, 0x4, self.inode_bitmap as u32);
        put32(raw, 0x8, self.inode_table as u32);
        put16(raw, 0xc, self.free_blocks as u16);
        put16(raw, 0xe, self.free_inodes as u16);
        put16(raw, 0x10, self.used_dirs as u16);
        put16(raw, 0x12, self.flags);
        put16(raw, 0x18, self.block_bitmap_checksum as u16);
        put16(raw, 0x1a, self.inode_bitmap_checksum as u16);
        put16(raw, 0x1c, self.itable_unused as u16);
        if raw.len() >= 64 {
            put32(raw, 0x20, (self.block_bitmap >> 32) as u32);
            put32(raw, 0x24, (self.inode_bitmap >> 32) as u32);
            put32(raw, 0x28, (self.inode_table >> 32) as u32);
            put16(raw, 0x2c, (self.free_blocks >> 16) as u16);
            put16(raw, 0x2e, (self.free_inodes >> 16) as u16);
            put16(raw, 0x30, (self.used_dirs >> 16) as u16);
            put16(raw, 0x32, (self.itable_unused >> 16) as u16);
            put16(raw, 0x38, (self.block_bitmap_checksum >> 16) as u16);
            put16(raw, 0x3a, (self.inode_bitmap_checksum >> 16) as u16);
        }
        let sum = checksum(raw, geometry, group);
        put16(raw, CHECKSUM, sum);
    }
}

/// Whether groups have checksums, so that uninitialised ones may exist.
pub(crate) fn has_checksums(geometry: &Geometry) -> bool {
    geometry.features.ro_compat.intersects(RoCompat::METADATA_CSUM | RoCompat::GDT_CSUM)
}

/// The checksum that belongs into a descriptor, 0 if there are none.
fn checksum(raw: &[u8], geometry: &Geometry, group: u32) -> u16 {
    let number = group.to_le_bytes();
    let (before, after) = (&raw[..CHECKSUM], &raw[CHECKSUM + 2..]);
    if geometry.features.has_checksums() {
        let sum = crc32c(crc32c(geometry.checksum_seed, &number), before);
        crc32c(crc32c(sum, &[0, 0]), after) as u16
    } else if geometry.features.ro_compat.contains(RoCompat::GDT_CSUM) {
        crc16(crc16(crc16(crc16(!0, &geometry.uuid), &number), before), after)
    } else {
        0
    }
}

/// Whether a descriptor's checksum is right, or there is none.
pub(crate) fn verify(raw: &[u8], geometry: &Geometry, group: u32) -> bool {
    !has_checksums(geometry) || checksum(raw, geometry, group) == le16(raw, CHECKSUM)
}

/// The checksum of a bitmap of `bits`, of which only the low half is kept in small descriptors.
pub(crate) fn bitmap_checksum(geometry: &Geometry, bitmap: &[u8], bits: u32) -> u32 {
    let sum = crc32c(geometry.checksum_seed, &bitmap[..(bits as usize / 8).min(bitmap.len())]);
    if geometry.desc_size >= 64 { sum } else { sum & 0xffff }
}

/// A group in memory.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) desc: Descriptor,
    /// Blocks that are free on disk and must not be given out: freed by the transaction that runs, or reserved for a
    /// file that grows. One bit a block; `None` while there are none.
    pub(crate) unavailable: Option<Box<[u64]>>,
    /// Where the next search for a new file's blocks begins, as an index in the group.
    pub(crate) hint: u32,
    /// No run of free blocks in the group is longer, as far as is known.
    pub(crate) longest_run: u32,
    /// The descriptor differs from its block.
    pub(crate) dirty: bool,
}

/// Ranges of blocks that hold metadata of fixed place: no file may own one.
#[derive(Debug, Default)]
pub(crate) struct SystemZones {
    ranges: Vec<(u64, u64)>,
}

impl SystemZones {
    pub(crate) fn new(geometry: &Geometry, groups: &[Group]) -> Self {
        let mut ranges = Vec::new();
        for (number, group) in groups.iter().enumerate() {
            let number = number as u32;
            let start = geometry.group_start(number);
            let (descs, reserved) = geometry.desc_blocks_in(number);
            let base = u64::from(geometry.has_super(number)) + u64::from(descs) + u64::from(reserved);
            if base != 0 {
                ranges.push((start, start + base));
            }
            ranges.push((group.desc.block_bitmap, group.desc.block_bitmap + 1));
            ranges.push((group.desc.inode_bitmap, group.desc.inode_bitmap + 1));
            ranges.push((group.desc.inode_table, group.desc.inode_table + u64::from(geometry.table_blocks)));
        }
        sort::by_key(&mut ranges, |&range| range);
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self { ranges: merged }
    }

    /// The parts of `count` blocks from `start` on that are metadata: first block and count.
    pub(crate) fn within(&self, start: u64, count: u64) -> impl Iterator<Item = (u64, u64)> {
        let end = start + count;
        let first = self.ranges.partition_point(|&(_, zone_end)| zone_end <= start);
        self.ranges[first..].iter().take_while(move |&&(from, _)| from < end).map(move |&(from, to)| {
            let from = from.max(start);
            (from, to.min(end) - from)
        })
    }

    /// Whether any of `count` blocks from `start` on is metadata.
    pub(crate) fn overlap(&self, start: u64, count: u64) -> bool {
        let after = self.ranges.partition_point(|&(_, end)| end <= start);
        self.ranges.get(after).is_some_and(|&(first, _)| first < start.saturating_add(count))
    }
}
