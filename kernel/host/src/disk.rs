//! A file of the host as a disk.

use std::fs::File;
use std::io::{Error as IoError, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use base::{Errno, Error, Result};
use block::{BlockDevice, Capabilities, Io, SECTOR_SIZE};

/// Whether a disk may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is read and written.
    ReadWrite,
    /// Writes are refused.
    ReadOnly,
}

/// A disk image in a file of the host, or a block device of it. Reads and writes go through the host's page cache, a flush is
/// `fdatasync(2)`: as durable as a loop device, which does the same.
pub struct FileDisk {
    file: File,
    capabilities: Capabilities,
}

impl FileDisk {
    /// A disk as large as the open file is now; what is no whole sector at its end is left out.
    ///
    /// # Errors
    /// What the host says when it is asked for the size.
    pub fn over(mut file: File, access: Access) -> std::io::Result<Self> {
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR_SIZE as u64;
        let read_only = access == Access::ReadOnly;
        Ok(Self { file, capabilities: Capabilities { sectors, read_only, flush: true, discard: false } })
    }
}

fn failed(error: IoError) -> Error {
    log::error!("disk image: {error}");
    Error::new(Errno::EIO, "disk image")
}

impl BlockDevice for FileDisk {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        for io in batch.iter() {
            io.check(self.capabilities.sectors)?;
            if self.capabilities.read_only && matches!(io, Io::Write { .. }) {
                return Err(Error::new(Errno::EROFS, "write to a read-only disk"));
            }
        }
        for io in batch {
            let offset = io.sector() * SECTOR_SIZE as u64;
            match io {
                Io::Read { buf, .. } => self.file.read_exact_at(buf, offset).map_err(failed)?,
                Io::Write { data, .. } => self.file.write_all_at(data, offset).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(failed)
    }
}
