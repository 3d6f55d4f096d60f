//! What an overlay's upper layer does in one step: stage and publish, creation and links over whiteouts.

use vfs::{Name, NewKind, NewNode, Node, Over, Parent, Publish, Subject, Victim, XattrChange, XattrMode};

use super::group;
use crate::dsl::{Dir, File, chmod, pattern};
use crate::tree::{dir, file, symlink};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "upper", Features::WRITE.union(Features::UPPER);
    a_staged_node_is_not_listed,
    a_staged_node_of_any_kind_is_published,
    a_staged_file_is_filled_before_it_is_published,
    a_staged_directory_is_filled_before_it_is_published,
    a_published_file_has_one_link,
    a_published_directory_adds_a_link_to_its_parent + DIR_LINKS,
    a_publish_keeps_the_times_of_the_node,
    a_publish_untouched_leaves_the_parents_times,
    a_publish_touched_changes_the_parents_times,
    a_publish_over_nothing_refuses_what_is_there,
    a_publish_over_nothing_refuses_a_whiteout,
    a_publish_over_a_whiteout_replaces_it,
    a_publish_over_a_whiteout_needs_none,
    a_publish_over_a_whiteout_refuses_the_rest,
    a_publish_sets_xattrs_of_node_and_parent + ALL_XATTRS,
    a_publish_with_an_impossible_xattr_changes_nothing + ALL_XATTRS,
    a_publish_in_a_removed_directory_is_enoent,
    a_staged_node_that_is_dropped_leaves_nothing,
    a_staged_node_gives_its_space_back + LIMITED_SPACE,
    a_creation_over_a_whiteout_replaces_it,
    a_creation_over_a_whiteout_needs_none,
    a_creation_over_a_whiteout_refuses_the_rest,
    a_directory_over_a_whiteout_is_opaque_from_the_start + ALL_XATTRS,
    a_plain_creation_refuses_a_whiteout,
    a_link_over_a_whiteout_replaces_it + HARD_LINKS,
    a_link_over_a_whiteout_refuses_the_rest + HARD_LINKS,
}

pub(super) fn name(text: &str) -> vfs::Result<Name<'_>> {
    Name::new(text.as_bytes())
}

/// How a copy-up publishes.
pub(super) const QUIET: Publish<'_> = Publish { over: Over::Nothing, parent: Parent::Untouched, xattrs: &[] };

/// Makes a whiteout at a name that is absent.
pub(super) fn white(dir: &Dir, at: &str) -> Outcome {
    Ok(dir.upper()?.whiteout(name(at)?, Victim::Absent)?)
}

/// Fails unless a whiteout is at the name.
#[track_caller]
pub(super) fn is_white(dir: &Dir, at: &str) -> Outcome {
    let attr = dir.attr_of(at)?;
    check!(attr.is_whiteout(), "{at} is no whiteout but {attr:?}");
    Ok(())
}

fn stage(dir: &Dir, kind: NewKind<'_>) -> Outcome<Node> {
    Ok(dir.upper()?.stage(&NewNode { uid: 3, gid: 4, ..NewNode::new(kind, 0o640) })?)
}

fn stage_file(dir: &Dir, content: &str) -> Outcome<(Node, File)> {
    let node = stage(dir, NewKind::File)?;
    let file = File(node.as_file()?.clone());
    file.put(0, content)?;
    Ok((node, file))
}

fn publish(dir: &Dir, at: &str, node: &Node, how: &Publish<'_>) -> vfs::Result<()> {
    let upper = dir.as_upper().ok_or(vfs::Errno::EOPNOTSUPP)?;
    upper.publish(name(at)?, node, how)
}

fn over_whiteout() -> Publish<'static> {
    Publish { over: Over::Whiteout, ..QUIET }
}

fn a_staged_node_is_not_listed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let _file = stage(&base, NewKind::File)?;
    let _dir = stage(&base, NewKind::Dir)?;
    base.lists(&["f"])
}

fn a_staged_node_of_any_kind_is_published(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    let mut kinds = alloc::vec![("f", NewKind::File), ("s", NewKind::Dir), ("l", NewKind::Symlink(b"target"))];
    if env.has(Features::DEVICES) {
        kinds.push(("p", NewKind::Fifo));
        kinds.push(("c", NewKind::CharDevice(vfs::DeviceNumber::new(1, 3))));
    }
    for (at, kind) in &kinds {
        let node = stage(&base, *kind)?;
        publish(&d, at, &node, &QUIET)?;
        let attr = d.attr_of(at)?;
        check_eq!(attr.kind, kind.file_type(), "type of {at}");
        check_eq!((attr.uid, attr.gid), (3, 4), "owner of {at}");
        check_eq!(d.at(at)?.id(), node.id(), "inode of {at}");
    }
    check_eq!(d.list()?.len(), kinds.len());
    check_eq!(d.link_at("l")?.target()?, b"target");
    Ok(())
}

fn a_staged_file_is_filled_before_it_is_published(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let node = stage(&base, NewKind::File)?;
    let f = File(node.as_file()?.clone());
    let content = pattern(0, 200_000);
    for (number, piece) in content.chunks(50_000).enumerate() {
        f.put(number as u64 * 50_000, piece)?;
    }
    node.ops().set_attr(&chmod(0o4755))?;
    base.lists(&[])?;
    publish(&base, "f", &node, &QUIET)?;
    base.holds("f", &content)?;
    check_eq!(base.attr_of("f")?.mode, 0o4755);
    Ok(())
}

fn a_staged_directory_is_filled_before_it_is_published(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let node = stage(&base, NewKind::Dir)?;
    let staged = Dir(node.as_dir()?.clone());
    staged.file("inside", "1")?;
    staged.mkdir("sub")?.file("deep", "2")?;
    publish(&base, "d", &node, &QUIET)?;
    base.holds("d/inside", "1")?;
    base.holds("d/sub/deep", "2")?;
    base.dir("d")?.lists(&["inside", "sub"])?;
    if env.has(Features::DIR_LINKS) {
        check_eq!(base.attr_of("d")?.nlink, 3);
    }
    Ok(())
}

fn a_published_file_has_one_link(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let (node, _) = stage_file(&base, "x")?;
    publish(&base, "f", &node, &QUIET)?;
    check_eq!(base.attr_of("f")?.nlink, 1);
    check_eq!(node.attr()?.nlink, 1);
    base.unlink("f")?;
    check_eq!(node.attr()?.nlink, 0);
    Ok(())
}

fn a_published_directory_adds_a_link_to_its_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    let node = stage(&d, NewKind::Dir)?;
    check_eq!(d.attr()?.nlink, 2);
    publish(&d, "s", &node, &QUIET)?;
    check_eq!(d.attr()?.nlink, 3);
    d.rmdir("s")?;
    check_eq!(d.attr()?.nlink, 2);
    Ok(())
}

fn a_publish_keeps_the_times_of_the_node(env: &Env<'_>) -> Outcome {
    use vfs::{SetAttr, SetTime, Timestamp};
    let base = env.start(&[])?;
    let (node, _) = stage_file(&base, "x")?;
    let at = Timestamp { secs: 1_000, nanos: 5 };
    let time = Some(SetTime::At(at));
    node.ops().set_attr(&SetAttr { atime: time, mtime: time, ..SetAttr::default() })?;
    env.clock.tick();
    publish(&base, "f", &node, &QUIET)?;
    let attr = base.attr_of("f")?;
    check_eq!((attr.atime, attr.mtime), (at, at));
    Ok(())
}

fn a_publish_untouched_leaves_the_parents_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    white(&d, "w")?;
    let before = d.attr()?;
    env.clock.tick();
    for (at, kind) in [("f", NewKind::File), ("s", NewKind::Dir), ("w", NewKind::File)] {
        let node = stage(&d, kind)?;
        publish(&d, at, &node, &over_whiteout())?;
        let after = d.attr()?;
        check_eq!((after.mtime, after.ctime), (before.mtime, before.ctime), "after the publish of {at}");
    }
    Ok(())
}

fn a_publish_touched_changes_the_parents_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    let (node, _) = stage_file(&d, "x")?;
    let now = env.clock.tick();
    publish(&d, "f", &node, &Publish { parent: Parent::Touched, ..QUIET })?;
    check_eq!((d.attr()?.mtime, d.attr()?.ctime), (now, now));
    Ok(())
}

fn a_publish_over_nothing_refuses_what_is_there(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d"), symlink(b"l", b"t")])?;
    let (node, _) = stage_file(&base, "x")?;
    for at in ["f", "d", "l"] {
        check_err!(publish(&base, at, &node, &QUIET), EEXIST);
    }
    base.holds("f", "1")?;
    publish(&base, "free", &node, &QUIET)?;
    base.holds("free", "x")
}

fn a_publish_over_nothing_refuses_a_whiteout(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    white(&base, "w")?;
    let (node, _) = stage_file(&base, "x")?;
    check_err!(publish(&base, "w", &node, &QUIET), EEXIST);
    is_white(&base, "w")
}

fn a_publish_over_a_whiteout_replaces_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    white(&base, "f")?;
    white(&base, "d")?;
    let (node, _) = stage_file(&base, "x")?;
    publish(&base, "f", &node, &over_whiteout())?;
    base.holds("f", "x")?;
    let node = stage(&base, NewKind::Dir)?;
    publish(&base, "d", &node, &over_whiteout())?;
    base.dir("d")?.lists(&[])?;
    base.lists(&["d", "f"])
}

fn a_publish_over_a_whiteout_needs_none(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let (node, _) = stage_file(&base, "x")?;
    publish(&base, "f", &node, &over_whiteout())?;
    base.holds("f", "x")
}

fn a_publish_over_a_whiteout_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d")])?;
    let (node, _) = stage_file(&base, "x")?;
    check_err!(publish(&base, "f", &node, &over_whiteout()), EEXIST);
    check_err!(publish(&base, "d", &node, &over_whiteout()), EEXIST);
    base.holds("f", "1")
}

fn change<'a>(subject: Subject, name: &'a [u8], value: Option<&'a [u8]>) -> XattrChange<'a> {
    XattrChange { subject, name, value }
}

fn a_publish_sets_xattrs_of_node_and_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    let (node, _) = stage_file(&d, "x")?;
    node.ops().set_xattr(b"trusted.old", b"1", XattrMode::Set)?;
    let before = d.attr()?;
    env.clock.tick();
    let xattrs = [
        change(Subject::Moved, b"trusted.overlay.origin", Some(b"handle")),
        change(Subject::Moved, b"trusted.old", None),
        change(Subject::Moved, b"trusted.never", None),
        change(Subject::NewParent, b"trusted.overlay.impure", Some(b"y")),
    ];
    publish(&d, "f", &node, &Publish { xattrs: &xattrs, ..QUIET })?;
    let f = d.at("f")?;
    check_eq!(f.ops().xattr(b"trusted.overlay.origin")?.as_deref(), Some(&b"handle"[..]));
    check_eq!(f.ops().xattr(b"trusted.old")?, None);
    check_eq!(d.xattr(b"trusted.overlay.impure")?.as_deref(), Some(&b"y"[..]));
    check_eq!((d.attr()?.mtime, d.attr()?.ctime), (before.mtime, before.ctime));
    Ok(())
}

fn a_publish_with_an_impossible_xattr_changes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    white(&d, "w")?;
    let (node, _) = stage_file(&d, "x")?;
    let long = [b"trusted.".as_slice(), &[b'n'; 300]].concat();
    let xattrs = [
        change(Subject::Moved, b"trusted.a", Some(b"1")),
        change(Subject::NewParent, b"trusted.overlay.impure", Some(b"y")),
        change(Subject::Moved, &long, Some(b"2")),
    ];
    for at in ["w", "f"] {
        check_err!(publish(&d, at, &node, &Publish { over: Over::Whiteout, xattrs: &xattrs, ..QUIET }), ERANGE);
    }
    check_eq!(node.ops().xattr(b"trusted.a")?, None);
    check_eq!(d.xattr(b"trusted.overlay.impure")?, None);
    d.lists(&["w"])?;
    is_white(&d, "w")?;
    publish(&d, "f", &node, &QUIET)?;
    d.holds("f", "x")
}

fn a_publish_in_a_removed_directory_is_enoent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let d = base.dir("d")?;
    base.rmdir("d")?;
    let (node, _) = stage_file(&base, "x")?;
    check_err!(publish(&d, "f", &node, &QUIET), ENOENT);
    check_err!(d.upper()?.whiteout(name("w")?, Victim::Absent), ENOENT);
    check_err!(d.upper()?.create_over(name("c")?, &NewNode::new(NewKind::File, 0)), ENOENT);
    publish(&base, "f", &node, &QUIET)?;
    base.holds("f", "x")
}

fn a_staged_node_that_is_dropped_leaves_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    for kind in [NewKind::File, NewKind::Dir, NewKind::Symlink(b"t")] {
        drop(stage(&base, kind)?);
    }
    let filled = stage(&base, NewKind::Dir)?;
    Dir(filled.as_dir()?.clone()).file("inside", "1")?;
    drop(filled);
    base.lists(&["d"])?;
    base.rmdir("d")?;
    base.lists(&[])
}

fn a_staged_node_gives_its_space_back(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], 8 << 20)?;
    for _ in 0..16 {
        let node = stage(&base, NewKind::File)?;
        File(node.as_file()?.clone()).put(0, pattern(0, 2 << 20))?;
    }
    base.lists(&[])
}

fn create_over(dir: &Dir, at: &str, kind: NewKind<'_>) -> vfs::Result<Node> {
    let upper = dir.as_upper().ok_or(vfs::Errno::EOPNOTSUPP)?;
    upper.create_over(name(at)?, &NewNode::new(kind, 0o600))
}

fn a_creation_over_a_whiteout_replaces_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for (at, kind) in [("f", NewKind::File), ("d", NewKind::Dir), ("l", NewKind::Symlink(b"t"))] {
        white(&base, at)?;
        let made = create_over(&base, at, kind)?;
        check_eq!(base.at(at)?.id(), made.id());
        check_eq!(base.attr_of(at)?.kind, kind.file_type());
    }
    base.lists(&["d", "f", "l"])
}

fn a_creation_over_a_whiteout_needs_none(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    create_over(&base, "f", NewKind::File)?;
    create_over(&base, "d", NewKind::Dir)?;
    base.lists(&["d", "f"])
}

fn a_creation_over_a_whiteout_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), dir(b"d"), symlink(b"l", b"t")])?;
    for at in ["f", "d", "l"] {
        check_err!(create_over(&base, at, NewKind::File), EEXIST);
        check_err!(create_over(&base, at, NewKind::Dir), EEXIST);
    }
    base.holds("f", "1")
}

fn a_directory_over_a_whiteout_is_opaque_from_the_start(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    white(&base, "d")?;
    let new = NewNode { xattrs: &[(b"trusted.overlay.opaque", b"y")], ..NewNode::new(NewKind::Dir, 0o755) };
    base.upper()?.create_over(name("d")?, &new)?;
    check_eq!(base.at("d")?.ops().xattr(b"trusted.overlay.opaque")?.as_deref(), Some(&b"y"[..]));
    Ok(())
}

fn a_plain_creation_refuses_a_whiteout(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    white(&base, "w")?;
    check_err!(base.make("w", NewKind::File), EEXIST);
    is_white(&base, "w")
}

fn a_link_over_a_whiteout_replaces_it(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1")])?;
    white(&base, "w")?;
    base.upper()?.link_over(name("w")?, &base.at("f")?)?;
    base.holds("w", "1")?;
    check_eq!(base.attr_of("f")?.nlink, 2);
    base.upper()?.link_over(name("free")?, &base.at("f")?)?;
    check_eq!(base.attr_of("w")?.nlink, 3);
    base.lists(&["f", "free", "w"])
}

fn a_link_over_a_whiteout_refuses_the_rest(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1"), file(b"g", b"2"), dir(b"d")])?;
    check_err!(base.upper()?.link_over(name("g")?, &base.at("f")?), EEXIST);
    check_err!(base.upper()?.link_over(name("d")?, &base.at("f")?), EEXIST);
    white(&base, "w")?;
    check_err!(base.upper()?.link_over(name("w")?, &base.at("d")?), EPERM);
    is_white(&base, "w")?;
    check_eq!(base.attr_of("f")?.nlink, 1);
    Ok(())
}
