//! A file of the host as a disk, for tests and tools.

use std::fs::{File, OpenOptions};
use std::io::{Error as IoError, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use base::{Errno, Error, Result};

use crate::{BlockDevice, Capabilities, Io, SECTOR_SIZE};

/// A disk image in a file of the host.
pub struct FileDisk {
    file: File,
    capabilities: Capabilities,
}

impl FileDisk {
    /// Opens an image for reading and writing.
    ///
    /// # Errors
    /// What the host says.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Self::over(OpenOptions::new().read(true).write(true).open(path)?, false)
    }

    /// Opens an image that no write may reach.
    ///
    /// # Errors
    /// What the host says.
    pub fn open_read_only(path: &Path) -> std::io::Result<Self> {
        Self::over(File::open(path)?, true)
    }

    fn over(mut file: File, read_only: bool) -> std::io::Result<Self> {
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR_SIZE as u64;
        Ok(Self { file, capabilities: Capabilities { sectors, read_only, flush: true, discard: false } })
    }
}

fn failed(_: IoError) -> Error {
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
