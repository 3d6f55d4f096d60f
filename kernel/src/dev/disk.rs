//! Disks as block devices: `/dev/vda` and its neighbours.
//!
//! While a filesystem is mounted from a disk, nobody opens it to write: the two would not see each other's changes.
//!
//! Locks: [`CLAIMED`], released before anything is called.

use alloc::sync::Arc;
use alloc::vec;

use base::sync::Mutex;
use block::{BlockDevice, SECTOR_SIZE};
use vfs::{DeviceNumber, DeviceOps, Errno, Error, OpenDevice, OpenFlags, Result, Seeking, UserMemory};

use super::{DISK_MAJOR, DISK_MINORS};
use crate::disks::{self, VirtioDisk};

/// How much is transferred at a time, in bytes.
const PIECE: usize = 64 << 10;

/// Disks with a mounted filesystem, by place; and open files that write, by place.
static CLAIMED: Mutex<heapless::Vec<Claim, 64>> = Mutex::new(heapless::Vec::new());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    Mounted(usize),
    Written(usize),
}

/// Takes a disk for a filesystem.
///
/// # Errors
/// `EBUSY` when one is mounted from it, or somebody has it open to write.
pub(crate) fn claim(index: usize) -> Result<()> {
    let mut claimed = CLAIMED.lock();
    if claimed.iter().any(|claim| matches!(claim, Claim::Mounted(other) | Claim::Written(other) if *other == index)) {
        return Err(Error::new(Errno::EBUSY, "the disk is in use"));
    }
    claimed.push(Claim::Mounted(index)).map_err(|_| Errno::EBUSY.into())
}

/// Gives a disk free again.
pub(crate) fn release(index: usize) {
    forget(Claim::Mounted(index));
}

fn forget(claim: Claim) {
    let mut claimed = CLAIMED.lock();
    if let Some(place) = claimed.iter().position(|other| *other == claim) {
        claimed.swap_remove(place);
    }
}

/// The disk of a device number, with its place among [`disks::all`].
pub(crate) fn find(number: DeviceNumber) -> Option<(usize, &'static VirtioDisk)> {
    if number.major != DISK_MAJOR || !number.minor.is_multiple_of(DISK_MINORS) {
        return None;
    }
    let index = (number.minor / DISK_MINORS) as usize;
    Some((index, disks::all().nth(index)?))
}

/// Serves all disks.
pub(super) struct Driver;

impl DeviceOps for Driver {
    fn open(&self, number: DeviceNumber, flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        let (index, disk) = find(number).ok_or(Errno::ENXIO)?;
        if flags.writes() {
            if disk.capabilities().read_only {
                return Err(Errno::EROFS.into());
            }
            let mut claimed = CLAIMED.lock();
            if claimed.contains(&Claim::Mounted(index)) {
                return Err(Error::new(Errno::EBUSY, "a filesystem is mounted from the disk"));
            }
            claimed.push(Claim::Written(index)).map_err(|_| Errno::EBUSY)?;
        }
        Ok(Arc::new(OpenDisk { disk, index, writes: flags.writes() }))
    }
}

struct OpenDisk {
    disk: &'static VirtioDisk,
    index: usize,
    writes: bool,
}

impl Drop for OpenDisk {
    fn drop(&mut self) {
        if self.writes {
            forget(Claim::Written(self.index));
        }
    }
}

impl OpenDisk {
    fn length(&self) -> u64 {
        self.disk.capabilities().sectors * SECTOR_SIZE as u64
    }

    /// The next piece of a transfer at `offset` of `left` bytes: its first sector, its length in whole sectors, and where in it
    /// the bytes begin and end.
    fn piece(offset: u64, left: usize) -> (u64, usize, usize, usize) {
        let sector = offset / SECTOR_SIZE as u64;
        let begin = (offset % SECTOR_SIZE as u64) as usize;
        let length = (begin + left).next_multiple_of(SECTOR_SIZE).min(PIECE);
        (sector, length, begin, (begin + left).min(length))
    }
}

impl OpenDevice for OpenDisk {
    fn read(&self, offset: u64, buf: &mut [u8], _flags: OpenFlags) -> Result<usize> {
        let wanted = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let mut bounce = vec![0; PIECE.min((wanted + 2 * SECTOR_SIZE).next_multiple_of(SECTOR_SIZE))];
        let mut done = 0;
        while done < wanted {
            let (sector, length, begin, end) = Self::piece(offset + done as u64, wanted - done);
            self.disk.read(sector, &mut bounce[..length])?;
            buf[done..done + (end - begin)].copy_from_slice(&bounce[begin..end]);
            done += end - begin;
        }
        Ok(done)
    }

    fn write(&self, offset: u64, data: &[u8], _flags: OpenFlags) -> Result<usize> {
        let wanted = usize::try_from(self.length().saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        if wanted == 0 && !data.is_empty() {
            return Err(Errno::ENOSPC.into());
        }
        let mut bounce = vec![0; PIECE.min((wanted + 2 * SECTOR_SIZE).next_multiple_of(SECTOR_SIZE))];
        let mut done = 0;
        while done < wanted {
            let (sector, length, begin, end) = Self::piece(offset + done as u64, wanted - done);
            if begin != 0 || end != length {
                // Parts of sectors: what is around them stays.
                self.disk.read(sector, &mut bounce[..length])?;
            }
            bounce[begin..end].copy_from_slice(&data[done..done + (end - begin)]);
            self.disk.write(sector, &bounce[..length])?;
            done += end - begin;
        }
        Ok(done)
    }

    fn seeking(&self) -> Seeking {
        Seeking::UpTo(self.length())
    }

    fn ioctl(&self, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        const BLKROGET: u32 = 0x125e;
        const BLKGETSIZE: u32 = 0x1260;
        const BLKFLSBUF: u32 = 0x1261;
        const BLKSSZGET: u32 = 0x1268;
        const BLKBSZGET: u32 = 0x8008_1270;
        const BLKGETSIZE64: u32 = 0x8008_1272;
        let capabilities = self.disk.capabilities();
        match command {
            BLKROGET => memory.copy_out(argument, &u32::from(capabilities.read_only).to_ne_bytes())?,
            BLKGETSIZE => memory.copy_out(argument, &capabilities.sectors.to_ne_bytes())?,
            BLKGETSIZE64 => memory.copy_out(argument, &self.length().to_ne_bytes())?,
            BLKSSZGET => memory.copy_out(argument, &(SECTOR_SIZE as u32).to_ne_bytes())?,
            // An `int`, whatever the command's number says.
            BLKBSZGET => memory.copy_out(argument, &4096_u32.to_ne_bytes())?,
            BLKFLSBUF => self.disk.flush()?,
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }

    fn sync(&self) -> Result<()> {
        self.disk.flush()
    }
}
