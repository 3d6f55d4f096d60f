//! Changing the tree: a range of the file is made to map to something else, one leaf at a time.
//!
//! Insertion, conversion, punching and truncation are all [`Handle::remap`]. A node that overflows is split and its parent gets
//! an entry; a full root moves into a block of its own; a node that becomes empty goes. The key of an index
//! entry is always the first key below it, as `e2fsck` demands.

use alloc::sync::Arc;
use alloc::vec::Vec;

use block::Buffer;
use vfs::{Errno, Error, Result};

use super::node::{self, ENTRY, Header, RawEntry, capacity};
use super::{Extent, MAX_DEPTH};
use crate::bytes::le32;
use crate::inode::Inode;
use crate::inode::record::MAP_SIZE;
use crate::transaction::{Handle, Seal};

/// What becomes of blocks that a range no longer maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// They are freed, and no longer counted.
    Free,
    /// They are still the file's: only their state changes.
    Keep,
}

/// One node on the way from the root to a leaf.
struct Level {
    /// The node's block; `None` is the root in the inode.
    buffer: Option<Buffer>,
    /// The entry that leads down.
    slot: usize,
}

struct Path {
    levels: Vec<Level>,
    /// The first key behind the leaf.
    next: Option<u32>,
}

fn key_of(entry: &RawEntry) -> u32 {
    le32(entry, 0)
}

impl Handle<'_> {
    /// Makes the blocks from `from` up to `to` map to `new` alone, or to nothing. What lies in `new` must lie in the range.
    pub(crate) fn remap(
        &mut self,
        inode: &Arc<Inode>,
        from: u32,
        to: u64,
        new: Option<Extent>,
        removed: Removed,
    ) -> Result<()> {
        self.touch_data(inode)?;
        let mut at = from;
        let mut new = new;
        loop {
            let path = self.descend(inode, at)?;
            let next = path.next;
            self.remap_leaf(inode, path, from, to, new.take(), removed)?;
            match next {
                Some(key) if u64::from(key) < to => at = key,
                _ => return Ok(()),
            }
        }
    }

    /// As [`remap`](Self::remap) to nothing, for the last leaf of the tree only, and of that no more than has its blocks in so many
    /// `groups`; as many are left as were not used. Returns whether there may be more to remove.
    pub(crate) fn remove_from_last_leaf(&mut self, inode: &Arc<Inode>, from: u32, groups: &mut u32) -> Result<bool> {
        self.touch_data(inode)?;
        let path = self.descend(inode, u32::MAX)?;
        let entries = self.entries(inode, &path.levels)?;
        let first = entries.first().map(key_of);
        let deep = path.levels.len() > 1;
        let cut = self.within_groups(&entries, from, groups)?;
        self.remap_leaf(inode, path, cut, u64::from(u32::MAX) + 1, None, Removed::Free)?;
        Ok(cut > from || deep && first.is_some_and(|first| first > from))
    }

    /// From which block on, `from` or behind it, the extents of a leaf have their blocks in so many groups.
    fn within_groups(&self, entries: &[RawEntry], from: u32, groups: &mut u32) -> Result<u32> {
        let geometry = &self.fs.geometry;
        for raw in entries.iter().rev() {
            let extent = node::decode(raw).map_err(|error| self.fs.failed(error))?;
            if extent.end() <= u64::from(from) {
                break;
            }
            self.fs.check_extent(&extent)?;
            let block = extent.block.max(from);
            let start = extent.start + u64::from(block - extent.block);
            let last = geometry.group_of(extent.start + u64::from(extent.len) - 1);
            let wanted = last - geometry.group_of(start) + 1;
            if wanted > *groups {
                // The blocks in the last groups of it, if any.
                let at = geometry.group_start(last + 1 - *groups).min(extent.start + u64::from(extent.len));
                *groups = 0;
                return Ok(u32::try_from(u64::from(extent.block) + (at - extent.start)).unwrap_or(u32::MAX));
            }
            *groups -= wanted;
        }
        Ok(from)
    }

    fn remap_leaf(
        &mut self,
        inode: &Arc<Inode>,
        path: Path,
        from: u32,
        to: u64,
        new: Option<Extent>,
        removed: Removed,
    ) -> Result<()> {
        let old = self.entries(inode, &path.levels)?;
        let mut out: Vec<Extent> = Vec::with_capacity(old.len() + 2);
        let mut gone: Vec<(u64, u32)> = Vec::new();
        let mut new = new;
        let mut edited = 0;
        for raw in &old {
            let extent = node::decode(raw).map_err(|error| self.fs.failed(error))?;
            if extent.end() <= u64::from(from) {
                push(&mut out, extent);
                continue;
            }
            if u64::from(extent.block) >= to {
                if let Some(new) = new.take() {
                    push(&mut out, new);
                    edited = out.len();
                }
                push(&mut out, extent);
                continue;
            }
            self.fs.check_extent(&extent)?;
            if extent.block < from {
                push(&mut out, Extent { len: from - extent.block, ..extent });
            }
            let cut = extent.block.max(from);
            let cut_end = extent.end().min(to);
            gone.push((extent.start + u64::from(cut - extent.block), (cut_end - u64::from(cut)) as u32));
            if let Some(new) = new.take() {
                push(&mut out, new);
                edited = out.len();
            }
            if extent.end() > to {
                let skip = (to - u64::from(extent.block)) as u32;
                push(
                    &mut out,
                    Extent {
                        block: to as u32,
                        len: extent.len - skip,
                        start: extent.start + u64::from(skip),
                        state: extent.state,
                    },
                );
            }
        }
        if let Some(new) = new {
            push(&mut out, new);
            edited = out.len();
        }
        let entries: Vec<RawEntry> = out.iter().map(node::encode).collect();
        let appended = edited == entries.len();
        self.store_node(inode, path.levels, entries, appended)?;
        if removed == Removed::Free {
            let blocks: u64 = gone.iter().map(|&(_, len)| u64::from(len)).sum();
            for (start, len) in gone {
                self.free(start, u64::from(len))?;
            }
            self.count_blocks(inode, -(blocks as i64))?;
        }
        Ok(())
    }

    /// Changes the space that an inode is charged with, in blocks.
    pub(crate) fn count_blocks(&mut self, inode: &Arc<Inode>, blocks: i64) -> Result<()> {
        let sectors = blocks << (self.fs.geometry.block_bits - 9);
        self.update(inode, |record| record.sectors = record.sectors.saturating_add_signed(sectors))
    }

    fn root(inode: &Inode) -> [u8; MAP_SIZE] {
        inode.record.read().map
    }

    /// The way to the leaf where `block` belongs.
    fn descend(&self, inode: &Inode, block: u32) -> Result<Path> {
        let failed = |error| self.fs.failed(error);
        let root = Self::root(inode);
        let mut header = Header::parse(&root, None).map_err(failed)?;
        let mut path = Path { levels: alloc::vec![Level { buffer: None, slot: 0 }], next: None };
        while header.depth > 0 {
            let child = {
                let Some(level) = path.levels.last_mut() else { break };
                let guard = level.buffer.as_ref().map(Buffer::read);
                let bytes = guard.as_deref().unwrap_or(&root);
                let slot = node::search(bytes, header.entries, block).unwrap_or(0);
                if slot + 1 < header.entries {
                    path.next = Some(node::key(bytes, slot + 1));
                }
                level.slot = slot;
                (node::child(bytes, slot), node::key(bytes, slot))
            };
            let (child, key) = child;
            let buffer = self.fs.extent_node(inode, child)?;
            header = self.fs.header_below(&buffer, header.depth, key)?;
            path.levels.push(Level { buffer: Some(buffer), slot: 0 });
        }
        Ok(path)
    }

    /// The entries of the last node of a path.
    fn entries(&self, inode: &Inode, levels: &[Level]) -> Result<Vec<RawEntry>> {
        let root = Self::root(inode);
        let guard = levels.last().and_then(|level| level.buffer.as_ref()).map(Buffer::read);
        let bytes = guard.as_deref().unwrap_or(&root);
        let header = Header::parse(bytes, None).map_err(|error| self.fs.failed(error))?;
        Ok(bytes[ENTRY..].chunks_exact(ENTRY).take(header.entries).filter_map(|entry| entry.try_into().ok()).collect())
    }

    /// Puts `entries` into the last node of a path, and whatever follows from it into the nodes above.
    fn store_node(
        &mut self,
        inode: &Arc<Inode>,
        mut levels: Vec<Level>,
        mut entries: Vec<RawEntry>,
        appended: bool,
    ) -> Result<()> {
        loop {
            let Some(Level { buffer, .. }) = levels.pop() else { return Ok(()) };
            let root_depth = Header::parse(&Self::root(inode), None)?.depth;
            let depth = root_depth.saturating_sub(levels.len() as u16);
            let Some(buffer) = buffer else {
                if entries.len() <= capacity(MAP_SIZE) {
                    let depth = if entries.is_empty() { 0 } else { depth };
                    self.write_root(inode, &entries, depth)?;
                    return self.collapse(inode);
                }
                // The root is full: all of it moves into a block, which the root then leads to.
                if depth >= MAX_DEPTH {
                    return Err(Error::new(Errno::EFBIG, "extent tree too deep"));
                }
                let (block, _) = self.new_node(inode, &entries, depth)?;
                return self.write_root(inode, &[node::encode_index(key_of(&entries[0]), block)], depth + 1);
            };

            let mut parent = self.entries(inode, &levels)?;
            let slot = levels.last().map_or(0, |level| level.slot);
            if slot >= parent.len() {
                return Err(self.fs.corrupt("ext4: extent tree changed underway"));
            }
            if entries.is_empty() {
                let block = buffer.block();
                drop(buffer);
                parent.remove(slot);
                self.free(block, 1)?;
                self.count_blocks(inode, -1)?;
                entries = parent;
                continue;
            }
            let first = key_of(&entries[0]);
            let size = self.fs.geometry.block_size;
            let mut changed = key_of(&parent[slot]) != first;
            if changed {
                parent[slot] = node::encode_index(first, buffer.block());
            }
            if entries.len() > capacity(size) {
                // Behind an append the left node stays full, else the halves are even.
                let at = if appended { entries.len() - 1 } else { entries.len() / 2 };
                let right = entries.split_off(at);
                let (block, _) = self.new_node(inode, &right, depth)?;
                parent.insert(slot + 1, node::encode_index(key_of(&right[0]), block));
                changed = true;
            }
            self.write_node(inode, &buffer, &entries, depth);
            if !changed {
                return Ok(());
            }
            entries = parent;
        }
    }

    fn write_root(&mut self, inode: &Arc<Inode>, entries: &[RawEntry], depth: u16) -> Result<()> {
        self.update(inode, |record| {
            let mut map = [0; MAP_SIZE];
            node::put_header(&mut map, MAP_SIZE, entries.len(), depth);
            for (slot, entry) in map[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
                slot.copy_from_slice(entry);
            }
            record.map = map;
        })
    }

    fn write_node(&mut self, inode: &Inode, buffer: &Buffer, entries: &[RawEntry], depth: u16) {
        let mut bytes = alloc::vec![0; ENTRY + entries.len() * ENTRY];
        node::put_header(&mut bytes, self.fs.geometry.block_size, entries.len(), depth);
        for (slot, entry) in bytes[ENTRY..].chunks_exact_mut(ENTRY).zip(entries) {
            slot.copy_from_slice(entry);
        }
        self.replace(buffer, Seal::Extents(inode.seed), 0, &bytes);
    }

    /// A new node in a block of its own, near the inode's data.
    fn new_node(&mut self, inode: &Arc<Inode>, entries: &[RawEntry], depth: u16) -> Result<(u64, Buffer)> {
        let goal = match entries.last() {
            Some(entry) if depth == 0 => {
                let extent = node::decode(entry)?;
                extent.start
            }
            _ => self.goal_near(inode),
        };
        let (block, _) = self.allocate(goal, 1)?;
        let buffer = self.create(block, Seal::Extents(inode.seed))?;
        self.write_node(inode, &buffer, entries, depth);
        self.count_blocks(inode, 1)?;
        Ok((block, buffer))
    }

    /// While the root leads to a single node whose entries fit into it, that node is drawn in.
    fn collapse(&mut self, inode: &Arc<Inode>) -> Result<()> {
        loop {
            let root = Self::root(inode);
            let header = Header::parse(&root, None)?;
            if header.depth == 0 || header.entries != 1 {
                return Ok(());
            }
            let buffer = self.fs.extent_node(inode, node::child(&root, 0))?;
            let below = Header::parse(&buffer.read(), Some(header.depth - 1)).map_err(|error| self.fs.failed(error))?;
            if below.entries > capacity(MAP_SIZE) {
                return Ok(());
            }
            let entries: Vec<RawEntry> = {
                let bytes = buffer.read();
                let all = bytes[ENTRY..].chunks_exact(ENTRY).take(below.entries);
                all.filter_map(|entry| entry.try_into().ok()).collect()
            };
            let block = buffer.block();
            drop(buffer);
            self.write_root(inode, &entries, below.depth)?;
            self.free(block, 1)?;
            self.count_blocks(inode, -1)?;
        }
    }
}

/// Adds an extent, joined to the last one where they are one on both sides.
fn push(out: &mut Vec<Extent>, extent: Extent) {
    if let Some(last) = out.last_mut()
        && let Some(joined) = last.joined(&extent)
    {
        *last = joined;
        return;
    }
    out.push(extent);
}
