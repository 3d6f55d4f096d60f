//! Memory: frames, the heap, the kernel's map, stacks, user address spaces.
//!
//! [`init`] takes the loader's memory map and leaves a kernel that runs on its own page tables: nothing writable
//! is executable, a page is missing below every stack. Memory is touched when it is first used, never before:
//! the boot would pay for it.
//!
//! Locks, outermost first: the heap's, the kernel map's, the frame allocator's.

pub(crate) mod address_space;
pub(crate) mod cpu;
pub(crate) mod frames;
mod heap;
pub(crate) mod paging;
pub(crate) mod stack;

use core::ops::Range;

use boot::layout::{DIRECT_MAP, PAGE_SIZE};
use boot::{BootInfo, MemoryKind};
use heapless::Vec;

/// Ranges that are in use from the start: the image, the first pages, the modules, the frame table.
type Taken = Vec<Range<u64>, 24>;

/// Below this address firmware keeps its data, and frame 0 is the null address.
const LOW_MEMORY: u64 = 0x1_0000;

/// Sets up the frame allocator, the heap and the kernel's page tables.
///
/// # Panics
///
/// If there is not even memory for that.
pub(crate) fn init(info: &BootInfo) {
    cpu::init();
    let mut taken = Taken::new();
    let fixed = [0..LOW_MEMORY, info.image.clone()];
    for range in fixed.into_iter().chain(info.modules.iter().map(|module| module.range.clone())) {
        take(&mut taken, range);
    }
    let usable = info.memory.iter().filter(|region| region.kind == MemoryKind::Usable);
    let end = usable.clone().map(|region| region.range.end).max().unwrap_or(0);
    let frames = (end / PAGE_SIZE) as usize;
    let length = frames::table_bytes(frames);
    let table = usable
        .clone()
        .find_map(|region| place(&region.range, length, &taken))
        .unwrap_or_else(|| panic!("no room for the frame table: {length} bytes"));
    take(&mut taken, table..(table + length).next_multiple_of(PAGE_SIZE));

    // SAFETY: `place` found usable memory that nothing else takes. The table lies below the early direct map's end
    // if any memory does, since regions come in ascending order.
    unsafe { frames::init(table, frames) };
    // The kernel's page tables come from memory that the entry code has mapped; the rest is added when it is mapped.
    let early = 0..boot::layout::EARLY_MAPPED;
    let late = boot::layout::EARLY_MAPPED..u64::MAX;
    usable.clone().for_each(|region| add_free(&intersection(&region.range, &early), &taken));
    if paging::init(info).is_err() {
        panic!("no memory for the page tables");
    }
    usable.for_each(|region| add_free(&intersection(&region.range, &late), &taken));
}

/// Adds a range at its place: `taken` is in ascending order. There is room for all: see the type.
fn take(taken: &mut Taken, range: Range<u64>) {
    let place = taken.iter().position(|other| other.start > range.start).unwrap_or(taken.len());
    let _ = taken.insert(place, range);
}

fn intersection(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// The first place in `region` for `length` bytes beside everything that is taken.
fn place(region: &Range<u64>, length: u64, taken: &Taken) -> Option<u64> {
    let mut at = region.start.next_multiple_of(PAGE_SIZE);
    loop {
        let end = at.checked_add(length)?;
        if end > region.end.min(boot::layout::EARLY_MAPPED) {
            return None;
        }
        match taken.iter().find(|range| range.start < end && at < range.end) {
            Some(range) => at = range.end.next_multiple_of(PAGE_SIZE),
            None => return Some(at),
        }
    }
}

/// Gives the frame allocator what of `region` is not taken; `taken` is in ascending order.
fn add_free(region: &Range<u64>, taken: &Taken) {
    let mut at = region.start;
    for range in taken {
        if range.end <= at || range.start >= region.end {
            continue;
        }
        if at < range.start {
            // SAFETY: usable memory of the loader's map that nothing takes; regions do not overlap.
            unsafe { frames::add(at..range.start & !(PAGE_SIZE - 1)) };
        }
        at = range.end.next_multiple_of(PAGE_SIZE);
    }
    if at < region.end {
        // SAFETY: as above.
        unsafe { frames::add(at..region.end) };
    }
}

/// The physical address of kernel memory: of the direct map by arithmetic, of anything else by a walk. `None` where
/// nothing is mapped.
pub(crate) fn physical_address(pointer: *const u8) -> Option<u64> {
    let address = pointer as u64;
    if (DIRECT_MAP..boot::layout::DEVICE_MAP).contains(&address) {
        return Some(address - DIRECT_MAP);
    }
    paging::kernel_physical(address)
}

/// Says how much memory there is.
pub(crate) struct Summary;

impl core::fmt::Display for Summary {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let usage = frames::usage();
        write!(f, "{} MiB, {} MiB free", usage.total.div_ceil(1 << 20), usage.free >> 20)
    }
}
