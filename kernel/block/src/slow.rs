//! A disk that takes its time.

use alloc::boxed::Box;
use alloc::sync::Arc;

use base::Result;

use crate::{BlockDevice, Capabilities, Io};

/// What a [`SlowDisk`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// A batch of so many requests and bytes.
    Transfer {
        /// Requests.
        requests: usize,
        /// Bytes of all of them.
        bytes: usize,
    },
    /// A flush.
    Flush,
}

/// A disk over another one that waits before each request, so that what is not awaited shows.
pub struct SlowDisk {
    disk: Arc<dyn BlockDevice>,
    wait: Box<dyn Fn(Request) + Send + Sync>,
}

impl SlowDisk {
    /// Calls `wait`, which takes as long as it likes, before everything that `disk` is asked.
    #[must_use]
    pub fn new(disk: Arc<dyn BlockDevice>, wait: impl Fn(Request) + Send + Sync + 'static) -> Self {
        Self { disk, wait: Box::new(wait) }
    }
}

impl BlockDevice for SlowDisk {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        (self.wait)(Request::Transfer { requests: batch.len(), bytes: batch.iter().map(Io::len).sum() });
        self.disk.transfer(batch)
    }

    fn flush(&self) -> Result<()> {
        (self.wait)(Request::Flush);
        self.disk.flush()
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.discard(sector, sectors)
    }
}

#[cfg(test)]
mod tests {
    use base::sync::Mutex;

    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn every_request_waits() {
        let seen = Arc::new(Mutex::new(alloc::vec::Vec::new()));
        let noted = seen.clone();
        let disk = SlowDisk::new(Arc::new(MemoryDisk::new(1 << 20)), move |request| noted.lock().push(request));
        disk.write_durable(0, &[1; 1024]).unwrap();
        assert_eq!(*seen.lock(), [Request::Transfer { requests: 1, bytes: 1024 }, Request::Flush]);
    }
}
