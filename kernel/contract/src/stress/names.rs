//! Workers on names: renames, links, directories, listings, and an overlay's upper.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use vfs::{Errno, Name, NewKind, NewNode, RenameMode, SourceLeft, UpperRename, UpperRenameMode, Victim};

use super::{Arena, racing};
use crate::dsl::{Dir, show};
use crate::tree::{Item, dir, file};
use crate::{Outcome, check, check_eq};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

pub(super) fn two_dirs() -> Vec<Item<'static>> {
    vec![dir(b"one"), dir(b"two"), file(b"one/a", b"1"), file(b"two/b", b"2"), file(b"shared", b"3")]
}

fn dirs(arena: &Arena) -> Outcome<[Dir; 2]> {
    Ok([arena.base().dir("one")?, arena.base().dir("two")?])
}

pub(super) fn rename_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (from, to) = (random.pick(&dirs), random.pick(&dirs));
        let mode = *random.pick(&[RenameMode::Replace, RenameMode::NoReplace]);
        let result = from.rename(random.pick(&NAMES), to, random.pick(&NAMES), mode);
        racing(result, &[Errno::ENOENT, Errno::EEXIST])?;
    }
    Ok(())
}

pub(super) fn unlink_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).unlink(random.pick(&NAMES)), &[Errno::ENOENT])?;
    }
    Ok(())
}

pub(super) fn create_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).make(random.pick(&NAMES), NewKind::File), &[Errno::EEXIST])?;
    }
    Ok(())
}

/// The whole tree below: each listing agrees with lookups, no inode is at two places.
pub(super) fn every_inode_has_one_name(arena: &Arena) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut pending = vec![arena.base()];
    while let Some(at) = pending.pop() {
        let mut subdirs = 0;
        for entry in at.list()? {
            let node = at.at(&entry.name)?;
            let attr = node.attr()?;
            check_eq!(entry.ino, attr.ino, "d_ino of {}", show(&entry.name));
            check!(seen.insert(attr.ino), "{} is at two places", show(&entry.name));
            match node {
                vfs::Node::Dir(below) => {
                    subdirs += 1;
                    pending.push(Dir(below));
                }
                _ => check_eq!(attr.nlink, 1, "nlink of {}", show(&entry.name)),
            }
        }
        let nlink = at.attr()?.nlink;
        check!(nlink == 2 + subdirs || nlink == 1, "{subdirs} subdirectories and nlink {nlink}");
    }
    Ok(())
}

pub(super) fn exchanged() -> Vec<Item<'static>> {
    vec![dir(b"one"), dir(b"two"), file(b"one/x", b"f"), dir(b"two/x"), file(b"two/x/in", b""), file(b"one/y", b"g")]
}

pub(super) fn exchange_about(arena: &Arena, worker: u64) -> Outcome {
    let ([one, two], mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        match random.below(3) {
            0 => one.swap("x", &two, "x")?,
            1 => two.swap("x", &one, "y")?,
            _ => one.swap("y", &one, "x")?,
        }
    }
    Ok(())
}

pub(super) fn look_at_exchanged(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds {
        look_at_exchanged_once(arena)?;
    }
    Ok(())
}

pub(super) fn look_at_exchanged_once(arena: &Arena) -> Outcome {
    let [one, two] = dirs(arena)?;
    one.lists(&["x", "y"])?;
    two.lists(&["x"])?;
    for node in [one.at("x")?, one.at("y")?, two.at("x")?] {
        node.attr()?;
    }
    Ok(())
}

const STAYS: usize = 100;

pub(super) fn stays() -> Vec<Item<'static>> {
    const NUMBERS: [[u8; 2]; STAYS] = {
        let mut names = [*b"00"; STAYS];
        let mut number = 0;
        while number < STAYS {
            names[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
            number += 1;
        }
        names
    };
    static NAMES: [[u8; 2]; STAYS] = NUMBERS;
    NAMES.iter().map(|name| file(name, b"")).collect()
}

pub(super) fn churn(arena: &Arena, worker: u64) -> Outcome {
    let (base, mut random) = (arena.base(), arena.random(worker));
    for _ in 0..arena.rounds {
        let name = format!("churn {}", random.below(60));
        match random.below(3) {
            0 => drop(racing(base.unlink(&name), &[Errno::ENOENT])?),
            1 => drop(racing(base.mv(&name, format!("churn {}", random.below(60))), &[Errno::ENOENT])?),
            _ => drop(racing(base.make(&name, NewKind::File), &[Errno::EEXIST])?),
        }
    }
    Ok(())
}

pub(super) fn list_stays(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds / 20 + 1 {
        list_stays_once(arena)?;
    }
    Ok(())
}

pub(super) fn list_stays_once(arena: &Arena) -> Outcome {
    let base = arena.base();
    let (mut from, mut times) = (0, BTreeMap::new());
    // Names that come anew all the time could keep a listing going for ever.
    for _ in 0..10_000 {
        let piece = base.list_from(from, 7)?;
        let Some(last) = piece.last() else { break };
        from = last.next;
        for entry in piece.into_iter().filter(|entry| entry.name.len() == 2) {
            *times.entry(entry.name).or_insert(0) += 1;
        }
    }
    check_eq!(times.len(), STAYS, "entries that stay, in a listing");
    check!(times.values().all(|&count| count == 1), "an entry that stays was listed twice");
    Ok(())
}

pub(super) fn link_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    let shared = arena.base().at("shared")?;
    for _ in 0..arena.rounds {
        let to = random.pick(&dirs);
        if random.one_in(3) {
            let result = to.mv_to(random.pick(&NAMES), random.pick(&dirs), random.pick(&NAMES));
            racing(result, &[Errno::ENOENT])?;
        } else {
            racing(to.link(random.pick(&NAMES), &shared), &[Errno::EEXIST])?;
        }
    }
    Ok(())
}

pub(super) fn unlink_links(arena: &Arena, worker: u64) -> Outcome {
    unlink_about(arena, worker)
}

pub(super) fn links_are_counted(arena: &Arena) -> Outcome {
    let shared = arena.base().attr_of("shared")?;
    let mut names = 1;
    for at in dirs(arena)? {
        names += at.list()?.iter().filter(|entry| entry.ino == shared.ino).count() as u32;
    }
    check_eq!(shared.nlink, names, "nlink of the shared inode");
    Ok(())
}

pub(super) fn make_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).mkdir(format!("sub {}", random.below(4))), &[Errno::EEXIST])?;
    }
    Ok(())
}

pub(super) fn fill_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let Some(vfs::Node::Dir(sub)) = random.pick(&dirs).find(format!("sub {}", random.below(4)))? else { continue };
        let (sub, name) = (Dir(sub), random.pick(&NAMES));
        // Both may find the directory removed, or the other worker's file.
        if racing(sub.make(name, NewKind::File), &[Errno::ENOENT, Errno::EEXIST])?.is_some() && !random.one_in(8) {
            racing(sub.unlink(name), &[Errno::ENOENT])?;
        }
    }
    Ok(())
}

pub(super) fn remove_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (at, name) = (random.pick(&dirs), format!("sub {}", random.below(4)));
        let Some(vfs::Node::Dir(sub)) = at.find(&name)? else { continue };
        if racing(at.rmdir(&name), &[Errno::ENOENT, Errno::ENOTEMPTY])?.is_some() {
            Dir(sub).find("a")?;
        } else {
            for entry in Dir(sub.clone()).list()? {
                racing(Dir(sub.clone()).unlink(&entry.name), &[Errno::ENOENT])?;
            }
        }
    }
    Ok(())
}

pub(super) fn wanderers() -> Vec<Item<'static>> {
    vec![
        dir(b"one"),
        dir(b"two"),
        dir(b"one/w"),
        file(b"one/w/inside", b"kept"),
        dir(b"two/v"),
        file(b"two/v/inside", b"kept"),
    ]
}

pub(super) fn wander(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (from, to) = (random.pick(&dirs), random.pick(&dirs));
        let result = from.mv_to(*random.pick(&["v", "w"]), to, *random.pick(&["v", "w"]));
        racing(result, &[Errno::ENOENT, Errno::ENOTEMPTY])?;
    }
    Ok(())
}

pub(super) fn fill_wanderers(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let Some(vfs::Node::Dir(found)) = random.pick(&dirs).find(*random.pick(&["v", "w"]))? else { continue };
        let (found, name) = (Dir(found), random.pick(&NAMES));
        racing(found.make(name, NewKind::File), &[Errno::EEXIST, Errno::ENOENT])?;
        racing(found.unlink(name), &[Errno::ENOENT])?;
    }
    Ok(())
}

pub(super) fn replace_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let at = random.pick(&dirs);
        racing(at.mkdir("fresh"), &[Errno::EEXIST])?;
        racing(at.mv_to("fresh", random.pick(&dirs), *random.pick(&["v", "w"])), &[Errno::ENOTEMPTY, Errno::ENOENT])?;
        racing(at.rmdir("fresh"), &[Errno::ENOENT, Errno::ENOTEMPTY])?;
    }
    Ok(())
}

pub(super) fn upper_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (at, to) = (random.pick(&dirs), random.pick(&dirs));
        let (name, new_name) = (Name::new(random.pick(&NAMES).as_bytes())?, Name::new(random.pick(&NAMES).as_bytes())?);
        let upper = at.upper()?;
        let result = match random.below(6) {
            0 => upper.whiteout(name, Victim::Absent),
            1 => upper.whiteout(name, Victim::NonDir),
            2 => upper.create_over(name, &NewNode::new(NewKind::File, 0o600)).map(drop),
            3 => at.unlink(name.as_bytes()),
            _ => {
                let mode = UpperRenameMode::Move(*random.pick(&[SourceLeft::Nothing, SourceLeft::Whiteout]));
                upper.rename_upper(&UpperRename { name, to: &to.0, new_name, mode, xattrs: &[] })
            }
        };
        racing(result, &[Errno::ENOENT, Errno::EEXIST])?;
    }
    Ok(())
}

/// Whiteouts may share an inode; the rest may not.
pub(super) fn uppers_are_whole(arena: &Arena) -> Outcome {
    let (mut seen, mut whiteouts) = (BTreeSet::new(), BTreeMap::new());
    for at in dirs(arena)? {
        for entry in at.list()? {
            let attr = at.attr_of(&entry.name)?;
            check_eq!(entry.ino, attr.ino, "d_ino of {}", show(&entry.name));
            if attr.is_whiteout() {
                let (names, nlink) = whiteouts.entry(attr.ino).or_insert((0, attr.nlink));
                *names += 1;
                check_eq!(*nlink, attr.nlink, "nlink of a whiteout");
            } else {
                check!(seen.insert(attr.ino), "{} is at two places", show(&entry.name));
                check_eq!(attr.nlink, 1, "nlink of {}", show(&entry.name));
            }
        }
    }
    for (names, nlink) in whiteouts.values() {
        check_eq!(names, nlink, "names of a whiteout");
    }
    Ok(())
}
