//! The htree: an index of hash ranges over a directory's blocks (`struct dx_root`, `struct dx_node`).
//!
//! The root is in block 0 behind `.` and `..`; there are at most two levels. The blocks below hold plain entries, so that
//! whoever does not know the index may read them all.

use alloc::vec::Vec;

use vfs::Result;

use super::linear::DirBlock;
use super::names::{Entry, Vacancy};
use crate::bytes::{le16, le32};
use crate::fs::Ext4;
use crate::hash::{HashVersion, Hasher};
use crate::inode::Inode;

/// Offset of `dx_root_info` in block 0.
pub(crate) const ROOT_INFO: usize = 24;
/// Offset of the entries in block 0 and in other index blocks.
pub(crate) const ROOT_ENTRIES: usize = 32;
pub(crate) const NODE_ENTRIES: usize = 8;
/// Size of an index entry: hash and block.
pub(crate) const INDEX_ENTRY: usize = 8;
/// Index levels below the root that are allowed.
pub(crate) const MAX_LEVELS: u8 = 1;
/// Blocks whose hash ranges share one hash that are followed at most.
const MAX_COLLISION_BLOCKS: usize = 64;

/// One index block on the way to a leaf.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) place: DirBlock,
    /// Offset of its entries.
    pub(crate) entries: usize,
    pub(crate) count: usize,
    pub(crate) limit: usize,
    /// The entry that leads down.
    pub(crate) slot: usize,
}

impl Frame {
    /// Checks an index block.
    fn new(fs: &Ext4, place: DirBlock, entries: usize) -> Result<Self> {
        let (limit, count) = {
            let bytes = place.buffer.read();
            (usize::from(le16(&bytes, entries)), usize::from(le16(&bytes, entries + 2)))
        };
        if count == 0 || count > limit || limit > Self::limit(fs, entries) {
            return Err(fs.corrupt("ext4: counts of a directory index"));
        }
        Ok(Self { place, entries, count, limit, slot: 0 })
    }

    /// How many entries an index block has place for.
    pub(crate) fn limit(fs: &Ext4, entries: usize) -> usize {
        let tail = usize::from(fs.geometry.features.has_checksums());
        (fs.geometry.block_size - entries) / INDEX_ENTRY - tail
    }

    /// The hash from which on entry `slot` is responsible; the first one has none of its own.
    pub(crate) fn hash(&self, slot: usize) -> u32 {
        if slot == 0 { 0 } else { le32(&self.place.buffer.read(), self.entries + slot * INDEX_ENTRY) }
    }

    pub(crate) fn block(&self, slot: usize) -> u32 {
        le32(&self.place.buffer.read(), self.entries + slot * INDEX_ENTRY + 4) & 0x0fff_ffff
    }

    /// Makes `slot` the last entry whose hash is not greater.
    fn search(&mut self, hash: u32) {
        let bytes = self.place.buffer.read();
        let (mut low, mut high) = (1, self.count);
        while low < high {
            let middle = (low + high) / 2;
            if le32(&bytes, self.entries + middle * INDEX_ENTRY) > hash {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        drop(bytes);
        self.slot = low - 1;
    }
}

/// The way from the root of an index to a leaf.
#[derive(Debug, Clone)]
pub(crate) struct IndexPath {
    pub(crate) frames: Vec<Frame>,
    pub(crate) hasher: Hasher,
    /// The hash that it was searched for.
    hash: u32,
}

impl IndexPath {
    /// The block of the leaf.
    pub(crate) fn leaf(&self) -> Option<u32> {
        self.frames.last().map(|frame| frame.block(frame.slot))
    }

    /// Goes to the next leaf; returns the hash that it begins with, `None` behind the last one.
    pub(crate) fn advance(&mut self, fs: &Ext4, dir: &Inode) -> Result<Option<u32>> {
        let Some(level) = self.frames.iter().rposition(|frame| frame.slot + 1 < frame.count) else {
            return Ok(None);
        };
        self.frames[level].slot += 1;
        let hash = self.frames[level].hash(self.frames[level].slot);
        for below in level + 1..self.frames.len() {
            let parent = &self.frames[below - 1];
            self.frames[below] = fs.index_node(dir, parent.block(parent.slot))?;
        }
        Ok(Some(hash))
    }
}

impl Ext4 {
    fn index_node(&self, dir: &Inode, block: u32) -> Result<Frame> {
        if block == 0 || block >= self.dir_blocks(dir) {
            return Err(self.corrupt("ext4: block of a directory index"));
        }
        let place = self.dir_block(dir, block)?;
        if !super::linear::is_index_node(&place.buffer.read()) {
            return Err(self.corrupt("ext4: node of a directory index"));
        }
        Frame::new(self, place, NODE_ENTRIES)
    }

    /// How names of this htree are hashed, and its index levels.
    fn index_root(&self, dir: &Inode) -> Result<(Frame, Hasher, u8)> {
        let place = self.dir_block(dir, 0)?;
        let (version, levels, sane) = {
            let bytes = place.buffer.read();
            let info = &bytes[ROOT_INFO..ROOT_INFO + 8];
            (info[4], info[6], le32(info, 0) == 0 && info[5] == 8 && info[7] & 1 == 0)
        };
        let version = HashVersion::from_disk(version).filter(|_| sane && levels <= MAX_LEVELS);
        let Some(version) = version else {
            return Err(self.corrupt("ext4: root of a directory index"));
        };
        let hasher = Hasher { version, ..self.geometry.hasher };
        Ok((Frame::new(self, place, ROOT_ENTRIES)?, hasher, levels))
    }

    /// The way to the leaf where a hash belongs. Without a hash given, that of `name`.
    pub(crate) fn index_path(&self, dir: &Inode, target: Target<'_>) -> Result<IndexPath> {
        let (mut root, hasher, levels) = self.index_root(dir)?;
        let hash = match target {
            Target::Name(name) => hasher.hash(name).major,
            Target::Hash(hash) => hash,
        };
        root.search(hash);
        let mut frames = Vec::with_capacity(2);
        let below = root.block(root.slot);
        frames.push(root);
        if levels == 1 {
            let mut node = self.index_node(dir, below)?;
            node.search(hash);
            frames.push(node);
        }
        let path = IndexPath { frames, hasher, hash };
        match path.leaf() {
            Some(leaf) if leaf != 0 && leaf < self.dir_blocks(dir) => Ok(path),
            _ => Err(self.corrupt("ext4: leaf of a directory index")),
        }
    }

    /// Finds a name through the index.
    pub(crate) fn find_indexed(
        &self,
        dir: &Inode,
        name: &[u8],
        vacancy: &mut Option<Vacancy>,
    ) -> Result<Option<Entry>> {
        let mut path = self.index_path(dir, Target::Name(name))?;
        let hash = path.hash;
        for _ in 0..MAX_COLLISION_BLOCKS {
            let Some(leaf) = path.leaf() else { break };
            self.check_leaf(dir, leaf)?;
            if let Some(entry) = self.find_in_block(dir, leaf, name, vacancy)? {
                return Ok(Some(entry));
            }
            // An odd hash tells that the next leaf goes on with the hash of this one.
            match path.advance(self, dir)? {
                Some(next) if next & 1 == 1 && next & !1 == hash => {}
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    pub(crate) fn check_leaf(&self, dir: &Inode, leaf: u32) -> Result<()> {
        if leaf == 0 || leaf >= self.dir_blocks(dir) {
            return Err(self.corrupt("ext4: leaf of a directory index"));
        }
        Ok(())
    }
}

/// What an index is searched for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target<'a> {
    Name(&'a [u8]),
    Hash(u32),
}
