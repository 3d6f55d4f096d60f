//! What is there after an unmount and a mount.

use alloc::format;

use vfs::{NewKind, SetAttr, SetTime, XattrMode};

use super::group;
use crate::dsl::{chmod, pattern};
use crate::tree::{MTIME, dir, file};
use crate::{Env, Failure, Features, Outcome, check, check_eq};

group! {
    "remount", Features::WRITE.union(Features::REMOUNT);
    content_and_attributes_are_there_again,
    removals_and_renames_are_there_again,
    a_large_directory_is_there_again,
    xattrs_are_there_again + USER_XATTRS,
    links_are_there_again + HARD_LINKS,
    holes_are_there_again + HOLES,
    inode_numbers_are_the_same + CONSTANT_INO,
    handles_find_their_inodes_again + HANDLES,
    the_unlinked_and_the_unnamed_are_gone + UNNAMED,
    space_of_the_unlinked_is_back,
}

fn content_and_attributes_are_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[dir(b"d"), file(b"d/old", b"old")])?;
    let content = pattern(0, 300_000);
    let f = base.dir("d")?.file("new", &content)?;
    let change = SetAttr { uid: Some(7), gid: Some(70_000), mtime: Some(SetTime::At(MTIME)), ..chmod(0o4711) };
    f.set_attr(&change)?;
    base.open("d/old")?.append(b" and more")?;
    base.make("l", NewKind::Symlink(b"d/new"))?;
    let (before, of_dir) = (f.attr()?, base.attr_of("d")?);
    drop((f, base));
    env.clock.tick();
    base = env.remount()?;
    base.holds("d/new", &content)?;
    base.holds("d/old", "old and more")?;
    check_eq!(base.link_at("l")?.target()?, b"d/new");
    let after = base.attr_of("d/new")?;
    check_eq!(
        (after.mode, after.uid, after.gid, after.atime, after.mtime, after.ctime),
        (before.mode, before.uid, before.gid, before.atime, before.mtime, before.ctime)
    );
    let after = base.attr_of("d")?;
    check_eq!((after.mtime, after.ctime), (of_dir.mtime, of_dir.ctime));
    Ok(())
}

fn removals_and_renames_are_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[dir(b"d"), file(b"d/a", b"1"), file(b"d/b", b"2"), dir(b"e"), file(b"e/x", b"3")])?;
    base.dir("d")?.unlink("a")?;
    base.dir("d")?.mv_to("b", &base, "moved")?;
    base.mv_to("e", &base.dir("d")?, "f")?;
    drop(base);
    base = env.remount()?;
    base.lists(&["d", "moved"])?;
    base.dir("d")?.lists(&["f"])?;
    base.holds("d/f/x", "3")?;
    base.holds("moved", "2")
}

fn a_large_directory_is_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[])?;
    let d = base.mkdir("d")?;
    for number in 0..2_000 {
        d.make(format!("name of entry {number}"), NewKind::File)?;
    }
    for number in (0..2_000).step_by(3) {
        d.unlink(format!("name of entry {number}"))?;
    }
    drop((d, base));
    base = env.remount()?;
    let d = base.dir("d")?;
    check_eq!(d.list()?.len(), 1_333);
    for number in 0..2_000 {
        let there = d.find(format!("name of entry {number}"))?.is_some();
        check_eq!(there, number % 3 != 0, "entry {number}");
    }
    Ok(())
}

fn xattrs_are_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[file(b"f", b"")])?;
    for number in 0..12 {
        let name = format!("user.{number}");
        base.at("f")?.ops().set_xattr(name.as_bytes(), &pattern(number, 50), XattrMode::Set)?;
    }
    base.at("f")?.ops().remove_xattr(b"user.3")?;
    drop(base);
    base = env.remount()?;
    for number in 0..12 {
        let expected = (number != 3).then(|| pattern(number, 50));
        check_eq!(base.at("f")?.ops().xattr(format!("user.{number}").as_bytes())?, expected);
    }
    Ok(())
}

fn links_are_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[file(b"a", b"1"), dir(b"d")])?;
    base.dir("d")?.link("b", &base.at("a")?)?;
    drop(base);
    base = env.remount()?;
    check_eq!(base.at("a")?.id(), base.at("d/b")?.id());
    check_eq!(base.attr_of("a")?.nlink, 2);
    base.open("a")?.put(0, "2")?;
    base.holds("d/b", "2")
}

fn holes_are_there_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[])?;
    let f = base.file("f", "start")?;
    f.put(4 << 20, "end")?;
    drop((f, base));
    base = env.remount()?;
    let f = base.open("f")?;
    check!(f.attr()?.blocks < 1024, "{} blocks", f.attr()?.blocks);
    check_eq!(f.seek_data(1 << 20)?, Some(4 << 20));
    check_eq!(f.get((4 << 20) - 2, 5)?, b"\0\0end");
    Ok(())
}

fn inode_numbers_are_the_same(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[dir(b"d"), file(b"d/f", b"1"), file(b"untouched", b"2")])?;
    base.open("d/f")?.put(0, "changed")?;
    base.file("new", "")?;
    let paths = ["d", "d/f", "untouched", "new"];
    let mut before = alloc::vec::Vec::new();
    for path in paths {
        before.push(base.at(path)?.id().ino);
    }
    drop(base);
    base = env.remount()?;
    for (path, before) in paths.iter().zip(before) {
        check_eq!(base.at(path)?.id().ino, before, "inode number of {path}");
    }
    Ok(())
}

fn handles_find_their_inodes_again(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[dir(b"d"), file(b"d/f", b"1")])?;
    let mut handles = alloc::vec::Vec::new();
    for path in ["d", "d/f"] {
        handles.push(base.at(path)?.ops().handle().ok_or_else(|| Failure::new("no handle"))?);
    }
    drop(base);
    base = env.remount()?;
    for (path, handle) in ["d", "d/f"].iter().zip(handles) {
        let found = env.fs()?.node_by_handle(&handle)?.map(|node| node.id());
        check_eq!(found, Some(base.at(path)?.id()), "the handle of {path}");
    }
    Ok(())
}

fn the_unlinked_and_the_unnamed_are_gone(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[file(b"f", b"1")])?;
    let unnamed = base.create_unnamed(&vfs::NewNode::new(NewKind::File, 0o600))?;
    drop((unnamed, base));
    base = env.remount()?;
    base.lists(&["f"])
}

fn space_of_the_unlinked_is_back(env: &Env<'_>) -> Outcome {
    let mut base = env.start(&[])?;
    let before = env.fs()?.statfs()?.blocks_free;
    let f = base.file("f", pattern(0, 1 << 20))?;
    base.unlink("f")?;
    drop((f, base));
    base = env.remount()?;
    base.lists(&[])?;
    let after = env.fs()?.statfs()?.blocks_free;
    check!(after + 64 >= before, "{after} blocks free, {before} before");
    Ok(())
}
