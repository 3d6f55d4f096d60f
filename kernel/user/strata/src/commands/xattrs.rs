//! Extended attributes: `xattr`, `layer`, and what `cp -a` keeps of them.

use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr, lgetxattr, llistxattr, lremovexattr, lsetxattr};
use rustix::io::Errno;
use strata_rt::println;
use strata_rt::text::{Shown, parse_number};

use super::Call;
use super::tree::Place;
use crate::shell::Shell;

/// The overlay answers to this name with the layer that a file is of.
const LAYER: &core::ffi::CStr = c"system.strata.layer";
/// The largest value of an extended attribute, in bytes: Linux's limit.
const VALUE_LIMIT: usize = 64 * 1024;

/// The layer of the overlay that holds `path`, or `-` where there is no overlay.
pub(super) fn layer_of(path: &[u8]) -> String {
    let mut value = [MaybeUninit::<u8>::uninit(); 64];
    let value = lgetxattr(path, LAYER, &mut value[..]);
    let name =
        value.ok().and_then(|(value, _)| core::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0')));
    name.filter(|name| !name.is_empty()).unwrap_or("-").into()
}

pub(super) fn layer(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    for path in &call.operands {
        if call.check(path, Place::named(path).attributes()).is_some() {
            println!("{} {}", layer_of(path), Shown(path));
        }
    }
}

pub(super) fn xattr(_: &mut Shell, call: &Call) {
    let words: Vec<&[u8]> = call.operands.iter().map(|word| &word[..]).collect();
    match words[..] {
        [b"list", ref paths @ ..] if !paths.is_empty() => paths.iter().for_each(|path| list_xattrs(call, path)),
        [b"get", name, ref paths @ ..] if !paths.is_empty() => {
            for path in paths {
                if let Some(value) = call.check(path, with_room(|room| lgetxattr(*path, name, room))) {
                    println!("{}", Shown(&value));
                }
            }
        }
        [b"set", name, value, ref paths @ ..] if !paths.is_empty() => {
            let Some(value) = unescape(value) else {
                call.misuse(format_args!("VALUE is text with \\xNN for other bytes, or 0x and hexadecimal digits"));
                return;
            };
            for path in paths {
                call.check(path, lsetxattr(*path, name, &value, XattrFlags::empty()));
            }
        }
        [b"rm", name, ref paths @ ..] if !paths.is_empty() => {
            for path in paths {
                call.check(path, lremovexattr(*path, name));
            }
        }
        _ => call.misuse(format_args!("takes list, get, set or rm and their operands")),
    }
}

fn list_xattrs(call: &Call, path: &[u8]) {
    let Some(names) = call.check(path, xattr_names(path)) else { return };
    for name in names {
        // A name may go between the list and the question.
        match with_room(|room| lgetxattr(path, &*name, room)) {
            Ok(value) => println!("{}: {}={}", Shown(path), Shown(name.to_bytes()), Shown(&value)),
            Err(Errno::NODATA) => {}
            Err(errno) => call.fail(path, errno),
        }
    }
}

/// The names of the extended attributes of `path` itself, sorted.
pub(super) fn xattr_names(path: &[u8]) -> Result<Vec<CString>, Errno> {
    with_room(|room| llistxattr(path, room)).map(|list| split_names(&list))
}

fn split_names(list: &[u8]) -> Vec<CString> {
    let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<CString> = names.filter_map(|name| CString::new(name).ok()).collect();
    names.sort_unstable();
    names
}

/// Calls `read` with room for the largest value, and gives what it read.
fn with_room(
    read: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<(&'a mut [u8], &'a mut [MaybeUninit<u8>]), Errno>,
) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::<u8>::new();
    buffer.try_reserve_exact(VALUE_LIMIT).map_err(|_| Errno::NOMEM)?;
    let (value, _) = read(buffer.spare_capacity_mut())?;
    Ok(Vec::from(&*value))
}

/// Copies the extended attributes of one open file to another. Those that only the kernel or a privileged user may set, and
/// those that the target's file system does not know, are left out, as `cp -a` does.
pub(super) fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let names = match with_room(|room| flistxattr(from.as_fd(), room)) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        list => split_names(&list?),
    };
    for name in names.iter().filter(|name| name.as_c_str() != LAYER) {
        let value = match with_room(|room| fgetxattr(from.as_fd(), &**name, room)) {
            Err(Errno::NODATA) => continue,
            value => value?,
        };
        match fsetxattr(to.as_fd(), &**name, &value, XattrFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) if !name.to_bytes().starts_with(b"user.") => {}
            result => result?,
        }
    }
    Ok(())
}

/// Text with `\xNN` and `\\`, or `0x` and hexadecimal digits.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let byte = |digits: &[u8]| parse_number(digits, 16).and_then(|value| u8::try_from(value).ok());
    if let Some(digits) = text.strip_prefix(b"0x") {
        return digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>())?;
    }
    let mut value = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [] => return Some(value),
            [b'\\', b'x', high, low, tail @ ..] => {
                value.push(byte(&[*high, *low])?);
                rest = tail;
            }
            [b'\\', b'\\', tail @ ..] => {
                value.push(b'\\');
                rest = tail;
            }
            [first, tail @ ..] => {
                value.push(*first);
                rest = tail;
            }
        }
    }
}
