//! User address spaces: page tables whose lower half is a program's.
//!
//! This module knows pages and rights. What a range of addresses is for (a file, a stack, zeros on demand) is the
//! caller's, who maps pages when faults ask for them.
//!
//! An [`AddressSpace`] is its tables' only owner; changing one takes `&mut`. Locks: the frame allocator's.

use boot::layout::{PAGE_SIZE, USER_END, direct};
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::{PageTableFlags as Flags, PhysFrame};
use x86_64::{PhysAddr, VirtAddr};

use super::frames::Frame;
use super::paging::{self, Entry, OutOfMemory, Table, index};

/// What a program may do with a page. Reading is always allowed: x86 has no pages that are not readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    /// It may write.
    pub(crate) write: bool,
    /// It may execute.
    pub(crate) execute: bool,
}

/// Whose frame a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The address space's: freed with the page.
    Space,
    /// Somebody else's, who keeps it as long as it is mapped.
    Other,
}

/// A page that is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The physical address of its frame.
    pub(crate) physical: u64,
    /// What the program may do.
    pub(crate) rights: Rights,
    /// Whose frame it is.
    pub(crate) owner: Owner,
    /// Whether it was written to since it was mapped.
    pub(crate) dirty: bool,
    /// Whether nobody can touch it now: see [`AddressSpace::hide_range`].
    pub(crate) hidden: bool,
}

/// Marks frames of the address space's own.
const OWNED: Flags = Flags::BIT_9;
/// Marks pages that are hidden, so that their entries are never zero.
const HIDDEN: Flags = Flags::BIT_10;
const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::USER_ACCESSIBLE);

/// A program's view of memory.
pub(crate) struct AddressSpace {
    top: Table,
}

impl AddressSpace {
    /// An empty one, the kernel's half in place.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    pub(crate) fn new() -> Result<Self, OutOfMemory> {
        let top = Table::new()?;
        let kernel = paging::kernel_top();
        for slot in 256..512 {
            top.set(slot, kernel.get(slot));
        }
        Ok(Self { top })
    }

    /// Makes it the current one.
    pub(crate) fn activate(&self) {
        if !self.is_active() {
            let frame = PhysFrame::containing_address(PhysAddr::new(self.top.0));
            // SAFETY: the kernel's half is the same in every address space.
            unsafe { Cr3::write(frame, Cr3Flags::empty()) };
        }
    }

    /// Leaves whatever address space is current, for the kernel's own map.
    pub(crate) fn deactivate() {
        let frame = PhysFrame::containing_address(PhysAddr::new(paging::kernel_top().0));
        // SAFETY: the kernel's map is what the kernel runs on.
        unsafe { Cr3::write(frame, Cr3Flags::empty()) };
    }

    fn is_active(&self) -> bool {
        Cr3::read().0.start_address().as_u64() == self.top.0
    }

    /// Maps `page` (an address below [`USER_END`], rounded down to a page) to `frame`, which becomes the
    /// address space's. A page that was there is replaced, and its frame freed if it was owned.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when there is no frame for a table; `frame` is freed.
    ///
    /// # Panics
    ///
    /// If `page` is not a user address: the caller checks ranges.
    pub(crate) fn map(&mut self, page: u64, frame: Frame, rights: Rights) -> Result<(), OutOfMemory> {
        let slot = self.slot_or_new(page)?;
        let address = frame.into_address();
        self.replace(page, slot, Entry::new(address, flags(rights) | OWNED));
        Ok(())
    }

    /// Maps `page` to the frame at `physical`, which stays its owner's.
    ///
    /// # Safety
    ///
    /// The frame must be memory that its owner keeps, and lets programs see (and with `rights.write` change),
    /// until the page is unmapped or the address space dropped.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`].
    ///
    /// # Panics
    ///
    /// As [`Self::map`].
    pub(crate) unsafe fn map_borrowed(&mut self, page: u64, physical: u64, rights: Rights) -> Result<(), OutOfMemory> {
        let slot = self.slot_or_new(page)?;
        self.replace(page, slot, Entry::new(physical & !(PAGE_SIZE - 1), flags(rights)));
        Ok(())
    }

    /// Unmaps `page`, frees its frame if it was owned, and returns what was there.
    pub(crate) fn unmap(&mut self, page: u64) -> Option<Mapping> {
        let (table, index) = self.slot(page)?;
        let mapping = mapping(table.get(index))?;
        self.replace(page, (table, index), Entry::EMPTY);
        Some(mapping)
    }

    /// Unmaps every page of `start..end`. Cost goes with the tables that exist, not with the length.
    pub(crate) fn unmap_range(&mut self, start: u64, end: u64) {
        self.for_each_page(start, end, |space, page| {
            space.unmap(page);
        });
    }

    /// Changes the rights of every page of `start..end` that is mapped.
    pub(crate) fn protect_range(&mut self, start: u64, end: u64, rights: Rights) {
        self.for_each_page(start, end, |space, page| {
            space.protect(page, rights);
        });
    }

    /// Keeps every page of `start..end` from everybody, the kernel included, until [`Self::protect_range`] shows it again. The
    /// frames stay, and what is in them.
    pub(crate) fn hide_range(&mut self, start: u64, end: u64) {
        self.for_each_page(start, end, |space, page| {
            if let Some((table, index)) = space.slot(page) {
                let entry = table.get(index);
                table.set(index, Entry::new(entry.address(), entry.flags() & (OWNED | Flags::DIRTY) | HIDDEN));
                space.flush(page);
            }
        });
    }

    /// Whether a page was written to since it was mapped, or this was last asked.
    pub(crate) fn take_dirty(&mut self, page: u64) -> bool {
        let Some((table, index)) = self.slot(page) else { return false };
        let entry = table.get(index);
        let dirty = entry.flags().contains(Flags::DIRTY);
        if dirty {
            table.set(index, Entry::new(entry.address(), entry.flags() - Flags::DIRTY));
            // The processor may have noted the write with the translation, and would not note the next one.
            self.flush(page);
        }
        dirty
    }

    /// Moves a page to another address, frame, rights and all; what was there is replaced. Nothing happens where no
    /// page is mapped.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`]: nothing was moved.
    ///
    /// # Panics
    ///
    /// As [`Self::map`].
    pub(crate) fn move_page(&mut self, from: u64, to: u64) -> Result<(), OutOfMemory> {
        let Some((table, index)) = self.slot(from) else { return Ok(()) };
        let entry = table.get(index);
        if entry.is_used() {
            let target = self.slot_or_new(to)?;
            table.set(index, Entry::EMPTY);
            self.flush(from);
            self.replace(to, target, entry);
        }
        Ok(())
    }

    /// Changes the rights of a page; false where none is mapped.
    pub(crate) fn protect(&mut self, page: u64, rights: Rights) -> bool {
        let Some((table, index)) = self.slot(page) else { return false };
        let entry = table.get(index);
        if !entry.is_used() {
            return false;
        }
        let kept = entry.flags() & (OWNED | Flags::ACCESSED | Flags::DIRTY);
        table.set(index, Entry::new(entry.address(), flags(rights) | kept));
        self.flush(page);
        true
    }

    /// The page at `address`, if one is mapped.
    pub(crate) fn lookup(&self, address: u64) -> Option<Mapping> {
        let (table, index) = self.slot(address)?;
        mapping(table.get(index))
    }

    /// Calls `visit` for every mapped page of `start..end`, in order, skipping tables that do not exist.
    pub(crate) fn for_each_page(&mut self, start: u64, end: u64, mut visit: impl FnMut(&mut Self, u64)) {
        let mut page = start & !(PAGE_SIZE - 1);
        let end = end.min(USER_END);
        while page < end {
            let mut table = self.top;
            let mut missing = None;
            for level in [4, 3, 2] {
                match table.next(index(page, level)) {
                    Some(next) => table = next,
                    None => {
                        missing = Some(level);
                        break;
                    }
                }
            }
            page = match missing {
                Some(level) => {
                    let span = 1_u64 << (12 + 9 * (level - 1));
                    (page & !(span - 1)) + span
                }
                None => {
                    if table.get(index(page, 1)).is_used() {
                        visit(self, page);
                    }
                    page + PAGE_SIZE
                }
            };
        }
    }

    fn slot(&self, page: u64) -> Option<(Table, usize)> {
        if page >= USER_END {
            return None;
        }
        let table = self.top.next(index(page, 4))?.next(index(page, 3))?.next(index(page, 2))?;
        Some((table, index(page, 1)))
    }

    fn slot_or_new(&mut self, page: u64) -> Result<(Table, usize), OutOfMemory> {
        assert!(page < USER_END, "{page:#x} is not a user address");
        let table = self
            .top
            .next_or_new(index(page, 4), TABLE)?
            .next_or_new(index(page, 3), TABLE)?
            .next_or_new(index(page, 2), TABLE)?;
        Ok((table, index(page, 1)))
    }

    fn replace(&mut self, page: u64, (table, index): (Table, usize), entry: Entry) {
        let old = table.get(index);
        table.set(index, entry);
        if old.is_used() {
            self.flush(page);
            free(old);
        }
    }

    fn flush(&self, page: u64) {
        if self.is_active() {
            tlb::flush(VirtAddr::new(page));
        }
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        if self.is_active() {
            Self::deactivate();
        }
        for top in 0..256 {
            let Some(third) = self.top.next(top) else { continue };
            for index in 0..512 {
                let Some(second) = third.next(index) else { continue };
                for index in 0..512 {
                    let Some(first) = second.next(index) else { continue };
                    for index in 0..512 {
                        let entry = first.get(index);
                        if entry.is_used() {
                            free(entry);
                        }
                    }
                    free_table(first);
                }
                free_table(second);
            }
            free_table(third);
        }
        free_table(self.top);
    }
}

fn free_table(table: Table) {
    // SAFETY: the tables below the top are this address space's alone, made by `Table::new`, and it is going.
    drop(unsafe { Frame::from_address(table.0) });
}

fn free(entry: Entry) {
    if entry.flags().contains(OWNED) {
        // SAFETY: `map` took the frame over when it set the mark, and the page is mapped no more.
        drop(unsafe { Frame::from_address(entry.address()) });
    }
}

fn flags(rights: Rights) -> Flags {
    let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE;
    flags.set(Flags::WRITABLE, rights.write);
    flags.set(Flags::NO_EXECUTE, !rights.execute);
    flags
}

fn mapping(entry: Entry) -> Option<Mapping> {
    let flags = entry.flags();
    entry.is_used().then(|| Mapping {
        physical: entry.address(),
        rights: Rights { write: flags.contains(Flags::WRITABLE), execute: !flags.contains(Flags::NO_EXECUTE) },
        owner: if flags.contains(OWNED) { Owner::Space } else { Owner::Other },
        dirty: flags.contains(Flags::DIRTY),
        hidden: !entry.is_present(),
    })
}

impl Mapping {
    /// The kernel's pointer to the page's first byte. Reading or writing through it is for whoever knows that
    /// nobody else holds a reference into the frame.
    pub(crate) fn kernel_pointer(&self) -> *mut u8 {
        direct(self.physical) as *mut u8
    }
}
