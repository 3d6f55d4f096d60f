//! Pages that appear when they are touched.

use boot::layout::{PAGE_SIZE, USER_END};
use vfs::{Errno, Error, Result};

use super::{Backing, FileRange, PageRights, Rights, Role, Shared, UserSpace, page_down, page_rights};
use crate::memory::frames::{self, Frame};

/// How many pages of a file are read at one fault: those around it that the area has and that are not there.
const FILE_BATCH: u64 = 16;

/// What programs cannot have, in bytes: the kernel's own memory is not to run out, its cache of names above all.
fn reserve() -> u64 {
    (frames::usage().total / 8).clamp(1 << 20, 16 << 20)
}

/// Why a page did not appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is mapped there (`SIGSEGV`, `SEGV_MAPERR`).
    NotMapped,
    /// It may not be used so (`SIGSEGV`, `SEGV_ACCERR`).
    Denied,
    /// It is past the end of the file behind it (`SIGBUS`).
    PastEnd,
    /// The file could not be read (`SIGBUS`).
    Unreadable,
    /// No memory is left.
    OutOfMemory,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::OutOfMemory => Errno::ENOMEM.into(),
            _ => Errno::EFAULT.into(),
        }
    }
}

/// Makes sure that there is memory for what a program asks for; gives up caches if need be.
///
/// # Errors
/// `ENOMEM` when only the kernel's reserve is left.
pub(crate) fn check_memory() -> Result<()> {
    let is_left = || frames::usage().free > reserve();
    if is_left() {
        return Ok(());
    }
    crate::init::give_up_caches();
    if is_left() { Ok(()) } else { Err(Error::new(Errno::ENOMEM, "no memory left for programs")) }
}

/// A frame for a program.
///
/// # Errors
/// `ENOMEM` when only the kernel's reserve is left.
pub(super) fn new_frame() -> Result<Frame> {
    check_memory()?;
    Frame::new().ok_or(Error::new(Errno::ENOMEM, "no memory left for programs"))
}

impl UserSpace {
    /// Has the page of `address` there for `access`: the work of a page fault.
    ///
    /// # Errors
    /// The fault that the program made.
    pub(crate) fn fault(&mut self, address: u64, access: Rights) -> Result<(), Fault> {
        let (start, area) = self.areas.find(address).ok_or(Fault::NotMapped)?;
        if area.role == Role::Guard {
            return Err(Fault::NotMapped);
        }
        if !area.rights.contains(access) || area.rights.is_empty() {
            return Err(Fault::Denied);
        }
        let page = page_down(address);
        if self.is_there(page, access) {
            // Another fault brought it, or a stale translation was used.
            return Ok(());
        }
        let rights = page_rights(area.rights);
        if self.pages.lookup(page).is_some() {
            // It is there with other rights than its area has by now.
            self.pages.protect(page, rights);
            return Ok(());
        }
        match &area.backing {
            Backing::Anonymous => {
                let mut frame = new_frame().map_err(|_| Fault::OutOfMemory)?;
                frame.bytes_mut().fill(0);
                self.pages.map(page, frame, rights).map_err(|_| Fault::OutOfMemory)?;
                self.count_in();
                Ok(())
            }
            Backing::File(range) => {
                let range = range.clone();
                let first = page.saturating_sub(FILE_BATCH / 2 * PAGE_SIZE).max(start);
                let last = (first + FILE_BATCH * PAGE_SIZE).min(area.end);
                // The page itself first: the others are a favour and may fail.
                self.fill(&range, start, page, rights)?;
                for other in (first..last).step_by(PAGE_SIZE as usize) {
                    if self.pages.lookup(other).is_none() && self.fill(&range, start, other, rights).is_err() {
                        break;
                    }
                }
                Ok(())
            }
            Backing::Shared { object, first } => {
                let (object, index) = (object.clone(), first + (page - start) / PAGE_SIZE);
                self.show(&object, index, page, rights)
            }
        }
    }

    /// Shows a page of a shared object.
    fn show(&mut self, object: &Shared, index: u64, page: u64, rights: PageRights) -> Result<(), Fault> {
        let frame = object.frame(index)?;
        // SAFETY: the object keeps the frame while an area of this space holds the object, and the page is unmapped before the
        // area goes (`unmap`, `drop`) or the object gives the frame up (`drop_shared`). Its bytes are programs' to change.
        unsafe { self.pages.map_borrowed(page, frame, rights) }.map_err(|_| Fault::OutOfMemory)?;
        self.count_in();
        Ok(())
    }

    /// Whether the page of `address` is in memory.
    pub(crate) fn is_resident(&self, address: u64) -> bool {
        self.pages.lookup(address).is_some()
    }

    fn is_there(&self, page: u64, access: Rights) -> bool {
        self.pages.lookup(page).is_some_and(|mapping| {
            !mapping.hidden
                && (!access.contains(Rights::WRITE) || mapping.rights.write)
                && (!access.contains(Rights::EXECUTE) || mapping.rights.execute)
        })
    }

    /// Reads one page of a file into a new frame and maps it.
    fn fill(&mut self, range: &FileRange, area_start: u64, page: u64, rights: PageRights) -> Result<(), Fault> {
        let offset = range.offset + (page - area_start);
        let mut frame = new_frame().map_err(|_| Fault::OutOfMemory)?;
        let bytes = frame.bytes_mut();
        let wanted = match range.end {
            Some(end) => end.saturating_sub(offset).min(PAGE_SIZE) as usize,
            None => PAGE_SIZE as usize,
        };
        let length = match wanted {
            0 => 0,
            _ => range.file.content.read_at(offset, &mut bytes[..wanted]).map_err(|_| Fault::Unreadable)?,
        };
        if length == 0 && range.end.is_none() {
            return Err(Fault::PastEnd);
        }
        bytes[length..].fill(0);
        self.pages.map(page, frame, rights).map_err(|_| Fault::OutOfMemory)?;
        self.count_in();
        Ok(())
    }

    /// Has the pages of `length` bytes from `address` on there for `access`, as far as they can be; returns how many
    /// bytes that is. Fewer than `length` means that what follows is not the program's.
    ///
    /// # Errors
    /// The fault of the first page, when not even that one could be had.
    pub(crate) fn prefault(&mut self, address: u64, length: usize, access: Rights) -> Result<usize, Fault> {
        let end = address.checked_add(length as u64).filter(|&end| end <= USER_END).unwrap_or(USER_END);
        if address >= end {
            return if length == 0 { Ok(0) } else { Err(Fault::NotMapped) };
        }
        let mut page = page_down(address);
        while page < end {
            if !self.is_there(page, access)
                && let Err(fault) = self.fault(page, access)
            {
                return match page.checked_sub(address) {
                    Some(ready) if ready > 0 => Ok(ready as usize),
                    _ => Err(fault),
                };
            }
            page += PAGE_SIZE;
        }
        Ok((end - address) as usize)
    }
}
