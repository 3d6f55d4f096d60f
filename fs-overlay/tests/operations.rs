//! The rows of operations: copy-up, creation, removal, rename, extended attributes and identity, and what each leaves on
//! the upper.

mod support;

use std::sync::Arc;

use contract::fault::{Calls, Control, FaultFs};
use fs_overlay::{Layer, Layers, Options, OverlayFs, RedirectMode};
use support::{Detail, OLD, Rig, Tree, clock, context, name, overlay, overlay_with, ram, ram_of_size, read_all};
use vfs::{
    DeviceNumber, Errno, FileSystem, FsContext, NewKind, NewNode, Node, OpenIntent, RenameMode, SetAttr, SetTime,
    SyncKind, XattrMode,
};

fn old(tree: &Tree, path: &str) {
    let change = SetAttr { atime: Some(SetTime::At(OLD)), mtime: Some(SetTime::At(OLD)), ..SetAttr::default() };
    tree.get(path).unwrap().ops().set_attr(&change).unwrap();
}

/// `d/` with a file, a directory with a file, and an empty directory.
fn sample(tree: &Tree) {
    tree.mkdir("d").unwrap();
    tree.put("d/f", "content").unwrap();
    tree.mkdir("d/e").unwrap();
    tree.put("d/e/g", "deep").unwrap();
    tree.mkdir("d/empty").unwrap();
    tree.put("top", "top").unwrap();
    for path in ["d/f", "d/e/g", "d/e", "d/empty", "d", "top"] {
        old(tree, path);
    }
}

/// A sample below, and the calls that reach either layer counted.
struct Counted {
    lower: Arc<Control>,
    upper: Arc<Control>,
    fs: Arc<OverlayFs>,
    raw: Tree,
}

impl Counted {
    fn new() -> Self {
        let lower = ram();
        sample(&Tree::of(&*lower));
        let inner = ram();
        let raw = Tree::of(&*inner);
        let (lower_fs, lower) = FaultFs::new(lower);
        let (upper_fs, upper) = FaultFs::new(inner);
        let upper_fs: Arc<dyn FileSystem> = upper_fs;
        let fs = overlay(&upper_fs, &[lower_fs]);
        lower.reset();
        upper.reset();
        Self { lower, upper, fs, raw }
    }

    fn tree(&self) -> Tree {
        Tree::of(&*self.fs)
    }

    /// How many changes of the upper `step` makes.
    fn changes(&self, step: impl FnOnce(&Tree)) -> u64 {
        self.upper.reset();
        self.lower.reset();
        step(&self.tree());
        assert_eq!(self.lower.count(Calls::CHANGES), 0, "the lower is never changed");
        self.upper.count(Calls::CHANGES)
    }
}

// Copy-up.

#[test]
fn a_copy_keeps_content_owner_mode_times_and_attributes() {
    let rig = Rig::new(|lower| {
        sample(lower);
        let node = lower.get("d/f").unwrap();
        node.ops().set_xattr(b"user.mime", b"text", XattrMode::Set).unwrap();
        node.ops().set_xattr(b"security.capability", b"\x01\x02", XattrMode::Set).unwrap();
        node.ops().set_xattr(b"system.posix_acl_access", b"\x02\0\0\0", XattrMode::Set).unwrap();
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
        ("system.posix_acl_access", Some(b"\x02\0\0\0")),
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
        support::write_all(&*file, 1 << 20, &data).unwrap();
        support::write_all(&*file, 5 << 20, b"tail").unwrap();
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
        assert!(support::entries(&*dir).is_empty());
        assert!(dir.lookup(name("g")).unwrap().is_none());
        assert_eq!(dir.attr().unwrap().nlink, 0);
        assert_eq!(dir.create(name("x"), &NewNode::new(NewKind::File, 0)).unwrap_err(), Errno::ENOENT);
        assert_eq!(dir.create_unnamed(&NewNode::new(NewKind::File, 0)).unwrap_err(), Errno::ENOENT);
        let node = rig.tree().get("top").unwrap();
        assert_eq!(dir.link(name("x"), &node).unwrap_err(), Errno::ENOENT);
    }
    assert_eq!(rig.tree().names("d"), ["f"]);
}

// Creation.

#[test]
fn a_directory_over_a_whiteout_is_opaque_in_the_same_step() {
    let rig = Counted::new();
    rig.tree().unlink("d/e/g").unwrap();
    rig.tree().rmdir("d/e").unwrap();
    assert_eq!(rig.changes(|tree| tree.mkdir("d/e").unwrap()), 1);
    assert_eq!(rig.raw.xattr("d/e", "trusted.overlay.opaque").unwrap(), b"y");
    assert!(rig.tree().names("d/e").is_empty());
}

#[test]
fn a_file_over_a_whiteout_replaces_it_in_one_step() {
    let rig = Counted::new();
    rig.tree().unlink("d/f").unwrap();
    let new = NewNode::new(NewKind::File, 0o600);
    assert_eq!(rig.changes(|tree| drop(tree.create("d/f", &new).unwrap())), 1);
    assert_eq!(rig.changes(|tree| tree.rename("d/f", "d/h").unwrap()), 1);
    assert_eq!(rig.changes(|tree| tree.link("d/h", "d/f").unwrap()), 1);
    assert_eq!(rig.tree().get("d/f").unwrap().attr().unwrap().nlink, 2);
}

#[test]
fn what_cannot_be_created_copies_nothing_up() {
    let rig = Counted::new();
    let changes = rig.changes(|tree| {
        assert_eq!(tree.mkdir("d/e").unwrap_err(), Errno::EEXIST);
        assert_eq!(tree.link("top", "d/f").unwrap_err(), Errno::EEXIST);
        assert_eq!(tree.unlink("d/absent").unwrap_err(), Errno::ENOENT);
        assert_eq!(tree.unlink("d/e").unwrap_err(), Errno::EISDIR);
        assert_eq!(tree.rmdir("d/f").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(tree.rmdir("d/e").unwrap_err(), Errno::ENOTEMPTY);
        assert_eq!(tree.rename("d/absent", "x").unwrap_err(), Errno::ENOENT);
        assert_eq!(tree.rename("d/e", "d/e/x").unwrap_err(), Errno::EINVAL);
        assert_eq!(tree.rename("top", "d/e").unwrap_err(), Errno::EISDIR);
        assert_eq!(tree.rename("d/e", "top").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(tree.rename("d/empty", "d/e").unwrap_err(), Errno::ENOTEMPTY);
        assert_eq!(tree.rename("d/e/g", "d/e").unwrap_err(), Errno::EISDIR);
        assert_eq!(tree.exchange("d/e", "x").unwrap_err(), Errno::ENOENT);
        assert_eq!(tree.exchange("d/e/g", "d").unwrap_err(), Errno::EINVAL);
        assert_eq!(tree.rename_with("top", "d/f", RenameMode::NoReplace).unwrap_err(), Errno::EEXIST);
        tree.rename("d/f", "d/f").unwrap();
        let node = tree.get("d/f").unwrap();
        assert_eq!(node.ops().remove_xattr(b"user.absent").unwrap_err(), Errno::ENODATA);
        let replace = node.ops().set_xattr(b"user.absent", b"", XattrMode::Replace);
        assert_eq!(replace.unwrap_err(), Errno::ENODATA);
    });
    assert_eq!(changes, 0);
}

#[test]
fn a_users_whiteout_is_refused() {
    let rig = Rig::new(sample);
    let whiteout = NewNode::new(NewKind::CharDevice(DeviceNumber::new(0, 0)), 0o600);
    assert_eq!(rig.tree().create("x", &whiteout).unwrap_err(), Errno::EPERM);
    assert_eq!(rig.tree().0.create_unnamed(&whiteout).unwrap_err(), Errno::EPERM);
    rig.tree().create("x", &NewNode::new(NewKind::BlockDevice(DeviceNumber::new(0, 0)), 0)).unwrap();
}

#[test]
fn an_unnamed_file_gets_a_name_by_link() {
    let rig = Rig::new(sample);
    let dir = rig.tree().dir("d/e").unwrap();
    let node = dir.create_unnamed(&NewNode::new(NewKind::File, 0o600)).unwrap();
    node.as_file().unwrap().write_at(0, b"unnamed").unwrap();
    rig.tree().dir("d").unwrap().link(name("named"), &node).unwrap();
    assert_eq!(rig.tree().read("d/named").unwrap(), "unnamed");
    assert_eq!(rig.tree().get("d/named").unwrap().id(), node.id());
}

#[test]
fn a_link_keeps_the_owner_and_is_one_file_with_its_original() {
    let rig = Rig::new(|lower| {
        sample(lower);
        let change = SetAttr { uid: Some(5), gid: Some(6), ..SetAttr::default() };
        lower.get("d/f").unwrap().ops().set_attr(&change).unwrap();
    });
    rig.tree().link("d/f", "d/e/linked").unwrap();
    let attr = rig.tree().get("d/e/linked").unwrap().attr().unwrap();
    assert_eq!((attr.uid, attr.gid, attr.nlink), (5, 6, 2));
    rig.tree().append("d/e/linked", "!").unwrap();
    assert_eq!(rig.tree().read("d/f").unwrap(), "content!");
    assert_eq!(rig.tree().ino("d/f"), rig.tree().ino("d/e/linked"));
    rig.tree().dump(Detail::Merged);
}

#[test]
fn a_node_of_another_overlay_is_of_another_filesystem() {
    let (one, two) = (Rig::new(sample), Rig::new(sample));
    let foreign = two.tree().get("top").unwrap();
    assert_eq!(one.tree().0.link(name("x"), &foreign).unwrap_err(), Errno::EXDEV);
    let to = two.tree().0;
    let op = vfs::RenameOp { name: name("top"), to: &to, new_name: name("x"), mode: RenameMode::Replace };
    assert_eq!(one.tree().0.rename(&op).unwrap_err(), Errno::EXDEV);
    let lower = Tree::of(&*one.lower).get("top").unwrap();
    assert_eq!(one.tree().0.link(name("x"), &lower).unwrap_err(), Errno::EXDEV);
}

// Removal.

#[test]
fn unlink_of_a_lower_file_leaves_a_whiteout_and_of_an_upper_one_none() {
    let mut rig = Rig::new(sample);
    rig.tree().put("d/new", "new").unwrap();
    rig.tree().append("top", "!").unwrap();
    for path in ["d/new", "d/f", "top"] {
        rig.tree().unlink(path).unwrap();
    }
    let raw = rig.raw().dump(Detail::Raw);
    assert_eq!((&*raw["/d/f"], &*raw["/top"]), ("whiteout", "whiteout"));
    assert!(!raw.contains_key("/d/new"));
    rig.remount();
    assert_eq!(rig.tree().names(""), ["d"]);
    assert_eq!(rig.tree().names("d"), ["e", "empty"]);
}

#[test]
fn a_name_that_no_lower_shows_gets_no_whiteout() {
    let lower: Arc<dyn FileSystem> = ram();
    let hidden: Arc<dyn FileSystem> = ram();
    Tree::of(&*lower).mkdir("d").unwrap();
    Tree::of(&*lower).whiteout("d/f");
    sample(&Tree::of(&*hidden));
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[lower, hidden]);
    let tree = Tree::of(&*fs);
    tree.put("d/f", "new").unwrap();
    tree.unlink("d/f").unwrap();
    assert!(!Tree::of(&*upper).has("d/f"));
    tree.put("d/f", "new").unwrap();
    tree.rename("d/f", "d/h").unwrap();
    assert!(!Tree::of(&*upper).has("d/f"));
}

#[test]
fn rmdir_of_a_merged_directory_takes_its_whiteouts_with_it() {
    let rig = Counted::new();
    let tree = rig.tree();
    tree.unlink("d/e/g").unwrap();
    assert_eq!(rig.raw.dump(Detail::Raw)["/d/e/g"], "whiteout");
    assert_eq!(rig.changes(|tree| tree.rmdir("d/e").unwrap()), 1);
    assert_eq!(rig.raw.dump(Detail::Raw)["/d/e"], "whiteout");
    tree.mkdir("d/e").unwrap();
    assert_eq!(rig.changes(|tree| tree.rmdir("d/e").unwrap()), 1);
    assert_eq!(rig.raw.dump(Detail::Raw)["/d/e"], "whiteout");
    tree.mkdir("d/new").unwrap();
    assert_eq!(rig.changes(|tree| tree.rmdir("d/new").unwrap()), 1);
    assert!(!rig.raw.has("d/new"));
    assert_eq!(rig.changes(|tree| tree.unlink("d/f").unwrap()), 1);
}

// Rename.

#[test]
fn a_renamed_lower_file_leaves_a_whiteout_and_keeps_its_number() {
    let mut rig = Rig::new(sample);
    let before = rig.tree().ino("d/f");
    rig.tree().rename("d/f", "moved").unwrap();
    assert_eq!(rig.raw().dump(Detail::Raw)["/d/f"], "whiteout");
    assert_eq!(rig.tree().read("moved").unwrap(), "content");
    assert_eq!(rig.tree().ino("moved"), before);
    rig.remount();
    assert_eq!(rig.tree().ino("moved"), before);
    rig.tree().rename("moved", "d/f").unwrap();
    assert!(!rig.raw().has("moved"));
    rig.tree().dump(Detail::Merged);
}

#[test]
fn a_directory_is_renamed_by_a_redirect_in_one_step_and_nothing_in_it_is_touched() {
    let lower = ram();
    let tree = Tree::of(&*lower);
    tree.mkdir("d").unwrap();
    tree.mkdir("d/big").unwrap();
    for file in 0..3000 {
        tree.put(&format!("d/big/{file}"), "").unwrap();
    }
    let (lower, lower_calls) = FaultFs::new(lower);
    let (upper, upper_calls) = FaultFs::new(ram());
    let upper: Arc<dyn FileSystem> = upper;
    let fs = overlay(&upper, &[lower]);
    let tree = Tree::of(&*fs);
    tree.put("d/x", "").unwrap();
    lower_calls.reset();
    upper_calls.reset();
    tree.rename("d/big", "d/renamed").unwrap();
    assert!(lower_calls.count(Calls::all()) < 30, "{}", lower_calls.count(Calls::all()));
    assert_eq!(upper_calls.count(Calls::CHANGES), 4, "stage, times, publish, rename");
    assert_eq!(Tree::of(&*upper).xattr("d/renamed", "trusted.overlay.redirect").unwrap(), b"big");
    assert!(Tree::of(&*upper).dir("d/renamed").is_ok_and(|dir| support::entries(&*dir).is_empty()));
    upper_calls.reset();
    tree.rename("d/renamed", "moved").unwrap();
    assert_eq!(upper_calls.count(Calls::CHANGES), 1);
    assert_eq!(Tree::of(&*upper).xattr("moved", "trusted.overlay.redirect").unwrap(), b"/d/big");
    assert_eq!(tree.names("moved").len(), 3000);
}

#[test]
fn redirects_compose_over_nested_renames_and_remounts() {
    let mut rig = Rig::new(|lower| {
        for dir in ["a", "a/b", "a/b/c", "z"] {
            lower.mkdir(dir).unwrap();
        }
        lower.put("a/b/c/f", "deep").unwrap();
    });
    let redirect = |rig: &Rig, path: &str| {
        rig.raw().xattr(path, "trusted.overlay.redirect").map(|value| String::from_utf8(value).unwrap())
    };
    let numbers = ["a", "a/b", "a/b/c", "a/b/c/f"].map(|path| rig.tree().ino(path));
    rig.tree().rename("a", "A").unwrap();
    rig.tree().rename("A/b", "A/B").unwrap();
    assert_eq!(redirect(&rig, "A").as_deref(), Some("a"));
    assert_eq!(redirect(&rig, "A/B").as_deref(), Some("b"));
    rig.remount();
    rig.tree().rename("A/B/c", "z/C").unwrap();
    assert_eq!(redirect(&rig, "z/C").as_deref(), Some("/a/b/c"));
    rig.tree().rename("A/B", "z/B").unwrap();
    assert_eq!(redirect(&rig, "z/B").as_deref(), Some("/a/b"));
    rig.remount();
    assert_eq!(rig.tree().read("z/C/f").unwrap(), "deep");
    assert!(!rig.tree().has("z/B/c"));
    rig.tree().rename("z/C", "z/D").unwrap();
    rig.tree().rename("z/D", "C").unwrap();
    assert_eq!(redirect(&rig, "C").as_deref(), Some("/a/b/c"));
    rig.remount();
    assert_eq!(["A", "z/B", "C", "C/f"].map(|path| rig.tree().ino(path)), numbers);
    rig.tree().dump(Detail::Merged);
}

#[test]
fn children_of_a_renamed_directory_are_renamed_and_changed() {
    let mut rig = Rig::new(|lower| {
        sample(lower);
        lower.mkdir("d/e/inner").unwrap();
        lower.put("d/e/inner/x", "x").unwrap();
    });
    let open = rig.tree().file("d/e/inner/x").unwrap();
    rig.tree().rename("d/e", "moved").unwrap();
    open.append(b" changed").unwrap();
    assert_eq!(rig.tree().read("moved/inner/x").unwrap(), "x changed");
    rig.tree().rename("moved/inner", "moved/outer").unwrap();
    rig.tree().rename("moved/g", "moved/outer/g").unwrap();
    rig.tree().unlink("moved/outer/x").unwrap();
    rig.remount();
    assert_eq!(rig.tree().names("moved"), ["outer"]);
    assert_eq!(rig.tree().names("moved/outer"), ["g"]);
    assert_eq!(rig.tree().names("d"), ["empty", "f"]);
}

#[test]
fn a_new_directory_at_the_old_name_does_not_show_what_moved() {
    let mut rig = Rig::new(sample);
    rig.tree().rename("d", "moved").unwrap();
    rig.tree().mkdir("d").unwrap();
    rig.remount();
    assert!(rig.tree().names("d").is_empty());
    assert_eq!(rig.tree().names("moved"), ["e", "empty", "f"]);
    assert_eq!(rig.tree().layer("moved"), "merged");
    assert_eq!(rig.tree().layer("d"), "upper");
}

#[test]
fn an_upper_directory_moved_over_a_lower_name_does_not_merge_with_it() {
    let mut rig = Rig::new(sample);
    rig.tree().mkdir("new").unwrap();
    rig.tree().put("new/only", "").unwrap();
    rig.tree().unlink("d/e/g").unwrap();
    rig.tree().rmdir("d/e").unwrap();
    rig.tree().rename("new", "d/e").unwrap();
    rig.remount();
    assert_eq!(rig.tree().names("d/e"), ["only"]);
    assert_eq!(rig.raw().xattr("d/e", "trusted.overlay.opaque").unwrap(), b"y");
}

#[test]
fn a_merged_directory_that_is_empty_is_replaced() {
    let mut rig = Rig::new(sample);
    rig.tree().unlink("d/e/g").unwrap();
    rig.tree().rename("d/empty", "d/e").unwrap();
    assert!(rig.tree().names("d/e").is_empty());
    rig.tree().mkdir("new").unwrap();
    rig.tree().put("new/only", "").unwrap();
    rig.tree().rename("new", "d/e").unwrap();
    rig.remount();
    assert_eq!(rig.tree().names("d/e"), ["only"]);
    assert_eq!(rig.tree().names("d"), ["e", "f"]);
    let rig = Rig::new(sample);
    rig.tree().mkdir("new").unwrap();
    rig.tree().put("new/only", "").unwrap();
    rig.tree().rename("new", "d/empty").unwrap();
    assert_eq!(rig.tree().names("d/empty"), ["only"]);
}

#[test]
fn a_lower_file_and_a_lower_directory_change_places() {
    let mut rig = Rig::new(sample);
    let (file, dir) = (rig.tree().ino("top"), rig.tree().ino("d/e"));
    rig.tree().exchange("top", "d/e").unwrap();
    rig.remount();
    assert_eq!(rig.tree().read("d/e").unwrap(), "top");
    assert_eq!(rig.tree().read("top/g").unwrap(), "deep");
    assert_eq!((rig.tree().ino("d/e"), rig.tree().ino("top")), (file, dir));
    rig.tree().exchange("top", "d/e").unwrap();
    assert_eq!(rig.tree().read("d/e/g").unwrap(), "deep");
    rig.tree().dump(Detail::Merged);
}

#[test]
fn two_names_of_one_inode_are_not_renamed() {
    let rig = Rig::new(sample);
    rig.tree().link("d/f", "d/linked").unwrap();
    rig.tree().rename("d/f", "d/linked").unwrap();
    assert_eq!(rig.tree().names("d"), ["e", "empty", "f", "linked"]);
    let refused = rig.tree().rename_with("d/f", "d/linked", RenameMode::NoReplace);
    assert_eq!(refused.unwrap_err(), Errno::EEXIST);
}

#[test]
fn a_redirect_over_256_bytes_is_refused_before_anything_moved() {
    let (long, longer) = ("x".repeat(126), "y".repeat(127));
    let rig = Rig::new(|lower| {
        for path in [&long, &longer, &format!("{long}/{longer}"), &format!("{longer}/{longer}")] {
            lower.mkdir(path).unwrap();
        }
        lower.mkdir("z").unwrap();
        lower.mkdir(&format!("{longer}/{longer}/z")).unwrap();
    });
    // "/" + 126 + "/" + 127 is 255 bytes, with 127 and 127 it is 256, and "/z" more is 258.
    rig.tree().rename(&format!("{long}/{longer}"), "z/a").unwrap();
    rig.tree().rename(&format!("{longer}/{longer}"), "z/b").unwrap();
    assert_eq!(rig.raw().xattr("z/b", "trusted.overlay.redirect").unwrap().len(), 256);
    assert_eq!(rig.tree().rename("z/b/z", "z/c").unwrap_err(), Errno::EXDEV);
    assert!(rig.tree().has("z/b/z") && !rig.tree().has("z/c"));
    rig.tree().rename("z/b/z", "z/b/y").unwrap();
}

#[test]
fn without_redirects_only_pure_upper_directories_are_renamed() {
    for redirect in [RedirectMode::Follow, RedirectMode::Refuse] {
        let lower: Arc<dyn FileSystem> = ram();
        sample(&Tree::of(&*lower));
        let upper: Arc<dyn FileSystem> = ram();
        let fs = overlay_with(&upper, &[lower], Options { redirect, ..Options::default() });
        let tree = Tree::of(&*fs);
        assert_eq!(tree.rename("d/e", "d/x").unwrap_err(), Errno::EXDEV);
        assert_eq!(tree.exchange("top", "d/e").unwrap_err(), Errno::EXDEV);
        assert!(!Tree::of(&*upper).has("d"), "nothing was copied up for it");
        tree.mkdir("d/new").unwrap();
        tree.rename("d/new", "new").unwrap();
        tree.rename("d/f", "f").unwrap();
    }
}

// Extended attributes.

#[test]
fn the_overlays_own_attributes_are_hidden_and_a_users_are_escaped() {
    let mut rig = Rig::new(sample);
    rig.tree().rename("d/e", "moved").unwrap();
    let listed = |path: &str, rig: &Rig| {
        let mut names = Vec::new();
        let node = rig.tree().get(path).unwrap();
        node.ops().list_xattrs(&mut |name| names.push(String::from_utf8(name.to_vec()).unwrap())).unwrap();
        names.sort();
        names
    };
    assert!(listed("moved", &rig).is_empty());
    for name in ["redirect", "origin", "opaque", "impure"] {
        assert_eq!(rig.tree().xattr("moved", &format!("trusted.overlay.{name}")), None);
    }
    rig.tree().set_xattr("moved", "trusted.overlay.redirect", b"mine").unwrap();
    rig.tree().set_xattr("moved", "user.x", b"y").unwrap();
    assert_eq!(rig.tree().xattr("moved", "trusted.overlay.redirect").unwrap(), b"mine");
    assert_eq!(rig.raw().xattr("moved", "trusted.overlay.redirect").unwrap(), b"/d/e");
    assert_eq!(rig.raw().xattr("moved", "trusted.overlay.overlay.redirect").unwrap(), b"mine");
    assert_eq!(listed("moved", &rig), ["trusted.overlay.redirect", "user.x"]);
    rig.remount();
    assert_eq!(rig.tree().names("moved"), ["g"]);
    let node = rig.tree().get("moved").unwrap();
    node.ops().remove_xattr(b"trusted.overlay.redirect").unwrap();
    assert_eq!(node.ops().remove_xattr(b"trusted.overlay.redirect").unwrap_err(), Errno::ENODATA);
    assert_eq!(listed("moved", &rig), ["user.x"]);
    let long = format!("trusted.overlay.{}", "x".repeat(235));
    assert_eq!(node.ops().set_xattr(long.as_bytes(), b"", XattrMode::Set).unwrap_err(), Errno::ERANGE);
    assert_eq!(node.ops().xattr(long.as_bytes()).unwrap(), None);
}

#[test]
fn a_new_nodes_attributes_are_escaped_too() {
    let rig = Rig::new(sample);
    let xattrs: &[(&[u8], &[u8])] = &[(b"trusted.overlay.opaque", b"y"), (b"user.a", b"b")];
    rig.tree().create("d/n", &NewNode { xattrs, ..NewNode::new(NewKind::Dir, 0o700) }).unwrap();
    assert_eq!(rig.raw().xattr("d/n", "trusted.overlay.overlay.opaque").unwrap(), b"y");
    assert_eq!(rig.tree().xattr("d/n", "trusted.overlay.opaque").unwrap(), b"y");
    assert_eq!(rig.tree().xattr("d/n", "user.a").unwrap(), b"b");
}

#[test]
fn a_virtual_attribute_tells_the_layer() {
    let rig = Rig::new(sample);
    let tree = rig.tree();
    assert_eq!((&*tree.layer("d/f"), &*tree.layer("d")), ("lower0", "lower0"));
    tree.append("d/f", "!").unwrap();
    tree.mkdir("new").unwrap();
    assert_eq!((&*tree.layer("d/f"), &*tree.layer("d"), &*tree.layer("new")), ("upper", "merged", "upper"));
    let node = tree.get("d").unwrap();
    assert_eq!(node.ops().set_xattr(b"system.strata.layer", b"", XattrMode::Set).unwrap_err(), Errno::EPERM);
    assert_eq!(node.ops().remove_xattr(b"system.strata.layer").unwrap_err(), Errno::EPERM);
}

#[test]
fn attributes_of_an_overlay_below_are_its_own() {
    let (bottom, middle, top): (Arc<dyn FileSystem>, Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram(), ram());
    sample(&Tree::of(&*bottom));
    let inner: Arc<dyn FileSystem> = overlay(&middle, &[bottom]);
    Tree::of(&*inner).set_xattr("d", "trusted.overlay.opaque", b"y").unwrap();
    let outer = overlay(&top, &[inner]);
    let tree = Tree::of(&*outer);
    assert_eq!(tree.xattr("d", "trusted.overlay.opaque"), None, "to the outer one it is its own");
    tree.rename("d/e", "e").unwrap();
    assert_eq!(tree.read("e/g").unwrap(), "deep");
    tree.dump(Detail::Merged);
}

// Identity.

#[test]
fn numbers_are_constant_over_copy_up_and_remount_and_unique() {
    let mut rig = Rig::new(sample);
    let paths = ["d", "d/f", "d/e", "d/e/g", "d/empty", "top"];
    let numbers = |rig: &Rig| paths.map(|path| rig.tree().get(path).unwrap().id().ino);
    let before = numbers(&rig);
    for path in paths {
        rig.tree().get(path).unwrap().ops().set_attr(&SetAttr { mode: Some(0o700), ..SetAttr::default() }).unwrap();
        assert_eq!(numbers(&rig), before);
    }
    rig.tree().put("new", "").unwrap();
    rig.remount();
    assert_eq!(numbers(&rig), before);
    let mut all: Vec<_> = before.into_iter().chain([rig.tree().ino("new"), rig.tree().ino("")]).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), paths.len() + 2);
}

#[test]
fn layers_on_one_filesystem_share_its_numbers() {
    let fs: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*fs);
    for dir in ["u", "l"] {
        tree.mkdir(dir).unwrap();
    }
    tree.put("l/f", "f").unwrap();
    let layer = |path: &str| Layer { fs: fs.clone(), root: tree.dir(path).unwrap() };
    let layers = Layers { upper: Some(layer("u")), work: None, lowers: vec![layer("l")] };
    let overlay = OverlayFs::mount(context(), layers, Options::default()).unwrap();
    let merged = Tree::of(&*overlay);
    assert_eq!(merged.ino("f"), tree.ino("l/f"));
    merged.append("f", "!").unwrap();
    assert_eq!(merged.ino("f"), tree.ino("l/f"));
    merged.dump(Detail::Merged);
}

#[test]
fn two_copies_that_claim_one_origin_stay_two_files() {
    // As a copy of an upper layer with its attributes, made by hand, has it.
    let rig = Rig::new(sample);
    rig.tree().append("d/f", "!").unwrap();
    let origin = rig.raw().xattr("d/f", "trusted.overlay.origin").unwrap();
    rig.raw().put("d/other", "other").unwrap();
    rig.raw().set_xattr("d/other", "trusted.overlay.origin", &origin).unwrap();
    assert_eq!(rig.tree().read("d/other").unwrap(), "other");
    assert_eq!(rig.tree().read("d/f").unwrap(), "content!");
}

#[test]
fn nodes_are_shared_while_in_use_and_forgotten_after() {
    let rig = Rig::new(sample);
    assert_eq!(rig.fs.nodes_in_use(), 0);
    let one = rig.tree().get("d/e/g").unwrap();
    let two = rig.tree().get("d/e/g").unwrap();
    assert!(std::ptr::addr_eq(std::ptr::from_ref(one.ops()), std::ptr::from_ref(two.ops())));
    assert_eq!(rig.fs.nodes_in_use(), 3, "the file and the directories above it");
    rig.tree().append("d/e/g", "!").unwrap();
    let three = rig.tree().get("d/e/g").unwrap();
    assert!(std::ptr::addr_eq(std::ptr::from_ref(one.ops()), std::ptr::from_ref(three.ops())));
    drop((one, two, three));
    rig.tree().rename("d", "moved").unwrap();
    rig.tree().exchange("moved/e", "top").unwrap();
    rig.tree().dump(Detail::Merged);
    assert_eq!(rig.fs.nodes_in_use(), 0);
}

#[test]
fn a_deep_tree_is_copied_up_and_dropped_on_a_small_stack() {
    const DEPTH: usize = 3000;
    let lower: Arc<dyn FileSystem> = ram();
    let mut dir = lower.root();
    for _ in 0..DEPTH {
        dir = match dir.create(name("d"), &NewNode::new(NewKind::Dir, 0o755)).unwrap() {
            Node::Dir(dir) => dir,
            _ => unreachable!("a directory was made"),
        };
    }
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, std::slice::from_ref(&lower));
    let work = move || {
        let mut dir: Arc<dyn vfs::DirOps> = fs.root();
        for _ in 0..DEPTH {
            let next = dir.lookup(name("d")).unwrap().unwrap();
            dir = next.as_dir().unwrap().clone();
        }
        dir.create(name("f"), &NewNode::new(NewKind::File, 0)).unwrap();
        assert_eq!(fs.nodes_in_use(), DEPTH);
        drop(dir);
        assert_eq!(fs.nodes_in_use(), 0);
    };
    std::thread::Builder::new().stack_size(64 << 10).spawn(work).unwrap().join().unwrap();
    // What the layers' own trees need to be dropped is not this test's business.
    std::mem::forget((lower, upper));
}

// Without an upper.

#[test]
fn an_overlay_without_an_upper_is_read_only() {
    let lower: Arc<dyn FileSystem> = ram();
    sample(&Tree::of(&*lower));
    let layers = Layers { lowers: vec![Layer::of(lower)], ..Layers::default() };
    let fs = OverlayFs::mount(context(), layers, Options::default()).unwrap();
    assert!(fs.is_read_only());
    let tree = Tree::of(&*fs);
    tree.dump(Detail::Merged);
    assert_eq!(tree.mkdir("x").unwrap_err(), Errno::EROFS);
    assert_eq!(tree.unlink("top").unwrap_err(), Errno::EROFS);
    assert_eq!(tree.rename("top", "x").unwrap_err(), Errno::EROFS);
    assert_eq!(tree.append("top", "x").unwrap_err(), Errno::EROFS);
    assert_eq!(tree.set_xattr("top", "user.x", b"").unwrap_err(), Errno::EROFS);
    assert_eq!(tree.file("top").unwrap().prepare_open(OpenIntent::Truncate).unwrap_err(), Errno::EROFS);
    tree.file("top").unwrap().sync(SyncKind::All).unwrap();
    fs.unmount().unwrap();
}
