//! What is measured, group by group.

use std::fs;
use std::time::{Duration, Instant};

use fs_overlay::MetacopyMode;
use host::beside::{Side, Table};
use host::worker::Worker;

use crate::stack::{Lowers, Merged, Scratch, Upper};

/// A group of rows that share their layers: both sides do it so many rounds, and what is no time is noted in words.
type Group = (&'static str, fn(&Scratch, usize, &mut Table, &mut Vec<String>));

pub(crate) const GROUPS: [Group; 5] =
    [("copy", copy), ("rename", rename), ("chmod", chmod), ("listing", listing), ("layers", layers)];

const GIB: u64 = 1 << 30;
const CHUNK: usize = 1 << 20;

/// Does a side's work in turns of the rounds. `lowers` are ours and Linux's.
fn in_turn(rounds: usize, lowers: &[Lowers; 2], mut work: impl FnMut(Side, &Lowers)) {
    for round in 0..rounds {
        for side in Side::in_turn(round) {
            work(side, &lowers[usize::from(side == Side::Linux)]);
        }
    }
}

fn both(scratch: &Scratch, count: usize, build: impl Fn(usize, &mut dyn Worker)) -> [Lowers; 2] {
    [Side::Ours, Side::Linux].map(|side| Lowers::new(scratch, side, count, &build))
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed(), result)
}

fn fill(w: &mut dyn Worker, path: &str, len: u64) {
    let file = w.create(path);
    let data = vec![0x5a; CHUNK.min(len as usize)];
    (0..len).step_by(data.len()).for_each(|at| file.write(at, &data));
}

/// Directories of a lower layer are renamed: by a redirect, whatever they hold.
fn rename(scratch: &Scratch, rounds: usize, table: &mut Table, _: &mut Vec<String>) {
    const DIRS: u32 = 6;
    const AGAIN: u32 = 400;
    const SIZES: [(u32, &str); 2] = [(10, "10"), (10_000, "10,000")];
    let lowers = both(scratch, 1, |_, w| {
        for (count, _) in SIZES {
            for dir in 0..DIRS {
                w.mkdir(&format!("{count}-{dir}"));
                (0..count).for_each(|number| drop(w.create(&format!("{count}-{dir}/{number}"))));
            }
        }
    });
    in_turn(rounds, &lowers, |side, lowers| {
        for (count, shown) in SIZES {
            let mut merged = lowers.mount(scratch, Upper::Memory, MetacopyMode::default());
            let w = merged.worker();
            let (took, ()) =
                timed(|| (0..DIRS).for_each(|dir| w.rename(&format!("{count}-{dir}"), &format!("moved-{dir}"))));
            table.note(&format!("rename of a lower directory of {shown} names"), side, took, DIRS);
            let (took, ()) = timed(|| {
                for _ in 0..AGAIN / 2 {
                    w.rename("moved-0", "there");
                    w.rename("there", "moved-0");
                }
            });
            table.note(&format!("the same again, {shown} names"), side, took, AGAIN);
        }
    });
}

/// Attributes of lower files are changed under `metacopy`: no data is copied.
fn chmod(scratch: &Scratch, rounds: usize, table: &mut Table, _: &mut Vec<String>) {
    const TIMES: u32 = 8;
    let lowers = both(scratch, 1, |_, w| {
        fill(w, "4 KiB", 4096);
        fill(w, "1 GiB", GIB);
    });
    in_turn(rounds, &lowers, |side, lowers| {
        for path in ["4 KiB", "1 GiB"] {
            let mut total = Duration::ZERO;
            for _ in 0..TIMES {
                let mut merged = lowers.mount(scratch, Upper::Memory, MetacopyMode::Create);
                let w = merged.worker();
                // Found before, so that the change alone is timed.
                assert!(w.exists(path));
                total += timed(|| w.chmod(path, 0o600)).0;
            }
            table.note(&format!("chmod of a lower file of {path}, metacopy"), side, total, TIMES);
        }
    });
}

/// Two lower directories and the upper's are listed as one.
fn listing(scratch: &Scratch, rounds: usize, table: &mut Table, _: &mut Vec<String>) {
    const SIZES: [(u32, &str); 2] = [(10_000, "10,000"), (100_000, "100,000")];
    const HOT: u32 = 3;
    let lowers = both(scratch, 2, |layer, w| {
        for (count, _) in SIZES {
            w.mkdir(&format!("{count}"));
            // A tenth is in both.
            let names = (0..count).filter(|number| number % 10 == 0 || number % 2 == layer as u32);
            names.for_each(|number| drop(w.create(&format!("{count}/name-{number}"))));
        }
    });
    in_turn(rounds, &lowers, |side, lowers| {
        for (count, shown) in SIZES {
            let mut merged = lowers.mount(scratch, Upper::Memory, MetacopyMode::default());
            let w = merged.worker();
            let dir = format!("{count}");
            drop(w.create(&format!("{dir}/new")));
            let mut list = || timed(|| assert_eq!(w.list(&dir), count as usize + 1)).0;
            table.note(&format!("list {shown} merged names, first time; a name"), side, list(), count);
            let hot = (0..HOT).map(|_| list()).sum();
            table.note(&format!("list {shown} merged names again; a name"), side, hot, count * HOT);
        }
    });
}

/// Many lower layers.
fn layers(scratch: &Scratch, rounds: usize, table: &mut Table, _: &mut Vec<String>) {
    const NAMES: u32 = 500;
    const HOT: u32 = 20_000;
    for count in [1, 500] {
        let lowers = both(scratch, count, |layer, w| {
            w.mkdir("dir");
            (layer + 1 == count).then(|| {
                (0..NAMES).for_each(|number| drop(w.create(&format!("dir/lowest-{number}"))));
            });
        });
        let what = if count == 1 { "1 lower layer".into() } else { format!("{count} lower layers") };
        in_turn(rounds, &lowers, |side, lowers| {
            let (took, mut merged) = timed(|| lowers.mount(scratch, Upper::Memory, MetacopyMode::default()));
            table.note(&format!("mount, {what}"), side, took, 1);
            let w: &mut dyn Worker = Merged::worker(&mut merged);
            let took = timed(|| assert!(w.exists("dir"))).0;
            table.note(&format!("first stat of a directory in all, {what}"), side, took, 1);
            let absent = |w: &mut dyn Worker, number: u32| assert!(!w.exists(&format!("dir/absent-{number}")));
            let (took, ()) = timed(|| (0..NAMES).for_each(|number| absent(w, number)));
            table.note(&format!("stat of an absent name, new each time, {what}"), side, took, NAMES);
            let (took, ()) = timed(|| (0..HOT).for_each(|number| absent(w, number % NAMES)));
            table.note(&format!("stat of an absent name again, {what}"), side, took, HOT);
            let (took, ()) = timed(|| (0..NAMES).for_each(|n| assert!(w.exists(&format!("dir/lowest-{n}")))));
            table.note(&format!("first stat of a file in the lowest, {what}"), side, took, NAMES);
        });
    }
}

/// A large lower file is opened to be written: its data is copied to an upper layer on ext4, and synced.
fn copy(scratch: &Scratch, rounds: usize, table: &mut Table, notes: &mut Vec<String>) {
    const DISK_MIB: u64 = 1280;
    let lowers = both(scratch, 1, |_, w| fill(w, "large", GIB));
    let mut most = 0;
    in_turn(rounds.min(3), &lowers, |side, lowers| {
        let mut merged = lowers.mount(scratch, Upper::Disk(DISK_MIB), MetacopyMode::default());
        let w = merged.worker();
        assert_eq!(w.stat("large"), GIB);
        // Documentation/filesystems/proc.rst: what is in memory now becomes the most there was.
        fs::write("/proc/self/clear_refs", "5").expect("the peak of memory can be reset");
        let before = status_kib("VmRSS:");
        let (took, _) = timed(|| w.open("large"));
        table.note("copy-up of 1 GiB to ext4 in memory; MiB", side, took, 1024);
        if side == Side::Ours {
            most = most.max(status_kib("VmHWM:").saturating_sub(before));
        }
    });
    notes.push(format!(
        "copy-up of 1 GiB: memory grew by {} MiB at most, cache of the disk included",
        most.div_ceil(1024)
    ));
}

/// A figure of `/proc/self/status`, in KiB.
fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells this");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}
