//! What a disk can do.

use base::{Errno, Error, Result};

/// The unit of addresses, in bytes, whatever the device's own sector is.
pub const SECTOR_SIZE: usize = 512;

/// One request of a batch. Buffers are whole multiples of [`SECTOR_SIZE`], not empty.
#[derive(Debug)]
pub enum Io<'a> {
    /// Fills `buf` from `sector` on.
    Read {
        /// First sector.
        sector: u64,
        /// Where the bytes go.
        buf: &'a mut [u8],
    },
    /// Writes `data` from `sector` on.
    Write {
        /// First sector.
        sector: u64,
        /// The bytes.
        data: &'a [u8],
    },
}

impl Io<'_> {
    /// First sector of the request.
    #[must_use]
    pub const fn sector(&self) -> u64 {
        match self {
            Self::Read { sector, .. } | Self::Write { sector, .. } => *sector,
        }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Read { buf, .. } => buf.len(),
            Self::Write { data, .. } => data.len(),
        }
    }

    /// Whether the request moves nothing; such a request is invalid.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks the request against a device of `sectors` sectors, so that no driver meets one it would assert on.
    ///
    /// # Errors
    /// `EINVAL` for an empty or odd length; `EIO` past the end.
    pub fn check(&self, sectors: u64) -> Result<()> {
        if self.is_empty() || !self.len().is_multiple_of(SECTOR_SIZE) {
            return Err(Error::new(Errno::EINVAL, "length is no multiple of a sector"));
        }
        let count = (self.len() / SECTOR_SIZE) as u64;
        match self.sector().checked_add(count) {
            Some(end) if end <= sectors => Ok(()),
            _ => Err(Error::new(Errno::EIO, "request past the end of the device")),
        }
    }
}

/// What a device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Size in sectors of [`SECTOR_SIZE`].
    pub sectors: u64,
    /// Writes are refused with `EROFS`.
    pub read_only: bool,
    /// `flush` makes what was written durable; where false, nothing can be promised, and the mount says so.
    pub flush: bool,
    /// `discard` is known.
    pub discard: bool,
}

impl Capabilities {
    /// Checks a batch before anything of it is sent.
    ///
    /// # Errors
    /// `EINVAL` and `EIO` as [`Io::check`]; `EROFS` for a write to a read-only device.
    pub fn check(&self, batch: &[Io<'_>]) -> Result<()> {
        batch.iter().try_for_each(|io| {
            io.check(self.sectors)?;
            match io {
                Io::Write { .. } if self.read_only => Err(Error::new(Errno::EROFS, "write to a read-only disk")),
                _ => Ok(()),
            }
        })
    }
}

/// A disk. Requests of one batch may be carried out in any order and overlap in time; batches are ordered only by
/// the caller's waiting. What was written is durable only after a later [`flush`](Self::flush).
pub trait BlockDevice: Send + Sync {
    /// Size and abilities; constant.
    fn capabilities(&self) -> Capabilities;

    /// Carries out all requests, as many at once as the device takes, and returns when the last one is done.
    ///
    /// # Errors
    /// `EIO` if any failed (which ones is unknown), `EROFS` for a write to a read-only device, `EINVAL` and
    /// `EIO` as [`Io::check`]: nothing was sent then.
    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()>;

    /// Makes every write that has returned durable.
    ///
    /// # Errors
    /// `EIO`.
    fn flush(&self) -> Result<()>;

    /// Tells the device that a range is not needed; what it reads as afterwards is unknown.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, `EROFS`, `EIO`.
    fn discard(&self, _sector: u64, _sectors: u64) -> Result<()> {
        Err(Errno::EOPNOTSUPP.into())
    }

    /// One read.
    ///
    /// # Errors
    /// As [`transfer`](Self::transfer).
    fn read(&self, sector: u64, buf: &mut [u8]) -> Result<()> {
        self.transfer(&mut [Io::Read { sector, buf }])
    }

    /// One write.
    ///
    /// # Errors
    /// As [`transfer`](Self::transfer).
    fn write(&self, sector: u64, data: &[u8]) -> Result<()> {
        self.transfer(&mut [Io::Write { sector, data }])
    }

    /// One write that is durable when this returns: through the device's cache where it knows how (FUA), else followed by a
    /// flush. Nothing is promised of earlier writes.
    ///
    /// # Errors
    /// As [`transfer`](Self::transfer) and [`flush`](Self::flush).
    fn write_durable(&self, sector: u64, data: &[u8]) -> Result<()> {
        self.write(sector, data)?;
        self.flush()
    }
}
