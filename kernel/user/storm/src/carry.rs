//! Steps, carried out by system calls.

use alloc::format;
use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid, XattrFlags, chmodat, chownat, fchmod, fremovexattr,
    fsetxattr, fsync, ftruncate, linkat, mkdirat, mknodat, openat, renameat, renameat_with, symlinkat, unlinkat,
};
use rustix::io::{Errno, pwrite};
use storm::{Change, Kind, Node, Step, Tree, UNFINISHED, fill};
use strata_rt::file::write_all;

type Result<T = ()> = core::result::Result<T, Errno>;

/// How much one `write(2)` is given.
const PIECE: usize = 40_000;

/// Makes what has no name yet, for the firmware.
pub(crate) fn make(top: &OwnedFd, path: &[u8], node: &Node) -> Result {
    match &node.kind {
        Kind::Dir => mkdirat(top, path, Mode::from_raw_mode(node.mode)),
        Kind::File(bytes) => put(top, path, bytes),
        Kind::Symlink(target) => symlinkat(&target[..], top, path),
        Kind::Fifo => mknodat(top, path, FileType::Fifo, Mode::from_raw_mode(node.mode), 0),
    }
}

/// A new file.
pub(crate) fn put(top: &OwnedFd, path: &[u8], bytes: &[u8]) -> Result {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(top, path, flags, Mode::from_raw_mode(0o644))?;
    for piece in bytes.chunks(PIECE) {
        write_all(&file, piece)?;
    }
    Ok(())
}

/// Writes over a part of a file.
pub(crate) fn overwrite(top: &OwnedFd, path: &[u8], mut at: u64, bytes: &[u8]) -> Result {
    let file = open(top, path)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = pwrite(&file, rest, at)?;
        if written == 0 {
            return Err(Errno::IO);
        }
        rest = &rest[written..];
        at += written as u64;
    }
    Ok(())
}

fn open(top: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
    openat(top, path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn written(step: &Step, at: u64, len: u64) -> Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::NOMEM)?;
    bytes.resize(len, 0);
    fill(step.number, at, &mut bytes);
    Ok(bytes)
}

/// The directory of a path.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(b".", |slash| &path[..slash])
}

/// Removes what an earlier run left unfinished.
fn clear(top: &OwnedFd, path: &[u8]) -> Result {
    match unlinkat(top, path, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Carries `step` out; `after` is the tree that it leads to.
pub(crate) fn out(top: &OwnedFd, step: &Step, after: &Tree) -> Result {
    match &step.change {
        Change::Replace { path, len } => {
            // Beside or above its place, in turn.
            let dir = if step.number.is_multiple_of(2) { parent(path) } else { &path[..1] };
            let unfinished = [dir, b"/", UNFINISHED].concat();
            clear(top, &unfinished)?;
            put(top, &unfinished, &written(step, 0, *len)?)?;
            if step.number.is_multiple_of(4) {
                fsync(open(top, &unfinished)?)?;
            }
            renameat(top, &unfinished, top, &path[..])
        }
        Change::Publish { path, len } => {
            let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
            let file = openat(top, parent(path), flags, Mode::from_raw_mode(0o644))?;
            for piece in written(step, 0, *len)?.chunks(PIECE) {
                write_all(&file, piece)?;
            }
            fchmod(&file, Mode::from_raw_mode(0o644))?;
            linkat(file, "", top, &path[..], AtFlags::EMPTY_PATH)
        }
        Change::Overwrite { path, at, len } => overwrite(top, path, *at, &written(step, *at, *len)?),
        Change::Append { path, len } => {
            let Some(Kind::File(bytes)) = after.at(path).map(|node| &node.kind) else { return Err(Errno::NOENT) };
            let at = bytes.len() as u64 - len;
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
            write_all(openat(top, &path[..], flags, Mode::empty())?, &written(step, at, *len)?)
        }
        Change::Truncate { path, len } => ftruncate(open(top, path)?, *len),
        Change::Remove(path) => match unlinkat(top, &path[..], AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(top, &path[..], AtFlags::REMOVEDIR),
            result => result,
        },
        Change::MakeDir(path) => mkdirat(top, &path[..], Mode::from_raw_mode(0o755)),
        Change::MakeSymlink(path) => symlinkat(format!("{}", step.number), top, &path[..]),
        Change::MakeFifo(path) => mknodat(top, &path[..], FileType::Fifo, Mode::from_raw_mode(0o644), 0),
        Change::Rename(from, to) => renameat(top, &from[..], top, &to[..]),
        Change::Exchange(one, two) => renameat_with(top, &one[..], top, &two[..], RenameFlags::EXCHANGE),
        Change::Link(from, to) => linkat(top, &from[..], top, &to[..], AtFlags::empty()),
        Change::SetXattr(path) => {
            let file = open(top, path)?;
            match after.at(path).and_then(|node| node.xattr.as_deref()) {
                Some(value) => fsetxattr(file, storm::XATTR, value, XattrFlags::empty()),
                None => fremovexattr(file, storm::XATTR),
            }
        }
        Change::SetMode(path, mode) => chmodat(top, &path[..], Mode::from_raw_mode(*mode), AtFlags::empty()),
        Change::SetOwner(path, uid) => {
            chownat(top, &path[..], Some(Uid::from_raw(*uid)), None::<Gid>, AtFlags::empty())
        }
    }
}

/// Syncs what `step` changed: the file, or the directories of the names.
pub(crate) fn sync_changed(top: &OwnedFd, step: &Step, after: &Tree) -> Result {
    let file = |path: &[u8]| {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fsync(openat(top, path, flags, Mode::empty())?.as_fd())
    };
    match &step.change {
        Change::Replace { path, .. }
        | Change::Publish { path, .. }
        | Change::Overwrite { path, .. }
        | Change::Append { path, .. }
        | Change::Truncate { path, .. }
        | Change::SetXattr(path)
        | Change::SetMode(path, _)
        | Change::SetOwner(path, _) => file(path),
        Change::Remove(path) | Change::MakeDir(path) | Change::MakeSymlink(path) | Change::MakeFifo(path) => {
            file(parent(path))
        }
        Change::Link(_, path) if after.at(path).is_some_and(|node| matches!(node.kind, Kind::File(_))) => file(path),
        Change::Rename(from, to) | Change::Exchange(from, to) | Change::Link(from, to) => {
            file(parent(from))?;
            file(parent(to))
        }
    }
}
