//! The mark of a format that has not come to its end: in the first sector, which ext4 leaves to others. Written before all else and
//! cleared after all else, it tells a disk that a power cut left half formatted from one with data of somebody's.
//!
//! It has the checksums of both sectors of the superblock that is to be written last. Where these are still zero, or one of them
//! only is there, nobody has used the disk since, and the format may begin anew. Where they are anything else, the mark is void.

use base::Result;
use block::{BlockDevice, SECTOR_SIZE};

use super::image::SUPERBLOCK_OFFSET;
use crate::bytes::{le32, put, put32};
use crate::checksum::crc32c;
use crate::superblock::SUPERBLOCK_SIZE;

const TEXT: &[u8; 32] = b"Strata: being formatted as ext4\n";
/// Checksums of the superblock's sectors,
const SECTORS: usize = 32;
/// and of all before.
const CHECKSUM: usize = 40;
/// Sectors up to the end of the superblock.
const HEAD: usize = SUPERBLOCK_OFFSET as usize + SUPERBLOCK_SIZE;

type Sector = [u8; SECTOR_SIZE];

/// The mark of a format that will end with this superblock.
pub(super) fn new(superblock: &[u8; SUPERBLOCK_SIZE]) -> Sector {
    let mut mark = [0; SECTOR_SIZE];
    put(&mut mark, 0, TEXT);
    for (index, sector) in superblock.chunks(SECTOR_SIZE).enumerate() {
        put32(&mut mark, SECTORS + 4 * index, crc32c(!0, sector));
    }
    let sum = crc32c(!0, &mark[..CHECKSUM]);
    put32(&mut mark, CHECKSUM, sum);
    mark
}

fn is_mark(sector: &[u8]) -> bool {
    sector.starts_with(TEXT)
        && crc32c(!0, &sector[..CHECKSUM]) == le32(sector, CHECKSUM)
        && sector[CHECKSUM + 4..].iter().all(|&byte| byte == 0)
}

/// Whether a format of this disk was cut off, and may begin anew.
///
/// # Errors
/// `EIO`.
pub(crate) fn is_interrupted(device: &dyn BlockDevice) -> Result<bool> {
    let mut head = [0; HEAD];
    if device.capabilities().sectors < (HEAD / SECTOR_SIZE) as u64 {
        return Ok(false);
    }
    device.read(0, &mut head)?;
    let (mark, superblock) = (&head[..SECTOR_SIZE], &head[SUPERBLOCK_OFFSET as usize..]);
    let mut sectors = superblock.chunks(SECTOR_SIZE).enumerate();
    let mut there = 0;
    let ours = sectors.all(|(index, sector)| {
        let arrived = crc32c(!0, sector) == le32(mark, SECTORS + 4 * index);
        there += usize::from(arrived);
        arrived || sector.iter().all(|&byte| byte == 0)
    });
    Ok(is_mark(mark) && ours && there < SUPERBLOCK_SIZE / SECTOR_SIZE)
}

/// Clears the mark of a format that was cut off when all but this had been done.
///
/// # Errors
/// `EIO`.
pub(crate) fn clear(device: &dyn BlockDevice) -> Result<()> {
    let mut sector = [0; SECTOR_SIZE];
    device.read(0, &mut sector)?;
    if is_mark(&sector) {
        device.write(0, &[0; SECTOR_SIZE])?;
        device.flush()?;
    }
    Ok(())
}
