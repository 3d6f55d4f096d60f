//! The log of QEMU's `blklogwrites` driver, which is that of Linux's `dm-log-writes`: all that a disk was asked to do, in the
//! order in which it was done.
//!
//! A sector with the superblock (magic, version, number of entries, sector size), then for each entry a sector with its place, length and
//! flags, followed by its data if it has any. All numbers are little-endian.

use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::path::Path;

use block::{BlockDevice as _, MemoryDisk};
use contract::random::Random;
use storm::SECTOR;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;

const FLUSH: u64 = 1 << 0;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;

/// What a disk was asked.
pub(crate) enum Entry {
    /// These bytes were written from this sector on.
    Write(u64, Vec<u8>),
    /// As many sectors from this one on were given back.
    Discard(u64, u64),
    /// All that had been done was made durable.
    Flush,
}

/// The entries of a log.
///
/// # Errors
/// Those of the file; `InvalidData` for what is no such log.
pub(crate) fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut log = BufReader::with_capacity(1 << 20, File::open(path)?);
    let sector = &mut [0; SECTOR];
    log.read_exact(sector)?;
    let (magic, version, count) = (word(sector, 0), word(sector, 1), word(sector, 2));
    if magic != MAGIC || version != VERSION || word(sector, 3) as u32 as usize != SECTOR {
        return Err(invalid(format!("magic {magic:#x}, version {version}")));
    }
    (0..count).map(|_| entry(&mut log, sector)).collect()
}

fn entry(log: &mut impl Read, sector: &mut [u8; SECTOR]) -> Result<Entry> {
    log.read_exact(sector)?;
    let (place, sectors, flags) = (word(sector, 0), word(sector, 1), word(sector, 2));
    match flags {
        FLUSH => Ok(Entry::Flush),
        DISCARD => Ok(Entry::Discard(place, sectors)),
        0 | FUA => {
            let mut data = vec![0; sectors as usize * SECTOR];
            log.read_exact(&mut data)?;
            Ok(Entry::Write(place, data))
        }
        MARK => Err(invalid("a mark, which QEMU does not make".into())),
        _ => Err(invalid(format!("flags {flags:#x}"))),
    }
}

fn word(sector: &[u8; SECTOR], index: usize) -> u64 {
    let (words, _) = sector.as_chunks();
    u64::from_le_bytes(words[index])
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

impl Entry {
    /// Does to `disk` what the entry says.
    pub(crate) fn apply(&self, disk: &MemoryDisk) -> vfs::Result<()> {
        match self {
            Self::Write(sector, data) => disk.write(*sector, data),
            // What a discarded sector holds is open; zeros are what the image of QEMU got.
            Self::Discard(sector, sectors) => disk.write(*sector, &vec![0; *sectors as usize * SECTOR]),
            Self::Flush => Ok(()),
        }
    }

    /// Does it to some of its sectors.
    pub(crate) fn apply_part(&self, disk: &MemoryDisk, random: &mut Random) -> vfs::Result<()> {
        let Self::Write(first, data) = self else { return Ok(()) };
        for (sector, bytes) in (*first..).zip(data.chunks(SECTOR)) {
            if random.one_in(2) {
                disk.write(sector, bytes)?;
            }
        }
        Ok(())
    }

    /// The last promise that had been given when this was asked, if it shows.
    pub(crate) fn promised(&self) -> Option<u64> {
        let Self::Write(_, data) = self else { return None };
        data.chunks(SECTOR).filter_map(storm::marked).max()
    }
}
