//! Power cuts and failing disks under the whole system: a guest works on its disk, QEMU is killed, its requests are recorded and cut, or
//! fail. What the load (`kernel/user/storm`) was promised must be there afterwards, and all else as it was before or after a step.
//!
//! `blklog` reads what QEMU recorded, `guest` runs QEMU, `judge` looks at disks. Disks are made, stored and checked as in the tests of ext4.

mod blklog;
mod faults;
mod guest;
mod judge;

#[path = "../../ext4/tests/common/disk.rs"]
#[expect(dead_code, unreachable_pub, reason = "the tests of ext4 use the rest")]
mod disk;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use block::MemoryDisk;
use contract::random::Random;
use disk::Scratch;
use guest::{Machine, firmware};
use vfs::Timestamp;

/// The size of the disks: a journal of 4 MiB, which goes round many times.
const DISK: u64 = 64 << 20;
/// How long a guest may take for what it does in seconds.
const PATIENCE: Duration = Duration::from_secs(120);

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// A number from the environment.
fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

fn seed() -> u64 {
    let seed = number("STRATA_SEED", now().secs as u64 * 1_000 + u64::from(now().nanos % 1_000));
    println!("STRATA_SEED={seed}");
    seed
}

/// The last promise that the load printed. A line that the end cut off may be of another number.
fn promised(console: &str) -> Option<u64> {
    console
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| line.trim().strip_prefix("synced ")?.parse().ok())
        .next_back()
}

/// The first line in which the kernel or the load complains.
fn complaint(console: &str) -> Option<&str> {
    console.lines().find(|line| {
        let bad = ["panic", "error:", "warning:", "storm: "].iter().any(|word| line.starts_with(word));
        bad && !["storm: found", "storm: done"].iter().any(|word| line.starts_with(word))
    })
}

/// Rounds on one disk, before a new one is taken: the load begins with the first step then.
const ROUNDS: u64 = 8;

#[test]
fn what_was_synced_is_there_after_the_emulator_was_killed_at_any_moment() {
    let (rounds, seed) = (number("STRATA_KILLS", 6), seed());
    let mut random = Random::new(seed);
    let firmware = firmware();
    let scratch = Scratch::new();
    let image = scratch.join("disk.img");
    let (mut least, mut life, mut boot) = (0, 0, Duration::from_millis(300));
    let (mut early, mut steps, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..rounds {
        if round % ROUNDS == 0 {
            (least, life) = (0, seed.wrapping_add(round));
            std::fs::File::create(&image).and_then(|file| file.set_len(DISK)).expect("an image fits");
        }
        let machine =
            Machine::start(&["--disk", disk::arg(&image)], &firmware, &guest::load(life, least, None), |qemu| qemu);
        let started = Instant::now();
        // The first boot of a disk formats it: cut off there, the disk is left alone from then on, as documented.
        if random.one_in(4) && round % ROUNDS != 0 {
            early += 1;
            std::thread::sleep(boot.mul_f64(random.below(1_000) as f64 / 1_000.0));
        } else {
            machine.wait_for("storm: found", PATIENCE);
            boot = started.elapsed();
            slowest = slowest.max(boot);
            std::thread::sleep(Duration::from_millis(random.below(1_000)));
        }
        let console = machine.kill();
        let at = format!("round {round}, seed {seed}");
        assert!(complaint(&console).is_none(), "{at}: {console}");
        let before = least;
        least = promised(&console).unwrap_or(least);
        steps += least - before;
        let disk = disk::load(&image);
        judge::by_us(&disk, &firmware, life, least).unwrap_or_else(|why| panic!("{at}: {why}\n{console}"));
        judge::by_e2fsck(&disk, &firmware, life, least).unwrap_or_else(|why| panic!("{at}: {why}\n{console}"));
    }
    println!("{rounds} kills, {early} of them before the load began, {steps} steps promised, slowest boot {slowest:?}");
}

#[test]
fn what_was_synced_is_there_wherever_the_log_of_a_run_is_cut() {
    let (cuts, steps, seed) = (number("STRATA_CUTS", 40), number("STRATA_STEPS", 300), seed());
    let firmware = firmware();
    let scratch = Scratch::new();
    let (image, log) = (scratch.join("disk.img"), scratch.join("log"));
    std::fs::File::create(&image).and_then(|file| file.set_len(DISK)).expect("an image fits");
    std::fs::File::create(&log).and_then(|file| file.set_len(64 << 30)).expect("a hole takes no room");
    let machine =
        Machine::start(&["--disk", disk::arg(&image)], &firmware, &guest::load(seed, 0, Some(steps)), |qemu| {
            let (file, log) = (disk::arg(&image), disk::arg(&log));
            qemu.replace(
                &format!("format=raw,file={file}"),
                &format!(
                    "driver=blklogwrites,file.driver=file,file.filename={file},log.driver=file,log.filename={log}"
                ),
            )
        });
    let console = machine.wait(PATIENCE);
    assert!(complaint(&console).is_none() && console.contains("storm: done"), "{console}");
    let entries = blklog::read(&log).expect("QEMU wrote it");
    let flushes: Vec<usize> =
        (0..entries.len()).filter(|&index| matches!(entries[index], blklog::Entry::Flush)).collect();
    // The first boot formats the disk and flushes twice: before, there is no filesystem to look at.
    let cut = (flushes.len() as u64 - 2).div_ceil(cuts.div_ceil(2)).max(1);
    let mut random = Random::new(seed);
    let (flushed, mut made, mut kept, mut done) = (Arc::new(MemoryDisk::new(DISK)), 0, 0, 0);
    for (number, pair) in flushes.windows(2).enumerate().map(|(number, pair)| (number as u64, pair)) {
        // Up to this flush all is there.
        for entry in &entries[done..pair[0]] {
            entry.apply(&flushed).expect("the log is of this disk");
            kept = kept.max(entry.promised().unwrap_or(0));
        }
        done = pair[0];
        if number < 2 || (number + seed) % cut != 0 {
            continue;
        }
        let judged = |disk: &MemoryDisk, at: String, kept| {
            let result =
                judge::by_us(disk, &firmware, seed, kept).and_then(|()| judge::by_e2fsck(disk, &firmware, seed, kept));
            result.unwrap_or_else(|why| {
                panic!("{at} of {}, STRATA_STEPS={steps} STRATA_SEED={seed}: {why}", entries.len())
            });
        };
        judged(&flushed, format!("cut at the flush that is entry {done}"), kept);
        // And between this and the next: a part of what was written, some of it torn.
        let partly = flushed.snapshot();
        let end = pair[0] + 1 + random.below((pair[1] - pair[0]) as u64) as usize;
        let mut more = kept;
        for entry in &entries[pair[0]..end] {
            more = more.max(entry.promised().unwrap_or(0));
            match random.below(4) {
                0 => {}
                1 => entry.apply_part(&partly, &mut random).expect("the log is of this disk"),
                _ => entry.apply(&partly).expect("the log is of this disk"),
            }
        }
        judged(&partly, format!("cut between entries {} and {end}", pair[0]), more);
        made += 2;
    }
    for entry in &entries[done..] {
        entry.apply(&flushed).expect("the log is of this disk");
    }
    assert!(flushed.to_image() == disk::load(&image).to_image(), "the log does not lead to the image");
    let writes = entries.len() - flushes.len();
    println!("{made} cuts of a log of {writes} writes and {} flushes, {steps} steps, {kept} promised", flushes.len());
    assert!(made > 0, "no flush was cut at");
}
