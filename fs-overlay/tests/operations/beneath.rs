//! Layers that were changed while they were no part of an overlay, as they may be, and those that are changed beneath one, as they
//! must not be: what is seen then, and that nothing panics.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::support::{Detail, Rig, Tree, overlay, ram};
use vfs::{AllocateMode, Cookie, DirEntry, Errno, FileSystem, SetAttr};

use crate::sample::sample;

/// Removes a directory of a layer with all that is in it.
fn remove(tree: &Tree, path: &str) {
    for name in tree.names(path) {
        tree.unlink(&format!("{path}/{name}")).unwrap();
    }
    tree.rmdir(path).unwrap();
}

#[test]
fn whiteouts_that_hide_nothing_any_more_are_neither_seen_nor_in_the_way() {
    let lower = |t: &Tree| {
        t.mkdir("d").unwrap();
        t.put("d/a", "a").unwrap();
    };
    let mut rig = Rig::new(lower);
    rig.tree().unlink("d/a").unwrap();
    assert!(rig.raw().has("d/a"), "a whiteout");
    remove(&Tree::of(&*rig.lower), "d");
    rig.remount();
    assert!(rig.tree().names("d").is_empty());
    assert!(!rig.tree().has("d/a"));
    rig.tree().rmdir("d").unwrap();
    assert!(!rig.raw().has("d"));

    // With something else at its name in the lower layer.
    let mut rig = Rig::new(lower);
    rig.tree().unlink("d/a").unwrap();
    remove(&Tree::of(&*rig.lower), "d");
    Tree::of(&*rig.lower).put("d", "a file now").unwrap();
    rig.remount();
    assert!(rig.tree().names("d").is_empty());
    rig.tree().rmdir("d").unwrap();
    assert_eq!(rig.raw().dump(Detail::Raw)["/d"], "whiteout");
    rig.remount();
    assert!(rig.tree().names("").is_empty());
}

#[test]
fn whiteouts_of_a_lower_layer_that_hide_nothing_are_neither_seen_nor_in_the_way() {
    for both in [false, true] {
        let (middle, bottom): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram());
        let tree = Tree::of(&*middle);
        tree.mkdir("d").unwrap();
        tree.whiteout("d/a");
        if both {
            Tree::of(&*bottom).mkdir("d").unwrap();
            Tree::of(&*bottom).put("d/b", "b").unwrap();
        }
        let lowers = [middle, bottom];
        let upper: Arc<dyn FileSystem> = ram();
        let fs = overlay(&upper, &lowers);
        if both {
            Tree::of(&*fs).unlink("d/b").unwrap();
        }
        fs.unmount().unwrap();
        drop(fs);
        if both {
            remove(&Tree::of(&*lowers[1]), "d");
        }
        let fs = overlay(&upper, &lowers);
        let tree = Tree::of(&*fs);
        assert!(tree.names("d").is_empty(), "{both}");
        tree.rmdir("d").unwrap();
        assert!(tree.names("").is_empty());
        assert_eq!(Tree::of(&*upper).dump(Detail::Raw)["/d"], "whiteout");
    }
}

#[test]
fn a_directory_that_merges_no_more_is_listed_in_pieces_as_it_changes() {
    let mut rig = Rig::new(|t| {
        t.mkdir("d").unwrap();
        t.put("d/copied", "").unwrap();
    });
    for file in 0..30 {
        rig.tree().put(&format!("d/{file}"), "").unwrap();
    }
    rig.tree().append("d/copied", "!").unwrap();
    remove(&Tree::of(&*rig.lower), "d");
    rig.remount();
    let dir = rig.tree().dir("d").unwrap();
    let mut from = Cookie::START;
    let mut seen = Vec::new();
    let mut step = 0;
    loop {
        let before = seen.len();
        dir.read_dir(from, &mut |entry: &DirEntry<'_>| {
            if seen.len() == before + 5 {
                return ControlFlow::Break(());
            }
            from = entry.next;
            seen.push(String::from_utf8(entry.name.as_bytes().to_vec()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        if seen.len() == before {
            break;
        }
        // What was not listed yet goes, and something comes.
        let gone = (0..30)
            .map(|file| file.to_string())
            .find(|name| !seen.contains(name) && rig.tree().has(&format!("d/{name}")));
        if let Some(gone) = gone {
            rig.tree().unlink(&format!("d/{gone}")).unwrap();
            rig.tree().put(&format!("d/new{step}"), "").unwrap();
            step += 1;
        }
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "a name twice");
    for name in rig.tree().names("d") {
        assert!(seen.contains(&name) || name.starts_with("new"), "{name} was there throughout");
    }
    assert!(step >= 3);
}

/// Something done to the upper and the lower layer, and what it is called.
type Meddling = (&'static str, fn(&Tree, &Tree));

/// What may be done to the layers beneath an overlay.
const MEDDLING: &[Meddling] = &[
    ("a copy is removed", |upper, _| upper.unlink("d/f").unwrap()),
    ("a whiteout is removed", |upper, _| upper.unlink("gone").unwrap()),
    ("a file of the upper is removed", |upper, _| upper.unlink("new").unwrap()),
    ("a file becomes a directory", |upper, _| {
        upper.unlink("new").unwrap();
        upper.mkdir("new").unwrap();
    }),
    ("a directory becomes a file", |upper, _| {
        upper.rename("d", "away").unwrap();
        upper.put("d", "").unwrap();
    }),
    ("a directory moves into another", |upper, _| upper.rename("d", "made/d").unwrap()),
    ("a copy gets names", |upper, _| {
        upper.link("d/f", "d/second").unwrap();
        upper.link("d/f", "made/third").unwrap();
    }),
    ("an attribute goes", |upper, _| {
        upper.get("d").unwrap().ops().remove_xattr(b"trusted.overlay.impure").unwrap();
        upper.get("d/f").unwrap().ops().remove_xattr(b"trusted.overlay.origin").unwrap();
    }),
    ("whiteouts come", |upper, _| upper.whiteout("d/e")),
    ("a lower file is removed", |_, lower| lower.unlink("d/e/g").unwrap()),
    ("a lower file that was copied is removed", |_, lower| lower.unlink("d/f").unwrap()),
    ("a lower file becomes short", |_, lower| lower.file("d/e/g").unwrap().set_len(0).unwrap()),
    ("a lower directory is removed", |_, lower| {
        lower.unlink("d/e/g").unwrap();
        lower.rmdir("d/e").unwrap();
    }),
    ("a lower file gets names", |_, lower| {
        lower.link("d/e/g", "d/e/h").unwrap();
        lower.link("d/f", "second").unwrap();
    }),
    ("lower files come", |_, lower| {
        lower.put("gone", "").unwrap();
        lower.put("d/e/i", "").unwrap();
        lower.mkdir("made").unwrap();
    }),
    ("a lower directory becomes a file", |_, lower| {
        lower.rename("d/e", "away").unwrap();
        lower.put("d/e", "").unwrap();
    }),
];

/// What is done then.
const DONE: &[crate::faults::Operation] = &[
    ("read", |t| t.read("d/f").and_then(|_| t.read("d/e/g")).and_then(|_| t.read("new")).map(drop)),
    ("append", |t| t.append("d/f", "!")),
    ("append to a lower file", |t| t.append("d/e/g", "!")),
    ("append to a file of the upper", |t| t.append("new", "!")),
    ("cut", |t| t.file("d/e/g")?.set_len(2)),
    ("allocate", |t| t.file("d/f")?.allocate(AllocateMode::Extend, 0, 9_000)),
    ("unlink a copy", |t| t.unlink("d/f")),
    ("unlink a lower file", |t| t.unlink("d/e/g")),
    ("unlink a file of the upper", |t| t.unlink("new")),
    ("unlink names that came", |t| t.unlink("d/second").and_then(|()| t.unlink("made/third"))),
    ("unlink lower names that came", |t| t.unlink("second").and_then(|()| t.unlink("d/e/h"))),
    ("rmdir", |t| t.rmdir("made")),
    ("rmdir of a lower directory", |t| t.unlink("d/e/g").and_then(|()| t.rmdir("d/e"))),
    ("create over a whiteout", |t| t.put("gone", "new")),
    ("mkdir over a whiteout", |t| t.mkdir("gone")),
    ("link", |t| t.link("d/f", "linked")),
    ("link of a file of the upper", |t| t.link("new", "d/e/linked")),
    ("rename", |t| t.rename("d/f", "made/f")),
    ("rename over a whiteout", |t| t.rename("new", "gone")),
    ("rename of a lower file", |t| t.rename("d/e/g", "g")),
    ("rename of a directory", |t| t.rename("d", "made/moved")),
    ("rename of a lower directory", |t| t.rename("d/e", "e")),
    ("rename over", |t| t.rename("new", "d/f")),
    ("exchange", |t| t.exchange("d/e", "new")),
    ("chmod", |t| {
        let mode = SetAttr { mode: Some(0o700), ..SetAttr::default() };
        t.get("d/e")?.ops().set_attr(&mode)?;
        t.get("d/f")?.ops().set_attr(&mode)
    }),
    ("attribute", |t| t.set_xattr("d/e/g", "user.a", b"1").and_then(|()| t.set_xattr("d/f", "user.a", b"1"))),
    ("list", |t| {
        for path in ["", "d", "d/e", "made"] {
            t.dir(path)?.read_dir(Cookie::START, &mut |_: &DirEntry<'_>| ControlFlow::Continue(()))?;
        }
        Ok(())
    }),
];

#[test]
fn layers_that_change_beneath_an_overlay_make_no_panic_and_no_damage() {
    let mut refused = 0;
    for (meddled, meddle) in MEDDLING {
        for (done, step) in DONE {
            let mut rig = Rig::new(|t| {
                sample(t);
                t.put("gone", "gone").unwrap();
                t.put("bystander", "lower").unwrap();
                t.put("copied", "lower").unwrap();
            });
            let tree = rig.tree();
            tree.append("copied", ", changed").unwrap();
            tree.put("own", "upper").unwrap();
            tree.append("d/f", "!").unwrap();
            tree.unlink("gone").unwrap();
            tree.put("new", "new").unwrap();
            tree.mkdir("made").unwrap();
            // All of it is known, and some of it in use.
            tree.dump(Detail::Merged);
            let held: Vec<_> =
                ["d", "d/f", "d/e", "d/e/g", "new", "made"].map(|path| tree.get(path).unwrap()).into_iter().collect();
            meddle(&rig.raw(), &Tree::of(&*rig.lower));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&tree)));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    refused += 1;
                    assert_ne!(error.errno(), Errno::ENOMEM, "{meddled}, {done}");
                }
                Err(panic) => std::panic::panic_any(format!("{meddled}, {done}: {:?}", panic.downcast_ref::<String>())),
            }
            for node in &held {
                let _ = node.attr();
            }
            drop((held, tree));
            // What the layers are now is a tree again.
            rig.remount();
            let tree = rig.tree();
            tree.dump(Detail::Merged);
            // And what nobody touched is as it was.
            for (path, content) in [("bystander", "lower"), ("copied", "lower, changed"), ("own", "upper")] {
                let found = tree.read(path);
                assert_eq!(found.unwrap(), content, "{meddled}, {done}: {path}");
            }
        }
    }
    println!("{} changes beneath, {} steps each; {refused} were refused", MEDDLING.len(), DONE.len());
}
