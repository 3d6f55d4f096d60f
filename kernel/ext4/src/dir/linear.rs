//! Blocks of a directory, and searching them one after the other.

use alloc::sync::Arc;

use block::Buffer;
use vfs::{Errno, Error, FileType, Result};

use super::block::{self as entries, Found};
use super::names::{Entry, Vacancy};
use crate::bytes::{le16, le32};
use crate::extent::{Extent, Mapping, Removed, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::transaction::{Handle, Seal};
use crate::verify::{self, DIR_TAIL};

/// The largest directory, in blocks: what 32 bits of size hold.
const MAX_BLOCKS: u64 = 1 << 20;

/// A block of a directory.
#[derive(Debug, Clone)]
pub(crate) struct DirBlock {
    pub(crate) buffer: Buffer,
    /// Its number in the directory.
    pub(crate) block: u32,
    pub(crate) seal: Seal,
}

impl Ext4 {
    /// Where entries end in a block: before its tail, if blocks have one.
    pub(crate) fn entries_end(&self) -> usize {
        let tail = if self.geometry.features.has_checksums() { DIR_TAIL } else { 0 };
        self.geometry.block_size - tail
    }

    /// Where entries end in this block: those of index blocks cover all of it.
    pub(crate) fn end_of(&self, place: &DirBlock) -> usize {
        match place.seal {
            Seal::IndexRoot(_) | Seal::IndexNode(_) => self.geometry.block_size,
            _ => self.entries_end(),
        }
    }

    /// How many blocks a directory has.
    pub(crate) fn dir_blocks(&self, dir: &Inode) -> u32 {
        (dir.record.read().size >> self.geometry.block_bits).min(MAX_BLOCKS) as u32
    }

    /// Whether a directory is an htree that may be used as one. One without blocks is removed, and holds nothing.
    pub(crate) fn is_indexed(&self, dir: &Inode) -> bool {
        self.geometry.features.has_dir_index() && {
            let record = dir.record.read();
            record.is_indexed() && record.size > 0
        }
    }

    /// A directory's block, checked.
    pub(crate) fn dir_block(&self, dir: &Inode, block: u32) -> Result<DirBlock> {
        let Mapping::Blocks { start, len, state: State::Written } = self.map(dir, block)? else {
            return Err(self.corrupt("ext4: hole in a directory"));
        };
        let buffer = match self.cache.get(start) {
            Some(buffer) => buffer,
            None => {
                // Whoever reads one block of a directory wants its neighbours soon.
                let ahead = len.min(8).min(self.dir_blocks(dir).saturating_sub(block)).max(1);
                let _ = self.cache.fill(&[(start, ahead)]);
                self.cache.read(start).map_err(|error| self.failed(error))?
            }
        };
        let seal = if !self.is_indexed(dir) {
            Seal::Directory(dir.seed)
        } else if block == 0 {
            Seal::IndexRoot(dir.seed)
        } else if is_index_node(&buffer.read()) {
            Seal::IndexNode(dir.seed)
        } else {
            Seal::Directory(dir.seed)
        };
        let buffer = if buffer.is_verified() { buffer } else { self.metadata(start, seal)? };
        Ok(DirBlock { buffer, block, seal })
    }

    /// Finds a name in one block, or the space for it.
    pub(crate) fn find_in_block(
        &self,
        dir: &Inode,
        block: u32,
        name: &[u8],
        vacancy: &mut Option<Vacancy>,
    ) -> Result<Option<Entry>> {
        let place = self.dir_block(dir, block)?;
        let mut space = None;
        let found = {
            let bytes = place.buffer.read();
            entries::find(&bytes[..self.entries_end()], name, &mut space).map_err(|error| self.failed(error))?
        };
        if let (None, Some(offset)) = (&vacancy, space) {
            *vacancy = Some(Vacancy { block, offset });
        }
        Ok(found.map(|Found { offset, previous, ino }| Entry { ino, offset, previous, place }))
    }

    /// Finds a name by looking at every block.
    pub(crate) fn find_linear(&self, dir: &Inode, name: &[u8], vacancy: &mut Option<Vacancy>) -> Result<Option<Entry>> {
        for block in 0..self.dir_blocks(dir) {
            if let Some(entry) = self.find_in_block(dir, block, name, vacancy)? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }
}

/// Whether a block of an htree is an index: one unused entry covers all of it, tail included.
pub(crate) fn is_index_node(bytes: &[u8]) -> bool {
    le32(bytes, 0) == 0 && usize::from(le16(bytes, 4)) == bytes.len() && le16(bytes, 6) == 0
}

impl Handle<'_> {
    /// Inserts an entry into a block, if there is space.
    pub(crate) fn insert_in_block(&mut self, place: &DirBlock, name: &[u8], ino: u32, kind: FileType) -> Result<bool> {
        let end = self.fs.entries_end();
        let mut space = None;
        let found = entries::find(&place.buffer.read()[..end], name, &mut space);
        found.map_err(|error| self.fs.failed(error))?;
        Ok(space.is_some_and(|offset| self.insert_at(place, offset, name, ino, kind)))
    }

    /// Inserts an entry behind the one at `offset` of a block, or in its place, if there is space.
    pub(crate) fn insert_at(&mut self, place: &DirBlock, offset: usize, name: &[u8], ino: u32, kind: FileType) -> bool {
        let end = self.fs.entries_end();
        let Some(range) = entries::insert_range(&place.buffer.read()[..end], offset, name.len()) else {
            return false;
        };
        let kind = self.kind_to_disk(kind);
        self.modify(&place.buffer, place.seal, range, |part| entries::insert(part, ino, kind, name));
        true
    }

    pub(crate) fn kind_to_disk(&self, kind: FileType) -> u8 {
        if self.fs.geometry.features.incompat.contains(crate::features::Incompat::FILETYPE) {
            entries::kind_to_disk(kind)
        } else {
            0
        }
    }

    /// Adds a block to a directory: zeros, to be filled by the caller.
    pub(crate) fn append_dir_block(&mut self, dir: &Arc<Inode>, seal: Seal) -> Result<DirBlock> {
        let block = self.fs.dir_blocks(dir);
        if u64::from(block) + 1 >= MAX_BLOCKS {
            return Err(Error::new(Errno::ENOSPC, "directory too large"));
        }
        self.ensure_extents(dir)?;
        let goal = if block == 0 { self.goal_near(dir) } else { self.file_goal(dir, block)? };
        let (start, _) = self.allocate(goal, 1)?;
        let extent = Extent { block, len: 1, start, state: State::Written };
        self.remap(dir, block, extent.end(), Some(extent), Removed::Keep)?;
        self.count_blocks(dir, 1)?;
        let size = u64::from(block + 1) << self.fs.geometry.block_bits;
        self.update(dir, |record| record.size = size)?;
        let buffer = self.create(start, seal)?;
        Ok(DirBlock { buffer, block, seal })
    }

    /// Rewrites the whole block as entries, with its tail.
    pub(crate) fn write_entries<'a>(
        &mut self,
        place: &DirBlock,
        entries: impl IntoIterator<Item = (u32, u8, &'a [u8])>,
    ) {
        let end = self.fs.entries_end();
        let size = self.fs.geometry.block_size;
        self.modify(&place.buffer, place.seal, 0..size, |bytes| {
            bytes.fill(0);
            entries::pack(&mut bytes[..end], entries);
            if end < size {
                verify::put_dir_tail(bytes);
            }
        });
    }

    /// Inserts an entry anywhere in a directory without an index, which grows where needed.
    pub(crate) fn insert_linear(&mut self, dir: &Arc<Inode>, name: &[u8], ino: u32, kind: FileType) -> Result<()> {
        for block in 0..self.fs.dir_blocks(dir) {
            let place = self.fs.dir_block(dir, block)?;
            if self.insert_in_block(&place, name, ino, kind)? {
                return Ok(());
            }
        }
        let place = self.append_dir_block(dir, Seal::Directory(dir.seed))?;
        let kind = self.kind_to_disk(kind);
        self.write_entries(&place, [(ino, kind, name)]);
        Ok(())
    }
}
