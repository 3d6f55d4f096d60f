//! Mixed work, cut at random: the tree is that of a moment since the last sync, and what was synced is there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use block::{MemoryDisk, Recording, RecordingDisk, Survival, WriteCache};
use contract::random::Random;
use vfs::FileSystem;

use crate::common::disk::{DEFAULT, MIB, Make, Scratch, fsck_file, store};
use crate::common::linux::{Mount, may_mount};
use crate::common::number;
use crate::common::snapshot::{Tree, of_linux};
use crate::generate::Generator;
use crate::judge::{Doctor, normal, recovered, tree, which};
use crate::op::{Op, World, show};
use crate::ours::Ours;

/// What a run leaves to be cut.
struct Run {
    base: MemoryDisk,
    recording: Recording,
    /// The tree after each operation, and what is known of that moment.
    trees: Vec<Tree>,
    marks: Vec<Mark>,
    name: String,
}

struct Mark {
    /// How far the record had come.
    events: usize,
    /// Whether all before was synced.
    synced: bool,
    op: String,
}

impl Run {
    /// Three of `rare` operations are followed by a sync.
    fn new(make: Make, seed: u64, ops: u64, rare: u64) -> Self {
        let disk = make.disk(48 * MIB);
        let base = disk.snapshot();
        let cache = if seed.is_multiple_of(2) { WriteCache::Flush } else { WriteCache::WriteThrough };
        let recorder = Arc::new(RecordingDisk::new(disk, cache));
        let mut ours = Ours::new(recorder.clone());
        let mut generator = Generator::new(seed, false);
        let mut random = Random::new(seed ^ 0x5eed);
        // The mount's own writes are not of interest: the first mark is an empty tree.
        let mut trees = vec![tree(&ours.fs)];
        let mut marks = vec![Mark { events: recorder.position(), synced: true, op: "mount".into() }];
        for _ in 0..ops {
            let op = generator.next();
            let answer = ours.apply(&op);
            generator.learn(&op, &answer);
            let mut synced = matches!(op, Op::Sync);
            match random.below(rare) {
                0..=2 => {
                    ours.fs.sync().expect("a sync");
                    synced = true;
                }
                // A commit by time, which promises nothing.
                3 => ours.fs.tick().expect("a tick"),
                _ => {}
            }
            trees.push(tree(&ours.fs));
            marks.push(Mark { events: recorder.position(), synced, op: show(&op) });
        }
        let recording = recorder.take();
        Self { base, recording, trees, marks, name: format!("{make:?}, STRATA_SEED={seed} STRATA_OPS={ops}") }
    }

    /// The disk after a cut, and the trees that it may have, with the operations that led there.
    fn cut(&self, events: usize, survival: Survival) -> (Arc<MemoryDisk>, &[Tree], String) {
        let disk = Arc::new(self.base.snapshot());
        self.recording.cut(&*disk, events, survival).expect("a disk in memory takes writes");
        let last = self.marks.partition_point(|mark| mark.events <= events) - 1;
        let first = self.marks[..=last].iter().rposition(|mark| mark.synced).unwrap_or(0);
        // The operation under way may have happened.
        let end = (last + 2).min(self.marks.len());
        let ops: Vec<&str> = self.marks[first..end].iter().map(|mark| &mark.op[..]).collect();
        let at = format!("{}, cut after {events} of {} events, {survival:?}", self.name, self.recording.len());
        (disk, &self.trees[first..end], format!("{at}\nsince the last sync:\n  {}", ops.join("\n  ")))
    }

    fn first(&self) -> usize {
        self.marks[0].events
    }
}

/// With 1,024 blocks of log.
const SMALL_LOG: Make = Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "^64bit", "-J", "size=1"]);
const MAKES: [Make; 3] = [Make::Ours(4096, 256), DEFAULT, SMALL_LOG];
/// One sync after about thirteen operations; and after nearly every one.
const SELDOM: u64 = 40;
const OFTEN: u64 = 4;

#[test]
fn random_work_cut_at_random_is_a_moment_since_the_last_sync() {
    let seed = number("STRATA_SEED", 1);
    let cuts = number("STRATA_CUTS", 1000);
    // A run of its own for each hundred, and no more than are worth their time.
    let runs = (cuts / 100).clamp(1, 30);
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= runs {
                return;
            }
            let make = MAKES[round as usize % MAKES.len()];
            cut_one_run(&Run::new(make, seed + round, number("STRATA_OPS", 300), SELDOM), seed + round, cuts / runs);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a thread that found a bad cut has said so"));
    });
}

/// So many syncs that a small log goes round, freed from its oldest transactions on while later ones are in it.
#[test]
fn a_log_that_goes_round_is_replayed_wherever_it_is_cut() {
    let seed = number("STRATA_SEED", 21);
    let run = Run::new(SMALL_LOG, seed, number("STRATA_OPS", 400), OFTEN);
    cut_one_run(&run, seed, number("STRATA_CUTS", 1000) / 8);
}

/// Every cut is recovered by us, and a copy of the disk by `e2fsck`.
fn cut_one_run(run: &Run, seed: u64, cuts: u64) {
    let mut random = Random::new(seed);
    for number in 0..cuts {
        let events = run.first() + random.below((run.recording.len() - run.first() + 1) as u64) as usize;
        let survival = match random.below(8) {
            0 => Survival::Everything,
            1 => Survival::Nothing,
            _ => Survival::Some(random.next()),
        };
        let (disk, states, at) = run.cut(events, survival);
        let ours = if number % 8 == 0 { Doctor::OursChecked } else { Doctor::Ours };
        for doctor in [Doctor::E2fsck, ours] {
            let found = recovered(&disk, doctor).unwrap_or_else(|text| panic!("{at}\n{doctor:?}: {text}"));
            if let Err(text) = which(&found, states) {
                panic!("{at}\n{doctor:?}: {text}");
            }
        }
    }
}

/// Mounts an image by Linux, which replays the journal, and takes its tree.
fn seen_by_linux(image: &Path, scratch: &Scratch) -> Tree {
    let linux = Mount::new(image, scratch.join("mounted"), "noatime");
    let mut found = of_linux(linux.path());
    normal(&mut found);
    linux.unmount();
    found
}

#[test]
fn linux_replays_our_journal_wherever_it_is_cut() {
    if !may_mount("replaying our journal by Linux") {
        return;
    }
    let seed = number("STRATA_SEED", 77);
    let cuts = number("STRATA_CUTS", 1000) / 50;
    for (index, make) in MAKES.into_iter().enumerate() {
        let run = Run::new(make, seed + index as u64, number("STRATA_OPS", 300), SELDOM);
        let mut random = Random::new(seed);
        for _ in 0..cuts / 3 {
            let events = run.first() + random.below((run.recording.len() - run.first() + 1) as u64) as usize;
            let (disk, trees, at) = run.cut(events, Survival::Some(random.next()));
            let scratch = Scratch::new();
            let image = scratch.join("image");
            store(&disk, &image);
            let found = seen_by_linux(&image, &scratch);
            which(&found, trees).unwrap_or_else(|text| panic!("{at}\nseen by Linux: {text}"));
            fsck_file(&image).unwrap_or_else(|text| panic!("{at}\nafter Linux: {text}"));
        }
    }
}
