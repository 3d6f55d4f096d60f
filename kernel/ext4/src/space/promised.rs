//! Space that is free and spoken for.
//!
//! File data that has no place yet was promised one when it was written, with the blocks that its extents may need, so that
//! out of space is told by `write(2)` and never found at write-back. What the running transaction freed counts as free and
//! cannot be had before its commit.

use crate::extent::node::capacity;
use crate::inode::record::MAP_SIZE;
use crate::transaction::Core;

/// The most children of a tree's root.
const ROOT_ENTRIES: u64 = capacity(MAP_SIZE) as u64;

/// Free blocks that are not to be had.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Promised {
    /// For data without a place.
    pub(crate) data: u64,
    /// For the nodes of extent trees that will lead to it.
    pub(crate) nodes: u64,
    /// Those of them that a node which is there may split into.
    pub(crate) splits: u64,
    /// Freed by transactions that have not committed.
    pub(crate) freed: u64,
}

impl Promised {
    /// One file's share was `before`, and now it is `after`.
    pub(crate) fn change(&mut self, before: Share, after: Share) {
        let change = |sum: &mut u64, before: u64, after: u64| *sum = (*sum + after).saturating_sub(before);
        change(&mut self.data, before.data, after.data);
        change(&mut self.nodes, before.nodes, after.nodes);
        change(&mut self.splits, before.splits, after.splits);
    }
}

impl Core {
    /// Blocks that are free, to be had now, and promised to nobody.
    pub(crate) fn available(&self) -> u64 {
        let Promised { data, nodes, freed, .. } = self.promised;
        self.counters.free_blocks.saturating_sub(freed).saturating_sub(data).saturating_sub(nodes)
    }

    /// A file's data without a place was promised `before`, and now it is `after`.
    pub(crate) fn promise(&mut self, before: Share, after: Share) {
        self.promised.change(before, after);
    }
}

/// What one file's data without a place is promised.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Share {
    data: u64,
    nodes: u64,
    splits: u64,
}

impl Share {
    /// For `blocks` in so many stretches, each between extents of a tree of that depth with `per_node` entries in a node.
    ///
    /// At worst each block is an extent of its own. All nodes on the way to a stretch may be full, for appending leaves
    /// them so: the first extent splits each. From then on every half node of extents splits one. And the ways down
    /// grow by a level.
    pub(crate) fn of(blocks: u32, stretches: usize, depth: u16, per_node: usize) -> Self {
        const WAYS: u64 = 8;
        if blocks == 0 {
            return Self::default();
        }
        let mut splits = 0;
        let mut in_level = ROOT_ENTRIES;
        for _ in 0..depth {
            splits += in_level.min(stretches as u64);
            in_level = in_level.saturating_mul(per_node as u64);
        }
        let nodes = u64::from(blocks) / (per_node as u64 / 2 - 1).max(1) + splits + WAYS;
        Self { data: u64::from(blocks), nodes, splits }
    }

    /// All blocks, of data and of nodes.
    pub(crate) fn blocks(&self) -> u64 {
        self.data + self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_may_split_every_node_above_it_but_no_more_than_there_are() {
        let splits = |stretches, depth| Share::of(1000, stretches, depth, 84).splits;
        assert_eq!([splits(90, 0), splits(90, 1), splits(90, 2), splits(90, 3)], [0, 4, 94, 184]);
        assert_eq!(splits(1000, 2), 4 + 336);
        assert_eq!(Share::of(0, 0, 2, 84).blocks(), 0);
    }
}
