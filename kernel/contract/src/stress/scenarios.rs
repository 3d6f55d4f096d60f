//! The scenarios.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use vfs::{Errno, Name, NewKind, NewNode, RenameMode, SourceLeft, UpperRename, UpperRenameMode, Victim};

use super::{Arena, Scenario, racing};
use crate::dsl::{Dir, File, show};
use crate::tree::{Item, dir, file};
use crate::{Features, Outcome, check, check_eq};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "renames, unlinks and creations of the same names leave every inode one name",
        needs: Features::WRITE,
        tree: two_dirs,
        workers: &[rename_about, rename_about, unlink_about, create_about],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "names that are exchanged are always there",
        needs: Features::WRITE.union(Features::EXCHANGE),
        tree: exchanged,
        workers: &[exchange_about, exchange_about, look_at_exchanged, look_at_exchanged],
        check: look_at_exchanged_once,
    },
    Scenario {
        name: "a listing gives what stays exactly once while others come and go",
        needs: Features::WRITE,
        tree: stays,
        workers: &[churn, churn, list_stays, list_stays],
        check: list_stays_once,
    },
    Scenario {
        name: "a read sees a page before or after a write",
        needs: Features::WRITE,
        tree: pages,
        workers: &[write_pages, write_pages, read_pages, read_pages],
        check: read_pages_once,
    },
    Scenario {
        name: "no append is lost or torn",
        needs: Features::WRITE,
        tree: log,
        workers: &[append_records, append_records, append_records, read_records],
        check: all_records_are_there,
    },
    Scenario {
        name: "links that come and go are counted",
        needs: Features::WRITE.union(Features::HARD_LINKS),
        tree: two_dirs,
        workers: &[link_about, link_about, unlink_links, unlink_links],
        check: links_are_counted,
    },
    Scenario {
        name: "no file is lost in a directory that is removed",
        needs: Features::WRITE,
        tree: two_dirs,
        workers: &[make_dirs, fill_dirs, fill_dirs, remove_dirs],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "directories that change their parents stay whole",
        needs: Features::WRITE,
        tree: wanderers,
        workers: &[wander, wander, fill_wanderers, replace_dirs],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "cuts, writes and reads of one file agree on its size",
        needs: Features::WRITE,
        tree: log,
        workers: &[cut, write_anywhere, read_anywhere, read_anywhere],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "a file that loses its name under its users keeps its content",
        needs: Features::WRITE.union(Features::OPEN_UNLINKED),
        tree: two_dirs,
        workers: &[use_and_unlink, use_and_unlink, use_and_unlink],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "first writes of two threads to one file both land",
        needs: Features::WRITE,
        tree: halves,
        workers: &[write_half, write_half, change_modes],
        check: both_halves_are_there,
    },
    Scenario {
        name: "whiteouts, creations and moves in an upper leave every inode one name",
        needs: Features::WRITE.union(Features::UPPER),
        tree: two_dirs,
        workers: &[upper_about, upper_about, upper_about],
        check: uppers_are_whole,
    },
];

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn two_dirs() -> Vec<Item<'static>> {
    vec![dir(b"one"), dir(b"two"), file(b"one/a", b"1"), file(b"two/b", b"2"), file(b"shared", b"3")]
}

fn dirs(arena: &Arena) -> Outcome<[Dir; 2]> {
    Ok([arena.base().dir("one")?, arena.base().dir("two")?])
}

fn rename_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (from, to) = (random.pick(&dirs), random.pick(&dirs));
        let mode = *random.pick(&[RenameMode::Replace, RenameMode::NoReplace]);
        let result = from.rename(random.pick(&NAMES), to, random.pick(&NAMES), mode);
        racing(result, &[Errno::ENOENT, Errno::EEXIST])?;
    }
    Ok(())
}

fn unlink_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).unlink(random.pick(&NAMES)), &[Errno::ENOENT])?;
    }
    Ok(())
}

fn create_about(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).make(random.pick(&NAMES), NewKind::File), &[Errno::EEXIST])?;
    }
    Ok(())
}

/// The whole tree below: each listing agrees with lookups, no inode is at two places.
fn every_inode_has_one_name(arena: &Arena) -> Outcome {
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

fn exchanged() -> Vec<Item<'static>> {
    vec![dir(b"one"), dir(b"two"), file(b"one/x", b"f"), dir(b"two/x"), file(b"two/x/in", b""), file(b"one/y", b"g")]
}

fn exchange_about(arena: &Arena, worker: u64) -> Outcome {
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

fn look_at_exchanged(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds {
        look_at_exchanged_once(arena)?;
    }
    Ok(())
}

fn look_at_exchanged_once(arena: &Arena) -> Outcome {
    let [one, two] = dirs(arena)?;
    one.lists(&["x", "y"])?;
    two.lists(&["x"])?;
    for node in [one.at("x")?, one.at("y")?, two.at("x")?] {
        node.attr()?;
    }
    Ok(())
}

const STAYS: usize = 100;

fn stays() -> Vec<Item<'static>> {
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

fn churn(arena: &Arena, worker: u64) -> Outcome {
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

fn list_stays(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds / 20 + 1 {
        list_stays_once(arena)?;
    }
    Ok(())
}

fn list_stays_once(arena: &Arena) -> Outcome {
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

const PAGE: usize = 4096;
const PAGES: u64 = 4;

fn pages() -> Vec<Item<'static>> {
    static ZEROS: [u8; PAGE * PAGES as usize] = [0; PAGE * PAGES as usize];
    vec![file(b"f", &ZEROS)]
}

fn write_pages(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("f")?, arena.random(worker));
    for round in 0..arena.rounds {
        f.put(random.below(PAGES) * PAGE as u64, vec![(round * 2 + worker) as u8; PAGE])?;
    }
    Ok(())
}

fn read_pages(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds {
        read_pages_once(arena)?;
    }
    Ok(())
}

fn read_pages_once(arena: &Arena) -> Outcome {
    let f = arena.base().open("f")?;
    for page in 0..PAGES {
        let bytes = f.get(page * PAGE as u64, PAGE)?;
        check!(bytes.iter().all(|&byte| byte == bytes[0]), "page {page} is torn");
    }
    Ok(())
}

const RECORD: usize = 16;
const WRITERS: usize = 3;

fn log() -> Vec<Item<'static>> {
    vec![file(b"log", b"")]
}

fn record(worker: u64, number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&worker.to_le_bytes());
    record[8..].copy_from_slice(&number.to_le_bytes());
    record
}

fn append_records(arena: &Arena, worker: u64) -> Outcome {
    let log = arena.base().open("log")?;
    for number in 0..arena.rounds {
        let record = record(worker, number);
        let (at, written) = log.append(&record)?;
        check_eq!((at % RECORD as u64, written), (0, RECORD), "an append");
        check_eq!(log.get(at, RECORD)?, record, "the record just appended");
    }
    Ok(())
}

fn read_records(arena: &Arena, _worker: u64) -> Outcome {
    let log = arena.base().open("log")?;
    for _ in 0..arena.rounds / 10 {
        let size = log.size()?;
        check_eq!(size % RECORD as u64, 0, "part of a record");
        for record in log.get(0, size as usize)?.chunks(RECORD) {
            check!(record[0] < WRITERS as u8, "a torn record {record:?}");
        }
    }
    Ok(())
}

fn all_records_are_there(arena: &Arena) -> Outcome {
    let content = arena.base().read("log")?;
    let found: BTreeSet<&[u8]> = content.chunks(RECORD).collect();
    check_eq!(content.len() / RECORD, WRITERS * arena.rounds as usize, "records");
    for worker in 0..WRITERS as u64 {
        for number in 0..arena.rounds {
            check!(found.contains(&record(worker, number)[..]), "record {number} of worker {worker} is lost");
        }
    }
    Ok(())
}

fn link_about(arena: &Arena, worker: u64) -> Outcome {
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

fn unlink_links(arena: &Arena, worker: u64) -> Outcome {
    unlink_about(arena, worker)
}

fn links_are_counted(arena: &Arena) -> Outcome {
    let shared = arena.base().attr_of("shared")?;
    let mut names = 1;
    for at in dirs(arena)? {
        names += at.list()?.iter().filter(|entry| entry.ino == shared.ino).count() as u32;
    }
    check_eq!(shared.nlink, names, "nlink of the shared inode");
    Ok(())
}

fn make_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        racing(random.pick(&dirs).mkdir(format!("sub {}", random.below(4))), &[Errno::EEXIST])?;
    }
    Ok(())
}

fn fill_dirs(arena: &Arena, worker: u64) -> Outcome {
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

fn remove_dirs(arena: &Arena, worker: u64) -> Outcome {
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

fn wanderers() -> Vec<Item<'static>> {
    vec![
        dir(b"one"),
        dir(b"two"),
        dir(b"one/w"),
        file(b"one/w/inside", b"kept"),
        dir(b"two/v"),
        file(b"two/v/inside", b"kept"),
    ]
}

fn wander(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let (from, to) = (random.pick(&dirs), random.pick(&dirs));
        let result = from.mv_to(*random.pick(&["v", "w"]), to, *random.pick(&["v", "w"]));
        racing(result, &[Errno::ENOENT, Errno::ENOTEMPTY])?;
    }
    Ok(())
}

fn fill_wanderers(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let Some(vfs::Node::Dir(found)) = random.pick(&dirs).find(*random.pick(&["v", "w"]))? else { continue };
        let (found, name) = (Dir(found), random.pick(&NAMES));
        racing(found.make(name, NewKind::File), &[Errno::EEXIST, Errno::ENOENT])?;
        racing(found.unlink(name), &[Errno::ENOENT])?;
    }
    Ok(())
}

fn replace_dirs(arena: &Arena, worker: u64) -> Outcome {
    let (dirs, mut random) = (dirs(arena)?, arena.random(worker));
    for _ in 0..arena.rounds {
        let at = random.pick(&dirs);
        racing(at.mkdir("fresh"), &[Errno::EEXIST])?;
        racing(at.mv_to("fresh", random.pick(&dirs), *random.pick(&["v", "w"])), &[Errno::ENOTEMPTY, Errno::ENOENT])?;
        racing(at.rmdir("fresh"), &[Errno::ENOENT, Errno::ENOTEMPTY])?;
    }
    Ok(())
}

fn cut(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    for _ in 0..arena.rounds {
        f.set_len(random.below(40_000))?;
    }
    Ok(())
}

fn write_anywhere(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    for _ in 0..arena.rounds {
        f.put(random.below(40_000), vec![7; 1 + random.below(9_000) as usize])?;
    }
    Ok(())
}

fn read_anywhere(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    let mut buf = vec![0; 10_000];
    for _ in 0..arena.rounds {
        let read = f.read_at(random.below(50_000), &mut buf)?;
        check!(buf[..read].iter().all(|&byte| byte == 0 || byte == 7), "bytes that nobody wrote");
        f.attr()?;
    }
    Ok(())
}

fn use_and_unlink(arena: &Arena, worker: u64) -> Outcome {
    let base = arena.base();
    for round in 0..arena.rounds {
        let node = match racing(base.make("contended", NewKind::File), &[Errno::EEXIST])? {
            Some(node) => node,
            None => {
                racing(base.unlink("contended"), &[Errno::ENOENT])?;
                continue;
            }
        };
        let mine = File(node.as_file()?.clone());
        let content = record(worker, round);
        mine.put(0, content)?;
        racing(base.unlink("contended"), &[Errno::ENOENT])?;
        mine.holds(content)?;
    }
    racing(base.unlink("contended"), &[Errno::ENOENT])?;
    Ok(())
}

const FILES: [&[u8]; 12] = [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"10", b"11"];
const HALF: usize = 10_000;

fn halves() -> Vec<Item<'static>> {
    static ZEROS: [u8; 2 * HALF] = [0; 2 * HALF];
    FILES.iter().map(|name| file(name, &ZEROS)).collect()
}

fn write_half(arena: &Arena, worker: u64) -> Outcome {
    for name in FILES {
        arena.base().open(name)?.put(worker * HALF as u64, vec![worker as u8 + 1; HALF])?;
    }
    Ok(())
}

fn change_modes(arena: &Arena, _worker: u64) -> Outcome {
    for name in FILES {
        arena.base().at(name)?.ops().set_attr(&crate::dsl::chmod(0o751))?;
    }
    Ok(())
}

fn both_halves_are_there(arena: &Arena) -> Outcome {
    for name in FILES {
        let content = arena.base().read(name)?;
        check_eq!(content.len(), 2 * HALF, "size of {}", show(name));
        check!(content[..HALF].iter().all(|&byte| byte == 1), "the first write to {} is lost", show(name));
        check!(content[HALF..].iter().all(|&byte| byte == 2), "the second write to {} is lost", show(name));
        check_eq!(arena.base().attr_of(name)?.mode, 0o751, "mode of {}", show(name));
    }
    Ok(())
}

fn upper_about(arena: &Arena, worker: u64) -> Outcome {
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
fn uppers_are_whole(arena: &Arena) -> Outcome {
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
