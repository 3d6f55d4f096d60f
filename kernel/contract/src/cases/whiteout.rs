//! Whiteouts in an overlay's upper layer: made, taking the place of what goes, removed with their directory.

use vfs::{Expect, FileType, Name, NewKind, Victim};

use super::group;
use super::upper::{is_white, name, white};
use crate::dsl::{Dir, pattern};
use crate::tree::{dir, file, symlink};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "whiteout", Features::WRITE.union(Features::UPPER);
    a_whiteout_is_seen_as_a_device,
    a_whiteout_at_an_absent_name_is_made,
    a_whiteout_at_an_absent_name_refuses_what_is_there,
    a_whiteout_takes_the_place_of_a_file,
    a_whiteout_of_a_file_refuses_the_rest,
    a_whiteout_takes_the_place_of_a_directory_of_whiteouts,
    a_whiteout_of_a_directory_refuses_the_rest,
    a_whiteout_of_a_directory_takes_a_link_from_its_parent + DIR_LINKS,
    a_whiteout_changes_the_parents_times,
    a_whiteout_leaves_the_other_links + HARD_LINKS,
    a_whiteouted_file_is_read_while_held + OPEN_UNLINKED,
    many_whiteouts_are_made_and_removed,
    a_directory_of_whiteouts_is_removed_with_them,
    a_removal_with_whiteouts_refuses_the_rest,
    a_plain_rmdir_refuses_a_directory_of_whiteouts,
    a_listing_goes_on_when_an_entry_becomes_a_whiteout,
}

fn a_whiteout_is_seen_as_a_device(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    white(&base, "w")?;
    let attr = base.attr_of("w")?;
    check!(attr.is_whiteout(), "{attr:?}");
    check_eq!((attr.kind, attr.mode, attr.size), (FileType::CharDevice, 0, 0));
    let listed = base.list()?;
    check_eq!((listed[0].kind, listed[0].ino), (FileType::CharDevice.d_type(), attr.ino));
    Ok(())
}

fn a_whiteout_at_an_absent_name_is_made(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1")])?;
    white(&base, "w")?;
    is_white(&base, "w")?;
    base.lists(&["f", "w"])?;
    base.unlink("w")?;
    base.absent("w")
}

fn a_whiteout_at_an_absent_name_refuses_what_is_there(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d")])?;
    for at in ["f", "d"] {
        check_err!(base.upper()?.whiteout(name(at)?, Victim::Absent), EEXIST);
    }
    base.holds("f", "1")?;
    base.lists(&["d", "f"])
}

fn a_whiteout_takes_the_place_of_a_file(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), symlink(b"l", b"f"), file(b"g", b"2")])?;
    for at in ["f", "l"] {
        base.upper()?.whiteout(name(at)?, Victim::NonDir)?;
        is_white(&base, at)?;
    }
    base.holds("g", "2")?;
    base.lists(&["f", "g", "l"])
}

fn a_whiteout_of_a_file_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    check_err!(base.upper()?.whiteout(name("nothing")?, Victim::NonDir), ENOENT);
    check_err!(base.upper()?.whiteout(name("d")?, Victim::NonDir), EISDIR);
    base.lists(&["d"])
}

/// A directory `d` that holds whiteouts only.
fn with_whiteouts(env: &Env<'_>) -> Outcome<Dir> {
    let base = env.start(&[dir(b"d"), dir(b"full"), file(b"full/f", b"1"), dir(b"mixed"), file(b"f", b"2")])?;
    let d = base.dir("d")?;
    for at in ["a", "b", "c"] {
        white(&d, at)?;
    }
    white(&base.dir("mixed")?, "w")?;
    base.dir("mixed")?.file("f", "3")?;
    Ok(base)
}

fn a_whiteout_takes_the_place_of_a_directory_of_whiteouts(env: &Env<'_>) -> Outcome {
    let base = with_whiteouts(env)?;
    let held = base.dir("d")?;
    base.upper()?.whiteout(name("d")?, Victim::Dir)?;
    is_white(&base, "d")?;
    check_err!(held.make("x", NewKind::File), ENOENT);
    base.mkdir("empty")?;
    base.upper()?.whiteout(name("empty")?, Victim::Dir)?;
    is_white(&base, "empty")
}

fn a_whiteout_of_a_directory_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = with_whiteouts(env)?;
    check_err!(base.upper()?.whiteout(name("nothing")?, Victim::Dir), ENOENT);
    check_err!(base.upper()?.whiteout(name("f")?, Victim::Dir), ENOTDIR);
    check_err!(base.upper()?.whiteout(name("full")?, Victim::Dir), ENOTEMPTY);
    check_err!(base.upper()?.whiteout(name("mixed")?, Victim::Dir), ENOTEMPTY);
    base.dir("mixed")?.lists(&["f", "w"])?;
    is_white(&base.dir("mixed")?, "w")?;
    base.holds("full/f", "1")?;
    base.lists(&["d", "f", "full", "mixed"])
}

fn a_whiteout_of_a_directory_takes_a_link_from_its_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"p"), dir(b"p/d"), dir(b"p/e")])?;
    let p = base.dir("p")?;
    p.upper()?.whiteout(name("d")?, Victim::Dir)?;
    check_eq!(p.attr()?.nlink, 3);
    p.upper()?.remove_with_whiteouts(name("e")?)?;
    check_eq!(p.attr()?.nlink, 2);
    Ok(())
}

fn a_whiteout_changes_the_parents_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"1"), dir(b"d/s")])?;
    let d = base.dir("d")?;
    for (at, victim) in [("f", Victim::NonDir), ("s", Victim::Dir), ("n", Victim::Absent)] {
        let now = env.clock.tick();
        d.upper()?.whiteout(name(at)?, victim)?;
        check_eq!((d.attr()?.mtime, d.attr()?.ctime), (now, now), "after the whiteout at {at}");
    }
    Ok(())
}

fn a_whiteout_leaves_the_other_links(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    base.link("b", &base.at("a")?)?;
    base.upper()?.whiteout(name("a")?, Victim::NonDir)?;
    base.holds("b", "1")?;
    check_eq!(base.attr_of("b")?.nlink, 1);
    Ok(())
}

fn a_whiteouted_file_is_read_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", &pattern(0, 10_000))])?;
    let held = base.open("f")?;
    base.upper()?.whiteout(name("f")?, Victim::NonDir)?;
    held.holds(pattern(0, 10_000))?;
    held.put(0, "still mine")?;
    check_eq!(held.attr()?.nlink, 0);
    is_white(&base, "f")
}

fn many_whiteouts_are_made_and_removed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    for number in 0..300 {
        white(&d, &alloc::format!("{number}"))?;
    }
    for number in (0..300).step_by(2) {
        d.unlink(alloc::format!("{number}"))?;
    }
    for number in (1..300).step_by(2) {
        is_white(&d, &alloc::format!("{number}"))?;
    }
    check_eq!(d.list()?.len(), 150);
    base.upper()?.remove_with_whiteouts(name("d")?)?;
    white(&base, "after all")?;
    is_white(&base, "after all")
}

fn a_directory_of_whiteouts_is_removed_with_them(env: &Env<'_>) -> Outcome {
    let base = with_whiteouts(env)?;
    base.upper()?.remove_with_whiteouts(name("d")?)?;
    base.absent("d")?;
    base.mkdir("empty")?;
    base.upper()?.remove_with_whiteouts(name("empty")?)?;
    base.lists(&["f", "full", "mixed"])
}

fn a_removal_with_whiteouts_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = with_whiteouts(env)?;
    check_err!(base.upper()?.remove_with_whiteouts(name("nothing")?), ENOENT);
    check_err!(base.upper()?.remove_with_whiteouts(name("f")?), ENOTDIR);
    check_err!(base.upper()?.remove_with_whiteouts(name("full")?), ENOTEMPTY);
    check_err!(base.upper()?.remove_with_whiteouts(name("mixed")?), ENOTEMPTY);
    base.dir("mixed")?.lists(&["f", "w"])?;
    base.dir("d")?.lists(&["a", "b", "c"])
}

fn a_plain_rmdir_refuses_a_directory_of_whiteouts(env: &Env<'_>) -> Outcome {
    let base = with_whiteouts(env)?;
    check_err!(base.remove(name("d")?, Expect::EmptyDir), ENOTEMPTY);
    base.dir("d")?.lists(&["a", "b", "c"])
}

fn a_listing_goes_on_when_an_entry_becomes_a_whiteout(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    for number in 0..30 {
        d.file(alloc::format!("{number:02}"), "")?;
    }
    let whole = d.list_from(0, usize::MAX)?;
    for (position, entry) in whole.iter().enumerate() {
        d.upper()?.whiteout(Name::new(&entry.name)?, Victim::NonDir)?;
        let rest: alloc::vec::Vec<_> = d.list_from(entry.next, usize::MAX)?.into_iter().map(|e| e.name).collect();
        let expected: alloc::vec::Vec<_> = whole[position + 1..].iter().map(|e| e.name.clone()).collect();
        check_eq!(rest, expected);
    }
    check_eq!(d.list()?.len(), 30);
    Ok(())
}
