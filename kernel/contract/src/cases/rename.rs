//! Renames that move and replace.

use alloc::format;

use vfs::{NewKind, RenameMode};

use super::group;
use crate::dsl::{Dir, pattern};
use crate::tree::{char_device, dir, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "rename", Features::WRITE;
    a_file_gets_a_new_name,
    a_renamed_file_keeps_inode_content_and_attributes,
    a_file_moves_to_another_directory,
    a_file_replaces_a_file,
    a_file_replaces_a_file_in_another_directory,
    a_symbolic_link_is_moved_and_not_followed,
    a_special_node_is_moved + DEVICES,
    a_file_and_a_symbolic_link_replace_each_other,
    an_absent_source_is_enoent,
    a_file_over_a_directory_is_eisdir,
    a_directory_over_a_file_is_enotdir,
    a_directory_over_a_symbolic_link_is_enotdir,
    a_directory_replaces_an_empty_directory,
    a_directory_over_a_full_one_is_enotempty,
    a_directory_over_its_own_parent_is_enotempty,
    a_directory_moves_with_all_below_it,
    a_directory_moves_up_and_down,
    a_directory_that_moves_takes_its_link_along + DIR_LINKS,
    a_directory_that_replaces_another_keeps_the_links_right + DIR_LINKS,
    a_rename_to_itself_does_nothing,
    a_rename_between_links_of_one_inode_does_nothing + HARD_LINKS,
    a_replaced_link_leaves_the_other_names + HARD_LINKS,
    noreplace_moves_to_a_free_name,
    noreplace_refuses_a_taken_name,
    noreplace_refuses_the_name_itself,
    noreplace_refuses_a_link_of_the_same_inode + HARD_LINKS,
    a_refused_rename_changes_nothing,
    a_rename_into_a_removed_directory_is_enoent,
    a_rename_to_the_longest_name,
    a_renamed_directory_is_still_itself_for_who_holds_it,
    a_file_is_renamed_a_hundred_times,
    a_tree_is_renamed_and_its_old_name_made_again,
    all_files_of_a_directory_move_to_another,
}

fn a_file_gets_a_new_name(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    base.mv("a", "b")?;
    base.absent("a")?;
    base.holds("b", "1")?;
    base.lists(&["b"])
}

fn a_renamed_file_keeps_inode_content_and_attributes(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 9_000);
    let base = env.start(&[file(b"a", &content).mode(0o4711).owner(3, 4), dir(b"d")])?;
    let before = base.attr_of("a")?;
    env.clock.tick();
    base.mv_to("a", &base.dir("d")?, "b")?;
    let after = base.attr_of("d/b")?;
    if env.has(Features::CONSTANT_INO) {
        check_eq!(after.ino, before.ino);
    }
    check_eq!(
        (after.mode, after.uid, after.gid, after.nlink, after.size, after.mtime),
        (before.mode, before.uid, before.gid, before.nlink, before.size, before.mtime)
    );
    base.holds("d/b", &content)
}

fn a_file_moves_to_another_directory(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"e"), file(b"d/a", b"1"), file(b"e/z", b"")])?;
    base.dir("d")?.mv_to("a", &base.dir("e")?, "b")?;
    base.dir("d")?.lists(&[])?;
    base.dir("e")?.lists(&["b", "z"])?;
    base.holds("e/b", "1")
}

fn a_file_replaces_a_file(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"new"), file(b"b", b"old"), file(b"c", b"")])?;
    base.mv("a", "b")?;
    base.lists(&["b", "c"])?;
    base.holds("b", "new")
}

fn a_file_replaces_a_file_in_another_directory(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/a", b"new"), file(b"b", b"old")])?;
    base.dir("d")?.mv_to("a", &base, "b")?;
    base.dir("d")?.lists(&[])?;
    base.lists(&["b", "d"])?;
    base.holds("b", "new")
}

fn a_symbolic_link_is_moved_and_not_followed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), symlink(b"l", b"f"), dir(b"d")])?;
    base.mv_to("l", &base.dir("d")?, "m")?;
    check_eq!(base.link_at("d/m")?.target()?, b"f");
    base.lists(&["d", "f"])
}

fn a_special_node_is_moved(env: &Env<'_>) -> Outcome {
    let base = env.start(&[char_device(b"null", 1, 3), file(b"f", b"")])?;
    let before = base.attr_of("null")?;
    base.mv("null", "f")?;
    check_eq!(base.attr_of("f")?.rdev, before.rdev);
    base.lists(&["f"])
}

fn a_file_and_a_symbolic_link_replace_each_other(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), symlink(b"l", b"t"), file(b"g", b"2")])?;
    base.mv("f", "l")?;
    base.holds("l", "1")?;
    base.make("m", NewKind::Symlink(b"u"))?;
    base.mv("m", "g")?;
    check_eq!(base.link_at("g")?.target()?, b"u");
    base.lists(&["g", "l"])
}

fn an_absent_source_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"b", b"1"), dir(b"d")])?;
    for mode in [RenameMode::Replace, RenameMode::NoReplace] {
        check_err!(base.rename("a", &base, "c", mode), ENOENT);
        check_err!(base.rename("a", &base.dir("d")?, "c", mode), ENOENT);
    }
    check_err!(base.mv("a", "b"), ENOENT);
    base.holds("b", "1")
}

fn a_file_over_a_directory_is_eisdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), symlink(b"l", b"f"), dir(b"d"), dir(b"e"), file(b"e/x", b"")])?;
    for source in ["f", "l"] {
        check_err!(base.mv(source, "d"), EISDIR);
        check_err!(base.mv(source, "e"), EISDIR);
    }
    base.lists(&["d", "e", "f", "l"])
}

fn a_directory_over_a_file_is_enotdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d"), dir(b"e"), file(b"e/f", b"2")])?;
    check_err!(base.mv("d", "f"), ENOTDIR);
    check_err!(base.mv_to("d", &base.dir("e")?, "f"), ENOTDIR);
    base.holds("f", "1")?;
    base.lists(&["d", "e", "f"])
}

fn a_directory_over_a_symbolic_link_is_enotdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"e"), symlink(b"l", b"e")])?;
    check_err!(base.mv("d", "l"), ENOTDIR);
    base.lists(&["d", "e", "l"])
}

fn a_directory_replaces_an_empty_directory(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/x", b"1"), dir(b"e"), dir(b"s"), dir(b"s/e")])?;
    base.mv("d", "e")?;
    base.holds("e/x", "1")?;
    base.mv_to("e", &base.dir("s")?, "e")?;
    base.holds("s/e/x", "1")?;
    base.lists(&["s"])
}

fn a_directory_over_a_full_one_is_enotempty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/x", b"1"), dir(b"e"), file(b"e/y", b"2"), dir(b"s"), dir(b"s/t")])?;
    check_err!(base.mv("d", "e"), ENOTEMPTY);
    check_err!(base.mv("d", "s"), ENOTEMPTY);
    base.holds("d/x", "1")?;
    base.holds("e/y", "2")?;
    base.dir("s")?.lists(&["t"])
}

fn a_directory_over_its_own_parent_is_enotempty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/e")])?;
    check_err!(base.dir("d")?.mv_to("e", &base, "d"), ENOTEMPTY);
    base.dir("d")?.lists(&["e"])
}

fn a_directory_moves_with_all_below_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[
        dir(b"d").mode(0o700).owner(1, 2),
        dir(b"d/s"),
        file(b"d/s/f", b"deep"),
        symlink(b"d/l", b"s"),
        dir(b"to"),
    ])?;
    let before = base.attr_of("d")?;
    base.mv_to("d", &base.dir("to")?, "e")?;
    base.lists(&["to"])?;
    base.holds("to/e/s/f", "deep")?;
    base.dir("to/e")?.lists(&["l", "s"])?;
    let after = base.attr_of("to/e")?;
    check_eq!((after.mode, after.uid, after.gid), (0o700, 1, 2));
    if env.has(Features::CONSTANT_INO) {
        check_eq!(after.ino, before.ino);
    }
    base.dir("to/e/s")?.file("new", "after the move")?;
    base.holds("to/e/s/new", "after the move")
}

fn a_directory_moves_up_and_down(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), dir(b"a/b"), dir(b"a/b/c"), file(b"a/b/c/f", b"1")])?;
    let (a, b) = (base.dir("a")?, base.dir("a/b")?);
    b.mv_to("c", &base, "c")?;
    base.holds("c/f", "1")?;
    base.mv_to("a", &base.dir("c")?, "a")?;
    base.lists(&["c"])?;
    base.dir("c")?.lists(&["a", "f"])?;
    a.mv_to("b", &base, "b")?;
    base.lists(&["b", "c"])?;
    b.lists(&[])
}

fn links(dir: &Dir, expected: u32) -> Outcome {
    check_eq!(dir.attr()?.nlink, expected, "nlink of a directory");
    Ok(())
}

fn a_directory_that_moves_takes_its_link_along(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), dir(b"a/s"), dir(b"b")])?;
    let (a, b) = (base.dir("a")?, base.dir("b")?);
    a.mv_to("s", &b, "t")?;
    links(&a, 2)?;
    links(&b, 3)?;
    links(&b.dir("t")?, 2)?;
    b.mv("t", "u")?;
    links(&b, 3)
}

fn a_directory_that_replaces_another_keeps_the_links_right(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), dir(b"a/s"), dir(b"b"), dir(b"b/t"), dir(b"b/u")])?;
    let (a, b) = (base.dir("a")?, base.dir("b")?);
    let victim = b.dir("t")?;
    a.mv_to("s", &b, "t")?;
    links(&a, 2)?;
    links(&b, 4)?;
    if env.has(Features::OPEN_UNLINKED) {
        links(&victim, 0)?;
    }
    b.mv("t", "u")?;
    links(&b, 3)
}

fn a_rename_to_itself_does_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d"), dir(b"e"), file(b"e/x", b"")])?;
    let before = base.attr_of("f")?;
    env.clock.tick();
    base.mv("f", "f")?;
    base.mv("d", "d")?;
    base.mv("e", "e")?;
    check_eq!(base.attr_of("f")?, before);
    base.lists(&["d", "e", "f"])?;
    base.dir("e")?.lists(&["x"])
}

fn a_rename_between_links_of_one_inode_does_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), dir(b"d")])?;
    base.link("b", &base.at("a")?)?;
    base.dir("d")?.link("c", &base.at("a")?)?;
    base.mv("a", "b")?;
    base.mv_to("a", &base.dir("d")?, "c")?;
    base.lists(&["a", "b", "d"])?;
    check_eq!(base.attr_of("a")?.nlink, 3);
    Ok(())
}

fn a_replaced_link_leaves_the_other_names(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"shared"), hard_link(b"b", b"a"), file(b"c", b"new")])?;
    base.mv("c", "b")?;
    base.holds("a", "shared")?;
    base.holds("b", "new")?;
    check_eq!(base.attr_of("a")?.nlink, 1);
    base.mv("a", "d")?;
    base.holds("d", "shared")
}

fn noreplace_moves_to_a_free_name(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), dir(b"d"), dir(b"e"), file(b"e/x", b"2")])?;
    base.rename("a", &base.dir("d")?, "b", RenameMode::NoReplace)?;
    base.rename("e", &base.dir("d")?, "f", RenameMode::NoReplace)?;
    base.holds("d/b", "1")?;
    base.holds("d/f/x", "2")?;
    base.lists(&["d"])
}

fn noreplace_refuses_a_taken_name(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), file(b"b", b"2"), dir(b"d"), dir(b"e"), symlink(b"l", b"x")])?;
    for (source, target) in [("a", "b"), ("a", "d"), ("a", "l"), ("d", "e"), ("d", "b"), ("l", "a")] {
        check_err!(base.rename(source, &base, target, RenameMode::NoReplace), EEXIST);
    }
    base.lists(&["a", "b", "d", "e", "l"])?;
    base.holds("b", "2")
}

fn noreplace_refuses_the_name_itself(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    check_err!(base.rename("a", &base, "a", RenameMode::NoReplace), EEXIST);
    base.holds("a", "1")
}

fn noreplace_refuses_a_link_of_the_same_inode(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), hard_link(b"b", b"a")])?;
    check_err!(base.rename("a", &base, "b", RenameMode::NoReplace), EEXIST);
    check_eq!(base.attr_of("a")?.nlink, 2);
    Ok(())
}

fn a_refused_rename_changes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[
        dir(b"s"),
        dir(b"t"),
        file(b"s/f", b"1"),
        dir(b"s/d"),
        file(b"t/f", b"2"),
        dir(b"t/full"),
        file(b"t/full/x", b""),
    ])?;
    let (s, t) = (base.dir("s")?, base.dir("t")?);
    let paths = ["s", "t", "s/f", "s/d", "t/f", "t/full"];
    let mut before = alloc::vec::Vec::new();
    for path in paths {
        before.push(base.attr_of(path)?);
    }
    env.clock.tick();
    check_err!(s.mv_to("f", &t, "full"), EISDIR);
    check_err!(s.mv_to("d", &t, "f"), ENOTDIR);
    check_err!(s.mv_to("d", &t, "full"), ENOTEMPTY);
    check_err!(s.rename("f", &t, "f", RenameMode::NoReplace), EEXIST);
    check_err!(s.mv_to("nothing", &t, "f"), ENOENT);
    for (path, before) in paths.iter().zip(before) {
        check_eq!(base.attr_of(path)?, before, "attributes of {path}");
    }
    Ok(())
}

fn a_rename_into_a_removed_directory_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d"), dir(b"gone")])?;
    let gone = base.dir("gone")?;
    base.rmdir("gone")?;
    for mode in [RenameMode::Replace, RenameMode::NoReplace] {
        check_err!(base.rename("f", &gone, "f", mode), ENOENT);
        check_err!(base.rename("d", &gone, "d", mode), ENOENT);
    }
    check_err!(gone.mv_to("f", &base, "x"), ENOENT);
    base.lists(&["d", "f"])
}

fn a_rename_to_the_longest_name(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"short", b"1")])?;
    let longest = [b'y'; vfs::NAME_MAX];
    base.mv("short", longest)?;
    base.holds(longest, "1")?;
    base.mv(longest, "s")?;
    base.lists(&["s"])
}

fn a_renamed_directory_is_still_itself_for_who_holds_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"1"), dir(b"to")])?;
    let (held, file) = (base.dir("d")?, base.open("d/f")?);
    base.mv_to("d", &base.dir("to")?, "e")?;
    held.holds("f", "1")?;
    held.file("g", "2")?;
    file.put(0, "3")?;
    base.holds("to/e/g", "2")?;
    base.holds("to/e/f", "3")?;
    held.unlink("f")?;
    base.dir("to/e")?.lists(&["g"])
}

fn a_file_is_renamed_a_hundred_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"0", b"me"), dir(b"d")])?;
    let d = base.dir("d")?;
    let before = base.at("0")?.id();
    for number in 0..100 {
        let (from, to) = if number % 2 == 0 { (&base, &d) } else { (&d, &base) };
        from.mv_to(format!("{number}"), to, format!("{}", number + 1))?;
    }
    base.lists(&["100", "d"])?;
    d.lists(&[])?;
    base.holds("100", "me")?;
    if env.has(Features::CONSTANT_INO) {
        check_eq!(base.at("100")?.id(), before);
    }
    Ok(())
}

fn a_tree_is_renamed_and_its_old_name_made_again(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/old", b"1"), dir(b"d/s"), file(b"d/s/f", b"2")])?;
    base.mv("d", "moved")?;
    base.mkdir("d")?.file("new", "3")?;
    base.dir("d")?.lists(&["new"])?;
    base.dir("moved")?.lists(&["old", "s"])?;
    base.dir("d")?.mkdir("s")?.lists(&[])?;
    base.holds("moved/s/f", "2")?;
    base.dir("d")?.rmdir("s")?;
    base.dir("d")?.unlink("new")?;
    base.rmdir("d")?;
    base.mv("moved", "d")?;
    base.holds("d/s/f", "2")?;
    base.dir("d")?.lists(&["old", "s"])
}

fn all_files_of_a_directory_move_to_another(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), dir(b"b")])?;
    let (a, b) = (base.dir("a")?, base.dir("b")?);
    for number in 0..300 {
        a.file(format!("{number:03}"), format!("{number}"))?;
    }
    for entry in a.list_from(0, usize::MAX)? {
        a.mv_to(&entry.name, &b, &entry.name)?;
    }
    a.lists(&[])?;
    check_eq!(b.list()?.len(), 300);
    b.holds("123", "123")
}
