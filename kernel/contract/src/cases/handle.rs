//! Handles that find an inode again.

use vfs::FileHandle;

use super::group;
use crate::dsl::show;
use crate::tree::{dir, file, symlink};
use crate::{Env, Failure, Features, Outcome, check, check_eq};

group! {
    "handle", Features::HANDLES;
    a_handle_finds_its_inode,
    handles_of_different_inodes_differ,
    a_handle_is_stable_over_a_rename + WRITE,
    a_handle_of_a_removed_inode_finds_nothing + WRITE,
    a_handle_does_not_find_a_successor + WRITE,
    a_garbled_handle_finds_nothing_wrong,
}

const TREE: [crate::tree::Item<'static>; 4] = [dir(b"d"), file(b"d/f", b"1"), file(b"g", b"2"), symlink(b"l", b"g")];

fn a_handle_finds_its_inode(env: &Env<'_>) -> Outcome {
    let base = env.start(&TREE)?;
    for item in &TREE {
        let node = base.at(item.path)?;
        let handle = node.ops().handle().ok_or_else(|| Failure::new("no handle"))?;
        check!(handle.bytes.len() <= 128, "a handle of {} bytes", handle.bytes.len());
        let id = node.id();
        drop(node);
        let found = env.fs()?.node_by_handle(&handle)?;
        check_eq!(found.map(|node| node.id()), Some(id), "inode of {}", show(item.path));
    }
    Ok(())
}

fn handles_of_different_inodes_differ(env: &Env<'_>) -> Outcome {
    let base = env.start(&TREE)?;
    let (one, other) = (base.at("d/f")?.ops().handle(), base.at("g")?.ops().handle());
    check!(one.is_some() && one != other, "{one:?} and {other:?}");
    check_eq!(base.at("g")?.ops().handle(), other);
    Ok(())
}

fn a_handle_is_stable_over_a_rename(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let f = base.file("f", "content")?;
    let handle = f.handle().ok_or_else(|| Failure::new("no handle"))?;
    let id = f.id();
    base.mkdir("d")?;
    base.mv_to("f", &base.dir("d")?, "g")?;
    drop(f);
    check_eq!(base.at("d/g")?.ops().handle().as_ref(), Some(&handle));
    check_eq!(env.fs()?.node_by_handle(&handle)?.map(|node| node.id()), Some(id));
    Ok(())
}

fn a_handle_of_a_removed_inode_finds_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let handle = base.file("f", "content")?.handle().ok_or_else(|| Failure::new("no handle"))?;
    let dir_handle = base.mkdir("d")?.handle().ok_or_else(|| Failure::new("no handle"))?;
    base.unlink("f")?;
    base.rmdir("d")?;
    check!(env.fs()?.node_by_handle(&handle)?.is_none(), "a removed file was found");
    check!(env.fs()?.node_by_handle(&dir_handle)?.is_none(), "a removed directory was found");
    Ok(())
}

fn a_handle_does_not_find_a_successor(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let handle = base.file("f", "content")?.handle().ok_or_else(|| Failure::new("no handle"))?;
    base.unlink("f")?;
    // One of these has the number of the one that went, where numbers are used again.
    for number in 0..50 {
        base.file(alloc::format!("{number}"), "")?;
    }
    check!(env.fs()?.node_by_handle(&handle)?.is_none(), "another inode was found");
    Ok(())
}

fn a_garbled_handle_finds_nothing_wrong(env: &Env<'_>) -> Outcome {
    let base = env.start(&TREE)?;
    let good = base.at("g")?.ops().handle().ok_or_else(|| Failure::new("no handle"))?;
    let fs = env.fs()?;
    for cut in 0..good.bytes.len() {
        let short = FileHandle { kind: good.kind, bytes: good.bytes[..cut].into() };
        check!(!matches!(fs.node_by_handle(&short), Ok(Some(_))), "{cut} bytes of a handle found something");
    }
    for flip in 0..good.bytes.len() {
        let mut bytes = good.bytes.clone();
        bytes[flip] ^= 0xff;
        // It may name another inode, or fail; it must not do harm.
        if let Ok(Some(node)) = fs.node_by_handle(&FileHandle { kind: good.kind, bytes }) {
            node.attr()?;
        }
    }
    let other = FileHandle { kind: good.kind ^ 0x40, bytes: good.bytes.clone() };
    check!(!matches!(fs.node_by_handle(&other), Ok(Some(_))), "a handle of another kind found something");
    Ok(())
}
