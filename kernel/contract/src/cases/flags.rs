//! Inode flags: what filesystems keep, show and hand down. What the flags forbid is not theirs to enforce.

use vfs::{FileType, InodeFlags, XattrSet};

use super::group;
use crate::dsl::{Dir, chmod};
use crate::tree::{dir, fifo, file, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "flags", Features::WRITE.union(Features::FLAGS);
    an_inode_begins_without_flags,
    flags_are_set_and_cleared,
    flags_change_ctime_and_nothing_else,
    flags_stay_over_renames_and_other_changes,
    flags_survive_a_remount + REMOUNT,
    a_new_inode_takes_over_what_does_not_protect,
    links_and_special_nodes_take_no_flags + DEVICES,
    an_unknown_flag_is_refused,
    a_filesystem_enforces_nothing,
    reading_leaves_the_access_time_if_told_so + ACCESS_TIME,
    flags_and_an_attribute_are_one_change + UPPER,
    a_refused_attribute_leaves_the_flags + UPPER,
}

/// What every filesystem with flags has.
const ALL: InodeFlags = InodeFlags::PROTECTION.union(InodeFlags::NODUMP).union(InodeFlags::NOATIME);

/// The common flags of what is at a path.
fn flags_of(base: &Dir, path: &str) -> Outcome<InodeFlags> {
    Ok(base.attr_of(path)?.flags.unwrap_or(InodeFlags::all()) & InodeFlags::COMMON)
}

fn set(base: &Dir, path: &str, flags: InodeFlags) -> Outcome {
    Ok(base.at(path)?.ops().set_flags(flags, None)?)
}

fn an_inode_begins_without_flags(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d")])?;
    base.file("g", "")?;
    for path in ["f", "d", "g"] {
        check_eq!(flags_of(&base, path)?, InodeFlags::empty(), "flags of {path}");
    }
    Ok(())
}

fn flags_are_set_and_cleared(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d"), file(b"d/g", b"")])?;
    for path in ["f", "d", "d/g"] {
        for flags in [ALL, InodeFlags::IMMUTABLE, InodeFlags::NOATIME, InodeFlags::APPEND, InodeFlags::empty(), ALL] {
            set(&base, path, flags)?;
            check_eq!(flags_of(&base, path)?, flags, "flags of {path}");
        }
    }
    base.holds("f", "abc")
}

fn flags_change_ctime_and_nothing_else(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc").mode(0o640), dir(b"d")])?;
    for path in ["f", "d"] {
        for flags in [InodeFlags::IMMUTABLE, InodeFlags::APPEND | InodeFlags::NODUMP] {
            let before = base.attr_of(path)?;
            let now = env.clock.tick();
            set(&base, path, flags)?;
            let after = base.attr_of(path)?;
            check_eq!((after.mode, after.mtime), (before.mode, before.mtime));
            // Small inodes know no fractions of a second.
            check_eq!((after.uid, after.ctime.secs), (before.uid, now.secs));
            if after.kind == FileType::File {
                // A directory's are those of its layer, and another's once it is copied up.
                check_eq!((after.size, after.nlink), (before.size, before.nlink));
            }
            if env.has(Features::CONSTANT_INO) {
                check_eq!(after.ino, before.ino);
            }
        }
    }
    Ok(())
}

fn flags_stay_over_renames_and_other_changes(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d"), file(b"l", b"")])?;
    let flags = InodeFlags::APPEND | InodeFlags::NODUMP;
    set(&base, "f", flags)?;
    base.mv_to("f", &base.dir("d")?, "g")?;
    base.at("d/g")?.ops().set_attr(&chmod(0o600))?;
    base.open("d/g")?.put(3, "def")?;
    base.mv_to("l", &base.dir("d")?, "l")?;
    set(&base, "d", flags)?;
    base.dir("d")?.file("new", "")?;
    check_eq!((flags_of(&base, "d/g")?, flags_of(&base, "d")?), (flags, flags));
    check_eq!(flags_of(&base, "d/l")?, InodeFlags::empty());
    base.holds("d/g", "abcdef")
}

fn flags_survive_a_remount(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d")])?;
    set(&base, "f", InodeFlags::IMMUTABLE | InodeFlags::NOATIME)?;
    set(&base, "d", InodeFlags::APPEND)?;
    drop(base);
    let base = env.remount()?;
    check_eq!(flags_of(&base, "f")?, InodeFlags::IMMUTABLE | InodeFlags::NOATIME);
    check_eq!(flags_of(&base, "d")?, InodeFlags::APPEND);
    base.holds("f", "abc")
}

fn a_new_inode_takes_over_what_does_not_protect(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    set(&base, "d", ALL)?;
    let d = base.dir("d")?;
    d.file("f", "")?;
    d.mkdir("s")?.file("g", "")?;
    for path in ["d/f", "d/s", "d/s/g"] {
        check_eq!(flags_of(&base, path)?, ALL - InodeFlags::PROTECTION, "flags of {path}");
    }
    Ok(())
}

fn links_and_special_nodes_take_no_flags(env: &Env<'_>) -> Outcome {
    let base = env.start(&[symlink(b"l", b"f"), fifo(b"p")])?;
    for path in ["l", "p"] {
        check_err!(base.at(path)?.ops().set_flags(InodeFlags::NODUMP, None), ENOTTY);
    }
    Ok(())
}

fn an_unknown_flag_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let unknown = InodeFlags::from_bits_retain(1 << 31);
    let refused = base.at("f")?.ops().set_flags(unknown | InodeFlags::NODUMP, None);
    check_err!(refused, EOPNOTSUPP);
    check_eq!(flags_of(&base, "f")?, InodeFlags::empty());
    Ok(())
}

fn a_filesystem_enforces_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc"), dir(b"d"), file(b"d/g", b"")])?;
    for path in ["f", "d", "d/g"] {
        set(&base, path, InodeFlags::PROTECTION)?;
    }
    base.open("f")?.put(0, "A")?;
    base.dir("d")?.unlink("g")?;
    base.dir("d")?.file("new", "x")?;
    base.mv_to("f", &base.dir("d")?, "f")?;
    base.holds("d/f", "Abc")
}

fn reading_leaves_the_access_time_if_told_so(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "abc")?;
    set(&base, "f", InodeFlags::NOATIME)?;
    let before = f.attr()?.atime;
    env.clock.tick();
    f.note_access();
    check_eq!(f.attr()?.atime, before);
    set(&base, "f", InodeFlags::empty())?;
    let now = env.clock.tick();
    f.note_access();
    // Not every inode has room for the nanoseconds.
    check_eq!(f.attr()?.atime.secs, now.secs);
    Ok(())
}

fn flags_and_an_attribute_are_one_change(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), dir(b"d")])?;
    for path in ["f", "d"] {
        let node = base.at(path)?;
        let with = XattrSet { name: b"trusted.a", value: Some(b"1") };
        node.ops().set_flags(InodeFlags::NODUMP, Some(with))?;
        check_eq!(flags_of(&base, path)?, InodeFlags::NODUMP);
        check_eq!(node.ops().xattr(b"trusted.a")?.as_deref(), Some(&b"1"[..]));
        for _ in 0..2 {
            node.ops().set_flags(InodeFlags::empty(), Some(XattrSet { name: b"trusted.a", value: None }))?;
            check_eq!((flags_of(&base, path)?, node.ops().xattr(b"trusted.a")?), (InodeFlags::empty(), None));
        }
    }
    Ok(())
}

fn a_refused_attribute_leaves_the_flags(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let node = base.at("f")?;
    let long = [b"trusted.", &[b'x'; 250][..]].concat();
    let with = XattrSet { name: &long, value: Some(b"1") };
    check_err!(node.ops().set_flags(InodeFlags::NODUMP, Some(with)), ERANGE);
    let refused = InodeFlags::from_bits_retain(1 << 31);
    let with = XattrSet { name: b"trusted.a", value: Some(b"1") };
    check_err!(node.ops().set_flags(refused, Some(with)), EOPNOTSUPP);
    check_eq!((flags_of(&base, "f")?, node.ops().xattr(b"trusted.a")?), (InodeFlags::empty(), None));
    Ok(())
}
