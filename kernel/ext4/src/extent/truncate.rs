//! Freeing the end of a file, in as many handles as it takes.

use alloc::sync::Arc;

use vfs::Result;

use super::node::empty_root;
use crate::inode::Inode;
use crate::inode::record::flag;
use crate::transaction::Handle;

/// Leaves that one handle empties at most,
const LEAVES: usize = 16;
/// and groups that it frees blocks of: so many bitmaps change, and as many descriptors at worst.
const GROUPS: u32 = 64;

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
        let mut groups = GROUPS;
        for _ in 0..LEAVES {
            if !self.remove_from_last_leaf(inode, from, &mut groups)? {
                return Ok(Progress::Done);
            }
            if groups == 0 {
                break;
            }
        }
        Ok(Progress::More)
    }

    /// Makes an inode that owns blocks start with an empty tree.
    pub(crate) fn start_extents(&mut self, inode: &Arc<Inode>) -> Result<()> {
        self.update(inode, |record| {
            record.map = empty_root();
            record.flags |= flag::EXTENTS;
        })
    }
}
