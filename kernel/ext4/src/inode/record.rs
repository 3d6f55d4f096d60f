//! The inode's record in the inode table (`struct ext4_inode`): parsed once, checked, and stored back.

use alloc::boxed::Box;

use vfs::{DeviceNumber, Errno, Error, FileType, Result, Timestamp, mode};

use crate::bytes::{le16, le32, put16, put32};
use crate::checksum::crc32c;
use crate::extent;
use crate::features::{Incompat, RoCompat};
use crate::superblock::Geometry;

/// Bits of `i_flags`.
pub(crate) mod flag {
    use vfs::{FileType, InodeFlags};

    /// What programs see of them (`EXT4_FL_USER_VISIBLE`).
    pub(crate) const VISIBLE: u32 = 0x725b_dfff;
    /// What programs change: those that mean something everywhere, top directory, and four that are kept and mean nothing.
    pub(crate) const SETTABLE: u32 = InodeFlags::COMMON.bits() | TOP_DIR | 0x8007;
    /// What Linux lets them set beyond: journalled data, blocks kept past the end, inherited project, folded case.
    pub(crate) const UNSUPPORTED: u32 = 0x4000 | 0x40_0000 | 0x2000_0000 | 0x4000_0000;
    /// The directory is an htree.
    pub(crate) const INDEX: u32 = 0x1000;
    /// `i_blocks` counts filesystem blocks.
    pub(crate) const HUGE_FILE: u32 = 0x4_0000;
    /// `i_block` is the root of an extent tree.
    pub(crate) const EXTENTS: u32 = 0x8_0000;
    /// The directories in it are of different concerns (`chattr +T`).
    pub(crate) const TOP_DIR: u32 = 0x2_0000;
    /// The inode holds the value of an extended attribute.
    pub(crate) const EA_INODE: u32 = 0x20_0000;
    /// Data in the inode itself.
    pub(crate) const INLINE_DATA: u32 = 0x1000_0000;
    /// Encrypted.
    pub(crate) const ENCRYPT: u32 = 0x800;
    /// The access time stays.
    pub(crate) const NOATIME: u32 = InodeFlags::NOATIME.bits();

    /// Those that an inode of this type can have (`ext4_mask_flags`).
    pub(crate) const fn of(kind: FileType) -> u32 {
        match kind {
            FileType::Dir => !0,
            FileType::File => !(InodeFlags::DIRSYNC.bits() | TOP_DIR),
            _ => InodeFlags::NODUMP.bits() | NOATIME,
        }
    }
}

const MODE: usize = 0x0;
const UID: usize = 0x2;
const SIZE_LO: usize = 0x4;
const ATIME: usize = 0x8;
const CTIME: usize = 0xc;
const MTIME: usize = 0x10;
const DTIME: usize = 0x14;
const GID: usize = 0x18;
const LINKS: usize = 0x1a;
const BLOCKS_LO: usize = 0x1c;
const FLAGS: usize = 0x20;
const MAP: usize = 0x28;
const GENERATION: usize = 0x64;
const FILE_ACL_LO: usize = 0x68;
const SIZE_HIGH: usize = 0x6c;
const BLOCKS_HIGH: usize = 0x74;
const FILE_ACL_HIGH: usize = 0x76;
const UID_HIGH: usize = 0x78;
const GID_HIGH: usize = 0x7a;
const CHECKSUM_LO: usize = 0x7c;
const EXTRA_ISIZE: usize = 0x80;
const CHECKSUM_HI: usize = 0x82;
const CTIME_EXTRA: usize = 0x84;
const MTIME_EXTRA: usize = 0x88;
const ATIME_EXTRA: usize = 0x8c;
const BTIME: usize = 0x90;
const BTIME_EXTRA: usize = 0x94;
/// Size of the part that every inode has.
pub(crate) const OLD_SIZE: usize = 128;
/// Bytes of `i_block`.
pub(crate) const MAP_SIZE: usize = 60;

/// What is known of an inode: the fields in use, and the raw record for the rest.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) kind: FileType,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Hard links. A directory with more subdirectories than fit has 1.
    pub(crate) links: u32,
    pub(crate) size: u64,
    /// Space in use, in units of 512 bytes.
    pub(crate) sectors: u64,
    pub(crate) flags: u32,
    pub(crate) generation: u32,
    pub(crate) atime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) btime: Timestamp,
    /// Time of deletion, or the next inode of the orphan list.
    pub(crate) dtime: u32,
    /// `i_block`: extent root, block map, target of a short link, or device number.
    pub(crate) map: [u8; MAP_SIZE],
    /// The block of extended attributes, 0 for none.
    pub(crate) file_acl: u64,
    /// Bytes in use after the first 128; extended attributes begin behind them.
    pub(crate) extra_isize: u16,
    /// The whole record; extended attributes are changed in place here.
    pub(crate) raw: Box<[u8]>,
}

fn corrupt(what: &'static str) -> Error {
    Error::fault(Errno::EUCLEAN, what)
}

/// Joins the 32-bit seconds and the extra word: two bits that extend the seconds, thirty of nanoseconds.
fn load_time(seconds: u32, extra: u32) -> Timestamp {
    let secs = i64::from(seconds as i32) + (i64::from(extra & 3) << 32);
    Timestamp { secs, nanos: (extra >> 2).min(999_999_999) }
}

/// The two words of a time, which is moved into what they can hold: 1901 to 2446.
fn store_time(time: Timestamp) -> (u32, u32) {
    let secs = time.secs.clamp(i64::from(i32::MIN), i64::from(i32::MAX) + (3 << 32));
    let epoch = ((secs - i64::from(secs as i32)) >> 32) as u32 & 3;
    (secs as u32, epoch | time.nanos << 2)
}

/// The checksum that belongs into a record.
fn checksum(raw: &[u8], geometry: &Geometry, ino: u32) -> u32 {
    let mut sum = geometry.inode_seed(ino, le32(raw, GENERATION));
    sum = crc32c(crc32c(sum, &raw[..CHECKSUM_LO]), &[0, 0]);
    if raw.len() <= OLD_SIZE {
        return crc32c(sum, &raw[CHECKSUM_LO + 2..OLD_SIZE]) & 0xffff;
    }
    sum = crc32c(sum, &raw[CHECKSUM_LO + 2..CHECKSUM_HI]);
    if has_high_checksum(raw) {
        crc32c(crc32c(sum, &[0, 0]), &raw[CHECKSUM_HI + 2..])
    } else {
        crc32c(sum, &raw[CHECKSUM_HI..]) & 0xffff
    }
}

fn has_high_checksum(raw: &[u8]) -> bool {
    raw.len() > OLD_SIZE && le16(raw, EXTRA_ISIZE) >= 4
}

impl Record {
    /// As a clone of `other` would be, in the memory of this one.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let mut raw = core::mem::take(&mut self.raw);
        raw.clone_from(&other.raw);
        *self = Self { raw, ..*other };
    }

    /// Parses and checks the record of inode `ino`.
    pub(crate) fn parse(raw: &[u8], geometry: &Geometry, ino: u32) -> Result<Self> {
        let large = raw.len() > OLD_SIZE;
        if geometry.features.has_checksums() {
            let high = if has_high_checksum(raw) { u32::from(le16(raw, CHECKSUM_HI)) << 16 } else { 0 };
            if checksum(raw, geometry, ino) != u32::from(le16(raw, CHECKSUM_LO)) | high {
                return Err(corrupt("ext4: wrong checksum of an inode"));
            }
        }
        let kind = FileType::from_mode(u32::from(le16(raw, MODE))).ok_or_else(|| corrupt("ext4: inode of no type"))?;
        let extra_isize = if large { le16(raw, EXTRA_ISIZE) } else { 0 };
        if OLD_SIZE + usize::from(extra_isize) > raw.len() || !extra_isize.is_multiple_of(4) {
            return Err(corrupt("ext4: size of an inode's extra fields"));
        }
        let flags = le32(raw, FLAGS);
        if flags & (flag::INLINE_DATA | flag::ENCRYPT | flag::EA_INODE) != 0 {
            return Err(corrupt("ext4: inode with flags of absent features"));
        }
        // Extra words that the record does not reach count as zero.
        let extra = |at: usize| if at + 4 <= OLD_SIZE + usize::from(extra_isize) { le32(raw, at) } else { 0 };
        let mut size = u64::from(le32(raw, SIZE_LO));
        if matches!(kind, FileType::File | FileType::Dir | FileType::Symlink) {
            size |= u64::from(le32(raw, SIZE_HIGH)) << 32;
        }
        if size > geometry.max_file_size() {
            return Err(corrupt("ext4: impossible size of a file"));
        }
        let mut blocks = u64::from(le32(raw, BLOCKS_LO));
        if geometry.features.ro_compat.contains(RoCompat::HUGE_FILE) {
            blocks |= u64::from(le16(raw, BLOCKS_HIGH)) << 32;
        }
        let sectors = if flags & flag::HUGE_FILE != 0 { blocks << (geometry.block_bits - 9) } else { blocks };
        let mut file_acl = u64::from(le32(raw, FILE_ACL_LO));
        if geometry.features.incompat.contains(Incompat::BIT64) {
            file_acl |= u64::from(le16(raw, FILE_ACL_HIGH)) << 32;
        }
        if file_acl != 0 && !geometry.contains(file_acl, 1) {
            return Err(corrupt("ext4: place of an attribute block"));
        }
        let wide = |low, high| u32::from(le16(raw, low)) | u32::from(le16(raw, high)) << 16;
        let record = Self {
            kind,
            mode: le16(raw, MODE) & mode::PERMISSIONS,
            uid: wide(UID, UID_HIGH),
            gid: wide(GID, GID_HIGH),
            links: u32::from(le16(raw, LINKS)),
            size,
            sectors,
            flags,
            generation: le32(raw, GENERATION),
            atime: load_time(le32(raw, ATIME), extra(ATIME_EXTRA)),
            ctime: load_time(le32(raw, CTIME), extra(CTIME_EXTRA)),
            mtime: load_time(le32(raw, MTIME), extra(MTIME_EXTRA)),
            btime: load_time(extra(BTIME), extra(BTIME_EXTRA)),
            dtime: le32(raw, DTIME),
            map: core::array::from_fn(|i| raw[MAP + i]),
            file_acl,
            extra_isize,
            raw: raw.into(),
        };
        if record.flags & flag::EXTENTS != 0 && record.owns_blocks(geometry) {
            extent::check_root(&record.map)?;
        }
        if kind == FileType::Dir && !size.is_multiple_of(geometry.block_size as u64) {
            return Err(corrupt("ext4: size of a directory"));
        }
        if kind == FileType::Symlink && (size == 0 || size >= geometry.block_size as u64) && record.links != 0 {
            return Err(corrupt("ext4: size of a symbolic link"));
        }
        Ok(record)
    }

    /// A record of all zeros but for its type and the fields that follow from the geometry.
    pub(crate) fn new(kind: FileType, geometry: &Geometry, generation: u32, now: Timestamp) -> Self {
        Self {
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            links: 0,
            size: 0,
            sectors: 0,
            flags: 0,
            generation,
            atime: now,
            ctime: now,
            mtime: now,
            btime: now,
            dtime: 0,
            map: [0; MAP_SIZE],
            file_acl: 0,
            extra_isize: if geometry.inode_size > OLD_SIZE { geometry.want_extra_isize } else { 0 },
            raw: alloc::vec![0; geometry.inode_size].into_boxed_slice(),
        }
    }

    /// Stores the record with its checksum. `links` is what the medium shall say.
    pub(crate) fn store(&mut self, slot: &mut [u8], geometry: &Geometry, ino: u32, links: u32) {
        let raw = &mut self.raw;
        put16(raw, MODE, (self.kind.mode_bits() as u16) | self.mode);
        put16(raw, UID, self.uid as u16);
        put16(raw, UID_HIGH, (self.uid >> 16) as u16);
        put16(raw, GID, self.gid as u16);
        put16(raw, GID_HIGH, (self.gid >> 16) as u16);
        put16(raw, LINKS, links as u16);
        put32(raw, SIZE_LO, self.size as u32);
        if matches!(self.kind, FileType::File | FileType::Dir | FileType::Symlink) {
            put32(raw, SIZE_HIGH, (self.size >> 32) as u32);
        }
        let huge = geometry.features.ro_compat.contains(RoCompat::HUGE_FILE);
        let mut blocks = self.sectors;
        self.flags &= !flag::HUGE_FILE;
        if huge && blocks >= 1 << 48 {
            self.flags |= flag::HUGE_FILE;
            blocks >>= geometry.block_bits - 9;
        }
        put32(raw, BLOCKS_LO, blocks as u32);
        if huge {
            put16(raw, BLOCKS_HIGH, (blocks >> 32) as u16);
        }
        put32(raw, FLAGS, self.flags);
        put32(raw, GENERATION, self.generation);
        put32(raw, DTIME, self.dtime);
        crate::bytes::put(raw, MAP, &self.map);
        put32(raw, FILE_ACL_LO, self.file_acl as u32);
        if geometry.features.incompat.contains(Incompat::BIT64) {
            put16(raw, FILE_ACL_HIGH, (self.file_acl >> 32) as u16);
        }
        let end = OLD_SIZE + usize::from(self.extra_isize);
        let times = [
            (ATIME, ATIME_EXTRA, self.atime),
            (CTIME, CTIME_EXTRA, self.ctime),
            (MTIME, MTIME_EXTRA, self.mtime),
            (BTIME, BTIME_EXTRA, self.btime),
        ];
        for (at, extra_at, time) in times {
            let (seconds, extra) = store_time(time);
            if at < OLD_SIZE || at + 4 <= end {
                put32(raw, at, seconds);
            }
            if extra_at + 4 <= end {
                put32(raw, extra_at, extra);
            }
        }
        if raw.len() > OLD_SIZE {
            put16(raw, EXTRA_ISIZE, self.extra_isize);
        }
        if geometry.features.has_checksums() {
            let sum = checksum(raw, geometry, ino);
            put16(raw, CHECKSUM_LO, sum as u16);
            if has_high_checksum(raw) {
                put16(raw, CHECKSUM_HI, (sum >> 16) as u16);
            }
        }
        slot.copy_from_slice(raw);
    }

    /// Whether `i_block` maps blocks: devices, FIFOs and sockets own none, and short links keep their target there.
    pub(crate) fn owns_blocks(&self, geometry: &Geometry) -> bool {
        match self.kind {
            FileType::File | FileType::Dir => true,
            FileType::Symlink => !self.is_fast_symlink(geometry),
            _ => false,
        }
    }

    /// Whether the link's target is in the inode: it has no blocks but that of its attributes.
    pub(crate) fn is_fast_symlink(&self, geometry: &Geometry) -> bool {
        let attributes = if self.file_acl != 0 { geometry.block_size as u64 / 512 } else { 0 };
        self.kind == FileType::Symlink && self.sectors == attributes && self.size < MAP_SIZE as u64
    }

    pub(crate) fn uses_extents(&self) -> bool {
        self.flags & flag::EXTENTS != 0
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.flags & flag::INDEX != 0
    }

    /// Whether the record has a place for nanoseconds, and so for a birth time.
    pub(crate) fn has_btime(&self) -> bool {
        OLD_SIZE + usize::from(self.extra_isize) >= BTIME_EXTRA + 4
    }

    /// The number of a device node: the first word in the old encoding, else the second in the new one.
    pub(crate) fn device(&self) -> DeviceNumber {
        let old = le32(&self.map, 0);
        if old != 0 {
            return DeviceNumber::new(old >> 8 & 0xff, old & 0xff);
        }
        let new = le32(&self.map, 4);
        DeviceNumber::new(new >> 8 & 0xfff, (new & 0xff) | (new >> 12 & 0xf_ff00))
    }

    pub(crate) fn set_device(&mut self, number: DeviceNumber) {
        let DeviceNumber { major, minor } = number;
        if major < 256 && minor < 256 {
            put32(&mut self.map, 0, major << 8 | minor);
            put32(&mut self.map, 4, 0);
        } else {
            put32(&mut self.map, 0, 0);
            put32(&mut self.map, 4, (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_from_1901_to_2446() {
        for secs in [i64::from(i32::MIN), -1, 0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x3_7fff_ffff]
        {
            let time = Timestamp { secs, nanos: 123_456_789 };
            let (seconds, extra) = store_time(time);
            assert_eq!(load_time(seconds, extra), time);
        }
        let (seconds, extra) = store_time(Timestamp::from_secs(i64::MAX));
        assert_eq!(load_time(seconds, extra).secs, 0x3_7fff_ffff);
    }
}
