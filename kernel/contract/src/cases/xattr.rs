//! Extended attributes.

use alloc::format;
use alloc::vec::Vec;

use vfs::{Node, SetAttr, XattrMode};

use super::group;
use crate::dsl::{pattern, same_bytes, show};
use crate::tree::{dir, file, hard_link, symlink};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "xattr", Features::WRITE.union(Features::USER_XATTRS);
    a_value_is_kept,
    a_value_is_replaced,
    an_empty_value_is_a_value,
    a_directory_has_its_own,
    create_refuses_what_is_there,
    replace_refuses_what_is_absent,
    a_removed_one_is_gone,
    a_removal_of_what_is_absent_is_enodata,
    names_are_listed_once,
    names_are_compared_byte_by_byte,
    the_longest_name_is_kept,
    a_name_too_long_is_erange,
    an_unknown_class_is_refused,
    a_large_value_is_kept + LARGE_XATTRS,
    a_value_over_64_kib_is_refused,
    a_refused_change_leaves_the_old_value,
    many_are_kept,
    a_write_and_a_chmod_leave_them,
    a_rename_takes_them_along,
    links_share_them + HARD_LINKS,
    trusted_and_security_are_kept + ALL_XATTRS,
    acls_are_kept_as_they_are + ALL_XATTRS,
    an_acl_can_be_taken_away_twice + ALL_XATTRS,
    an_acl_and_the_mode_are_in_step + ALL_XATTRS,
    a_symbolic_link_has_trusted_ones + ALL_XATTRS,
    those_that_were_there_at_mount_can_be_changed,
}

fn get(node: &Node, name: &[u8]) -> Outcome<Option<Vec<u8>>> {
    Ok(node.ops().xattr(name)?)
}

fn set(node: &Node, name: &[u8], value: &[u8]) -> vfs::Result<()> {
    node.ops().set_xattr(name, value, XattrMode::Set)
}

fn is(node: &Node, name: &[u8], expected: Option<&[u8]>) -> Outcome {
    check_eq!(get(node, name)?.as_deref().map(show), expected.map(show), "{}", show(name));
    Ok(())
}

fn names(node: &Node) -> Outcome<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    node.ops().list_xattrs(&mut |name| names.push(name.to_vec()))?;
    names.sort();
    Ok(names)
}

fn a_value_is_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    set(&f, b"user.mime", b"text/\0plain\xff")?;
    is(&f, b"user.mime", Some(b"text/\0plain\xff"))?;
    is(&base.at("f")?, b"user.mime", Some(b"text/\0plain\xff"))
}

fn a_value_is_replaced(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    for value in [&b"first"[..], b"second, a longer one", b"3"] {
        set(&f, b"user.x", value)?;
        is(&f, b"user.x", Some(value))?;
    }
    check_eq!(names(&f)?, [b"user.x"]);
    Ok(())
}

fn an_empty_value_is_a_value(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    set(&f, b"user.x", b"")?;
    is(&f, b"user.x", Some(b""))?;
    check_eq!(names(&f)?, [b"user.x"]);
    Ok(())
}

fn a_directory_has_its_own(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d"), file(b"d/f", b"")])?;
    set(&base.at("d")?, b"user.x", b"dir")?;
    is(&base.at("d")?, b"user.x", Some(b"dir"))?;
    is(&base.at("d/f")?, b"user.x", None)?;
    base.dir("d")?.lists(&["f"])
}

fn create_refuses_what_is_there(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    f.ops().set_xattr(b"user.x", b"1", XattrMode::Create)?;
    check_err!(f.ops().set_xattr(b"user.x", b"2", XattrMode::Create), EEXIST);
    is(&f, b"user.x", Some(b"1"))
}

fn replace_refuses_what_is_absent(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    check_err!(f.ops().set_xattr(b"user.x", b"1", XattrMode::Replace), ENODATA);
    is(&f, b"user.x", None)?;
    set(&f, b"user.x", b"1")?;
    f.ops().set_xattr(b"user.x", b"2", XattrMode::Replace)?;
    is(&f, b"user.x", Some(b"2"))
}

fn a_removed_one_is_gone(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    set(&f, b"user.x", b"1")?;
    set(&f, b"user.y", b"2")?;
    f.ops().remove_xattr(b"user.x")?;
    is(&f, b"user.x", None)?;
    is(&f, b"user.y", Some(b"2"))?;
    check_eq!(names(&f)?, [b"user.y"]);
    set(&f, b"user.x", b"3")?;
    is(&f, b"user.x", Some(b"3"))
}

fn a_removal_of_what_is_absent_is_enodata(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    check_err!(f.ops().remove_xattr(b"user.x"), ENODATA);
    set(&f, b"user.x", b"1")?;
    check_err!(f.ops().remove_xattr(b"user.xx"), ENODATA);
    is(&f, b"user.x", Some(b"1"))
}

fn names_are_listed_once(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    check_eq!(names(&f)?.len(), 0);
    for name in ["user.c", "user.a", "user.b", "user.a"] {
        set(&f, name.as_bytes(), b"v")?;
    }
    check_eq!(names(&f)?, [b"user.a", b"user.b", b"user.c"]);
    Ok(())
}

fn names_are_compared_byte_by_byte(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    for name in ["user.a", "user.A", "user.aa", "user.a.b"] {
        set(&f, name.as_bytes(), name.as_bytes())?;
    }
    for name in ["user.a", "user.A", "user.aa", "user.a.b"] {
        is(&f, name.as_bytes(), Some(name.as_bytes()))?;
    }
    is(&f, b"user.AA", None)
}

fn the_longest_name_is_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    let name = [b"user.".as_slice(), &[b'n'; 250]].concat();
    set(&f, &name, b"1")?;
    is(&f, &name, Some(b"1"))?;
    is(&f, &name[..254], None)
}

fn a_name_too_long_is_erange(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let name = [b"user.".as_slice(), &[b'n'; 251]].concat();
    check_err!(set(&base.at("f")?, &name, b"1"), ERANGE);
    check_eq!(names(&base.at("f")?)?.len(), 0);
    Ok(())
}

fn an_unknown_class_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    check_err!(set(&f, b"foreign.x", b"1"), EOPNOTSUPP);
    check_err!(set(&f, b"nodot", b"1"), EOPNOTSUPP);
    check_err!(set(&f, b"system.x", b"1"), EOPNOTSUPP);
    check_err!(set(&f, b"user.", b"1"), EINVAL | EOPNOTSUPP);
    check_eq!(names(&f)?.len(), 0);
    Ok(())
}

fn a_large_value_is_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    for len in [1000, 4_000, 20_000, 65_536] {
        let value = pattern(len, len as usize);
        set(&f, b"user.large", &value)?;
        same_bytes("value", &get(&f, b"user.large")?.unwrap_or_default(), &value)?;
    }
    set(&f, b"user.large", b"small again")?;
    is(&f, b"user.large", Some(b"small again"))
}

fn a_value_over_64_kib_is_refused(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    check_err!(set(&f, b"user.x", &pattern(0, 65_537)), E2BIG | ENOSPC | ERANGE);
    is(&f, b"user.x", None)
}

fn a_refused_change_leaves_the_old_value(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    set(&f, b"user.x", b"old")?;
    set(&f, b"user.y", b"other")?;
    check_err!(set(&f, b"user.x", &pattern(0, 65_537)), E2BIG | ENOSPC | ERANGE);
    is(&f, b"user.x", Some(b"old"))?;
    is(&f, b"user.y", Some(b"other"))?;
    check_eq!(names(&f)?, [b"user.x", b"user.y"]);
    Ok(())
}

fn many_are_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let f = base.at("f")?;
    for number in 0..40 {
        set(&f, format!("user.number {number}").as_bytes(), format!("value {number}").as_bytes())?;
    }
    for number in (0..40).step_by(3) {
        f.ops().remove_xattr(format!("user.number {number}").as_bytes())?;
    }
    for number in 0..40 {
        let value = format!("value {number}");
        let expected = (number % 3 != 0).then_some(value.as_bytes());
        is(&f, format!("user.number {number}").as_bytes(), expected)?;
    }
    check_eq!(names(&f)?.len(), 26);
    Ok(())
}

fn a_write_and_a_chmod_leave_them(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"abc").xattrs(&[(b"user.x", b"1")])])?;
    base.open("f")?.put(1_000, "more")?;
    base.at("f")?.ops().set_attr(&crate::dsl::chmod(0o600))?;
    base.open("f")?.set_len(0)?;
    is(&base.at("f")?, b"user.x", Some(b"1"))
}

fn a_rename_takes_them_along(env: &Env<'_>) -> Outcome {
    let xattrs: &[(&[u8], &[u8])] = &[(b"user.x", b"1")];
    let base = env.start(&[file(b"f", b"").xattrs(xattrs), dir(b"d").xattrs(xattrs), file(b"victim", b"")])?;
    set(&base.at("victim")?, b"user.victim", b"2")?;
    base.mv("f", "victim")?;
    base.mv("d", "e")?;
    for path in ["victim", "e"] {
        is(&base.at(path)?, b"user.x", Some(b"1"))?;
        check_eq!(names(&base.at(path)?)?, [b"user.x"], "of {path}");
    }
    Ok(())
}

fn links_share_them(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"a", b""), hard_link(b"b", b"a")])?;
    set(&base.at("a")?, b"user.x", b"1")?;
    is(&base.at("b")?, b"user.x", Some(b"1"))?;
    base.unlink("a")?;
    is(&base.at("b")?, b"user.x", Some(b"1"))
}

fn trusted_and_security_are_kept(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b""), dir(b"d")])?;
    for path in ["f", "d"] {
        let node = base.at(path)?;
        for name in ["trusted.x", "security.x", "user.x"] {
            set(&node, name.as_bytes(), name.as_bytes())?;
        }
        for name in ["trusted.x", "security.x", "user.x"] {
            is(&node, name.as_bytes(), Some(name.as_bytes()))?;
        }
        check_eq!(names(&node)?.len(), 3);
    }
    Ok(())
}

/// An access list with a named user and a mask, so that nothing can fold it into the mode, which is 0660.
const FULL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x06\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";

fn an_acl_and_the_mode_are_in_step(env: &Env<'_>) -> Outcome {
    // The rights of mode 0640, and no more.
    const MINIMAL: &[u8] =
        b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let base = env.start(&[file(b"f", b"").mode(0o4604)])?;
    let f = base.at("f")?;
    set(&f, vfs::acl::ACCESS, FULL)?;
    check_eq!(f.attr()?.mode, 0o4660);
    f.ops().set_attr(&SetAttr { mode: Some(0o751), ..SetAttr::default() })?;
    // The mask follows the group's bits, the owner and others follow theirs, the named user and the group stay.
    let mut followed = FULL.to_vec();
    (followed[6], followed[30], followed[38]) = (7, 5, 1);
    is(&f, vfs::acl::ACCESS, Some(&followed))?;
    set(&f, vfs::acl::ACCESS, MINIMAL)?;
    check_eq!(f.attr()?.mode, 0o640);
    is(&f, vfs::acl::ACCESS, None)
}

fn acls_are_kept_as_they_are(env: &Env<'_>) -> Outcome {
    // Version 2; the owner, its group and others, with the rights that mode 0640 has.
    const ACL: &[u8] = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
    let base = env.start(&[file(b"f", b"").mode(0o660), dir(b"d")])?;
    set(&base.at("f")?, b"system.posix_acl_access", FULL)?;
    is(&base.at("f")?, b"system.posix_acl_access", Some(FULL))?;
    set(&base.at("d")?, b"system.posix_acl_default", ACL)?;
    is(&base.at("d")?, b"system.posix_acl_default", Some(ACL))?;
    base.at("d")?.ops().remove_xattr(b"system.posix_acl_default")?;
    is(&base.at("d")?, b"system.posix_acl_default", None)
}

fn an_acl_can_be_taken_away_twice(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"").mode(0o660), dir(b"d")])?;
    for (path, name) in [("f", &b"system.posix_acl_access"[..]), ("d", b"system.posix_acl_default")] {
        let node = base.at(path)?;
        set(&node, name, FULL)?;
        node.ops().remove_xattr(name)?;
        let before = node.attr()?;
        node.ops().remove_xattr(name)?;
        check_eq!(node.attr()?.ctime, before.ctime, "nothing changed");
        is(&node, name, None)?;
    }
    Ok(())
}

fn a_symbolic_link_has_trusted_ones(env: &Env<'_>) -> Outcome {
    let base = env.start(&[symlink(b"l", b"nowhere")])?;
    let l = base.at("l")?;
    set(&l, b"trusted.x", b"1")?;
    is(&l, b"trusted.x", Some(b"1"))?;
    check_eq!(base.link_at("l")?.target()?, b"nowhere");
    Ok(())
}

fn those_that_were_there_at_mount_can_be_changed(env: &Env<'_>) -> Outcome {
    let xattrs: &[(&[u8], &[u8])] = &[(b"user.a", b"1"), (b"user.b", b"2"), (b"user.c", b"3")];
    let base = env.start(&[file(b"f", b"content").xattrs(xattrs)])?;
    let f = base.at("f")?;
    set(&f, b"user.a", b"changed")?;
    f.ops().remove_xattr(b"user.b")?;
    set(&f, b"user.d", b"new")?;
    let f = base.at("f")?;
    check_eq!(names(&f)?, [b"user.a", b"user.c", b"user.d"]);
    is(&f, b"user.a", Some(b"changed"))?;
    is(&f, b"user.c", Some(b"3"))?;
    base.holds("f", "content")
}
