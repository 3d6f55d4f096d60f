//! A disk that counts what is asked of the one below it.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use base::Result;

use crate::{BlockDevice, Capabilities, Io};

/// What a [`CountingDisk`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Flushes.
    pub flushes: u64,
    /// The most read requests that one batch had, so were in flight together.
    pub most_reads_in_flight: u64,
    /// The most write requests that one batch had.
    pub most_writes_in_flight: u64,
}

/// A disk over another one that counts requests.
pub struct CountingDisk {
    disk: Arc<dyn BlockDevice>,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    flushes: AtomicU64,
    most_reads: AtomicU64,
    most_writes: AtomicU64,
}

impl CountingDisk {
    /// Counts what `disk` is asked from now on.
    #[must_use]
    pub fn new(disk: Arc<dyn BlockDevice>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            disk,
            reads: zero(),
            bytes_read: zero(),
            writes: zero(),
            bytes_written: zero(),
            flushes: zero(),
            most_reads: zero(),
            most_writes: zero(),
        }
    }

    /// What was counted since the last call.
    pub fn take(&self) -> Counts {
        Counts {
            reads: self.reads.swap(0, Relaxed),
            bytes_read: self.bytes_read.swap(0, Relaxed),
            writes: self.writes.swap(0, Relaxed),
            bytes_written: self.bytes_written.swap(0, Relaxed),
            flushes: self.flushes.swap(0, Relaxed),
            most_reads_in_flight: self.most_reads.swap(0, Relaxed),
            most_writes_in_flight: self.most_writes.swap(0, Relaxed),
        }
    }
}

impl BlockDevice for CountingDisk {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        let (mut reads, mut writes) = (0, 0);
        for io in batch.iter() {
            match io {
                Io::Read { buf, .. } => {
                    reads += 1;
                    self.bytes_read.fetch_add(buf.len() as u64, Relaxed);
                }
                Io::Write { data, .. } => {
                    writes += 1;
                    self.bytes_written.fetch_add(data.len() as u64, Relaxed);
                }
            }
        }
        self.reads.fetch_add(reads, Relaxed);
        self.writes.fetch_add(writes, Relaxed);
        self.most_reads.fetch_max(reads, Relaxed);
        self.most_writes.fetch_max(writes, Relaxed);
        self.disk.transfer(batch)
    }

    fn flush(&self) -> Result<()> {
        self.flushes.fetch_add(1, Relaxed);
        self.disk.flush()
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.discard(sector, sectors)
    }
}
