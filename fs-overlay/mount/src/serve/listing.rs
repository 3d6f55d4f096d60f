//! Directory streams. The offsets of the protocol are the cookies of the contract, with `.` and `..` at 1 and 2.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::time::Duration;

use fuser::{Generation, INodeNo, ReplyDirectory, ReplyDirectoryPlus};
use vfs::{Attr, Cookie, DirEntry, DirOps, FileType, NameBuf, Node, Result};

use super::attr::{Described, to_fuse, to_fuse_type};
use super::table::Table;

const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

/// How many entries are taken at a time where each is looked up: a reply holds no more than a few dozen of them.
const BATCH: usize = 32;

/// A directory, with the number by which the kernel knows it.
type Numbered<'a> = (u64, &'a Arc<dyn DirOps>);

/// `.` and `..`, those that come after `offset`, with their directories.
fn dots(table: &Table, (number, dir): Numbered<'_>, offset: u64) -> impl Iterator<Item = (u64, &'static str, Node)> {
    let own = Node::Dir(dir.clone());
    let above = table.parent(number).unwrap_or_else(|| own.clone());
    [(DOT, ".", own), (DOT_DOT, "..", above)].into_iter().filter(move |&(at, ..)| at > offset)
}

fn cookie(offset: u64) -> Cookie {
    if offset < Cookie::FIRST { Cookie::START } else { Cookie(offset) }
}

/// Fills a reply of names.
pub(super) fn plain(table: &Table, dir: Numbered<'_>, offset: u64, reply: &mut ReplyDirectory) -> Result<()> {
    for (at, name, node) in dots(table, dir, offset) {
        if reply.add(INodeNo(node.id().ino), at, to_fuse_type(FileType::Dir), name) {
            return Ok(());
        }
    }
    dir.1.read_dir(cookie(offset), &mut |entry: &DirEntry<'_>| {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        if reply.add(INodeNo(entry.ino), entry.next.0, to_fuse_type(entry.kind), name) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// Fills a reply of names with attributes. The kernel then knows each of the inodes once more.
pub(super) fn with_attributes(
    table: &Table,
    (number, dir): Numbered<'_>,
    offset: u64,
    reply: &mut ReplyDirectoryPlus,
) -> Result<()> {
    for (at, name, node) in dots(table, (number, dir), offset) {
        // The kernel takes the names and does not count these.
        let attr = to_fuse(&node.attr()?);
        if reply.add(attr.ino, at, name, &Duration::ZERO, &attr, Generation(0)) {
            return Ok(());
        }
    }
    let mut from = cookie(offset);
    let mut added = false;
    loop {
        let mut step = || -> Result<Option<Cookie>> {
            let batch = names(dir, from)?;
            for (name, next) in &batch {
                let node = match dir.lookup(name.as_name()) {
                    Ok(Some(node)) => node,
                    Ok(None) => continue,
                    // As on Linux, whoever asks for it is told what is wrong; a name without an inode cannot be said here.
                    Err(error) if fs_overlay::concerns_one_entry(&error) => continue,
                    Err(error) => return Err(error),
                };
                let attr = node.attr()?;
                if !add(table, reply, (name, *next), number, (&node, &attr))? {
                    return Ok(None);
                }
                added = true;
            }
            Ok(batch.last().map(|(_, next)| *next))
        };
        match step() {
            Ok(Some(next)) => from = next,
            Ok(None) => return Ok(()),
            // The kernel counts what it is given: entries that were taken up must reach it. It comes back for the rest.
            Err(_) if added => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn names(dir: &Arc<dyn DirOps>, from: Cookie) -> Result<Vec<(NameBuf, Cookie)>> {
    let mut batch = Vec::with_capacity(BATCH);
    dir.read_dir(from, &mut |entry: &DirEntry<'_>| {
        if batch.len() == BATCH {
            return ControlFlow::Break(());
        }
        batch.push((entry.name.to_owned(), entry.next));
        ControlFlow::Continue(())
    })?;
    Ok(batch)
}

/// Adds an entry of the directory `parent`, and tells whether it found room.
fn add(
    table: &Table,
    reply: &mut ReplyDirectoryPlus,
    (name, next): (&NameBuf, Cookie),
    parent: u64,
    (node, attr): (&Node, &Attr),
) -> Result<bool> {
    let mut number = table.remember(node, parent);
    let mut told = Described::new(number, attr);
    if number != attr.ino {
        // The library takes the number for `d_ino` as well, which must be right. So the kernel is told of another inode, with what is
        // true of that one, for no time: it asks again, by name, before it uses it.
        table.forget(number, 1);
        number = attr.ino;
        let other = table.stand_in(number, node, parent);
        told = Described::new(number, &other.attr().inspect_err(|_| table.forget(number, 1))?);
        (told.attr_ttl, told.entry_ttl) = (Duration::ZERO, Duration::ZERO);
    }
    let name = OsStr::from_bytes(name.as_bytes());
    let full = reply.add(INodeNo(number), next.0, name, &told.shortest(), &told.attr, Generation(0));
    if full {
        table.forget(number, 1);
    }
    Ok(!full)
}
