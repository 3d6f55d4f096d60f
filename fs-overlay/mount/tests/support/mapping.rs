//! A file in memory, as `mmap(2)` shares it.

use std::ffi::c_void;
use std::ops::Range;

use rustix::fd::OwnedFd;
use rustix::mm::{MapFlags, MsyncFlags, ProtFlags};

/// The first bytes of a file, shared with whoever has it. What is used of it must be within the file at that time: its users cut no file
/// meanwhile.
pub(crate) struct Mapping {
    start: *mut c_void,
    len: usize,
    access: ProtFlags,
}

impl Mapping {
    /// To be read alone.
    pub(crate) fn readable(fd: &OwnedFd, len: usize) -> Self {
        Self::new(fd, len, ProtFlags::READ)
    }

    /// To be read and written; the file is open for both.
    pub(crate) fn writable(fd: &OwnedFd, len: usize) -> Self {
        Self::new(fd, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    fn new(fd: &OwnedFd, len: usize, access: ProtFlags) -> Self {
        // SAFETY: a new mapping, at an address of the kernel's choice: nothing of this program lies there.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, 0).unwrap() };
        Self { start, len, access }
    }

    /// What is at a range.
    pub(crate) fn load(&self, range: Range<usize>) -> Vec<u8> {
        assert!(range.end <= self.len);
        let mut data = vec![0; range.len()];
        // SAFETY: the range is within the mapping; no reference to any of it exists, and the test that has it stores nothing there
        // meanwhile.
        unsafe {
            let from = self.start.cast::<u8>().add(range.start);
            std::ptr::copy_nonoverlapping(from, data.as_mut_ptr(), data.len());
        }
        data
    }

    /// Puts data there.
    pub(crate) fn store(&self, offset: usize, data: &[u8]) {
        assert!(self.access.contains(ProtFlags::WRITE) && offset + data.len() <= self.len);
        // SAFETY: as in `load`; the mapping may be written.
        unsafe {
            let to = self.start.cast::<u8>().add(offset);
            std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        }
    }

    /// `msync(2)`.
    pub(crate) fn sync(&self) -> rustix::io::Result<()> {
        // SAFETY: all of the mapping, which stays as it is.
        unsafe { rustix::mm::msync(self.start, self.len, MsyncFlags::SYNC) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, whole; nothing refers to it any more.
        let _ = unsafe { rustix::mm::munmap(self.start, self.len) };
    }
}
