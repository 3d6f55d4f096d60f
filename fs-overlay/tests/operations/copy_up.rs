//! Copy-up: what a copy keeps, what it costs, who sees it, and files that are removed while open.

use std::sync::Arc;

use crate::support::{Detail, OLD, Rig, Tree, clock, name, overlay, ram, ram_of_size, read_all};
use contract::fault::Calls;
use vfs::{
    DeviceNumber, Errno, FileSystem, FsContext, NewKind, NewNode, Node, OpenIntent, SetAttr, SetTime, XattrMode,
};

use crate::sample::{Counted, old, sample};

/// A named user beside owner, group and others, under a mask, for mode 0751.
const LIST: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x05\0\xff\xff\xff\xff\x20\0\x01\0\xff\xff\xff\xff";

#[test]
fn a_copy_keeps_content_owner_mode_times_and_attributes() {
    let rig = Rig::new(|lower| {
        sample(lower);
        let node = lower.get("d/f").unwrap();
        node.ops().set_xattr(b"user.mime", b"text", XattrMode::Set).unwrap();
        node.ops().set_xattr(b"security.capability", b"\x01\x02", XattrMode::Set).unwrap();
        node.ops().set_xattr(b"system.posix_acl_access", LIST, XattrMode::Set).unwrap();
        node.ops().set_xattr(b"trusted.overlay.impure", b"y", XattrMode::Set).unwrap();
        let change = SetAttr { mode: Some(0o4751), uid: Some(7), gid: Some(8), ..SetAttr::default() };
        node.ops().set_attr(&change).unwrap();
    });
    let before = rig.tree().get("d/f").unwrap().attr().unwrap();
    rig.tree().file("d/f").unwrap().prepare_open(OpenIntent::Write).unwrap();
    let copy = rig.raw().get("d/f").unwrap();
    let attr = copy.attr().unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size), (0o4751, 7, 8, 7));
    assert_eq!((attr.atime, attr.mtime), (OLD, OLD));
    assert_eq!(rig.raw().read("d/f").unwrap(), "content");
    for (name, value) in [
        ("user.mime", Some(&b"text"[..])),
        ("security.capability", Some(b"\x01\x02")),
        ("system.posix_acl_access", Some(LIST)),
        ("trusted.overlay.impure", None),
    ] {
        assert_eq!(rig.raw().xattr("d/f", name).as_deref(), value, "{name}");
    }
    let after = rig.tree().get("d/f").unwrap().attr().unwrap();
    assert_eq!((after.dev, after.ino, after.mode, after.mtime), (before.dev, before.ino, before.mode, before.mtime));
    assert_eq!(Tree::of(&*rig.lower).read("d/f").unwrap(), "content");
}

#[test]
fn a_copy_has_its_origin_and_its_directory_is_impure() {
    let rig = Rig::new(sample);
    rig.tree().append("d/f", "!").unwrap();
    let raw = rig.raw();
    assert_eq!(raw.xattr("d", "trusted.overlay.impure").unwrap(), b"y");
    assert_eq!(raw.xattr("", "trusted.overlay.impure").unwrap(), b"y");
    let original = Tree::of(&*rig.lower).get("d/f").unwrap();
    let handle = original.ops().handle().unwrap();
    let mut expected = vec![0, 0xfb, u8::try_from(21 + handle.bytes.len()).unwrap(), 0, handle.kind];
    expected.extend_from_slice(&rig.lower.uuid());
    expected.extend_from_slice(&handle.bytes);
    assert_eq!(raw.xattr("d/f", "trusted.overlay.origin").unwrap(), expected);
    assert!(raw.xattr("d", "trusted.overlay.origin").is_some());
}

#[test]
fn a_copy_of_what_cannot_be_found_again_has_an_empty_origin_and_keeps_its_number() {
    // Two lower filesystems without a UUID: a handle would not tell which is meant.
    let bare = || -> Arc<dyn FileSystem> {
        ramfs::RamFs::new(FsContext { dev: 9, clock: clock() }, &ramfs::Options::default()).unwrap()
    };
    let (one, two) = (bare(), bare());
    Tree::of(&*one).put("f", "1").unwrap();
    Tree::of(&*two).put("g", "2").unwrap();
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[one, two]);
    let tree = Tree::of(&*fs);
    let before = tree.ino("f");
    tree.append("f", "!").unwrap();
    assert_eq!(Tree::of(&*upper).xattr("f", "trusted.overlay.origin").unwrap(), b"");
    assert_eq!(tree.ino("f"), before);
    tree.unlink("f").unwrap();
    tree.put("f", "new").unwrap();
    assert_ne!(tree.ino("f"), before);
}

#[test]
fn a_copy_up_does_not_show_in_the_directory() {
    let rig = Rig::new(sample);
    rig.tree().append("d/f", "!").unwrap();
    let attr = rig.tree().get("d").unwrap().attr().unwrap();
    assert_eq!(attr.mtime, OLD);
    let copied = attr.ctime;
    rig.tree().append("d/e/g", "!").unwrap();
    let attr = rig.tree().get("d").unwrap().attr().unwrap();
    assert_eq!((attr.mtime, attr.ctime), (OLD, copied));
}

#[test]
fn holes_stay_holes() {
    let data = vec![b'x'; 200_000];
    let rig = Rig::new(|lower| {
        lower.put("f", "").unwrap();
        let file = lower.file("f").unwrap();
        crate::support::write_all(&*file, 1 << 20, &data).unwrap();
        crate::support::write_all(&*file, 5 << 20, b"tail").unwrap();
        file.set_len(9 << 20).unwrap();
    });
    rig.tree().append("f", "").unwrap();
    let (copy, original) = (rig.raw().file("f").unwrap(), Tree::of(&*rig.lower).file("f").unwrap());
    assert_eq!(copy.attr().unwrap().blocks, original.attr().unwrap().blocks);
    assert_eq!(copy.attr().unwrap().size, 9 << 20);
    assert_eq!(copy.seek_data(0).unwrap(), original.seek_data(0).unwrap());
    assert_eq!(read_all(&*copy).unwrap(), read_all(&*original).unwrap());
}

#[test]
fn holes_of_any_size_between_data_of_any_size_stay_holes() {
    let mut random = crate::support::Random::new(66);
    for shape in 0..14_u32 {
        let rig = Rig::new(|lower| {
            lower.put("f", "").unwrap();
            let file = lower.file("f").unwrap();
            let mut at = 0;
            for _ in 0..5 {
                // Data and holes of one size; then of sizes by chance.
                let piece = if shape < 12 { 1024 << shape } else { 1 + random.below(700_000) };
                at += if shape < 12 { piece } else { random.below(700_000) };
                crate::support::write_all(&*file, at, &vec![b'x'; usize::try_from(piece).unwrap()]).unwrap();
                at += piece;
            }
            file.set_len(at + (1024 << shape.min(11))).unwrap();
        });
        rig.tree().append("f", "").unwrap();
        let (copy, original) = (rig.raw().file("f").unwrap(), Tree::of(&*rig.lower).file("f").unwrap());
        assert!(read_all(&*copy).unwrap() == read_all(&*original).unwrap(), "shape {shape}");
        assert_eq!(copy.attr().unwrap().blocks, original.attr().unwrap().blocks, "shape {shape}");
    }
}

#[test]
fn a_file_is_copied_up_whole_on_either_side_of_four_gigabytes() {
    const BORDER: u64 = 1 << 32;
    for end in [BORDER - 4096, BORDER, BORDER + 4096] {
        let rig = Rig::new(|lower| {
            lower.put("f", "").unwrap();
            lower.file("f").unwrap().write_at(end - 4, b"tail").unwrap();
        });
        rig.tree().file("f").unwrap().prepare_open(OpenIntent::Write).unwrap();
        let copy = rig.raw().file("f").unwrap();
        let mut tail = [0; 8];
        assert_eq!(copy.read_at(end - 8, &mut tail).unwrap(), 8);
        assert_eq!((copy.attr().unwrap().size, &tail), (end, b"\0\0\0\0tail"));
    }
}

#[test]
fn a_file_opened_to_be_truncated_is_not_copied() {
    let rig = Counted::new();
    rig.tree().file("d/f").unwrap().prepare_open(OpenIntent::Truncate).unwrap();
    assert_eq!(rig.lower.count(Calls::READ), 0);
    assert_eq!(rig.upper.count(Calls::WRITE), 0);
    let attr = rig.tree().get("d/f").unwrap().attr().unwrap();
    assert_eq!(attr.size, 0);
    assert_ne!(attr.mtime, OLD);
}

#[test]
fn a_file_that_is_cut_is_copied_as_far_as_it_stays() {
    let rig = Rig::new(|lower| lower.put("f", &"x".repeat(1 << 20)).unwrap());
    let upper_space = || rig.raw().get("f").unwrap().attr().unwrap().blocks;
    rig.tree().file("f").unwrap().set_len(5000).unwrap();
    assert_eq!(rig.tree().read("f").unwrap(), "x".repeat(5000));
    assert!(upper_space() <= 16);
    let rig = Rig::new(sample);
    rig.tree().file("d/f").unwrap().set_len(9).unwrap();
    assert_eq!(rig.tree().read("d/f").unwrap(), "content\0\0");
}

#[test]
fn a_file_opened_before_its_copy_up_sees_what_is_written_after() {
    let rig = Rig::new(sample);
    let reader = rig.tree().file("d/f").unwrap();
    reader.prepare_open(OpenIntent::Read).unwrap();
    let (id, size) = (reader.id(), reader.attr().unwrap().size);
    rig.tree().append("d/f", " and more").unwrap();
    assert_eq!(read_all(&*reader).unwrap(), b"content and more");
    assert_eq!(reader.id(), id);
    assert_ne!(reader.attr().unwrap().size, size);
}

#[test]
fn every_kind_of_node_is_copied_up() {
    let rig = Rig::new(|lower| {
        lower.mkdir("d").unwrap();
        lower.symlink("d/link", "target").unwrap();
        for (path, kind) in [
            ("d/fifo", NewKind::Fifo),
            ("d/socket", NewKind::Socket),
            ("d/char", NewKind::CharDevice(DeviceNumber::new(4, 300))),
            ("d/block", NewKind::BlockDevice(DeviceNumber::new(8, 1))),
        ] {
            lower.create(path, &NewNode { uid: 3, ..NewNode::new(kind, 0o640) }).unwrap();
        }
        for path in ["d/link", "d/fifo", "d/socket", "d/char", "d/block", "d"] {
            old(lower, path);
        }
    });
    let before = rig.tree().dump(Detail::Content);
    for path in ["d/link", "d/fifo", "d/socket", "d/char", "d/block"] {
        let node = rig.tree().get(path).unwrap();
        let number = node.attr().unwrap().ino;
        node.ops().set_attr(&SetAttr { gid: Some(0), ..SetAttr::default() }).unwrap();
        assert_eq!(rig.tree().layer(path), "upper");
        let attr = rig.tree().get(path).unwrap().attr().unwrap();
        assert_eq!((attr.ino, attr.mtime), (number, OLD), "{path}");
    }
    assert_eq!(rig.tree().dump(Detail::Content), before);
}

#[test]
fn a_full_upper_leaves_the_lower_file_as_it_was_and_its_space_free() {
    let lower: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*lower);
    sample(&tree);
    tree.put("d/large", &"x".repeat(3 << 20)).unwrap();
    let upper: Arc<dyn FileSystem> = ram_of_size(Some(1 << 20));
    let fs = overlay(&upper, &[lower]);
    let tree = Tree::of(&*fs);
    tree.append("d/f", "!").unwrap();
    let free = upper.statfs().unwrap().blocks_free;
    for _ in 0..3 {
        assert_eq!(tree.append("d/large", "!").unwrap_err(), Errno::ENOSPC);
        assert_eq!(tree.read("d/large").unwrap().len(), 3 << 20);
        assert_eq!(tree.layer("d/large"), "lower0");
        assert_eq!(upper.statfs().unwrap().blocks_free, free);
    }
    tree.unlink("d/large").unwrap();
}

#[test]
fn names_of_a_lower_inode_part_when_one_is_changed() {
    let rig = Rig::new(|lower| {
        lower.put("a", "shared").unwrap();
        lower.link("a", "b").unwrap();
    });
    let tree = rig.tree();
    assert_eq!(tree.ino("a"), tree.ino("b"));
    assert_eq!(tree.get("a").unwrap().attr().unwrap().nlink, 2);
    let open = tree.file("a").unwrap();
    tree.append("a", "!").unwrap();
    assert_eq!(tree.read("b").unwrap(), "shared");
    assert_eq!(read_all(&*open).unwrap(), b"shared!");
    assert_ne!(tree.ino("a"), tree.ino("b"));
    assert_eq!(open.attr().unwrap().ino, tree.ino("a"));
    assert!(rig.raw().xattr("a", "trusted.overlay.origin").is_none());
    tree.dump(Detail::Merged);
}

// Removed, but open.

#[test]
fn a_removed_lower_file_stays_readable_and_writable_and_leaves_nothing() {
    let rig = Rig::new(sample);
    let open = rig.tree().file("d/f").unwrap();
    rig.tree().unlink("d/f").unwrap();
    assert_eq!(read_all(&*open).unwrap(), b"content");
    assert_eq!(open.attr().unwrap().nlink, 0);
    open.append(b"!").unwrap();
    open.set_attr(&SetAttr { mode: Some(0o600), ..SetAttr::default() }).unwrap();
    assert_eq!(read_all(&*open).unwrap(), b"content!");
    assert_eq!(open.attr().unwrap().nlink, 0);
    assert!(!rig.tree().has("d/f"));
    assert_eq!(rig.raw().dump(Detail::Raw)["/d/f"], "whiteout");
    let dir = rig.tree().dir("d").unwrap();
    assert_eq!(dir.link(name("again"), &Node::File(open)).unwrap_err(), Errno::ENOENT);
    rig.tree().put("d/f", "another").unwrap();
    assert_eq!(rig.tree().read("d/f").unwrap(), "another");
}

#[test]
fn a_removed_directory_is_empty_and_takes_nothing() {
    let rig = Rig::new(sample);
    let (lower_only, copied) = (rig.tree().dir("d/empty").unwrap(), rig.tree().dir("d/e").unwrap());
    rig.tree().unlink("d/e/g").unwrap();
    rig.tree().rmdir("d/e").unwrap();
    rig.tree().rmdir("d/empty").unwrap();
    for dir in [lower_only, copied] {
        assert!(crate::support::entries(&*dir).is_empty());
        assert!(dir.lookup(name("g")).unwrap().is_none());
        assert_eq!(dir.attr().unwrap().nlink, 0);
        assert_eq!(dir.create(name("x"), &NewNode::new(NewKind::File, 0)).unwrap_err(), Errno::ENOENT);
        assert_eq!(dir.create_unnamed(&NewNode::new(NewKind::File, 0)).unwrap_err(), Errno::ENOENT);
        let node = rig.tree().get("top").unwrap();
        assert_eq!(dir.link(name("x"), &node).unwrap_err(), Errno::ENOENT);
    }
    assert_eq!(rig.tree().names("d"), ["f"]);
}

#[test]
fn a_new_upper_takes_the_attributes_of_the_lower_root() {
    let lower = ram();
    let root = Tree::of(&*lower);
    let change = SetAttr {
        mode: Some(0o1711),
        uid: Some(7),
        gid: Some(8),
        atime: Some(SetTime::At(OLD)),
        mtime: Some(SetTime::At(OLD)),
    };
    root.0.set_attr(&change).unwrap();
    root.set_xattr("", "user.a", b"1").unwrap();
    root.set_xattr("", "trusted.overlay.opaque", b"y").unwrap();
    let before = root.0.attr().unwrap();
    let disk: Arc<dyn FileSystem> = ram();
    let upper = fs_overlay::make_upper(&*disk.root(), name("upper"), &*lower.root()).unwrap();
    let attr = Tree::of(&*disk).get("upper").unwrap().attr().unwrap();
    assert_eq!((attr.mode, attr.uid, attr.gid), (before.mode, before.uid, before.gid));
    assert_eq!((attr.atime, attr.mtime), (OLD, OLD));
    let mut names = Vec::new();
    upper.list_xattrs(&mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
    assert_eq!(names, ["user.a"]);
    let again = fs_overlay::make_upper(&*disk.root(), name("upper"), &*lower.root());
    assert_eq!(again.err().unwrap(), Errno::EEXIST);
}

#[test]
fn access_control_lists_are_copied_up() {
    // Version 2; owner rwx, user 7 r, group rx, mask rx, others none.
    let entry =
        |tag: u16, rights: u16, id: u32| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat();
    let any = u32::MAX;
    let list = [
        2u32.to_le_bytes().to_vec(),
        entry(1, 7, any),
        entry(2, 4, 7),
        entry(4, 5, any),
        entry(16, 5, any),
        entry(32, 0, any),
    ]
    .concat();
    let rig = Rig::new(|t| {
        t.mkdir("d").unwrap();
        t.put("d/f", "f").unwrap();
        t.set_xattr("d/f", "system.posix_acl_access", &list).unwrap();
        t.set_xattr("d", "system.posix_acl_default", &list).unwrap();
    });
    let before = rig.tree().get("d/f").unwrap().attr().unwrap().mode;
    rig.tree().append("d/f", "!").unwrap();
    for tree in [rig.raw(), rig.tree()] {
        assert_eq!(tree.xattr("d/f", "system.posix_acl_access").as_deref(), Some(&list[..]));
        assert_eq!(tree.xattr("d", "system.posix_acl_default").as_deref(), Some(&list[..]));
        assert_eq!(tree.get("d/f").unwrap().attr().unwrap().mode, before);
    }
}
