//! What the disk is asked to do, beside what Linux's ext4 asks for the same work: no more flushes, requests and bytes.
//!
//! Linux's figures are its loop device's. Neighbours of one batch are counted as one request, of 32 pieces at most, as the
//! virtio driver sends them.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use block::{BlockDevice, Capabilities, Io, MemoryDisk};
use common::disk::{MIB, Make, Scratch, arg, run_ok, store};
use common::linux::{Mount, may_mount};
use contract::dsl::pattern;
use contract::random::Random;
use ext4::{Ext4, MountOptions};
use host::worker::{Linux, Ours, Worker};
use vfs::{FileSystem, Result};

const MAKE: Make = Make::Mkfs(&["-b", "4096", "-I", "256", "-E", "lazy_itable_init=0,lazy_journal_init=0"]);
const CHUNK: usize = 65536;

/// What a disk was asked to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    requests: u64,
    flushes: u64,
    bytes: u64,
}

/// A disk that counts as the driver sends.
struct Counting {
    disk: Arc<MemoryDisk>,
    requests: AtomicU64,
    flushes: AtomicU64,
    bytes: AtomicU64,
}

impl Counting {
    fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        Counts { requests: load(&self.requests), flushes: load(&self.flushes), bytes: load(&self.bytes) }
    }
}

impl BlockDevice for Counting {
    fn capabilities(&self) -> Capabilities {
        self.disk.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        /// What one request may have of pieces.
        const PIECES: usize = 32;
        let (mut end, mut pieces) = (None, 0);
        for io in batch.iter().filter(|io| matches!(io, Io::Write { .. })) {
            if end != Some(io.sector()) || pieces == PIECES {
                self.requests.fetch_add(1, Relaxed);
                pieces = 0;
            }
            pieces += 1;
            end = Some(io.sector() + io.len() as u64 / 512);
            self.bytes.fetch_add(io.len() as u64, Relaxed);
        }
        self.disk.transfer(batch)
    }

    fn flush(&self) -> Result<()> {
        self.flushes.fetch_add(1, Relaxed);
        self.disk.flush()
    }
}

/// What a loop device of Linux's was asked.
fn counts_of(device: &str) -> Counts {
    // Documentation/block/stat.rst: writes, sectors written, flushes.
    let text = std::fs::read_to_string(format!("/sys/block/{device}/stat")).unwrap();
    let field = |index: usize| text.split_whitespace().nth(index).and_then(|word| word.parse().ok()).unwrap_or(0);
    Counts { requests: field(4), bytes: field(6) * 512, flushes: field(15) }
}

type Row = (&'static str, fn(&mut dyn Worker));

/// Each begins and ends with nothing left to write.
const ROWS: [Row; 11] = [
    ("create, write 4 KiB, fsync: 100 times", |w| {
        for number in 0..100 {
            let file = w.create(&format!("small{number}"));
            file.write(0, &pattern(0, 4096));
            file.fsync();
        }
    }),
    ("append 100 bytes, fsync: 100 times", |w| {
        let file = w.create("log");
        for number in 0..100 {
            file.write(number * 100, &pattern(0, 100));
            file.fsync();
        }
    }),
    ("write 32 MiB, fsync", |w| {
        let file = w.create("large");
        (0..32 * MIB).step_by(CHUNK).for_each(|at| file.write(at, &pattern(at, CHUNK)));
        file.fsync();
    }),
    ("overwrite 32 MiB, fsync", |w| {
        let file = w.open("large");
        (0..32 * MIB).step_by(CHUNK).for_each(|at| file.write(at, &pattern(at, CHUNK)));
        file.fsync();
    }),
    ("overwrite 4 KiB at random 2,000 times, fsync", |w| {
        let file = w.open("large");
        let mut random = Random::new(7);
        (0..2000).for_each(|_| file.write(random.below(8192) * 4096, &pattern(1, 4096)));
        file.fsync();
    }),
    ("fsync of what is clean: 100 times", |w| {
        let file = w.open("large");
        (0..100).for_each(|_| file.fsync());
    }),
    ("create 1,000 files, sync", |w| {
        w.mkdir("many");
        for number in 0..1000 {
            w.create(&format!("many/{number}"));
        }
        w.sync();
    }),
    ("write 4 KiB to each of 1,000 files, sync", |w| {
        for number in 0..1000 {
            w.open(&format!("many/{number}")).write(0, &pattern(number, 4096));
        }
        w.sync();
    }),
    ("rename 1,000 files, sync", |w| {
        for number in 0..1000 {
            w.rename(&format!("many/{number}"), &format!("many/renamed{number}"));
        }
        w.sync();
    }),
    ("unlink 1,000 files, sync", |w| {
        for number in 0..1000 {
            w.unlink(&format!("many/renamed{number}"));
        }
        w.sync();
    }),
    ("mkdir, rmdir: 500 times, sync", |w| {
        for _ in 0..500 {
            w.mkdir("many/dir");
            w.rmdir("many/dir");
        }
        w.sync();
    }),
];

fn measure(worker: &mut dyn Worker, work: fn(&mut dyn Worker), counts: &dyn Fn() -> Counts) -> Counts {
    worker.sync();
    let before = counts();
    work(worker);
    let after = counts();
    Counts {
        requests: after.requests - before.requests,
        flushes: after.flushes - before.flushes,
        bytes: after.bytes - before.bytes,
    }
}

/// The loop device of a mount.
fn device_of(at: &Path) -> String {
    let source = run_ok("findmnt", &["-n", "-o", "SOURCE", arg(at)]);
    source.trim().trim_start_matches("/dev/").to_owned()
}

#[test]
fn the_disk_is_asked_no_more_than_by_linux() {
    if !may_mount("requests beside Linux's") {
        return;
    }
    let scratch = Scratch::new();
    let disk = MAKE.disk(256 * MIB);
    let image = scratch.join("image");
    store(&disk, &image);
    let mount = Mount::new(&image, scratch.join("linux"), "noatime");
    let device = device_of(mount.path());
    let mut linux = Linux::new(mount.path());
    let zero = || AtomicU64::new(0);
    let disk = Arc::new(Counting { disk, requests: zero(), flushes: zero(), bytes: zero() });
    let options = MountOptions { cache_bytes: 64 << 20, ..MountOptions::default() };
    let fs = Ext4::mount(disk.clone(), common::context(), options).expect("it is mounted");
    let mut ours = Ours::new(fs.clone());
    let table = Mutex::new(String::new());
    let mut more = Vec::new();
    for (name, work) in ROWS {
        let us = measure(&mut ours, work, &|| disk.counts());
        let them = measure(&mut linux, work, &|| counts_of(&device));
        let line = format!("{name}: {us:?}; Linux {them:?}\n");
        print!("{line}");
        table.lock().expect("one thread").push_str(&line);
        // Linux's threads write when they like: a tenth, and a few of each.
        let above = |ours: u64, theirs: u64, few: u64| ours > theirs + theirs / 10 + few;
        if above(us.flushes, them.flushes, 2)
            || above(us.requests, them.requests, 16)
            || above(us.bytes, them.bytes, MIB)
        {
            more.push(name);
        }
    }
    drop((ours, linux));
    fs.unmount().unwrap();
    mount.unmount();
    assert!(more.is_empty(), "more than Linux: {more:?}\n{}", table.lock().expect("one thread"));
}
