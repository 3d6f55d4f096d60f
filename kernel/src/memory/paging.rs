//! Page tables: the walker that the kernel's own map and user address spaces share, and the kernel's map.
//!
//! The kernel's half is built once, exact to the page: the image with the rights of its segments, all memory
//! read-write and never executable, the image's text and read-only data read-only there too. The top-level
//! entries of the kernel's half never change afterwards, so every address space shares them by copying.
//!
//! Locks: [`KERNEL`], then the frame allocator's.

use core::ops::Range;

use boot::layout::{DEVICE_MAP, DIRECT_MAP, KERNEL_IMAGE, PAGE_SIZE, STACK_MAP, direct};
use boot::{BootInfo, MemoryKind};
use spin::Mutex;
use x86_64::instructions::tlb;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr3, Cr3Flags, Cr4, Cr4Flags};
use x86_64::structures::paging::{PageTableFlags as Flags, PhysFrame};
use x86_64::{PhysAddr, VirtAddr};

use super::cpu::{self, Feature};
use super::frames;

const LARGE_PAGE: u64 = 2 << 20;
const ENTRIES: usize = 512;
const ADDRESS_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Memory is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

impl From<OutOfMemory> for base::Error {
    fn from(_: OutOfMemory) -> Self {
        base::Error::new(base::Errno::ENOMEM, "out of page frames")
    }
}

/// An entry of a page table, at any level.
#[derive(Clone, Copy)]
pub(super) struct Entry(u64);

impl Entry {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) const fn new(address: u64, flags: Flags) -> Self {
        Self(address | flags.bits())
    }

    pub(super) const fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.0)
    }

    pub(super) const fn address(self) -> u64 {
        self.0 & ADDRESS_MASK
    }

    pub(super) const fn is_present(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether there is anything: a translation, or a page that is hidden.
    pub(super) const fn is_used(self) -> bool {
        self.0 != 0
    }
}

/// A table in the direct map, by its physical address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Table(pub(super) u64);

impl Table {
    /// A new table without entries.
    pub(super) fn new() -> Result<Self, OutOfMemory> {
        Ok(Self(frames::Frame::zeroed().ok_or(OutOfMemory)?.into_address()))
    }

    fn slot(self, index: usize) -> *mut Entry {
        (direct(self.0) as *mut Entry).wrapping_add(index % ENTRIES)
    }

    pub(super) fn get(self, index: usize) -> Entry {
        // SAFETY: a `Table` is a frame that this module allocated as one; the index is within it.
        unsafe { self.slot(index).read() }
    }

    pub(super) fn set(self, index: usize, entry: Entry) {
        // SAFETY: as in `get`. What the processor makes of the entry is the caller's affair, who holds the
        // lock of the map that the table belongs to.
        unsafe { self.slot(index).write(entry) };
    }

    /// The table behind entry `index`, made if there is none.
    pub(super) fn next_or_new(self, index: usize, flags: Flags) -> Result<Self, OutOfMemory> {
        let entry = self.get(index);
        if entry.is_present() {
            return Ok(Self(entry.address()));
        }
        let table = Self::new()?;
        self.set(index, Entry::new(table.0, flags));
        Ok(table)
    }

    /// The table behind entry `index`, unless there is none or the entry is a large page.
    pub(super) fn next(self, index: usize) -> Option<Self> {
        let entry = self.get(index);
        (entry.is_present() && !entry.flags().contains(Flags::HUGE_PAGE)).then(|| Self(entry.address()))
    }
}

/// The index of `address` in a table of `level`, 1 being the lowest.
pub(super) const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * (level - 1))) as usize & (ENTRIES - 1)
}

static KERNEL: Mutex<KernelMap> = Mutex::new(KernelMap { top: Table(0), next_device: DEVICE_MAP });

struct KernelMap {
    top: Table,
    next_device: u64,
}

const DATA: Flags = Flags::PRESENT.union(Flags::WRITABLE).union(Flags::NO_EXECUTE).union(Flags::GLOBAL);
const READ_ONLY: Flags = Flags::PRESENT.union(Flags::NO_EXECUTE).union(Flags::GLOBAL);
const TEXT: Flags = Flags::PRESENT.union(Flags::GLOBAL);
const TABLE: Flags = Flags::PRESENT.union(Flags::WRITABLE);

impl KernelMap {
    fn map_page(&mut self, address: u64, physical: u64, flags: Flags) -> Result<(), OutOfMemory> {
        let table = self
            .top
            .next_or_new(index(address, 4), TABLE)?
            .next_or_new(index(address, 3), TABLE)?
            .next_or_new(index(address, 2), TABLE)?;
        table.set(index(address, 1), Entry::new(physical, flags));
        Ok(())
    }

    /// Maps `length` bytes, with two-megabyte pages where the addresses allow it.
    fn map(&mut self, mut address: u64, physical: Range<u64>, flags: Flags) -> Result<(), OutOfMemory> {
        let mut at = physical.start;
        while at < physical.end {
            let large = (address | at).is_multiple_of(LARGE_PAGE) && physical.end - at >= LARGE_PAGE;
            if large {
                let table = self.top.next_or_new(index(address, 4), TABLE)?.next_or_new(index(address, 3), TABLE)?;
                table.set(index(address, 2), Entry::new(at, flags | Flags::HUGE_PAGE));
            } else {
                self.map_page(address, at, flags)?;
            }
            let step = if large { LARGE_PAGE } else { PAGE_SIZE };
            at += step;
            address += step;
        }
        Ok(())
    }

    /// The entry of a four-kilobyte page, if the tables reach that far.
    fn entry(&self, address: u64) -> Option<(Table, usize)> {
        let table = self.top.next(index(address, 4))?.next(index(address, 3))?.next(index(address, 2))?;
        Some((table, index(address, 1)))
    }
}

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
    static __boot_stack_guard: u8;
}

/// Builds the kernel's map and switches to it.
pub(super) fn init(info: &BootInfo) -> Result<(), OutOfMemory> {
    let mut kernel = KERNEL.lock();
    kernel.top = Table::new()?;
    // Every address space copies these entries, so they must all be there from the start.
    for base in [DIRECT_MAP, DEVICE_MAP, STACK_MAP, KERNEL_IMAGE] {
        kernel.top.next_or_new(index(base, 4), TABLE)?;
    }
    map_memory(&mut kernel, info)?;
    map_image(&mut kernel)?;
    let top = kernel.top;
    drop(kernel);

    // SAFETY: the new map shows the image and the current stack where they are now.
    unsafe {
        Cr0::update(|flags| flags.insert(Cr0Flags::WRITE_PROTECT));
        Cr3::write(frame(top.0), Cr3Flags::empty());
        Cr4::update(|flags| {
            flags.insert(Cr4Flags::PAGE_GLOBAL);
            flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, cpu::has(Feature::Smep));
            flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, cpu::has(Feature::Smap));
            flags.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, cpu::has(Feature::Umip));
            flags.set(Cr4Flags::FSGSBASE, cpu::has(Feature::FsGsBase));
        });
    }
    Ok(())
}

fn frame(address: u64) -> PhysFrame {
    PhysFrame::containing_address(PhysAddr::new(address))
}

/// Maps what the memory map calls memory, and the first megabyte, where firmware keeps tables.
fn map_memory(kernel: &mut KernelMap, info: &BootInfo) -> Result<(), OutOfMemory> {
    kernel.map(DIRECT_MAP, 0..1 << 20, DATA)?;
    for region in &info.memory {
        if !matches!(region.kind, MemoryKind::Usable | MemoryKind::Acpi | MemoryKind::AcpiNvs) {
            continue;
        }
        let start = (region.range.start & !(PAGE_SIZE - 1)).max(1 << 20);
        let end = region.range.end.next_multiple_of(PAGE_SIZE);
        // The two-megabyte blocks that hold the image's first bytes are mapped by small pages, so that its
        // read-only parts can be read-only here as well.
        let exact = (info.image.start & !(LARGE_PAGE - 1))..info.image.end.next_multiple_of(LARGE_PAGE);
        for part in [start..end.min(exact.start), start.max(exact.end)..end] {
            if part.start < part.end {
                kernel.map(direct(part.start), part, DATA)?;
            }
        }
        let text = image_address(&raw const __text_start)..image_address(&raw const __rodata_end);
        let mut at = start.max(exact.start);
        while at < end.min(exact.end) {
            let flags = if text.contains(&at) { READ_ONLY } else { DATA };
            kernel.map_page(direct(at), at, flags)?;
            at += PAGE_SIZE;
        }
    }
    Ok(())
}

fn image_address(symbol: *const u8) -> u64 {
    symbol as u64 - KERNEL_IMAGE
}

fn map_image(kernel: &mut KernelMap) -> Result<(), OutOfMemory> {
    let parts = [
        (&raw const __text_start, &raw const __text_end, TEXT),
        (&raw const __rodata_start, &raw const __rodata_end, READ_ONLY),
        (&raw const __data_start, &raw const __data_end, DATA),
    ];
    for (start, end, flags) in parts {
        for at in (start as u64..end as u64).step_by(PAGE_SIZE as usize) {
            kernel.map_page(at, at - KERNEL_IMAGE, flags)?;
        }
    }
    let guard = &raw const __boot_stack_guard as u64;
    if let Some((table, index)) = kernel.entry(guard) {
        table.set(index, Entry::EMPTY);
    }
    Ok(())
}

/// Maps device registers, uncached, and returns where they appear. Mappings are for good.
///
/// # Errors
///
/// [`OutOfMemory`] when there is no frame for a table.
pub(crate) fn map_device(physical: u64, length: usize) -> Result<*mut u8, OutOfMemory> {
    let start = physical & !(PAGE_SIZE - 1);
    let end = (physical + length as u64).next_multiple_of(PAGE_SIZE);
    let mut kernel = KERNEL.lock();
    let mut address = kernel.next_device;
    if end - start >= LARGE_PAGE {
        address = address.next_multiple_of(LARGE_PAGE) + start % LARGE_PAGE;
    }
    // A page is left out between two devices.
    kernel.next_device = address + (end - start) + PAGE_SIZE;
    kernel.map(address, start..end, DATA | Flags::NO_CACHE | Flags::WRITE_THROUGH)?;
    Ok((address + physical % PAGE_SIZE) as *mut u8)
}

/// Maps one page of kernel memory at `address`, within [`STACK_MAP`].
///
/// # Errors
///
/// [`OutOfMemory`] when there is no frame for a table.
pub(super) fn map_stack_page(address: u64, physical: u64) -> Result<(), OutOfMemory> {
    KERNEL.lock().map_page(address, physical, DATA)
}

/// Takes a page mapped by [`map_stack_page`] out again and returns its frame's address.
pub(super) fn unmap_stack_page(address: u64) -> Option<u64> {
    let kernel = KERNEL.lock();
    let (table, index) = kernel.entry(address)?;
    let entry = table.get(index);
    if !entry.is_present() {
        return None;
    }
    table.set(index, Entry::EMPTY);
    tlb::flush(VirtAddr::new(address));
    Some(entry.address())
}

/// The top-level table of the kernel alone.
pub(super) fn kernel_top() -> Table {
    KERNEL.lock().top
}

/// The physical address behind an address of the kernel's half; `None` where nothing is mapped.
pub(crate) fn kernel_physical(address: u64) -> Option<u64> {
    let kernel = KERNEL.lock();
    let mut table = kernel.top;
    for level in (1..=4).rev() {
        let entry = table.get(index(address, level));
        if !entry.is_present() {
            return None;
        }
        if level == 1 || entry.flags().contains(Flags::HUGE_PAGE) {
            let offset_mask = (1_u64 << (12 + 9 * (level - 1))) - 1;
            return Some((entry.address() & !offset_mask) + (address & offset_mask));
        }
        table = Table(entry.address());
    }
    None
}

/// Whether every kernel page is either not writable or not executable; the first that is both otherwise.
#[cfg(any(debug_assertions, feature = "suites"))]
pub(crate) fn writable_and_executable() -> Option<u64> {
    fn visit(table: Table, level: u32, base: u64) -> Option<u64> {
        (0..ENTRIES).find_map(|index| {
            let entry = table.get(index);
            let mut address = base + ((index as u64) << (12 + 9 * (level - 1)));
            if level == 4 && index >= ENTRIES / 2 {
                address |= 0xffff_0000_0000_0000;
            }
            let flags = entry.flags();
            if !entry.is_present() {
                None
            } else if level > 1 && !flags.contains(Flags::HUGE_PAGE) {
                visit(Table(entry.address()), level - 1, address)
            } else {
                (flags.contains(Flags::WRITABLE) && !flags.contains(Flags::NO_EXECUTE)).then_some(address)
            }
        })
    }
    visit(KERNEL.lock().top, 4, 0)
}
