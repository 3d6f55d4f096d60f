//! The journal of a filesystem that is being mounted: where it lies, and its [recovery](crate::recovery).

use alloc::vec::Vec;

use block::SECTOR_SIZE;

use crate::bytes::{le16, le32, put16, put32};
use crate::error::MountError;
use crate::extent::{Mapping, State};
use crate::features::Incompat;
use crate::fs::Ext4;
use crate::mount::read_superblock;
use crate::recovery::{JournalExtent, JournalMap, recover as replay};
use crate::superblock::{self, STATE_ERROR, SUPERBLOCK_OFFSET, field};

/// The fewest blocks of a journal (`JBD2_MIN_JOURNAL_BLOCKS`).
const LEAST_BLOCKS: u64 = 1024;

/// Replays the journal and clears the mark that asked for it. Whatever `fs` has cached is stale afterwards.
///
/// # Errors
/// [`MountError::Journal`] where the journal is external, cannot be found or cannot be trusted; [`MountError::Device`].
pub(crate) fn recover(fs: &Ext4) -> Result<(), MountError> {
    let geometry = &fs.geometry;
    if geometry.journal_inode == 0 {
        return Err(MountError::Journal("it is on another device"));
    }
    let map = locate(fs)?;
    let device = &**fs.cache.device();
    let done = replay(device, &map, geometry.block_size, geometry.blocks)?;
    // The superblock may have been in the journal: read it again.
    let mut raw = read_superblock(device)?;
    let incompat = le32(&raw, field::FEATURE_INCOMPAT) & !Incompat::RECOVER.bits();
    put32(&mut raw, field::FEATURE_INCOMPAT, incompat);
    if done.errno != 0 {
        let state = le16(&raw, field::STATE) | STATE_ERROR;
        put16(&mut raw, field::STATE, state);
    }
    superblock::seal(&mut raw);
    device.write(SUPERBLOCK_OFFSET / SECTOR_SIZE as u64, &raw)?;
    device.flush()?;
    log::info!("ext4: journal replayed: {} transactions, {} blocks", done.transactions, done.blocks);
    Ok(())
}

/// The journal's extents.
fn locate(fs: &Ext4) -> Result<JournalMap, MountError> {
    let unusable = |_| MountError::Journal("its inode cannot be read");
    let inode = fs.inode(fs.geometry.journal_inode).map_err(unusable)?;
    let blocks = inode.record.read().size >> fs.geometry.block_bits;
    if blocks < LEAST_BLOCKS || blocks > fs.geometry.blocks {
        return Err(MountError::Journal("its size is impossible"));
    }
    let mut extents = Vec::new();
    let mut logical = 0;
    while u64::from(logical) < blocks {
        match fs.map(&inode, logical).map_err(unusable)? {
            Mapping::Blocks { start, len, state: State::Written } => {
                extents.try_reserve(1).map_err(|_| MountError::Journal("no memory for its map"))?;
                extents.push(JournalExtent { logical, physical: start, blocks: len });
                logical = logical.saturating_add(len);
            }
            _ => return Err(MountError::Journal("its file has a hole")),
        }
    }
    Ok(JournalMap { extents })
}
