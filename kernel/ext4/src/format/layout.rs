//! What goes where: the geometry of a new filesystem.

use alloc::vec::Vec;
use core::ops::Range;

use super::{FormatError, FormatOptions};

/// Groups whose tables lie together: 2 to this power.
pub(super) const LOG_FLEX: u32 = 4;
/// Size of a group descriptor with 64-bit block numbers.
pub(super) const DESCRIPTOR_SIZE: u64 = 64;
/// The first inode that is not reserved; `lost+found`.
pub(super) const FIRST_INODE: u32 = 11;
/// Blocks of `lost+found`, 16 KiB as mke2fs makes it, so that e2fsck finds room when it needs it.
pub(super) const LOST_FOUND_BYTES: u64 = 16 << 10;
/// Below this a last group is not worth its tables, as in mke2fs.
const LEAST_LAST_GROUP: u64 = 50;

/// Where the tables of a group are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tables {
    pub(super) block_bitmap: u64,
    pub(super) inode_bitmap: u64,
    pub(super) inode_table: u64,
}

/// The geometry. Ranges are of block numbers.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) block_size: u64,
    pub(super) first_data_block: u64,
    pub(super) blocks: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u32,
    pub(super) inode_table_blocks: u64,
    pub(super) descriptor_blocks: u64,
    pub(super) groups: Vec<Tables>,
    pub(super) root: u64,
    pub(super) lost_found: Range<u64>,
    pub(super) journal: Range<u64>,
    /// All blocks in use, sorted.
    pub(super) used: Vec<Range<u64>>,
}

impl Layout {
    pub(super) fn new(bytes: u64, options: &FormatOptions) -> Result<Self, FormatError> {
        let block_size = u64::from(options.block_size);
        if !matches!(block_size, 1024 | 2048 | 4096) {
            return Err(FormatError::BadOptions("the block size is not 1024, 2048 or 4096"));
        }
        if !matches!(options.inode_size, 128 | 256) {
            return Err(FormatError::BadOptions("the inode size is not 128 or 256"));
        }
        let first_data_block = u64::from(block_size == 1024);
        let blocks_per_group = 8 * block_size;
        let mut blocks = bytes / block_size;
        if blocks > u64::from(u32::MAX) {
            return Err(FormatError::TooLarge { bytes });
        }
        // Ten blocks of journal for every one of other data would be odd; ext4's own least is 1,024 blocks.
        let least = 2048 * block_size;
        if bytes < least {
            return Err(FormatError::TooSmall { bytes, least });
        }
        let count = |blocks: u64| (blocks - first_data_block).div_ceil(blocks_per_group);
        let ratio = if bytes < 512 << 20 { 4096 } else { 16384 };
        let inodes_per_block = block_size / u64::from(options.inode_size);
        let (groups, inodes_per_group, inode_table_blocks, descriptor_blocks) = loop {
            let groups = count(blocks);
            let wanted = (blocks * block_size / ratio).div_ceil(groups).max(16);
            let granularity = inodes_per_block.max(8);
            let inodes = wanted.next_multiple_of(granularity).min(8 * block_size);
            let table = inodes / inodes_per_block;
            let descriptors = (groups * DESCRIPTOR_SIZE).div_ceil(block_size);
            let last = (blocks - first_data_block) - (groups - 1) * blocks_per_group;
            if groups > 1 && last < 1 + descriptors + 2 + table + LEAST_LAST_GROUP {
                blocks -= last;
                continue;
            }
            break (groups, inodes as u32, table, descriptors);
        };
        let mut layout = Self {
            block_size,
            first_data_block,
            blocks,
            blocks_per_group,
            inodes_per_group,
            inode_table_blocks,
            descriptor_blocks,
            groups: Vec::new(),
            root: 0,
            lost_found: 0..0,
            journal: 0..0,
            used: Vec::new(),
        };
        for group in (0..groups).filter(|&group| has_backup(group)) {
            let start = layout.group_start(group);
            layout.used.push(start..start + 1 + descriptor_blocks);
        }
        layout.place_tables(groups as usize);
        layout.place_files().ok_or(FormatError::TooSmall { bytes, least: 2 * least })?;
        Ok(layout)
    }

    pub(super) fn group_start(&self, group: u64) -> u64 {
        self.first_data_block + group * self.blocks_per_group
    }

    /// The blocks of a group; the last one may be short.
    pub(super) fn group_range(&self, group: u64) -> Range<u64> {
        let start = self.group_start(group);
        start..(start + self.blocks_per_group).min(self.blocks)
    }

    /// How many blocks of `range` are in use.
    pub(super) fn used_in(&self, range: &Range<u64>) -> u64 {
        let overlap = |used: &Range<u64>| used.end.min(range.end).saturating_sub(used.start.max(range.start));
        self.used.iter().map(overlap).sum()
    }

    /// Bitmaps and inode tables of each flexible group lie together at its start.
    fn place_tables(&mut self, groups: usize) {
        self.groups.resize(groups, Tables::default());
        let flex = 1usize << LOG_FLEX;
        for first in (0..groups).step_by(flex) {
            let members = first..(first + flex).min(groups);
            let from = self.group_start(first as u64);
            for group in members.clone() {
                self.groups[group].block_bitmap = self.take(from, 1);
            }
            for group in members.clone() {
                self.groups[group].inode_bitmap = self.take(from, 1);
            }
            for group in members {
                self.groups[group].inode_table = self.take(from, self.inode_table_blocks);
            }
        }
    }

    /// Root, `lost+found` and journal; `None` if they do not fit.
    fn place_files(&mut self) -> Option<()> {
        self.root = self.take(self.first_data_block, 1);
        let length = LOST_FOUND_BYTES / self.block_size;
        let start = self.take(self.first_data_block, length);
        self.lost_found = start..start + length;
        // Near the middle of the disk, as mke2fs places it: half the seeks on a disk that has any.
        let middle = self.group_start(self.groups.len() as u64 / 2);
        let length = self.journal_blocks();
        let mut start = self.take(middle, length);
        if start + length > self.blocks {
            self.used.retain(|range| range.start != start);
            start = self.take(self.first_data_block, length);
        }
        self.journal = start..start + length;
        (self.journal.end + 64 <= self.blocks).then_some(())
    }

    /// Size of the journal: mke2fs's table, and at most half a group so that it is one extent.
    fn journal_blocks(&self) -> u64 {
        let wanted = match self.blocks {
            0..0x8000 => 1024,
            0x8000..0x4_0000 => 4096,
            0x4_0000..0x8_0000 => 8192,
            _ => 16384,
        };
        wanted.min(self.blocks_per_group / 2)
    }

    /// Takes the first free run of `length` blocks at or after `from`.
    fn take(&mut self, from: u64, length: u64) -> u64 {
        let mut start = from;
        let mut index = 0;
        for (at, range) in self.used.iter().enumerate() {
            if range.end <= start {
                index = at + 1;
            } else if start + length <= range.start {
                break;
            } else {
                start = range.end;
                index = at + 1;
            }
        }
        self.used.insert(index, start..start + length);
        start
    }
}

/// Whether a group has a copy of superblock and descriptors (`sparse_super`): 0, 1 and the powers of 3, 5 and 7.
pub(super) fn has_backup(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}
