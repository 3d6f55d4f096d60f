//! Creation, links and removal, and what each leaves on the upper.

use std::sync::Arc;

use crate::support::disk::Disk;
use crate::support::{Detail, Rig, Tree, context, name, overlay, ram};
use fs_overlay::{Layer, Layers, Options, OverlayFs};
use vfs::{DeviceNumber, Errno, FileSystem, NewKind, NewNode, RenameMode, SetAttr, XattrMode};

use crate::sample::{Counted, sample};

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

#[test]
fn whiteouts_on_a_disk_share_an_inode() {
    let lower: Arc<dyn FileSystem> = ram();
    for file in 0..10 {
        Tree::of(&*lower).put(&format!("f{file}"), "").unwrap();
    }
    let disk = Disk::new(16 << 20, 7, context());
    let ext4 = disk.mount(context());
    let layers = Layers { upper: Some(Disk::layer(&ext4, "u")), work: None, lowers: vec![Layer::of(lower)] };
    let fs = OverlayFs::mount(context(), layers, Options::default()).unwrap();
    for file in 0..10 {
        Tree::of(&*fs).unlink(&format!("f{file}")).unwrap();
    }
    let raw = Tree::of(&*ext4);
    let first = raw.get("u/f0").unwrap().attr().unwrap();
    assert_eq!(first.nlink, 10);
    assert!((0..10).all(|file| raw.ino(&format!("u/f{file}")) == first.ino));
}
