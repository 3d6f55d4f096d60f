//! Listings of a tree that was there at mount, and the filesystem as a whole: read-only ones included.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use vfs::{AllocateMode, Cookie, DirEntry, NAME_MAX, Name, NewKind, SetAttr, XattrMode};

use super::group;
use super::read::a_tree;
use crate::dsl::{Dir, chmod, show};
use crate::tree::{MTIME, file};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "listing", Features::empty();
    a_listing_holds_every_entry_once,
    a_listing_agrees_with_attr,
    a_listing_in_small_steps_equals_the_whole,
    a_sink_that_breaks_has_not_taken_the_entry,
    cookies_are_in_their_range,
    an_empty_directory_lists_nothing,
    a_directory_of_a_thousand_entries_is_listed_and_found,
    statfs_is_sane,
    a_read_only_filesystem_refuses_every_change,
}

fn a_listing_holds_every_entry_once(env: &Env<'_>) -> Outcome {
    let base = env.start(&a_tree())?;
    base.lists(&["big owner", "etc", "link", "void"])?;
    base.dir("etc")?.lists(&["deep", "empty", "hostname"])
}

fn a_listing_agrees_with_attr(env: &Env<'_>) -> Outcome {
    let base = env.start(&a_tree())?;
    for dir in [base.clone(), base.dir("etc")?] {
        for entry in dir.list()? {
            let attr = dir.attr_of(&entry.name)?;
            check_eq!(entry.ino, attr.ino, "d_ino of {}", show(&entry.name));
            check_eq!(entry.kind, attr.kind.d_type(), "d_type of {}", show(&entry.name));
        }
    }
    Ok(())
}

/// A tree of `count` files named by their numbers.
fn with_many(env: &Env<'_>, count: usize) -> Outcome<Dir> {
    let names: Vec<_> = (0..count).map(|number| format!("entry-{number:05}")).collect();
    let tree: Vec<_> = names.iter().map(|name| file(name.as_bytes(), b"")).collect();
    Ok(env.start(&tree)?)
}

fn a_listing_in_small_steps_equals_the_whole(env: &Env<'_>) -> Outcome {
    let base = with_many(env, 100)?;
    let whole = base.list_from(0, usize::MAX)?;
    check_eq!(whole.len(), 100);
    for step in [1, 3, 99] {
        let (mut pieces, mut from) = (Vec::new(), 0);
        loop {
            let piece = base.list_from(from, step)?;
            let Some(last) = piece.last() else { break };
            from = last.next;
            pieces.extend(piece);
            check!(pieces.len() <= whole.len(), "a listing in steps of {step} does not end");
        }
        check_eq!(pieces, whole, "listing in steps of {step}");
    }
    Ok(())
}

fn a_sink_that_breaks_has_not_taken_the_entry(env: &Env<'_>) -> Outcome {
    let base = with_many(env, 10)?;
    let mut offered = Vec::new();
    for _ in 0..2 {
        base.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
            offered.push(entry.name.as_bytes().to_vec());
            ControlFlow::Break(())
        })?;
    }
    check_eq!(offered.len(), 2);
    check_eq!(offered[0], offered[1]);
    Ok(())
}

fn cookies_are_in_their_range(env: &Env<'_>) -> Outcome {
    let base = with_many(env, 50)?;
    let mut seen = BTreeSet::new();
    for entry in base.list_from(0, usize::MAX)? {
        check!((Cookie::FIRST..=i64::MAX as u64).contains(&entry.next), "cookie {:#x}", entry.next);
        check!(seen.insert(entry.next), "cookie {:#x} twice", entry.next);
    }
    Ok(())
}

fn an_empty_directory_lists_nothing(env: &Env<'_>) -> Outcome {
    env.start(&a_tree())?.dir("void")?.lists(&[])
}

fn a_directory_of_a_thousand_entries_is_listed_and_found(env: &Env<'_>) -> Outcome {
    let base = with_many(env, 1000)?;
    let listed = base.list()?;
    check_eq!(listed.len(), 1000);
    for (number, entry) in listed.iter().enumerate() {
        check_eq!(show(&entry.name), format!("entry-{number:05}"));
        check_eq!(base.at(&entry.name)?.id().ino, entry.ino, "inode of {}", show(&entry.name));
    }
    base.absent("entry-01000")
}

fn statfs_is_sane(env: &Env<'_>) -> Outcome {
    env.start(&a_tree())?;
    let stat = env.fs()?.statfs()?;
    check_eq!(stat.name_max as usize, NAME_MAX);
    check!(stat.block_size.is_power_of_two() && stat.block_size >= 512, "block size {}", stat.block_size);
    check!(stat.blocks_available <= stat.blocks_free && stat.blocks_free <= stat.blocks, "{stat:?}");
    check!(stat.files_free <= stat.files, "{stat:?}");
    check!(!env.fs()?.type_name().is_empty(), "type without a name");
    Ok(())
}

fn a_read_only_filesystem_refuses_every_change(env: &Env<'_>) -> Outcome {
    let base = env.start(&a_tree())?;
    if env.has(Features::WRITE) {
        check!(!env.fs()?.is_read_only(), "a fixture that claims WRITE mounts read-only");
        return Ok(());
    }
    check!(env.fs()?.is_read_only(), "is_read_only");
    let (file, etc) = (base.open("etc/hostname")?, base.dir("etc")?);
    check_err!(file.write_at(0, b"x"), EROFS);
    check_err!(file.append(b"x"), EROFS);
    check_err!(file.set_len(0), EROFS);
    check_err!(file.allocate(AllocateMode::Extend, 0, 10), EROFS | EOPNOTSUPP);
    check_err!(file.set_attr(&chmod(0)), EROFS);
    check_err!(file.set_attr(&SetAttr::default()), EROFS);
    check_err!(file.set_xattr(b"user.x", b"", XattrMode::Set), EROFS | EOPNOTSUPP);
    check_err!(file.remove_xattr(b"user.x"), EROFS | EOPNOTSUPP);
    check_err!(file.prepare_open(vfs::OpenIntent::Write), EROFS);
    check_err!(file.prepare_open(vfs::OpenIntent::Truncate), EROFS);
    file.prepare_open(vfs::OpenIntent::Read)?;
    check_err!(etc.make("new", NewKind::File), EROFS);
    check_err!(etc.mkdir("new"), EROFS);
    check_err!(etc.link("new", &file.node()), EROFS);
    check_err!(etc.unlink("hostname"), EROFS);
    check_err!(base.rmdir("void"), EROFS);
    check_err!(etc.mv("hostname", "new"), EROFS);
    check_err!(etc.create_unnamed(&vfs::NewNode::new(NewKind::File, 0)), EROFS | EOPNOTSUPP);
    check!(etc.as_upper().is_none(), "a read-only directory is no upper");
    file.note_access();
    let attr = file.attr()?;
    check_eq!((attr.mode, attr.size, attr.mtime), (0o600, 7, MTIME));
    check!(etc.lookup(Name::new(b"hostname")?)?.is_some(), "the file is still there");
    Ok(())
}
