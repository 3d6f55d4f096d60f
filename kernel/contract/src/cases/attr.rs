//! Changes of attributes.

use vfs::{SetAttr, mode};

use super::group;
use crate::dsl::chmod;
use crate::tree::{char_device, dir, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check, check_eq};

group! {
    "attr", Features::WRITE;
    a_chmod_sets_all_permission_bits,
    a_chmod_leaves_the_rest,
    a_chown_sets_owner_and_group_apart,
    a_chown_reaches_32_bits,
    a_symbolic_link_itself_is_chowned,
    a_special_node_is_changed + DEVICES,
    one_change_sets_everything_at_once,
    a_change_keeps_inode_and_content,
    a_change_shows_through_a_held_node,
    a_change_of_a_directory_leaves_its_entries,
    blocks_follow_the_content,
    a_device_is_told_in_attr_and_id,
    all_links_share_the_attributes + HARD_LINKS,
}

fn a_chmod_sets_all_permission_bits(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), dir(b"d")])?;
    for path in ["f", "d"] {
        for bits in [0o7777, 0, 0o4755, 0o1777, 0o2640, 0o644] {
            base.at(path)?.ops().set_attr(&chmod(bits))?;
            check_eq!(base.attr_of(path)?.mode, bits, "mode of {path}");
        }
    }
    Ok(())
}

fn a_chmod_leaves_the_rest(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc").owner(1, 2)])?;
    let before = base.attr_of("f")?;
    base.at("f")?.ops().set_attr(&chmod(0o600))?;
    let after = base.attr_of("f")?;
    check_eq!((after.kind, after.uid, after.gid, after.size), (before.kind, 1, 2, 3));
    check_eq!(after.nlink, before.nlink);
    Ok(())
}

fn a_chown_sets_owner_and_group_apart(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"").owner(1, 2), dir(b"d").owner(1, 2)])?;
    for path in ["f", "d"] {
        let node = base.at(path)?;
        node.ops().set_attr(&SetAttr { uid: Some(10), ..SetAttr::default() })?;
        check_eq!((base.attr_of(path)?.uid, base.attr_of(path)?.gid), (10, 2));
        node.ops().set_attr(&SetAttr { gid: Some(20), ..SetAttr::default() })?;
        check_eq!((base.attr_of(path)?.uid, base.attr_of(path)?.gid), (10, 20));
    }
    Ok(())
}

fn a_chown_reaches_32_bits(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    for id in [65_535, 65_536, 1 << 31, u32::MAX - 1] {
        base.at("f")?.ops().set_attr(&SetAttr { uid: Some(id), gid: Some(id - 1), ..SetAttr::default() })?;
        check_eq!((base.attr_of("f")?.uid, base.attr_of("f")?.gid), (id, id - 1));
    }
    Ok(())
}

fn a_symbolic_link_itself_is_chowned(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), symlink(b"l", b"f")])?;
    base.at("l")?.ops().set_attr(&SetAttr { uid: Some(7), gid: Some(8), ..SetAttr::default() })?;
    check_eq!((base.attr_of("l")?.uid, base.attr_of("l")?.gid), (7, 8));
    check_eq!((base.attr_of("f")?.uid, base.attr_of("f")?.gid), (0, 0));
    check_eq!(base.link_at("l")?.target()?, b"f");
    Ok(())
}

fn a_special_node_is_changed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[char_device(b"null", 1, 3)])?;
    let before = base.attr_of("null")?;
    base.at("null")?.ops().set_attr(&SetAttr { uid: Some(7), ..chmod(0o666) })?;
    let after = base.attr_of("null")?;
    check_eq!((after.mode, after.uid, after.rdev, after.kind), (0o666, 7, before.rdev, before.kind));
    Ok(())
}

fn one_change_sets_everything_at_once(env: &Env<'_>) -> Outcome {
    use vfs::{SetTime, Timestamp};
    let base = env.start(&[file(b"f", b"abc")])?;
    let (atime, mtime) = (Timestamp { secs: 3, nanos: 4 }, Timestamp { secs: 5, nanos: 6 });
    let change = SetAttr {
        mode: Some(0o4710),
        uid: Some(11),
        gid: Some(12),
        atime: Some(SetTime::At(atime)),
        mtime: Some(SetTime::At(mtime)),
    };
    let now = env.clock.tick();
    base.at("f")?.ops().set_attr(&change)?;
    let attr = base.attr_of("f")?;
    check_eq!((attr.mode, attr.uid, attr.gid), (0o4710, 11, 12));
    check_eq!((attr.atime, attr.mtime, attr.ctime), (atime, mtime, now));
    Ok(())
}

fn a_change_keeps_inode_and_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"content")])?;
    let before = base.at("f")?.id();
    base.at("f")?.ops().set_attr(&chmod(mode::SET_UID | 0o555))?;
    base.holds("f", "content")?;
    if env.has(Features::CONSTANT_INO) {
        check_eq!(base.at("f")?.id(), before);
        check_eq!(base.list()?[0].ino, before.ino);
    }
    Ok(())
}

fn a_change_shows_through_a_held_node(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d")])?;
    let (file, dir) = (base.open("f")?, base.dir("d")?);
    base.at("f")?.ops().set_attr(&chmod(0o611))?;
    base.at("d")?.ops().set_attr(&chmod(0o711))?;
    check_eq!((file.attr()?.mode, dir.attr()?.mode), (0o611, 0o711));
    base.open("f")?.put(0, "X")?;
    file.holds("Xbc")
}

fn a_change_of_a_directory_leaves_its_entries(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"1"), dir(b"d/s"), file(b"d/s/g", b"2")])?;
    base.at("d")?.ops().set_attr(&SetAttr { uid: Some(5), ..chmod(0o700) })?;
    base.dir("d")?.lists(&["f", "s"])?;
    base.holds("d/s/g", "2")?;
    check_eq!(base.attr_of("d/f")?.uid, 0);
    Ok(())
}

fn blocks_follow_the_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "")?;
    check_eq!(f.attr()?.blocks, 0);
    f.put(0, alloc::vec![1; 100_000])?;
    // Delayed allocation may count late.
    env.fs()?.sync()?;
    let blocks = f.attr()?.blocks;
    check!((196..=400).contains(&blocks), "{blocks} blocks of 512 bytes for 100,000 bytes");
    f.set_len(0)?;
    check_eq!(f.attr()?.blocks, 0);
    Ok(())
}

fn a_device_is_told_in_attr_and_id(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), dir(b"d")])?;
    let dev = base.id().dev;
    for path in ["f", "d"] {
        base.at(path)?.ops().set_attr(&chmod(0o700))?;
        let node = base.at(path)?;
        check_eq!((node.id().dev, node.attr()?.dev), (dev, dev), "device of {path}");
    }
    Ok(())
}

fn all_links_share_the_attributes(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b"abc"), hard_link(b"b", b"a")])?;
    base.at("b")?.ops().set_attr(&SetAttr { gid: Some(3), ..chmod(0o604) })?;
    check_eq!(base.attr_of("a")?, base.attr_of("b")?);
    check_eq!((base.attr_of("a")?.mode, base.attr_of("a")?.gid), (0o604, 3));
    Ok(())
}
