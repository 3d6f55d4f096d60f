//! Whether a disk is blank.

use alloc::vec::Vec;

use base::{Errno, Error, Result};
use block::{BlockDevice, Io, SECTOR_SIZE};

use super::mark;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A disk of up to this size is read whole: under emulation a second or so, once in its life.
const WHOLE: u64 = 1 << 30;
/// A larger one would take minutes. Its start is read whole so far: partition tables, volume managers (LVM, mdraid), swap and every filesystem that is in use
/// sign in the first 128 KiB, of the disk itself or of its first partition, which tools put at 1 MiB.
const START: u64 = 16 * MIB;
/// Its end is read whole so far: backups of GPT and NTFS, mdraid 0.90 and 1.0, two of ZFS's four labels.
const END: u64 = 16 * MIB;
/// Everywhere between, this many samples are read at equal distances, so that what is longer than one part in so many of the
/// disk is always found.
const SAMPLES: u64 = 8192;
/// Size of a sample, in bytes.
const SAMPLE: u64 = 4 * KIB;
/// Memory for reading, in bytes; a request of an end has an eighth of it, so that eight are in flight.
const MEMORY: usize = 1 << 20;

/// Whether a disk holds nothing but zeros, or what a format left that was cut off. Of one larger than 1 GiB this is told by its start, its end, samples between them, and the
/// places where a filesystem whose start was wiped keeps copies.
///
/// # Errors
/// `EIO` of the device, `ENOMEM`.
pub fn is_blank(device: &dyn BlockDevice) -> Result<bool> {
    if mark::is_interrupted(device)? {
        return Ok(true);
    }
    let sectors = device.capabilities().sectors;
    let bytes = sectors.saturating_mul(SECTOR_SIZE as u64);
    let mut reader = Reader { device, memory: Vec::new() };
    reader.memory.try_reserve_exact(MEMORY).map_err(|_| Error::new(Errno::ENOMEM, "memory to look at the disk"))?;
    reader.memory.resize(MEMORY, 0);

    let whole = bytes <= WHOLE;
    let start = if whole { bytes } else { START };
    let request = MEMORY as u64 / 8;
    for range in [0..start, (bytes - END.min(bytes)).max(start)..bytes] {
        let pieces = (range.start..range.end).step_by(request as usize).map(|at| (at, request.min(range.end - at)));
        if !reader.is_zero(pieces)? {
            return Ok(false);
        }
    }
    if whole {
        return Ok(true);
    }
    let step = (bytes / (SAMPLES + 1)).next_multiple_of(SAMPLE);
    let samples = (1..=SAMPLES).map(|index| index * step);
    let places = samples.chain(copies(bytes)).filter(|at| at + SAMPLE <= bytes);
    reader.is_zero(places.map(|at| (at, SAMPLE)))
}

/// Where filesystems keep copies of what they have at their start, if they fill the disk.
fn copies(bytes: u64) -> impl Iterator<Item = u64> {
    // ext2 to ext4 with blocks of 1, 2 and 4 KiB: at the first group, and with `sparse_super` at powers of 3, 5 and 7. btrfs: at 64
    // MiB and 256 GiB. A partition that is not the first begins at a whole MiB, often a round one.
    let round = (1..40).map(|power| MIB << power);
    let groups = [8, 32, 128].into_iter().flat_map(|group| [3, 5, 7, 9, 25, 27].map(|number| number * group * MIB));
    // XFS: at every allocation group, of which it makes four; NTFS: in the middle.
    let parts = (1..8).map(move |part| bytes / 8 * part / SAMPLE * SAMPLE);
    round.chain(groups).chain(parts)
}

struct Reader<'a> {
    device: &'a dyn BlockDevice,
    memory: Vec<u8>,
}

impl Reader<'_> {
    /// Whether all pieces (offset and length in bytes, whole sectors) read as zero; as many at once as memory allows.
    fn is_zero(&mut self, pieces: impl Iterator<Item = (u64, u64)>) -> Result<bool> {
        let mut pieces = pieces.peekable();
        while pieces.peek().is_some() {
            let mut batch = Vec::new();
            let mut rest = &mut self.memory[..];
            while let Some((at, length)) = pieces.next_if(|(_, length)| *length as usize <= rest.len()) {
                let (buf, after) = rest.split_at_mut(length as usize);
                rest = after;
                batch.push(Io::Read { sector: at / SECTOR_SIZE as u64, buf });
            }
            self.device.transfer(&mut batch)?;
            if !batch.iter().all(|io| matches!(io, Io::Read { buf, .. } if all_zero(buf))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn all_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    // Whole blocks without a branch in them: the compiler makes wide operations of them.
    blocks.iter().all(|block| block.iter().fold(0, |bits, byte| bits | byte) == 0) && rest.iter().all(|&byte| byte == 0)
}
