//! A disk that fails on demand.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sync::Mutex;
use base::{Errno, Error, Result};

use crate::{BlockDevice, Capabilities, Io};

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Every read that touches the sector fails.
    ReadSector(u64),
    /// Every write that touches the sector fails.
    WriteSector(u64),
    /// Every write with a sector that begins with these bytes: by what is written instead of where.
    WriteOf([u8; 8]),
    /// The read that many requests from now (0 is the next), and every one after it.
    ReadsAfter(u64),
    /// The write that many requests from now (0 is the next), and every one after it.
    WritesAfter(u64),
    /// One read in so many, chosen by a state that begins as any number but 0 and repeats the choice.
    SomeReads {
        /// On average one in so many fails.
        one_in: u64,
        /// The state.
        state: u64,
    },
    /// One write in so many, as with reads.
    SomeWrites {
        /// On average one in so many fails.
        one_in: u64,
        /// The state.
        state: u64,
    },
    /// Every flush.
    Flushes,
}

/// A disk over another one that answers `EIO` where it was told to.
pub struct FaultDisk {
    disk: Arc<dyn BlockDevice>,
    faults: Mutex<Vec<Fault>>,
}

impl FaultDisk {
    /// A disk that passes everything on until a fault is [set](Self::set).
    #[must_use]
    pub fn new(disk: Arc<dyn BlockDevice>) -> Self {
        Self { disk, faults: Mutex::new(Vec::new()) }
    }

    /// Adds a fault.
    pub fn set(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.faults.lock().clear();
    }

    fn fails(&self, io: &Io<'_>) -> bool {
        let write = matches!(io, Io::Write { .. });
        let range = io.sector()..io.sector() + (io.len() / crate::SECTOR_SIZE) as u64;
        let mut failed = false;
        for fault in self.faults.lock().iter_mut() {
            failed |= match fault {
                Fault::ReadSector(sector) => !write && range.contains(sector),
                Fault::WriteSector(sector) => write && range.contains(sector),
                Fault::WriteOf(begin) => match io {
                    Io::Write { data, .. } => data.chunks(crate::SECTOR_SIZE).any(|sector| sector.starts_with(begin)),
                    Io::Read { .. } => false,
                },
                Fault::ReadsAfter(left) if !write => count_down(left),
                Fault::WritesAfter(left) if write => count_down(left),
                Fault::SomeReads { one_in, state } if !write => by_chance(*one_in, state),
                Fault::SomeWrites { one_in, state } if write => by_chance(*one_in, state),
                Fault::ReadsAfter(_)
                | Fault::WritesAfter(_)
                | Fault::SomeReads { .. }
                | Fault::SomeWrites { .. }
                | Fault::Flushes => false,
            };
        }
        failed
    }
}

/// xorshift64 (Marsaglia 2003).
fn by_chance(one_in: u64, state: &mut u64) -> bool {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11).is_multiple_of(one_in.max(1))
}

fn count_down(left: &mut u64) -> bool {
    let now = *left == 0;
    *left = left.saturating_sub(1);
    now
}

impl BlockDevice for FaultDisk {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        let mut failed = false;
        for io in batch.iter_mut() {
            if self.fails(io) {
                failed = true;
            } else {
                self.disk.transfer(core::slice::from_mut(io))?;
            }
        }
        if failed { Err(Error::new(Errno::EIO, "injected fault")) } else { Ok(()) }
    }

    fn flush(&self) -> Result<()> {
        if self.faults.lock().contains(&Fault::Flushes) {
            return Err(Error::new(Errno::EIO, "injected flush fault"));
        }
        self.disk.flush()
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.discard(sector, sectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn some_writes_fail_by_chance_and_the_same_ones_again() {
        let failures = || {
            let disk = FaultDisk::new(Arc::new(MemoryDisk::new(1 << 20)));
            disk.set(Fault::SomeWrites { one_in: 4, state: 7 });
            let failed: Vec<u64> = (0..200).filter(|&sector| disk.write(sector, &[1; 512]).is_err()).collect();
            assert!((0..200).all(|sector| disk.read(sector, &mut [0; 512]).is_ok()));
            failed
        };
        let first = failures();
        assert!((20..80).contains(&first.len()), "{}", first.len());
        assert_eq!(first, failures());
    }
}
