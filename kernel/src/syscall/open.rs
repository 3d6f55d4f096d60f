//! Opening files, and pipes.

use vfs::{AT_FDCWD, Errno, Fd, OpenFlags, OpenHow};
use zerocopy::{FromZeros, IntoBytes};

use super::{Answer, Caller, abi, with_path};
use crate::init::namespace;
use crate::task::space::shared;
use crate::user::{UserBytes, UserPtr, UserString};

/// `open(2)`.
pub(super) fn open(caller: &mut Caller<'_>, path: UserString, flags: u32, mode: u32) -> Answer {
    openat(caller, AT_FDCWD, path, flags, mode)
}

/// `creat(2)`.
pub(super) fn creat(caller: &mut Caller<'_>, path: UserString, mode: u32) -> Answer {
    let flags = OpenFlags::O_CREAT | OpenFlags::O_WRONLY | OpenFlags::O_TRUNC;
    openat(caller, AT_FDCWD, path, flags.bits(), mode)
}

/// `openat(2)`.
pub(super) fn openat(caller: &mut Caller<'_>, at: Fd, path: UserString, flags: u32, mode: u32) -> Answer {
    let flags = OpenFlags::from_bits_retain(flags);
    let fd = with_path(path, |path| namespace().openat(&caller.context, at, path, flags, mode))?;
    opened(caller, fd, flags)
}

/// The answer of an open: mappings of a file that was cut show it.
fn opened(caller: &Caller<'_>, fd: Fd, flags: OpenFlags) -> Answer {
    if flags.contains(OpenFlags::O_TRUNC) && shared::is_any() {
        shared::after_truncating(&*caller.context.file(fd)?);
    }
    Ok(fd as usize)
}

/// `openat2(2)`: a structure that may be longer than the one known, if the rest is zero.
pub(super) fn openat2(caller: &mut Caller<'_>, at: Fd, path: UserString, how: u64, size: usize) -> Answer {
    let mut request = abi::OpenHow::new_zeroed();
    let known = size_of_val(&request);
    if size < known {
        return Err(Errno::EINVAL.into());
    }
    if size > boot::layout::PAGE_SIZE as usize {
        return Err(Errno::E2BIG.into());
    }
    let claim = UserBytes::whole(how, size);
    claim.take(known).read(request.as_mut_bytes())?;
    let mut rest = claim.skip(known);
    while !rest.is_empty() {
        let mut piece = [0; 64];
        let length = rest.len().min(piece.len());
        rest.read(&mut piece[..length])?;
        if piece.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG.into());
        }
        rest = rest.skip(length);
    }
    let how = OpenHow::from_openat2(request.flags, request.mode, request.resolve)?;
    let fd = with_path(path, |path| namespace().openat2(&caller.context, at, path, &how))?;
    // The flags were checked: no bit is beyond these 32.
    opened(caller, fd, OpenFlags::from_bits_retain(request.flags as u32))
}

/// `pipe(2)`.
pub(super) fn pipe(caller: &mut Caller<'_>, ends: UserPtr<[i32; 2]>) -> Answer {
    pipe2(caller, ends, 0)
}

/// `pipe2(2)`.
pub(super) fn pipe2(caller: &mut Caller<'_>, ends: UserPtr<[i32; 2]>, flags: u32) -> Answer {
    let (reading, writing) = namespace().pipe2(&caller.context, OpenFlags::from_bits_retain(flags))?;
    if let Err(error) = ends.write(&[reading, writing]) {
        for end in [reading, writing] {
            // They were just opened.
            let _ = caller.context.files.close(end);
        }
        return Err(error);
    }
    Ok(0)
}
