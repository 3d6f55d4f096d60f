//! The superblock: its fields, and the geometry that follows from them, checked once at mount.

use alloc::string::String;

use vfs::Timestamp;

use crate::bytes::{le16, le32, le64, put32};
use crate::checksum::{crc32c, crc32c_before};
use crate::error::MountError;
use crate::features::{Compat, Features, Incompat, RoCompat};
use crate::hash::{CharSign, HashVersion, Hasher};

/// Where the primary superblock begins, in bytes.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Its size in bytes.
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;
/// `s_magic`.
pub(crate) const MAGIC: u16 = 0xef53;

/// Offsets of the fields that are used (`struct ext4_super_block`).
pub(crate) mod field {
    pub(crate) const INODES_COUNT: usize = 0x0;
    pub(crate) const BLOCKS_COUNT_LO: usize = 0x4;
    pub(crate) const R_BLOCKS_COUNT_LO: usize = 0x8;
    pub(crate) const FREE_BLOCKS_COUNT_LO: usize = 0xc;
    pub(crate) const FREE_INODES_COUNT: usize = 0x10;
    pub(crate) const FIRST_DATA_BLOCK: usize = 0x14;
    pub(crate) const LOG_BLOCK_SIZE: usize = 0x18;
    pub(crate) const LOG_CLUSTER_SIZE: usize = 0x1c;
    pub(crate) const BLOCKS_PER_GROUP: usize = 0x20;
    pub(crate) const INODES_PER_GROUP: usize = 0x28;
    pub(crate) const MTIME: usize = 0x2c;
    pub(crate) const WTIME: usize = 0x30;
    pub(crate) const MNT_COUNT: usize = 0x34;
    pub(crate) const MAGIC: usize = 0x38;
    pub(crate) const STATE: usize = 0x3a;
    pub(crate) const REV_LEVEL: usize = 0x4c;
    pub(crate) const FIRST_INO: usize = 0x54;
    pub(crate) const INODE_SIZE: usize = 0x58;
    pub(crate) const FEATURE_COMPAT: usize = 0x5c;
    pub(crate) const FEATURE_INCOMPAT: usize = 0x60;
    pub(crate) const FEATURE_RO_COMPAT: usize = 0x64;
    pub(crate) const BLOCK_GROUP_NR: usize = 0x5a;
    pub(crate) const UUID: usize = 0x68;
    pub(crate) const VOLUME_NAME: usize = 0x78;
    /// `s_algorithm_usage_bitmap`, of compression, which never came: nobody reads it.
    pub(crate) const SPARE: usize = 0xc8;
    pub(crate) const RESERVED_GDT_BLOCKS: usize = 0xce;
    pub(crate) const JOURNAL_INUM: usize = 0xe0;
    pub(crate) const LAST_ORPHAN: usize = 0xe8;
    pub(crate) const HASH_SEED: usize = 0xec;
    pub(crate) const DEF_HASH_VERSION: usize = 0xfc;
    pub(crate) const DESC_SIZE: usize = 0xfe;
    pub(crate) const FIRST_META_BG: usize = 0x104;
    pub(crate) const BLOCKS_COUNT_HI: usize = 0x150;
    pub(crate) const R_BLOCKS_COUNT_HI: usize = 0x154;
    pub(crate) const FREE_BLOCKS_COUNT_HI: usize = 0x158;
    pub(crate) const WANT_EXTRA_ISIZE: usize = 0x15e;
    pub(crate) const FLAGS: usize = 0x160;
    pub(crate) const CHECKSUM_TYPE: usize = 0x175;
    pub(crate) const KBYTES_WRITTEN: usize = 0x178;
    pub(crate) const ERROR_COUNT: usize = 0x194;
    pub(crate) const FIRST_ERROR_TIME: usize = 0x198;
    pub(crate) const FIRST_ERROR_BLOCK: usize = 0x1a0;
    pub(crate) const FIRST_ERROR_FUNC: usize = 0x1a8;
    pub(crate) const LAST_ERROR_TIME: usize = 0x1cc;
    pub(crate) const LAST_ERROR_BLOCK: usize = 0x1d8;
    pub(crate) const LAST_ERROR_FUNC: usize = 0x1e0;
    /// Behind the fields that tell of errors, which begin with `ERROR_COUNT`.
    pub(crate) const ERROR_END: usize = 0x200;
    pub(crate) const OVERHEAD_CLUSTERS: usize = 0x248;
    pub(crate) const BACKUP_BGS: usize = 0x24c;
    pub(crate) const CHECKSUM_SEED: usize = 0x270;
    pub(crate) const WTIME_HI: usize = 0x274;
    pub(crate) const MTIME_HI: usize = 0x275;
    pub(crate) const FIRST_ERROR_TIME_HI: usize = 0x278;
    pub(crate) const LAST_ERROR_TIME_HI: usize = 0x279;
    pub(crate) const FIRST_ERROR_CODE: usize = 0x27a;
    pub(crate) const LAST_ERROR_CODE: usize = 0x27b;
    pub(crate) const ORPHAN_FILE_INUM: usize = 0x280;
    pub(crate) const CHECKSUM: usize = 0x3fc;
}

/// `s_state`: was unmounted cleanly.
pub(crate) const STATE_VALID: u16 = 1;
/// `s_state`: errors were found.
pub(crate) const STATE_ERROR: u16 = 2;
/// `s_flags`: names hash as unsigned characters.
const FLAGS_UNSIGNED_HASH: u32 = 2;

/// What the superblock says and does not change while mounted.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub(crate) block_size: usize,
    pub(crate) block_bits: u32,
    /// What free counts are to be shifted by.
    pub(crate) cluster_bits: u32,
    /// Blocks that are no file's, where the superblock says so and nobody else can.
    pub(crate) overhead: Option<u64>,
    pub(crate) blocks: u64,
    pub(crate) reserved_blocks: u64,
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inodes: u32,
    pub(crate) inode_size: usize,
    pub(crate) first_inode: u32,
    pub(crate) want_extra_isize: u16,
    /// Blocks of a group's inode table.
    pub(crate) table_blocks: u32,
    pub(crate) groups: u32,
    pub(crate) desc_size: usize,
    pub(crate) descs_per_block: u32,
    /// Blocks of the group descriptor table.
    pub(crate) desc_blocks: u32,
    pub(crate) reserved_desc_blocks: u32,
    pub(crate) first_meta_group: u32,
    pub(crate) backup_groups: [u32; 2],
    pub(crate) features: Features,
    pub(crate) checksum_seed: u32,
    pub(crate) uuid: [u8; 16],
    pub(crate) hasher: Hasher,
    pub(crate) journal_inode: u32,
    pub(crate) orphan_file: u32,
}

impl Geometry {
    /// Checks a superblock's `raw` bytes and derives the geometry.
    pub(crate) fn parse(raw: &[u8; SUPERBLOCK_SIZE]) -> Result<Self, MountError> {
        let corrupt = MountError::Corrupt;
        if le16(raw, field::MAGIC) != MAGIC {
            return Err(MountError::NotExt4);
        }
        let dynamic = le32(raw, field::REV_LEVEL) >= 1;
        let feature = |at| if dynamic { le32(raw, at) } else { 0 };
        let features = Features {
            compat: Compat::from_bits_retain(feature(field::FEATURE_COMPAT)),
            incompat: Incompat::from_bits_retain(feature(field::FEATURE_INCOMPAT)),
            ro_compat: RoCompat::from_bits_retain(feature(field::FEATURE_RO_COMPAT)),
        };
        if features.has_checksums() {
            if raw[field::CHECKSUM_TYPE] != 1 {
                return Err(corrupt("unknown type of checksums"));
            }
            if checksum(raw) != le32(raw, field::CHECKSUM) {
                return Err(MountError::Checksum("the superblock"));
            }
        }
        if let Some(names) = features.refused() {
            return Err(MountError::Features(names));
        }
        let log = le32(raw, field::LOG_BLOCK_SIZE);
        if log > 2 {
            return Err(if log <= 6 { MountError::BlockSize(1024 << log) } else { corrupt("block size") });
        }
        let block_size = 1024_usize << log;
        let bit64 = features.incompat.contains(Incompat::BIT64);
        let wide = |low, high| u64::from(le32(raw, low)) | if bit64 { u64::from(le32(raw, high)) << 32 } else { 0 };
        let blocks = wide(field::BLOCKS_COUNT_LO, field::BLOCKS_COUNT_HI);
        let reserved_blocks = wide(field::R_BLOCKS_COUNT_LO, field::R_BLOCKS_COUNT_HI);
        let first_data_block = u64::from(le32(raw, field::FIRST_DATA_BLOCK));
        // With clusters, bitmaps and free counts are of those; such a medium is only read.
        let clusters = features.ro_compat.contains(RoCompat::BIGALLOC);
        let cluster_bits = le32(raw, field::LOG_CLUSTER_SIZE).checked_sub(log).filter(|bits| *bits <= 16);
        let cluster_bits = cluster_bits.filter(|&bits| clusters || bits == 0).ok_or(corrupt("cluster size"))?;
        if first_data_block != u64::from(block_size == 1024 && !clusters) {
            return Err(corrupt("first data block"));
        }
        let blocks_per_group = le32(raw, field::BLOCKS_PER_GROUP);
        let most = (block_size as u32 * 8) << cluster_bits;
        if !(256..=most).contains(&blocks_per_group) || !blocks_per_group.is_multiple_of(8) {
            return Err(corrupt("blocks per group"));
        }
        let inode_size = if dynamic { usize::from(le16(raw, field::INODE_SIZE)) } else { 128 };
        if !inode_size.is_power_of_two() || !(128..=block_size).contains(&inode_size) {
            return Err(corrupt("inode size"));
        }
        let inodes_per_block = (block_size / inode_size) as u32;
        let inodes_per_group = le32(raw, field::INODES_PER_GROUP);
        if !(inodes_per_block..=block_size as u32 * 8).contains(&inodes_per_group)
            || !inodes_per_group.is_multiple_of(8)
        {
            return Err(corrupt("inodes per group"));
        }
        let desc_size = if bit64 { usize::from(le16(raw, field::DESC_SIZE)) } else { 32 };
        if !desc_size.is_power_of_two() || !(if bit64 { 64 } else { 32 }..=1024).contains(&desc_size) {
            return Err(corrupt("size of group descriptors"));
        }
        if blocks <= first_data_block {
            return Err(corrupt("number of blocks"));
        }
        let groups = (blocks - first_data_block).div_ceil(u64::from(blocks_per_group));
        let groups = u32::try_from(groups).map_err(|_| corrupt("number of groups"))?;
        let inodes = le32(raw, field::INODES_COUNT);
        if u64::from(groups) * u64::from(inodes_per_group) != u64::from(inodes) {
            return Err(corrupt("number of inodes"));
        }
        let descs_per_block = (block_size / desc_size) as u32;
        let first_inode = if dynamic { le32(raw, field::FIRST_INO) } else { 11 };
        if first_inode < 11 || first_inode > inodes_per_group {
            return Err(corrupt("first inode"));
        }
        let uuid: [u8; 16] = core::array::from_fn(|i| raw[field::UUID + i]);
        let checksum_seed = if features.incompat.contains(Incompat::CSUM_SEED) {
            le32(raw, field::CHECKSUM_SEED)
        } else {
            crc32c(!0, &uuid)
        };
        let unsigned = le32(raw, field::FLAGS) & FLAGS_UNSIGNED_HASH != 0;
        let hasher = Hasher {
            version: HashVersion::from_disk(raw[field::DEF_HASH_VERSION]).unwrap_or(HashVersion::HalfMd4),
            sign: if unsigned { CharSign::Unsigned } else { CharSign::Signed },
            seed: core::array::from_fn(|i| le32(raw, field::HASH_SEED + 4 * i)),
        };
        let extra_limit = (inode_size - 128) as u16;
        Ok(Self {
            block_size,
            block_bits: 10 + log,
            cluster_bits,
            overhead: clusters.then(|| u64::from(le32(raw, field::OVERHEAD_CLUSTERS)) << cluster_bits),
            blocks,
            reserved_blocks,
            first_data_block,
            blocks_per_group,
            inodes_per_group,
            inodes,
            inode_size,
            first_inode,
            want_extra_isize: le16(raw, field::WANT_EXTRA_ISIZE).clamp(32.min(extra_limit), extra_limit) & !3,
            table_blocks: inodes_per_group.div_ceil(inodes_per_block),
            groups,
            desc_size,
            descs_per_block,
            desc_blocks: groups.div_ceil(descs_per_block),
            reserved_desc_blocks: u32::from(le16(raw, field::RESERVED_GDT_BLOCKS)),
            first_meta_group: le32(raw, field::FIRST_META_BG),
            backup_groups: [le32(raw, field::BACKUP_BGS), le32(raw, field::BACKUP_BGS + 4)],
            features,
            checksum_seed,
            uuid,
            hasher,
            journal_inode: le32(raw, field::JOURNAL_INUM),
            orphan_file: le32(raw, field::ORPHAN_FILE_INUM),
        })
    }

    /// Names of the features that forbid writing, `None` if there are none.
    pub(crate) fn read_only_features(&self) -> Option<String> {
        if !self.features.incompat.contains(Incompat::EXTENTS) {
            return Some(String::from("no extents"));
        }
        self.features.read_only()
    }

    pub(crate) fn inodes_per_block(&self) -> u32 {
        (self.block_size / self.inode_size) as u32
    }

    /// The group of a block that [`is_block`](Self::contains) one.
    pub(crate) fn group_of(&self, block: u64) -> u32 {
        ((block - self.first_data_block) / u64::from(self.blocks_per_group)) as u32
    }

    /// First block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * u64::from(self.blocks_per_group)
    }

    /// Blocks of a group; the last one may be short.
    pub(crate) fn group_blocks(&self, group: u32) -> u32 {
        let left = self.blocks - self.group_start(group);
        left.min(u64::from(self.blocks_per_group)) as u32
    }

    /// Whether `count` blocks from `start` on lie inside the filesystem.
    pub(crate) fn contains(&self, start: u64, count: u64) -> bool {
        start >= self.first_data_block && start.checked_add(count).is_some_and(|end| end <= self.blocks)
    }

    /// Whether a group holds a copy of the superblock.
    pub(crate) fn has_super(&self, group: u32) -> bool {
        let power_of = |base: u32| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        };
        if group == 0 {
            return true;
        }
        if self.features.compat.contains(Compat::SPARSE_SUPER2) {
            return self.backup_groups.contains(&group);
        }
        if group == 1 || !self.features.ro_compat.contains(RoCompat::SPARSE_SUPER) {
            return true;
        }
        group & 1 == 1 && (power_of(3) || power_of(5) || power_of(7))
    }

    fn is_meta(&self, group: u32) -> bool {
        self.features.incompat.contains(Incompat::META_BG) && group / self.descs_per_block >= self.first_meta_group
    }

    /// Blocks of group descriptors, and reserved for more, that a group holds.
    pub(crate) fn desc_blocks_in(&self, group: u32) -> (u32, u32) {
        if self.is_meta(group) {
            let within = group % self.descs_per_block;
            let here = matches!(within, 0 | 1) || within == self.descs_per_block - 1;
            return (u32::from(here), 0);
        }
        if !self.has_super(group) {
            return (0, 0);
        }
        if self.features.incompat.contains(Incompat::META_BG) {
            return (self.first_meta_group.min(self.desc_blocks), 0);
        }
        (self.desc_blocks, self.reserved_desc_blocks)
    }

    /// The block that holds a group's descriptor, and the offset within.
    pub(crate) fn desc_location(&self, group: u32) -> (u64, usize) {
        let index = group / self.descs_per_block;
        let offset = (group % self.descs_per_block) as usize * self.desc_size;
        let block = if self.is_meta(group) {
            let first = index * self.descs_per_block;
            self.group_start(first) + u64::from(self.has_super(first))
        } else {
            self.super_location().0 + 1 + u64::from(index)
        };
        (block, offset)
    }

    /// The block that holds the primary superblock, and the offset within.
    pub(crate) fn super_location(&self) -> (u64, usize) {
        let size = self.block_size as u64;
        (SUPERBLOCK_OFFSET / size, (SUPERBLOCK_OFFSET % size) as usize)
    }

    /// A time as inodes can hold it: small ones have whole seconds of 32 bits, others nanoseconds and 34 bits.
    pub(crate) fn fit_time(&self, time: Timestamp) -> Timestamp {
        let (first, last) = (i64::from(i32::MIN), i64::from(i32::MAX));
        if self.inode_size < 256 {
            return Timestamp::from_secs(time.secs.clamp(first, last));
        }
        let last = last + (3 << 32);
        let nanos = if (first..=last).contains(&time.secs) { time.nanos } else { 0 };
        Timestamp { secs: time.secs.clamp(first, last), nanos }
    }

    /// The largest file, in bytes: logical blocks have 32 bits.
    pub(crate) fn max_file_size(&self) -> u64 {
        u64::from(u32::MAX) << self.block_bits
    }

    /// The group of an inode and its index there.
    pub(crate) fn inode_location(&self, ino: u32) -> (u32, u32) {
        ((ino - 1) / self.inodes_per_group, (ino - 1) % self.inodes_per_group)
    }

    /// The seed of the checksums of an inode and of all blocks that belong to it.
    pub(crate) fn inode_seed(&self, ino: u32, generation: u32) -> u32 {
        crc32c(crc32c(self.checksum_seed, &ino.to_le_bytes()), &generation.to_le_bytes())
    }

    /// `f_fsid` of `statfs(2)`.
    pub(crate) fn fsid(&self) -> u64 {
        le64(&self.uuid, 0) ^ le64(&self.uuid, 8)
    }
}

/// The checksum that belongs into a superblock.
pub(crate) fn checksum(raw: &[u8]) -> u32 {
    crc32c(!0, raw.get(..field::CHECKSUM).unwrap_or(raw))
}

/// Makes the checksum of a superblock that changed right again, if its features want one.
///
/// The checksum lies in the second sector, and all that changes while mounted in the first, but for bits of times after 2106. A
/// power cut between the two sectors would leave neither the old nor the new. So the checksum stays, and four bytes of the
/// first sector that nobody uses are chosen so that it is right: whatever sectors arrive, the superblock is whole.
pub(crate) fn seal(raw: &mut [u8]) {
    if le32(raw, field::FEATURE_RO_COMPAT) & RoCompat::METADATA_CSUM.bits() != 0 {
        let behind = field::SPARE + 4;
        let before = crc32c(!0, &raw[..field::SPARE]);
        let wanted = crc32c_before(le32(raw, field::CHECKSUM), &raw[behind..field::CHECKSUM]);
        put32(raw, field::SPARE, crc32c_before(wanted, &[0; 4]) ^ before);
    }
}
