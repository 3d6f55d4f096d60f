//! ELF headers of executables for x86_64 (System V ABI, "ELF-64 Object File Format").
//!
//! Key types: [`Executable`], [`Segment`]. Everything in them was checked: ranges do not overflow, lie among user addresses,
//! and agree with the page size.

use boot::layout::{PAGE_SIZE, USER_END};
use heapless::Vec;
use vfs::{Errno, Error, FileOps, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::task::Rights;
use crate::task::space::{page_down, page_up};

/// The most segments that are loaded.
const SEGMENTS_MAX: usize = 32;
/// The most program headers.
const HEADERS_MAX: usize = 64;
/// The longest path of a program interpreter, in bytes.
const INTERPRETER_MAX: usize = 255;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
struct FileHeader {
    ident: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    program_headers: u64,
    section_headers: u64,
    flags: u32,
    size: u16,
    program_header_size: u16,
    program_header_count: u16,
    section_header_size: u16,
    section_header_count: u16,
    section_names: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

const _: () = assert!(size_of::<FileHeader>() == 64 && size_of::<ProgramHeader>() == 56);

/// Size of a program header, in bytes (`AT_PHENT`).
pub(super) const PROGRAM_HEADER_BYTES: u64 = size_of::<ProgramHeader>() as u64;

/// Where a program may be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// At its own addresses.
    Fixed,
    /// Anywhere, at this alignment.
    Anywhere {
        /// In bytes, at least a page.
        align: u64,
    },
}

/// A part of the file that appears in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// First address, before the program is moved.
    pub(super) address: u64,
    /// Bytes in memory.
    pub(super) memory_size: u64,
    /// Offset in the file, equal to the address modulo the page size.
    pub(super) offset: u64,
    /// Bytes from the file, at most as many as in memory.
    pub(super) file_size: u64,
    /// What the program may do.
    pub(super) rights: Rights,
}

impl Segment {
    /// The first address after it.
    pub(super) const fn end(&self) -> u64 {
        self.address + self.memory_size
    }
}

/// What the headers say.
#[derive(Debug)]
pub(super) struct Executable {
    /// The first instruction, before the program is moved.
    pub(super) entry: u64,
    /// Where it may be.
    pub(super) placement: Placement,
    /// What is loaded, in ascending order.
    pub(super) segments: Vec<Segment, SEGMENTS_MAX>,
    /// Where the program headers are in memory, before the program is moved.
    pub(super) headers: u64,
    /// How many there are.
    pub(super) header_count: u64,
    /// The program that loads this one.
    pub(super) interpreter: Option<Vec<u8, INTERPRETER_MAX>>,
    /// Whether it wants an executable stack.
    pub(super) executable_stack: bool,
}

fn bad(context: &'static str) -> Error {
    Error::new(Errno::ENOEXEC, context)
}

fn read<T: FromBytes + IntoBytes + Immutable + Default>(file: &dyn FileOps, offset: u64) -> Result<T> {
    let mut value = T::default();
    let size = size_of::<T>();
    if file.read_at(offset, value.as_mut_bytes())? == size { Ok(value) } else { Err(bad("ELF header cut short")) }
}

impl Executable {
    /// Reads the headers of `file`.
    ///
    /// # Errors
    /// `ENOEXEC`, with what is wrong; `EIO`.
    pub(super) fn parse(file: &dyn FileOps) -> Result<Self> {
        let header: FileHeader = read(file, 0)?;
        if header.ident[..4] != *b"\x7fELF" {
            return Err(bad("neither an ELF file nor a script"));
        }
        // 64-bit, little-endian, version 1.
        if header.ident[4..7] != [2, 1, 1] || header.machine != EM_X86_64 {
            return Err(bad("ELF file for another machine"));
        }
        if !matches!(header.kind, ET_EXEC | ET_DYN) {
            return Err(bad("ELF file that is no executable"));
        }
        let count = usize::from(header.program_header_count);
        if u64::from(header.program_header_size) != PROGRAM_HEADER_BYTES || count == 0 || count > HEADERS_MAX {
            return Err(bad("ELF program headers of a wrong size or number"));
        }
        let mut executable = Self {
            entry: header.entry,
            placement: Placement::Fixed,
            segments: Vec::new(),
            headers: 0,
            header_count: count as u64,
            interpreter: None,
            executable_stack: false,
        };
        let mut align = PAGE_SIZE;
        let mut named_headers = None;
        for index in 0..count as u64 {
            let offset = header.program_headers.checked_add(index * PROGRAM_HEADER_BYTES);
            let program: ProgramHeader = read(file, offset.ok_or(bad("ELF program headers out of range"))?)?;
            match program.kind {
                PT_LOAD if program.memory_size > 0 => {
                    executable.add_segment(&program)?;
                    if program.align.is_power_of_two() {
                        align = align.max(program.align.min(1 << 30));
                    }
                }
                PT_PHDR => named_headers = Some(program.address),
                PT_INTERP => executable.interpreter = Some(interpreter(file, &program)?),
                PT_GNU_STACK => executable.executable_stack = program.flags & 1 != 0,
                _ => {}
            }
        }
        if executable.segments.is_empty() {
            return Err(bad("ELF file with nothing to load"));
        }
        if header.kind == ET_DYN {
            executable.placement = Placement::Anywhere { align };
        }
        executable.headers = named_headers.or_else(|| executable.address_of(header.program_headers)).unwrap_or(0);
        Ok(executable)
    }

    fn add_segment(&mut self, program: &ProgramHeader) -> Result<()> {
        let ProgramHeader { address, memory_size, offset, file_size, flags, .. } = *program;
        let end = address.checked_add(memory_size).filter(|&end| page_up(end).is_some_and(|end| end <= USER_END));
        if end.is_none() || file_size > memory_size || offset.checked_add(file_size).is_none() {
            return Err(bad("ELF segment out of range"));
        }
        if address % PAGE_SIZE != offset % PAGE_SIZE {
            return Err(bad("ELF segment not aligned to its place in the file"));
        }
        if self.segments.last().is_some_and(|last| last.end() > address) {
            return Err(bad("ELF segments overlap or are out of order"));
        }
        let mut rights = Rights::empty();
        rights.set(Rights::EXECUTE, flags & 1 != 0);
        rights.set(Rights::WRITE, flags & 2 != 0);
        rights.set(Rights::READ, flags & 4 != 0);
        let segment = Segment { address, memory_size, offset, file_size, rights };
        self.segments.push(segment).map_err(|_| bad("too many ELF segments"))
    }

    /// The address at which a byte of the file is loaded.
    fn address_of(&self, offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| (segment.offset..segment.offset + segment.file_size).contains(&offset);
        self.segments.iter().find(within).map(|segment| segment.address + (offset - segment.offset))
    }

    /// The page range that all segments lie in, before the program is moved.
    pub(super) fn span(&self) -> (u64, u64) {
        let start = self.segments.first().map_or(0, |first| page_down(first.address));
        let end = self.segments.last().map_or(0, |last| page_up(last.end()).unwrap_or(USER_END));
        (start, end)
    }
}

fn interpreter(file: &dyn FileOps, program: &ProgramHeader) -> Result<Vec<u8, INTERPRETER_MAX>> {
    let mut path = Vec::new();
    let length = usize::try_from(program.file_size).map_err(|_| bad("ELF interpreter's path too long"))?;
    path.resize(length, 0).map_err(|_| bad("ELF interpreter's path too long"))?;
    if length < 2 || file.read_at(program.offset, &mut path)? != length || path.pop() != Some(0) || path.contains(&0) {
        return Err(bad("ELF interpreter's path not readable"));
    }
    Ok(path)
}
