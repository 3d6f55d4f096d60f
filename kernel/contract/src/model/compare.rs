//! Comparison of what the filesystem shows with what the model holds.

use alloc::format;
use alloc::vec::Vec;

use vfs::Node;

use super::state::{Id, Kind, State};
use crate::dsl::{Dir, File, same_bytes, show};
use crate::{Env, Features, Outcome, check_eq};

/// Compares attributes, and content where that is small work.
pub(super) fn object(env: &Env<'_>, state: &State, id: Id, node: &Node) -> Outcome {
    let expected = &state.objects[id];
    let attr = node.attr()?;
    check_eq!(attr.kind, expected.file_type(), "type");
    if !matches!(expected.kind, Kind::Symlink(_)) {
        check_eq!(attr.mode, expected.mode, "mode");
    }
    check_eq!((attr.uid, attr.gid), (expected.uid, expected.gid), "owner");
    if id != super::state::BASE {
        check_eq!(attr.mtime, expected.mtime, "mtime");
        if let Some(ctime) = expected.ctime {
            check_eq!(attr.ctime, ctime, "ctime");
        }
    }
    match &expected.kind {
        Kind::File(content) => check_eq!(attr.size, content.len() as u64, "size"),
        Kind::Symlink(target) => check_eq!(attr.size, target.len() as u64, "size of a symbolic link"),
        Kind::CharDevice(number) => check_eq!(attr.rdev, *number, "number of a device"),
        Kind::Dir { .. } if env.has(Features::DIR_LINKS) && id != super::state::BASE => {
            let links = if expected.names == 0 { 0 } else { 2 + state.subdirs(id) };
            check_eq!(attr.nlink, links, "nlink of a directory");
        }
        Kind::Dir { .. } | Kind::Fifo => {}
    }
    if !expected.is_dir() && (env.has(Features::HARD_LINKS) || expected.names == 1) {
        check_eq!(attr.nlink, expected.names, "nlink");
    }
    Ok(())
}

/// Compares what is inside: content, target, extended attributes.
fn inside(env: &Env<'_>, state: &State, id: Id, node: &Node) -> Outcome {
    let expected = &state.objects[id];
    match (node, &expected.kind) {
        (Node::File(file), Kind::File(content)) => same_bytes("content", &File(file.clone()).content()?, content)?,
        (Node::Symlink(link), Kind::Symlink(target)) => check_eq!(&link.target()?, target, "target"),
        _ => {}
    }
    if env.has(Features::USER_XATTRS) {
        let mut names = Vec::new();
        node.ops().list_xattrs(&mut |name| {
            if name.starts_with(b"user.") {
                names.push(name.to_vec());
            }
        })?;
        names.sort();
        check_eq!(names, expected.xattrs.keys().cloned().collect::<Vec<_>>(), "names of extended attributes");
        for (name, value) in &expected.xattrs {
            check_eq!(node.ops().xattr(name)?.as_ref(), Some(value), "{}", show(name));
        }
    }
    Ok(())
}

/// Compares one node wholly.
pub(super) fn node(env: &Env<'_>, state: &State, id: Id, node: &Node) -> Outcome {
    object(env, state, id, node)?;
    inside(env, state, id, node)
}

/// Compares the whole tree: every directory's listing, every node, and that links are one inode.
pub(super) fn tree(env: &Env<'_>, state: &State, base: &Dir) -> Outcome {
    let mut inodes = alloc::collections::BTreeMap::new();
    for (dir, path) in state.dirs() {
        let at = base.dir(&path)?;
        listing(state, dir, &at).map_err(|failure| failure.while_doing(format!("listing \"{}\"", show(&path))))?;
    }
    for (id, path) in state.paths() {
        let found = base.at(&path)?;
        node(env, state, id, &found).map_err(|failure| failure.while_doing(format!("\"{}\"", show(&path))))?;
        let known = *inodes.entry(id).or_insert(found.id());
        if env.has(Features::HARD_LINKS) {
            check_eq!(found.id(), known, "inode of \"{}\"", show(&path));
        }
    }
    Ok(())
}

/// Compares names, types and inode numbers of a listing.
pub(super) fn listing(state: &State, dir: Id, at: &Dir) -> Outcome {
    let listed = at.list()?;
    let names: Vec<_> = listed.iter().map(|entry| show(&entry.name)).collect();
    let expected: Vec<_> = state.entries(dir).keys().map(|name| show(name)).collect();
    check_eq!(names, expected, "names");
    for (entry, &id) in listed.iter().zip(state.entries(dir).values()) {
        check_eq!(entry.kind, state.objects[id].file_type().d_type(), "d_type of {}", show(&entry.name));
        check_eq!(entry.ino, at.at(&entry.name)?.id().ino, "d_ino of {}", show(&entry.name));
    }
    Ok(())
}
