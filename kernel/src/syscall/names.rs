//! Names in directories: making, linking, removing, renaming, reading links.

use vfs::{AT_FDCWD, AtFlags, Errno, Fd, RenameFlags};

use super::{Answer, Caller, done, with_path, with_paths};
use crate::init::namespace;
use crate::user::{UserBytes, UserString};

/// `mkdir(2)`.
pub(super) fn mkdir(caller: &mut Caller<'_>, path: UserString, mode: u32) -> Answer {
    mkdirat(caller, AT_FDCWD, path, mode)
}

/// `mkdirat(2)`.
pub(super) fn mkdirat(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32) -> Answer {
    done(with_path(path, |path| namespace().mkdirat(&caller.context, at, path, mode)))
}

/// `mknod(2)`.
pub(super) fn mknod(caller: &mut Caller<'_>, path: UserString, mode: u32, device: u32) -> Answer {
    mknodat(caller, AT_FDCWD, path, mode, device)
}

/// `mknodat(2)`.
pub(super) fn mknodat(caller: &mut Caller<'_>, at: Fd, path: UserString, mode: u32, device: u32) -> Answer {
    done(with_path(path, |path| namespace().mknodat(&caller.context, at, path, mode, device.into())))
}

/// `symlink(2)`.
pub(super) fn symlink(caller: &mut Caller<'_>, target: UserString, path: UserString) -> Answer {
    symlinkat(caller, target, AT_FDCWD, path)
}

/// `symlinkat(2)`.
pub(super) fn symlinkat(caller: &mut Caller<'_>, target: UserString, at: Fd, path: UserString) -> Answer {
    done(with_paths(target, path, |target, path| namespace().symlinkat(&caller.context, target, at, path)))
}

/// `link(2)`.
pub(super) fn link(caller: &mut Caller<'_>, old: UserString, new: UserString) -> Answer {
    linkat(caller, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// `linkat(2)`.
pub(super) fn linkat(
    caller: &mut Caller<'_>,
    old_at: Fd,
    old: UserString,
    new_at: Fd,
    new: UserString,
    flags: u32,
) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    done(with_paths(old, new, |old, new| namespace().linkat(&caller.context, old_at, old, new_at, new, flags)))
}

/// `unlink(2)`.
pub(super) fn unlink(caller: &mut Caller<'_>, path: UserString) -> Answer {
    unlinkat(caller, AT_FDCWD, path, 0)
}

/// `rmdir(2)`.
pub(super) fn rmdir(caller: &mut Caller<'_>, path: UserString) -> Answer {
    unlinkat(caller, AT_FDCWD, path, AtFlags::AT_REMOVEDIR.bits())
}

/// `unlinkat(2)`.
pub(super) fn unlinkat(caller: &mut Caller<'_>, at: Fd, path: UserString, flags: u32) -> Answer {
    let flags = AtFlags::from_bits_retain(flags);
    done(with_path(path, |path| namespace().unlinkat(&caller.context, at, path, flags)))
}

/// `rename(2)`.
pub(super) fn rename(caller: &mut Caller<'_>, old: UserString, new: UserString) -> Answer {
    renameat2(caller, AT_FDCWD, old, AT_FDCWD, new, 0)
}

/// `renameat(2)`.
pub(super) fn renameat(caller: &mut Caller<'_>, old_at: Fd, old: UserString, new_at: Fd, new: UserString) -> Answer {
    renameat2(caller, old_at, old, new_at, new, 0)
}

/// `renameat2(2)`.
pub(super) fn renameat2(
    caller: &mut Caller<'_>,
    old_at: Fd,
    old: UserString,
    new_at: Fd,
    new: UserString,
    flags: u32,
) -> Answer {
    let flags = RenameFlags::from_bits_retain(flags);
    done(with_paths(old, new, |old, new| namespace().renameat2(&caller.context, old_at, old, new_at, new, flags)))
}

/// `readlink(2)`.
pub(super) fn readlink(caller: &mut Caller<'_>, path: UserString, buffer: u64, size: i32) -> Answer {
    readlinkat(caller, AT_FDCWD, path, buffer, size)
}

/// `readlinkat(2)`: what does not fit is cut off in silence.
pub(super) fn readlinkat(caller: &mut Caller<'_>, at: Fd, path: UserString, buffer: u64, size: i32) -> Answer {
    let size = usize::try_from(size).ok().filter(|&size| size > 0).ok_or(Errno::EINVAL)?;
    let target = with_path(path, |path| namespace().readlinkat(&caller.context, at, path))?;
    UserBytes::whole(buffer, size).write(&target)
}
