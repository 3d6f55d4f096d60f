//! The vfs contract over an archive: reads, directories, handles, refusals to change.

mod common;

use std::ops::ControlFlow;

use common::*;
use vfs::{
    AllocateMode, Cookie, DirEntry, Errno, Expect, FileSystem, Name, NewKind, NewNode, Node, OpenIntent, SetAttr,
    XattrMode,
};

#[test]
fn reads_beyond_the_end_are_short() {
    let fs = mount(Tar::new().file("f", "abc").end());
    let file = find(&fs, "f").unwrap();
    let file = file.as_file().unwrap();
    let mut buf = [9; 4];
    assert_eq!(file.read_at(1, &mut buf).unwrap(), 2);
    assert_eq!(&buf, b"bc\x09\x09");
    for offset in [3, 4, u64::MAX] {
        assert_eq!(file.read_at(offset, &mut buf).unwrap(), 0);
        assert_eq!((file.seek_data(offset).unwrap(), file.seek_hole(offset).unwrap()), (None, None));
    }
    assert_eq!((file.seek_data(1).unwrap(), file.seek_hole(1).unwrap()), (Some(1), Some(3)));
}

#[test]
fn read_dir_goes_on_from_any_cookie() {
    let mut tar = Tar::new();
    for name in 0..50 {
        tar.file(format!("d/{name}"), "").file(format!("e/{name}"), "");
    }
    let fs = mount(tar.end());
    let Some(Node::Dir(dir)) = find(&fs, "d") else { panic!() };
    let all = list(&dir);
    assert_eq!(all.len(), 50);
    for (at, (.., next)) in all.iter().enumerate() {
        let mut rest = Vec::new();
        let mut sink = |entry: &DirEntry<'_>| {
            rest.push(entry.name.as_bytes().to_vec());
            if rest.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        dir.read_dir(*next, &mut sink).unwrap();
        let expected: Vec<_> = all[at + 1..].iter().take(3).map(|entry| entry.0.clone()).collect();
        assert_eq!(rest, expected);
        assert!(next.0 >= Cookie::FIRST && i64::try_from(next.0).is_ok());
    }
    let mut sink = |_: &DirEntry<'_>| panic!("an entry of another directory");
    let Some(Node::Dir(other)) = find(&fs, "e") else { panic!() };
    assert_errno(other.read_dir(all[0].3, &mut sink), Errno::EINVAL);
    for cookie in [1, 2, 5000, u64::MAX] {
        assert_errno(dir.read_dir(Cookie(cookie), &mut sink), Errno::EINVAL);
    }
}

#[test]
fn handles_find_inodes_again_in_the_same_archive_only() {
    let mut tar = Tar::new();
    tar.file("a/b", "1").symlink("c", "a");
    let fs = mount(tar.end());
    let again = mount(tar.end());
    let other = mount(tar.file("d", "").end());
    assert_eq!((fs.uuid(), fs.uuid() == other.uuid()), (again.uuid(), false));
    assert_ne!(fs.uuid(), [0; 16]);
    for path in ["", "a", "a/b", "c"] {
        let node = find(&fs, path).unwrap();
        let handle = node.ops().handle().unwrap();
        let found = again.node_by_handle(&handle).unwrap().unwrap();
        assert_eq!(found.attr().unwrap(), node.attr().unwrap());
        assert!(other.node_by_handle(&handle).unwrap().is_none());
        for len in 0..handle.bytes.len() {
            let cut = vfs::FileHandle { kind: handle.kind, bytes: handle.bytes[..len].into() };
            assert!(fs.node_by_handle(&cut).unwrap().is_none());
        }
        for bit in 0..64 {
            let mut wrong = handle.clone();
            wrong.bytes[bit / 8] ^= 1 << (bit % 8);
            if let Some(found) = fs.node_by_handle(&wrong).unwrap() {
                assert_ne!(found.id(), node.id());
            }
        }
    }
}

#[test]
fn nothing_can_be_changed() {
    let mut tar = Tar::new();
    tar.file("f", "1").dir("d", 0o755);
    let fs = mount(tar.end());
    let root = fs.root();
    let (file, new) = (find(&fs, "f").unwrap(), NewNode::new(NewKind::File, 0o644));
    let name = Name::new(b"new").unwrap();
    assert!(fs.is_read_only());
    assert_errno(root.create(name, &new).map(|_| ()), Errno::EROFS);
    assert_errno(root.create_unnamed(&new).map(|_| ()), Errno::EROFS);
    assert_errno(root.link(name, &file), Errno::EROFS);
    assert_errno(root.remove(Name::new(b"f").unwrap(), Expect::NonDir), Errno::EROFS);
    assert_errno(file.ops().set_attr(&SetAttr { mode: Some(0), ..Default::default() }), Errno::EROFS);
    assert_errno(file.ops().set_xattr(b"user.a", b"", XattrMode::Set), Errno::EROFS);
    assert_errno(file.ops().remove_xattr(b"user.a"), Errno::EROFS);
    let file = file.as_file().unwrap();
    assert_errno(file.prepare_open(OpenIntent::Write), Errno::EROFS);
    assert_errno(file.write_at(0, b"x"), Errno::EROFS);
    assert_errno(file.append(b"x"), Errno::EROFS);
    assert_errno(file.set_len(0), Errno::EROFS);
    assert_errno(file.allocate(AllocateMode::PunchHole, 0, 1), Errno::EROFS);
    file.prepare_open(OpenIntent::Read).unwrap();
    file.sync(vfs::SyncKind::All).unwrap();
}

#[test]
fn statfs_counts_the_archive() {
    let bytes = Tar::new().file("f", [1; 600]).file("d/g", "").end();
    let fs = mount(bytes.clone());
    let statfs = fs.statfs().unwrap();
    assert_eq!(statfs.blocks * u64::from(statfs.block_size), bytes.len() as u64);
    assert_eq!((statfs.files, statfs.blocks_free, statfs.files_free), (4, 0, 0));
    let attr = find(&fs, "f").unwrap().attr().unwrap();
    assert_eq!((attr.blocks, attr.dev), (2, context().dev));
}

#[test]
fn a_directory_of_a_hundred_thousand_names_answers_at_once() {
    const NAMES: usize = 100_000;
    let mut tar = Tar::new();
    for name in 0..NAMES {
        tar.header(&Header::new(b'0', format!("dir/entry-{name}")));
    }
    let started = std::time::Instant::now();
    let fs = mount(tar.end());
    let Some(Node::Dir(dir)) = find(&fs, "dir") else { panic!() };
    for name in 0..NAMES {
        assert!(dir.lookup(Name::new(format!("entry-{name}").as_bytes()).unwrap()).unwrap().is_some());
    }
    assert!(dir.lookup(Name::new(b"entry-100000").unwrap()).unwrap().is_none());
    assert_eq!(list(&dir).len(), NAMES);
    // Taking the entries ten at a time costs no more than all at once.
    let (mut cookie, mut seen) = (Cookie::START, 0);
    while seen < NAMES {
        let (from, mut left) = (cookie, 10);
        let mut sink = |entry: &DirEntry<'_>| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            cookie = entry.next;
            seen += 1;
            ControlFlow::Continue(())
        };
        dir.read_dir(from, &mut sink).unwrap();
    }
    assert_eq!(seen, NAMES);
    assert!(started.elapsed().as_secs() < 10, "nothing here is quadratic");
    let stats = fs.stats();
    assert!(stats.index_bytes < NAMES * 100, "{} bytes an entry", stats.index_bytes / NAMES);
}
