//! Space that is free and spoken for.
//!
//! File data that has no place yet was promised one when it was written, with the blocks that its extents may need, so that
//! out of space is told by `write(2)` and never found at write-back. What the running transaction freed counts as free and
//! cannot be had before its commit.

use crate::transaction::Core;

/// Free blocks that are not to be had.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Promised {
    /// For data without a place.
    pub(crate) data: u64,
    /// For the nodes of extent trees that will lead to it.
    pub(crate) nodes: u64,
    /// Freed by transactions that have not committed.
    pub(crate) freed: u64,
}

impl Core {
    /// Blocks that are free, to be had now, and promised to nobody.
    pub(crate) fn available(&self) -> u64 {
        let Promised { data, nodes, freed } = self.promised;
        self.counters.free_blocks.saturating_sub(freed).saturating_sub(data).saturating_sub(nodes)
    }

    /// A file's data without a place goes from `before` blocks to `after`; a node of a tree has `per_node` entries.
    pub(crate) fn promise(&mut self, before: u32, after: u32, per_node: usize) {
        let promised = &mut self.promised;
        promised.data = (promised.data + u64::from(after)).saturating_sub(u64::from(before));
        promised.nodes = (promised.nodes + nodes_for(after, per_node)).saturating_sub(nodes_for(before, per_node));
    }
}

/// The most nodes that a tree needs for `blocks` more, each an extent of its own: every half node splits one, and the
/// ways down grow by a level or split.
pub(crate) fn nodes_for(blocks: u32, per_node: usize) -> u64 {
    const WAYS: u64 = 8;
    if blocks == 0 { 0 } else { u64::from(blocks) / (per_node as u64 / 2 - 1).max(1) + WAYS }
}
