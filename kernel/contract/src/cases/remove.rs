//! Removing entries, and what stays of a node that is still held.

use vfs::{FileType, NewKind, SetAttr, XattrMode};

use super::group;
use crate::dsl::{chmod, pattern};
use crate::tree::{dir, fifo, file, symlink};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "remove", Features::WRITE;
    an_unlinked_file_is_gone,
    an_unlinked_symbolic_link_is_gone_and_its_target_stays,
    an_unlinked_special_node_is_gone + DEVICES,
    unlink_of_an_absent_name_is_enoent,
    unlink_of_a_directory_is_eisdir,
    rmdir_of_an_absent_name_is_enoent,
    rmdir_of_a_file_is_enotdir,
    rmdir_of_a_symbolic_link_is_enotdir,
    rmdir_of_a_full_directory_is_enotempty,
    an_empty_directory_is_removed,
    a_directory_that_was_emptied_is_removed,
    a_removed_directory_takes_a_link_from_its_parent + DIR_LINKS,
    a_refused_removal_changes_nothing,
    a_removal_leaves_the_neighbours,
    an_unlinked_file_is_read_and_written_while_held + OPEN_UNLINKED,
    an_unlinked_file_keeps_attributes_while_held + OPEN_UNLINKED,
    an_unlinked_file_and_its_successor_are_two + OPEN_UNLINKED,
    an_unlinked_file_grows_and_shrinks_while_held + OPEN_UNLINKED,
    a_removed_directory_is_empty_while_held + OPEN_UNLINKED,
    a_replaced_file_is_read_while_held + OPEN_UNLINKED,
    space_comes_back_after_the_last_use + LIMITED_SPACE,
}

fn an_unlinked_file_is_gone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), file(b"b", b"2")])?;
    base.unlink("a")?;
    base.absent("a")?;
    base.lists(&["b"])?;
    check_err!(base.unlink("a"), ENOENT);
    Ok(())
}

fn an_unlinked_symbolic_link_is_gone_and_its_target_stays(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), symlink(b"l", b"f")])?;
    base.unlink("l")?;
    base.absent("l")?;
    base.holds("f", "1")
}

fn an_unlinked_special_node_is_gone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[fifo(b"p")])?;
    base.unlink("p")?;
    base.lists(&[])
}

fn unlink_of_an_absent_name_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    check_err!(base.unlink("nothing"), ENOENT);
    Ok(())
}

fn unlink_of_a_directory_is_eisdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"empty"), dir(b"full"), file(b"full/f", b"")])?;
    check_err!(base.unlink("empty"), EISDIR);
    check_err!(base.unlink("full"), EISDIR);
    base.lists(&["empty", "full"])
}

fn rmdir_of_an_absent_name_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    check_err!(base.rmdir("nothing"), ENOENT);
    Ok(())
}

fn rmdir_of_a_file_is_enotdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1")])?;
    check_err!(base.rmdir("f"), ENOTDIR);
    base.holds("f", "1")
}

fn rmdir_of_a_symbolic_link_is_enotdir(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), symlink(b"l", b"d")])?;
    check_err!(base.rmdir("l"), ENOTDIR);
    base.lists(&["d", "l"])
}

fn rmdir_of_a_full_directory_is_enotempty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/s"), dir(b"e"), file(b"e/f", b"1")])?;
    check_err!(base.rmdir("d"), ENOTEMPTY);
    check_err!(base.rmdir("e"), ENOTEMPTY);
    base.dir("d")?.lists(&["s"])?;
    base.holds("e/f", "1")
}

fn an_empty_directory_is_removed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"e")])?;
    base.rmdir("d")?;
    base.absent("d")?;
    base.lists(&["e"])
}

fn a_directory_that_was_emptied_is_removed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/s"), file(b"d/f", b"1"), symlink(b"d/l", b"f")])?;
    let d = base.dir("d")?;
    d.file("new", "")?;
    d.unlink("f")?;
    d.unlink("l")?;
    d.rmdir("s")?;
    check_err!(base.rmdir("d"), ENOTEMPTY);
    d.unlink("new")?;
    base.rmdir("d")?;
    base.lists(&[])
}

fn a_removed_directory_takes_a_link_from_its_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/a"), dir(b"d/b"), file(b"d/f", b"")])?;
    let d = base.dir("d")?;
    check_eq!(d.attr()?.nlink, 4);
    d.rmdir("a")?;
    check_eq!(d.attr()?.nlink, 3);
    d.unlink("f")?;
    check_eq!(d.attr()?.nlink, 3);
    d.rmdir("b")?;
    check_eq!(d.attr()?.nlink, 2);
    Ok(())
}

fn a_refused_removal_changes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), dir(b"d/full"), file(b"d/full/f", b"")])?;
    let d = base.dir("d")?;
    let (before, inner) = (d.attr()?, base.attr_of("d/full")?);
    env.clock.tick();
    check_err!(d.rmdir("full"), ENOTEMPTY);
    check_err!(d.unlink("full"), EISDIR);
    check_err!(d.unlink("nothing"), ENOENT);
    check_eq!(d.attr()?, before);
    check_eq!(base.attr_of("d/full")?, inner);
    Ok(())
}

fn a_removal_leaves_the_neighbours(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for number in 0..200 {
        base.file(alloc::format!("{number:03}"), alloc::format!("{number}"))?;
    }
    for number in (0..200).step_by(2) {
        base.unlink(alloc::format!("{number:03}"))?;
    }
    for number in (1..200).step_by(2) {
        base.holds(alloc::format!("{number:03}"), alloc::format!("{number}"))?;
    }
    check_eq!(base.list()?.len(), 100);
    Ok(())
}

fn an_unlinked_file_is_read_and_written_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", &pattern(0, 10_000))])?;
    let held = base.open("f")?;
    base.unlink("f")?;
    held.holds(pattern(0, 10_000))?;
    held.put(5_000, "changed")?;
    held.append(b"end")?;
    check_eq!(held.get(5_000, 7)?, b"changed");
    check_eq!(held.get(10_000, 3)?, b"end");
    base.absent("f")
}

fn an_unlinked_file_keeps_attributes_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc").mode(0o640)])?;
    let held = base.open("f")?;
    let before = held.attr()?;
    base.unlink("f")?;
    let after = held.attr()?;
    check_eq!((after.nlink, after.mode, after.size, after.ino), (0, 0o640, 3, before.ino));
    held.set_attr(&SetAttr { uid: Some(5), ..chmod(0o600) })?;
    check_eq!((held.attr()?.mode, held.attr()?.uid), (0o600, 5));
    if env.has(Features::USER_XATTRS) {
        held.set_xattr(b"user.x", b"y", XattrMode::Set)?;
        check_eq!(held.xattr(b"user.x")?.as_deref(), Some(&b"y"[..]));
    }
    Ok(())
}

fn an_unlinked_file_and_its_successor_are_two(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"old")])?;
    let held = base.open("f")?;
    base.unlink("f")?;
    base.file("f", "newer")?;
    held.holds("old")?;
    held.put(0, "OLD")?;
    base.holds("f", "newer")?;
    check!(held.id() != base.at("f")?.id(), "two inodes with one number");
    Ok(())
}

fn an_unlinked_file_grows_and_shrinks_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let held = base.open("f")?;
    base.unlink("f")?;
    held.set_len(4)?;
    held.holds("0123")?;
    held.set_len(6)?;
    held.holds("0123\0\0")?;
    held.put(100_000, "far")?;
    check_eq!(held.size()?, 100_003);
    Ok(())
}

fn a_removed_directory_is_empty_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let held = base.dir("d")?;
    base.rmdir("d")?;
    held.lists(&[])?;
    held.absent("x")?;
    let attr = held.attr()?;
    check_eq!((attr.kind, attr.nlink), (FileType::Dir, 0));
    base.make("d", NewKind::Dir)?;
    base.dir("d")?.file("x", "")?;
    held.absent("x")
}

fn a_replaced_file_is_read_while_held(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"new"), file(b"b", b"old")])?;
    let held = base.open("b")?;
    base.mv("a", "b")?;
    held.holds("old")?;
    check_eq!(held.attr()?.nlink, 0);
    base.holds("b", "new")
}

fn space_comes_back_after_the_last_use(env: &Env<'_>) -> Outcome {
    const SPACE: u64 = 8 << 20;
    let base = env.start_small(&[], SPACE)?;
    // Four times more than fits, if none came back.
    for round in 0..16u64 {
        let held = base.file("f", pattern(round, 2 << 20))?;
        base.unlink("f")?;
        held.holds(pattern(round, 2 << 20))?;
    }
    base.lists(&[])
}
