//! Files that are cut and grown: what lies behind the end is gone for good, whatever comes in between.

mod common;

use std::sync::Arc;

use block::{Fault, FaultDisk, MemoryDisk, RecordingDisk, Survival, WriteCache};
use common::disk::{DEFAULT, MIB, Make, OLD, assert_clean};
use common::{mount, short};
use contract::dsl::pattern;
use vfs::{AllocateMode, Errno, FileOps, FileSystem, SyncKind};

const MAKES: [Make; 3] = [Make::Ours(4096, 256), DEFAULT, OLD];

/// What the disk has now, as after a power cut.
fn cut_off(disk: &MemoryDisk) -> Arc<MemoryDisk> {
    Arc::new(MemoryDisk::from_image(&disk.to_image()))
}

/// Gives a file a byte in every second block of 1 KiB, so many times.
fn scatter(file: &dyn FileOps, count: u64) {
    for number in 0..count {
        assert_eq!(file.write_at(number * 2048, &[1]).unwrap(), 1);
    }
}

#[test]
fn a_removed_file_that_is_cut_in_many_steps_is_an_orphan_once() {
    let disk = OLD.disk(16 * MIB);
    let fs = mount(disk.clone());
    fs.sync().unwrap();
    let empty = fs.statfs().unwrap();
    let before = short::file(&*fs, "before", &[1; 5000]).unwrap();
    let file = short::file(&*fs, "f", b"").unwrap();
    scatter(&*file, 3000);
    fs.sync().unwrap();
    short::unlink(&*fs, "before").unwrap();
    short::unlink(&*fs, "f").unwrap();
    file.set_len(0).unwrap();
    fs.sync().unwrap();

    // Both are found by the mount after a power cut.
    let after = cut_off(&disk);
    let fs_after = mount(after.clone());
    assert!(!fs_after.is_read_only());
    fs_after.sync().unwrap();
    let freed = fs_after.statfs().unwrap();
    assert_eq!((freed.blocks_free, freed.files_free), (empty.blocks_free, empty.files_free));
    fs_after.unmount().unwrap();
    drop(fs_after);
    assert_clean(&after, "after the power cut");

    drop((before, file));
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "after an unmount");
}

#[test]
fn what_a_cut_takes_is_there_until_the_cut_is() {
    // What follows in the same transaction: nothing, an append, a write behind the end.
    let rests: [fn(&dyn FileOps); 3] = [
        |_| {},
        |file| assert_eq!(file.append(&[7; 9000]).unwrap().1, 9000),
        |file| assert_eq!(file.write_at(11_000, &[8; 100]).unwrap(), 100),
    ];
    for make in MAKES {
        for (number, rest) in rests.into_iter().enumerate() {
            for len in [1, 4097, 5000, 8192] {
                let disk = make.disk(16 * MIB);
                let fs = mount(disk.clone());
                short::file(&*fs, "f", &pattern(1, 10_000)).unwrap();
                fs.unmount().unwrap();
                drop(fs);
                let base = disk.snapshot();
                let recorder = Arc::new(RecordingDisk::new(disk, WriteCache::Flush));
                let fs = mount(recorder.clone());
                let file = short::open(&*fs, "f").unwrap();
                let from = recorder.position();
                file.set_len(len).unwrap();
                rest(&*file);
                let mut after = vec![0; file.attr().unwrap().size as usize];
                assert_eq!(file.read_at(0, &mut after).unwrap(), after.len());
                fs.sync().unwrap();
                for events in from..=recorder.position() {
                    for survival in [Survival::Everything, Survival::Nothing, Survival::Some(events as u64)] {
                        let disk = Arc::new(base.snapshot());
                        recorder.recording().cut(&*disk, events, survival).unwrap();
                        let fs = mount(disk);
                        let file = short::open(&*fs, "f").unwrap();
                        let mut found = vec![0; file.attr().unwrap().size as usize];
                        assert_eq!(file.read_at(0, &mut found).unwrap(), found.len());
                        let cut = &pattern(1, 10_000)[..len as usize];
                        let whole = found == pattern(1, 10_000) || found == cut || found == after;
                        assert!(whole, "{make:?}, rest {number}, cut to {len}: {events} events, {survival:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_cut_off_is_zero_on_the_disk_in_the_end() {
    for make in MAKES {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        let file = short::file(&*fs, "f", &pattern(1, 10_000)).unwrap();
        fs.sync().unwrap();
        file.set_len(5000).unwrap();
        fs.sync().unwrap();
        // It grows in the next transaction, and in the one that cuts.
        file.set_len(5100).unwrap();
        file.set_len(5050).unwrap();
        file.set_len(5200).unwrap();
        let mut found = vec![1; 5200];
        assert_eq!(file.read_at(0, &mut found).unwrap(), 5200);
        assert_eq!(found, [&pattern(1, 5000)[..], &[0; 200]].concat(), "{make:?}");
        file.set_len(4990).unwrap();
        drop(file);
        fs.unmount().unwrap();
        drop(fs);
        let image = disk.to_image();
        let kept = &pattern(1, 4990)[4900..];
        let at = image.windows(90).position(|bytes| bytes == kept).unwrap() + 90;
        let behind = &image[at..at.next_multiple_of(1024)];
        assert!(behind.iter().all(|&byte| byte == 0), "{make:?}: {behind:?}");
        assert_clean(&disk, &format!("{make:?}"));
    }
}

#[test]
fn bytes_that_a_crash_left_behind_the_end_are_zero_when_the_file_grows() {
    type Grow = (&'static str, fn(&dyn FileOps));
    let ways: [Grow; 5] = [
        ("set_len", |file| file.set_len(9000).unwrap()),
        ("a write far behind", |file| assert_eq!(file.write_at(8999, &[9]).unwrap(), 1)),
        ("a write near", |file| assert_eq!(file.write_at(700, &[9]).unwrap(), 1)),
        ("allocate", |file| file.allocate(AllocateMode::Extend, 0, 9000).unwrap()),
        ("zero range", |file| file.allocate(AllocateMode::ZeroRange, 8000, 1000).unwrap()),
    ];
    for make in MAKES {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        let file = short::file(&*fs, "f", &[1; 100]).unwrap();
        let other = short::file(&*fs, "g", &[1; 100]).unwrap();
        fs.sync().unwrap();
        assert_eq!(file.write_at(100, &[0xee; 900]).unwrap(), 900);
        // The data of both reaches the disk, the first one's size does not.
        other.write_at(0, &[2]).unwrap();
        other.sync(SyncKind::Data).unwrap();
        for (way, grow) in ways {
            let fs = mount(cut_off(&disk));
            let file = short::open(&*fs, "f").unwrap();
            assert_eq!(file.attr().unwrap().size, 100);
            grow(&*file);
            // What a second power cut finds is no different.
            fs.sync().unwrap();
            let content = short::read(&*fs, "f").unwrap();
            assert!(content[..100] == [1; 100] && content.len() > 700, "{make:?}, {way}");
            let lost = content[100..].iter().filter(|&&byte| byte == 0xee).count();
            assert_eq!(lost, 0, "{make:?}, {way}: bytes behind the end came back");
        }
    }
}

/// A file of 8,192 bytes and, behind a hole, 4,096 that have no place yet; its map is in the inode, so that it is content that cannot be
/// read.
fn of_unread_blocks(disk: &Arc<FaultDisk>, fs: &ext4::Ext4) -> Arc<dyn FileOps> {
    let file = short::file(fs, "f", &pattern(0, 8192)).unwrap();
    fs.sync().unwrap();
    fs.cache().drop_clean();
    assert_eq!(file.write_at(16384, &pattern(16384, 4096)).unwrap(), 4096);
    disk.set(Fault::ReadsAfter(0));
    file
}

#[test]
fn a_cut_that_fails_for_its_last_block_loses_nothing() {
    // Without a journal the rest of the block is made zero at once.
    let disk = Arc::new(FaultDisk::new(Make::Mkfs(&["-O", "^has_journal"]).disk(16 * MIB)));
    let fs = mount(disk.clone());
    let file = of_unread_blocks(&disk, &fs);
    assert_eq!(file.set_len(5000).unwrap_err(), Errno::EIO);
    disk.clear();
    assert_eq!(file.attr().unwrap().size, 20480);
    let mut found = vec![0; 4096];
    assert_eq!(file.read_at(16384, &mut found).unwrap(), 4096);
    assert!(found == pattern(16384, 4096), "what has no place yet is still there");
}

#[test]
fn a_cut_needs_not_read_its_last_block_but_growth_does() {
    let disk = Arc::new(FaultDisk::new(DEFAULT.disk(16 * MIB)));
    let fs = mount(disk.clone());
    let file = of_unread_blocks(&disk, &fs);
    file.set_len(5000).unwrap();
    fs.sync().unwrap();
    assert_eq!(file.set_len(9000).unwrap_err(), Errno::EIO);
    disk.clear();
    assert_eq!(file.attr().unwrap().size, 5000);
    file.set_len(9000).unwrap();
    assert_eq!(short::read(&*fs, "f").unwrap(), [&pattern(0, 5000)[..], &[0; 4000]].concat());
    assert!(!fs.is_read_only());
}
