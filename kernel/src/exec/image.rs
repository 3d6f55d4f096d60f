//! Laying a program out in memory.

use boot::layout::PAGE_SIZE;
use vfs::{AT_FDCWD, AtFlags, Context, Credentials, Errno, Error, Result};

use super::elf::{Executable, PROGRAM_HEADER_BYTES, Placement};
use super::stack::{self, Facts};
use super::{Image, Program, Strings, open};
use crate::task::UserSpace;
use crate::task::process::Title;
use crate::task::space::{
    Area, Backing, FileRange, MAP_TOP, MappedFile, OnFork, PROGRAM_BASE, Rights, Role, page_down, page_up,
};

/// Builds the memory and the first stack of `program`, which was found at `path` and is told that it is `name`.
pub(super) fn build(
    context: &Context,
    program: &Program,
    path: &[u8],
    name: &[u8],
    arguments: &Strings,
    environment: &Strings,
) -> Result<Image> {
    let executable = Executable::parse(&*program.content)?;
    let mut space = UserSpace::new()?;
    let bias = place(&executable, PROGRAM_BASE)?;
    map(&mut space, program, &executable, bias)?;
    let (_, end) = executable.span();
    space.place_heap(end.wrapping_add(bias));
    let own_entry = executable.entry.wrapping_add(bias);
    let (entry, interpreter_base) = match &executable.interpreter {
        None => (own_entry, 0),
        Some(path) => {
            let interpreter = open(context, AT_FDCWD, path, AtFlags::empty())?;
            let loader = Executable::parse(&*interpreter.content)?;
            let (start, end) = loader.span();
            let room =
                MAP_TOP.checked_sub(end - start).ok_or(Error::new(Errno::ENOEXEC, "ELF interpreter too large"))?;
            let base = place(&loader, page_down(room))?;
            map(&mut space, &interpreter, &loader, base)?;
            (loader.entry.wrapping_add(base), base)
        }
    };
    if entry >= boot::layout::USER_END {
        return Err(Error::new(Errno::ENOEXEC, "ELF entry out of range"));
    }
    let credentials = context.credentials.after_exec(&program.attr, program.set_id);
    let facts = Facts {
        headers: executable.headers.wrapping_add(bias),
        header_bytes: PROGRAM_HEADER_BYTES,
        header_count: executable.header_count,
        interpreter_base,
        entry: own_entry,
        credentials: &credentials,
        // Against the real ids of before, as Linux does: what a set-id program starts is as exposed as that program itself.
        secure: credentials.uid().effective != context.credentials.uid().real
            || credentials.gid().effective != context.credentials.gid().real,
        name,
    };
    let top = space.add_stack(executable.executable_stack)?;
    let stack_pointer = stack::fill(&mut space, top, &facts, arguments, environment)?;
    // Where it is, however it was named: `/proc/self/exe` leads there from everywhere.
    let namespace = crate::init::namespace();
    let place = program.open.location();
    let place = place
        .map_or_else(|| path.to_vec(), |place| namespace.path_of(&namespace.context(Credentials::root(), 0), place));
    let title = Title { name: short_name(path), arguments: arguments.bytes().to_vec(), path: place };
    Ok(Image { space, entry, stack_pointer, credentials, title })
}

/// How far the program is moved so that it begins at `base`, if it may be moved.
fn place(executable: &Executable, base: u64) -> Result<u64> {
    match executable.placement {
        Placement::Fixed => Ok(0),
        Placement::Anywhere { align } => {
            let (start, _) = executable.span();
            // Downwards, so that what ends below a limit stays there. The alignment is a power of two.
            Ok((base & !(align - 1)).wrapping_sub(start & !(align - 1)))
        }
    }
}

/// Adds the areas of all segments.
fn map(space: &mut UserSpace, program: &Program, executable: &Executable, bias: u64) -> Result<()> {
    let mut reached = 0;
    for segment in &executable.segments {
        let address = segment.address.wrapping_add(bias);
        let file_end = page_up(address + segment.file_size).ok_or(Errno::ENOEXEC)?;
        let end = page_up(address + segment.memory_size).ok_or(Errno::ENOEXEC)?;
        // Where zeros begin: without a part of the file, behind what is there, which has zeros after its own part.
        let mut zeros = page_down(address).max(reached);
        if segment.file_size > 0 {
            // Segments may share a page, one's end and the next one's beginning: the later one has it, as on Linux. It shows what
            // the file has in that page before the segment, which in a file made by a linker is the end of the other one.
            let start = page_down(address);
            if start < reached {
                space.unmap(start, reached - start)?;
            }
            let range = FileRange {
                file: MappedFile { open: program.open.clone(), content: program.content.clone() },
                offset: page_down(segment.offset),
                end: Some(segment.offset + segment.file_size),
            };
            space.add(start, area(file_end, segment.rights, Backing::File(range)))?;
            zeros = file_end;
        }
        if zeros < end {
            space.add(zeros, area(end, segment.rights, Backing::Anonymous))?;
        }
        reached = end.max(reached);
    }
    debug_assert!(reached.is_multiple_of(PAGE_SIZE));
    Ok(())
}

fn area(end: u64, rights: Rights, backing: Backing) -> Area {
    Area { end, rights, allowed: Rights::all(), backing, role: Role::Plain, on_fork: OnFork::Copied }
}

/// The last part of a path, as `comm` shows it: 15 bytes at most.
fn short_name(path: &[u8]) -> alloc::vec::Vec<u8> {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    last[..last.len().min(15)].to_vec()
}
