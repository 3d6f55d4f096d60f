//! Where inodes are put, and what the disk is told of free space.

mod common;

use std::sync::{Arc, Mutex};

use block::{BlockDevice, Capabilities, Io, MemoryDisk};
use common::disk::{DEFAULT, MIB, assert_clean};
use common::{context, mount, mount_read_only, short};
use contract::dsl::pattern;
use ext4::{Ext4, MountOptions};
use vfs::{Errno, FileSystem, Result, Trim};

/// A disk that knows what it was told to forget, in bytes.
struct Discards {
    disk: Arc<MemoryDisk>,
    told: Mutex<Vec<(u64, u64)>>,
}

impl Discards {
    fn new(disk: Arc<MemoryDisk>) -> Arc<Self> {
        Arc::new(Self { disk, told: Mutex::new(Vec::new()) })
    }

    fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut *self.told.lock().expect("no test panics here"))
    }
}

impl BlockDevice for Discards {
    fn capabilities(&self) -> Capabilities {
        Capabilities { discard: true, ..self.disk.capabilities() }
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.disk.transfer(batch)
    }

    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        // What was there is not only forgotten, it is wrong from now on.
        self.disk.write(sector, &vec![0xdb; sectors as usize * 512])?;
        self.told.lock().expect("no test panics here").push((sector * 512, sectors * 512));
        Ok(())
    }
}

const ALL: Trim = Trim { start: 0, len: u64::MAX, least: 0 };

#[test]
fn free_space_is_discarded_and_nothing_else() {
    let memory = DEFAULT.disk(200 * MIB);
    let disk = Discards::new(memory.clone());
    let fs = mount(disk.clone());
    for number in 0..20_u64 {
        short::file(&*fs, &format!("{number}"), &pattern(number, 300_000)).unwrap();
    }
    fs.sync().unwrap();
    for number in (0..20).step_by(2) {
        short::unlink(&*fs, &format!("{number}")).unwrap();
    }
    // What is free on the disk only after the next commit is left alone: a crash would bring the files back.
    let early = fs.trim(ALL).unwrap();
    disk.take();
    fs.sync().unwrap();
    let trimmed = fs.trim(ALL).unwrap();
    assert!(trimmed >= early + 10 * 299_008, "{early} bytes, then {trimmed}");
    assert_eq!(disk.take().iter().map(|&(_, len)| len).sum::<u64>(), trimmed);
    let large = fs.trim(Trim { least: 2 * MIB, ..ALL }).unwrap();
    assert!(large < trimmed && disk.take().iter().all(|&(_, len)| len >= 2 * MIB));
    fs.trim(Trim { start: 100 * MIB, len: 10 * MIB, least: 0 }).unwrap();
    let told = disk.take();
    assert!(told.iter().all(|&(at, len)| at >= 100 * MIB && at + len <= 110 * MIB) && !told.is_empty(), "{told:?}");
    // Read again from the disk.
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&memory, "after a trim");
    let fs = mount(memory);
    for number in (1..20_u64).step_by(2) {
        assert!(short::read(&*fs, &format!("{number}")).unwrap() == pattern(number, 300_000), "{number}");
    }
    // What was discarded is given out again.
    short::file(&*fs, "new", &pattern(7, 20 << 20)).unwrap();
    fs.sync().unwrap();
    assert!(short::read(&*fs, "new").unwrap() == pattern(7, 20 << 20));
}

#[test]
fn what_a_commit_freed_is_discarded_after_it_and_nothing_else() {
    for option in ["discard", "nodiscard"] {
        let memory = DEFAULT.disk(64 * MIB);
        let disk = Discards::new(memory.clone());
        let options = MountOptions::default().with(option.as_bytes()).unwrap();
        let fs = Ext4::mount(disk.clone(), context(), options).unwrap();
        for number in 0..20_u64 {
            short::file(&*fs, &format!("{number}"), &pattern(number, 300_000)).unwrap();
        }
        fs.sync().unwrap();
        assert!(disk.take().is_empty(), "{option}: nothing was freed");
        for number in 5..15 {
            short::unlink(&*fs, &format!("{number}")).unwrap();
        }
        assert!(disk.take().is_empty(), "{option}: a crash would bring the files back");
        fs.sync().unwrap();
        let told = disk.take();
        let bytes: u64 = told.iter().map(|&(_, len)| len).sum();
        if option == "discard" {
            assert_eq!(bytes, 10 * 303_104, "{told:?}");
            assert!(told.len() <= 3, "neighbours go together: {told:?}");
        } else {
            assert!(told.is_empty());
        }
        short::file(&*fs, "new", &pattern(77, 5_000_000)).unwrap();
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&memory, "after discards");
        let fs = mount(memory);
        for number in (0..5_u64).chain(15..20) {
            assert!(short::read(&*fs, &format!("{number}")).unwrap() == pattern(number, 300_000), "{number}");
        }
        assert!(short::read(&*fs, "new").unwrap() == pattern(77, 5_000_000));
    }
}

#[test]
fn an_impossible_trim_is_refused() {
    let disk = Discards::new(DEFAULT.disk(32 * MIB));
    let fs = mount(disk.clone());
    let refused = |trim| fs.trim(trim).map_err(|error| error.errno());
    assert_eq!(refused(Trim { start: 32 * MIB, ..ALL }), Err(Errno::EINVAL));
    assert_eq!(refused(Trim { len: 4095, ..ALL }), Err(Errno::EINVAL));
    assert_eq!(refused(Trim { least: u64::MAX, ..ALL }), Err(Errno::EINVAL));
    fs.unmount().unwrap();
    drop(fs);
    let fs = mount_read_only(disk.clone());
    assert_eq!(fs.trim(ALL).map_err(|error| error.errno()), Err(Errno::EROFS));
    assert!(disk.take().is_empty());
}

#[test]
fn directories_at_the_top_are_spread_and_what_is_in_them_stays_near() {
    let disk = DEFAULT.disk(1024 * MIB);
    let fs = mount(disk.clone());
    let statfs = fs.statfs().unwrap();
    let groups = 8;
    let per_group = statfs.files / groups;
    let group_of = |path: &str| (short::at(&*fs, path).unwrap().ops().id().ino - 1) / per_group;
    let mut used = std::collections::BTreeSet::new();
    for top in 0..groups {
        let path = format!("top{top}");
        short::mkdir(&*fs, &path).unwrap();
        let group = group_of(&path);
        used.insert(group);
        for below in 0..20 {
            short::mkdir(&*fs, &format!("{path}/d{below}")).unwrap();
            short::file(&*fs, &format!("{path}/f{below}"), b"x").unwrap();
            assert_eq!(group_of(&format!("{path}/d{below}")), group);
            assert_eq!(group_of(&format!("{path}/f{below}")), group);
        }
    }
    assert!(used.len() >= 6, "{used:?}");
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "directories over all groups");
}
