//! Workers on content: writes, appends, cuts, files that lose their names.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;

use vfs::{Errno, NewKind};

use super::{Arena, racing};
use crate::dsl::{File, show};
use crate::tree::{Item, file};
use crate::{Outcome, check, check_eq};

const PAGE: usize = 4096;
const PAGES: u64 = 4;

pub(super) fn pages() -> Vec<Item<'static>> {
    static ZEROS: [u8; PAGE * PAGES as usize] = [0; PAGE * PAGES as usize];
    vec![file(b"f", &ZEROS)]
}

pub(super) fn write_pages(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("f")?, arena.random(worker));
    for round in 0..arena.rounds {
        f.put(random.below(PAGES) * PAGE as u64, vec![(round * 2 + worker) as u8; PAGE])?;
    }
    Ok(())
}

pub(super) fn read_pages(arena: &Arena, _worker: u64) -> Outcome {
    for _ in 0..arena.rounds {
        read_pages_once(arena)?;
    }
    Ok(())
}

pub(super) fn read_pages_once(arena: &Arena) -> Outcome {
    let f = arena.base().open("f")?;
    for page in 0..PAGES {
        let bytes = f.get(page * PAGE as u64, PAGE)?;
        check!(bytes.iter().all(|&byte| byte == bytes[0]), "page {page} is torn");
    }
    Ok(())
}

const RECORD: usize = 16;
const WRITERS: usize = 3;

pub(super) fn log() -> Vec<Item<'static>> {
    vec![file(b"log", b"")]
}

fn record(worker: u64, number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&worker.to_le_bytes());
    record[8..].copy_from_slice(&number.to_le_bytes());
    record
}

pub(super) fn append_records(arena: &Arena, worker: u64) -> Outcome {
    let log = arena.base().open("log")?;
    for number in 0..arena.rounds {
        let record = record(worker, number);
        let (at, written) = log.append(&record)?;
        check_eq!((at % RECORD as u64, written), (0, RECORD), "an append");
        check_eq!(log.get(at, RECORD)?, record, "the record just appended");
    }
    Ok(())
}

pub(super) fn read_records(arena: &Arena, _worker: u64) -> Outcome {
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

pub(super) fn all_records_are_there(arena: &Arena) -> Outcome {
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

pub(super) fn cut(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    for _ in 0..arena.rounds {
        f.set_len(random.below(40_000))?;
    }
    Ok(())
}

pub(super) fn write_anywhere(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    for _ in 0..arena.rounds {
        f.put(random.below(40_000), vec![7; 1 + random.below(9_000) as usize])?;
    }
    Ok(())
}

pub(super) fn read_anywhere(arena: &Arena, worker: u64) -> Outcome {
    let (f, mut random) = (arena.base().open("log")?, arena.random(worker));
    let mut buf = vec![0; 10_000];
    for _ in 0..arena.rounds {
        let read = f.read_at(random.below(50_000), &mut buf)?;
        check!(buf[..read].iter().all(|&byte| byte == 0 || byte == 7), "bytes that nobody wrote");
        f.attr()?;
    }
    Ok(())
}

pub(super) fn use_and_unlink(arena: &Arena, worker: u64) -> Outcome {
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

pub(super) fn halves() -> Vec<Item<'static>> {
    static ZEROS: [u8; 2 * HALF] = [0; 2 * HALF];
    FILES.iter().map(|name| file(name, &ZEROS)).collect()
}

pub(super) fn write_half(arena: &Arena, worker: u64) -> Outcome {
    for name in FILES {
        arena.base().open(name)?.put(worker * HALF as u64, vec![worker as u8 + 1; HALF])?;
    }
    Ok(())
}

pub(super) fn change_modes(arena: &Arena, _worker: u64) -> Outcome {
    for name in FILES {
        arena.base().at(name)?.ops().set_attr(&crate::dsl::chmod(0o751))?;
    }
    Ok(())
}

pub(super) fn both_halves_are_there(arena: &Arena) -> Outcome {
    for name in FILES {
        let content = arena.base().read(name)?;
        check_eq!(content.len(), 2 * HALF, "size of {}", show(name));
        check!(content[..HALF].iter().all(|&byte| byte == 1), "the first write to {} is lost", show(name));
        check!(content[HALF..].iter().all(|&byte| byte == 2), "the second write to {} is lost", show(name));
        check_eq!(arena.base().attr_of(name)?.mode, 0o751, "mode of {}", show(name));
    }
    Ok(())
}
