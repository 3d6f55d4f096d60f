//! Lookup: what a block of a file maps to.

use block::Buffer;
use vfs::Result;

use super::node::{self, Header};
use super::{Extent, State};
use crate::fs::Ext4;
use crate::inode::Inode;
use crate::inode::record::MAP_SIZE;
use crate::transaction::Seal;

/// What a range of a file that begins with the block asked for maps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Blocks on the disk.
    Blocks { start: u64, len: u32, state: State },
    /// Nothing; at least `len` blocks of it.
    Hole { len: u32 },
    /// Data in the cache, under these numbers, that has no place on the disk yet: of regular files, from
    /// [`Ext4::map_file`] only.
    Delayed { start: u64, len: u32 },
}

impl Mapping {
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Blocks { len, .. } | Self::Hole { len } | Self::Delayed { len, .. } => *len,
        }
    }
}

impl Ext4 {
    /// What block `block` of a file maps to. The caller holds the inode's `content`, or its core lock.
    pub(crate) fn map(&self, inode: &Inode, block: u32) -> Result<Mapping> {
        let (root, extents) = {
            let record = inode.record.read();
            (record.map, record.uses_extents())
        };
        if !extents {
            return self.map_indirect(&root, block);
        }
        let (found, next) = self.find_extent(inode, &root, block)?;
        if let Some(extent) = found
            && u64::from(block) < extent.end()
        {
            let offset = block - extent.block;
            return Ok(Mapping::Blocks {
                start: extent.start + u64::from(offset),
                len: extent.len - offset,
                state: extent.state,
            });
        }
        Ok(Mapping::Hole { len: next.map_or(u32::MAX - block, |next| next.saturating_sub(block)).max(1) })
    }

    /// The last extent that begins at or before `block`, checked, and the key of the one behind it.
    pub(crate) fn find_extent(
        &self,
        inode: &Inode,
        root: &[u8; MAP_SIZE],
        block: u32,
    ) -> Result<(Option<Extent>, Option<u32>)> {
        let failed = |error| self.failed(error);
        let mut header = Header::parse(root, None).map_err(failed)?;
        let mut buffer: Option<Buffer> = None;
        let mut next: Option<u32> = None;
        loop {
            let child = {
                let guard = buffer.as_ref().map(Buffer::read);
                let bytes = guard.as_deref().unwrap_or(root);
                let index = node::search(bytes, header.entries, block);
                let after = index.map_or(0, |index| index + 1);
                if after < header.entries {
                    next = Some(node::key(bytes, after));
                }
                if header.depth == 0 {
                    let Some(index) = index else { return Ok((None, next)) };
                    let extent = node::extent(bytes, index).map_err(failed)?;
                    self.check_extent(&extent)?;
                    if next.is_some_and(|next| extent.end() > u64::from(next)) {
                        return Err(self.corrupt("ext4: extents overlap"));
                    }
                    return Ok((Some(extent), next));
                }
                match index {
                    Some(index) => (node::child(bytes, index), node::key(bytes, index)),
                    None => return Ok((None, next)),
                }
            };
            let (below, key) = child;
            let below = self.extent_node(inode, below)?;
            header = self.header_below(&below, header.depth, key)?;
            buffer = Some(below);
        }
    }

    /// The header of the node that an index entry of that depth and key leads to.
    pub(crate) fn header_below(&self, below: &Buffer, depth: u16, key: u32) -> Result<Header> {
        let bytes = below.read();
        let header = Header::parse(&bytes, Some(depth - 1)).map_err(|error| self.failed(error))?;
        if header.entries == 0 || node::key(&bytes, 0) != key {
            return Err(self.corrupt("ext4: key of an extent index"));
        }
        Ok(header)
    }

    /// Refuses an extent outside of the filesystem or over its metadata.
    pub(crate) fn check_extent(&self, extent: &Extent) -> Result<()> {
        let count = u64::from(extent.len);
        if !self.geometry.contains(extent.start, count) || self.zones.overlap(extent.start, count) {
            return Err(self.corrupt("ext4: extent outside of the data area"));
        }
        Ok(())
    }

    /// A block of an extent tree.
    pub(crate) fn extent_node(&self, inode: &Inode, block: u64) -> Result<Buffer> {
        if !self.geometry.contains(block, 1) || self.zones.overlap(block, 1) {
            return Err(self.corrupt("ext4: extent node outside of the data area"));
        }
        self.metadata(block, Seal::Extents(inode.seed))
    }
}
