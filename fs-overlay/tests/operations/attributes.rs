//! Extended attributes, inode numbers, nodes in memory, and the overlay without an upper.

use std::sync::Arc;

use crate::support::{Detail, Rig, Tree, context, name, overlay, ram, read_all};
use fs_overlay::{Layer, Layers, Options, OverlayFs};
use vfs::{Errno, FileSystem, NewKind, NewNode, Node, OpenIntent, SetAttr, SyncKind, XattrMode};

use crate::sample::sample;

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
fn a_list_that_is_not_there_is_missed_in_a_lower_layer_alone() {
    // As on Linux, whose upper filesystems do not mind.
    let rig = Rig::new(sample);
    let lists = [("d/f", &b"system.posix_acl_access"[..]), ("d/e", b"system.posix_acl_default")];
    let remove = |path: &str, name| rig.tree().get(path).unwrap().ops().remove_xattr(name);
    for (path, name) in lists {
        assert_eq!(remove(path, name).unwrap_err(), Errno::ENODATA, "{path}");
        assert_eq!(rig.tree().layer(path), "lower0", "nothing is copied up for it");
    }
    rig.tree().append("d/f", "!").unwrap();
    rig.tree().put("d/e/new", "").unwrap();
    for (path, name) in lists {
        remove(path, name).unwrap();
    }
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

#[test]
fn an_overlay_over_an_overlay_keeps_its_numbers_over_copy_up_and_remount() {
    let (bottom, changes, upper): (Arc<dyn FileSystem>, Arc<dyn FileSystem>, Arc<dyn FileSystem>) =
        (ram(), ram(), ram());
    let tree = Tree::of(&*bottom);
    tree.mkdir("d").unwrap();
    for file in ["d/lower", "d/copied", "other"] {
        tree.put(file, file).unwrap();
    }
    tree.symlink("d/link", "target").unwrap();
    let inner = overlay(&changes, std::slice::from_ref(&bottom));
    Tree::of(&*inner).append("d/copied", "!").unwrap();
    Tree::of(&*inner).put("d/made", "made").unwrap();
    let paths = ["d/lower", "d/copied", "d/made", "d/link", "other", "d"];
    let numbers = |fs: &OverlayFs| paths.map(|path| Tree::of(fs).ino(path));
    let mut inner = inner;
    let mut outer = overlay(&upper, &[inner.clone()]);
    let before = numbers(&outer);
    for path in &paths[..3] {
        Tree::of(&*outer).append(path, "?").unwrap();
        assert!(!Tree::of(&*upper).xattr(path, "trusted.overlay.origin").unwrap().is_empty(), "{path}");
    }
    Tree::of(&*outer).rename("d/link", "d/moved").unwrap();
    Tree::of(&*outer).rename("d/moved", "d/link").unwrap();
    for _ in 0..2 {
        assert_eq!(numbers(&outer), before);
        Tree::of(&*outer).dump(Detail::Content);
        outer.unmount().unwrap();
        inner.unmount().unwrap();
        drop((outer, inner));
        inner = overlay(&changes, std::slice::from_ref(&bottom));
        outer = overlay(&upper, &[inner.clone()]);
    }
}

#[test]
fn a_handle_leads_to_its_file_wherever_names_move_until_the_last_is_gone() {
    // Layers on two filesystems.
    let mut rig = Rig::new(sample);
    let tree = rig.tree();
    tree.put("d/made", "made").unwrap();
    tree.append("d/f", "!").unwrap();
    tree.mkdir("new").unwrap();
    let files = [("d/made", "made", "a"), ("d/f", "content!", "b"), ("d/e/g", "deep", "c")];
    let handles = files.map(|(path, ..)| tree.get(path).unwrap().ops().handle().unwrap());
    let numbers = files.map(|(path, ..)| tree.ino(path));
    let all_lead_there = |rig: &Rig, when: &str| {
        for (index, (path, content, _)) in files.iter().enumerate() {
            let found = rig.fs.node_by_handle(&handles[index]).unwrap().unwrap_or_else(|| panic!("{path} {when}"));
            assert_eq!(found.attr().unwrap().ino, numbers[index], "{path} {when}");
            assert_eq!(read_all(&**found.as_file().unwrap()).unwrap(), content.as_bytes(), "{path} {when}");
        }
    };
    all_lead_there(&rig, "at first");
    for (path, _, name) in files {
        tree.link(path, &format!("new/{name}")).unwrap();
    }
    all_lead_there(&rig, "with two names");
    for (path, ..) in files {
        tree.unlink(path).unwrap();
    }
    all_lead_there(&rig, "with the other name alone");
    for (.., name) in files {
        tree.rename(&format!("new/{name}"), &format!("d/empty/{name}")).unwrap();
    }
    tree.rename("d", "moved").unwrap();
    all_lead_there(&rig, "in directories that moved");
    drop(tree);
    rig.remount();
    all_lead_there(&rig, "after a remount");
    for (.., name) in files {
        rig.tree().unlink(&format!("moved/empty/{name}")).unwrap();
    }
    for handle in &handles[..2] {
        assert!(rig.fs.node_by_handle(handle).unwrap().is_none(), "it is gone");
    }
}

#[test]
fn a_handle_leads_to_the_node_in_use_and_never_to_a_change_that_is_lost() {
    let rig = Rig::new(|t| {
        t.mkdir("d").unwrap();
        t.put("d/f", "f").unwrap();
    });
    let node = rig.tree().get("d/f").unwrap();
    let handle = node.ops().handle().unwrap();
    let found = rig.fs.node_by_handle(&handle).unwrap().unwrap();
    assert!(std::ptr::addr_eq(found.ops(), node.ops()));
    let id = node.id();
    drop((node, found));
    let found = rig.fs.node_by_handle(&handle).unwrap().unwrap();
    assert_eq!((found.id(), found.attr().unwrap().nlink), (id, 1));
    assert_eq!(found.as_file().unwrap().append(b"!").unwrap_err(), vfs::Errno::ESTALE);
    assert_eq!(rig.tree().read("d/f").unwrap(), "f");
}
