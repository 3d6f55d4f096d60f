//! `ln` and `readlink`.

use alloc::vec::Vec;

use rustix::fs::{AtFlags, CWD, FileType, linkat, lstat, readlinkat, stat, symlinkat, unlinkat};
use rustix::io::Errno;
use strata_rt::println;
use strata_rt::text::{Shown, base_name, join};

use super::Call;
use super::tree::kind;
use crate::shell::Shell;

pub(super) fn ln(_: &mut Shell, call: &Call) {
    if !call.wants_exactly(2) {
        return;
    }
    let (target, name) = (&call.operands[0], &call.operands[1]);
    let into = stat(&name[..]).is_ok_and(|there| kind(&there) == FileType::Directory);
    let path: Vec<u8> = if into { join(name, base_name(target)) } else { name.clone() };
    let make = || {
        if call.has(b's') {
            symlinkat(&target[..], CWD, &path[..])
        } else {
            linkat(CWD, &target[..], CWD, &path[..], AtFlags::empty())
        }
    };
    let result = match make() {
        Err(Errno::EXIST) if call.has(b'f') => {
            let same = |a: &[u8], b: &[u8]| match (lstat(a), lstat(b)) {
                (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
                _ => false,
            };
            // Two names of one file are already what was asked for; removing one could lose it.
            if !call.has(b's') && same(target, &path) {
                Ok(())
            } else {
                unlinkat(CWD, &path[..], AtFlags::empty()).and_then(|()| make())
            }
        }
        result => result,
    };
    // A hard link fails for want of its target as often as for its new name.
    let subject = if !call.has(b's') && lstat(&target[..]).is_err() { target } else { &path };
    call.check(subject, result);
}

pub(super) fn readlink(_: &mut Shell, call: &Call) {
    if !call.wants(1) {
        return;
    }
    for path in &call.operands {
        if let Some(target) = call.check(path, readlinkat(CWD, &path[..], Vec::new())) {
            println!("{}", Shown(target.to_bytes()));
        }
    }
}
