//! Whether a disk is blank.

use alloc::vec::Vec;

use base::{Errno, Error, Result};
use block::{BlockDevice, Io, SECTOR_SIZE};

/// Both ends are read whole, this much each: every partition table, volume manager and filesystem signs there.
const END: u64 = 1 << 20;
/// Between the ends, this many samples are read at equal distances, so that what is longer than one part in so many of
/// the disk is always found. Reading all of it would take minutes on a large disk.
const SAMPLES: u64 = 4096;
/// Size of a sample, in bytes.
const SAMPLE: u64 = 4096;
/// Memory for reading, in bytes; a request of an end has an eighth of it, so that eight are in flight.
const MEMORY: usize = 1 << 20;

/// Whether a disk holds nothing: its first and last MiB and samples between them are all zero.
///
/// # Errors
/// `EIO` of the device, `ENOMEM`.
pub fn is_blank(device: &dyn BlockDevice) -> Result<bool> {
    let sectors = device.capabilities().sectors;
    let bytes = sectors.saturating_mul(SECTOR_SIZE as u64);
    let mut reader = Reader { device, memory: Vec::new() };
    reader.memory.try_reserve_exact(MEMORY).map_err(|_| Error::new(Errno::ENOMEM, "memory to look at the disk"))?;
    reader.memory.resize(MEMORY, 0);

    let end = END.min(bytes);
    let request = MEMORY as u64 / 8;
    let ends = [0..end, (bytes - end).max(end)..bytes];
    for range in ends {
        let pieces = (range.start..range.end).step_by(request as usize).map(|at| (at, request.min(range.end - at)));
        if !reader.is_zero(pieces)? {
            return Ok(false);
        }
    }
    let step = (bytes / (SAMPLES + 1)).next_multiple_of(SAMPLE);
    let samples = (1..=SAMPLES).map(|index| index * step).take_while(|at| at + SAMPLE <= bytes);
    reader.is_zero(samples.map(|at| (at, SAMPLE)))
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

/// A slice whose first byte is 0 and whose neighbours are equal is zero: the comparison runs at memcmp's speed.
fn all_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && bytes[..rest.len()] == *rest,
    }
}
