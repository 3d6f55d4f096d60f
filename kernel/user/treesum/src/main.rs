//! `treesum`: prints every entry of a tree, so that two trees can be compared with `diff`.
//!
//! One line an entry, depth first, names in the order of their bytes:
//!
//! ```text
//! KIND MODE UID GID SIZE MTIME DIGEST PATH [-> TARGET]
//! f 0644 0 0 13 1767225600.000000000 03ba…4c ./etc/hostname
//! ```
//! KIND is one of `f d l p s c b`; MODE is octal; SIZE is in bytes, of a device its numbers, of a directory `-` (file systems
//! differ there); MTIME is in seconds; DIGEST is the SHA-256 of a file's contents, else `-`. Control characters and bytes
//! that are not UTF-8 are written `\xNN`, a backslash twice. At the end a line with the totals, which starts with `#`.
//!
//! The program is the same on the appliance and on a Linux host, and so is what it prints for the same tree.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, lgetxattr, llistxattr, major, minor, openat, readlinkat, statat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use strata_rt::errno::Shown as ShownErrno;
use strata_rt::text::{Hex, Shown, join, trim_slashes};
use strata_rt::{Arguments, dir, eprintln, file, output, print, println};

strata_rt::entry!(main);

const USAGE: &str = "usage: treesum [-tlXx] [DIR...]
  -t  leave the times out (-T: those of directories only)
  -l  add the number of links after GID, of everything but directories
  -X  add a line for each extended attribute: `  xattr NAME=HEX`
  -x  stay on one file system";

/// The largest value of an extended attribute, in bytes: Linux's limit.
const VALUE_LIMIT: usize = 64 * 1024;
/// The deepest tree that is walked: every level holds a descriptor.
const DEPTH: usize = 900;

/// Whose times are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    All,
    AllButDirectories,
    None,
}

struct Options {
    times: Times,
    links: bool,
    xattrs: bool,
    one_file_system: bool,
}

#[derive(Default)]
struct Totals {
    files: u64,
    directories: u64,
    symlinks: u64,
    others: u64,
    bytes: u64,
    failures: u64,
}

fn main(arguments: Arguments) -> u8 {
    let mut options = Options { times: Times::All, links: false, xattrs: false, one_file_system: false };
    let mut paths = Vec::new();
    for argument in arguments.iter().skip(1) {
        match argument.strip_prefix(b"-") {
            Some(letters) if !letters.is_empty() => {
                for letter in letters {
                    match letter {
                        b't' => options.times = Times::None,
                        b'T' => options.times = Times::AllButDirectories,
                        b'l' => options.links = true,
                        b'X' => options.xattrs = true,
                        b'x' => options.one_file_system = true,
                        _ => {
                            eprintln!("{USAGE}");
                            return 2;
                        }
                    }
                }
            }
            _ => paths.push(argument),
        }
    }
    if paths.is_empty() {
        paths.push(b".");
    }
    let mut walk = Walk { options, totals: Totals::default() };
    for path in paths {
        walk.root(path);
    }
    let Totals { files, directories, symlinks, others, bytes, failures } = walk.totals;
    println!("# {files} files, {directories} directories, {symlinks} links, {others} others, {bytes} bytes");
    if let Err(errno) = output::flush() {
        eprintln!("treesum: standard output: {}", ShownErrno(errno));
        return 1;
    }
    u8::from(failures > 0)
}

struct Walk {
    options: Options,
    totals: Totals,
}

/// An entry: where it is for the kernel, and how it is called in messages and in the output.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: BorrowedFd<'a>,
    name: &'a [u8],
    /// Its path for the kernel, for the calls that take no descriptor.
    path: &'a [u8],
    /// Its path from the root of the walk, which starts with a dot.
    shown: &'a [u8],
    depth: usize,
}

impl Walk {
    fn root(&mut self, path: &[u8]) {
        let base = match trim_slashes(path) {
            b"" => b"/",
            trimmed => trimmed,
        };
        let directory = match dir::open(base) {
            Ok(directory) => directory,
            Err(errno) => return self.fail(path, errno),
        };
        let attributes = match rustix::fs::fstat(&directory) {
            Ok(attributes) => attributes,
            Err(errno) => return self.fail(path, errno),
        };
        let place = Place { parent: CWD, name: base, path: base, shown: b".", depth: 0 };
        self.line(place, &attributes, None, None);
        self.directory(place, &directory, attributes.st_dev);
    }

    fn directory(&mut self, place: Place<'_>, directory: &OwnedFd, device: u64) {
        let entries = match dir::entries(directory) {
            Ok(entries) => entries,
            Err(errno) => return self.fail(place.shown, errno),
        };
        for entry in entries {
            let (path, shown) = (join(place.path, entry.name()), join(place.shown, entry.name()));
            let child = Place {
                parent: directory.as_fd(),
                name: entry.name(),
                path: &path,
                shown: &shown,
                depth: place.depth + 1,
            };
            if let Err(errno) = self.entry(child, device) {
                self.fail(&shown, errno);
            }
        }
    }

    fn entry(&mut self, place: Place<'_>, device: u64) -> Result<(), Errno> {
        let attributes = statat(place.parent, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(attributes.st_mode) {
            FileType::RegularFile => {
                let digest = digest(place)?;
                self.line(place, &attributes, Some(&digest), None);
            }
            FileType::Symlink => {
                let target = readlinkat(place.parent, place.name, Vec::new())?;
                self.line(place, &attributes, None, Some(target.to_bytes()));
            }
            FileType::Directory => {
                self.line(place, &attributes, None, None);
                if self.options.one_file_system && attributes.st_dev != device {
                    return Ok(());
                }
                if place.depth > DEPTH {
                    return Err(Errno::MFILE);
                }
                self.directory(place, &dir::open_in(place.parent, place.name)?, device);
            }
            _ => self.line(place, &attributes, None, None),
        }
        Ok(())
    }

    fn line(&mut self, place: Place<'_>, attributes: &Stat, digest: Option<&[u8]>, target: Option<&[u8]>) {
        let kind = FileType::from_raw_mode(attributes.st_mode);
        let letter = match kind {
            FileType::RegularFile => 'f',
            FileType::Directory => 'd',
            FileType::Symlink => 'l',
            FileType::Fifo => 'p',
            FileType::Socket => 's',
            FileType::CharacterDevice => 'c',
            FileType::BlockDevice => 'b',
            FileType::Unknown => '?',
        };
        print!("{letter} {:04o} {} {} ", attributes.st_mode & 0o7777, attributes.st_uid, attributes.st_gid);
        if self.options.links {
            if kind == FileType::Directory { print!("- ") } else { print!("{} ", attributes.st_nlink) }
        }
        match kind {
            FileType::Directory => print!("- "),
            FileType::CharacterDevice | FileType::BlockDevice => {
                print!("{},{} ", major(attributes.st_rdev), minor(attributes.st_rdev));
            }
            _ => print!("{} ", attributes.st_size),
        }
        match self.options.times {
            Times::All => print!("{}.{:09} ", attributes.st_mtime, attributes.st_mtime_nsec),
            Times::AllButDirectories if kind == FileType::Directory => print!("- "),
            Times::AllButDirectories => print!("{}.{:09} ", attributes.st_mtime, attributes.st_mtime_nsec),
            Times::None => {}
        }
        match digest {
            Some(digest) => print!("{} ", Hex(digest)),
            None => print!("- "),
        }
        print!("{}", Shown(place.shown));
        match target {
            Some(target) => println!(" -> {}", Shown(target)),
            None => println!(),
        }
        match kind {
            FileType::RegularFile => {
                self.totals.files += 1;
                self.totals.bytes += u64::try_from(attributes.st_size).unwrap_or(0);
            }
            FileType::Directory => self.totals.directories += 1,
            FileType::Symlink => self.totals.symlinks += 1,
            _ => self.totals.others += 1,
        }
        if self.options.xattrs
            && let Err(errno) = print_xattrs(place)
        {
            self.fail(place.shown, errno);
        }
    }

    fn fail(&mut self, path: &[u8], errno: Errno) {
        eprintln!("treesum: {}: {}", Shown(path), ShownErrno(errno));
        self.totals.failures += 1;
    }
}

fn digest(place: Place<'_>) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(place.parent, place.name, flags, Mode::empty())?;
    let mut digest = Sha256::new();
    file::for_each_chunk(&opened, |piece| {
        digest.update(piece);
        Ok(())
    })?;
    Ok(digest.finalize().to_vec())
}

/// Prints the extended attributes that are the tree's own: not those that the kernel makes up, nor the overlay's.
fn print_xattrs(place: Place<'_>) -> Result<(), Errno> {
    let list = match with_room(|room| llistxattr(place.path, room)) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        list => list?,
    };
    let mut names: Vec<&[u8]> = list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    for name in names {
        if name.starts_with(b"system.strata.") || name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let value = with_room(|room| lgetxattr(place.path, name, room))?;
        println!("  xattr {}={}", Shown(name), Hex(&value));
    }
    Ok(())
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
