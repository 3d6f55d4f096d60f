//! Making a program out of a file: what `execve(2)` and the boot do before the first instruction.
//!
//! [`load`] finds the file, goes through `#!` lines ([`script`]), reads the ELF headers ([`elf`]), lays the segments out in a
//! new [`UserSpace`] ([`image`]) and puts arguments, environment and auxiliary vector on the first stack ([`stack`]). The result,
//! an [`Image`], cannot fail any more: the caller puts it in place of what was there.
//!
//! Everything in a file is hostile: sizes are checked before use, and what is wrong is named in the error.

mod elf;
mod image;
mod script;
mod stack;

use alloc::sync::Arc;

use vfs::{
    AT_FDCWD, AtFlags, Attr, Context, Credentials, Errno, Error, Fd, FileOps, Mapping, MountFlags, OpenFile, Result,
    SetIdOnExec,
};

use crate::task::UserSpace;
use crate::task::process::Title;

pub(crate) use stack::Strings;

/// How many `#!` lines may lead to one another.
const SCRIPTS_MAX: usize = 5;

/// How much of a file is looked at to tell what it is, in bytes (`BINPRM_BUF_SIZE`).
const HEAD_BYTES: usize = 256;

/// A program that is ready to run.
pub(crate) struct Image {
    /// Its memory.
    pub(crate) space: UserSpace,
    /// Its first instruction.
    pub(crate) entry: u64,
    /// Its first stack pointer.
    pub(crate) stack_pointer: u64,
    /// Who it runs as.
    pub(crate) credentials: Credentials,
    /// What it is called.
    pub(crate) title: Title,
}

/// A file that the caller may execute. While it is open nobody writes it.
struct Program {
    open: Arc<OpenFile>,
    content: Arc<dyn FileOps>,
    attr: Attr,
    set_id: SetIdOnExec,
}

/// Loads the program at `path`, from directory `at`, for the task of `context`. `AT_EMPTY_PATH` and `AT_SYMLINK_NOFOLLOW` count.
///
/// # Errors
/// Those of the path; `EACCES` for what is not an executable regular file; `ENOEXEC` for what is no program of this machine;
/// `E2BIG`, `ELOOP`, `ENOMEM`, `EIO`.
pub(crate) fn load(
    context: &Context,
    at: Fd,
    path: &[u8],
    flags: AtFlags,
    arguments: Strings,
    environment: &Strings,
) -> Result<Image> {
    load_for(context, SetIdOnExec::Honoured, at, path, flags, arguments, environment)
}

/// As [`load`], for a task that may have forsworn set-id bits.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_for(
    context: &Context,
    set_id: SetIdOnExec,
    at: Fd,
    path: &[u8],
    flags: AtFlags,
    mut arguments: Strings,
    environment: &Strings,
) -> Result<Image> {
    let mut program = open(context, at, path, flags)?;
    let mut name = path.to_vec();
    for _ in 0..SCRIPTS_MAX {
        let mut head = [0; HEAD_BYTES];
        let length = program.content.read_at(0, &mut head)?;
        let Some(script) = script::parse(&head[..length])? else {
            if set_id == SetIdOnExec::Ignored {
                program.set_id = set_id;
            }
            return image::build(context, &program, &name, path, &arguments, environment);
        };
        arguments.replace_first(&[script.interpreter, script.argument.unwrap_or_default(), &name])?;
        name = script.interpreter.to_vec();
        program = open(context, AT_FDCWD, &name, AtFlags::empty())?;
    }
    Err(Error::new(Errno::ELOOP, "scripts that lead to scripts"))
}

/// Finds an executable file.
fn open(context: &Context, at: Fd, path: &[u8], flags: AtFlags) -> Result<Program> {
    let open = crate::init::namespace().open_exec(context, at, path, flags)?;
    let content = open.mapping(Mapping::EXECUTE)?;
    let attr = open.stat()?.attr;
    let location = open.location().ok_or(Errno::EACCES)?;
    let set_id = match location.mount_flags().contains(MountFlags::MS_NOSUID) {
        true => SetIdOnExec::Ignored,
        false => SetIdOnExec::Honoured,
    };
    Ok(Program { open, content, attr, set_id })
}
