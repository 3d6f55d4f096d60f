//! PVH: Xen's direct boot protocol (`xen/include/public/arch-x86/hvm/start_info.h`).
//!
//! The loader finds the entry point in an ELF note and jumps there with the physical address of a
//! [`StartInfo`] in `ebx`. [`parse`] copies what it points at; it trusts the loader to have given readable
//! addresses below [`layout::EARLY_MAPPED`], checks that they lie there, and trusts nothing else.

use core::ops::Range;

use heapless::Vec;

use crate::info::{BootInfo, Defect, MAX_COMMAND_LINE, MemoryKind, MemoryRegion, Module, Protocol};
use crate::layout;

/// `hvm_start_info.magic`: "xEn3" with the top bit of the `E` set.
const MAGIC: u32 = 0x336e_c578;

/// `struct hvm_start_info`, version 1.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_entries: u32,
    reserved: u32,
}

/// `struct hvm_modlist_entry`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct ModuleEntry {
    address: u64,
    size: u64,
    command_line: u64,
    reserved: u64,
}

/// `struct hvm_memmap_table_entry`; the types are those of the BIOS's E820.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct MemoryEntry {
    address: u64,
    size: u64,
    kind: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<StartInfo>() == 56);
const _: () = assert!(size_of::<ModuleEntry>() == 32);
const _: () = assert!(size_of::<MemoryEntry>() == 24);

/// Why the loader's information cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PvhError {
    /// The structure lies outside the mapped memory.
    OutOfReach,
    /// It does not begin with the protocol's magic number.
    BadMagic,
    /// Version 0 has no memory map, and without one no memory can be used.
    NoMemoryMap,
}

/// How physical memory is read: through the direct map, or from a buffer in tests.
pub trait PhysicalMemory {
    /// Copies a `T` from `address`, or `None` when any of its bytes is not readable.
    fn read<T: Copy>(&self, address: u64) -> Option<T>;
}

/// Reads the start information at physical address `start_info`.
///
/// `command_line` receives the parameters, `image` is the kernel's own place and `entry_tsc` the time of its
/// first instruction.
///
/// # Errors
///
/// See [`PvhError`].
pub fn parse<M: PhysicalMemory>(
    memory: &M,
    start_info: u64,
    command_line: &'static mut [u8; MAX_COMMAND_LINE],
    image: Range<u64>,
    entry_tsc: u64,
) -> Result<BootInfo, PvhError> {
    let info: StartInfo = memory.read(start_info).ok_or(PvhError::OutOfReach)?;
    if info.magic != MAGIC {
        return Err(PvhError::BadMagic);
    }
    if info.version < 1 || info.memory_map_entries == 0 {
        return Err(PvhError::NoMemoryMap);
    }
    let mut defects = Vec::new();
    let regions = read_memory_map(memory, &info, &mut defects)?;
    let modules = read_modules(memory, &info, &mut defects);
    let command_line = read_command_line(memory, info.command_line, command_line, &mut defects);
    Ok(BootInfo {
        protocol: Protocol::Pvh,
        memory: regions,
        modules,
        command_line,
        rsdp: (info.rsdp != 0).then_some(info.rsdp),
        image,
        entry_tsc,
        defects,
    })
}

fn note(defects: &mut Vec<Defect, 4>, defect: Defect) {
    if !defects.contains(&defect) {
        // There is room for every kind of defect once.
        let _ = defects.push(defect);
    }
}

fn read_memory_map<M: PhysicalMemory, const N: usize>(
    memory: &M,
    info: &StartInfo,
    defects: &mut Vec<Defect, 4>,
) -> Result<Vec<MemoryRegion, N>, PvhError> {
    let mut regions = Vec::new();
    for index in 0..u64::from(info.memory_map_entries) {
        let address = info.memory_map.wrapping_add(index * size_of::<MemoryEntry>() as u64);
        let entry: MemoryEntry = memory.read(address).ok_or(PvhError::OutOfReach)?;
        let Some(end) = entry.address.checked_add(entry.size) else { continue };
        if entry.size == 0 {
            continue;
        }
        let kind = match entry.kind {
            1 => MemoryKind::Usable,
            3 => MemoryKind::Acpi,
            4 => MemoryKind::AcpiNvs,
            5 => MemoryKind::Bad,
            _ => MemoryKind::Reserved,
        };
        if regions.push(MemoryRegion { range: entry.address..end, kind }).is_err() {
            note(defects, Defect::MemoryMapCut);
            break;
        }
    }
    Ok(regions)
}

fn read_modules<M: PhysicalMemory, const N: usize>(
    memory: &M,
    info: &StartInfo,
    defects: &mut Vec<Defect, 4>,
) -> Vec<Module, N> {
    let mut modules = Vec::new();
    for index in 0..u64::from(info.modules) {
        let address = info.module_list.wrapping_add(index * size_of::<ModuleEntry>() as u64);
        let entry: Option<ModuleEntry> = memory.read(address);
        let range = entry.and_then(|entry| Some(entry.address..entry.address.checked_add(entry.size)?));
        match range {
            Some(range) if range.end <= layout::EARLY_MAPPED => {
                if range.is_empty() {
                    continue;
                }
                if modules.push(Module { range }).is_err() {
                    note(defects, Defect::ModulesCut);
                    break;
                }
            }
            _ => note(defects, Defect::ModuleOutOfReach),
        }
    }
    modules
}

fn read_command_line<M: PhysicalMemory>(
    memory: &M,
    address: u64,
    buffer: &'static mut [u8; MAX_COMMAND_LINE],
    defects: &mut Vec<Defect, 4>,
) -> &'static str {
    if address == 0 {
        return "";
    }
    let mut length = 0;
    loop {
        let byte = memory.read::<u8>(address.wrapping_add(length as u64)).unwrap_or(0);
        if byte == 0 {
            break;
        }
        let Some(slot) = buffer.get_mut(length) else {
            note(defects, Defect::CommandLineCut);
            break;
        };
        *slot = byte;
        length += 1;
    }
    let bytes = &buffer[..length];
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            note(defects, Defect::CommandLineCut);
            core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    struct Image(Vec<u8>);

    impl PhysicalMemory for Image {
        fn read<T: Copy>(&self, address: u64) -> Option<T> {
            let start = usize::try_from(address).ok()?;
            let bytes = self.0.get(start..start.checked_add(size_of::<T>())?)?;
            // SAFETY: the tests read integers and structures of integers, which any bytes make.
            Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
        }
    }

    fn put<T: Copy>(image: &mut Image, address: usize, value: T) {
        // SAFETY: a `Copy` structure of integers without padding has `size_of` readable bytes.
        let bytes = unsafe { core::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
        image.0[address..address + bytes.len()].copy_from_slice(bytes);
    }

    fn line_buffer() -> &'static mut [u8; MAX_COMMAND_LINE] {
        Box::leak(Box::new([0; MAX_COMMAND_LINE]))
    }

    fn sample() -> (Image, StartInfo) {
        let mut image = Image(vec![0; 0x4000]);
        let info = StartInfo {
            magic: MAGIC,
            version: 1,
            flags: 0,
            modules: 1,
            module_list: 0x200,
            command_line: 0x300,
            rsdp: 0xf0000,
            memory_map: 0x400,
            memory_map_entries: 2,
            reserved: 0,
        };
        put(&mut image, 0x100, info);
        put(&mut image, 0x200, ModuleEntry { address: 0x8000, size: 0x123, command_line: 0, reserved: 0 });
        image.0[0x300..0x30b].copy_from_slice(b"log=debug x");
        put(&mut image, 0x400, MemoryEntry { address: 0, size: 0x9fc00, kind: 1, reserved: 0 });
        put(&mut image, 0x418, MemoryEntry { address: 0xf0000, size: 0x10000, kind: 2, reserved: 0 });
        (image, info)
    }

    #[test]
    fn a_complete_start_info_is_copied() {
        let (image, _) = sample();
        let info = parse(&image, 0x100, line_buffer(), 0..0x1000, 7).unwrap();
        assert_eq!(info.command_line, "log=debug x");
        assert_eq!(info.modules.len(), 1);
        assert_eq!(info.modules[0].range, 0x8000..0x8123);
        assert_eq!(info.memory.len(), 2);
        assert_eq!(info.memory[1].kind, MemoryKind::Reserved);
        assert_eq!(info.usable_bytes(), 0x9fc00);
        assert_eq!(info.rsdp, Some(0xf0000));
        assert!(info.defects.is_empty());
    }

    #[test]
    fn a_wrong_magic_number_is_refused() {
        let (mut image, mut info) = sample();
        info.magic ^= 1;
        put(&mut image, 0x100, info);
        assert_eq!(parse(&image, 0x100, line_buffer(), 0..1, 0).unwrap_err(), PvhError::BadMagic);
    }

    #[test]
    fn a_start_info_without_a_memory_map_is_refused() {
        let (mut image, mut info) = sample();
        info.version = 0;
        put(&mut image, 0x100, info);
        assert_eq!(parse(&image, 0x100, line_buffer(), 0..1, 0).unwrap_err(), PvhError::NoMemoryMap);
    }

    #[test]
    fn a_module_that_wraps_or_is_out_of_reach_is_ignored_and_noted() {
        let (mut image, _) = sample();
        for address in [u64::MAX - 4, layout::EARLY_MAPPED] {
            put(&mut image, 0x200, ModuleEntry { address, size: 0x123, command_line: 0, reserved: 0 });
            let info = parse(&image, 0x100, line_buffer(), 0..1, 0).unwrap();
            assert!(info.modules.is_empty());
            assert_eq!(info.defects.as_slice(), [Defect::ModuleOutOfReach]);
        }
    }

    #[test]
    fn a_command_line_that_is_too_long_or_not_text_is_cut_and_noted() {
        let (mut image, mut info) = sample();
        info.command_line = 0x1000;
        put(&mut image, 0x100, info);
        image.0[0x1000..0x3000].fill(b'a');
        let parsed = parse(&image, 0x100, line_buffer(), 0..1, 0).unwrap();
        assert_eq!(parsed.command_line.len(), MAX_COMMAND_LINE);
        assert_eq!(parsed.defects.as_slice(), [Defect::CommandLineCut]);
        image.0[0x1004] = 0xff;
        let parsed = parse(&image, 0x100, line_buffer(), 0..1, 0).unwrap();
        assert_eq!(parsed.command_line, "aaaa");
    }
}
