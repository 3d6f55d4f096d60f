//! A file of the host as a disk.

use std::fs::File;
use std::io::{Error as IoError, IoSlice, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use base::{Errno, Error, Result};
use block::{BlockDevice, Capabilities, Io, SECTOR_SIZE};
use nix::sys::uio::pwritev;

/// Requests that go in one call at most.
const JOINED_MAX: usize = 32;

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

/// Where a sector begins.
const fn offset(sector: u64) -> u64 {
    sector * SECTOR_SIZE as u64
}

/// How many of the first requests are writes of neighbours, which go in one call: the host then handles its pages in larger pieces.
/// One of anything else.
fn joined(batch: &[Io<'_>]) -> usize {
    let mut end = None;
    let neighbours = batch.iter().take(JOINED_MAX).take_while(|io| {
        let joins = matches!(io, Io::Write { .. }) && end.is_none_or(|end| end == io.sector());
        end = Some(io.sector() + (io.len() / SECTOR_SIZE) as u64);
        joins
    });
    neighbours.count().max(1)
}

/// What a request writes.
fn data<'a>(io: &'a Io<'_>) -> &'a [u8] {
    match io {
        Io::Write { data, .. } => data,
        Io::Read { .. } => &[],
    }
}

fn failed(error: IoError) -> Error {
    log::error!("disk image: {error}");
    Error::new(Errno::EIO, "disk image")
}

impl FileDisk {
    /// Writes requests that lie one behind the other from `sector` on.
    fn write_joined(&self, sector: u64, writes: &[Io<'_>]) -> Result<()> {
        let slices: Vec<IoSlice<'_>> = writes.iter().map(|io| IoSlice::new(data(io))).collect();
        let at = offset(sector);
        let mut done = match slices.len() {
            0 | 1 => 0,
            _ => loop {
                match pwritev(&self.file, &slices, at as i64) {
                    Ok(count) => break count,
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(failed(errno.into())),
                }
            },
        };
        // What one call left: all of it where there is only one request.
        let mut start = at;
        for io in writes {
            let skip = done.min(io.len());
            if skip < io.len() {
                self.file.write_all_at(&data(io)[skip..], start + skip as u64).map_err(failed)?;
            }
            done -= skip;
            start += io.len() as u64;
        }
        Ok(())
    }
}

impl BlockDevice for FileDisk {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.capabilities.check(batch)?;
        let mut rest = batch;
        while let Some(first) = rest.first() {
            let sector = first.sector();
            let (now, later) = rest.split_at_mut(joined(rest));
            rest = later;
            match now {
                [Io::Read { buf, .. }] => self.file.read_exact_at(buf, offset(sector)).map_err(failed)?,
                writes => self.write_joined(sector, writes)?,
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.file.sync_data().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_a_batch_land_where_they_belong() {
        let path = std::env::temp_dir().join(format!("strata-host-disk-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.set_len(64 * 512 + 7).unwrap();
        let disk = FileDisk::over(file, Access::ReadWrite).unwrap();
        assert_eq!(disk.capabilities().sectors, 64);
        let (a, b, c, d) = ([1; 1024], [2; 512], [3; 512], [4; 512]);
        let mut before = [9; 512];
        disk.transfer(&mut [
            Io::Write { sector: 4, data: &a },
            Io::Write { sector: 6, data: &b },
            Io::Read { sector: 60, buf: &mut before },
            Io::Write { sector: 7, data: &c },
            Io::Write { sector: 9, data: &d },
        ])
        .unwrap();
        disk.flush().unwrap();
        let mut all = [0; 64 * 512];
        disk.read(0, &mut all).unwrap();
        let sectors: Vec<u8> = all.chunks(512).map(|sector| sector[0]).collect();
        assert_eq!(sectors[3..11], [0, 1, 1, 2, 3, 0, 4, 0]);
        assert_eq!(before, [0; 512]);
        assert_eq!(disk.write(63, &a).unwrap_err(), Errno::EIO);
    }

    #[test]
    fn a_read_only_disk_refuses_writes() {
        let file = File::open("/proc/self/exe").unwrap();
        let disk = FileDisk::over(file, Access::ReadOnly).unwrap();
        assert_eq!(disk.write(0, &[0; 512]).unwrap_err(), Errno::EROFS);
        disk.read(0, &mut [0; 512]).unwrap();
    }
}
