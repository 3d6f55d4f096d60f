//! Extended attributes: twelve calls, by path, by link and by descriptor.

use alloc::vec::Vec;

use vfs::{AT_FDCWD, AtFlags, Errno, Error, Fd, Result, XattrFlags, fit};

use super::{Answer, Caller, done, with_path};
use crate::init::namespace;
use crate::user::{TextBuffer, UserBytes, UserString};

/// The longest name with its zero (`XATTR_NAME_MAX` + 1).
const NAME_BYTES: usize = 256;
/// The largest value (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 64 << 10;

const FOLLOW: AtFlags = AtFlags::empty();
const NO_FOLLOW: AtFlags = AtFlags::AT_SYMLINK_NOFOLLOW;

fn with_name<R>(name: UserString, action: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
    let mut buffer = TextBuffer::<NAME_BYTES>::new();
    match name.read(&mut buffer, Errno::ERANGE)? {
        b"" => Err(Errno::ERANGE.into()),
        name => action(name),
    }
}

fn value(address: u64, size: usize) -> Result<Vec<u8>> {
    if size > VALUE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let mut value = Vec::new();
    value.try_reserve_exact(size).map_err(|_| Error::new(Errno::ENOMEM, "attribute value"))?;
    value.resize(size, 0);
    UserBytes::whole(address, size).read(&mut value)?;
    Ok(value)
}

/// Gives a value or a list to the caller, or its length alone.
fn answer(found: &[u8], address: u64, size: usize) -> Answer {
    if let Some(bytes) = fit(found, size)? {
        UserBytes::whole(address, size).write(bytes)?;
    }
    Ok(found.len())
}

fn set_at(
    caller: &Caller<'_>,
    path: UserString,
    at: AtFlags,
    name: UserString,
    (address, size): (u64, usize),
    how: u32,
) -> Answer {
    let how = XattrFlags::from_bits(how).ok_or(Errno::EINVAL)?;
    done(with_name(name, |name| {
        let value = value(address, size)?;
        with_path(path, |path| namespace().setxattrat(&caller.context, AT_FDCWD, path, at, name, &value, how))
    }))
}

/// `setxattr(2)`.
pub(super) fn setxattr(
    caller: &mut Caller<'_>,
    path: UserString,
    name: UserString,
    value: u64,
    size: usize,
    how: u32,
) -> Answer {
    set_at(caller, path, FOLLOW, name, (value, size), how)
}

/// `lsetxattr(2)`.
pub(super) fn lsetxattr(
    caller: &mut Caller<'_>,
    path: UserString,
    name: UserString,
    value: u64,
    size: usize,
    how: u32,
) -> Answer {
    set_at(caller, path, NO_FOLLOW, name, (value, size), how)
}

/// `fsetxattr(2)`.
pub(super) fn fsetxattr(
    caller: &mut Caller<'_>,
    fd: Fd,
    name: UserString,
    address: u64,
    size: usize,
    how: u32,
) -> Answer {
    let file = caller.context.file(fd)?;
    let how = XattrFlags::from_bits(how).ok_or(Errno::EINVAL)?;
    done(with_name(name, |name| file.set_xattr(&caller.context, name, &value(address, size)?, how)))
}

fn get_at(
    caller: &Caller<'_>,
    path: UserString,
    at: AtFlags,
    name: UserString,
    (address, size): (u64, usize),
) -> Answer {
    let found = with_name(name, |name| {
        with_path(path, |path| namespace().getxattrat(&caller.context, AT_FDCWD, path, at, name))
    })?;
    answer(&found, address, size)
}

/// `getxattr(2)`.
pub(super) fn getxattr(caller: &mut Caller<'_>, path: UserString, name: UserString, value: u64, size: usize) -> Answer {
    get_at(caller, path, FOLLOW, name, (value, size))
}

/// `lgetxattr(2)`.
pub(super) fn lgetxattr(
    caller: &mut Caller<'_>,
    path: UserString,
    name: UserString,
    value: u64,
    size: usize,
) -> Answer {
    get_at(caller, path, NO_FOLLOW, name, (value, size))
}

/// `fgetxattr(2)`.
pub(super) fn fgetxattr(caller: &mut Caller<'_>, fd: Fd, name: UserString, value: u64, size: usize) -> Answer {
    let file = caller.context.file(fd)?;
    let found = with_name(name, |name| file.xattr(&caller.context, name))?;
    answer(&found, value, size)
}

/// `listxattr(2)`.
pub(super) fn listxattr(caller: &mut Caller<'_>, path: UserString, list: u64, size: usize) -> Answer {
    let found = with_path(path, |path| namespace().listxattrat(&caller.context, AT_FDCWD, path, FOLLOW))?;
    answer(&found, list, size)
}

/// `llistxattr(2)`.
pub(super) fn llistxattr(caller: &mut Caller<'_>, path: UserString, list: u64, size: usize) -> Answer {
    let found = with_path(path, |path| namespace().listxattrat(&caller.context, AT_FDCWD, path, NO_FOLLOW))?;
    answer(&found, list, size)
}

/// `flistxattr(2)`.
pub(super) fn flistxattr(caller: &mut Caller<'_>, fd: Fd, list: u64, size: usize) -> Answer {
    let found = caller.context.file(fd)?.list_xattrs(&caller.context)?;
    answer(&found, list, size)
}

fn remove_at(caller: &Caller<'_>, path: UserString, at: AtFlags, name: UserString) -> Answer {
    done(with_name(name, |name| {
        with_path(path, |path| namespace().removexattrat(&caller.context, AT_FDCWD, path, at, name))
    }))
}

/// `removexattr(2)`.
pub(super) fn removexattr(caller: &mut Caller<'_>, path: UserString, name: UserString) -> Answer {
    remove_at(caller, path, FOLLOW, name)
}

/// `lremovexattr(2)`.
pub(super) fn lremovexattr(caller: &mut Caller<'_>, path: UserString, name: UserString) -> Answer {
    remove_at(caller, path, NO_FOLLOW, name)
}

/// `fremovexattr(2)`.
pub(super) fn fremovexattr(caller: &mut Caller<'_>, fd: Fd, name: UserString) -> Answer {
    let file = caller.context.file(fd)?;
    done(with_name(name, |name| file.remove_xattr(&caller.context, name)))
}
