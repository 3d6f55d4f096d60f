//! Mounts, recoveries, checkpoints and unmounts, cut at every point: the disk mounts, and what was synced is there. And superblocks
//! that are torn between their sectors, by us or by others.

use std::sync::Arc;

use block::{BlockDevice, Event, MemoryDisk, Recording, RecordingDisk, Survival, WriteCache};
use contract::dsl::pattern;
use ext4::{MountError, MountMode, Probe};
use vfs::{FileSystem, SyncKind};

use crate::common::disk::{DEFAULT, MIB, Make, assert_clean};
use crate::common::snapshot::{Tree, difference};
use crate::common::steps::prepare;
use crate::common::{mount, number, short, try_mount};
use crate::judge::{Doctor, recovered, tree, which};

/// With and without a copy of the superblock, with and without its checksum; the third has a small journal, which is often full.
const MAKES: [Make; 4] = [
    Make::Ours(4096, 256),
    DEFAULT,
    Make::Mkfs(&["-b", "1024", "-I", "256", "-J", "size=1"]),
    Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum,^64bit"]),
];

/// A disk whose power was cut: its journal is to be replayed, a file without a name to be freed.
fn interrupted(make: Make, bytes: u64) -> MemoryDisk {
    let disk = make.disk(bytes);
    let base = disk.snapshot();
    let recorder = Arc::new(RecordingDisk::new(disk, WriteCache::Flush));
    let fs = mount(recorder.clone());
    prepare(&fs).unwrap();
    let held = short::file(&*fs, "removed", &pattern(3, 50_000)).unwrap();
    fs.sync().unwrap();
    short::unlink(&*fs, "removed").unwrap();
    fs.sync().unwrap();
    recorder.recording().cut(&base, recorder.position(), Survival::Nothing).unwrap();
    drop(held);
    base
}

/// Trees as the recording went on, and from which of its events on each was durable.
struct Run {
    recording: Recording,
    marks: Vec<(usize, Tree)>,
    /// The mount has come to its end.
    mounted: usize,
    /// The unmount begins.
    unmounts: usize,
}

fn run(base: &MemoryDisk) -> Run {
    let recorder = Arc::new(RecordingDisk::new(Arc::new(base.snapshot()), WriteCache::Flush));
    let before = tree(&mount(Arc::new(base.snapshot())));
    let fs = mount(recorder.clone());
    let mounted = recorder.position();
    let mut marks = vec![(0, before)];
    // Enough for checkpoints of a small journal.
    for round in 0..12_u64 {
        let dir = short::root(&*fs).mkdir(format!("round {round}")).unwrap();
        for number in 0..60 {
            dir.file(format!("{number}"), pattern(round, 100)).unwrap();
        }
        fs.sync().unwrap();
        marks.push((recorder.position(), tree(&fs)));
    }
    // Something for the unmount to commit.
    short::file(&*fs, "last", b"last").unwrap().sync(SyncKind::All).unwrap();
    marks.push((recorder.position(), tree(&fs)));
    let unmounts = recorder.position();
    fs.unmount().unwrap();
    Run { recording: recorder.recording(), marks, mounted, unmounts }
}

impl Run {
    /// Fails unless a disk that was cut after so many events is whole, and has what was synced.
    fn judge(&self, disk: &MemoryDisk, events: usize, doctors: &[Doctor], at: &str) {
        let last = self.marks.partition_point(|(synced, _)| *synced <= events) - 1;
        let states: Vec<Tree> = self.marks[last..].iter().take(2).map(|(_, tree)| tree.clone()).collect();
        for &doctor in doctors {
            let found = recovered(&Arc::new(disk.snapshot()), doctor).unwrap_or_else(|text| panic!("{at}: {text}"));
            // What came after the last sync is there in part or not.
            let lost =
                states[0].iter().find(|(path, entry)| found.get(*path).is_none_or(|kept| kept.size < entry.size));
            assert!(lost.is_none() || which(&found, &states).is_ok(), "{at}, {doctor:?}: lost {:?}", lost.unwrap().0);
        }
    }

    fn cut(&self, base: &MemoryDisk, events: usize, survival: Survival) -> MemoryDisk {
        let disk = base.snapshot();
        self.recording.cut(&disk, events, survival).unwrap();
        disk
    }
}

/// The sector of the journal's superblock.
fn journal_of(disk: &MemoryDisk) -> u64 {
    let mut head = [0; 512];
    (0..disk.capabilities().sectors)
        .step_by(2)
        .find(|&sector| {
            disk.read(sector, &mut head).unwrap();
            head[..8] == [0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 4]
        })
        .expect("a journal")
}

/// Whether the journal has a log and the filesystem does not ask for its replay: a log that no mount may believe, and which `e2fsck`
/// asks about.
fn has_forgotten_log(disk: &MemoryDisk, journal: u64) -> bool {
    let (mut superblock, mut head) = ([0; 512], [0; 512]);
    disk.read(2, &mut superblock).unwrap();
    disk.read(journal, &mut head).unwrap();
    superblock[0x60] & 0x4 == 0 && head[0x1c..0x20] != [0; 4]
}

#[test]
fn a_mount_its_recovery_and_an_unmount_may_be_cut_anywhere() {
    for make in MAKES {
        let base = interrupted(make, 16 * MIB);
        let run = run(&base);
        let journal = journal_of(&base);
        let ends = (0..=run.mounted).chain(run.unmounts..=run.recording.len());
        for (count, events) in ends.enumerate() {
            let seeds = (1..=number("STRATA_CUTS", 300) / 300).map(Survival::Some);
            for survival in [Survival::Everything, Survival::Nothing].into_iter().chain(seeds) {
                let at = format!("{make:?}, cut after {events} of {} events, {survival:?}", run.recording.len());
                let checked = count.is_multiple_of(8) && survival == Survival::Some(1);
                let doctors: &[Doctor] = if checked { &[Doctor::OursChecked] } else { &[Doctor::Ours] };
                let disk = run.cut(&base, events, survival);
                assert!(!has_forgotten_log(&disk, journal), "{at}: the log is not asked for");
                run.judge(&disk, events, doctors, &at);
            }
        }
    }
}

#[test]
fn a_superblock_of_ours_is_whole_whichever_of_its_sectors_arrived() {
    for make in MAKES {
        let base = interrupted(make, 16 * MIB);
        let run = run(&base);
        let mut torn = 0;
        for (events, event) in run.recording.events().iter().enumerate() {
            let (Event::Write { sector, data } | Event::WriteDurable { sector, data }) = event else { continue };
            // The superblock's sectors are the third and the fourth.
            if !(*sector <= 2 && sector + data.len() as u64 / 512 >= 4) {
                continue;
            }
            for arrived in [2, 3] {
                let disk = run.cut(&base, events, Survival::Everything);
                let from = (arrived - sector) as usize * 512;
                disk.write(arrived, &data[from..from + 512]).unwrap();
                let at = format!("{make:?}, event {events}: sector {arrived} of the superblock arrived");
                let doctors: &[Doctor] =
                    if torn % 6 < 2 { &[Doctor::OursChecked, Doctor::E2fsck] } else { &[Doctor::Ours] };
                run.judge(&disk, events, doctors, &at);
                torn += 1;
            }
        }
        assert!(torn >= 6, "{make:?}: recovery, mount, unmount write it");
    }
}

/// A sector of the superblock, changed, with the checksum in the other sector left as it was.
fn change(disk: &MemoryDisk, at: usize, change: fn(u8) -> u8) {
    let sector = 2 + at as u64 / 512;
    let mut bytes = [0; 512];
    disk.read(sector, &mut bytes).unwrap();
    bytes[at % 512] = change(bytes[at % 512]);
    disk.write(sector, &bytes).unwrap();
}

#[test]
fn a_superblock_that_another_system_tore_is_written_anew_where_a_copy_agrees() {
    for make in [
        Make::Ours(1024, 256),
        Make::Mkfs(&["-b", "1024"]),
        Make::Mkfs(&["-b", "1024", "-O", "sparse_super2,^resize_inode"]),
    ] {
        let base = interrupted(make, 24 * MIB);
        let expected = tree(&mount(Arc::new(base.snapshot())));
        // The time of the last write and the count of mounts are of another write than the checksum.
        for at in [0x30, 0x34] {
            let disk = Arc::new(base.snapshot());
            change(&disk, at, |byte| byte ^ 0x55);
            match ext4::probe(&*disk).unwrap() {
                Probe::Ext4(info) => assert!(info.needs_recovery),
                other => panic!("{make:?}: {other:?}"),
            }
            let fs = mount(disk.clone());
            assert_eq!(difference(&tree(&fs), &expected), None, "{make:?}");
            assert!(!fs.is_read_only());
            fs.unmount().unwrap();
            drop(fs);
            assert_clean(&disk, &format!("{make:?}"));
        }
    }
}

#[test]
fn a_superblock_that_no_copy_bears_out_is_refused_and_left_alone() {
    let base = interrupted(Make::Mkfs(&["-b", "1024"]), 24 * MIB);
    let refused = |disk: MemoryDisk, what: &str| {
        let disk = Arc::new(disk);
        let before = disk.to_image();
        assert!(matches!(ext4::probe(&*disk).unwrap(), Probe::Unknown(_)), "{what}");
        let error = try_mount(disk.clone(), MountMode::ReadWrite).err();
        assert!(matches!(error, Some(MountError::Checksum(_))), "{what}: {error:?}");
        assert!(disk.to_image() == before, "{what}: it was written to");
    };
    // Counts of blocks and inodes, identity, features, journal, seed of the hash.
    for at in [0x4, 0x28, 0x58, 0x6a, 0x5c, 0x65, 0xe0, 0xee] {
        let disk = base.snapshot();
        change(&disk, at, |byte| byte ^ 0x40);
        refused(disk, &format!("byte {at:#x}"));
    }
    let disk = base.snapshot();
    change(&disk, 0x30, |byte| byte ^ 0x55);
    for copy in [8193, 24577_u64].map(|block| block * 2).into_iter().filter(|sector| *sector < 24 * MIB / 512) {
        disk.write(copy, &[0; 1024]).unwrap();
    }
    refused(disk, "no copy");
}
