//! Listings: merged, each name once, with cookies that hold while the directory changes, at a cost in proportion.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::support::{Detail, Rig, Tree, entries, overlay, ram};
use contract::fault::{Calls, FaultFs};
use vfs::{Cookie, DirEntry, DirOps, FileSystem, NewKind, NewNode};

/// Up to `count` names after `from`, and where they end.
fn some(dir: &dyn DirOps, mut from: Cookie, count: usize) -> (Vec<String>, Cookie) {
    let mut names = Vec::new();
    dir.read_dir(from, &mut |entry: &DirEntry<'_>| {
        if names.len() == count {
            return ControlFlow::Break(());
        }
        assert!(entry.next.0 >= Cookie::FIRST && i64::try_from(entry.next.0).is_ok());
        names.push(String::from_utf8(entry.name.as_bytes().to_vec()).unwrap());
        from = entry.next;
        ControlFlow::Continue(())
    })
    .unwrap();
    (names, from)
}

fn merged(lower: usize, upper: usize) -> Rig {
    let rig = Rig::new(|tree| {
        tree.mkdir("d").unwrap();
        for file in 0..lower {
            tree.put(&format!("d/low{file}"), "").unwrap();
        }
    });
    for file in 0..upper {
        rig.tree().put(&format!("d/up{file}"), "").unwrap();
    }
    rig
}

#[test]
fn cookies_hold_over_removals_creations_and_lost_listings() {
    let mut rig = merged(50, 50);
    let (all, _) = some(&*rig.tree().dir("d").unwrap(), Cookie::START, 1000);
    let (first, cookie) = some(&*rig.tree().dir("d").unwrap(), Cookie::START, 40);
    assert_eq!(first, all[..40]);
    let expected: BTreeSet<_> = all[40..].iter().filter(|name| !name.ends_with('7')).cloned().collect();
    for name in all.iter().filter(|name| name.ends_with('7')) {
        rig.tree().unlink(&format!("d/{name}")).unwrap();
    }
    let rest = |rig: &Rig| some(&*rig.tree().dir("d").unwrap(), cookie, 1000).0;
    let later: BTreeSet<_> = rest(&rig).into_iter().collect();
    assert_eq!(later, expected, "after removals");
    for file in 0..30 {
        rig.tree().put(&format!("d/new{file}"), "").unwrap();
    }
    let later: BTreeSet<_> = rest(&rig).into_iter().filter(|name| !name.starts_with("new")).collect();
    assert_eq!(later, expected, "after creations");
    for other in 0..40 {
        rig.tree().mkdir(&format!("other{other}")).unwrap();
        rig.tree().names(&format!("other{other}"));
    }
    rig.remount();
    let later: BTreeSet<_> = rest(&rig).into_iter().filter(|name| !name.starts_with("new")).collect();
    assert_eq!(later, expected, "after a remount");
}

#[test]
fn a_listing_goes_on_after_any_entry() {
    let rig = merged(300, 20);
    let dir = rig.tree().dir("d").unwrap();
    let (all, end) = some(&*dir, Cookie::START, usize::MAX);
    assert_eq!(all.len(), 320);
    assert_eq!(some(&*dir, end, 1).0.len(), 0);
    let mut cookie = Cookie::START;
    for name in &all {
        let (one, next) = some(&*dir, cookie, 1);
        assert_eq!(&one[0], name);
        cookie = next;
    }
    assert!(some(&*dir, Cookie(u64::MAX), 1).0.is_empty());
}

#[test]
fn a_directory_that_becomes_merged_goes_on_where_it_was() {
    let rig = merged(100, 0);
    let dir = rig.tree().dir("d").unwrap();
    let (first, cookie) = some(&*dir, Cookie::START, 50);
    rig.tree().put("d/new", "").unwrap();
    let (rest, _) = some(&*dir, cookie, 1000);
    let all: BTreeSet<_> = first.iter().chain(&rest).filter(|name| *name != "new").collect();
    assert_eq!(all.len(), 100);
}

#[test]
fn numbers_in_listings_are_those_of_stat_after_every_kind_of_change() {
    let rig = merged(20, 5);
    let tree = rig.tree();
    tree.mkdir("up").unwrap();
    tree.append("d/low1", "!").unwrap();
    tree.rename("d/low2", "up/moved").unwrap();
    tree.link("d/low1", "up/linked").unwrap();
    tree.rename("d", "up/d").unwrap();
    tree.mkdir("plain").unwrap();
    tree.put("plain/f", "").unwrap();
    tree.create("plain/dev", &NewNode::new(NewKind::CharDevice(vfs::DeviceNumber::new(1, 3)), 0)).unwrap();
    // The dump compares each entry with what lookup finds.
    tree.dump(Detail::Merged);
}

#[test]
fn a_pure_upper_directory_hides_whiteouts_that_lie_in_it() {
    let rig = Rig::new(|_| {});
    rig.tree().mkdir("d").unwrap();
    rig.tree().put("d/f", "").unwrap();
    rig.raw().whiteout("d/stray");
    assert_eq!(rig.tree().names("d"), ["f"]);
    rig.tree().unlink("d/f").unwrap();
    rig.tree().rmdir("d").unwrap();
    assert!(!rig.raw().has("d"));
}

#[test]
fn a_large_merged_directory_is_listed_and_emptied_in_proportion() {
    const COUNT: usize = 20_000;
    let lower = ram();
    let tree = Tree::of(&*lower);
    tree.mkdir("d").unwrap();
    for file in 0..COUNT {
        tree.put(&format!("d/{file}"), "").unwrap();
    }
    let (lower, calls) = FaultFs::new(lower);
    let upper: Arc<dyn FileSystem> = ram();
    let fs = overlay(&upper, &[lower]);
    let tree = Tree::of(&*fs);
    tree.put("d/new", "").unwrap();
    calls.reset();
    let dir = tree.dir("d").unwrap();
    // By pages, as getdents64(2) reads it, each page removed at once, as rm does it.
    let (mut cookie, mut removed) = (Cookie::START, 0);
    loop {
        let (names, next) = some(&*dir, cookie, 500);
        cookie = next;
        for name in &names {
            tree.unlink(&format!("d/{name}")).unwrap();
        }
        removed += names.len();
        if names.len() < 500 {
            break;
        }
    }
    assert_eq!(removed, COUNT + 1);
    assert!(calls.count(Calls::READ_DIR) <= 2, "{} listings of the lower", calls.count(Calls::READ_DIR));
    assert!(entries(&*dir).is_empty());
    tree.rmdir("d").unwrap();
}
