//! Hard links.

use alloc::format;

use vfs::{NewKind, NewNode};

use super::group;
use crate::dsl::chmod;
use crate::tree::{dir, fifo, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "link", Features::WRITE.union(Features::HARD_LINKS);
    a_link_is_the_same_inode,
    a_link_in_another_directory_is_the_same_inode,
    a_change_through_one_name_shows_through_the_other,
    an_unlink_leaves_the_other_names,
    a_taken_name_is_refused,
    a_directory_is_refused,
    a_symbolic_link_itself_is_linked,
    a_special_node_is_linked + DEVICES,
    an_unlinked_inode_is_refused + OPEN_UNLINKED,
    a_node_of_another_filesystem_is_refused,
    a_refused_link_changes_nothing,
    links_that_were_there_at_mount_stay_one_file,
    a_hundred_links_are_counted,
}

fn a_link_is_the_same_inode(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    base.link("b", &base.at("a")?)?;
    check_eq!(base.at("a")?.id(), base.at("b")?.id());
    check_eq!(base.attr_of("a")?, base.attr_of("b")?);
    check_eq!(base.attr_of("a")?.nlink, 2);
    base.lists(&["a", "b"])
}

fn a_link_in_another_directory_is_the_same_inode(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), dir(b"d")])?;
    base.dir("d")?.link("b", &base.at("a")?)?;
    check_eq!(base.attr_of("a")?, base.attr_of("d/b")?);
    let listed = base.dir("d")?.list()?;
    check_eq!(listed[0].ino, base.at("a")?.id().ino);
    Ok(())
}

fn a_change_through_one_name_shows_through_the_other(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"one")])?;
    base.link("b", &base.at("a")?)?;
    base.open("b")?.put(3, " two")?;
    base.holds("a", "one two")?;
    base.at("a")?.ops().set_attr(&chmod(0o400))?;
    check_eq!(base.attr_of("b")?.mode, 0o400);
    Ok(())
}

fn an_unlink_leaves_the_other_names(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    base.link("b", &base.at("a")?)?;
    base.link("c", &base.at("b")?)?;
    base.unlink("a")?;
    check_eq!(base.attr_of("b")?.nlink, 2);
    base.unlink("c")?;
    check_eq!(base.attr_of("b")?.nlink, 1);
    base.holds("b", "1")?;
    base.lists(&["b"])
}

fn a_taken_name_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1"), file(b"b", b"2"), dir(b"d"), symlink(b"l", b"x")])?;
    let a = base.at("a")?;
    for taken in ["a", "b", "d", "l"] {
        check_err!(base.link(taken, &a), EEXIST);
    }
    check_eq!(a.attr()?.nlink, 1);
    base.holds("b", "2")
}

fn a_directory_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    check_err!(base.link("e", &base.at("d")?), EPERM);
    base.lists(&["d"])
}

fn a_symbolic_link_itself_is_linked(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), symlink(b"l", b"f")])?;
    base.link("m", &base.at("l")?)?;
    check_eq!(base.link_at("m")?.target()?, b"f");
    check_eq!(base.attr_of("l")?.nlink, 2);
    check_eq!(base.attr_of("f")?.nlink, 1);
    Ok(())
}

fn a_special_node_is_linked(env: &Env<'_>) -> Outcome {
    let base = env.start(&[fifo(b"p")])?;
    base.link("q", &base.at("p")?)?;
    check_eq!(base.attr_of("q")?, base.attr_of("p")?);
    check_eq!(base.attr_of("q")?.nlink, 2);
    Ok(())
}

fn an_unlinked_inode_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"1")])?;
    let held = base.at("a")?;
    base.unlink("a")?;
    check_err!(base.link("b", &held), ENOENT);
    base.lists(&[])
}

fn a_node_of_another_filesystem_is_refused(env: &Env<'_>) -> Outcome {
    let other = env.start(&[file(b"a", b"1"), dir(b"d")])?;
    let (foreign, foreign_dir) = (other.at("a")?, other.dir("d")?);
    let base = env.start(&[file(b"mine", b"2")])?;
    check_err!(base.link("b", &foreign), EXDEV);
    check_err!(base.mv_to("mine", &foreign_dir, "b"), EXDEV);
    foreign_dir.lists(&[])?;
    base.lists(&["mine"])
}

fn a_refused_link_changes_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/a", b"1"), file(b"d/b", b"2")])?;
    let d = base.dir("d")?;
    let (before, a) = (d.attr()?, base.attr_of("d/a")?);
    env.clock.tick();
    check_err!(d.link("b", &base.at("d/a")?), EEXIST);
    check_eq!(d.attr()?, before);
    check_eq!(base.attr_of("d/a")?, a);
    Ok(())
}

fn links_that_were_there_at_mount_stay_one_file(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"a", b"one"), hard_link(b"d/b", b"a"), hard_link(b"c", b"a")])?;
    base.open("d/b")?.put(0, "two")?;
    base.holds("a", "two")?;
    base.holds("c", "two")?;
    check_eq!(base.at("a")?.id(), base.at("d/b")?.id());
    base.unlink("a")?;
    check_eq!(base.attr_of("c")?.nlink, 2);
    base.holds("d/b", "two")
}

fn a_hundred_links_are_counted(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let node = base.create(vfs::Name::new(b"first")?, &NewNode::new(NewKind::File, 0o600))?;
    for number in 0..100 {
        base.link(format!("link {number}"), &node)?;
    }
    check_eq!(node.attr()?.nlink, 101);
    for number in 0..100 {
        base.unlink(format!("link {number}"))?;
    }
    check_eq!(node.attr()?.nlink, 1);
    base.lists(&["first"])
}
