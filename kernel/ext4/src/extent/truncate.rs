//! Freeing the end of a file, in as many handles as it takes.

use alloc::sync::Arc;

use vfs::Result;

use super::node::{Header, empty_root};
use crate::inode::Inode;
use crate::inode::record::flag;
use crate::transaction::Handle;

/// Leaves that one handle empties at most.
const LEAVES: usize = 16;

/// Whether a truncation has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// Another handle must go on.
    More,
}

impl Handle<'_> {
    /// Frees what a file has from block `from` on, or a part of it at the end.
    pub(crate) fn truncate_blocks(&mut self, inode: &Arc<Inode>, from: u32) -> Result<Progress> {
        if !inode.record.read().uses_extents() {
            return self.truncate_indirect(inode, from);
        }
        for _ in 0..LEAVES {
            if !self.remove_from_last_leaf(inode, from)? {
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::More)
    }

    /// Whether truncation fits into one handle for certain: the extents are all in the inode.
    pub(crate) fn is_shallow(inode: &Inode) -> bool {
        let record = inode.record.read();
        record.uses_extents() && Header::parse(&record.map, None).is_ok_and(|header| header.depth == 0)
    }

    /// Makes an inode that owns blocks start with an empty tree.
    pub(crate) fn start_extents(&mut self, inode: &Arc<Inode>) -> Result<()> {
        self.update(inode, |record| {
            record.map = empty_root();
            record.flags |= flag::EXTENTS;
        })
    }
}
