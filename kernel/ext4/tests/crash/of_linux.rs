//! A journal that Linux wrote, cut at random: our mount comes to the tree that Linux's own mount and `e2fsck` come to.

use std::path::Path;
use std::sync::Arc;

use block::{MemoryDisk, Recording, RecordingDisk, Survival, WriteCache};
use contract::random::Random;
use vfs::FileSystem;

use crate::common::disk::{MIB, Make, Scratch, fsck_file, store};
use crate::common::linux::{Mount, may_mount};
use crate::common::number;
use crate::common::raw::with_superblock_checksum;
use crate::common::snapshot::{Tree, difference, of_fs, of_linux};
use crate::generate::Generator;
use crate::judge::{cured_by_e2fsck, normal};
use crate::linux::Linux;
use crate::op::{Op, World};
use crate::served::Served;

const MAKES: [Make; 3] = [
    // Of two groups, so that there is a copy of the superblock.
    Make::Mkfs(&["-b", "4096", "-g", "4096", "-I", "256"]),
    Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum,^64bit", "-J", "size=1"]),
    Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "orphan_file,metadata_csum_seed"]),
];

/// What Linux did to a disk.
struct Run {
    base: MemoryDisk,
    recording: Recording,
    /// How far the record had come when Linux had synced, and the tree that it had then.
    synced: Vec<(usize, Tree)>,
    name: String,
}

impl Run {
    fn new(make: Make, seed: u64, ops: u64) -> Self {
        let name = format!("{make:?}, STRATA_SEED={seed} STRATA_OPS={ops}");
        let scratch = Scratch::new();
        let disk = make.disk(32 * MIB);
        let base = disk.snapshot();
        let small_inodes = crate::common::disk::inode_size(&disk) == 128;
        let recorder = Arc::new(RecordingDisk::new(disk, WriteCache::Flush));
        let served = Served::new(recorder.clone(), scratch.join("served"));
        let mount = Mount::new(&served.file(), scratch.join("linux"), "noatime,commit=1,noinit_itable");
        let mut linux = Linux::new(mount.path());
        let mut generator = Generator::new(seed, small_inodes);
        let mut random = Random::new(seed ^ 0x11);
        let mut synced = Vec::new();
        for _ in 0..ops {
            let op = generator.next();
            let answer = linux.apply(&op);
            generator.learn(&op, &answer);
            if matches!(op, Op::Sync) || random.one_in(20) {
                mount.sync();
                // Before the tree is read, which may write nothing but takes time, and Linux commits by itself.
                synced.push((recorder.position(), of_linux(mount.path())));
            }
        }
        // With files that are held: what has no name any more is on Linux's list of orphans.
        mount.sync();
        synced.push((recorder.position(), of_linux(mount.path())));
        let recording = recorder.recording();
        linux.release();
        mount.unmount();
        drop(served);
        Self { base, recording, synced, name }
    }

    fn cut(&self, events: usize, survival: Survival) -> Arc<MemoryDisk> {
        let disk = Arc::new(self.base.snapshot());
        self.recording.cut(&*disk, events, survival).expect("a disk in memory takes writes");
        disk
    }
}

/// The tree that Linux has after its recovery, and `e2fsck`'s opinion of it.
fn cured_by_linux(image: &Path, scratch: &Scratch) -> Tree {
    let linux = Mount::new(image, scratch.join("mounted"), "noatime");
    let found = of_linux(linux.path());
    linux.unmount();
    found
}

fn judge(run: &Run, events: usize, survival: Survival) -> Result<Tree, String> {
    let disk = run.cut(events, survival);
    // A cut may tear the superblock, whose checksum is in its second sector. Linux refuses to mount that, and `e2fsck` seldom finds a
    // copy that it takes; our mount knows the tear. They are given the same superblock with the checksum that it needs.
    let whole = with_superblock_checksum(&disk);
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(&whole, &image);
    let by_linux = cured_by_linux(&image, &scratch);
    fsck_file(&image).map_err(|text| format!("after Linux: {text}"))?;

    let ours = Arc::new(disk.snapshot());
    let fs = crate::common::try_mount(ours.clone(), ext4::MountMode::ReadWrite).map_err(|error| error.to_string())?;
    if fs.is_read_only() {
        return Err("mounted read-only".into());
    }
    let found = of_fs(&*fs).map_err(|error| format!("not read: {error:?}"))?;
    if let Some(text) = difference(&found, &by_linux) {
        return Err(format!("not what Linux recovers: {text}"));
    }
    fs.unmount().map_err(|error| format!("unmount: {error:?}"))?;
    drop(fs);
    store(&ours, &image);
    fsck_file(&image).map_err(|text| format!("after us: {text}"))?;

    let (mut found, mut by_linux) = (cured_by_e2fsck(&whole, &scratch)?, by_linux);
    normal(&mut found);
    normal(&mut by_linux);
    match difference(&found, &by_linux) {
        Some(text) => Err(format!("e2fsck recovers otherwise: {text}")),
        None => Ok(found),
    }
}

#[test]
fn a_journal_of_linux_cut_anywhere_is_replayed_as_linux_and_e2fsck_replay_it() {
    if !may_mount("a journal of Linux, cut") {
        return;
    }
    if !Served::is_possible() {
        eprintln!("\n*** SKIPPED: a journal of Linux, cut: there is no /dev/fuse ***\n");
        return;
    }
    let seed = number("STRATA_SEED", 31);
    let cuts = (number("STRATA_CUTS", 1000) / 20).max(MAKES.len() as u64);
    for (index, make) in MAKES.into_iter().enumerate() {
        let run = Run::new(make, seed + index as u64, number("STRATA_OPS", 300));
        let flushes = run.recording.events().iter().filter(|event| **event == block::Event::Flush).count();
        assert!(flushes > 10 && run.synced.len() > 5, "{}: {flushes} flushes: the test is void", run.name);
        let mut random = Random::new(seed);
        for _ in 0..cuts / MAKES.len() as u64 {
            // The last part of what was before a sync is nothing: it is flushed.
            if random.one_in(8) {
                let (events, expected) = random.pick(&run.synced);
                let at = format!("{}, cut at the sync after {events} events", run.name);
                let found = judge(&run, *events, Survival::Nothing).unwrap_or_else(|text| panic!("{at}: {text}"));
                let mut expected = expected.clone();
                normal(&mut expected);
                if let Some(text) = difference(&found, &expected) {
                    panic!("{at}: not what was synced: {text}");
                }
                continue;
            }
            let events = random.below(run.recording.len() as u64 + 1) as usize;
            let survival = match random.below(6) {
                0 => Survival::Everything,
                1 => Survival::Nothing,
                _ => Survival::Some(random.next()),
            };
            let at = format!("{}, cut after {events} of {} events, {survival:?}", run.name, run.recording.len());
            judge(&run, events, survival).unwrap_or_else(|text| panic!("{at}: {text}"));
        }
    }
}
