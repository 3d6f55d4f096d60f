//! A disk that keeps a record of all that is written to it, and what power cuts make of that.
//!
//! A [`RecordingDisk`] passes everything on to the disk below and notes writes, durable writes, flushes and discards in the order
//! in which they returned. [`Recording::cut`] then makes the state in which a power cut would have left the disk:
//!
//! - what was written before the last flush is there, and so is what was written durably;
//! - of everything else any part may be there: [`Survival`] says which. Writes that are not separated by a flush may have
//!   reached the medium in any order, so a later one may be there and an earlier one not; the last ones may be torn, a sector
//!   being the least that is written whole.
//!
//! ```
//! use std::sync::Arc;
//! use block::{BlockDevice, MemoryDisk, RecordingDisk, Survival, WriteCache};
//!
//! let below = Arc::new(MemoryDisk::new(1 << 20));
//! let start = below.snapshot();
//! let disk = RecordingDisk::new(below, WriteCache::Flush);
//! disk.write(0, &[1; 512])?;
//! disk.flush()?;
//! disk.write(8, &[2; 512])?;
//! let recording = disk.take();
//! for events in 0..=recording.len() {
//!     let after = start.snapshot();
//!     recording.cut(&after, events, Survival::Nothing)?;
//!     // Mount `after`, and look whether it holds what had been promised by then.
//! }
//! # Ok::<(), base::Error>(())
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::Result;
use base::sync::Mutex;

use crate::{BlockDevice, Capabilities, Io, SECTOR_SIZE};

/// Something that happened to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written from a sector on; the device may keep them in its cache.
    Write {
        /// First sector.
        sector: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// Bytes were written through the cache (FUA): they are on the medium.
    WriteDurable {
        /// First sector.
        sector: u64,
        /// The bytes.
        data: Arc<[u8]>,
    },
    /// The cache was emptied onto the medium.
    Flush,
    /// A range was given up. A cut makes garbage of it, as the contract of discard allows.
    Discard {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u64,
    },
}

/// How a disk makes single writes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    /// By a flush after them, as virtio disks do.
    Flush,
    /// It also writes through its cache (FUA).
    WriteThrough,
}

/// What a power cut leaves of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// All of it.
    Everything,
    /// None of it.
    Nothing,
    /// A part chosen by this seed: whole writes, single sectors of others, in any order.
    Some(u64),
}

/// A disk that records.
pub struct RecordingDisk {
    disk: Arc<dyn BlockDevice>,
    cache: WriteCache,
    events: Mutex<Vec<Event>>,
}

impl RecordingDisk {
    /// Records what happens to `disk` from now on. Whoever wants to replay it keeps a copy of what the disk holds now.
    #[must_use]
    pub fn new(disk: Arc<dyn BlockDevice>, cache: WriteCache) -> Self {
        Self { disk, cache, events: Mutex::new(Vec::new()) }
    }

    /// How many events there are so far: a point in time to which a cut can come back.
    #[must_use]
    pub fn position(&self) -> usize {
        self.events.lock().len()
    }

    /// What was recorded; the record begins anew.
    #[must_use]
    pub fn take(&self) -> Recording {
        Recording { events: core::mem::take(&mut self.events.lock()) }
    }

    /// A copy of what was recorded so far.
    #[must_use]
    pub fn recording(&self) -> Recording {
        Recording { events: self.events.lock().clone() }
    }

    fn note(&self, event: Event) {
        self.events.lock().push(event);
    }
}

impl BlockDevice for RecordingDisk {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        let result = self.disk.transfer(batch);
        // A batch that failed may have been written all the same; a cut can leave it out.
        let mut events = self.events.lock();
        for io in batch.iter() {
            if let Io::Write { sector, data } = io {
                events.push(Event::Write { sector: *sector, data: Arc::from(*data) });
            }
        }
        result
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()?;
        self.note(Event::Flush);
        Ok(())
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.discard(sector, sectors)?;
        self.note(Event::Discard { sector, sectors });
        Ok(())
    }

    fn write_durable(&self, sector: u64, data: &[u8]) -> Result<()> {
        match self.cache {
            WriteCache::Flush => {
                self.write(sector, data)?;
                self.flush()
            }
            WriteCache::WriteThrough => {
                self.disk.write(sector, data)?;
                self.note(Event::WriteDurable { sector, data: Arc::from(data) });
                Ok(())
            }
        }
    }
}

/// What happened to a disk, in order.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    events: Vec<Event>,
}

impl Recording {
    /// How many events there are: cuts go from 0 to this.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Brings `disk`, which holds what the recorded one did at the start, into the state that a power cut after the first
    /// `events` events leaves. With [`Survival::Some`] the last of them, still under way, may be there in part.
    ///
    /// # Errors
    /// As [`BlockDevice::write`].
    pub fn cut(&self, disk: &dyn BlockDevice, events: usize, survival: Survival) -> Result<()> {
        let past = &self.events[..events.min(self.events.len())];
        let flushed = past.iter().rposition(|event| *event == Event::Flush).unwrap_or(0);
        let (safe, loose) = past.split_at(flushed);
        for event in safe {
            match event {
                Event::Write { sector, data } | Event::WriteDurable { sector, data } => disk.write(*sector, data)?,
                Event::Discard { sector, sectors } => spoil(disk, *sector, *sectors)?,
                Event::Flush => {}
            }
        }
        let mut random = Chance::new(survival, events);
        // Later writes to a sector win over earlier ones that survive, whatever the order in which both reached the medium:
        // a device does not overwrite the new by the old. So an order is a choice of which are there.
        for event in loose {
            match event {
                Event::WriteDurable { sector, data } => disk.write(*sector, data)?,
                Event::Write { sector, data } => match survival {
                    Survival::Everything => disk.write(*sector, data)?,
                    Survival::Nothing => {}
                    Survival::Some(_) => random.write_some(disk, *sector, data)?,
                },
                Event::Discard { sector, sectors } => match survival {
                    Survival::Everything => spoil(disk, *sector, *sectors)?,
                    Survival::Nothing => {}
                    Survival::Some(_) if random.next().is_multiple_of(2) => {}
                    Survival::Some(_) => spoil(disk, *sector, *sectors)?,
                },
                Event::Flush => {}
            }
        }
        Ok(())
    }
}

/// What a discarded sector reads as.
const GARBAGE: u8 = 0xdb;

fn spoil(disk: &dyn BlockDevice, sector: u64, sectors: u64) -> Result<()> {
    (sector..sector + sectors).try_for_each(|sector| disk.write(sector, &[GARBAGE; SECTOR_SIZE]))
}

/// Chance that a seed repeats (splitmix64).
struct Chance(u64);

impl Chance {
    fn new(survival: Survival, events: usize) -> Self {
        let seed = if let Survival::Some(seed) = survival { seed } else { 0 };
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ events as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Two of five writes are lost, two are there, and one is torn: each of its sectors is there or not.
    fn write_some(&mut self, disk: &dyn BlockDevice, sector: u64, data: &[u8]) -> Result<()> {
        match self.next() % 5 {
            0 | 1 => Ok(()),
            2 | 3 => disk.write(sector, data),
            _ => {
                for (index, piece) in data.chunks(SECTOR_SIZE).enumerate() {
                    if self.next().is_multiple_of(2) {
                        disk.write(sector + index as u64, piece)?;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    fn first_bytes(disk: &MemoryDisk) -> [u8; 4] {
        core::array::from_fn(|sector| {
            let mut bytes = [0; SECTOR_SIZE];
            disk.read(sector as u64, &mut bytes).unwrap();
            bytes[0]
        })
    }

    fn recorded(cache: WriteCache) -> Recording {
        let disk = RecordingDisk::new(Arc::new(MemoryDisk::new(1 << 20)), cache);
        disk.write(0, &[1; SECTOR_SIZE]).unwrap();
        disk.flush().unwrap();
        disk.write(1, &[2; SECTOR_SIZE]).unwrap();
        disk.write_durable(2, &[3; SECTOR_SIZE]).unwrap();
        disk.write(3, &[4; SECTOR_SIZE]).unwrap();
        assert_eq!(disk.position(), disk.recording().len());
        disk.take()
    }

    #[test]
    fn a_cut_keeps_what_was_flushed_or_written_durably_and_drops_the_rest() {
        let recording = recorded(WriteCache::WriteThrough);
        let disk = MemoryDisk::new(1 << 20);
        recording.cut(&disk, recording.len(), Survival::Nothing).unwrap();
        assert_eq!(first_bytes(&disk), [1, 0, 3, 0]);
        let recording = recorded(WriteCache::Flush);
        let disk = MemoryDisk::new(1 << 20);
        recording.cut(&disk, recording.len(), Survival::Nothing).unwrap();
        assert_eq!(first_bytes(&disk), [1, 2, 3, 0]);
        let disk = MemoryDisk::new(1 << 20);
        recording.cut(&disk, 1, Survival::Nothing).unwrap();
        assert_eq!(first_bytes(&disk), [0; 4]);
        recording.cut(&disk, recording.len(), Survival::Everything).unwrap();
        assert_eq!(first_bytes(&disk), [1, 2, 3, 4]);
    }

    #[test]
    fn what_was_discarded_is_garbage_and_may_be_so_before_the_next_flush() {
        let disk = RecordingDisk::new(Arc::new(MemoryDisk::new(1 << 20)), WriteCache::Flush);
        (0..4).for_each(|sector| disk.write(sector, &[1; SECTOR_SIZE]).unwrap());
        disk.flush().unwrap();
        disk.discard(1, 2).unwrap();
        disk.write(2, &[2; SECTOR_SIZE]).unwrap();
        let recording = disk.take();
        let after = |survival| {
            let disk = MemoryDisk::new(1 << 20);
            recording.cut(&disk, recording.len(), survival).unwrap();
            first_bytes(&disk)
        };
        assert_eq!(after(Survival::Everything), [1, GARBAGE, 2, 1]);
        assert_eq!(after(Survival::Nothing), [1; 4]);
        assert!((0..20).any(|seed| after(Survival::Some(seed)) == [1, GARBAGE, GARBAGE, 1]));
    }

    #[test]
    fn a_seed_chooses_what_survives_and_repeats_it_and_tears_by_sectors() {
        let disk = RecordingDisk::new(Arc::new(MemoryDisk::new(1 << 20)), WriteCache::Flush);
        for round in 0..8 {
            disk.write(round * 8, &[1; 8 * SECTOR_SIZE]).unwrap();
        }
        let recording = disk.take();
        let image = |seed| {
            let disk = MemoryDisk::new(64 * SECTOR_SIZE as u64);
            recording.cut(&disk, 8, Survival::Some(seed)).unwrap();
            disk.to_image()
        };
        assert!((0..20).all(|seed| image(seed) == image(seed)));
        assert!((0..20).any(|seed| image(seed) != image(seed + 1)));
        let torn = (0..20).flat_map(|seed| {
            let image = image(seed);
            (0..8)
                .map(move |write| image[write * 4096..][..4096].iter().filter(|&&byte| byte == 1).count())
                .collect::<Vec<_>>()
        });
        let torn: Vec<usize> = torn.collect();
        assert!(torn.iter().all(|bytes| bytes % SECTOR_SIZE == 0));
        assert!(torn.iter().any(|bytes| !matches!(bytes, 0 | 4096)));
    }
}
