//! Mixed work, cut at random: the tree is that of a moment since the last sync, and what was synced is there.

use std::path::Path;
use std::sync::Arc;

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
    /// The tree after each operation, how far the record had come, and whether all before was synced.
    marks: Vec<Mark>,
    name: String,
}

struct Mark {
    tree: Tree,
    events: usize,
    synced: bool,
    op: String,
}

impl Run {
    fn new(make: Make, seed: u64, ops: u64) -> Self {
        let disk = make.disk(48 * MIB);
        let base = disk.snapshot();
        let cache = if seed.is_multiple_of(2) { WriteCache::Flush } else { WriteCache::WriteThrough };
        let recorder = Arc::new(RecordingDisk::new(disk, cache));
        let mut ours = Ours::new(recorder.clone());
        let mut generator = Generator::new(seed, false);
        let mut random = Random::new(seed ^ 0x5eed);
        // The mount's own writes are not of interest: the first mark is an empty tree.
        let mut marks =
            vec![Mark { tree: tree(&ours.fs), events: recorder.position(), synced: true, op: "mount".into() }];
        for _ in 0..ops {
            let op = generator.next();
            let answer = ours.apply(&op);
            generator.learn(&op, &answer);
            let mut synced = matches!(op, Op::Sync);
            match random.below(40) {
                0..=2 => {
                    ours.fs.sync().expect("a sync");
                    synced = true;
                }
                // A commit by time, which promises nothing.
                3 => ours.fs.tick().expect("a tick"),
                _ => {}
            }
            marks.push(Mark { tree: tree(&ours.fs), events: recorder.position(), synced, op: show(&op) });
        }
        let recording = recorder.take();
        Self { base, recording, marks, name: format!("{make:?}, STRATA_SEED={seed} STRATA_OPS={ops}") }
    }

    /// The disk after a cut, and the trees that it may have, with the operations that led there.
    fn cut(&self, events: usize, survival: Survival) -> (Arc<MemoryDisk>, Vec<Tree>, String) {
        let disk = Arc::new(self.base.snapshot());
        self.recording.cut(&*disk, events, survival).expect("a disk in memory takes writes");
        let last = self.marks.partition_point(|mark| mark.events <= events) - 1;
        let first = self.marks[..=last].iter().rposition(|mark| mark.synced).unwrap_or(0);
        // The operation under way may have happened.
        let end = (last + 2).min(self.marks.len());
        let trees = self.marks[first..end].iter().map(|mark| mark.tree.clone()).collect();
        let ops: Vec<&str> = self.marks[first..end].iter().map(|mark| &mark.op[..]).collect();
        let at = format!("{}, cut after {events} of {} events, {survival:?}", self.name, self.recording.len());
        (disk, trees, format!("{at}\nsince the last sync:\n  {}", ops.join("\n  ")))
    }

    fn first(&self) -> usize {
        self.marks[0].events
    }
}

const MAKES: [Make; 3] =
    [Make::Ours(4096, 256), DEFAULT, Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "^64bit", "-J", "size=1"])];

#[test]
fn random_work_cut_at_random_is_a_moment_since_the_last_sync() {
    let seed = number("STRATA_SEED", 1);
    let ops = number("STRATA_OPS", 300);
    let cuts = number("STRATA_CUTS", 300);
    let runs = (cuts / 100).clamp(1, 30);
    for round in 0..runs {
        let run = Run::new(MAKES[round as usize % MAKES.len()], seed + round, ops);
        let mut random = Random::new(seed + round);
        for number in 0..cuts / runs {
            let events = run.first() + random.below((run.recording.len() - run.first() + 1) as u64) as usize;
            let survival = match random.below(8) {
                0 => Survival::Everything,
                1 => Survival::Nothing,
                _ => Survival::Some(random.next()),
            };
            let (disk, trees, at) = run.cut(events, survival);
            let doctors: &[Doctor] =
                if number % 10 == 0 { &[Doctor::OursChecked, Doctor::E2fsck] } else { &[Doctor::Ours] };
            for &doctor in doctors {
                let copy = Arc::new(disk.snapshot());
                let found = recovered(copy, doctor).unwrap_or_else(|text| panic!("{at}\n{doctor:?}: {text}"));
                if let Err(text) = which(&found, &trees) {
                    panic!("{at}\n{doctor:?}: {text}");
                }
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
    let cuts = number("STRATA_CUTS", 300) / 15;
    for (index, make) in MAKES.into_iter().enumerate() {
        let run = Run::new(make, seed + index as u64, number("STRATA_OPS", 300));
        let mut random = Random::new(seed);
        for _ in 0..cuts / 3 {
            let events = run.first() + random.below((run.recording.len() - run.first() + 1) as u64) as usize;
            let (disk, trees, at) = run.cut(events, Survival::Some(random.next()));
            let scratch = Scratch::new();
            let image = scratch.join("image");
            store(&disk, &image);
            let found = seen_by_linux(&image, &scratch);
            which(&found, &trees).unwrap_or_else(|text| panic!("{at}\nseen by Linux: {text}"));
            fsck_file(&image).unwrap_or_else(|text| panic!("{at}\nafter Linux: {text}"));
        }
    }
}
