//! Copies of attributes without data, data-only layers.

use std::sync::Arc;

use crate::support::{Detail, OLD, Tree, overlay_with, ram};
use contract::fault::{Calls, FaultFs};
use fs_overlay::{MetacopyMode, Options, OverlayFs};
use vfs::{Errno, FileSystem, OpenIntent, SetAttr, SetTime, Timestamp};

const METACOPY: &str = "trusted.overlay.metacopy";
const REDIRECT: &str = "trusted.overlay.redirect";
const CREATE: Options = Options { metacopy: MetacopyMode::Create, ..DEFAULT };
const DEFAULT: Options = Options {
    redirect: fs_overlay::RedirectMode::Create,
    metacopy: MetacopyMode::Follow,
    index: fs_overlay::IndexMode::Off,
    data_only: 0,
    uuid: fs_overlay::UuidMode::Auto,
    random: None,
    xattrs: fs_overlay::XattrClass::Trusted,
    sync: fs_overlay::SyncMode::Auto,
};

struct Rig {
    lowers: Vec<Arc<dyn FileSystem>>,
    upper: Arc<dyn FileSystem>,
    fs: Arc<OverlayFs>,
    options: Options,
}

impl Rig {
    fn new(options: Options, layers: &[&dyn Fn(&Tree)]) -> Self {
        let build = |build: &&dyn Fn(&Tree)| -> Arc<dyn FileSystem> {
            let layer = ram();
            build(&Tree::of(&*layer));
            layer
        };
        let lowers: Vec<_> = layers.iter().map(build).collect();
        let upper: Arc<dyn FileSystem> = ram();
        let fs = overlay_with(&upper, &lowers, options);
        Self { lowers, upper, fs, options }
    }

    fn tree(&self) -> Tree {
        Tree::of(&*self.fs)
    }

    fn raw(&self) -> Tree {
        Tree::of(&*self.upper)
    }

    fn remount(&mut self, options: Options) {
        self.fs.unmount().unwrap();
        self.options = options;
        self.fs = overlay_with(&self.upper, &self.lowers, options);
    }
}

fn chmod(tree: &Tree, path: &str, mode: u16) {
    tree.get(path).unwrap().ops().set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }).unwrap();
}

fn lower(tree: &Tree) {
    tree.mkdir("d").unwrap();
    tree.put("d/f", &"content ".repeat(40_000)).unwrap();
    let old = SetAttr { mtime: Some(SetTime::At(OLD)), ..SetAttr::default() };
    tree.get("d/f").unwrap().ops().set_attr(&old).unwrap();
}

#[test]
fn a_change_of_attributes_copies_no_data_under_metacopy() {
    let (inner, calls) = FaultFs::new(ram());
    lower(&Tree::of(&*inner));
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay_with(&upper, &[inner], CREATE);
    let tree = Tree::of(&*fs);
    let before = tree.get("d/f").unwrap().attr().unwrap();
    calls.reset();
    chmod(&tree, "d/f", 0o640);
    tree.set_xattr("d/f", "user.a", b"1").unwrap();
    assert_eq!(calls.count(Calls::READ), 0, "data was read");
    let raw = Tree::of(&*upper).get("d/f").unwrap().attr().unwrap();
    assert_eq!((raw.size, raw.blocks), (before.size, 0));
    assert_eq!(Tree::of(&*upper).xattr("d/f", METACOPY).unwrap(), b"");
    let after = tree.get("d/f").unwrap().attr().unwrap();
    assert_eq!((after.ino, after.size, after.blocks, after.mtime), (before.ino, before.size, before.blocks, OLD));
    assert_eq!(after.mode, 0o640);
    assert_eq!(tree.read("d/f").unwrap().len(), 320_000);
}

#[test]
fn the_first_write_makes_the_file_whole_in_place() {
    for remounted in [false, true] {
        let mut rig = Rig::new(CREATE, &[&lower]);
        let reader = rig.tree().file("d/f").unwrap();
        chmod(&rig.tree(), "d/f", 0o600);
        if remounted {
            rig.remount(DEFAULT);
        }
        let number = rig.tree().ino("d/f");
        let raw = rig.raw().ino("d/f");
        let file = rig.tree().file("d/f").unwrap();
        file.prepare_open(OpenIntent::Write).unwrap();
        assert_eq!(rig.raw().xattr("d/f", METACOPY), None);
        assert_eq!(rig.tree().get("d/f").unwrap().attr().unwrap().mtime, OLD, "opening changes no time");
        file.write_at(0, b"CONTENT").unwrap();
        assert!(rig.tree().read("d/f").unwrap().starts_with("CONTENT content "));
        assert_eq!(rig.raw().read("d/f").unwrap().len(), 320_000);
        assert_eq!((rig.tree().ino("d/f"), rig.raw().ino("d/f")), (number, raw));
        if !remounted {
            let mut seen = [0; 7];
            reader.read_at(0, &mut seen).unwrap();
            assert_eq!(&seen, b"CONTENT");
        }
    }
}

#[test]
fn truncation_of_a_file_without_data_copies_what_stays() {
    for (len, copied) in [(0, 0), (5, 5), (400_000, 320_000)] {
        let rig = Rig::new(CREATE, &[&lower]);
        chmod(&rig.tree(), "d/f", 0o600);
        rig.tree().file("d/f").unwrap().set_len(len).unwrap();
        let read = rig.tree().read("d/f").unwrap();
        assert_eq!(read.len() as u64, len);
        assert_eq!(read.bytes().filter(|&byte| byte != 0).count(), copied);
        assert_eq!(rig.raw().read("d/f").unwrap(), read);
        assert_eq!(rig.raw().xattr("d/f", METACOPY), None);
    }
    let rig = Rig::new(CREATE, &[&lower]);
    chmod(&rig.tree(), "d/f", 0o600);
    rig.tree().put("d/f", "new").unwrap();
    assert_eq!(rig.raw().read("d/f").unwrap(), "new");
}

#[test]
fn a_file_without_data_is_renamed_by_a_redirect_and_found_after_a_remount() {
    let mut rig = Rig::new(
        CREATE,
        &[&|t| {
            lower(t);
            t.link("d/f", "d/linked").unwrap();
            t.mkdir("e").unwrap();
            t.put("d/g", "g").unwrap();
        }],
    );
    rig.tree().rename("d/g", "d/h").unwrap();
    assert_eq!(rig.raw().xattr("d/h", REDIRECT).unwrap(), b"g");
    rig.tree().rename("d/h", "e/h").unwrap();
    assert_eq!(rig.raw().xattr("e/h", REDIRECT).unwrap(), b"/d/g");
    rig.tree().rename("d/f", "d/f2").unwrap();
    assert_eq!(rig.raw().xattr("d/f2", REDIRECT).unwrap(), b"/d/f", "other names share it");
    rig.tree().rename("d", "e/d").unwrap();
    for _ in 0..2 {
        assert_eq!(rig.raw().xattr("e/h", METACOPY).unwrap(), b"");
        assert_eq!(rig.tree().read("e/h").unwrap(), "g");
        assert_eq!(rig.tree().read("e/d/f2").unwrap().len(), 320_000);
        rig.remount(DEFAULT);
    }
    rig.tree().append("e/h", "!").unwrap();
    rig.tree().link("e/d/f2", "e/d/f3").unwrap();
    rig.remount(DEFAULT);
    assert_eq!(rig.tree().read("e/h").unwrap(), "g!");
    assert_eq!(rig.tree().read("e/d/f3").unwrap().len(), 320_000);
}

#[test]
fn lower_layers_can_have_files_without_data() {
    let attributes = |t: &Tree, path: &str, redirect: Option<&str>| {
        t.put(path, "").unwrap();
        t.file(path).unwrap().set_len(3).unwrap();
        chmod(t, path, 0o600);
        t.set_xattr(path, METACOPY, b"").unwrap();
        if let Some(redirect) = redirect {
            t.set_xattr(path, REDIRECT, redirect.as_bytes()).unwrap();
        }
    };
    let rig = Rig::new(
        DEFAULT,
        &[
            &|t| {
                attributes(t, "f", None);
                attributes(t, "g", Some("g2"));
                attributes(t, "gone", None);
                attributes(t, "hidden", None);
                t.put("whole", "top").unwrap();
            },
            &|t| {
                attributes(t, "f", Some("/d/f2"));
                attributes(t, "g2", None);
                t.whiteout("hidden");
                attributes(t, "whole", None);
            },
            &|t| {
                t.mkdir("d").unwrap();
                t.put("d/f2", "ff").unwrap();
                t.put("g2", "ggg").unwrap();
                t.put("hidden", "h").unwrap();
                t.put("f", "wrong").unwrap();
            },
        ],
    );
    let tree = rig.tree();
    assert_eq!(tree.read("f").unwrap(), "ff");
    assert_eq!(tree.get("f").unwrap().attr().unwrap().size, 2, "the size is that of the data");
    assert_eq!(tree.read("g").unwrap(), "ggg");
    assert_eq!(tree.read("whole").unwrap(), "top");
    for lost in ["gone", "hidden"] {
        let file = tree.file(lost).unwrap();
        assert_eq!(file.read_at(0, &mut [0; 3]).unwrap_err(), Errno::EIO, "{lost}");
        assert_eq!(file.prepare_open(OpenIntent::Write).unwrap_err(), Errno::EIO, "{lost}");
    }
    tree.put("gone", "back").unwrap();
    assert_eq!(tree.read("gone").unwrap(), "back");
    tree.unlink("hidden").unwrap();
    tree.append("f", "!").unwrap();
    assert_eq!(rig.raw().read("f").unwrap(), "ff!");
    chmod(&tree, "g", 0o644);
    assert_eq!(rig.raw().read("g").unwrap(), "ggg");
}

#[test]
fn metacopy_off_refuses_files_whose_data_is_elsewhere() {
    let mut rig = Rig::new(CREATE, &[&lower]);
    chmod(&rig.tree(), "d/f", 0o600);
    rig.remount(Options { metacopy: MetacopyMode::Refuse, ..DEFAULT });
    assert_eq!(rig.tree().find("d/f").unwrap_err(), Errno::EPERM);
    rig.tree().put("d/other", "whole").unwrap();
    assert!(rig.tree().names("d").contains(&"f".into()), "one entry does not hide its directory");
    rig.remount(DEFAULT);
    rig.raw().set_xattr("d/f", METACOPY, b"broken").unwrap();
    assert_eq!(rig.tree().find("d/f").unwrap_err(), Errno::EIO);
}

#[test]
fn a_time_that_is_set_while_a_file_becomes_whole_stays() {
    const LATER: Timestamp = Timestamp { secs: 1_600_000_000, nanos: 7 };
    for _ in 0..50 {
        let rig = Rig::new(
            CREATE,
            &[&|t| {
                t.put("f", "").unwrap();
                t.file("f").unwrap().write_at(0, &[b'x'; 1 << 19]).unwrap();
            }],
        );
        let tree = rig.tree();
        chmod(&tree, "f", 0o600);
        let file = tree.file("f").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| file.prepare_open(OpenIntent::Write).unwrap());
            let change = SetAttr { mtime: Some(SetTime::At(LATER)), ..SetAttr::default() };
            scope.spawn(move || tree.get("f").unwrap().ops().set_attr(&change).unwrap());
        });
        assert_eq!(file.attr().unwrap().mtime, LATER);
    }
}

#[test]
fn a_data_only_layer_gives_data_and_no_names() {
    let top = |t: &Tree| {
        for (path, redirect) in [("a", "/blobs/1"), ("b", "/blobs/2"), ("c", "/blobs/3"), ("d", "blobs")] {
            t.put(path, "").unwrap();
            t.set_xattr(path, METACOPY, b"").unwrap();
            t.set_xattr(path, REDIRECT, redirect.as_bytes()).unwrap();
        }
    };
    let data = |t: &Tree, items: &[(&str, &str)]| {
        t.mkdir("blobs").unwrap();
        for (name, content) in items {
            t.put(&format!("blobs/{name}"), content).unwrap();
        }
    };
    let options = Options { data_only: 2, ..DEFAULT };
    let rig = Rig::new(
        options,
        &[&top, &|t| data(t, &[("1", "one")]), &|t| {
            data(t, &[("1", "hidden"), ("2", "two")]);
            t.put("d", "not by name").unwrap();
            t.put("seen", "").unwrap();
        }],
    );
    let tree = rig.tree();
    assert_eq!(tree.names(""), ["a", "b", "c", "d"]);
    assert_eq!((tree.read("a").unwrap(), tree.read("b").unwrap()), ("one".into(), "two".into()));
    for missing in ["c", "d"] {
        assert_eq!(tree.file(missing).unwrap().read_at(0, &mut [0; 1]).unwrap_err(), Errno::EIO);
    }
    tree.rename("a", "moved").unwrap();
    tree.append("b", "!").unwrap();
    assert_eq!((tree.read("moved").unwrap(), tree.read("b").unwrap()), ("one".into(), "two!".into()));
}

#[test]
fn a_data_only_layer_is_followed_into_whatever_the_options_say_but_no_other() {
    let refuse = Options { metacopy: MetacopyMode::Refuse, redirect: fs_overlay::RedirectMode::Refuse, ..DEFAULT };
    let user = Options { xattrs: fs_overlay::XattrClass::User, ..refuse };
    for (options, class) in [(refuse, "trusted"), (user, "user")] {
        let top = |t: &Tree| {
            t.put("a", "").unwrap();
            t.set_xattr("a", &format!("{class}.overlay.metacopy"), b"").unwrap();
            t.set_xattr("a", &format!("{class}.overlay.redirect"), b"/blob").unwrap();
        };
        let data = |t: &Tree| t.put("blob", "data").unwrap();
        let mut rig = Rig::new(Options { data_only: 1, ..options }, &[&top, &data]);
        for _ in 0..2 {
            assert_eq!(rig.tree().read("a").unwrap(), "data");
            rig.remount(rig.options);
        }
        chmod(&rig.tree(), "a", 0o400);
        rig.remount(rig.options);
        assert_eq!((rig.tree().read("a").unwrap(), rig.raw().read("a").unwrap()), ("data".into(), "data".into()));
        // With another layer between, and where it is no data-only one.
        let rig = Rig::new(Options { data_only: 1, ..options }, &[&top, &|_| {}, &data]);
        assert_eq!(rig.tree().find("a").unwrap_err(), Errno::EPERM);
        let rig = Rig::new(options, &[&top, &data]);
        assert_eq!(rig.tree().find("a").unwrap_err(), Errno::EPERM);
    }
}

#[test]
fn a_failure_while_a_file_becomes_whole_leaves_it_as_it_was() {
    for errno in [Errno::EIO, Errno::ENOSPC] {
        for nth in 1.. {
            let below: Arc<dyn FileSystem> = ram();
            lower(&Tree::of(&*below));
            let (upper, calls) = FaultFs::new(ram());
            let upper: Arc<dyn FileSystem> = upper;
            let fs = overlay_with(&upper, std::slice::from_ref(&below), CREATE);
            let tree = Tree::of(&*fs);
            chmod(&tree, "d/f", 0o600);
            let before = tree.dump(Detail::Merged);
            calls.reset();
            calls.fail_nth(Calls::CHANGES | Calls::SYNC | Calls::READS, nth, errno);
            let result = tree.file("d/f").and_then(|file| file.prepare_open(OpenIntent::Write));
            let is_spent = calls.is_spent();
            calls.reset();
            if !is_spent {
                assert!(nth > 5);
                break;
            }
            assert_eq!(tree.dump(Detail::Merged), before, "call {nth}");
            if result.is_err() {
                assert_eq!(Tree::of(&*upper).get("d/f").unwrap().attr().unwrap().blocks, 0, "call {nth}");
                tree.append("d/f", "!").unwrap();
                assert_eq!(Tree::of(&*upper).read("d/f").unwrap().len(), 320_001);
            }
        }
    }
}
