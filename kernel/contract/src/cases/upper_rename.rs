//! The overlay's rename in its upper layer: whiteouts left and replaced, attributes changed in the same step.

use vfs::{Name, NewKind, SourceLeft, Subject, UpperRename, UpperRenameMode, XattrChange};

use super::group;
use super::upper::{is_white, white};
use crate::dsl::Dir;
use crate::tree::{dir, file, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "upper_rename", Features::WRITE.union(Features::UPPER);
    a_move_leaves_nothing,
    a_move_leaves_a_whiteout,
    a_move_in_one_directory_leaves_a_whiteout,
    a_move_replaces_a_whiteout_by_a_file,
    a_move_replaces_a_whiteout_by_a_directory,
    a_move_replaces_a_file,
    a_move_replaces_a_directory_of_whiteouts,
    a_move_over_a_directory_that_holds_more_is_enotempty,
    a_move_of_a_file_over_a_directory_is_eisdir,
    a_move_of_a_directory_over_a_file_is_enotdir,
    a_move_of_what_is_absent_is_enoent,
    a_move_into_a_removed_directory_is_enoent,
    a_move_of_a_directory_leaves_a_whiteout_and_takes_its_link + DIR_LINKS,
    a_move_over_a_directory_keeps_the_links_right + DIR_LINKS,
    a_move_changes_the_times_of_both_parents,
    a_move_keeps_the_inode,
    a_move_sets_xattrs_of_all_subjects + ALL_XATTRS,
    a_move_within_one_directory_sets_both_parents_xattrs_once + ALL_XATTRS,
    a_move_removes_xattrs + ALL_XATTRS,
    a_move_with_an_impossible_xattr_changes_nothing + ALL_XATTRS,
    a_move_with_a_subject_that_is_not_there_changes_nothing + ALL_XATTRS,
    an_exchange_swaps_and_leaves_no_whiteout,
    an_exchange_sets_xattrs_of_both_nodes + ALL_XATTRS,
    an_exchange_with_what_is_absent_is_enoent,
    a_refused_move_leaves_no_whiteout,
}

const NOTHING: UpperRenameMode = UpperRenameMode::Move(SourceLeft::Nothing);
const WHITEOUT: UpperRenameMode = UpperRenameMode::Move(SourceLeft::Whiteout);

fn rename(
    from: &Dir,
    name: &str,
    to: &Dir,
    new_name: &str,
    mode: UpperRenameMode,
    xattrs: &[XattrChange<'_>],
) -> vfs::Result<()> {
    let upper = from.as_upper().ok_or(vfs::Errno::EOPNOTSUPP)?;
    let (name, new_name) = (Name::new(name.as_bytes())?, Name::new(new_name.as_bytes())?);
    upper.rename_upper(&UpperRename { name, to: &to.0, new_name, mode, xattrs })
}

/// `s` with a file and a directory, `t` with a file, an empty directory, one of whiteouts, a full one, and a whiteout.
fn stage_set(env: &Env<'_>) -> Outcome<(Dir, Dir, Dir)> {
    let base = env.start(&[
        dir(b"s"),
        file(b"s/f", b"moved"),
        dir(b"s/d"),
        file(b"s/d/x", b"inside"),
        dir(b"t"),
        file(b"t/f", b"old"),
        symlink(b"t/l", b"x"),
        dir(b"t/empty"),
        dir(b"t/cleared"),
        dir(b"t/full"),
        file(b"t/full/y", b""),
    ])?;
    let (s, t) = (base.dir("s")?, base.dir("t")?);
    white(&t.dir("cleared")?, "a")?;
    white(&t.dir("cleared")?, "b")?;
    white(&t.dir("full")?, "a")?;
    white(&t, "w")?;
    Ok((base, s, t))
}

fn a_move_leaves_nothing(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    rename(&s, "f", &t, "new", NOTHING, &[])?;
    rename(&s, "d", &t, "dir", NOTHING, &[])?;
    s.lists(&[])?;
    base.holds("t/new", "moved")?;
    base.holds("t/dir/x", "inside")
}

fn a_move_leaves_a_whiteout(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    rename(&s, "f", &t, "new", WHITEOUT, &[])?;
    rename(&s, "d", &t, "dir", WHITEOUT, &[])?;
    is_white(&s, "f")?;
    is_white(&s, "d")?;
    s.lists(&["d", "f"])?;
    base.holds("t/new", "moved")?;
    base.holds("t/dir/x", "inside")
}

fn a_move_in_one_directory_leaves_a_whiteout(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    rename(&s, "f", &s, "new", WHITEOUT, &[])?;
    is_white(&s, "f")?;
    s.holds("new", "moved")?;
    s.lists(&["d", "f", "new"])?;
    rename(&t, "f", &t, "w", WHITEOUT, &[])?;
    is_white(&t, "f")?;
    t.holds("w", "old")
}

fn a_move_replaces_a_whiteout_by_a_file(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    rename(&s, "f", &t, "w", NOTHING, &[])?;
    t.holds("w", "moved")?;
    s.lists(&["d"])?;
    t.lists(&["cleared", "empty", "f", "full", "l", "w"])
}

fn a_move_replaces_a_whiteout_by_a_directory(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    rename(&s, "d", &t, "w", WHITEOUT, &[])?;
    t.holds("w/x", "inside")?;
    is_white(&s, "d")
}

fn a_move_replaces_a_file(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let victim = t.open("f")?;
    rename(&s, "f", &t, "f", WHITEOUT, &[])?;
    t.holds("f", "moved")?;
    is_white(&s, "f")?;
    check_eq!(victim.attr()?.nlink, 0);
    rename(&t, "f", &t, "l", NOTHING, &[])?;
    t.holds("l", "moved")
}

fn a_move_replaces_a_directory_of_whiteouts(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let victim = t.dir("cleared")?;
    rename(&s, "d", &t, "cleared", WHITEOUT, &[])?;
    t.dir("cleared")?.lists(&["x"])?;
    is_white(&s, "d")?;
    check_err!(victim.make("z", NewKind::File), ENOENT);
    rename(&t, "cleared", &t, "empty", NOTHING, &[])?;
    t.dir("empty")?.lists(&["x"])?;
    t.absent("cleared")
}

fn a_move_over_a_directory_that_holds_more_is_enotempty(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    check_err!(rename(&s, "d", &t, "full", WHITEOUT, &[]), ENOTEMPTY);
    t.dir("full")?.lists(&["a", "y"])?;
    s.dir("d")?.lists(&["x"])
}

fn a_move_of_a_file_over_a_directory_is_eisdir(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    for target in ["empty", "cleared", "full"] {
        check_err!(rename(&s, "f", &t, target, NOTHING, &[]), EISDIR);
    }
    s.holds("f", "moved")
}

fn a_move_of_a_directory_over_a_file_is_enotdir(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    check_err!(rename(&s, "d", &t, "f", NOTHING, &[]), ENOTDIR);
    check_err!(rename(&s, "d", &t, "l", WHITEOUT, &[]), ENOTDIR);
    t.holds("f", "old")?;
    s.dir("d")?.lists(&["x"])
}

fn a_move_of_what_is_absent_is_enoent(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    for mode in [NOTHING, WHITEOUT, UpperRenameMode::Exchange] {
        check_err!(rename(&s, "nothing", &t, "f", mode, &[]), ENOENT);
        check_err!(rename(&s, "nothing", &t, "free", mode, &[]), ENOENT);
    }
    s.absent("nothing")?;
    t.holds("f", "old")
}

fn a_move_into_a_removed_directory_is_enoent(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let gone = t.dir("empty")?;
    t.rmdir("empty")?;
    check_err!(rename(&s, "f", &gone, "f", WHITEOUT, &[]), ENOENT);
    s.holds("f", "moved")
}

fn a_move_of_a_directory_leaves_a_whiteout_and_takes_its_link(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let before = t.attr()?.nlink;
    rename(&s, "d", &t, "new", WHITEOUT, &[])?;
    check_eq!((s.attr()?.nlink, t.attr()?.nlink), (2, before + 1));
    rename(&t, "new", &s, "d", NOTHING, &[])?;
    check_eq!((s.attr()?.nlink, t.attr()?.nlink), (3, before));
    Ok(())
}

fn a_move_over_a_directory_keeps_the_links_right(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let before = t.attr()?.nlink;
    rename(&s, "d", &t, "cleared", WHITEOUT, &[])?;
    check_eq!((s.attr()?.nlink, t.attr()?.nlink), (2, before));
    rename(&t, "cleared", &t, "empty", WHITEOUT, &[])?;
    check_eq!(t.attr()?.nlink, before - 1);
    Ok(())
}

fn a_move_changes_the_times_of_both_parents(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let before = s.attr_of("f")?.mtime;
    let now = env.clock.tick();
    rename(&s, "f", &t, "f", WHITEOUT, &[])?;
    for dir in [&s, &t] {
        check_eq!((dir.attr()?.mtime, dir.attr()?.ctime), (now, now));
    }
    let moved = t.attr_of("f")?;
    check_eq!((moved.mtime, moved.ctime), (before, now));
    Ok(())
}

fn a_move_keeps_the_inode(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let (file, dir) = (s.at("f")?.id(), s.at("d")?.id());
    rename(&s, "f", &t, "w", WHITEOUT, &[])?;
    rename(&s, "d", &t, "cleared", WHITEOUT, &[])?;
    check_eq!((t.at("w")?.id(), t.at("cleared")?.id()), (file, dir));
    Ok(())
}

fn change<'a>(subject: Subject, name: &'a [u8], value: Option<&'a [u8]>) -> XattrChange<'a> {
    XattrChange { subject, name, value }
}

const REDIRECT: &[u8] = b"trusted.overlay.redirect";
const IMPURE: &[u8] = b"trusted.overlay.impure";
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

fn xattr(dir: &Dir, path: &str, name: &[u8], expected: Option<&[u8]>) -> Outcome {
    check_eq!(dir.at(path)?.ops().xattr(name)?.as_deref(), expected, "an attribute of \"{path}\"");
    Ok(())
}

fn a_move_sets_xattrs_of_all_subjects(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    let xattrs = [
        change(Subject::Moved, REDIRECT, Some(b"/s/d")),
        change(Subject::Moved, OPAQUE, Some(b"y")),
        change(Subject::NewParent, IMPURE, Some(b"y")),
        change(Subject::OldParent, b"trusted.old", Some(b"1")),
    ];
    rename(&s, "d", &t, "d", WHITEOUT, &xattrs)?;
    xattr(&base, "t/d", REDIRECT, Some(b"/s/d"))?;
    xattr(&base, "t/d", OPAQUE, Some(b"y"))?;
    xattr(&base, "t", IMPURE, Some(b"y"))?;
    xattr(&base, "s", b"trusted.old", Some(b"1"))?;
    xattr(&base, "s", IMPURE, None)
}

fn a_move_within_one_directory_sets_both_parents_xattrs_once(env: &Env<'_>) -> Outcome {
    let (base, s, _) = stage_set(env)?;
    let xattrs = [
        change(Subject::OldParent, b"trusted.a", Some(b"old")),
        change(Subject::NewParent, b"trusted.a", Some(b"new")),
        change(Subject::NewParent, IMPURE, Some(b"y")),
    ];
    rename(&s, "f", &s, "g", NOTHING, &xattrs)?;
    xattr(&base, "s", b"trusted.a", Some(b"new"))?;
    xattr(&base, "s", IMPURE, Some(b"y"))
}

fn a_move_removes_xattrs(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    rename(&s, "d", &t, "d", NOTHING, &[change(Subject::Moved, REDIRECT, Some(b"d"))])?;
    let back = [change(Subject::Moved, REDIRECT, None), change(Subject::Moved, b"trusted.absent", None)];
    rename(&t, "d", &s, "d", NOTHING, &back)?;
    xattr(&base, "s/d", REDIRECT, None)
}

fn a_move_with_an_impossible_xattr_changes_nothing(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    let long = [b"trusted.".as_slice(), &[b'n'; 300]].concat();
    let xattrs = [
        change(Subject::Moved, REDIRECT, Some(b"/s/d")),
        change(Subject::NewParent, IMPURE, Some(b"y")),
        change(Subject::Moved, &long, Some(b"1")),
    ];
    let before = (s.attr()?, t.attr()?);
    env.clock.tick();
    for target in ["new", "w", "cleared", "empty"] {
        check_err!(rename(&s, "d", &t, target, WHITEOUT, &xattrs), ERANGE);
    }
    check_eq!((s.attr()?, t.attr()?), before);
    xattr(&base, "s/d", REDIRECT, None)?;
    xattr(&base, "t", IMPURE, None)?;
    s.lists(&["d", "f"])?;
    s.holds("d/x", "inside")?;
    is_white(&t, "w")?;
    t.dir("cleared")?.lists(&["a", "b"])?;
    t.dir("empty")?.file("still usable", "")?;
    Ok(())
}

fn a_move_with_a_subject_that_is_not_there_changes_nothing(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    let xattrs = [change(Subject::Moved, REDIRECT, Some(b"d")), change(Subject::Exchanged, REDIRECT, Some(b"d"))];
    check_err!(rename(&s, "d", &t, "new", WHITEOUT, &xattrs), EINVAL);
    xattr(&base, "s/d", REDIRECT, None)?;
    s.holds("d/x", "inside")
}

fn an_exchange_swaps_and_leaves_no_whiteout(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    rename(&s, "d", &t, "f", UpperRenameMode::Exchange, &[])?;
    base.holds("s/d", "old")?;
    base.holds("t/f/x", "inside")?;
    rename(&s, "f", &t, "w", UpperRenameMode::Exchange, &[])?;
    is_white(&s, "f")?;
    base.holds("t/w", "moved")?;
    s.lists(&["d", "f"])
}

fn an_exchange_sets_xattrs_of_both_nodes(env: &Env<'_>) -> Outcome {
    let (base, s, t) = stage_set(env)?;
    let xattrs = [
        change(Subject::Moved, REDIRECT, Some(b"/s/d")),
        change(Subject::Exchanged, REDIRECT, Some(b"/t/full")),
        change(Subject::OldParent, IMPURE, Some(b"y")),
        change(Subject::NewParent, IMPURE, Some(b"y")),
    ];
    rename(&s, "d", &t, "full", UpperRenameMode::Exchange, &xattrs)?;
    xattr(&base, "t/full", REDIRECT, Some(b"/s/d"))?;
    xattr(&base, "s/d", REDIRECT, Some(b"/t/full"))?;
    xattr(&base, "s", IMPURE, Some(b"y"))?;
    xattr(&base, "t", IMPURE, Some(b"y"))
}

fn an_exchange_with_what_is_absent_is_enoent(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    check_err!(rename(&s, "f", &t, "free", UpperRenameMode::Exchange, &[]), ENOENT);
    s.holds("f", "moved")?;
    t.absent("free")
}

fn a_refused_move_leaves_no_whiteout(env: &Env<'_>) -> Outcome {
    let (_, s, t) = stage_set(env)?;
    let before = (s.attr()?, t.attr()?, s.attr_of("f")?, s.attr_of("d")?);
    env.clock.tick();
    check_err!(rename(&s, "f", &t, "full", WHITEOUT, &[]), EISDIR);
    check_err!(rename(&s, "d", &t, "full", WHITEOUT, &[]), ENOTEMPTY);
    check_err!(rename(&s, "d", &t, "f", WHITEOUT, &[]), ENOTDIR);
    check_eq!((s.attr()?, t.attr()?, s.attr_of("f")?, s.attr_of("d")?), before);
    s.lists(&["d", "f"])
}
