//! A primary superblock whose checksum is wrong: a power cut between its two sectors, where another system wrote it (our own
//! writes [cannot be torn](crate::superblock::seal)).
//!
//! Each sector is whole, of one write or of the one before. A copy in another group, checked, bears witness: what never changes
//! while mounted must be the same in both, else the disk is damaged in another way and left alone. What does change is taken
//! from the primary, as it is newer than any copy, and the journal is replayed over it.

use block::{BlockDevice, SECTOR_SIZE};

use crate::bytes::{le16, le32, put32};
use crate::features::{Compat, Incompat, RoCompat};
use crate::superblock::{self, Geometry, SUPERBLOCK_SIZE, field};

/// Copies that are asked.
const COPIES: usize = 8;
/// Fields that never change while mounted, from and to: the geometry, identity and place of everything.
const CONSTANT: [(usize, usize); 15] = [
    (field::INODES_COUNT, field::R_BLOCKS_COUNT_LO),
    (field::FIRST_DATA_BLOCK, field::MTIME),
    (field::MAGIC, field::MAGIC + 2),
    (field::REV_LEVEL, field::REV_LEVEL + 4),
    (field::FIRST_INO, field::BLOCK_GROUP_NR),
    (field::UUID, field::VOLUME_NAME),
    (field::RESERVED_GDT_BLOCKS, field::RESERVED_GDT_BLOCKS + 2),
    (field::JOURNAL_INUM, field::JOURNAL_INUM + 4),
    (field::HASH_SEED, field::DEF_HASH_VERSION + 1),
    (field::DESC_SIZE, field::DESC_SIZE + 2),
    (field::FIRST_META_BG, field::FIRST_META_BG + 4),
    (field::BLOCKS_COUNT_HI, field::R_BLOCKS_COUNT_HI),
    (field::BACKUP_BGS, field::BACKUP_BGS + 8),
    (field::CHECKSUM_SEED, field::CHECKSUM_SEED + 4),
    (field::ORPHAN_FILE_INUM, field::ORPHAN_FILE_INUM + 4),
];

/// The superblock that `torn`, whose checksum is wrong, stands for, with the mark that asks for a replay; `None` if no copy bears
/// it out.
pub(crate) fn mended(device: &dyn BlockDevice, torn: &[u8; SUPERBLOCK_SIZE]) -> Option<[u8; SUPERBLOCK_SIZE]> {
    let mut raw = *torn;
    let incompat = le32(&raw, field::FEATURE_INCOMPAT);
    if le32(&raw, field::FEATURE_COMPAT) & Compat::HAS_JOURNAL.bits() != 0 {
        put32(&mut raw, field::FEATURE_INCOMPAT, incompat | Incompat::RECOVER.bits());
    }
    superblock::seal(&mut raw);
    let geometry = Geometry::parse(&raw).ok()?;
    let copies = (1..geometry.groups).filter(|&group| geometry.has_super(group)).take(COPIES);
    let agrees = |group: u32| {
        let mut copy = [0; SUPERBLOCK_SIZE];
        let sector = geometry.group_start(group).checked_mul((geometry.block_size / SECTOR_SIZE) as u64)?;
        device.read(sector, &mut copy).ok()?;
        Geometry::parse(&copy).ok()?;
        let own = le16(&copy, field::BLOCK_GROUP_NR) == group as u16;
        (own && is_same(&raw, &copy)).then_some(())
    };
    copies.map(agrees).any(|witness| witness.is_some()).then_some(raw)
}

/// Whether two superblocks are of one filesystem, as it was made.
fn is_same(one: &[u8; SUPERBLOCK_SIZE], other: &[u8; SUPERBLOCK_SIZE]) -> bool {
    let differ = |at: usize, but: u32| (le32(one, at) ^ le32(other, at)) & !but != 0;
    // What Linux sets in the primary alone, when it first makes such an attribute, file or directory, or mounts.
    let flexible = (RoCompat::LARGE_FILE | RoCompat::DIR_NLINK | RoCompat::ORPHAN_PRESENT).bits();
    CONSTANT.iter().all(|&(from, to)| one[from..to] == other[from..to])
        && one[field::CHECKSUM_TYPE] == other[field::CHECKSUM_TYPE]
        && !differ(field::FEATURE_COMPAT, Compat::EXT_ATTR.bits())
        && !differ(field::FEATURE_INCOMPAT, Incompat::RECOVER.bits())
        && !differ(field::FEATURE_RO_COMPAT, flexible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_leaves_the_second_sector_as_it_is() {
        let mut raw: [u8; SUPERBLOCK_SIZE] = core::array::from_fn(|at| (at * 7 / 4) as u8);
        put32(&mut raw, field::FEATURE_RO_COMPAT, RoCompat::METADATA_CSUM.bits());
        let before = raw;
        for change in 0..50 {
            put32(&mut raw, field::WTIME, change * 0x0123_4567);
            superblock::seal(&mut raw);
            assert_eq!(superblock::checksum(&raw), le32(&raw, field::CHECKSUM));
            assert_eq!(raw[SECTOR_SIZE..], before[SECTOR_SIZE..]);
        }
    }
}
