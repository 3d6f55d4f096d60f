//! The GDT, the TSS and the IDT.
//!
//! Segments are in the order that `SYSCALL` and `SYSRET` demand: kernel code and data, then user data and code.

use core::arch::asm;
use core::cell::UnsafeCell;

use boot::layout::PAGE_SIZE;
use x86_64::VirtAddr;
use x86_64::instructions::tables;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::SegmentSelector;

use super::entry;

/// Kernel code; kernel data is the next one. `STAR[47:32]`.
pub(crate) const KERNEL_CODE: u16 = 0x08;
/// Kernel data.
pub(crate) const KERNEL_DATA: u16 = 0x10;
/// What `STAR[63:48]` holds: `SYSRET` takes the stack segment from 8 above it and code from 16 above.
pub(crate) const SYSRET_BASE: u16 = 0x13;
/// User data and stack, with privilege level 3.
pub(crate) const USER_DATA: u16 = 0x1b;
/// User 64-bit code, with privilege level 3.
pub(crate) const USER_CODE: u16 = 0x23;
const TSS: u16 = 0x28;
const _: () = assert!(USER_DATA == SYSRET_BASE + 8 && USER_CODE == SYSRET_BASE + 16);

/// The stacks that traps land on: one for each kind that may interrupt another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landing {
    Fault = 1,
    NonMaskable = 2,
    DoubleFault = 3,
    MachineCheck = 4,
    Interrupt = 5,
    Debug = 6,
}

const LANDINGS: usize = 6;

const _: () = assert!(size_of::<TaskState>() <= 128 && size_of::<[u64; 7]>() <= 128);

/// The size of a landing stack. Reports are printed on one.
const LANDING_BYTES: usize = 4 * PAGE_SIZE as usize;

/// Data that the processor reads and writes by itself. None of it that is smaller than a page crosses one.
#[repr(C, align(128))]
struct Hardware<T>(UnsafeCell<T>);

// SAFETY: there is one processor; `init` writes once, before traps can happen, and from then on it is the
// processor's.
unsafe impl<T> Sync for Hardware<T> {}

#[repr(C, align(16))]
struct LandingStacks([[u8; LANDING_BYTES]; LANDINGS]);

#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

/// A gate of the IDT.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

static STACKS: Hardware<LandingStacks> = Hardware(UnsafeCell::new(LandingStacks([[0; LANDING_BYTES]; LANDINGS])));
static STATE: Hardware<TaskState> = Hardware(UnsafeCell::new(TaskState {
    reserved0: 0,
    privilege_stacks: [0; 3],
    reserved1: 0,
    interrupt_stacks: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map: size_of::<TaskState>() as u16,
}));
static SEGMENTS: Hardware<[u64; 7]> = Hardware(UnsafeCell::new([
    0,
    0x00af_9b00_0000_ffff, // kernel code: 64-bit, present, accessed
    0x00cf_9300_0000_ffff, // kernel data
    0x00cf_f300_0000_ffff, // user data
    0x00af_fb00_0000_ffff, // user code
    0,                     // the task state segment: two entries
    0,
]));
static GATES: Hardware<[Gate; 256]> = Hardware(UnsafeCell::new([Gate { low: 0, high: 0 }; 256]));

/// Fills the tables and loads them.
pub(super) fn init() {
    let state = STATE.0.get();
    for landing in 0..LANDINGS {
        let bottom = STACKS.0.get().cast::<u8>().wrapping_add(landing * LANDING_BYTES);
        // SAFETY: the table is not loaded yet, so this is the only access.
        unsafe { (*state).interrupt_stacks[landing] = bottom.wrapping_add(LANDING_BYTES) as u64 };
    }
    let base = state as u64;
    let limit = size_of::<TaskState>() as u64 - 1;
    let low = limit | (base & 0x00ff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    // SAFETY: as above.
    unsafe {
        (*SEGMENTS.0.get())[5] = low;
        (*SEGMENTS.0.get())[6] = base >> 32;
    }
    for vector in 0..256 {
        // SAFETY: as above.
        unsafe { (*GATES.0.get())[vector] = gate(vector) };
    }
    // SAFETY: the tables are complete and live for ever; the selectors are theirs.
    unsafe {
        tables::lgdt(&pointer(SEGMENTS.0.get() as u64, size_of::<[u64; 7]>()));
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        DS::set_reg(SegmentSelector(0));
        ES::set_reg(SegmentSelector(0));
        asm!("mov fs, {0:e}", "mov gs, {0:e}", in(reg) 0, options(nostack, preserves_flags));
        tables::load_tss(SegmentSelector(TSS));
        tables::lidt(&pointer(GATES.0.get() as u64, size_of::<[Gate; 256]>()));
    }
}

fn pointer(base: u64, size: usize) -> DescriptorTablePointer {
    DescriptorTablePointer { limit: (size - 1) as u16, base: VirtAddr::new(base) }
}

/// An interrupt gate: interrupts off on entry.
fn gate(vector: usize) -> Gate {
    let handler = entry::stub_address(vector);
    let landing = match vector {
        1 => Landing::Debug,
        2 => Landing::NonMaskable,
        8 => Landing::DoubleFault,
        18 => Landing::MachineCheck,
        0..32 => Landing::Fault,
        _ => Landing::Interrupt,
    };
    // A program may execute a breakpoint and `into`; everything else only happens.
    let privilege: u64 = if matches!(vector, 3 | 4) { 3 } else { 0 };
    let low = (handler & 0xffff)
        | u64::from(KERNEL_CODE) << 16
        | (landing as u64) << 32
        | (0x8e | privilege << 5) << 40
        | (handler >> 16 & 0xffff) << 48;
    Gate { low, high: handler >> 32 }
}
