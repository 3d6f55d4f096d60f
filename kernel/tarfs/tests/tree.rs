//! What members become: names, replacement, hard links, whiteouts.

mod common;

use common::*;
use tarfs::{MountOptions, TarFs};
use vfs::{FileSystem, FileType, Node, Timestamp};

fn attr(fs: &TarFs, path: &str) -> vfs::Attr {
    find(fs, path).unwrap_or_else(|| panic!("no {path}")).attr().unwrap()
}

fn paths(fs: &TarFs) -> Vec<String> {
    snapshot(fs).into_keys().map(|path| String::from_utf8(path).unwrap()).filter(|path| !path.is_empty()).collect()
}

#[test]
fn names_are_placed_below_the_root_whatever_they_say() {
    let mut tar = Tar::new();
    tar.file("/abs", "1").file("../../up", "2").file("a/./b//c", "3").file("x/../y", "4").file("./dot", "5");
    tar.file("p/q/../../../r", "6").link("h", "/../a/b/../b/c");
    let fs = mount(tar.end());
    assert_eq!(paths(&fs), ["a", "a/b", "a/b/c", "abs", "dot", "h", "r", "up", "y"]);
    assert_eq!(attr(&fs, "h").ino, attr(&fs, "a/b/c").ino);
    assert_eq!(fs.stats().left_out, 0);
}

#[test]
fn implied_parents_are_plain_directories_and_a_later_member_describes_them() {
    let mut tar = Tar::new();
    tar.file("a/b/c", "1");
    let fs = mount(tar.end());
    assert_eq!((attr(&fs, "a/b").mode, attr(&fs, "a/b").uid), (0o755, 0));
    assert_eq!(attr(&fs, "a").mtime, Timestamp::from_secs(1_000_000_000));
    tar.header(&Header { mode: 0o1700, uid: 7, mtime: 5, ..Header::new(b'5', "a/") });
    let fs = mount(tar.end());
    let a = attr(&fs, "a");
    assert_eq!((a.mode, a.uid, a.mtime.secs, a.nlink), (0o1700, 7, 5, 3));
    assert_eq!(read(&fs, "a/b/c"), "1");
}

#[test]
fn a_member_called_dot_describes_the_root() {
    for name in [".", "./", "/", "a/.."] {
        let fs = mount(Tar::new().header(&Header { mode: 0o711, uid: 3, ..Header::new(b'5', name) }).end());
        let root = fs.root().attr().unwrap();
        assert_eq!((root.mode, root.uid, root.ino, root.nlink), (0o711, 3, 1, 2), "{name}");
    }
    let fs = mount(Tar::new().file(".", "x").end());
    assert_eq!((fs.stats().left_out, fs.root().attr().unwrap().kind), (1, FileType::Dir));
}

#[test]
fn an_archive_without_members_is_an_empty_root() {
    let fs = mount(vec![0; 10_240]);
    assert!(list(&fs.root()).is_empty());
    assert_eq!(fs.root().attr().unwrap().mode, 0o755);
}

#[test]
fn later_members_replace_earlier_ones() {
    let mut tar = Tar::new();
    tar.file("f", "old").file("g", "other").file("f", "new!").symlink("g", "f");
    tar.dir("d", 0o755).file("d", "file over an empty directory");
    tar.file("e", "x").dir("e", 0o700).file("e/in", "y");
    tar.symlink("s", "e").dir("s", 0o750);
    let fs = mount(tar.end());
    assert_eq!(read(&fs, "f"), "new!");
    assert_eq!(attr(&fs, "g").kind, FileType::Symlink);
    assert_eq!(read(&fs, "d"), "file over an empty directory");
    assert_eq!(read(&fs, "e/in"), "y");
    assert_eq!((attr(&fs, "s").kind, attr(&fs, "s").mode), (FileType::Dir, 0o750));
    assert_eq!(fs.root().attr().unwrap().nlink, 4, "e and s");
    assert_eq!(fs.stats().left_out, 0);
    let names: Vec<_> = list(&fs.root()).into_iter().map(|entry| String::from_utf8(entry.0).unwrap()).collect();
    assert_eq!(names, ["f", "g", "d", "e", "s"], "a replaced entry keeps its place");
}

#[test]
fn a_directory_remembered_from_the_last_member_may_have_been_replaced() {
    let mut tar = Tar::new();
    tar.dir("a/b", 0o755).file("a/b", "now a file").file("a/b/c", "blocked").dir("a/b", 0o755).file("a/b/c", "in");
    let fs = mount(tar.end());
    assert_eq!((read(&fs, "a/b/c"), fs.stats().left_out), ("in".to_string(), 1));
}

#[test]
fn what_tar_cannot_extract_is_left_out() {
    let mut tar = Tar::new();
    tar.file("full/x", "1").file("full", "over a full directory").symlink("full", "z").link("full", "full/x");
    tar.file("f", "2").file("f/below", "3");
    tar.link("d2", "full").link("gone", "nowhere").symlink("nothing", "");
    let fs = mount(tar.end());
    assert_eq!(paths(&fs), ["f", "full", "full/x"]);
    assert_eq!(fs.stats().left_out, 7);
}

#[test]
fn a_symbolic_link_on_the_way_is_not_followed() {
    let mut tar = Tar::new();
    tar.dir("usr/bin", 0o755).symlink("bin", "usr/bin").file("bin/sh", "x").symlink("out", "/").file("out/etc", "x");
    let fs = mount(tar.end());
    assert_eq!(paths(&fs), ["bin", "out", "usr", "usr/bin"]);
    assert_eq!(fs.stats().left_out, 2);
}

#[test]
fn hard_links_share_an_inode() {
    let mut tar = Tar::new();
    tar.file("a", "data").link("b", "a").link("d/c", "./b").symlink("s", "a").link("t", "s").link("a", "a");
    let fs = mount(tar.end());
    for path in ["a", "b", "d/c"] {
        assert_eq!((attr(&fs, path).ino, attr(&fs, path).nlink), (attr(&fs, "a").ino, 3));
        assert_eq!(read(&fs, path), "data");
    }
    assert_eq!((attr(&fs, "t").ino, attr(&fs, "t").nlink), (attr(&fs, "s").ino, 2));
}

#[test]
fn a_hard_link_keeps_the_inode_that_a_later_member_replaces() {
    let mut tar = Tar::new();
    tar.file("a", "one").link("b", "a").file("a", "two").link("c", "a").link("a", "b");
    let fs = mount(tar.end());
    assert_eq!([read(&fs, "a"), read(&fs, "b"), read(&fs, "c")], ["one", "one", "two"]);
    assert_eq!([attr(&fs, "a").nlink, attr(&fs, "b").nlink, attr(&fs, "c").nlink], [2, 2, 1]);
}

#[test]
fn a_hard_link_may_come_before_its_target() {
    let mut tar = Tar::new();
    tar.link("z", "y").link("y", "x").link("taken", "x").file("x", "data").file("taken", "mine").link("lost", "never");
    let fs = mount(tar.end());
    assert_eq!([read(&fs, "z"), read(&fs, "y"), read(&fs, "taken")], ["data", "data", "mine"]);
    assert_eq!((attr(&fs, "x").nlink, attr(&fs, "taken").nlink), (3, 1));
    assert_eq!(fs.stats().left_out, 1);
}

#[test]
fn inode_records_of_replaced_members_are_used_again() {
    let mut tar = Tar::new();
    for round in 0..1000 {
        tar.file("f", format!("{round}"));
    }
    let fs = mount(tar.end());
    let stats = fs.stats();
    assert_eq!((stats.inodes, stats.entries, read(&fs, "f")), (2, 1, "999".to_string()));
    assert!(attr(&fs, "f").ino <= 3);
}

#[test]
fn whiteouts_of_image_layers_are_decoded_on_request() {
    let mut tar = Tar::new();
    tar.file("etc/.wh.gone", "").file("opt/.wh..wh..opq", "").file("opt/new", "1").file(".wh..wh.plnk/x", "aufs");
    tar.dir("both", 0o700).file(".wh.both", "").file(".wh.later", "").dir("later", 0o711);
    tar.file(".wh.file", "")
        .file("file", "2")
        .file(".wh.implied", "")
        .file("implied/x", "3")
        .file("k", "")
        .file(".wh.k", "");
    tar.pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"x")]).dir("twice", 0o755).file("twice/.wh..wh..opq", "");
    tar.dir(".wh.wiped/", 0o755);
    let plain = mount(tar.end());
    assert_eq!(read(&plain, "etc/.wh.gone"), "");
    let fs = TarFs::mount(tar.end(), &context(), MountOptions::oci()).unwrap();
    let names =
        ["both", "etc", "etc/gone", "file", "implied", "implied/x", "k", "later", "opt", "opt/new", "twice", "wiped"];
    assert_eq!(paths(&fs), names);
    for path in ["etc/gone", "wiped"] {
        assert!(attr(&fs, path).is_whiteout() && attr(&fs, path).mode == 0, "{path}");
        assert!(matches!(find(&fs, path), Some(Node::Special(_))));
    }
    let opaque = |path| find(&fs, path).unwrap().ops().xattr(b"trusted.overlay.opaque").unwrap();
    for path in ["both", "later", "implied", "opt", "twice"] {
        assert_eq!(opaque(path), Some(b"y".to_vec()), "{path}");
    }
    assert_eq!((opaque("etc"), opaque("file"), attr(&fs, "file").kind), (None, None, FileType::File));
    assert_ne!(plain.uuid(), fs.uuid(), "inode numbers differ, so handles must");
    let message = TarFs::mount(Tar::new().file("a/.wh...", "").end(), &context(), MountOptions::oci()).err().unwrap();
    assert_eq!(message.to_string(), "tar: offset 0: whiteout of an impossible name: \".wh...\"");
}
