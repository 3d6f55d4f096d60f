//! `SEEK_DATA` and `SEEK_HOLE`. Reserved blocks that were never written count as holes, as in Linux.

use vfs::Result;

use crate::extent::{Mapping, State};
use crate::fs::Ext4;
use crate::inode::Inode;

/// What is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seek {
    Data,
    Hole,
}

impl Ext4 {
    /// The first byte at or after `offset` of the kind sought; the end of the file counts as a hole.
    pub(crate) fn seek(&self, inode: &Inode, offset: u64, seek: Seek) -> Result<Option<u64>> {
        let _content = inode.content.read();
        let size = inode.record.read().size;
        if offset >= size {
            return Ok(None);
        }
        let bits = self.geometry.block_bits;
        let mut at = offset;
        while at < size {
            let block = (at >> bits) as u32;
            let mapping = self.map_file(inode, block)?;
            let is_data = matches!(mapping, Mapping::Blocks { state: State::Written, .. } | Mapping::Delayed { .. });
            if is_data == (seek == Seek::Data) {
                return Ok(Some(at));
            }
            at = (u64::from(block) + u64::from(mapping.len())) << bits;
        }
        Ok(match seek {
            Seek::Data => None,
            Seek::Hole => Some(size),
        })
    }
}
