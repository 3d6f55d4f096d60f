//! Lookups and reads in a tree that was there at mount: for every filesystem, read-only ones included.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use vfs::{FileType, NAME_MAX, Node};

use super::group;
use crate::dsl::{pattern, same_bytes, show};
use crate::random::Random;
use crate::tree::{Item, block_device, char_device, dir, fifo, file, hard_link, socket, sparse, symlink};
use crate::{Env, Failure, Features, Outcome, check, check_eq};

group! {
    "read", Features::empty();
    every_entry_of_the_tree_is_found,
    an_absent_name_is_none_and_no_error,
    a_name_is_compared_byte_by_byte,
    the_longest_name_is_found,
    a_name_need_not_be_text,
    a_deep_path_is_walked,
    id_and_attr_name_the_same_inode,
    two_lookups_give_the_same_inode,
    inode_numbers_are_unique,
    attr_tells_the_size_of_a_file,
    attr_tells_type_mode_owner_and_time,
    content_is_read_whole,
    content_is_read_from_any_offset,
    a_read_past_the_end_is_short,
    a_read_at_the_end_is_empty,
    an_empty_read_reads_nothing,
    an_empty_file_has_no_content,
    a_large_file_is_read_in_pieces_of_any_size,
    a_hole_reads_as_zeros,
    seek_in_a_file_without_holes_finds_data_and_the_end,
    a_symbolic_link_gives_its_target,
    a_symbolic_link_keeps_the_longest_target,
    a_device_keeps_its_number + DEVICES,
    a_fifo_is_a_fifo + DEVICES,
    a_socket_is_a_socket + SOCKETS,
    hard_links_are_one_inode + HARD_LINKS,
    extended_attributes_are_read + USER_XATTRS,
    extended_attributes_are_listed_once + USER_XATTRS,
    an_absent_extended_attribute_is_none + USER_XATTRS,
}

const SPECIAL: &[u8] = &[1, 2, 3];

pub(super) fn a_tree() -> Vec<Item<'static>> {
    vec![
        dir(b"etc"),
        file(b"etc/hostname", b"strata\n").mode(0o600).owner(7, 8),
        file(b"etc/empty", b""),
        dir(b"etc/deep").mode(0o1777),
        file(b"etc/deep/x", b"deep").mode(0o4755),
        dir(b"void"),
        symlink(b"link", b"etc/hostname"),
        file(b"big owner", SPECIAL).owner(3_000_000_000, 4_000_000_000),
    ]
}

fn every_entry_of_the_tree_is_found(env: &Env<'_>) -> Outcome {
    let tree = a_tree();
    let base = env.start(&tree)?;
    for item in &tree {
        let expected = item.new_kind().map(|kind| kind.file_type());
        check_eq!(Some(base.at(item.path)?.file_type()?), expected, "type of {}", show(item.path));
    }
    Ok(())
}

fn an_absent_name_is_none_and_no_error(env: &Env<'_>) -> Outcome {
    let base = env.start(&a_tree())?;
    base.absent("nothing")?;
    base.dir("etc")?.absent("nothing")?;
    base.dir("void")?.absent("etc")
}

fn a_name_is_compared_byte_by_byte(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"Name", b"1"), file(b"name", b"2"), file(b"name ", b"3")])?;
    base.holds("Name", "1")?;
    base.holds("name", "2")?;
    base.holds("name ", "3")?;
    base.absent("NAME")?;
    base.absent("nam")?;
    base.absent("namee")
}

fn the_longest_name_is_found(env: &Env<'_>) -> Outcome {
    let (longest, other) = ([b'n'; NAME_MAX], [b'n'; NAME_MAX - 1]);
    let base = env.start(&[file(&longest, b"255")])?;
    base.holds(longest, "255")?;
    base.absent(other)?;
    check_eq!(base.list()?[0].name, longest);
    Ok(())
}

fn a_name_need_not_be_text(env: &Env<'_>) -> Outcome {
    let names: [&[u8]; 4] = [b"\xff\xfe", b"two\nlines", b"\xc3\xa4", b"-rf *"];
    let tree: Vec<_> = names.iter().map(|name| file(name, name)).collect();
    let base = env.start(&tree)?;
    for name in names {
        base.holds(name, name)?;
    }
    let listed: BTreeSet<_> = base.list()?.into_iter().map(|entry| entry.name).collect();
    check!(names.iter().all(|name| listed.contains(*name)), "listing lacks one of {listed:?}");
    Ok(())
}

fn a_deep_path_is_walked(env: &Env<'_>) -> Outcome {
    let mut paths = vec![b"d".to_vec()];
    for _ in 0..40 {
        let next = [paths.last().map_or(&[][..], |path| path), b"/d"].concat();
        paths.push(next);
    }
    let leaf = [paths.last().map_or(&[][..], |path| path), b"/leaf"].concat();
    let mut tree: Vec<_> = paths.iter().map(|path| dir(path)).collect();
    tree.push(file(&leaf, b"down here"));
    env.start(&tree)?.holds(&leaf, "down here")
}

fn id_and_attr_name_the_same_inode(env: &Env<'_>) -> Outcome {
    let tree = a_tree();
    let base = env.start(&tree)?;
    let root = base.id();
    for item in &tree {
        let node = base.at(item.path)?;
        let attr = node.attr()?;
        check_eq!((attr.dev, attr.ino), (node.id().dev, node.id().ino), "identity of {}", show(item.path));
        check_eq!(attr.dev, root.dev, "device of {}", show(item.path));
    }
    Ok(())
}

fn two_lookups_give_the_same_inode(env: &Env<'_>) -> Outcome {
    let tree = a_tree();
    let base = env.start(&tree)?;
    for item in &tree {
        check_eq!(base.at(item.path)?.id(), base.at(item.path)?.id(), "inode of {}", show(item.path));
    }
    Ok(())
}

fn inode_numbers_are_unique(env: &Env<'_>) -> Outcome {
    let tree = a_tree();
    let base = env.start(&tree)?;
    let mut seen = BTreeSet::from([base.id()]);
    for item in &tree {
        check!(seen.insert(base.at(item.path)?.id()), "{} has another's inode number", show(item.path));
    }
    Ok(())
}

fn attr_tells_the_size_of_a_file(env: &Env<'_>) -> Outcome {
    let contents: Vec<_> = [0, 1, 511, 512, 4095, 4096, 4097, 70_000].map(|len| pattern(0, len)).into();
    let names: Vec<_> = contents.iter().map(|content| format!("of {}", content.len())).collect();
    let tree: Vec<_> = names.iter().zip(&contents).map(|(name, content)| file(name.as_bytes(), content)).collect();
    let base = env.start(&tree)?;
    for (name, content) in names.iter().zip(&contents) {
        check_eq!(base.attr_of(name)?.size, content.len() as u64, "size of the file {name}");
    }
    Ok(())
}

fn attr_tells_type_mode_owner_and_time(env: &Env<'_>) -> Outcome {
    let tree = a_tree();
    let base = env.start(&tree)?;
    for item in &tree {
        let attr = base.attr_of(item.path)?;
        if attr.kind != FileType::Symlink {
            check_eq!(attr.mode, item.mode, "mode of {}", show(item.path));
        }
        check_eq!((attr.uid, attr.gid), (item.uid, item.gid), "owner of {}", show(item.path));
        check_eq!(attr.mtime, item.mtime, "mtime of {}", show(item.path));
        check!(attr.nlink >= 1, "{} has no link", show(item.path));
        if attr.kind == FileType::Dir && env.has(Features::DIR_LINKS) {
            let subdirs = base.dir(item.path)?.list()?.iter().filter(|e| e.kind == FileType::Dir.d_type()).count();
            check_eq!(attr.nlink as usize, 2 + subdirs, "nlink of {}", show(item.path));
        }
    }
    Ok(())
}

fn content_is_read_whole(env: &Env<'_>) -> Outcome {
    let base = env.start(&a_tree())?;
    base.holds("etc/hostname", "strata\n")?;
    base.holds("etc/deep/x", "deep")?;
    base.holds("big owner", SPECIAL)
}

fn content_is_read_from_any_offset(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 20_000);
    let base = env.start(&[file(b"f", &content)])?;
    let file = base.open("f")?;
    for (offset, len) in [(0, 1), (1, 4095), (4095, 2), (4096, 4096), (8191, 8195), (19_999, 1), (12_345, 6_789)] {
        same_bytes("piece", &file.get(offset as u64, len)?, &content[offset..offset + len])?;
    }
    Ok(())
}

fn a_read_past_the_end_is_short(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let mut buf = [b'.'; 8];
    check_eq!(base.open("f")?.read_at(6, &mut buf)?, 4);
    check_eq!(&buf, b"6789....");
    Ok(())
}

fn a_read_at_the_end_is_empty(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    let file = base.open("f")?;
    let mut buf = [b'.'; 8];
    for offset in [10, 11, 4096, 1 << 40, u64::MAX] {
        check_eq!(file.read_at(offset, &mut buf)?, 0, "read at {offset}");
    }
    check_eq!(&buf, b"........");
    Ok(())
}

fn an_empty_read_reads_nothing(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"0123456789")])?;
    check_eq!(base.open("f")?.read_at(0, &mut [])?, 0);
    Ok(())
}

fn an_empty_file_has_no_content(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let file = base.open("f")?;
    check_eq!(file.read_at(0, &mut [0; 16])?, 0);
    check_eq!(file.seek_data(0)?, None);
    check_eq!(file.seek_hole(0)?, None);
    Ok(())
}

fn a_large_file_is_read_in_pieces_of_any_size(env: &Env<'_>) -> Outcome {
    let content = pattern(0, 1_500_001);
    let base = env.start(&[file(b"f", &content)])?;
    let file = base.open("f")?;
    file.holds(&content)?;
    let mut random = Random::new(11);
    for _ in 0..200 {
        let offset = random.below(content.len() as u64) as usize;
        let len = (1 << random.below(18)).min(content.len() - offset);
        same_bytes("piece", &file.get(offset as u64, len)?, &content[offset..offset + len])?;
    }
    Ok(())
}

fn a_hole_reads_as_zeros(env: &Env<'_>) -> Outcome {
    let base = env.start(&[sparse(b"f", &[(70_000, b"after"), (200_000, b"end")])])?;
    let mut expected = vec![0; 200_003];
    expected[70_000..70_005].copy_from_slice(b"after");
    expected[200_000..].copy_from_slice(b"end");
    base.holds("f", &expected)
}

fn seek_in_a_file_without_holes_finds_data_and_the_end(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", &pattern(0, 10_000))])?;
    let file = base.open("f")?;
    for offset in [0, 1, 4096, 9_999] {
        check_eq!(file.seek_data(offset)?, Some(offset));
        check_eq!(file.seek_hole(offset)?, Some(10_000));
    }
    check_eq!(file.seek_data(10_000)?, None);
    check_eq!(file.seek_hole(10_000)?, None);
    Ok(())
}

fn a_symbolic_link_gives_its_target(env: &Env<'_>) -> Outcome {
    let base = env.start(&[symlink(b"l", b"../a//b/./c"), symlink(b"dangling", b"\xff")])?;
    check_eq!(base.link_at("l")?.target()?, b"../a//b/./c");
    check_eq!(base.attr_of("l")?.size, 11);
    check_eq!(base.link_at("dangling")?.target()?, b"\xff");
    Ok(())
}

fn a_symbolic_link_keeps_the_longest_target(env: &Env<'_>) -> Outcome {
    for len in [59, 60, 61, 100, 1000, 4095] {
        let target = pattern(0, len);
        let base = env.start(&[symlink(b"l", &target)])?;
        same_bytes("target", &base.link_at("l")?.target()?, &target)?;
        check_eq!(base.attr_of("l")?.size, len as u64);
    }
    Ok(())
}

fn a_device_keeps_its_number(env: &Env<'_>) -> Outcome {
    let tree = [char_device(b"null", 1, 3), block_device(b"vda", 254, 0), char_device(b"large", 4095, 1_048_575)];
    let base = env.start(&tree)?;
    for (item, kind) in tree.iter().zip([FileType::CharDevice, FileType::BlockDevice, FileType::CharDevice]) {
        let attr = base.attr_of(item.path)?;
        check_eq!(attr.kind, kind, "type of {}", show(item.path));
        let (crate::tree::ItemKind::CharDevice(number) | crate::tree::ItemKind::BlockDevice(number)) = item.kind else {
            return Err(Failure::new("a device was declared"));
        };
        check_eq!(attr.rdev, number, "number of {}", show(item.path));
    }
    Ok(())
}

fn a_fifo_is_a_fifo(env: &Env<'_>) -> Outcome {
    let base = env.start(&[fifo(b"p").mode(0o622)])?;
    check!(matches!(base.at("p")?, Node::Special(_)));
    check_eq!(base.attr_of("p")?.st_mode(), 0o010_622);
    Ok(())
}

fn a_socket_is_a_socket(env: &Env<'_>) -> Outcome {
    let base = env.start(&[socket(b"s").mode(0o666)])?;
    check!(matches!(base.at("s")?, Node::Special(_)));
    check_eq!(base.attr_of("s")?.st_mode(), 0o140_666);
    Ok(())
}

fn hard_links_are_one_inode(env: &Env<'_>) -> Outcome {
    let tree = [dir(b"d"), file(b"a", b"shared"), hard_link(b"d/b", b"a"), hard_link(b"c", b"a"), file(b"e", b"own")];
    let base = env.start(&tree)?;
    let a = base.attr_of("a")?;
    check_eq!(a.nlink, 3);
    check_eq!(base.attr_of("d/b")?, a);
    check_eq!(base.attr_of("c")?, a);
    check_eq!(base.attr_of("e")?.nlink, 1);
    base.holds("d/b", "shared")
}

const XATTRS: &[(&[u8], &[u8])] = &[(b"user.one", b"1"), (b"user.two", b"\0\xff"), (b"user.empty", b"")];

fn extended_attributes_are_read(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"").xattrs(XATTRS), dir(b"d").xattrs(XATTRS)])?;
    for path in ["f", "d"] {
        for (name, value) in XATTRS {
            check_eq!(base.at(path)?.ops().xattr(name)?.as_deref(), Some(*value), "{} of {path}", show(name));
        }
    }
    Ok(())
}

fn extended_attributes_are_listed_once(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"").xattrs(XATTRS), file(b"bare", b"")])?;
    let mut names = Vec::new();
    base.at("f")?.ops().list_xattrs(&mut |name| names.push(name.to_vec()))?;
    names.sort();
    check_eq!(names, [&b"user.empty"[..], b"user.one", b"user.two"]);
    base.at("bare")?.ops().list_xattrs(&mut |name| names.push(name.to_vec()))?;
    check_eq!(names.len(), 3);
    Ok(())
}

fn an_absent_extended_attribute_is_none(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"").xattrs(XATTRS)])?;
    for name in [&b"user.on"[..], b"user.onee", b"user.ONE"] {
        check_eq!(base.at("f")?.ops().xattr(name)?, None, "{}", show(name));
    }
    Ok(())
}
