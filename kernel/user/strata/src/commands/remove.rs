//! `rm`.

use rustix::fs::{AtFlags, FileType, unlinkat};
use rustix::io::Errno;
use strata_rt::text::base_name;

use super::Call;
use super::tree::{Place, Walk, kind};
use crate::shell::Shell;

pub(super) fn rm(shell: &mut Shell, call: &Call) {
    if !call.has(b'f') && !call.wants(1) {
        return;
    }
    for path in &call.operands {
        if matches!(base_name(path), b"/" | b"." | b"..") {
            call.complain(path, "is not removed, nor what is in it");
            continue;
        }
        if remove(shell, call, Place::named(path)) == Walk::Stop {
            return;
        }
    }
}

/// Removes what is at `place`, with `-r` a directory and all in it.
pub(super) fn remove(shell: &mut Shell, call: &Call, place: Place<'_>) -> Walk {
    if call.stopped(shell) {
        return Walk::Stop;
    }
    let attributes = match place.attributes() {
        Ok(attributes) => attributes,
        Err(Errno::NOENT) if call.has(b'f') => return Walk::On,
        Err(errno) => {
            call.fail(place.path, errno);
            return Walk::On;
        }
    };
    if kind(&attributes) != FileType::Directory {
        call.check(place.path, unlinkat(place.parent, place.name, AtFlags::empty()));
        return Walk::On;
    }
    if !(call.has(b'r') || call.has(b'R')) {
        call.fail(place.path, Errno::ISDIR);
        return Walk::On;
    }
    remove_tree(shell, call, place)
}

/// Removes the directory at `place` with all in it.
pub(super) fn remove_tree(shell: &mut Shell, call: &Call, place: Place<'_>) -> Walk {
    let Some(directory) = call.check(place.path, place.open_directory()) else { return Walk::On };
    let walked = place.for_each(&directory, |child| {
        if call.stopped(shell) {
            return Walk::Stop;
        }
        match unlinkat(child.parent, child.name, AtFlags::empty()) {
            Ok(()) => Walk::On,
            Err(Errno::ISDIR | Errno::PERM) if is_directory(child) => remove_tree(shell, call, child),
            Err(errno) => {
                call.fail(child.path, errno);
                Walk::On
            }
        }
    });
    drop(directory);
    match call.check(place.path, walked) {
        Some(Walk::Stop) => Walk::Stop,
        _ => {
            call.check(place.path, unlinkat(place.parent, place.name, AtFlags::REMOVEDIR));
            Walk::On
        }
    }
}

fn is_directory(place: Place<'_>) -> bool {
    place.attributes().is_ok_and(|attributes| kind(&attributes) == FileType::Directory)
}
