//! A sparse disk in memory, for tests and for machines without one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sync::RwLock;
use base::{Errno, Error, Result};

use crate::{BlockDevice, Capabilities, Io, SECTOR_SIZE};

/// Memory is taken in pieces of this size, when they are first written.
const CHUNK: usize = 64 * 1024;

/// A disk whose bytes live in memory. What was never written reads as zeros and takes no memory; [copies](Self::snapshot)
/// share what neither has written since.
pub struct MemoryDisk {
    chunks: RwLock<Vec<Option<Arc<[u8]>>>>,
    capabilities: Capabilities,
}

impl MemoryDisk {
    /// A disk of `bytes` (rounded down to whole sectors), all zero.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let sectors = bytes / SECTOR_SIZE as u64;
        let count = (sectors * SECTOR_SIZE as u64).div_ceil(CHUNK as u64) as usize;
        let capabilities = Capabilities { sectors, read_only: false, flush: true, discard: true };
        Self { chunks: RwLock::new((0..count).map(|_| None).collect()), capabilities }
    }

    /// A disk that starts with the bytes of `image`.
    #[must_use]
    pub fn from_image(image: &[u8]) -> Self {
        let disk = Self::new(image.len() as u64);
        {
            let mut chunks = disk.chunks.write();
            for (slot, piece) in chunks.iter_mut().zip(image.chunks(CHUNK)) {
                if piece.iter().any(|&byte| byte != 0) {
                    let mut chunk = alloc::vec![0; CHUNK];
                    chunk[..piece.len()].copy_from_slice(piece);
                    *slot = Some(Arc::from(chunk));
                }
            }
        }
        disk
    }

    /// A disk that refuses writes, with the bytes of `image`.
    #[must_use]
    pub fn read_only(image: &[u8]) -> Self {
        let mut disk = Self::from_image(image);
        disk.capabilities.read_only = true;
        disk
    }

    /// A disk with the same bytes, that goes its own way from here. It costs a word for each 64 KiB.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { chunks: RwLock::new(self.chunks.read().clone()), capabilities: self.capabilities }
    }

    /// All bytes of the disk.
    #[must_use]
    pub fn to_image(&self) -> Vec<u8> {
        let mut image = alloc::vec![0; self.capabilities.sectors as usize * SECTOR_SIZE];
        let chunks = self.chunks.read();
        for (piece, slot) in image.chunks_mut(CHUNK).zip(chunks.iter()) {
            if let Some(chunk) = slot {
                piece.copy_from_slice(&chunk[..piece.len()]);
            }
        }
        image
    }

    /// Calls `each` with the offset and bytes of every piece that was ever written: a sparse copy.
    pub fn for_each_written(&self, mut each: impl FnMut(u64, &[u8])) {
        let size = self.capabilities.sectors * SECTOR_SIZE as u64;
        for (index, slot) in self.chunks.read().iter().enumerate() {
            if let Some(chunk) = slot {
                let offset = (index * CHUNK) as u64;
                let len = CHUNK.min((size - offset) as usize);
                each(offset, &chunk[..len]);
            }
        }
    }

    fn fill(chunks: &[Option<Arc<[u8]>>], mut at: usize, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            let within = at % CHUNK;
            let len = buf.len().min(CHUNK - within);
            let (now, rest) = core::mem::take(&mut buf).split_at_mut(len);
            match chunks.get(at / CHUNK) {
                Some(Some(chunk)) => now.copy_from_slice(&chunk[within..within + len]),
                _ => now.fill(0),
            }
            buf = rest;
            at += len;
        }
    }

    fn store(chunks: &mut [Option<Arc<[u8]>>], mut at: usize, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let within = at % CHUNK;
            let len = data.len().min(CHUNK - within);
            let slot = chunks.get_mut(at / CHUNK).ok_or(Errno::EIO)?;
            let part = within..within + len;
            match slot.as_mut().and_then(Arc::get_mut) {
                Some(chunk) => chunk[part].copy_from_slice(&data[..len]),
                None => {
                    let mut chunk = Vec::new();
                    chunk.try_reserve_exact(CHUNK).map_err(|_| Error::new(Errno::ENOMEM, "memory disk"))?;
                    match slot {
                        Some(shared) => chunk.extend_from_slice(shared),
                        None => chunk.resize(CHUNK, 0),
                    }
                    chunk[part].copy_from_slice(&data[..len]);
                    *slot = Some(Arc::from(chunk));
                }
            }
            data = &data[len..];
            at += len;
        }
        Ok(())
    }
}

impl BlockDevice for MemoryDisk {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.capabilities.check(batch)?;
        if batch.iter().all(|io| matches!(io, Io::Read { .. })) {
            let chunks = self.chunks.read();
            for io in batch {
                if let Io::Read { sector, buf } = io {
                    Self::fill(&chunks, *sector as usize * SECTOR_SIZE, buf);
                }
            }
            return Ok(());
        }
        let mut chunks = self.chunks.write();
        for io in batch {
            match io {
                Io::Read { sector, buf } => Self::fill(&chunks, *sector as usize * SECTOR_SIZE, buf),
                Io::Write { sector, data } => Self::store(&mut chunks, *sector as usize * SECTOR_SIZE, data)?,
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        if self.capabilities.read_only {
            return Err(Errno::EROFS.into());
        }
        let end = sector.checked_add(sectors).filter(|&end| end <= self.capabilities.sectors).ok_or(Errno::EIO)?;
        let (first, last) = (sector as usize * SECTOR_SIZE, end as usize * SECTOR_SIZE);
        let mut chunks = self.chunks.write();
        for index in first.div_ceil(CHUNK)..last / CHUNK {
            chunks[index] = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_across_chunks() {
        let disk = MemoryDisk::new(1 << 20);
        let data: Vec<u8> = (0..200 * 512).map(|i| (i / 7) as u8).collect();
        disk.write(100, &data).unwrap();
        let mut back = alloc::vec![0xff; data.len() + 1024];
        disk.read(99, &mut back).unwrap();
        assert!(back[..512].iter().all(|&b| b == 0));
        assert_eq!(&back[512..512 + data.len()], &data[..]);
        assert_eq!(MemoryDisk::from_image(&disk.to_image()).to_image(), disk.to_image());
    }

    #[test]
    fn a_snapshot_keeps_its_bytes_and_goes_its_own_way() {
        let disk = MemoryDisk::from_image(&alloc::vec![7; 128 * 1024]);
        let copy = disk.snapshot();
        disk.write(0, &[1; 512]).unwrap();
        copy.write(1, &[2; 512]).unwrap();
        let (mut ours, mut theirs) = ([0; 1024], [0; 1024]);
        disk.read(0, &mut ours).unwrap();
        copy.read(0, &mut theirs).unwrap();
        assert_eq!((ours[0], ours[512], theirs[0], theirs[512]), (1, 7, 7, 2));
    }

    #[test]
    fn requests_past_the_end_and_to_a_read_only_disk_are_refused() {
        let disk = MemoryDisk::read_only(&[0; 4096]);
        assert_eq!(disk.read(8, &mut [0; 512]).unwrap_err(), Errno::EIO);
        assert_eq!(disk.write(0, &[0; 512]).unwrap_err(), Errno::EROFS);
        assert_eq!(disk.read(0, &mut [0; 100]).unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn discarded_chunks_read_as_zeros() {
        let disk = MemoryDisk::from_image(&alloc::vec![7; 256 * 1024]);
        disk.discard(0, 256).unwrap();
        let mut back = [1; 512];
        disk.read(0, &mut back).unwrap();
        assert_eq!(back, [0; 512]);
        disk.read(256, &mut back).unwrap();
        assert_eq!(back, [7; 512]);
    }
}
