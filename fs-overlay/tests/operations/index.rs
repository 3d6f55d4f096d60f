//! Hard links over copy-up (`index=on`).

use std::sync::Arc;

use crate::support::{Detail, Tree, context, ram};
use contract::fault::{Calls, Control, FaultFs};
use fs_overlay::{IndexMode, Layer, Layers, MetacopyMode, MountError, Options, OverlayFs};
use vfs::{DeviceNumber, Errno, FileSystem, NewKind, NewNode, RenameMode, Result, SetAttr};

const ON: Options = Options {
    redirect: fs_overlay::RedirectMode::Create,
    metacopy: MetacopyMode::Follow,
    index: IndexMode::On,
    data_only: 0,
    uuid: fs_overlay::UuidMode::Auto,
    random: None,
    xattrs: fs_overlay::XattrClass::Trusted,
    sync: fs_overlay::SyncMode::Auto,
};

/// A name, and number, links and content of what is there.
type State = (String, Option<(u64, u32, String)>);

struct Rig {
    lower: Arc<dyn FileSystem>,
    disk: Arc<dyn FileSystem>,
    calls: Arc<Control>,
    options: Options,
    fs: Option<Arc<OverlayFs>>,
}

fn mount(
    lower: &Arc<dyn FileSystem>,
    disk: &Arc<dyn FileSystem>,
    options: Options,
) -> Result<Arc<OverlayFs>, MountError> {
    let at = |path: &str| Layer { fs: disk.clone(), root: Tree::of(&**disk).dir(path).unwrap() };
    let layers = Layers { upper: Some(at("u")), work: Some(at("w")), lowers: vec![Layer::of(lower.clone())] };
    OverlayFs::mount(context(), layers, options)
}

impl Rig {
    fn new(options: Options) -> Self {
        let lower: Arc<dyn FileSystem> = ram();
        let tree = Tree::of(&*lower);
        for dir in ["d", "e"] {
            tree.mkdir(dir).unwrap();
        }
        tree.put("d/a", "shared").unwrap();
        tree.link("d/a", "d/b").unwrap();
        tree.link("d/a", "e/c").unwrap();
        tree.put("single", "single").unwrap();
        tree.symlink("link", "target").unwrap();
        tree.link("link", "link2").unwrap();
        let (disk, calls) = FaultFs::new(ram());
        let disk: Arc<dyn FileSystem> = disk;
        let raw = Tree::of(&*disk);
        raw.mkdir("u").unwrap();
        raw.mkdir("w").unwrap();
        let fs = Some(mount(&lower, &disk, options).unwrap());
        Self { lower, disk, calls, options, fs }
    }

    fn tree(&self) -> Tree {
        Tree::of(&**self.fs.as_ref().unwrap())
    }

    fn raw(&self) -> Tree {
        Tree::of(&*self.disk)
    }

    fn remount(&mut self) {
        self.fs.take().unwrap().unmount().unwrap();
        self.fs = Some(mount(&self.lower, &self.disk, self.options).unwrap());
    }

    /// Each name with its number, count of links and content; `None` for what is not there.
    fn state(&self) -> Vec<State> {
        let tree = self.tree();
        let names = ["d/a", "d/b", "e/c", "d/new", "e/new", "e/moved"];
        let tell = |path: &str| {
            let node = tree.find(path).unwrap()?;
            let attr = node.attr().unwrap();
            let listed = tree.names(path.split_once('/').unwrap().0);
            assert!(listed.iter().any(|name| path.ends_with(name)));
            Some((attr.ino, attr.nlink, tree.read(path).unwrap()))
        };
        let state = names.iter().map(|path| ((*path).to_string(), tell(path))).collect();
        tree.dump(crate::support::Detail::Merged);
        state
    }
}

fn told(rig: &Rig, path: &str) -> (u32, String) {
    (rig.tree().get(path).unwrap().attr().unwrap().nlink, rig.tree().read(path).unwrap())
}

#[test]
fn names_of_a_lower_inode_stay_one_file_when_one_is_changed() {
    let mut rig = Rig::new(ON);
    let number = rig.tree().ino("d/a");
    let reader = rig.tree().file("e/c").unwrap();
    rig.tree().append("d/b", "!").unwrap();
    for _ in 0..2 {
        for path in ["d/a", "d/b", "e/c"] {
            assert_eq!(told(&rig, path), (3, "shared!".into()), "{path}");
            assert_eq!(rig.tree().ino(path), number);
        }
        assert_eq!(rig.raw().names("w/index").len(), 1);
        rig.remount();
    }
    let mut seen = [0; 7];
    reader.read_at(0, &mut seen).unwrap();
    assert_eq!(&seen, b"shared!");
    assert!(!rig.raw().has("u/d"), "no directory is copied up for it");
}

#[test]
fn an_index_entry_has_the_format_of_linux() {
    let rig = Rig::new(ON);
    rig.tree().append("d/a", "!").unwrap();
    let raw = rig.raw();
    let [entry] = &raw.names("w/index")[..] else { panic!("one entry") };
    let path = format!("w/index/{entry}");
    let origin = raw.xattr(&path, "trusted.overlay.origin").unwrap();
    let digits: String = origin.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*entry, digits);
    assert_eq!(raw.xattr(&path, "trusted.overlay.nlink").unwrap(), b"U+2");
    assert_eq!(raw.get("w/index").unwrap().attr().unwrap().st_mode(), 0o040_000);
    let upper = raw.xattr("w/index", "trusted.overlay.upper").unwrap();
    assert_eq!(upper[..4], [0, 0xfb, u8::try_from(upper.len()).unwrap(), 4]);
    assert!(raw.xattr("u", "trusted.overlay.origin").is_some());
    rig.tree().unlink("d/b").unwrap();
    assert_eq!(raw.xattr(&path, "trusted.overlay.nlink").unwrap(), b"U+1");
    rig.tree().link("e/c", "e/new").unwrap();
    assert_eq!(raw.xattr(&path, "trusted.overlay.nlink").unwrap(), b"U+1");
    assert_eq!(told(&rig, "d/a").0, 3);
}

#[test]
fn links_are_counted_over_every_change_of_names() {
    for first in [false, true] {
        let mut rig = Rig::new(ON);
        if first {
            rig.tree().append("d/a", "!").unwrap();
        }
        let content = if first { "shared!" } else { "shared" };
        rig.tree().unlink("d/b").unwrap();
        assert_eq!(told(&rig, "d/a"), (2, content.into()));
        rig.tree().link("e/c", "e/new").unwrap();
        assert_eq!(told(&rig, "d/a").0, 3);
        rig.tree().rename("d/a", "e/moved").unwrap();
        assert_eq!(told(&rig, "e/moved").0, 3);
        rig.remount();
        assert_eq!(told(&rig, "e/c"), (3, content.into()));
        assert_eq!(rig.tree().names("e"), ["c", "moved", "new"]);
        assert_eq!(rig.tree().names("d"), [""; 0]);
        rig.tree().rename("single", "e/c").unwrap();
        assert_eq!(told(&rig, "e/new").0, 2);
        rig.tree().rename_with("e/new", "link", RenameMode::Exchange).unwrap();
        assert_eq!(told(&rig, "link").0, 2);
        rig.tree().rename("link", "e/moved").unwrap();
        assert!(rig.tree().has("link"), "two names of one file are not renamed");
        rig.tree().unlink("link").unwrap();
        let open = rig.tree().file("e/moved").unwrap();
        assert_eq!(open.attr().unwrap().nlink, 1);
        let before = rig.raw().names("w/index").len();
        rig.tree().unlink("e/moved").unwrap();
        assert_eq!(rig.raw().names("w/index").len(), before - 1, "the last name takes the copy along");
        assert_eq!(open.attr().unwrap().nlink, 0);
        rig.remount();
        assert_eq!(rig.tree().names("e"), ["c", "new"]);
    }
}

#[test]
fn symbolic_links_with_several_names_are_kept_together() {
    let rig = Rig::new(ON);
    let change = SetAttr { uid: Some(7), ..SetAttr::default() };
    rig.tree().get("link").unwrap().ops().set_attr(&change).unwrap();
    assert_eq!(rig.tree().get("link2").unwrap().attr().unwrap().uid, 7);
}

#[test]
fn a_change_of_attributes_of_several_names_copies_no_data_under_metacopy() {
    let mut rig = Rig::new(Options { metacopy: MetacopyMode::Create, ..ON });
    let change = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    rig.tree().get("d/a").unwrap().ops().set_attr(&change).unwrap();
    rig.tree().unlink("d/b").unwrap();
    rig.tree().rename("e/c", "d/new").unwrap();
    for _ in 0..2 {
        assert_eq!(told(&rig, "d/a"), (2, "shared".into()));
        assert_eq!(told(&rig, "d/new"), (2, "shared".into()));
        assert_eq!(rig.tree().get("d/new").unwrap().attr().unwrap().mode, 0o600);
        let entry = format!("w/index/{}", rig.raw().names("w/index")[0]);
        assert_eq!(rig.raw().xattr(&entry, "trusted.overlay.metacopy").unwrap(), b"");
        rig.remount();
    }
    rig.tree().append("d/new", "!").unwrap();
    rig.remount();
    assert_eq!(told(&rig, "d/a"), (2, "shared!".into()));
}

#[test]
fn an_index_belongs_to_its_layers() {
    let rig = Rig::new(ON);
    rig.fs.as_ref().unwrap().unmount().unwrap();
    let other: Arc<dyn FileSystem> = ram();
    let error = mount(&other, &rig.disk, ON).unwrap_err();
    assert_eq!((error.errno(), error.option()), (Errno::ESTALE, &b"lowerdir"[..]));
    rig.raw().rename("u", "old").unwrap();
    rig.raw().mkdir("u").unwrap();
    let error = mount(&rig.lower, &rig.disk, ON).unwrap_err();
    assert_eq!((error.errno(), error.option()), (Errno::ESTALE, &b"workdir"[..]));
    let layers = Layers {
        upper: Some(Layer { fs: rig.disk.clone(), root: rig.raw().dir("u").unwrap() }),
        work: None,
        lowers: vec![Layer::of(rig.lower.clone())],
    };
    let error = OverlayFs::mount(context(), layers, ON).unwrap_err();
    assert_eq!((error.errno(), error.option()), (Errno::EINVAL, &b"index=on"[..]));
}

#[test]
fn every_failed_call_leaves_names_and_counts_before_or_after() {
    type Operation = (&'static str, fn(&Tree) -> Result<()>);
    let operations: &[Operation] = &[
        ("append", |t| t.append("d/a", "!")),
        ("unlink", |t| t.unlink("d/b")),
        ("link", |t| t.link("e/c", "d/new")),
        ("rename", |t| t.rename("e/c", "d/new")),
        ("rename over", |t| t.rename("single", "e/c")),
        ("exchange", |t| t.exchange("single", "d/a")),
    ];
    for prepared in [false, true] {
        for (title, operation) in operations {
            let ready = || {
                let rig = Rig::new(ON);
                if prepared {
                    rig.tree().append("d/b", "?").unwrap();
                    rig.tree().unlink("d/a").unwrap();
                    rig.tree().link("d/b", "d/a").unwrap();
                }
                rig
            };
            let rig = ready();
            let before = rig.state();
            operation(&rig.tree()).unwrap();
            let after = rig.state();
            for errno in [Errno::EIO, Errno::ENOSPC] {
                for nth in 1.. {
                    let mut rig = ready();
                    rig.calls.reset();
                    rig.calls.fail_nth(Calls::CHANGES | Calls::SYNC, nth, errno);
                    let result = operation(&rig.tree());
                    let is_spent = rig.calls.is_spent();
                    rig.calls.reset();
                    if !is_spent {
                        break;
                    }
                    for _ in 0..2 {
                        let now = rig.state();
                        let is_whole = now == after || (result.is_err() && now == before);
                        assert!(is_whole, "{title}, {errno:?} from call {nth}, {result:?}: {now:#?} after {before:#?}");
                        rig.remount();
                    }
                    if rig.state() != after {
                        operation(&rig.tree()).unwrap();
                        assert_eq!(rig.state(), after, "{title} again after call {nth}");
                    }
                }
            }
        }
    }
}

#[test]
fn threads_on_the_names_of_one_inode_keep_one_file_and_its_count() {
    base::sync::set_relax(std::thread::yield_now);
    for _ in 0..40 {
        let mut rig = Rig::new(ON);
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (rig, barrier) = (&rig, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let tree = rig.tree();
                    match thread {
                        0 => tree.append("d/a", "0").unwrap(),
                        1 => tree.append("e/c", "1").unwrap(),
                        2 => tree.unlink("d/b").unwrap(),
                        _ => (0..5).for_each(|n| tree.link("d/a", &format!("e/l{n}")).unwrap()),
                    }
                });
            }
        });
        for _ in 0..2 {
            let (links, content) = told(&rig, "d/a");
            assert_eq!(links, 7);
            assert_eq!(content.len(), "shared01".len());
            for path in ["e/c", "e/l0", "e/l4"] {
                assert_eq!(told(&rig, path), (links, content.clone()));
            }
            rig.remount();
        }
    }
}

#[test]
fn copies_that_were_made_without_an_index_stay_what_they_are_with_one() {
    let mut rig = Rig::new(Options { index: IndexMode::Off, ..ON });
    rig.tree().link("single", "d/one").unwrap();
    rig.fs.take().unwrap().unmount().unwrap();
    // What was one name has three now.
    let lower = Tree::of(&*rig.lower);
    lower.link("single", "d/two").unwrap();
    lower.link("single", "e/three").unwrap();
    rig.options = ON;
    rig.fs = Some(mount(&rig.lower, &rig.disk, ON).unwrap());
    assert_eq!(rig.tree().ino("single"), rig.tree().ino("d/one"));
    rig.tree().link("d/two", "d/four").unwrap();
    for _ in 0..2 {
        let tree = rig.tree();
        assert_eq!(tree.ino("single"), tree.ino("d/one"));
        assert_eq!([tree.ino("d/two"), tree.ino("e/three")], [tree.ino("d/four"); 2]);
        assert_ne!(tree.ino("single"), tree.ino("d/two"));
        assert_eq!(told(&rig, "single"), (2, "single".into()));
        rig.state();
        rig.remount();
    }
    for path in ["single", "d/one", "d/two", "e/three", "d/four"] {
        rig.tree().unlink(path).unwrap();
    }
    rig.remount();
    rig.state();
    assert_eq!((rig.tree().names("d").len(), rig.tree().names("e").len()), (2, 1));
}

#[test]
fn names_of_a_copy_that_come_and_go_in_the_upper_are_counted_at_the_next_mount() {
    let mut rig = Rig::new(ON);
    rig.tree().append("d/a", "!").unwrap();
    for (from, to) in [("d/a", "d/x"), ("d/b", "d/y"), ("e/c", "e/z")] {
        rig.tree().rename(from, to).unwrap();
    }
    assert_eq!(told(&rig, "d/x").0, 3);
    type Step = (fn(&Tree), u32, &'static str);
    let steps: [Step; 3] = [
        (|raw| raw.unlink("u/d/x").unwrap(), 2, "d/y"),
        (|raw| raw.link("u/d/y", "u/d/more").unwrap(), 3, "d/more"),
        (|raw| raw.rename("u/single", "u/d/y").unwrap(), 2, "e/z"),
    ];
    rig.tree().append("single", "!").unwrap();
    for (step, links, path) in steps {
        rig.fs.take().unwrap().unmount().unwrap();
        step(&rig.raw());
        rig.fs = Some(mount(&rig.lower, &rig.disk, ON).unwrap());
        assert_eq!(told(&rig, path), (links, "shared!".into()));
    }
    rig.fs.take().unwrap().unmount().unwrap();
    rig.raw().unlink("u/d/more").unwrap();
    rig.raw().unlink("u/e/z").unwrap();
    rig.fs = Some(mount(&rig.lower, &rig.disk, ON).unwrap());
    assert_eq!(rig.raw().names("w/index"), [""; 0], "a copy without names goes at the mount");
    rig.state();
}

#[test]
fn names_that_come_beneath_an_index_never_make_a_count_wrap() {
    let beneath: [fn(&Rig); 2] = [
        |rig| {
            let lower = Tree::of(&*rig.lower);
            lower.link("d/a", "d/two").unwrap();
            lower.link("d/a", "d/three").unwrap();
        },
        |rig| {
            let entry = format!("w/index/{}", rig.raw().names("w/index")[0]);
            rig.raw().mkdir("u/d").unwrap_or_default();
            rig.raw().link(&entry, "u/two").unwrap();
            rig.raw().link(&entry, "u/three").unwrap();
        },
    ];
    for meddle in beneath {
        let mut rig = Rig::new(ON);
        rig.tree().append("d/a", "!").unwrap();
        meddle(&rig);
        for path in ["d/two", "d/three", "two", "three"] {
            let _ = rig.tree().unlink(path);
        }
        let _ = rig.tree().link("d/a", "d/four");
        for path in ["d/a", "d/b", "e/c", "d/four"] {
            let links = rig.tree().find(path).unwrap().map(|node| node.attr().unwrap().nlink);
            assert!(links.unwrap_or_default() < 10, "{path}: {links:?}");
            let _ = rig.tree().unlink(path);
        }
        rig.remount();
        rig.state();
    }
}

#[test]
fn numbers_of_every_kind_stay_over_copy_up_move_and_remount_in_nested_overlays() {
    // Each layer is on a filesystem of its own.
    let kinds = |tree: &Tree, dir: &str| {
        tree.mkdir(dir).unwrap();
        let device = DeviceNumber::new(1, 5);
        let kinds = [
            ("file", NewKind::File),
            ("chrdev", NewKind::CharDevice(device)),
            ("blkdev", NewKind::BlockDevice(device)),
            ("fifo", NewKind::Fifo),
            ("socket", NewKind::Socket),
            ("symlink", NewKind::Symlink(b"file")),
        ];
        for (name, kind) in kinds {
            tree.create(&format!("{dir}/{name}"), &NewNode::new(kind, 0o644)).unwrap();
        }
        tree.put(&format!("{dir}/link"), "linked").unwrap();
        tree.link(&format!("{dir}/link"), &format!("{dir}/link2")).unwrap();
    };
    const NAMES: [&str; 8] = ["file", "chrdev", "blkdev", "fifo", "socket", "symlink", "link", "link2"];
    let disk = || -> Arc<dyn FileSystem> {
        let disk = ram();
        for dir in ["u", "w"] {
            Tree::of(&*disk).mkdir(dir).unwrap();
        }
        disk
    };
    let (bottom, middle, top) = (ram(), disk(), disk());
    let bottom: Arc<dyn FileSystem> = bottom;
    kinds(&Tree::of(&*bottom), "lower");
    kinds(&Tree::of(&*middle), "u/upper");
    let nested = || {
        let inner = mount(&bottom, &middle, ON).unwrap();
        let below: Arc<dyn FileSystem> = inner.clone();
        (mount(&below, &top, ON).unwrap(), inner)
    };
    let numbers = |fs: &OverlayFs, dirs: [&str; 2]| {
        let tree = Tree::of(fs);
        tree.dump(Detail::Merged);
        dirs.map(|dir| NAMES.map(|name| tree.ino(&format!("{dir}/{name}"))))
    };
    let (mut outer, mut inner) = nested();
    let dirs = ["lower", "upper"];
    let before = numbers(&outer, dirs);
    let distinct: std::collections::HashSet<_> = before.iter().flatten().collect();
    assert_eq!(distinct.len(), 2 * (NAMES.len() - 1), "the two links are one");
    for dir in dirs {
        for name in &NAMES[..NAMES.len() - 1] {
            let node = Tree::of(&*outer).get(&format!("{dir}/{name}")).unwrap();
            node.ops().set_attr(&SetAttr { uid: Some(100), ..SetAttr::default() }).unwrap();
        }
    }
    assert_eq!(numbers(&outer, dirs), before, "after the copy-up");
    let moved = ["lower2", "upper2"];
    for (from, to) in dirs.into_iter().zip(moved) {
        let tree = Tree::of(&*outer);
        tree.mkdir(to).unwrap();
        for name in NAMES {
            tree.rename(&format!("{from}/{name}"), &format!("{to}/{name}")).unwrap();
        }
    }
    for _ in 0..2 {
        assert_eq!(numbers(&outer, moved), before, "after the move");
        outer.unmount().unwrap();
        inner.unmount().unwrap();
        drop((outer, inner));
        (outer, inner) = nested();
    }
}
