//! Inodes: the first free one of a group that suits.
//!
//! What is no directory goes where its parent is. Directories are placed as Orlov's allocator does: those at the top of the
//! tree are spread over the groups, for they are of different concerns; those below stay near their parent as long as
//! its group has room for what will be in them.

use block::Buffer;
use vfs::{Errno, Error, FileType, Result};

use super::bitmap::{self, Taken};
use crate::group::{INODE_UNINIT, bitmap_checksum, has_checksums};
use crate::inode::Inode;
use crate::inode::record::flag;
use crate::inode::table::ROOT_INO;
use crate::transaction::{Handle, Seal};

impl Handle<'_> {
    fn inode_bitmap(&mut self, number: u32) -> Result<Buffer> {
        let desc = self.core.groups[number as usize].desc;
        let geometry = &self.fs.geometry;
        if desc.flags & INODE_UNINIT == 0 {
            let buffer = self.metadata(desc.inode_bitmap, Seal::InodeBitmap(number))?;
            if !buffer.is_verified() {
                let sum = bitmap_checksum(geometry, &buffer.read(), geometry.inodes_per_group);
                if geometry.features.has_checksums() && sum != desc.inode_bitmap_checksum {
                    return Err(self.fs.corrupt("ext4: wrong checksum of an inode bitmap"));
                }
                buffer.set_verified();
            }
            return Ok(buffer);
        }
        let buffer = self.create(desc.inode_bitmap, Seal::InodeBitmap(number))?;
        let (inodes, bits) = (geometry.inodes_per_group, geometry.block_size as u32 * 8);
        self.modify(&buffer, Seal::InodeBitmap(number), 0..bits as usize / 8, |bytes| {
            bitmap::set(bytes, inodes, bits - inodes);
        });
        self.group(number)?.desc.flags &= !INODE_UNINIT;
        Ok(buffer)
    }

    /// Allocates an inode for something of `kind` in or near the group of the directory `parent`. Its record's
    /// block of the table is at hand afterwards.
    pub(crate) fn allocate_inode(&mut self, parent: &Inode, kind: FileType) -> Result<u32> {
        let groups = self.core.groups.len() as u32;
        let (near, _) = self.fs.geometry.inode_location(parent.ino);
        let near = if kind == FileType::Dir { self.directory_group(parent, near) } else { near };
        let order = || (0..groups).map(move |i| (near + i) % groups);
        let has_inodes = |&number: &u32| self.core.groups[number as usize].desc.free_inodes > 0;
        let has_blocks = |&number: &u32| self.core.groups[number as usize].desc.free_blocks > 0;
        let number = order()
            .find(|number| has_inodes(number) && has_blocks(number))
            .or_else(|| order().find(has_inodes))
            .ok_or(Error::new(Errno::ENOSPC, "no free inode"))?;

        let buffer = self.inode_bitmap(number)?;
        let inodes = self.fs.geometry.inodes_per_group;
        let reserved = if number == 0 { self.fs.geometry.first_inode - 1 } else { 0 };
        let found = Taken { bitmap: &buffer.read(), withheld: None }.next_free(reserved, inodes);
        let Some(index) = found else {
            return Err(self.fs.corrupt("ext4: free inode count of a group"));
        };
        self.prepare_table_block(number, index, &buffer)?;
        let byte = index as usize / 8;
        self.modify(&buffer, Seal::InodeBitmap(number), byte..byte + 1, |bytes| bitmap::set(bytes, index % 8, 1));
        let checksums = has_checksums(&self.fs.geometry);
        let desc = &mut self.group(number)?.desc;
        desc.free_inodes -= 1;
        if kind == FileType::Dir {
            desc.used_dirs += 1;
        }
        if checksums {
            desc.itable_unused = desc.itable_unused.min(inodes - index - 1);
        }
        self.core.counters.free_inodes = self.core.counters.free_inodes.saturating_sub(1);
        Ok(number * inodes + index + 1)
    }

    /// The group where a directory is best put, if there is room.
    fn directory_group(&self, parent: &Inode, near: u32) -> u32 {
        let groups = &self.core.groups;
        let count = groups.len() as u32;
        let inodes_per_group = self.fs.geometry.inodes_per_group;
        let mean_inodes = (self.core.counters.free_inodes / u64::from(count).max(1)) as u32;
        let mean_blocks = (self.core.counters.free_blocks / u64::from(count).max(1)) as u32;
        let order = || (0..count).map(move |i| (near + i) % count);
        let desc = |number: u32| &groups[number as usize].desc;
        let at_top = parent.ino == ROOT_INO || parent.record.read().flags & flag::TOP_DIR != 0;
        if at_top {
            let has_room = |&number: &u32| {
                let desc = desc(number);
                desc.free_inodes > 0 && desc.free_inodes >= mean_inodes && desc.free_blocks >= mean_blocks
            };
            return order().filter(has_room).min_by_key(|&number| desc(number).used_dirs).unwrap_or(near);
        }
        // Some below the mean will do: a tree in one place is worth more than an even load.
        let least_inodes = mean_inodes.saturating_sub(inodes_per_group / 4).max(1);
        let least_blocks = mean_blocks.saturating_sub(self.fs.geometry.blocks_per_group / 4);
        order()
            .find(|&number| desc(number).free_inodes >= least_inodes && desc(number).free_blocks >= least_blocks)
            .unwrap_or(near)
    }

    /// If no inode of the new one's table block is in use, the block need not be read: it is made of zeros.
    fn prepare_table_block(&mut self, number: u32, index: u32, bitmap: &Buffer) -> Result<()> {
        let per_block = self.fs.geometry.inodes_per_block();
        let first = index / per_block * per_block;
        let ino = number * self.fs.geometry.inodes_per_group + index + 1;
        let (block, _) = self.fs.record_location(ino);
        let unused = bitmap::none_set(&bitmap.read(), first, per_block);
        if unused && self.fs.cache.get(block).is_none() {
            self.create(block, Seal::None)?;
        }
        Ok(())
    }

    /// Frees an inode's number.
    pub(crate) fn free_inode(&mut self, inode: &Inode) -> Result<()> {
        let (number, index) = self.fs.geometry.inode_location(inode.ino);
        let buffer = self.inode_bitmap(number)?;
        if !bitmap::all_set(&buffer.read(), index, 1) {
            return Err(self.fs.corrupt("ext4: inode freed twice"));
        }
        let byte = index as usize / 8;
        self.modify(&buffer, Seal::InodeBitmap(number), byte..byte + 1, |bytes| bitmap::clear(bytes, index % 8, 1));
        let is_dir = inode.is_dir();
        let desc = &mut self.group(number)?.desc;
        desc.free_inodes += 1;
        if is_dir {
            desc.used_dirs = desc.used_dirs.saturating_sub(1);
        }
        self.core.counters.free_inodes += 1;
        Ok(())
    }

    /// A value for `i_generation` of a new inode.
    pub(crate) fn next_generation(&mut self) -> u32 {
        // xorshift32 (Marsaglia 2003): never 0, and the same only after all others.
        let mut x = self.core.generation;
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.core.generation = x;
        x
    }
}
