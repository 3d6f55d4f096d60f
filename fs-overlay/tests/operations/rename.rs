//! Renames and exchanges, and the redirects that they write.

use std::sync::Arc;

use crate::support::{Detail, Rig, Tree, overlay, overlay_with, ram};
use contract::fault::{Calls, FaultFs};
use fs_overlay::{Options, RedirectMode};
use vfs::{Errno, FileSystem, RenameMode};

use crate::sample::sample;

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
    assert!(Tree::of(&*upper).dir("d/renamed").is_ok_and(|dir| crate::support::entries(&*dir).is_empty()));
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

#[test]
fn a_renamed_directory_follows_an_update_of_the_firmware() {
    let firmware = |build: &dyn Fn(&Tree)| -> Arc<dyn FileSystem> {
        let layer = ram();
        let tree = Tree::of(&*layer);
        tree.mkdir("opt").unwrap();
        build(&tree);
        layer
    };
    let upper: Arc<dyn FileSystem> = ram();
    let first = firmware(&|tree| {
        tree.mkdir("opt/app").unwrap();
        tree.put("opt/app/bin", "1").unwrap();
        tree.put("opt/app/gone", "1").unwrap();
        tree.put("opt/app/removed", "1").unwrap();
    });
    let fs = overlay(&upper, &[first]);
    let tree = Tree::of(&*fs);
    tree.rename("opt/app", "opt/tool").unwrap();
    tree.put("opt/tool/mine", "mine").unwrap();
    tree.unlink("opt/tool/removed").unwrap();
    drop(tree);
    fs.unmount().unwrap();

    // The new version is seen at the new name, and nothing else that it has there.
    let second = firmware(&|tree| {
        for dir in ["opt/app", "opt/tool"] {
            tree.mkdir(dir).unwrap();
        }
        tree.put("opt/app/bin", "2").unwrap();
        tree.put("opt/app/new", "2").unwrap();
        tree.put("opt/app/removed", "2").unwrap();
        tree.put("opt/tool/other", "2").unwrap();
    });
    let fs = overlay(&upper, &[second]);
    let tree = Tree::of(&*fs);
    assert_eq!(tree.names("opt"), ["tool"]);
    assert_eq!(tree.names("opt/tool"), ["bin", "mine", "new"]);
    assert_eq!(tree.read("opt/tool/bin").unwrap(), "2");
    drop(tree);
    fs.unmount().unwrap();

    // Where the path leads to no directory any more, the owner's own is left, and can be used.
    for build in [|_: &Tree| {}, |tree: &Tree| tree.put("opt/app", "a file").unwrap()] {
        let fs = overlay(&upper, &[firmware(&build)]);
        let tree = Tree::of(&*fs);
        assert_eq!(tree.names("opt"), ["tool"]);
        assert_eq!(tree.names("opt/tool"), ["mine"]);
        assert_eq!(tree.read("opt/tool/mine").unwrap(), "mine");
        tree.rename("opt/tool", "opt/back").unwrap();
        tree.append("opt/back/mine", "").unwrap();
        tree.rename("opt/back", "opt/tool").unwrap();
        drop(tree);
        fs.unmount().unwrap();
    }
}
