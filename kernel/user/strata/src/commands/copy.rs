//! `cp` and `mv`.

use alloc::vec::Vec;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat,
    fchmod, fchown, futimens, linkat, lstat, mkdirat, mknodat, openat, readlinkat, rename, renameat_with, stat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use strata_rt::text::{base_name, join};

use super::Call;
use super::contents::{Failure, Side, copy, from_source, to_target};
use super::remove::remove_tree;
use super::tree::{Place, Walk, kind};
use super::xattrs::copy_xattrs;
use crate::shell::Shell;

/// What a copy keeps of its source, beside the contents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// The permissions, as far as the umask lets them.
    Permissions,
    /// Permissions and times, and the owner when that is allowed.
    Attributes,
    /// All that, links between the files of the tree, and extended attributes.
    Everything,
}

/// A copy that is under way.
struct Copying<'a> {
    call: &'a Call,
    keep: Keep,
    /// Files with several names that were copied already: device, inode, and the path of the copy.
    linked: Vec<(u64, u64, Vec<u8>)>,
    /// The directory that receives the copy, once it is there: not copied into itself.
    target: Option<(u64, u64)>,
}

pub(super) fn cp(shell: &mut Shell, call: &Call) {
    let keep = match (call.has(b'a'), call.has(b'p')) {
        (true, _) => Keep::Everything,
        (_, true) => Keep::Attributes,
        _ => Keep::Permissions,
    };
    let recursive = call.has(b'a') || call.has(b'r') || call.has(b'R');
    each_pair(shell, call, |shell, source, target| {
        let found = if recursive { lstat(source) } else { stat(source) };
        let Some(attributes) = call.check(source, found) else { return Walk::On };
        if kind(&attributes) == FileType::Directory && !recursive {
            call.complain(source, "is a directory; -r copies it with all in it");
            return Walk::On;
        }
        if stat(target).is_ok_and(|there| (there.st_dev, there.st_ino) == (attributes.st_dev, attributes.st_ino)) {
            call.complain(source, "is the same file as its target");
            return Walk::On;
        }
        let mut copying = Copying { call, keep, linked: Vec::new(), target: None };
        copying.place(shell, Place::named(source), &attributes, target)
    });
}

pub(super) fn mv(shell: &mut Shell, call: &Call) {
    if call.has(b'x') {
        if call.wants_exactly(2) {
            let (one, other) = (&call.operands[0], &call.operands[1]);
            call.check(one, renameat_with(CWD, &one[..], CWD, &other[..], RenameFlags::EXCHANGE));
        }
        return;
    }
    each_pair(shell, call, |shell, source, target| {
        let moved = if call.has(b'n') {
            renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE)
        } else {
            rename(source, target)
        };
        match moved {
            Err(Errno::XDEV) if call.has(b'n') && lstat(target).is_ok() => {
                call.fail(target, Errno::EXIST);
                Walk::On
            }
            Err(Errno::XDEV) => move_across(shell, call, source, target),
            result => {
                call.check(source, result);
                Walk::On
            }
        }
    });
}

/// Moves between file systems: a whole copy, then removal.
fn move_across(shell: &mut Shell, call: &Call, source: &[u8], target: &[u8]) -> Walk {
    let place = Place::named(source);
    let Some(attributes) = call.check(source, place.attributes()) else { return Walk::On };
    let failed_before = call.status.replace(0);
    let mut copying = Copying { call, keep: Keep::Everything, linked: Vec::new(), target: None };
    let mut walk = copying.place(shell, place, &attributes, target);
    if call.status.get() == 0 && walk == Walk::On {
        walk = if kind(&attributes) == FileType::Directory {
            remove_tree(shell, call, place)
        } else {
            call.check(source, unlinkat(CWD, source, AtFlags::empty()));
            Walk::On
        };
    }
    call.set_status(call.status.get().max(failed_before));
    walk
}

/// Calls `action` with every source and the path it gets: the last operand, or below it when that is a directory.
fn each_pair(shell: &mut Shell, call: &Call, mut action: impl FnMut(&mut Shell, &[u8], &[u8]) -> Walk) {
    if !call.wants(2) {
        return;
    }
    let Some((target, sources)) = call.operands.split_last() else { return };
    let into = !call.has(b'T') && stat(&target[..]).is_ok_and(|attributes| kind(&attributes) == FileType::Directory);
    if !into && sources.len() > 1 {
        call.complain(target, "is no directory, and there are several sources");
        return;
    }
    for source in sources {
        let path = if into { join(target, base_name(source)) } else { target.clone() };
        if action(shell, source, &path) == Walk::Stop {
            return;
        }
    }
}

impl Copying<'_> {
    /// Copies what is at `source` to the path `target`.
    fn place(&mut self, shell: &mut Shell, source: Place<'_>, attributes: &Stat, target: &[u8]) -> Walk {
        if self.call.stopped(shell) {
            return Walk::Stop;
        }
        let identity = (attributes.st_dev, attributes.st_ino);
        let several = self.keep == Keep::Everything && attributes.st_nlink > 1;
        if several && let Some((.., first)) = self.linked.iter().find(|(dev, ino, _)| (*dev, *ino) == identity) {
            self.call.check(target, replace(target, || linkat(CWD, &first[..], CWD, target, AtFlags::empty())));
            return Walk::On;
        }
        let result = match kind(attributes) {
            FileType::Directory => return self.directory(shell, source, attributes, target),
            FileType::RegularFile => self.file(shell, source, attributes, target),
            FileType::Symlink => self.symlink(source, attributes, target),
            _ => self.special(attributes, target),
        };
        if self.call.stopped(shell) {
            return Walk::Stop;
        }
        match result {
            Ok(()) if several => self.linked.push((identity.0, identity.1, target.into())),
            Ok(()) => {}
            // Whichever of the two it was, the operation names both.
            Err((Side::Source, errno)) => self.call.fail(source.path, errno),
            Err((Side::Target, errno)) => self.call.fail(target, errno),
        }
        Walk::On
    }

    fn directory(&mut self, shell: &mut Shell, source: Place<'_>, attributes: &Stat, target: &[u8]) -> Walk {
        if self.target == Some((attributes.st_dev, attributes.st_ino)) {
            self.call.complain(source.path, "is not copied into itself");
            return Walk::On;
        }
        let made = match mkdirat(CWD, target, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) if stat(target).is_ok_and(|there| kind(&there) == FileType::Directory) => false,
            Err(errno) => {
                self.call.fail(target, errno);
                return Walk::On;
            }
        };
        if self.target.is_none() {
            self.target = stat(target).ok().map(|there| (there.st_dev, there.st_ino));
        }
        let Some(directory) = self.call.check(source.path, source.open_directory()) else { return Walk::On };
        let walked = source.for_each(&directory, |child| match self.call.check(child.path, child.attributes()) {
            Some(attributes) => self.place(shell, child, &attributes, &join(target, child.name)),
            None => Walk::On,
        });
        let walk = self.call.check(source.path, walked).unwrap_or(Walk::On);
        let kept = strata_rt::dir::open_in(CWD, target).and_then(|copy| match (self.keep, made) {
            (Keep::Permissions, false) => Ok(()),
            (Keep::Permissions, true) => fchmod(&copy, Mode::from_raw_mode(attributes.st_mode & 0o777 & !umask())),
            _ => self.keep_attributes(&directory, &copy, attributes),
        });
        self.call.check(target, kept);
        walk
    }

    fn file(&mut self, shell: &mut Shell, source: Place<'_>, attributes: &Stat, target: &[u8]) -> Result<(), Failure> {
        // What the user named may be reached through a symbolic link; what a walk found may not.
        let opened = if source.depth == 0 && self.keep != Keep::Everything {
            openat(source.parent, source.name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        } else {
            source.open_file()
        };
        let input = opened.map_err(from_source)?;
        let mode = Mode::from_raw_mode(attributes.st_mode & 0o777);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let output: OwnedFd = openat(CWD, target, flags, mode).map_err(to_target)?;
        copy(&input, &output, || self.call.stopped_by_now(shell))?;
        if self.keep == Keep::Permissions {
            return Ok(());
        }
        self.keep_attributes(&input, &output, attributes).map_err(to_target)
    }

    fn symlink(&self, source: Place<'_>, attributes: &Stat, target: &[u8]) -> Result<(), Failure> {
        let link = readlinkat(source.parent, source.name, Vec::new()).map_err(from_source)?;
        replace(target, || symlinkat(&*link, CWD, target)).map_err(to_target)?;
        if self.keep == Keep::Permissions {
            return Ok(());
        }
        own(|user, group| chownat(CWD, target, user, group, AtFlags::SYMLINK_NOFOLLOW), attributes)
            .map_err(to_target)?;
        utimensat(CWD, target, &times(attributes), AtFlags::SYMLINK_NOFOLLOW).map_err(to_target)
    }

    fn special(&self, attributes: &Stat, target: &[u8]) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(attributes.st_mode & 0o7777);
        let make = || mknodat(CWD, target, kind(attributes), mode, attributes.st_rdev as Dev);
        replace(target, make).map_err(to_target)?;
        if self.keep == Keep::Permissions {
            return Ok(());
        }
        own(|user, group| chownat(CWD, target, user, group, AtFlags::SYMLINK_NOFOLLOW), attributes)
            .map_err(to_target)?;
        chmodat(CWD, target, mode, AtFlags::empty()).map_err(to_target)?;
        utimensat(CWD, target, &times(attributes), AtFlags::SYMLINK_NOFOLLOW).map_err(to_target)
    }

    /// Gives the copy its source's owner, extended attributes, mode and times, in the order in which none undoes another.
    fn keep_attributes(&self, from: &OwnedFd, to: &OwnedFd, attributes: &Stat) -> Result<(), Errno> {
        own(|user, group| fchown(to, user, group), attributes)?;
        if self.keep == Keep::Everything {
            copy_xattrs(from.as_fd(), to.as_fd())?;
        }
        fchmod(to, Mode::from_raw_mode(attributes.st_mode & 0o7777))?;
        futimens(to, &times(attributes))
    }
}

/// Makes something at `target`; what is there, unless it is a directory, is removed first.
fn replace(target: &[u8], make: impl Fn() -> Result<(), Errno>) -> Result<(), Errno> {
    match make() {
        Err(Errno::EXIST) => {
            unlinkat(CWD, target, AtFlags::empty())?;
            make()
        }
        result => result,
    }
}

/// Sets the owner. Only a privileged user may give files away: for others the copy is theirs.
fn own(change: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>, attributes: &Stat) -> Result<(), Errno> {
    match change(Some(Uid::from_raw(attributes.st_uid)), Some(Gid::from_raw(attributes.st_gid))) {
        Err(Errno::PERM) => Ok(()),
        result => result,
    }
}

fn times(attributes: &Stat) -> Timestamps {
    // Nanoseconds are below 10^9 and so fit whatever integer the kernel's structure has.
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(attributes.st_atime, attributes.st_atime_nsec),
        last_modification: time(attributes.st_mtime, attributes.st_mtime_nsec),
    }
}

/// The umask, which can only be read by setting it.
pub(super) fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode()
}
