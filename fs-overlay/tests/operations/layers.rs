//! What lookup makes of layers: whiteouts, opaque directories, redirects, and faults.

use std::sync::Arc;

use crate::support::{Detail, Rig, Tree, context, name, overlay, overlay_with, ram};
use contract::fault::{Calls, FaultFs};
use fs_overlay::{Layer, Layers, MountError, Options, OverlayFs, RedirectMode, SyncMode, UuidMode};
use vfs::{Errno, FileSystem, NewKind, NewNode, Node};

const OPAQUE: &str = "trusted.overlay.opaque";
const REDIRECT: &str = "trusted.overlay.redirect";

/// An overlay without an upper over these layers, topmost first.
fn stack(layers: &[&dyn Fn(&Tree)]) -> (Arc<OverlayFs>, Tree) {
    stack_with(layers, Options::default())
}

fn stack_with(layers: &[&dyn Fn(&Tree)], options: Options) -> (Arc<OverlayFs>, Tree) {
    let lowers = layers.iter().map(|build| {
        let fs = ram();
        build(&Tree::of(&*fs));
        Layer::of(fs)
    });
    let layers = Layers { lowers: lowers.collect(), ..Layers::default() };
    let fs = OverlayFs::mount(context(), layers, options).unwrap();
    let tree = Tree::of(&*fs);
    (fs, tree)
}

fn put(tree: &Tree, path: &str) {
    let mut at = 0;
    while let Some(slash) = path[at..].find('/') {
        at += slash;
        if !tree.has(&path[..at]) {
            tree.mkdir(&path[..at]).unwrap();
        }
        at += 1;
    }
    tree.put(path, path).unwrap();
}

#[test]
fn directories_of_all_layers_merge_and_the_topmost_leaf_is_seen() {
    let (_fs, tree) = stack(&[&|t| put(t, "d/top"), &|t| put(t, "d/middle"), &|t| {
        put(t, "d/bottom");
        put(t, "d/top/not");
    }]);
    assert_eq!(tree.names("d"), ["bottom", "middle", "top"]);
    assert_eq!(tree.read("d/top").unwrap(), "d/top");
    assert_eq!(tree.layer("d/middle"), "lower1");
    assert_eq!(tree.layer("d"), "lower0");
    assert_eq!(tree.get("d").unwrap().attr().unwrap().nlink, 1);
    assert_eq!(tree.find("d/top/not").unwrap_err(), Errno::ENOTDIR);
}

#[test]
fn a_leaf_stops_the_merge_of_directories() {
    let (_fs, tree) = stack(&[&|t| put(t, "d/a"), &|t| put(t, "d"), &|t| put(t, "d/b")]);
    assert_eq!(tree.names("d"), ["a"]);
}

#[test]
fn a_whiteout_hides_what_is_below_and_nothing_above() {
    let (_fs, tree) = stack(&[
        &|t| t.mkdir("d").unwrap(),
        &|t| {
            put(t, "d/kept");
            t.whiteout("d/gone");
            t.whiteout("f");
        },
        &|t| {
            put(t, "d/gone");
            put(t, "d/kept");
            put(t, "f");
        },
    ]);
    assert_eq!(tree.names(""), ["d"]);
    assert_eq!(tree.names("d"), ["kept"]);
    assert!(!tree.has("f"));
}

#[test]
fn an_opaque_directory_hides_what_is_below() {
    let (_fs, tree) = stack(&[
        &|t| t.mkdir("d").unwrap(),
        &|t| {
            put(t, "d/a");
            t.set_xattr("d", OPAQUE, b"y").unwrap();
        },
        &|t| put(t, "d/b"),
    ]);
    assert_eq!(tree.names("d"), ["a"]);
}

#[test]
fn a_directory_that_is_opaque_in_a_lower_layer_is_not_so_in_its_copy() {
    let (middle, bottom): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram());
    put(&Tree::of(&*bottom), "d/hidden");
    let lower = overlay(&middle, std::slice::from_ref(&bottom));
    let tree = Tree::of(&*lower);
    tree.unlink("d/hidden").unwrap();
    tree.rmdir("d").unwrap();
    put(&tree, "d/seen");
    lower.unmount().unwrap();
    drop((tree, lower));
    assert_eq!(Tree::of(&*middle).xattr("d", OPAQUE).unwrap(), b"y");

    let (upper, lowers): (Arc<dyn FileSystem>, _) = (ram(), [middle, bottom]);
    let fs = overlay(&upper, &lowers);
    put(&Tree::of(&*fs), "d/new");
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(Tree::of(&*upper).xattr("d", OPAQUE), None);
    assert_eq!(Tree::of(&*overlay(&upper, &lowers)).names("d"), ["new", "seen"]);
}

#[test]
fn whiteouts_by_extended_attribute_are_read_where_the_directory_says_so() {
    let build = |t: &Tree| {
        for dir in ["said", "unsaid"] {
            t.mkdir(dir).unwrap();
            for file in ["gone", "kept"] {
                let path = format!("{dir}/{file}");
                t.create(&path, &NewNode::new(NewKind::File, 0)).unwrap();
            }
            t.set_xattr(&format!("{dir}/gone"), "trusted.overlay.whiteout", b"").unwrap();
        }
        t.set_xattr("said", OPAQUE, b"x").unwrap();
    };
    let below = |t: &Tree| {
        put(t, "said/gone");
        put(t, "said/other");
        put(t, "unsaid/gone");
    };
    let (_fs, tree) = stack(&[&build, &below]);
    assert_eq!(tree.names("said"), ["kept", "other"]);
    assert_eq!(tree.names("unsaid"), ["gone", "kept"]);
    let (_fs, tree) = stack(&[&build]);
    assert_eq!(tree.names("said"), ["kept"]);
}

#[test]
fn a_redirect_leads_to_another_name_or_path() {
    let (_fs, tree) = stack(&[
        &|t| {
            put(t, "sibling/top");
            t.set_xattr("sibling", REDIRECT, b"old").unwrap();
            put(t, "deep/er/top");
            t.set_xattr("deep/er", REDIRECT, b"/x/y").unwrap();
        },
        &|t| put(t, "old/in-old"),
        &|t| {
            put(t, "old/in-old-too");
            put(t, "x/y/in-y");
            put(t, "sibling/hidden");
        },
    ]);
    assert_eq!(tree.names("sibling"), ["in-old", "in-old-too", "top"]);
    assert_eq!(tree.names("deep/er"), ["in-y", "top"]);
}

#[test]
fn redirects_of_lower_layers_are_followed_in_turn() {
    let (_fs, tree) = stack(&[
        &|t| {
            put(t, "c/1");
            t.set_xattr("c", REDIRECT, b"/p/b").unwrap();
        },
        &|t| {
            put(t, "p/b/2");
            t.set_xattr("p/b", REDIRECT, b"a").unwrap();
            t.set_xattr("p", REDIRECT, b"/q").unwrap();
        },
        &|t| put(t, "q/a/3"),
        &|t| put(t, "q/a/4"),
    ]);
    assert_eq!(tree.names("c"), ["1", "2", "3", "4"]);
}

#[test]
fn an_absolute_redirect_resumes_below_an_opaque_ancestor() {
    let (_fs, tree) = stack(&[
        &|t| {
            put(t, "new/d/1");
            t.set_xattr("new", OPAQUE, b"y").unwrap();
            t.set_xattr("new/d", REDIRECT, b"/old/d").unwrap();
        },
        &|t| {
            put(t, "old/d/2");
            put(t, "new/hidden");
        },
    ]);
    assert_eq!(tree.names("new"), ["d"]);
    assert_eq!(tree.names("new/d"), ["1", "2"]);
}

#[test]
fn an_opaque_ancestor_on_the_way_of_a_redirect_hides_the_layers_below_it() {
    let (_fs, tree) = stack(&[
        &|t| {
            put(t, "d/1");
            t.set_xattr("d", REDIRECT, b"/old/d").unwrap();
        },
        &|t| {
            put(t, "old/d/2");
            t.set_xattr("old", OPAQUE, b"y").unwrap();
        },
        &|t| put(t, "old/d/3"),
    ]);
    assert_eq!(tree.names("d"), ["1", "2"]);
}

#[test]
fn a_broken_redirect_is_an_error_and_not_an_empty_directory() {
    for bad in [&b""[..], b"a/b", b"/", b"//x", b"/x/", b"/../etc", b"..", b"x\0y"] {
        let (_fs, tree) = stack(&[
            &|t| {
                t.mkdir("d").unwrap();
                t.set_xattr("d", REDIRECT, bad).unwrap();
            },
            &|t| put(t, "x"),
        ]);
        assert_eq!(tree.find("d").unwrap_err(), Errno::EINVAL, "{}", bad.escape_ascii());
    }
}

#[test]
fn redirects_that_lead_in_a_circle_or_nowhere_end() {
    let (_fs, tree) = stack(&[
        &|t| {
            put(t, "a/1");
            t.set_xattr("a", REDIRECT, b"/a/a/a/a").unwrap();
        },
        &|t| {
            put(t, "a/a/a/a/2");
            for dir in ["a", "a/a", "a/a/a", "a/a/a/a"] {
                t.set_xattr(dir, REDIRECT, b"/a/a/a/a").unwrap();
            }
        },
        &|t| put(t, "b"),
    ]);
    assert!(tree.names("a").contains(&"1".to_string()));
}

#[test]
fn nofollow_refuses_what_a_redirect_leads_to() {
    let options = Options { redirect: RedirectMode::Refuse, ..Options::default() };
    let build = |t: &Tree| {
        put(t, "d/1");
        t.set_xattr("d", REDIRECT, b"old").unwrap();
    };
    let (_fs, tree) = stack_with(&[&build, &|t| put(t, "old/2")], options);
    assert_eq!(tree.find("d").unwrap_err(), Errno::EPERM);
}

#[test]
fn an_error_of_a_layer_is_never_absence() {
    let top = ram();
    put(&Tree::of(&*top), "d/a");
    let bottom = ram();
    put(&Tree::of(&*bottom), "d/b");
    let (top, top_control) = FaultFs::new(top);
    let (bottom, bottom_control) = FaultFs::new(bottom);
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[top, bottom]);
    let tree = Tree::of(&*fs);
    for control in [&top_control, &bottom_control] {
        for errno in [Errno::EIO, Errno::EUCLEAN, Errno::ENOMEM] {
            control.fail_from(Calls::READS, 1, errno);
            assert_eq!(tree.0.lookup(name("d")).unwrap_err(), errno);
            assert_eq!(tree.0.lookup(name("absent")).unwrap_err(), errno);
            assert_eq!(tree.0.read_dir(vfs::Cookie::START, &mut |_: &vfs::DirEntry<'_>| panic!()).unwrap_err(), errno);
            assert_eq!(tree.mkdir("absent").unwrap_err(), errno);
            control.heal();
        }
    }
    assert_eq!(tree.names("d"), ["a", "b"]);
    assert_eq!(tree.names(""), ["d"]);
}

#[test]
fn a_name_too_long_for_a_layer_is_absent_there() {
    let (top, control) = FaultFs::new(ram());
    let bottom = ram();
    put(&Tree::of(&*bottom), "f");
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[top, bottom]);
    control.fail_from(Calls::LOOKUP, 1, Errno::ENAMETOOLONG);
    assert!(Tree::of(&*fs).has("f"));
    assert!(!Tree::of(&*fs).has("g"));
}

#[test]
fn every_read_fault_is_reported_and_leaves_nothing_wrong() {
    let build = |t: &Tree| {
        put(t, "d/f");
        put(t, "d/e/g");
    };
    for nth in 1.. {
        let lower = ram();
        build(&Tree::of(&*lower));
        let (lower, control) = FaultFs::new(lower);
        let upper: Arc<dyn FileSystem> = ram();
        let fs = overlay(&upper, &[lower]);
        let tree = Tree::of(&*fs);
        control.fail_nth(Calls::READS, nth, Errno::EIO);
        let result = tree.append("d/e/g", "!").and_then(|()| tree.rename("d/e", "e"));
        let spent = control.is_spent();
        control.heal();
        if let Err(error) = &result {
            assert!(spent && *error == Errno::EIO, "{error}");
        }
        assert_eq!(tree.names("d"), if tree.has("e") { vec!["f"] } else { vec!["e", "f"] });
        if !spent {
            assert_eq!(tree.read("e/g").unwrap(), "d/e/g!");
            break;
        }
    }
}

#[test]
fn five_hundred_lower_layers_work() {
    let mut lowers: Vec<Arc<dyn FileSystem>> = Vec::new();
    for layer in 0..500 {
        let fs = ram();
        put(&Tree::of(&*fs), &format!("d/{layer}"));
        lowers.push(fs);
    }
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &lowers);
    let tree = Tree::of(&*fs);
    assert_eq!(tree.names("d").len(), 500);
    assert_eq!(tree.layer("d/499"), "lower499");
    assert!(!tree.has("d/500"));
    tree.append("d/499", "!").unwrap();
    tree.rename("d", "e").unwrap();
    assert_eq!(tree.names("e").len(), 500);
    assert_eq!(tree.read("e/499").unwrap(), "d/499!");
}

#[test]
fn a_layer_inside_another_is_a_loop() {
    let fs: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*fs);
    put(&tree, "a/b/c");
    put(&tree, "u/f");
    let layer = |path: &str| Layer { fs: fs.clone(), root: tree.dir(path).unwrap() };
    let layers = Layers { upper: Some(layer("u")), work: None, lowers: vec![layer(""), layer("a/b")] };
    let overlay = OverlayFs::mount(context(), layers, Options::default()).unwrap();
    let merged = Tree::of(&*overlay);
    assert_eq!(merged.find("u").unwrap_err(), Errno::ELOOP);
    assert_eq!(merged.find("a/b").unwrap_err(), Errno::ELOOP);
    assert_eq!(merged.read("c").unwrap(), "a/b/c");
}

fn mount(layers: Layers, options: Options) -> Result<Arc<OverlayFs>, MountError> {
    OverlayFs::mount(context(), layers, options)
}

#[test]
fn a_mount_that_cannot_be_names_the_option() {
    let refused = |layers: Layers| {
        let error = mount(layers, Options::default()).unwrap_err();
        (error.errno(), String::from_utf8(error.option().to_vec()).unwrap(), error.reason())
    };
    let (a, b): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram());
    let (la, lb) = (Layer::of(a.clone()), Layer::of(b.clone()));
    let none = Layers::default();
    assert_eq!(refused(none.clone()), (Errno::EINVAL, "lowerdir".into(), "missing"));

    let twice = Layers { lowers: vec![la.clone(), la.clone()], ..none.clone() };
    assert_eq!(refused(twice).0, Errno::ELOOP);
    let same = Layers { upper: Some(la.clone()), lowers: vec![la.clone()], ..none.clone() };
    assert_eq!(refused(same), (Errno::ELOOP, "lowerdir".into(), "a directory that is another layer already"));
    let work = Layers { upper: Some(la.clone()), work: Some(lb.clone()), lowers: vec![lb.clone()] };
    assert_eq!(refused(work), (Errno::EINVAL, "workdir".into(), "not on the filesystem of upperdir"));
    let many = Layers { lowers: vec![la.clone(); 501], ..none.clone() };
    assert_eq!(refused(many).2, "too many lower layers, the limit is 500");

    let inner = mount(Layers { upper: Some(la.clone()), lowers: vec![lb.clone()], ..none.clone() }, Options::default());
    let inner = inner.unwrap();
    let busy = Layers { upper: Some(la.clone()), lowers: vec![lb.clone()], ..none.clone() };
    assert_eq!(refused(busy.clone()), (Errno::EBUSY, "upperdir".into(), "in use by another overlay"));
    let over = Layer::of(inner.clone());
    let no_upper = Layers { upper: Some(over.clone()), lowers: vec![lb.clone()], ..none.clone() };
    assert_eq!(refused(no_upper), (Errno::EINVAL, "upperdir".into(), "its filesystem cannot hold an upper layer"));
    let second = mount(Layers { lowers: vec![over], ..none.clone() }, Options::default()).unwrap();
    let third = Layers { lowers: vec![Layer::of(second)], ..none.clone() };
    assert_eq!(refused(third), (Errno::EINVAL, "lowerdir".into(), "overlays nested deeper than two"));

    let (disk, other): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram());
    for dir in ["u1", "u2", "w"] {
        Tree::of(&*disk).mkdir(dir).unwrap();
    }
    let at = |dir: &str| Some(Layer { fs: disk.clone(), root: Tree::of(&*disk).dir(dir).unwrap() });
    let with_work = |upper| Layers { upper: at(upper), work: at("w"), lowers: vec![Layer::of(other.clone())] };
    let _first = mount(with_work("u1"), Options::default()).unwrap();
    assert_eq!(refused(with_work("u2")), (Errno::EBUSY, "workdir".into(), "in use by another overlay"));

    inner.unmount().unwrap();
    drop(inner);
    mount(busy, Options::default()).unwrap();
    let volatile = Options { sync: SyncMode::Volatile, ..Options::default() };
    mount(Layers { lowers: vec![lb], ..none }, volatile).unwrap();
}

#[test]
fn the_work_directory_is_made_and_a_volatile_one_refused_later() {
    let fs: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*fs);
    tree.mkdir("upper").unwrap();
    tree.mkdir("work").unwrap();
    let lower: Arc<dyn FileSystem> = ram();
    let layers = || Layers {
        upper: Some(Layer { fs: fs.clone(), root: tree.dir("upper").unwrap() }),
        work: Some(Layer { fs: fs.clone(), root: tree.dir("work").unwrap() }),
        lowers: vec![Layer::of(lower.clone())],
    };
    for _ in 0..2 {
        let overlay = mount(layers(), Options::default()).unwrap();
        assert_eq!(tree.get("work/work").unwrap().attr().unwrap().st_mode(), 0o040_000);
        Tree::of(&*overlay).put("f", "f").unwrap();
        assert!(tree.names("work/work").is_empty());
    }
    let volatile = Options { sync: SyncMode::Volatile, ..Options::default() };
    drop(mount(layers(), volatile).unwrap());
    assert!(tree.has("work/work/incompat/volatile/dirty"));
    for options in [Options::default(), volatile] {
        let error = mount(layers(), options).unwrap_err();
        assert_eq!((error.errno(), error.option()), (Errno::EINVAL, &b"workdir"[..]));
    }
}

#[test]
fn statfs_is_the_uppers_with_the_overlays_type() {
    let rig = Rig::new(|_| {});
    let stat = rig.fs.statfs().unwrap();
    assert_eq!(stat.magic, 0x794c_7630);
    assert_eq!(stat.id, rig.upper.statfs().unwrap().id);
    assert_eq!(rig.fs.type_name(), "overlay");
    assert!(!rig.fs.is_read_only());
}

#[test]
fn a_new_upper_gets_a_uuid_and_keeps_it() {
    const UUID: &str = "trusted.overlay.uuid";
    let mount = |upper: &Arc<dyn FileSystem>, uuid, random| {
        let fs = overlay_with(upper, &[ram()], Options { uuid, random, ..Options::default() });
        let id = fs.statfs().unwrap().id;
        fs.unmount().unwrap();
        (id, Tree::of(&**upper).xattr("", UUID))
    };
    let upper: Arc<dyn FileSystem> = ram();
    let below = upper.statfs().unwrap().id;
    let (first, second) = (Some([0xff; 16]), Some([7; 16]));
    assert_eq!(mount(&upper, UuidMode::Null, first), (below, None));
    assert_eq!(mount(&upper, UuidMode::Off, first), (below, None));
    assert_eq!(mount(&upper, UuidMode::Auto, None), (below, None), "nothing to make it of");
    let (id, stored) = mount(&upper, UuidMode::Auto, first);
    assert_eq!(stored.as_deref(), Some(&b"\xff\xff\xff\xff\xff\xff\x4f\xff\xbf\xff\xff\xff\xff\xff\xff\xff"[..]));
    assert_eq!(id, 0x00b0_0000_0000_0040, "one half in the other");
    assert_eq!(mount(&upper, UuidMode::Auto, second), (id, stored.clone()));
    assert_eq!(mount(&upper, UuidMode::On, second), (id, stored.clone()));
    assert_eq!(mount(&upper, UuidMode::Null, second), (below, stored));
    Tree::of(&*upper).set_xattr("", UUID, b"short").unwrap();
    assert_eq!(mount(&upper, UuidMode::On, second).0, below);

    let used: Arc<dyn FileSystem> = ram();
    Tree::of(&*used).set_xattr("", "trusted.overlay.impure", b"y").unwrap();
    let below = used.statfs().unwrap().id;
    assert_eq!(mount(&used, UuidMode::Auto, first), (below, None), "it was used without one");
    assert_ne!(mount(&used, UuidMode::On, first).0, below);
}

#[test]
fn without_uuids_origins_name_none_and_find_none() {
    let disk: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*disk);
    for dir in ["l", "u"] {
        tree.mkdir(dir).unwrap();
    }
    put(&tree, "l/f");
    let layer = |dir: &str| Layer { fs: disk.clone(), root: tree.dir(dir).unwrap() };
    let mount = |uuid| {
        let layers = Layers { upper: Some(layer("u")), work: None, lowers: vec![layer("l")] };
        OverlayFs::mount(context(), layers, Options { uuid, ..Options::default() }).unwrap()
    };
    let fs = mount(UuidMode::Off);
    let number = Tree::of(&*fs).ino("f");
    Tree::of(&*fs).append("f", "!").unwrap();
    let origin = tree.xattr("u/f", "trusted.overlay.origin").unwrap();
    assert_eq!(origin[5..21], [0; 16]);
    fs.unmount().unwrap();
    drop(fs);
    let number_under = |uuid| {
        let fs = mount(uuid);
        let number = Tree::of(&*fs).ino("f");
        fs.unmount().unwrap();
        number
    };
    assert_eq!(number_under(UuidMode::Off), number);
    assert_ne!(number_under(UuidMode::Null), number, "the origin is of no filesystem that is known");
}

#[test]
fn volatile_syncs_nothing_and_strict_syncs_every_copy() {
    let lower: Arc<dyn FileSystem> = ram();
    let tree = Tree::of(&*lower);
    put(&tree, "d/f");
    put(&tree, "d/g");
    tree.put("d/empty", "").unwrap();
    tree.symlink("d/link", "f").unwrap();
    // Syncs of: a directory's copy, a file's, an empty file's, a link's; of a file; of the whole.
    for (sync, expected) in [
        (SyncMode::Auto, [0, 1, 0, 0, 1, 1]),
        (SyncMode::Strict, [1, 1, 1, 1, 1, 1]),
        (SyncMode::Volatile, [0, 0, 0, 0, 0, 0]),
    ] {
        let (upper, control) = FaultFs::new(ram());
        let upper: Arc<dyn FileSystem> = upper;
        let fs = overlay_with(&upper, std::slice::from_ref(&lower), Options { sync, ..Options::default() });
        let tree = Tree::of(&*fs);
        let node = |path: &str| tree.get(path).unwrap();
        let chmod =
            |node: Node| node.ops().set_attr(&vfs::SetAttr { mode: Some(0o700), ..Default::default() }).unwrap();
        let mut counts = Vec::new();
        let mut count = |step: &dyn Fn()| {
            control.reset();
            step();
            counts.push(control.count(Calls::SYNC));
        };
        count(&|| chmod(node("d")));
        count(&|| chmod(node("d/f")));
        count(&|| chmod(node("d/empty")));
        count(&|| chmod(node("d/link")));
        count(&|| node("d/f").ops().sync(vfs::SyncKind::Data).unwrap());
        count(&|| fs.sync().unwrap());
        assert_eq!(counts, expected, "{sync:?}");
    }
}

#[test]
fn userxattr_keeps_the_overlays_attributes_under_user() {
    let lower = ram();
    put(&Tree::of(&*lower), "d/f");
    let upper: Arc<dyn FileSystem> = ram();
    let parsed = fs_overlay::MountOptions::parse(b"lowerdir=/l,upperdir=/u,workdir=/w,userxattr").unwrap();
    let fs = overlay_with(&upper, &[lower], parsed.options);
    let tree = Tree::of(&*fs);
    tree.append("d/f", "!").unwrap();
    tree.mkdir("d/new").unwrap();
    assert_eq!(tree.rename("d", "e").unwrap_err(), Errno::EXDEV);
    let raw = Tree::of(&*upper);
    assert_eq!(raw.xattr("d/new", "user.overlay.opaque").unwrap(), b"y");
    assert_eq!(raw.xattr("d", "user.overlay.impure").unwrap(), b"y");
    assert!(raw.xattr("d/f", "user.overlay.origin").is_some());
    tree.set_xattr("d/f", "trusted.overlay.opaque", b"mine").unwrap();
    assert_eq!(raw.xattr("d/f", "trusted.overlay.opaque").unwrap(), b"mine");
    assert!(tree.dump(Detail::Content)["/d/new"].starts_with("040755"));
}
