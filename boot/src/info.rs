//! [`BootInfo`]: what every boot protocol is turned into.

use core::ops::Range;

use heapless::Vec;

use crate::layout;

/// The most memory regions that are kept; a longer map is cut and said to be.
pub const MAX_REGIONS: usize = 64;

/// The most modules that are kept.
pub const MAX_MODULES: usize = 16;

/// The longest command line that is kept, in bytes.
pub const MAX_COMMAND_LINE: usize = 4096;

/// What brought the kernel into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Xen's PVH direct boot, as QEMU, Cloud Hypervisor and Firecracker speak it.
    Pvh,
}

/// What a range of physical memory may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    /// Free for any use.
    Usable,
    /// The firmware's, or a hole: not to be touched.
    Reserved,
    /// ACPI tables: readable, and usable once they have been read.
    Acpi,
    /// ACPI non-volatile storage: not to be touched.
    AcpiNvs,
    /// Found defective.
    Bad,
}

/// A range of physical memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRegion {
    /// The physical addresses.
    pub range: Range<u64>,
    /// Their use.
    pub kind: MemoryKind,
}

/// A file that the loader placed in memory: an initrd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The physical addresses of its bytes.
    pub range: Range<u64>,
}

/// What the loader left out or the parser could not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// More memory regions than [`MAX_REGIONS`].
    MemoryMapCut,
    /// More modules than [`MAX_MODULES`].
    ModulesCut,
    /// A command line longer than [`MAX_COMMAND_LINE`], or not UTF-8: cut there.
    CommandLineCut,
    /// A module outside the memory that the entry code maps: ignored.
    ModuleOutOfReach,
}

/// What the kernel learns from its loader. Everything is copied out of the loader's memory, save the bytes of the modules.
#[derive(Debug)]
pub struct BootInfo {
    /// Who loaded the kernel.
    pub protocol: Protocol,
    /// The memory map, in the loader's order.
    pub memory: Vec<MemoryRegion, MAX_REGIONS>,
    /// Files in memory, in the loader's order.
    pub modules: Vec<Module, MAX_MODULES>,
    /// The kernel's parameters.
    pub command_line: &'static str,
    /// The physical address of ACPI's root pointer, where the loader gave one.
    pub rsdp: Option<u64>,
    /// The physical addresses of the kernel's own image, zeroed data and first stack included.
    pub image: Range<u64>,
    /// The time-stamp counter at the kernel's first instruction.
    pub entry_tsc: u64,
    /// What was cut or ignored.
    pub defects: Vec<Defect, 4>,
}

impl BootInfo {
    /// The bytes of a module.
    ///
    /// # Safety
    ///
    /// The frames of the module must not have been given to the frame allocator, and nobody may write to
    /// them while the slice lives.
    #[must_use]
    pub unsafe fn module_bytes(&self, module: &Module) -> &'static [u8] {
        let length = module.range.end - module.range.start;
        let start = layout::direct(module.range.start) as *const u8;
        // SAFETY: the parser keeps only modules within the mapped memory; the caller answers for the rest.
        unsafe { core::slice::from_raw_parts(start, length as usize) }
    }

    /// Usable memory in bytes.
    #[must_use]
    pub fn usable_bytes(&self) -> u64 {
        self.memory
            .iter()
            .filter(|region| region.kind == MemoryKind::Usable)
            .fold(0, |sum: u64, region| sum.saturating_add(region.range.end - region.range.start))
    }
}
