//! The bytes of a new filesystem.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::FormatOptions;
use super::layout::{DESCRIPTOR_SIZE, FIRST_INODE, LOG_FLEX, Layout, has_backup};
use crate::bytes::{put, put_be32, put8, put16, put32, put64};
use crate::checksum::crc32c;
use crate::features::{Compat, Incompat, RoCompat};

/// Where the superblock is on the disk, in bytes.
pub(super) const SUPERBLOCK_OFFSET: u64 = 1024;
const SUPERBLOCK_SIZE: usize = 1024;
const ROOT_INODE: u32 = 2;
const JOURNAL_INODE: u32 = 8;

// Flags of a group descriptor.
const INODE_UNINIT: u16 = 1;
const BLOCK_UNINIT: u16 = 2;

/// Everything that is written.
pub(super) struct Image {
    /// Pieces of whole blocks by their first block. The superblock's own place is still zero.
    pub(super) pieces: Vec<(u64, Vec<u8>)>,
    /// The first superblock, which makes the disk a filesystem.
    pub(super) superblock: [u8; SUPERBLOCK_SIZE],
}

struct Builder<'a> {
    layout: &'a Layout,
    options: &'a FormatOptions,
    seed: u32,
}

impl Image {
    pub(super) fn new(layout: &Layout, options: &FormatOptions) -> Self {
        let builder = Builder { layout, options, seed: crc32c(!0, &options.uuid) };
        let mut pieces = Vec::new();
        let descriptors = builder.descriptors(&mut pieces);
        builder.root_inodes(&mut pieces);
        let mut superblock = [0; SUPERBLOCK_SIZE];
        let block_size = layout.block_size as usize;
        for group in (0..layout.groups.len() as u64).filter(|&group| has_backup(group)) {
            let copy = builder.superblock(group as u16);
            let mut head = vec![0; block_size];
            if group == 0 {
                superblock = copy;
            } else {
                put(&mut head, 0, &copy);
            }
            let start = layout.group_start(group);
            if group == 0 {
                // The blocks of the superblock itself are written last of all.
                pieces.push((start + 1, descriptors.clone()));
            } else {
                head.extend_from_slice(&descriptors);
                pieces.push((start, head));
            }
        }
        pieces.push((layout.root, builder.directory(ROOT_INODE, 0)));
        for index in 0..layout.lost_found.end - layout.lost_found.start {
            pieces.push((layout.lost_found.start + index, builder.directory(FIRST_INODE, index)));
        }
        pieces.push((layout.journal.start, builder.journal_superblock()));
        Self { pieces, superblock }
    }
}

impl Builder<'_> {
    fn block(&self) -> Vec<u8> {
        vec![0; self.layout.block_size as usize]
    }

    /// The descriptor table; bitmaps of initialised groups go to `pieces`.
    fn descriptors(&self, pieces: &mut Vec<(u64, Vec<u8>)>) -> Vec<u8> {
        let layout = self.layout;
        let mut table = vec![0; (layout.descriptor_blocks * layout.block_size) as usize];
        let last = layout.groups.len() - 1;
        for (group, tables) in layout.groups.iter().enumerate() {
            let descriptor = &mut table[group * DESCRIPTOR_SIZE as usize..][..DESCRIPTOR_SIZE as usize];
            let range = layout.group_range(group as u64);
            let used = layout.used_in(&range);
            let inodes_used = if group == 0 { FIRST_INODE } else { 0 };
            let inodes_free = layout.inodes_per_group - inodes_used;
            let mut flags = 0;
            if group != 0 {
                flags |= INODE_UNINIT;
            }
            // A bitmap that only holds the group's own copies need not exist; the last group's always does.
            let own = if has_backup(group as u64) { 1 + layout.descriptor_blocks } else { 0 };
            if group != 0 && group != last && used == own {
                flags |= BLOCK_UNINIT;
            }
            let mut block_sum = 0;
            let mut inode_sum = 0;
            if flags & BLOCK_UNINIT == 0 {
                let bitmap = self.block_bitmap(&range);
                block_sum = crc32c(self.seed, &bitmap[..layout.blocks_per_group as usize / 8]);
                pieces.push((tables.block_bitmap, bitmap));
            }
            if flags & INODE_UNINIT == 0 {
                let bitmap = self.inode_bitmap(inodes_used);
                inode_sum = crc32c(self.seed, &bitmap[..layout.inodes_per_group as usize / 8]);
                pieces.push((tables.inode_bitmap, bitmap));
            }
            let free = range.end - range.start - used;
            for (low, high, value) in
                [(0x0, 0x20, tables.block_bitmap), (0x4, 0x24, tables.inode_bitmap), (0x8, 0x28, tables.inode_table)]
            {
                put32(descriptor, low, value as u32);
                put32(descriptor, high, (value >> 32) as u32);
            }
            let directories = if group == 0 { 2 } else { 0 };
            for (low, high, value) in [
                (0xc, 0x2c, free as u32),
                (0xe, 0x2e, inodes_free),
                (0x10, 0x30, directories),
                (0x1c, 0x32, inodes_free),
                (0x18, 0x38, block_sum),
                (0x1a, 0x3a, inode_sum),
            ] {
                put16(descriptor, low, value as u16);
                put16(descriptor, high, (value >> 16) as u16);
            }
            put16(descriptor, 0x12, flags);
            let sum = crc32c(crc32c(self.seed, &(group as u32).to_le_bytes()), descriptor);
            put16(descriptor, 0x1e, sum as u16);
        }
        table
    }

    fn block_bitmap(&self, range: &Range<u64>) -> Vec<u8> {
        let mut bitmap = self.block();
        let start = range.start;
        for used in &self.layout.used {
            let (from, to) = (used.start.max(range.start), used.end.min(range.end));
            if from < to {
                set_bits(&mut bitmap, (from - start) as usize..(to - start) as usize);
            }
        }
        // Past the end of the disk, and past the group in the block: not there, so in use.
        let bits = bitmap.len() * 8;
        set_bits(&mut bitmap, (range.end - start) as usize..bits);
        bitmap
    }

    fn inode_bitmap(&self, used: u32) -> Vec<u8> {
        let mut bitmap = self.block();
        let bits = bitmap.len() * 8;
        set_bits(&mut bitmap, 0..used as usize);
        set_bits(&mut bitmap, self.layout.inodes_per_group as usize..bits);
        bitmap
    }

    /// The blocks of the inode table that hold the reserved inodes and `lost+found`.
    fn root_inodes(&self, pieces: &mut Vec<(u64, Vec<u8>)>) {
        let layout = self.layout;
        let size = usize::from(self.options.inode_size);
        let length = (FIRST_INODE as usize * size).next_multiple_of(layout.block_size as usize);
        let mut table = vec![0; length];
        let root = layout.root..layout.root + 1;
        for (number, mode, links, blocks) in [
            (ROOT_INODE, 0o040_755, 3, &root),
            (JOURNAL_INODE, 0o100_600, 1, &layout.journal),
            (FIRST_INODE, 0o040_700, 2, &layout.lost_found),
        ] {
            let inode = &mut table[(number as usize - 1) * size..][..size];
            self.inode(inode, number, mode, links, blocks);
        }
        pieces.push((layout.groups[0].inode_table, table));
    }

    /// An inode whose content is one extent.
    fn inode(&self, inode: &mut [u8], number: u32, mode: u16, links: u16, blocks: &Range<u64>) {
        let count = blocks.end - blocks.start;
        let seconds = self.options.now.secs;
        put16(inode, 0x0, mode);
        put32(inode, 0x4, (count * self.layout.block_size) as u32);
        for at in [0x8, 0xc, 0x10] {
            put32(inode, at, seconds as u32);
        }
        put16(inode, 0x1a, links);
        put32(inode, 0x1c, (count * self.layout.block_size / 512) as u32);
        put32(inode, 0x20, 0x8_0000); // EXT4_EXTENTS_FL
        self.extent(&mut inode[0x28..0x64], blocks);
        if inode.len() > 128 {
            put16(inode, 0x80, 32);
            let (epoch, nanos) = ((seconds >> 32) as u32 & 3, self.options.now.nanos);
            for at in [0x84, 0x88, 0x8c, 0x94] {
                put32(inode, at, nanos << 2 | epoch);
            }
            put32(inode, 0x90, seconds as u32);
        }
        let sum = crc32c(self.inode_seed(number), inode);
        put16(inode, 0x7c, sum as u16);
        if inode.len() > 128 {
            put16(inode, 0x82, (sum >> 16) as u16);
        }
    }

    /// Header and one extent from logical block 0, as in the 60 bytes of an inode.
    fn extent(&self, root: &mut [u8], blocks: &Range<u64>) {
        put16(root, 0, 0xf30a);
        put16(root, 2, 1);
        put16(root, 4, 4);
        put16(root, 16, (blocks.end - blocks.start) as u16);
        put16(root, 18, (blocks.start >> 32) as u16);
        put32(root, 20, blocks.start as u32);
    }

    /// Seed of what belongs to an inode; generations are 0.
    fn inode_seed(&self, number: u32) -> u32 {
        crc32c(crc32c(self.seed, &number.to_le_bytes()), &0u32.to_le_bytes())
    }

    /// The `index`th block of a directory: dots in the first, and in the root `lost+found`.
    fn directory(&self, number: u32, index: u64) -> Vec<u8> {
        let mut block = self.block();
        let end = block.len() - 12;
        let entries: &[(u32, &[u8])] = match (number, index) {
            (_, 1..) => &[(0, b"")],
            (ROOT_INODE, _) => &[(ROOT_INODE, b"."), (ROOT_INODE, b".."), (FIRST_INODE, b"lost+found")],
            _ => &[(number, b"."), (ROOT_INODE, b"..")],
        };
        let mut at = 0;
        for (position, (inode, name)) in entries.iter().enumerate() {
            let last = position + 1 == entries.len();
            let length = if last { end - at } else { (8 + name.len()).next_multiple_of(4) };
            put32(&mut block, at, *inode);
            put16(&mut block, at + 4, length as u16);
            put8(&mut block, at + 6, name.len() as u8);
            put8(&mut block, at + 7, if *inode == 0 { 0 } else { 2 });
            put(&mut block, at + 8, name);
            at += length;
        }
        let sum = crc32c(self.inode_seed(number), &block[..end]);
        put16(&mut block, end + 4, 12);
        put8(&mut block, end + 7, 0xde);
        put32(&mut block, end + 8, sum);
        block
    }

    /// An empty journal; its first mount for writing chooses the features.
    fn journal_superblock(&self) -> Vec<u8> {
        let mut block = self.block();
        put_be32(&mut block, 0x0, 0xc03b_3998);
        put_be32(&mut block, 0x4, 4);
        put_be32(&mut block, 0xc, self.layout.block_size as u32);
        put_be32(&mut block, 0x10, (self.layout.journal.end - self.layout.journal.start) as u32);
        put_be32(&mut block, 0x14, 1);
        put_be32(&mut block, 0x18, 1);
        put(&mut block, 0x30, &self.options.uuid);
        put_be32(&mut block, 0x40, 1);
        block
    }

    fn superblock(&self, group: u16) -> [u8; SUPERBLOCK_SIZE] {
        let (layout, options) = (self.layout, self.options);
        let mut sb = [0; SUPERBLOCK_SIZE];
        let sb = &mut sb;
        let groups = layout.groups.len() as u32;
        let inodes = groups * layout.inodes_per_group;
        let free = layout.blocks - layout.first_data_block - layout.used_in(&(layout.first_data_block..layout.blocks));
        let log_block = layout.block_size.trailing_zeros() - 10;
        let now = options.now.secs;
        put32(sb, 0x0, inodes);
        put32(sb, 0x4, layout.blocks as u32);
        put32(sb, 0xc, free as u32);
        put32(sb, 0x10, inodes - FIRST_INODE);
        put32(sb, 0x14, layout.first_data_block as u32);
        put32(sb, 0x18, log_block);
        put32(sb, 0x1c, log_block);
        put32(sb, 0x20, layout.blocks_per_group as u32);
        put32(sb, 0x24, layout.blocks_per_group as u32);
        put32(sb, 0x28, layout.inodes_per_group);
        for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
            put32(sb, low, now as u32);
            put8(sb, high, (now >> 32) as u8);
        }
        put16(sb, 0x36, 0xffff); // no check by count of mounts
        put16(sb, 0x38, 0xef53);
        put16(sb, 0x3a, 1); // clean
        put16(sb, 0x3c, 2); // after an error: read-only
        put32(sb, 0x4c, 1);
        put32(sb, 0x54, FIRST_INODE);
        put16(sb, 0x58, options.inode_size);
        put16(sb, 0x5a, group);
        put32(sb, 0x5c, (Compat::HAS_JOURNAL | Compat::EXT_ATTR | Compat::DIR_INDEX).bits());
        put32(sb, 0x60, (Incompat::FILETYPE | Incompat::EXTENTS | Incompat::BIT64 | Incompat::FLEX_BG).bits());
        let mut ro_compat = RoCompat::SPARSE_SUPER
            | RoCompat::LARGE_FILE
            | RoCompat::HUGE_FILE
            | RoCompat::DIR_NLINK
            | RoCompat::METADATA_CSUM;
        if options.inode_size > 128 {
            ro_compat |= RoCompat::EXTRA_ISIZE;
            put16(sb, 0x15c, 32);
            put16(sb, 0x15e, 32);
        }
        put32(sb, 0x64, ro_compat.bits());
        put(sb, 0x68, &options.uuid);
        put(sb, 0x78, &options.label);
        put32(sb, 0xe0, JOURNAL_INODE);
        put(sb, 0xec, &options.hash_seed);
        put8(sb, 0xfc, 1); // half MD4
        put8(sb, 0xfd, 1); // the journal's inode is copied below
        put16(sb, 0xfe, DESCRIPTOR_SIZE as u16);
        put32(sb, 0x100, 0xc); // user xattrs and ACLs by default
        self.extent(&mut sb[0x10c..0x148], &layout.journal);
        put32(sb, 0x14c, ((layout.journal.end - layout.journal.start) * layout.block_size) as u32);
        put32(sb, 0x160, 1); // signed directory hash
        put8(sb, 0x174, LOG_FLEX as u8);
        put8(sb, 0x175, 1); // CRC-32C
        put64(sb, 0x178, 0);
        let sum = crc32c(!0, &sb[..0x3fc]);
        put32(sb, 0x3fc, sum);
        *sb
    }
}

fn set_bits(bitmap: &mut [u8], bits: Range<usize>) {
    for bit in bits {
        bitmap[bit / 8] |= 1 << (bit % 8);
    }
}
