//! The memory of a program: what is mapped where, and the pages behind it, which appear when they are touched.
//!
//! [`UserSpace`] joins [`Areas`] (what a range of addresses is for) with the page tables of
//! [`crate::memory::address_space`] (which frame is where now). [`map`] holds the calls of the `mmap` family,
//! [`fault`] fills pages in. A file's pages are copies: a private mapping of a file shows the file as it was
//! when each page was first touched.
//!
//! Locks: none of its own. A space is changed only by the program that runs in it (or, before its first
//! instruction, by `execve`), and by others that take pages of a shared file away. Faults read files with the space
//! locked: filesystems come after spaces in the order of locks. `/proc` alone looks at spaces, and its files cannot be mapped.

mod area;
mod fault;
mod map;
pub(crate) mod shared;

use boot::layout::{PAGE_SIZE, USER_END};
use vfs::{Errno, Error, Result};

pub(crate) use area::{Area, Areas, Backing, FileRange, MappedFile, OnFork, Rights, Role};
pub(crate) use fault::{Fault, check_memory};
pub(crate) use map::{Place, Remap};
pub(crate) use shared::Shared;

use crate::memory::address_space::{AddressSpace, Owner, Rights as PageRights};

/// How far the first stack may grow down, in bytes: Linux's usual limit.
pub(crate) const STACK_BYTES: u64 = 8 << 20;
/// What stays free below the stack, in bytes: a program that runs out of stack must hit nothing else.
const STACK_GAP: u64 = 1 << 20;
/// The lowest address that a program can map (`vm.mmap_min_addr`): a null pointer with an offset must fault.
pub(crate) const LOWEST: u64 = 0x1_0000;
/// Where the search for free addresses begins, downwards.
pub(crate) const MAP_TOP: u64 = USER_END - STACK_BYTES - STACK_GAP;
/// Where a position-independent program is placed.
pub(crate) const PROGRAM_BASE: u64 = 0x5555_5555_4000;

/// A program's memory.
pub(crate) struct UserSpace {
    pages: AddressSpace,
    areas: Areas,
    heap: Heap,
    resident: u64,
    most_resident: u64,
}

/// What `brk` moves.
#[derive(Debug, Clone, Copy, Default)]
struct Heap {
    start: u64,
    end: u64,
}

impl UserSpace {
    /// An empty one.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            pages: AddressSpace::new()?,
            areas: Areas::default(),
            heap: Heap::default(),
            resident: 0,
            most_resident: 0,
        })
    }

    /// A copy of everything, as `fork(2)` needs it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn duplicate(&mut self) -> Result<Self> {
        check_memory()?;
        let mut copy = Self::new()?;
        copy.heap = self.heap;
        let (areas, pages) = (&self.areas, &mut self.pages);
        for (start, area) in areas.iter().filter(|(_, area)| area.on_fork != OnFork::Left) {
            copy.areas.insert(start, area.clone());
            if area.on_fork == OnFork::Copied {
                let mut outcome = Ok(());
                pages.for_each_page(start, area.end, |pages, page| {
                    if outcome.is_ok() {
                        outcome = copy.copy_page(pages, page);
                    }
                });
                outcome?;
            }
        }
        Ok(copy)
    }

    /// Copies a page of another space, one that is that space's own: a shared one is found when it is touched.
    fn copy_page(&mut self, from: &AddressSpace, page: u64) -> Result<()> {
        let Some(mapping) = from.lookup(page).filter(|mapping| mapping.owner == Owner::Space) else { return Ok(()) };
        let mut frame = fault::new_frame()?;
        // SAFETY: a mapped page's frame, which that space owns and nobody else writes: its program is in this very call.
        let bytes = unsafe { &*mapping.kernel_pointer().cast::<[u8; PAGE_SIZE as usize]>() };
        frame.bytes_mut().copy_from_slice(bytes);
        self.pages.map(page, frame, mapping.rights)?;
        if mapping.hidden {
            self.pages.hide_range(page, page + PAGE_SIZE);
        }
        self.count_in();
        Ok(())
    }

    /// The physical address behind a user address whose page is there.
    pub(crate) fn physical(&self, address: u64) -> Option<u64> {
        let mapping = self.pages.lookup(address).filter(|mapping| !mapping.hidden)?;
        Some(mapping.physical + address % PAGE_SIZE)
    }

    /// Makes it the one that user addresses mean.
    pub(crate) fn activate(&self) {
        self.pages.activate();
    }

    /// What is mapped.
    pub(crate) fn areas(&self) -> &Areas {
        &self.areas
    }

    /// Pages in memory now, and the most that ever were.
    pub(crate) fn resident(&self) -> (u64, u64) {
        (self.resident, self.most_resident)
    }

    fn count_in(&mut self) {
        self.resident += 1;
        self.most_resident = self.most_resident.max(self.resident);
    }

    /// Adds an area where nothing is mapped.
    ///
    /// # Errors
    /// `ENOMEM` outside the addresses of programs, `EEXIST` over something else.
    pub(crate) fn add(&mut self, start: u64, area: Area) -> Result<()> {
        if start < LOWEST || area.end > USER_END || start >= area.end {
            return Err(Error::new(Errno::ENOMEM, "outside the addresses of programs"));
        }
        if !self.areas.is_free(start, area.end) {
            return Err(Errno::EEXIST.into());
        }
        self.areas.insert(start, area);
        Ok(())
    }

    /// Puts the heap's beginning at the first page at or after `address`, once, when the program is loaded.
    pub(crate) fn place_heap(&mut self, address: u64) {
        let start = page_up(address).unwrap_or(USER_END);
        self.heap = Heap { start, end: start };
    }

    /// Copies bytes into the space, active or not.
    ///
    /// # Errors
    /// `EFAULT` where nothing writable is mapped; `ENOMEM`, `EIO`.
    pub(crate) fn write_bytes(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let mut address = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            self.fault(address, Rights::WRITE)?;
            let mapping = self.pages.lookup(address).ok_or(Errno::EFAULT)?;
            let offset = address % PAGE_SIZE;
            let length = rest.len().min((PAGE_SIZE - offset) as usize);
            let (now, later) = rest.split_at(length);
            // SAFETY: the page is mapped, its frame is this space's own, and `length` stays within it.
            unsafe { mapping.kernel_pointer().add(offset as usize).copy_from_nonoverlapping(now.as_ptr(), length) };
            address += length as u64;
            rest = later;
        }
        Ok(())
    }
}

impl Drop for UserSpace {
    fn drop(&mut self) {
        self.settle_shared(0, USER_END);
        // The pages go before the areas, which keep the frames of shared ones.
        self.pages.unmap_range(0, USER_END);
    }
}

/// The page-table rights of an area's pages.
fn page_rights(rights: Rights) -> PageRights {
    PageRights { write: rights.contains(Rights::WRITE), execute: rights.contains(Rights::EXECUTE) }
}

/// The first page address at or after `address`.
pub(crate) fn page_up(address: u64) -> Option<u64> {
    address.checked_next_multiple_of(PAGE_SIZE)
}

/// The page of `address`.
pub(crate) const fn page_down(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}
