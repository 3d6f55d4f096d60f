//! File data between its write and its place on the disk.

mod common;

use std::sync::Arc;

use block::{BlockDevice, CountingDisk, Fault, FaultDisk, MemoryDisk};
use common::disk::{DEFAULT, MIB, Make, OLD, Scratch, arg, assert_clean, run_ok, store};
use common::{context, mount, number, short};
use contract::dsl::pattern;
use contract::random::Random;
use ext4::{Ext4, MountOptions};
use vfs::{AllocateMode, Errno, FileSystem, NewKind, SyncKind, sync_and_tell};

const MAKES: [Make; 3] = [DEFAULT, OLD, Make::Ours(2048, 256)];

fn mount_small(disk: Arc<dyn BlockDevice>, cache_bytes: usize) -> Arc<Ext4> {
    Ext4::mount(disk, context(), MountOptions { cache_bytes, ..MountOptions::default() }).expect("it is mounted")
}

/// The pieces that a file has on the disk, as `debugfs` tells them.
fn pieces(disk: &MemoryDisk, path: &str) -> usize {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(disk, &image);
    let text = run_ok("debugfs", &["-R", &format!("filefrag {path}"), arg(&image)]);
    let told = text.lines().find_map(|line| line.split_once(": ")?.1.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| panic!("debugfs: {text}"))
}

/// One file beside a model of it: what a call sees is the same at every moment, and so is what a remount sees.
#[test]
fn a_file_is_one_whether_its_data_has_a_place_or_not() {
    let ops = number("STRATA_OPS", 400);
    let seed = number("STRATA_SEED", 1);
    for make in MAKES {
        let disk = make.disk(24 * MIB);
        let mut fs = mount_small(disk.clone(), 2 << 20);
        let mut file = short::file(&*fs, "f", b"").unwrap();
        let mut model: Vec<u8> = Vec::new();
        let mut random = Random::new(seed);
        for op in 0..ops {
            let at = random.below(1 << 20);
            let most = *random.pick(&[10, 5_000, 70_000]);
            let len = 1 + random.below(most) as usize;
            let end = at as usize + len;
            match random.below(16) {
                0..8 => {
                    let data = pattern(at + op * 7, len);
                    assert_eq!(file.write_at(at, &data).unwrap(), len);
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&data);
                }
                8 => {
                    file.set_len(at).unwrap();
                    model.resize(at as usize, 0);
                }
                9 => {
                    let mode = *random.pick(&[AllocateMode::PunchHole, AllocateMode::ZeroRange]);
                    file.allocate(mode, at, len as u64).unwrap();
                    if mode == AllocateMode::ZeroRange {
                        model.resize(model.len().max(end), 0);
                    }
                    let gone = (at as usize).min(model.len())..end.min(model.len());
                    model[gone].fill(0);
                }
                10 => file.allocate(AllocateMode::KeepSize, at, len as u64).unwrap(),
                11 => {
                    // What is no zero is data.
                    let first = model[(at as usize).min(model.len())..].iter().position(|&byte| byte != 0);
                    let data = file.seek_data(at).unwrap();
                    if let Some(first) = first {
                        assert!(data.is_some_and(|data| data <= at + first as u64), "op {op}: {data:?}");
                    }
                }
                12 => file.sync(SyncKind::Data).unwrap(),
                13 if random.below(4) == 0 => {
                    drop(file);
                    fs.unmount().unwrap();
                    drop(fs);
                    fs = mount_small(disk.clone(), 2 << 20);
                    file = short::open(&*fs, "f").unwrap();
                }
                _ => {
                    let mut found = vec![0xa5; len];
                    let count = file.read_at(at, &mut found).unwrap();
                    let expected = &model[(at as usize).min(model.len())..end.min(model.len())];
                    assert!(found[..count] == *expected, "{make:?}, seed {seed}, op {op}: {len} bytes at {at}");
                }
            }
            assert_eq!(file.attr().unwrap().size, model.len() as u64, "{make:?}, seed {seed}, op {op}");
        }
        drop(file);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}"));
        assert!(short::read(&*mount(disk), "f").unwrap() == model, "{make:?}, seed {seed}");
    }
}

#[test]
fn files_that_grow_together_lie_in_one_piece_each() {
    let disk = DEFAULT.disk(64 * MIB);
    let fs = mount(disk.clone());
    let files = ["a", "b", "c"].map(|name| short::file(&*fs, name, b"").unwrap());
    for at in (0..MIB).step_by(4096) {
        for file in &files {
            assert_eq!(file.write_at(at, &pattern(at, 4096)).unwrap(), 4096);
        }
    }
    // Written backwards, too.
    let backwards = short::file(&*fs, "d", b"").unwrap();
    for at in (0..256).rev().map(|block| block * 4096) {
        backwards.write_at(at, &pattern(at, 4096)).unwrap();
    }
    drop((files, backwards));
    fs.unmount().unwrap();
    for name in ["/a", "/b", "/c", "/d"] {
        assert_eq!(pieces(&disk, name), 1, "{name}");
    }
}

#[test]
fn what_is_removed_before_a_commit_is_never_written() {
    let disk = Arc::new(CountingDisk::new(DEFAULT.disk(64 * MIB)));
    let fs = mount(disk.clone());
    fs.sync().unwrap();
    let free = fs.statfs().unwrap().blocks_free;
    disk.take();
    let file = short::file(&*fs, "f", &pattern(0, 4 << 20)).unwrap();
    assert_eq!(fs.statfs().unwrap().blocks_free, free - 1024);
    assert_eq!(file.attr().unwrap().blocks, 8192);
    file.set_len(MIB).unwrap();
    assert_eq!((fs.statfs().unwrap().blocks_free, file.attr().unwrap().blocks), (free - 256, 2048));
    // Without a name it is there as long as somebody has it.
    short::unlink(&*fs, "f").unwrap();
    let mut found = vec![0; MIB as usize];
    assert_eq!(file.read_at(0, &mut found).unwrap(), found.len());
    assert!(found == pattern(0, MIB as usize));
    drop(file);
    fs.sync().unwrap();
    assert_eq!(fs.statfs().unwrap().blocks_free, free);
    let counts = disk.take();
    assert!(counts.bytes_written < 256 << 10, "{counts:?}");
}

#[test]
fn an_open_file_without_a_name_gets_its_place_and_gives_it_back() {
    let disk = DEFAULT.disk(32 * MIB);
    let fs = mount(disk.clone());
    fs.sync().unwrap();
    let free = fs.statfs().unwrap().blocks_free;
    let node = fs.root().create_unnamed(&vfs::NewNode::new(NewKind::File, 0o600)).unwrap();
    let file = node.as_file().unwrap().clone();
    file.write_at(0, &pattern(0, 100_000)).unwrap();
    file.sync(SyncKind::All).unwrap();
    file.write_at(100_000, &pattern(100_000, 50_000)).unwrap();
    let mut found = vec![0; 150_000];
    assert_eq!(file.read_at(0, &mut found).unwrap(), found.len());
    assert!(found == pattern(0, 150_000));
    drop((node, file));
    fs.unmount().unwrap();
    assert_eq!(fs.statfs().unwrap().blocks_free, free);
    drop(fs);
    assert_clean(&disk, "after an unnamed file");
}

/// Every block alone, so that the trees need the most nodes, on a disk that gets full: what a write took is there.
#[test]
fn a_write_that_was_taken_has_its_space() {
    for make in MAKES {
        let disk = make.disk(12 * MIB);
        let fs = mount(disk.clone());
        let size = u64::from(fs.statfs().unwrap().block_size);
        let mut random = Random::new(number("STRATA_SEED", 2));
        let files: Vec<_> = (0..6).map(|n| short::file(&*fs, &format!("{n}"), b"").unwrap()).collect();
        let mut taken: Vec<(usize, u64)> = Vec::new();
        let mut refused = 0;
        while refused < 20 {
            let which = random.below(6) as usize;
            let at = random.below(60_000) * 2 * size;
            if taken.contains(&(which, at)) {
                continue;
            }
            match files[which].write_at(at, &pattern(at + which as u64, size as usize)) {
                Ok(len) => {
                    assert_eq!(len as u64, size);
                    taken.push((which, at));
                }
                Err(error) => {
                    assert_eq!(error, Errno::ENOSPC);
                    refused += 1;
                }
            }
        }
        drop(files);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}"));
        let fs = mount(disk);
        assert!(taken.len() as u64 * size > 5 * MIB, "{make:?}: {} blocks", taken.len());
        for (which, at) in taken {
            let mut found = vec![0; size as usize];
            short::open(&*fs, &format!("{which}")).unwrap().read_at(at, &mut found).unwrap();
            assert!(found == pattern(at + which as u64, size as usize), "{make:?}: {which} at {at}");
        }
    }
}

#[test]
fn memory_stays_near_its_limit_while_much_is_written() {
    const LIMIT: usize = 2 << 20;
    let disk = Arc::new(CountingDisk::new(DEFAULT.disk(96 * MIB)));
    let fs = mount_small(disk.clone(), LIMIT);
    let file = short::file(&*fs, "f", b"").unwrap();
    let chunk = pattern(0, 1 << 20);
    let mut most = 0;
    for at in 0..32 {
        assert_eq!(file.write_at(at * MIB, &chunk).unwrap(), chunk.len());
        most = most.max(fs.cache().bytes());
    }
    assert!(most <= 2 * LIMIT, "{most} bytes");
    fs.sync().unwrap();
    let counts = disk.take();
    assert!(counts.bytes_written < 34 * MIB, "each byte is written about once: {counts:?}");
    assert!(counts.bytes_written / counts.writes >= 64 << 10, "{counts:?}");
}

#[test]
fn memory_stays_near_its_limit_while_a_little_of_each_part_is_changed() {
    const LIMIT: usize = 2 << 20;
    let disk = DEFAULT.disk(96 * MIB);
    let fs = mount(disk.clone());
    short::file(&*fs, "f", &pattern(0, 32 << 20)).unwrap();
    fs.unmount().unwrap();
    drop(fs);
    let fs = mount_small(disk, LIMIT);
    let file = short::open(&*fs, "f").unwrap();
    let mut buf = vec![0; 128 << 10];
    let mut most = 0;
    for at in (0..32 * MIB).step_by(buf.len()) {
        assert_eq!(file.read_at(at, &mut buf).unwrap(), buf.len());
        file.write_at(at, b"changed").unwrap();
        most = most.max(fs.cache().bytes());
    }
    assert!(most <= 2 * LIMIT, "{most} bytes");
}

#[test]
fn a_large_disk_does_not_commit_because_it_is_large() {
    let disk = Arc::new(CountingDisk::new(Make::Ours(4096, 256).disk(64 << 30)));
    let fs = mount_small(disk.clone(), 4 << 20);
    let file = short::file(&*fs, "f", b"").unwrap();
    fs.sync().unwrap();
    disk.take();
    for at in (0..MIB).step_by(4096) {
        file.write_at(at, &pattern(at, 4096)).unwrap();
    }
    let counts = disk.take();
    assert_eq!((counts.writes, counts.flushes), (0, 0), "{counts:?}");
}

#[test]
fn blocks_that_are_wholly_overwritten_are_not_read() {
    let disk = DEFAULT.disk(32 * MIB);
    let fs = mount(disk.clone());
    short::file(&*fs, "f", &pattern(0, 1 << 20)).unwrap();
    fs.unmount().unwrap();
    drop(fs);
    let counting = Arc::new(CountingDisk::new(disk));
    let fs = mount(counting.clone());
    let file = short::open(&*fs, "f").unwrap();
    counting.take();
    file.write_at(4096, &pattern(9, 500_000)).unwrap();
    // The last one is covered in part.
    assert_eq!(counting.take().bytes_read, 4096);
    file.write_at(2 << 20, &pattern(9, 5_000)).unwrap();
    assert_eq!(counting.take().bytes_read, 0, "what was a hole is not read");
}

#[test]
fn data_that_can_have_no_place_is_told_by_fsync_once() {
    let disk = Arc::new(FaultDisk::new(DEFAULT.disk(32 * MIB)));
    let fs = mount(disk.clone());
    let file = short::file(&*fs, "f", b"").unwrap();
    let other = short::file(&*fs, "g", b"").unwrap();
    fs.sync().unwrap();
    fs.cache().drop_clean();
    assert_eq!(file.write_at(0, &pattern(0, 10_000)).unwrap(), 10_000);
    // No bitmap of blocks can be read any more.
    disk.set(Fault::ReadsAfter(0));
    let [told, others] = [&file, &other].map(|file| file.write_errors().expect("it keeps them").sample());
    assert_eq!(sync_and_tell(&*file, SyncKind::All, &told).unwrap_err(), Errno::EIO);
    disk.clear();
    assert_eq!(sync_and_tell(&*other, SyncKind::All, &others), Ok(()));
    assert_eq!(sync_and_tell(&*file, SyncKind::All, &told), Ok(()));
    assert!(fs.is_read_only());
    assert_eq!(file.write_at(0, b"more").unwrap_err(), Errno::EROFS);
}

/// Every leaf of a large tree is full, and one block into each of them splits them all: there is a place for the nodes of
/// whatever was taken, and room for them in the log.
#[test]
fn blocks_into_many_full_leaves_have_their_places_on_a_disk_nearly_full() {
    const SIZE: u64 = 1024;
    /// As many leaves as a leaf has extents.
    const EXTENTS: u64 = 84 * 84;
    for spare in [120, 190, 260] {
        let disk = OLD.disk(16 * MIB);
        let fs = mount(disk.clone());
        let file = short::file(&*fs, "f", b"").unwrap();
        let filler = short::file(&*fs, "filler", b"").unwrap();
        let reserve = short::file(&*fs, "reserve", b"").unwrap();
        reserve.allocate(AllocateMode::Extend, 0, spare * SIZE).unwrap();
        for number in 0..EXTENTS {
            let at = number * 2 * SIZE;
            assert_eq!(file.write_at(at, &pattern(at, SIZE as usize)).unwrap() as u64, SIZE);
        }
        fs.sync().unwrap();
        while filler.append(&[7; SIZE as usize]).is_ok_and(|(_, len)| len as u64 == SIZE) {}
        fs.sync().unwrap();
        reserve.set_len(0).unwrap();
        fs.sync().unwrap();
        let mut taken = Vec::new();
        for leaf in 0..EXTENTS / 84 {
            let at = (leaf * 84 + 60) * 2 * SIZE + SIZE;
            match file.write_at(at, &pattern(at, SIZE as usize)) {
                Ok(len) => {
                    assert_eq!(len as u64, SIZE);
                    taken.push(at);
                }
                Err(error) => assert_eq!(error, Errno::ENOSPC),
            }
        }
        assert!(taken.len() > 40, "{spare} blocks: {} taken", taken.len());
        assert_eq!(file.sync(SyncKind::All), Ok(()), "{spare} blocks");
        drop((file, filler, reserve));
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{spare} blocks"));
        let fs = mount(disk);
        let file = short::open(&*fs, "f").unwrap();
        for at in taken {
            let mut found = vec![0; SIZE as usize];
            file.read_at(at, &mut found).unwrap();
            assert!(found == pattern(at, SIZE as usize), "{spare} blocks: at {at}");
        }
    }
}
