//! `RENAME_EXCHANGE`.

use vfs::RenameMode;

use super::group;
use crate::tree::{dir, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "exchange", Features::WRITE.union(Features::EXCHANGE);
    two_files_change_places,
    two_files_change_directories,
    a_file_and_a_directory_change_places,
    two_full_directories_change_places,
    directories_exchanged_across_parents_keep_the_links_right + DIR_LINKS,
    a_file_exchanged_with_a_directory_across_parents_moves_a_link + DIR_LINKS,
    an_absent_target_is_enoent,
    an_absent_source_is_enoent,
    a_name_exchanged_with_itself_stays,
    links_of_one_inode_exchanged_stay + HARD_LINKS,
    inodes_keep_their_identity + CONSTANT_INO,
    an_exchange_twice_is_none,
    a_removed_directory_is_enoent,
}

fn two_files_change_places(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), file(b"b", b"2")])?;
    base.swap("a", &base, "b")?;
    base.holds("a", "2")?;
    base.holds("b", "1")?;
    base.lists(&["a", "b"])
}

fn two_files_change_directories(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/a", b"1"), file(b"b", b"2")])?;
    base.dir("d")?.swap("a", &base, "b")?;
    base.holds("d/a", "2")?;
    base.holds("b", "1")?;
    base.lists(&["b", "d"])
}

fn a_file_and_a_directory_change_places(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/x", b"in"), file(b"f", b"1"), symlink(b"l", b"t")])?;
    base.swap("d", &base, "f")?;
    base.holds("d", "1")?;
    base.holds("f/x", "in")?;
    base.swap("l", &base, "f")?;
    base.holds("l/x", "in")?;
    check_eq!(base.link_at("f")?.target()?, b"t");
    base.lists(&["d", "f", "l"])
}

fn two_full_directories_change_places(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/x", b"1"), dir(b"e"), dir(b"e/s"), file(b"e/s/y", b"2")])?;
    base.swap("d", &base, "e")?;
    base.holds("e/x", "1")?;
    base.holds("d/s/y", "2")?;
    base.dir("d")?.lists(&["s"])?;
    base.dir("e")?.lists(&["x"])
}

fn directories_exchanged_across_parents_keep_the_links_right(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), dir(b"a/s"), dir(b"b"), dir(b"b/t"), dir(b"b/t/u")])?;
    base.dir("a")?.swap("s", &base.dir("b")?, "t")?;
    check_eq!(base.attr_of("a")?.nlink, 3);
    check_eq!(base.attr_of("b")?.nlink, 3);
    check_eq!(base.attr_of("a/s")?.nlink, 3);
    check_eq!(base.attr_of("b/t")?.nlink, 2);
    Ok(())
}

fn a_file_exchanged_with_a_directory_across_parents_moves_a_link(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"a"), file(b"a/f", b""), dir(b"b"), dir(b"b/t")])?;
    let (a, b) = (base.dir("a")?, base.dir("b")?);
    a.swap("f", &b, "t")?;
    check_eq!((a.attr()?.nlink, b.attr()?.nlink), (3, 2));
    a.swap("f", &b, "t")?;
    check_eq!((a.attr()?.nlink, b.attr()?.nlink), (2, 3));
    Ok(())
}

fn an_absent_target_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), dir(b"d")])?;
    check_err!(base.swap("a", &base, "b"), ENOENT);
    check_err!(base.swap("a", &base.dir("d")?, "a"), ENOENT);
    base.holds("a", "1")?;
    base.lists(&["a", "d"])
}

fn an_absent_source_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    check_err!(base.swap("b", &base, "a"), ENOENT);
    base.lists(&["a"])
}

fn a_name_exchanged_with_itself_stays(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    base.swap("a", &base, "a")?;
    base.holds("a", "1")
}

fn links_of_one_inode_exchanged_stay(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), hard_link(b"b", b"a")])?;
    base.swap("a", &base, "b")?;
    check_eq!(base.attr_of("a")?, base.attr_of("b")?);
    check_eq!(base.attr_of("a")?.nlink, 2);
    Ok(())
}

fn inodes_keep_their_identity(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/a", b"1"), file(b"b", b"2")])?;
    let (a, b) = (base.at("d/a")?.id(), base.at("b")?.id());
    base.dir("d")?.swap("a", &base, "b")?;
    check_eq!(base.at("d/a")?.id(), b);
    check_eq!(base.at("b")?.id(), a);
    let listed = base.dir("d")?.list()?;
    check_eq!(listed[0].ino, b.ino);
    Ok(())
}

fn an_exchange_twice_is_none(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/x", b"1"), file(b"f", b"2")])?;
    base.swap("d", &base, "f")?;
    base.swap("d", &base, "f")?;
    base.holds("d/x", "1")?;
    base.holds("f", "2")
}

fn a_removed_directory_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), dir(b"gone")])?;
    let gone = base.dir("gone")?;
    base.rmdir("gone")?;
    check_err!(base.rename("a", &gone, "a", RenameMode::Exchange), ENOENT);
    base.holds("a", "1")
}
