//! Creating entries.

use alloc::format;
use alloc::vec::Vec;

use vfs::{DeviceNumber, FileType, NAME_MAX, Name, NewKind, NewNode, Node};

use super::group;
use crate::dsl::{Dir, pattern, same_bytes};
use crate::tree::{dir, fifo, file, symlink};
use crate::{Env, Features, Outcome, check, check_eq, check_err};

group! {
    "create", Features::WRITE;
    a_new_file_is_empty,
    a_new_node_is_what_lookup_finds,
    a_new_node_has_the_given_mode_and_owner,
    a_new_node_keeps_set_id_and_sticky_bits,
    a_new_directory_is_empty,
    a_new_directory_adds_a_link_to_its_parent + DIR_LINKS,
    a_new_file_has_one_link,
    a_new_symbolic_link_has_its_target,
    a_new_symbolic_link_may_have_the_longest_target,
    a_new_device_has_its_number + DEVICES,
    a_new_fifo_is_a_fifo + DEVICES,
    a_new_socket_is_a_socket + SOCKETS,
    a_new_node_has_the_given_xattrs + USER_XATTRS,
    a_new_directory_has_the_given_xattrs + USER_XATTRS,
    a_taken_name_is_refused_whatever_has_it,
    a_refused_creation_changes_nothing,
    the_longest_name_can_be_created,
    a_name_that_is_not_text_can_be_created,
    names_that_differ_in_one_byte_are_different,
    a_name_can_be_used_again_after_its_removal,
    a_removed_directory_takes_no_new_entry,
    a_thousand_files_are_all_there,
    a_deep_tree_can_be_made,
    a_hundred_thousand_files_are_all_there + LARGE,
}

fn a_new_file_is_empty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    base.make("f", NewKind::File)?;
    let attr = base.attr_of("f")?;
    check_eq!((attr.kind, attr.size, attr.blocks), (FileType::File, 0, 0));
    base.holds("f", "")
}

fn a_new_node_is_what_lookup_finds(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    for parent in [base.clone(), base.dir("d")?] {
        for (name, kind) in [("f", NewKind::File), ("s", NewKind::Dir), ("l", NewKind::Symlink(b"t"))] {
            let made = parent.make(name, kind)?;
            let found = parent.at(name)?;
            check_eq!(made.id(), found.id(), "inode of {name}");
            check_eq!(made.attr()?, found.attr()?, "attributes of {name}");
            check_eq!(found.file_type()?, kind.file_type(), "type of {name}");
        }
    }
    Ok(())
}

fn a_new_node_has_the_given_mode_and_owner(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for (name, kind) in [("f", NewKind::File), ("d", NewKind::Dir), ("l", NewKind::Symlink(b"t"))] {
        let new = NewNode { kind, mode: 0o751, uid: 1000, gid: 3_000_000_000, xattrs: &[] };
        base.create(Name::new(name.as_bytes())?, &new)?;
        let attr = base.attr_of(name)?;
        check_eq!((attr.uid, attr.gid), (1000, 3_000_000_000), "owner of {name}");
        if attr.kind != FileType::Symlink {
            check_eq!(attr.mode, 0o751, "mode of {name}");
        }
    }
    Ok(())
}

fn a_new_node_keeps_set_id_and_sticky_bits(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    base.create(Name::new(b"f")?, &NewNode::new(NewKind::File, 0o6755))?;
    base.create(Name::new(b"d")?, &NewNode::new(NewKind::Dir, 0o3777))?;
    check_eq!(base.attr_of("f")?.mode, 0o6755);
    check_eq!(base.attr_of("d")?.mode, 0o3777);
    Ok(())
}

fn a_new_directory_is_empty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let made = base.mkdir("d")?;
    made.lists(&[])?;
    made.absent("x")?;
    if env.has(Features::DIR_LINKS) {
        check_eq!(made.attr()?.nlink, 2);
    }
    made.file("x", "inside")?;
    base.holds("d/x", "inside")
}

fn a_new_directory_adds_a_link_to_its_parent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let parent = base.dir("d")?;
    for count in 1..5 {
        parent.mkdir(format!("s{count}"))?;
        parent.file(format!("f{count}"), "")?;
        check_eq!(parent.attr()?.nlink, 2 + count);
    }
    Ok(())
}

fn a_new_file_has_one_link(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    check_eq!(base.make("f", NewKind::File)?.attr()?.nlink, 1);
    check_eq!(base.make("l", NewKind::Symlink(b"t"))?.attr()?.nlink, 1);
    Ok(())
}

fn a_new_symbolic_link_has_its_target(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    base.make("l", NewKind::Symlink(b"/not/there"))?;
    check_eq!(base.link_at("l")?.target()?, b"/not/there");
    check_eq!(base.attr_of("l")?.size, 10);
    Ok(())
}

fn a_new_symbolic_link_may_have_the_longest_target(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for len in [59, 60, 61, 1000, 4095] {
        let (name, target) = (format!("l{len}"), pattern(0, len));
        base.make(&name, NewKind::Symlink(&target))?;
        same_bytes("target", &base.link_at(&name)?.target()?, &target)?;
    }
    Ok(())
}

fn a_new_device_has_its_number(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for (name, kind, number) in [
        ("c", FileType::CharDevice, DeviceNumber::new(5, 1)),
        ("b", FileType::BlockDevice, DeviceNumber::new(254, 300)),
        ("large", FileType::CharDevice, DeviceNumber::new(4095, 1_048_575)),
    ] {
        let new = if kind == FileType::CharDevice { NewKind::CharDevice(number) } else { NewKind::BlockDevice(number) };
        base.make(name, new)?;
        let attr = base.attr_of(name)?;
        check_eq!((attr.kind, attr.rdev, attr.size), (kind, number, 0), "{name}");
    }
    Ok(())
}

fn a_new_fifo_is_a_fifo(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    base.make("p", NewKind::Fifo)?;
    check!(matches!(base.at("p")?, Node::Special(_)));
    check_eq!(base.attr_of("p")?.st_mode(), 0o010_644);
    Ok(())
}

fn a_new_socket_is_a_socket(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    base.make("s", NewKind::Socket)?;
    check!(matches!(base.at("s")?, Node::Special(_)));
    check_eq!(base.attr_of("s")?.st_mode(), 0o140_644);
    Ok(())
}

const XATTRS: &[(&[u8], &[u8])] = &[(b"user.a", b"1"), (b"user.b", b"")];

fn has_the_given_xattrs(base: &Dir, kind: NewKind<'_>) -> Outcome {
    let new = NewNode { xattrs: XATTRS, ..NewNode::new(kind, 0o700) };
    base.create(Name::new(b"x")?, &new)?;
    let node = base.at("x")?;
    check_eq!(node.ops().xattr(b"user.a")?.as_deref(), Some(&b"1"[..]));
    check_eq!(node.ops().xattr(b"user.b")?.as_deref(), Some(&b""[..]));
    check_eq!(node.ops().xattr(b"user.c")?, None);
    Ok(())
}

fn a_new_node_has_the_given_xattrs(env: &Env<'_>) -> Outcome {
    has_the_given_xattrs(&env.start(&[])?, NewKind::File)
}

fn a_new_directory_has_the_given_xattrs(env: &Env<'_>) -> Outcome {
    has_the_given_xattrs(&env.start(&[])?, NewKind::Dir)
}

fn a_taken_name_is_refused_whatever_has_it(env: &Env<'_>) -> Outcome {
    let mut tree = Vec::from([file(b"f", b"1"), dir(b"d"), symlink(b"l", b"t")]);
    if env.has(Features::DEVICES) {
        tree.push(fifo(b"p"));
    }
    let base = env.start(&tree)?;
    for item in &tree {
        for kind in [NewKind::File, NewKind::Dir, NewKind::Symlink(b"t")] {
            check_err!(base.make(item.path, kind), EEXIST);
        }
    }
    Ok(())
}

fn a_refused_creation_changes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"1")])?;
    let d = base.dir("d")?;
    let (before, file_before) = (d.attr()?, base.attr_of("d/f")?);
    env.clock.tick();
    check_err!(d.make("f", NewKind::Dir), EEXIST);
    check_eq!(d.attr()?, before);
    check_eq!(base.attr_of("d/f")?, file_before);
    d.lists(&["f"])
}

fn the_longest_name_can_be_created(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let longest = [b'x'; NAME_MAX];
    base.file(longest, "long")?;
    base.holds(longest, "long")?;
    check_eq!(base.list()?[0].name, longest);
    base.unlink(longest)?;
    base.lists(&[])
}

fn a_name_that_is_not_text_can_be_created(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for name in [&b"\xff\xfe\x80"[..], b"\x01", b" ", b"..."] {
        base.file(name, name)?;
        base.holds(name, name)?;
    }
    check_eq!(base.list()?.len(), 4);
    Ok(())
}

fn names_that_differ_in_one_byte_are_different(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    for name in ["a", "A", "aa", "a ", "a."] {
        base.file(name, name)?;
    }
    for name in ["a", "A", "aa", "a ", "a."] {
        base.holds(name, name)?;
    }
    Ok(())
}

fn a_name_can_be_used_again_after_its_removal(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"x", b"old")])?;
    base.unlink("x")?;
    base.mkdir("x")?.file("inside", "")?;
    base.dir("x")?.unlink("inside")?;
    base.rmdir("x")?;
    base.absent("x")?;
    base.file("x", "new")?;
    base.holds("x", "new")?;
    base.lists(&["x"])
}

fn a_removed_directory_takes_no_new_entry(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"f", b"")])?;
    let removed = base.dir("d")?;
    base.rmdir("d")?;
    check_err!(removed.make("f", NewKind::File), ENOENT);
    check_err!(removed.mkdir("s"), ENOENT);
    check_err!(removed.make("l", NewKind::Symlink(b"t")), ENOENT);
    if env.has(Features::HARD_LINKS) {
        check_err!(removed.link("f", &base.at("f")?), ENOENT);
    }
    check_err!(base.mv_to("f", &removed, "f"), ENOENT);
    removed.lists(&[])?;
    removed.absent("f")?;
    base.lists(&["f"])
}

fn many(env: &Env<'_>, count: usize) -> Outcome {
    let base = env.start(&[])?;
    let dir = base.mkdir("many")?;
    for number in 0..count {
        dir.make(format!("file {number}"), NewKind::File)?;
    }
    let mut names: Vec<_> = dir.list()?.into_iter().map(|entry| entry.name).collect();
    names.dedup();
    check_eq!(names.len(), count);
    for number in (0..count).step_by(7) {
        dir.at(format!("file {number}"))?;
    }
    dir.absent(format!("file {count}"))?;
    for number in 0..count {
        dir.unlink(format!("file {number}"))?;
    }
    dir.lists(&[])?;
    Ok(base.rmdir("many")?)
}

fn a_thousand_files_are_all_there(env: &Env<'_>) -> Outcome {
    many(env, 1000)
}

fn a_hundred_thousand_files_are_all_there(env: &Env<'_>) -> Outcome {
    many(env, 100_000)
}

fn a_deep_tree_can_be_made(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let mut dir = base;
    for _ in 0..200 {
        dir = dir.mkdir("deeper")?;
    }
    dir.file("bottom", "here")?;
    dir.holds("bottom", "here")
}
