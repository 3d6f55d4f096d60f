//! Inodes: the first free one, in the parent's group where possible.

use block::Buffer;
use vfs::{Errno, Error, FileType, Result};

use super::bitmap::{self, Taken};
use crate::group::{INODE_UNINIT, bitmap_checksum, has_checksums};
use crate::inode::Inode;
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
    pub(crate) fn allocate_inode(&mut self, parent: u32, kind: FileType) -> Result<u32> {
        let geometry = &self.fs.geometry;
        let groups = self.core.groups.len() as u32;
        let (near, _) = geometry.inode_location(parent);
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
