//! Which change sets which time. The clock stands still but for the test's ticks, so times are compared exactly.

use vfs::{Attr, NewKind, RenameMode, SetAttr, SetTime, Timestamp, XattrMode};

use super::group;
use crate::dsl::{Dir, chmod};
use crate::tree::{MTIME, dir, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "times", Features::WRITE;
    a_new_inode_has_the_time_of_its_creation,
    a_new_inode_knows_its_birth + BIRTH_TIME,
    birth_never_changes + BIRTH_TIME,
    a_creation_changes_the_parent,
    a_write_changes_mtime_and_ctime,
    an_append_changes_mtime_and_ctime,
    a_cut_changes_mtime_and_ctime,
    a_cut_to_the_same_size_changes_mtime_and_ctime,
    a_read_changes_nothing_by_itself,
    a_noted_access_follows_relatime + ACCESS_TIME,
    an_access_time_a_day_old_is_renewed + ACCESS_TIME,
    an_access_time_that_equals_a_future_change_is_renewed + ACCESS_TIME,
    a_chmod_changes_ctime_alone,
    a_chown_changes_ctime_alone,
    an_empty_change_changes_ctime_alone,
    times_are_set_as_told,
    times_are_set_to_now,
    times_keep_their_nanoseconds,
    times_before_the_epoch_are_kept,
    times_after_2038_are_kept,
    an_xattr_changes_ctime_alone + USER_XATTRS,
    a_link_changes_the_inode_and_the_parent + HARD_LINKS,
    an_unlink_changes_the_parent,
    an_unlink_changes_the_other_names_ctime + HARD_LINKS,
    a_mkdir_and_a_rmdir_change_the_parent,
    a_rename_changes_both_parents,
    a_replacing_rename_changes_both_parents,
    a_rename_leaves_the_content_time,
    a_rename_in_one_directory_changes_it,
    a_replacing_rename_changes_the_other_names_of_what_went + HARD_LINKS,
    an_exchange_changes_both_parents + EXCHANGE,
    a_change_below_leaves_the_grandparent,
    a_lookup_and_a_listing_change_nothing,
}

fn times(attr: &Attr) -> (Timestamp, Timestamp) {
    (attr.mtime, attr.ctime)
}

fn times_of(base: &Dir, path: &str) -> Outcome<(Timestamp, Timestamp)> {
    Ok(times(&base.attr_of(path)?))
}

fn a_new_inode_has_the_time_of_its_creation(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for (name, kind) in [("f", NewKind::File), ("d", NewKind::Dir), ("l", NewKind::Symlink(b"t"))] {
        let now = env.clock.tick();
        base.make(name, kind)?;
        env.clock.tick();
        let attr = base.attr_of(name)?;
        check_eq!((attr.atime, attr.mtime, attr.ctime), (now, now, now), "times of {name}");
    }
    Ok(())
}

fn a_new_inode_knows_its_birth(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let now = env.clock.tick();
    base.make("f", NewKind::File)?;
    check_eq!(base.attr_of("f")?.btime, Some(now));
    Ok(())
}

fn birth_never_changes(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "1")?;
    let born = f.attr()?.btime;
    env.clock.tick();
    f.put(0, "2")?;
    f.set_attr(&SetAttr { mtime: Some(SetTime::At(MTIME)), ..chmod(0o600) })?;
    base.mv("f", "g")?;
    check_eq!(base.attr_of("g")?.btime, born);
    Ok(())
}

fn a_creation_changes_the_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    for (name, kind) in [("f", NewKind::File), ("s", NewKind::Dir), ("l", NewKind::Symlink(b"t"))] {
        let now = env.clock.tick();
        base.dir("d")?.make(name, kind)?;
        check_eq!(times_of(&base, "d")?, (now, now), "after the creation of {name}");
    }
    Ok(())
}

fn a_write_changes_mtime_and_ctime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let now = env.clock.tick();
    base.open("f")?.put(0, "x")?;
    check_eq!(times_of(&base, "f")?, (now, now));
    let now = env.clock.tick();
    base.open("f")?.put(0, "x")?;
    check_eq!(times_of(&base, "f")?, (now, now));
    Ok(())
}

fn an_append_changes_mtime_and_ctime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let now = env.clock.tick();
    base.open("f")?.append(b"x")?;
    check_eq!(times_of(&base, "f")?, (now, now));
    Ok(())
}

fn a_cut_changes_mtime_and_ctime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    for len in [1, 100] {
        let now = env.clock.tick();
        base.open("f")?.set_len(len)?;
        check_eq!(times_of(&base, "f")?, (now, now), "after set_len({len})");
    }
    Ok(())
}

fn a_cut_to_the_same_size_changes_mtime_and_ctime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), file(b"empty", b"")])?;
    let now = env.clock.tick();
    base.open("f")?.set_len(3)?;
    base.open("empty")?.set_len(0)?;
    check_eq!(times_of(&base, "f")?, (now, now));
    check_eq!(times_of(&base, "empty")?, (now, now));
    Ok(())
}

fn a_read_changes_nothing_by_itself(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let before = base.attr_of("f")?;
    env.clock.tick();
    base.holds("f", "abc")?;
    check_eq!(base.attr_of("f")?, before);
    Ok(())
}

fn a_noted_access_follows_relatime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "abc")?;
    let now = env.clock.tick();
    f.put(0, "x")?;
    f.note_access();
    check_eq!(f.attr()?.atime, now, "atime after a write and an access");
    let later = env.clock.tick();
    f.note_access();
    let attr = f.attr()?;
    check_eq!(attr.atime, later, "atime that equals mtime");
    check_eq!(times(&attr), (now, now), "mtime and ctime after an access");
    env.clock.tick();
    f.note_access();
    check_eq!(f.attr()?.atime, later, "atime that is newer than mtime");
    Ok(())
}

fn an_access_time_a_day_old_is_renewed(env: &Env<'_>) -> Outcome {
    const HOUR: i64 = 3_600_000_000_000;
    let base = env.start(&[])?;
    let f = base.file("f", "abc")?;
    let noted = env.clock.tick();
    f.note_access();
    env.clock.advance(23 * HOUR);
    f.note_access();
    check_eq!(f.attr()?.atime, noted);
    let now = env.clock.advance(HOUR);
    f.note_access();
    check_eq!(f.attr()?.atime, now);
    Ok(())
}

fn an_access_time_that_equals_a_future_change_is_renewed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "abc")?;
    let future = Some(SetTime::At(Timestamp::from_secs(4_000_000_000)));
    f.set_attr(&SetAttr { atime: future, mtime: future, ..SetAttr::default() })?;
    let now = env.clock.tick();
    f.note_access();
    check_eq!(f.attr()?.atime, now);
    Ok(())
}

fn a_chmod_changes_ctime_alone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d")])?;
    for path in ["f", "d"] {
        let before = base.attr_of(path)?;
        let now = env.clock.tick();
        base.at(path)?.ops().set_attr(&chmod(0o500))?;
        let after = base.attr_of(path)?;
        check_eq!((after.atime, after.mtime, after.ctime), (before.atime, before.mtime, now), "times of {path}");
    }
    Ok(())
}

fn a_chown_changes_ctime_alone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), symlink(b"l", b"f")])?;
    for path in ["f", "l"] {
        let before = base.attr_of(path)?;
        let now = env.clock.tick();
        base.at(path)?.ops().set_attr(&SetAttr { uid: Some(9), ..SetAttr::default() })?;
        let after = base.attr_of(path)?;
        check_eq!((after.atime, after.mtime, after.ctime), (before.atime, before.mtime, now), "times of {path}");
    }
    Ok(())
}

fn an_empty_change_changes_ctime_alone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let now = env.clock.tick();
    base.at("f")?.ops().set_attr(&SetAttr::default())?;
    check_eq!(times_of(&base, "f")?, (MTIME, now));
    Ok(())
}

fn set_times(base: &Dir, path: &str, atime: Option<SetTime>, mtime: Option<SetTime>) -> Outcome<Attr> {
    base.at(path)?.ops().set_attr(&SetAttr { atime, mtime, ..SetAttr::default() })?;
    base.attr_of(path)
}

fn times_are_set_as_told(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d"), symlink(b"l", b"f")])?;
    let (one, two) = (Timestamp { secs: 1_111, nanos: 1 }, Timestamp { secs: 2_222, nanos: 999_999_999 });
    for path in ["f", "d", "l"] {
        let now = env.clock.tick();
        let attr = set_times(&base, path, Some(SetTime::At(one)), Some(SetTime::At(two)))?;
        check_eq!((attr.atime, attr.mtime, attr.ctime), (one, two, now), "times of {path}");
        let attr = set_times(&base, path, Some(SetTime::At(two)), None)?;
        check_eq!((attr.atime, attr.mtime), (two, two), "times of {path}");
        let attr = set_times(&base, path, None, Some(SetTime::At(one)))?;
        check_eq!((attr.atime, attr.mtime), (two, one), "times of {path}");
    }
    Ok(())
}

fn times_are_set_to_now(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let now = env.clock.tick();
    let attr = set_times(&base, "f", Some(SetTime::Now), Some(SetTime::Now))?;
    check_eq!((attr.atime, attr.mtime, attr.ctime), (now, now, now));
    Ok(())
}

fn times_keep_their_nanoseconds(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    for nanos in [0, 1, 100, 123_456_789, 999_999_999] {
        let at = Timestamp { secs: 1_234_567_890, nanos };
        let attr = set_times(&base, "f", Some(SetTime::At(at)), Some(SetTime::At(at)))?;
        check_eq!((attr.atime, attr.mtime), (at, at));
    }
    let broken = Timestamp { secs: 0, nanos: 1_000_000_000 };
    let change = SetAttr { mtime: Some(SetTime::At(broken)), ..SetAttr::default() };
    check_err!(base.at("f")?.ops().set_attr(&change), EINVAL);
    Ok(())
}

fn times_before_the_epoch_are_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    for at in [Timestamp { secs: -1, nanos: 999_999_999 }, Timestamp { secs: -1_000_000_000, nanos: 5 }] {
        let attr = set_times(&base, "f", Some(SetTime::At(at)), Some(SetTime::At(at)))?;
        check_eq!((attr.atime, attr.mtime), (at, at));
    }
    Ok(())
}

fn times_after_2038_are_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    for secs in [1 << 31, 1 << 32, 10_000_000_000, 15_000_000_000] {
        let at = Timestamp { secs, nanos: 7 };
        let attr = set_times(&base, "f", Some(SetTime::At(at)), Some(SetTime::At(at)))?;
        check_eq!((attr.atime, attr.mtime), (at, at));
    }
    Ok(())
}

fn an_xattr_changes_ctime_alone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc")])?;
    let node = base.at("f")?;
    for value in [Some(b"1"), Some(b"2"), None] {
        let now = env.clock.tick();
        match value {
            Some(value) => node.ops().set_xattr(b"user.x", value, XattrMode::Set)?,
            None => node.ops().remove_xattr(b"user.x")?,
        }
        check_eq!(times_of(&base, "f")?, (MTIME, now), "times after {value:?}");
    }
    Ok(())
}

fn a_link_changes_the_inode_and_the_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d")])?;
    let now = env.clock.tick();
    base.dir("d")?.link("g", &base.at("f")?)?;
    check_eq!(times_of(&base, "f")?, (MTIME, now));
    check_eq!(times_of(&base, "d")?, (now, now));
    Ok(())
}

fn an_unlink_changes_the_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"abc")])?;
    let now = env.clock.tick();
    base.dir("d")?.unlink("f")?;
    check_eq!(times_of(&base, "d")?, (now, now));
    Ok(())
}

fn an_unlink_changes_the_other_names_ctime(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"abc"), hard_link(b"b", b"a")])?;
    let now = env.clock.tick();
    base.unlink("a")?;
    check_eq!(times_of(&base, "b")?, (MTIME, now));
    Ok(())
}

fn a_mkdir_and_a_rmdir_change_the_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let now = env.clock.tick();
    base.dir("d")?.mkdir("s")?;
    check_eq!(times_of(&base, "d")?, (now, now));
    let now = env.clock.tick();
    base.dir("d")?.rmdir("s")?;
    check_eq!(times_of(&base, "d")?, (now, now));
    Ok(())
}

fn a_rename_changes_both_parents(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"e"), file(b"d/f", b"abc"), dir(b"d/s")])?;
    for name in ["f", "s"] {
        let now = env.clock.tick();
        base.dir("d")?.mv_to(name, &base.dir("e")?, name)?;
        check_eq!(times_of(&base, "d")?, (now, now), "where {name} was");
        check_eq!(times_of(&base, "e")?, (now, now), "where {name} is");
    }
    Ok(())
}

fn a_replacing_rename_changes_both_parents(env: &Env<'_>) -> Outcome {
    let entries = [dir(b"d"), dir(b"e"), file(b"d/f", b"abc"), dir(b"d/s"), file(b"e/f", b"def"), dir(b"e/s")];
    let base = env.start(&entries)?;
    for name in ["f", "s"] {
        let now = env.clock.tick();
        base.dir("d")?.mv_to(name, &base.dir("e")?, name)?;
        check_eq!(times_of(&base, "d")?, (now, now), "where {name} was");
        check_eq!(times_of(&base, "e")?, (now, now), "where {name} is");
    }
    Ok(())
}

fn a_rename_leaves_the_content_time(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"abc"), dir(b"d/s")])?;
    let now = env.clock.tick();
    base.dir("d")?.mv_to("f", &base, "g")?;
    base.dir("d")?.mv_to("s", &base, "t")?;
    check_eq!(times_of(&base, "g")?, (MTIME, now));
    check_eq!(times_of(&base, "t")?, (MTIME, now));
    Ok(())
}

fn a_rename_in_one_directory_changes_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"abc"), file(b"d/h", b"")])?;
    for target in ["g", "h"] {
        let now = env.clock.tick();
        base.dir("d")?.mv(if target == "g" { "f" } else { "g" }, target)?;
        check_eq!(times_of(&base, "d")?, (now, now), "after the rename to {target}");
    }
    Ok(())
}

fn a_replacing_rename_changes_the_other_names_of_what_went(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"abc"), file(b"b", b"old"), hard_link(b"c", b"b")])?;
    let now = env.clock.tick();
    base.mv("a", "b")?;
    check_eq!(times_of(&base, "c")?, (MTIME, now));
    Ok(())
}

fn an_exchange_changes_both_parents(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"e"), file(b"d/f", b"abc"), file(b"e/g", b"abc")])?;
    let now = env.clock.tick();
    base.dir("d")?.rename("f", &base.dir("e")?, "g", RenameMode::Exchange)?;
    for path in ["d", "e"] {
        check_eq!(times_of(&base, path)?, (now, now), "times of {path}");
    }
    for path in ["d/f", "e/g"] {
        check_eq!(times_of(&base, path)?, (MTIME, now), "times of {path}");
    }
    Ok(())
}

fn a_change_below_leaves_the_grandparent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/s"), file(b"d/s/f", b"abc"), dir(b"d/s/t")])?;
    let before = times_of(&base, "d")?;
    env.clock.tick();
    let s = base.dir("d/s")?;
    s.file("new", "")?;
    s.open("f")?.put(0, "changed")?;
    s.unlink("f")?;
    s.rmdir("t")?;
    check_eq!(times_of(&base, "d")?, before);
    Ok(())
}

fn a_lookup_and_a_listing_change_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"abc")])?;
    let before = base.attr_of("d")?;
    env.clock.tick();
    let d = base.dir("d")?;
    d.lists(&["f"])?;
    d.absent("g")?;
    check_eq!(base.attr_of("d")?, before);
    check!(d.find("f")?.is_some(), "f is there");
    Ok(())
}
