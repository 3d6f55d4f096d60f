//! Programs in ring 3: small ones in machine code, put into a file, started as any program is, and judged by how they end.
//!
//! `program!` assembles one; [`run`] gives it a file of [`executable`] form and waits for its end. What is tested is in the
//! modules: [`calls`] a program by itself, [`children`] what a child gets, [`families`] several, [`faults`] what ends one, [`images`] what can be started, [`lent`] what others take away,
//! [`signals`] handlers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use vfs::{AT_FDCWD, AtFlags, Context, OpenFlags, OpenHow};

use super::{Failure, TestResult};
use crate::ensure_eq;
use crate::exec::{self, Strings};
use crate::init::{kernel_context, namespace};
use crate::task::process::{self, ExitStatus};
use crate::task::{self, Process};

/// Assembles a program: `program! { name: "code" }` makes `name()` return its bytes. Local labels are numbers from 2 to 9.
macro_rules! program {
    ($visibility:vis $name:ident: $($code:expr),+ $(,)?) => {
        $visibility fn $name() -> &'static [u8] {
            let (start, end): (usize, usize);
            // SAFETY: nothing runs but two instructions that give the addresses of labels; the code is data elsewhere.
            unsafe {
                core::arch::asm!(
                    ".pushsection .rodata.suite_programs, \"a\", @progbits",
                    "770:",
                    $($code,)+
                    "771:",
                    ".popsection",
                    "lea {start}, [rip + 770b]",
                    "lea {end}, [rip + 771b]",
                    start = out(reg) start,
                    end = out(reg) end,
                    options(nomem, nostack, preserves_flags),
                );
            }
            // SAFETY: both labels are in one section of the image, the second after the first.
            unsafe { core::slice::from_raw_parts(start as *const u8, end - start) }
        }
    };
}

mod calls;
mod children;
mod families;
mod faults;
mod images;
mod lent;
mod signals;

/// Where programs without a place of their own are loaded.
const BASE: u64 = 0x40_0000;

/// An executable of one segment with this code.
pub(in crate::suite) fn executable(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut file = headers(2, BASE + HEADERS, &[(1, 5, 0, BASE, size, size)]);
    file.extend(code);
    file
}

/// A program header: type, flags, offset in the file, address, bytes in the file and in memory.
type ProgramHeader = (u64, u64, u64, u64, u64, u64);

/// The headers of an executable of this kind (`ET_EXEC` is 2, `ET_DYN` 3) that begins at `entry`.
fn headers(kind: u64, entry: u64, programs: &[ProgramHeader]) -> Vec<u8> {
    let mut file = Vec::new();
    let put = |file: &mut Vec<u8>, words: &[(u64, usize)]| {
        for (value, bytes) in words {
            file.extend(&value.to_le_bytes()[..*bytes]);
        }
    };
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let count = programs.len() as u64;
    put(&mut file, &[(kind, 2), (62, 2), (1, 4), (entry, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (count, 2)]);
    put(&mut file, &[(0, 2), (0, 2), (0, 2)]);
    for &(kind, flags, offset, address, in_file, in_memory) in programs {
        put(&mut file, &[(kind, 4), (flags, 4), (offset, 8), (address, 8), (address, 8)]);
        put(&mut file, &[(in_file, 8), (in_memory, 8), (4096, 8)]);
    }
    file
}

/// Makes a file of the suite's own directory.
pub(in crate::suite) fn write_file(context: &Context, name: &str, content: &[u8], mode: u32) -> TestResult {
    match namespace().mkdirat(context, AT_FDCWD, b"/suite", 0o755) {
        Err(error) if error != vfs::Errno::EEXIST => return Err(error.into()),
        _ => {}
    }
    let path = alloc::format!("/suite/{name}");
    let flags = OpenFlags::O_WRONLY | OpenFlags::O_CREAT | OpenFlags::O_TRUNC;
    let file = namespace().open(context, AT_FDCWD, path.as_bytes(), &OpenHow::from_open(flags, mode))?;
    ensure_eq!(file.write(context, vfs::At::Position, content)?, content.len());
    Ok(())
}

/// Starts a file of the suite's directory and returns how it ended.
pub(super) fn run_file(context: &Context, name: &str, arguments: &[&str]) -> Result<ExitStatus, Failure> {
    let path = alloc::format!("/suite/{name}");
    let mut strings = Strings::default();
    for argument in core::iter::once(&path.as_str()).chain(arguments) {
        strings.push(argument.as_bytes())?;
    }
    let mut environment = Strings::default();
    environment.push(b"A=B")?;
    let image = exec::load(context, AT_FDCWD, path.as_bytes(), AtFlags::empty(), strings, &environment)?;
    let process: Arc<Process> = task::spawn_program(context.clone(), image)?;
    task::wait_until(&|| process.ended().is_some())?;
    process::reap(&process);
    process.ended().ok_or_else(|| Failure::new("it did not end"))
}

/// Puts code into a file and runs it.
pub(super) fn run(code: &[u8]) -> Result<ExitStatus, Failure> {
    let context = kernel_context();
    write_file(&context, "program", &executable(code), 0o755)?;
    run_file(&context, "program", &["two", "three"])
}

/// As [`run`], with programs' reports kept off the console: they are expected.
pub(super) fn run_in_silence(code: &[u8]) -> Result<ExitStatus, Failure> {
    let level = log::max_level();
    log::set_max_level(log::LevelFilter::Off);
    let ended = run(code);
    log::set_max_level(level);
    ended
}
