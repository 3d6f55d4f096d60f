//! Errors while mounted: the filesystem turns read-only, reads go on, and the superblock tells of it.

mod common;

use std::sync::Arc;

use block::{BlockDevice, Fault, FaultDisk, MemoryDisk, RecordingDisk, Survival, WriteCache};
use common::disk::{DEFAULT, MIB, Make, Scratch, arg, run, run_ok, store};
use common::snapshot::of_fs;
use common::{mount, short};
use contract::dsl::pattern;
use vfs::{Errno, FileSystem};

/// What `dumpe2fs -h` says of a field.
fn field(disk: &MemoryDisk, name: &str) -> Option<String> {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(disk, &image);
    let text = run_ok("dumpe2fs", &["-h", arg(&image)]);
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start_matches(':').trim().to_owned())
}

#[test]
fn a_mount_is_counted_and_seen_to_need_recovery_until_it_ends() {
    for make in [Make::Ours(4096, 256), DEFAULT] {
        let disk = make.disk(16 * MIB);
        for count in 1..4 {
            let fs = mount(disk.clone());
            short::file(&*fs, &format!("{count}"), b"1").unwrap();
            assert!(field(&disk, "Filesystem features").unwrap().contains("needs_recovery"));
            assert_eq!(field(&disk, "Filesystem state").unwrap(), "clean");
            fs.unmount().unwrap();
            drop(fs);
            assert!(!field(&disk, "Filesystem features").unwrap().contains("needs_recovery"));
            assert_eq!(field(&disk, "Mount count").unwrap(), count.to_string(), "{make:?}");
        }
    }
}

#[test]
fn a_wrong_checksum_makes_it_read_only_and_dumpe2fs_shows_it() {
    for make in [Make::Ours(4096, 256), DEFAULT] {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        let root = short::root(&*fs);
        let dir = root.mkdir("broken").unwrap();
        for number in 0..50 {
            dir.file(format!("{number}"), "").unwrap();
        }
        root.file("whole", pattern(1, 10_000)).unwrap();
        drop((root, dir));
        fs.unmount().unwrap();
        drop(fs);
        // The directory's block holds itself, its parent and the file "0"; the journal may have a copy.
        let image = disk.to_image();
        let is_it = |block: &[u8]| block[8..12] == *b".\0\0\0" && block[20..24] == *b"..\0\0" && block[32] == b'0';
        let found: Vec<usize> = (0..image.len() / 4096).filter(|at| is_it(&image[at * 4096..][..4096])).collect();
        assert!(!found.is_empty());
        let broken = found.clone();
        for block in found {
            let mut sector = [0; 512];
            disk.read(block as u64 * 8, &mut sector).unwrap();
            sector[32] ^= 0x40;
            disk.write(block as u64 * 8, &sector).unwrap();
        }

        let fs = mount(disk.clone());
        let kept = short::file(&*fs, "made before", b"1").unwrap();
        assert_eq!(short::at(&*fs, "broken/7").map(drop).unwrap_err(), Errno::EUCLEAN);
        assert!(fs.is_read_only());
        assert_eq!(short::file(&*fs, "new", b"1").map(drop).unwrap_err(), Errno::EROFS);
        assert!(short::read(&*fs, "whole").unwrap() == pattern(1, 10_000), "reads go on");
        // It is on the disk at once.
        assert_eq!(field(&disk, "Filesystem state").unwrap(), "clean with errors", "{make:?}");
        assert_eq!(field(&disk, "FS Error count").unwrap(), "1");
        for which in ["First", "Last"] {
            let told = |what: &str| field(&disk, &format!("{which} error {what}")).unwrap();
            assert!(told("function").contains("ext4: wrong checksum"), "{make:?}");
            assert_eq!(told("err"), "EFSBADCRC");
            assert!(broken.contains(&told("block #").parse().unwrap()), "{make:?}: {broken:?}");
            assert!(told("time").contains(':'));
        }
        drop(kept);
        fs.unmount().unwrap();
        drop(fs);
        assert_eq!(field(&disk, "Filesystem state").unwrap(), "clean with errors", "{make:?}");
        assert_eq!(field(&disk, "FS Error count").unwrap(), "1");
    }
}

#[test]
fn what_was_ever_written_is_counted_as_linux_counts_it() {
    for make in [Make::Ours(4096, 256), DEFAULT] {
        let disk = make.disk(32 * MIB);
        let mib = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
        for round in 0..3 {
            let fs = mount(disk.clone());
            short::file(&*fs, &format!("{round}"), &pattern(round, 4 << 20)).unwrap();
            fs.unmount().unwrap();
            drop(fs);
            let text = field(&disk, "Lifetime writes").unwrap();
            let written = if text.contains("MB") { mib(&text) } else { mib(&text) / 1024 };
            assert!(
                (4 * (round + 1)..=5 * (round + 1) + 2).contains(&written),
                "{make:?}: {text} after {} files",
                round + 1
            );
        }
        assert!(field(&disk, "Last mount time").unwrap().contains(':'));
        assert!(field(&disk, "Last write time").unwrap().contains(':'));
    }
}

#[test]
fn an_error_is_told_of_after_the_replay_that_follows() {
    let disk = DEFAULT.disk(16 * MIB);
    let faulty = Arc::new(FaultDisk::new(disk.clone()));
    let fs = mount(faulty.clone());
    short::file(&*fs, "synced", &pattern(3, 20_000)).unwrap();
    fs.sync().unwrap();
    short::file(&*fs, "lost", &pattern(3, 20_000)).unwrap();
    // The flush of a commit fails: nothing may be written after that, but the error itself.
    faulty.set(Fault::Flushes);
    assert_eq!(fs.sync().unwrap_err(), Errno::EIO);
    assert!(fs.is_read_only());
    assert!(short::read(&*fs, "synced").unwrap() == pattern(3, 20_000));
    assert!(fs.unmount().is_err());
    drop(fs);
    let features = field(&disk, "Filesystem features").unwrap();
    assert!(features.contains("needs_recovery"), "{features}");

    let fs = mount(disk.clone());
    assert!(short::read(&*fs, "synced").unwrap() == pattern(3, 20_000));
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(field(&disk, "FS Error count").unwrap(), "1");
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(&disk, &image);
    assert!(run("e2fsck", &["-fy", arg(&image)]).status.code().unwrap_or(9) <= 1);
    run_ok("e2fsck", &["-fn", arg(&image)]);
}

#[test]
fn errors_by_chance_never_panic_and_the_disk_recovers_to_what_was_synced() {
    for seed in 1..=12_u64 {
        let base = Make::Ours(4096, 256).disk(16 * MIB);
        let recorder = Arc::new(RecordingDisk::new(Arc::new(base.snapshot()), WriteCache::Flush));
        let faulty = Arc::new(FaultDisk::new(recorder.clone()));
        let fs = mount(faulty.clone());
        let mut synced = of_fs(&*fs).unwrap();
        faulty.set(if seed % 2 == 0 {
            Fault::SomeWrites { one_in: 25, state: seed * 77 + 1 }
        } else {
            Fault::SomeReads { one_in: 25, state: seed * 77 + 1 }
        });
        for number in 0..120_u64 {
            let name = format!("{number}");
            let made = short::file(&*fs, &name, &pattern(number, 5_000)).map(drop);
            let done = made.and_then(|()| if number % 5 == 0 { fs.sync() } else { Ok(()) });
            if number % 5 == 0 && done.is_ok() {
                faulty.clear();
                synced = of_fs(&*fs).unwrap();
                faulty.set(Fault::SomeWrites { one_in: 40, state: seed * 77 + number });
            }
            if fs.is_read_only() {
                break;
            }
        }
        faulty.clear();
        assert!(short::at(&*fs, "").is_ok(), "reads go on");
        drop(fs);
        let disk = Arc::new(base.snapshot());
        let recording = recorder.recording();
        recording.cut(&*disk, recording.len(), Survival::Some(seed)).unwrap();
        let fs = mount(disk);
        let found = of_fs(&*fs).unwrap();
        for (path, entry) in synced.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(found.get(path) == Some(entry), "seed {seed}: {} was synced", path.escape_ascii());
        }
    }
}
