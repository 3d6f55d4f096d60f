//! The content of a regular file: pages and a size, and what can be done to them under the content's lock.

use base::sync::RwLock;
use vfs::{AllocateMode, Errno, Error, FileType, Result};

use crate::inode::{Body, Extent, Shared};
use crate::pages::{PAGE, Page, PageTree};
use crate::space::Quota;

/// The largest size of a file, in bytes (`MAX_LFS_FILESIZE` of a 64-bit Linux).
const SIZE_MAX: u64 = i64::MAX as u64;
const PAGE_U64: u64 = PAGE as u64;
/// 512-byte units in a page.
const BLOCKS_PER_PAGE: u64 = PAGE_U64 / 512;

/// A file's body.
#[derive(Default)]
pub(crate) struct Content {
    pub(crate) data: RwLock<Data>,
}

impl Body for Content {
    fn file_type(&self) -> FileType {
        FileType::File
    }

    fn with_extent<R>(&self, observe: impl FnOnce(Extent) -> R) -> R {
        let data = self.data.read();
        observe(Extent { size: data.size, blocks: data.pages.count() * BLOCKS_PER_PAGE })
    }

    fn release(&mut self, shared: &Shared) {
        shared.bytes.release(self.data.get_mut().pages.count() * PAGE_U64);
    }
}

/// Pages and size.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pages: PageTree,
    size: u64,
}

fn too_big() -> Error {
    Error::new(Errno::EFBIG, "file over 2^63 - 1 bytes")
}

/// The page of `offset`, and the place in it.
const fn locate(offset: u64) -> (u64, usize) {
    (offset / PAGE_U64, (offset % PAGE_U64) as usize)
}

impl Data {
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Reads from `offset`; returns how many bytes.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let rest = self.size.saturating_sub(offset);
        let len = buf.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < len {
            let (index, start) = locate(offset + done as u64);
            let piece = (PAGE - start).min(len - done);
            let target = &mut buf[done..done + piece];
            match self.pages.get(index) {
                Some(page) => page.read(start, target),
                None => target.fill(0),
            }
            done += piece;
        }
        len
    }

    /// Writes `bytes` at `offset`; returns how many, fewer where space ran out on the way.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], space: &Quota) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = SIZE_MAX.saturating_sub(offset);
        if room == 0 {
            return Err(too_big());
        }
        let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < len {
            let (index, start) = locate(offset + done as u64);
            let piece = (PAGE - start).min(len - done);
            match self.page_for(index, start + piece, space) {
                Ok(page) => page.write(start, &bytes[done..done + piece]),
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            done += piece;
        }
        self.size = self.size.max(offset + done as u64);
        Ok(done)
    }

    /// The page at `index`, ready to be written up to `end`.
    fn page_for(&mut self, index: u64, end: usize, space: &Quota) -> Result<&mut Page> {
        let may_stay_small = index == 0;
        if self.pages.get(index).is_none() {
            let charge = space.charge(PAGE_U64)?;
            let mut page = Page::default();
            page.prepare(end, may_stay_small)?;
            self.pages.insert(index, page)?;
            charge.keep();
        }
        let page = self.pages.get_mut(index).expect("a page that was there or just inserted");
        page.prepare(end, may_stay_small)?;
        Ok(page)
    }

    /// Cuts or grows the file.
    pub(crate) fn set_len(&mut self, len: u64, space: &Quota) -> Result<()> {
        if len > SIZE_MAX {
            return Err(too_big());
        }
        let (index, kept) = locate(len);
        if let Some(page) = self.pages.get_mut(index)
            && kept != 0
        {
            page.zero(kept, PAGE);
        }
        self.drop_pages(len.div_ceil(PAGE_U64), u64::MAX, space);
        self.size = len;
        Ok(())
    }

    fn drop_pages(&mut self, start: u64, end: u64, space: &Quota) {
        let removed = self.pages.remove(start, end);
        if removed != 0 {
            space.release(removed * PAGE_U64);
        }
    }

    /// Reserves, frees or zeroes `offset..offset + len`.
    pub(crate) fn allocate(&mut self, mode: AllocateMode, offset: u64, len: u64, space: &Quota) -> Result<()> {
        let end = offset.checked_add(len).filter(|&end| end <= SIZE_MAX).ok_or_else(too_big)?;
        match mode {
            AllocateMode::PunchHole => {
                self.zero_edges(offset, end);
                self.drop_pages(offset.div_ceil(PAGE_U64), end / PAGE_U64, space);
                return Ok(());
            }
            AllocateMode::ZeroRange | AllocateMode::ZeroRangeKeepSize => {
                self.reserve(offset, end, space)?;
                self.zero_edges(offset, end);
                for index in offset.div_ceil(PAGE_U64)..end / PAGE_U64 {
                    if let Some(page) = self.pages.get_mut(index) {
                        page.zero(0, PAGE);
                    }
                }
            }
            AllocateMode::Extend | AllocateMode::KeepSize => self.reserve(offset, end, space)?,
        }
        if matches!(mode, AllocateMode::Extend | AllocateMode::ZeroRange) {
            self.size = self.size.max(end);
        }
        Ok(())
    }

    /// Zeroes what `start..end` has of pages that it does not cover wholly.
    fn zero_edges(&mut self, start: u64, end: u64) {
        let ((first, from), (last, to)) = (locate(start), locate(end));
        if let Some(page) = self.pages.get_mut(first)
            && (from != 0 || first == last)
        {
            page.zero(from, if first == last { to } else { PAGE });
        }
        if let Some(page) = self.pages.get_mut(last)
            && first != last
            && to != 0
        {
            page.zero(0, to);
        }
    }

    /// Makes pages for `start..end`, unwritten where there were none. The limit is asked once, before anything changes.
    fn reserve(&mut self, start: u64, end: u64, space: &Quota) -> Result<()> {
        let (first, last) = (start / PAGE_U64, end.div_ceil(PAGE_U64));
        let missing = (last - first) - self.pages.count_in(first, last);
        let mut charge = space.charge(missing.checked_mul(PAGE_U64).ok_or_else(too_big)?)?;
        for index in first..last {
            match self.pages.get_mut(index) {
                Some(page) => page.prepare(PAGE, false)?,
                None => {
                    self.pages.insert(index, Page::reserved()?)?;
                    charge.keep_part(PAGE_U64);
                }
            }
        }
        Ok(())
    }

    /// As [`vfs::FileOps::seek_data`].
    pub(crate) fn seek_data(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let found = self.pages.next_written(offset / PAGE_U64)?;
        Some(offset.max(found * PAGE_U64)).filter(|&found| found < self.size)
    }

    /// As [`vfs::FileOps::seek_hole`].
    pub(crate) fn seek_hole(&self, offset: u64) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        let found = self.pages.next_hole(offset / PAGE_U64);
        Some(offset.max(found.saturating_mul(PAGE_U64)).min(self.size))
    }
}
