//! What is large: a directory whose index has two levels, extent trees up to the deepest that are allowed. Linux and `e2fsck` read it.
//!
//! `STRATA_NAMES` says how many names a directory gets, `STRATA_EXTENTS` how many pieces a file.

mod common;

use std::collections::HashSet;
use std::sync::Arc;

use block::MemoryDisk;
use common::disk::{self, MIB, Make, OLD, Scratch, arg, fsck_file, run};
use common::linux::{Mount, may_mount};
use common::raw::{Raw, inode};
use common::{mount, number, short};
use contract::dsl::pattern;
use ext4::Ext4;
use vfs::{AllocateMode, FileSystem, StatFs};

/// What a command of `debugfs` prints about an image.
fn debugfs(command: &str, disk: &MemoryDisk) -> String {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    disk::store(disk, &image);
    String::from_utf8_lossy(&run("debugfs", &["-R", command, arg(&image)]).stdout).into_owned()
}

fn free(fs: &Ext4) -> (u64, u64) {
    fs.sync().unwrap();
    let StatFs { blocks_free, files_free, .. } = fs.statfs().unwrap();
    (blocks_free, files_free)
}

fn name(number: u64) -> String {
    // Of many lengths, so that leaves are split in many ways.
    format!("{number:x} {}", "n".repeat((number % 40) as usize))
}

/// A directory of so many names on a disk: made, looked up, listed, seen by Linux, emptied.
fn crowd(make: Make, bytes: u64, names: u64) {
    let disk = make.disk(bytes);
    let fs = mount(disk.clone());
    let before = free(&fs);
    let root = short::root(&*fs);
    let dir = root.mkdir("d").unwrap();
    for number in 0..names {
        dir.file(name(number), "").unwrap_or_else(|error| panic!("{make:?}, name {number}: {error:?}"));
    }
    let check = |fs: &Ext4| {
        let dir = short::root(fs).dir("d").unwrap();
        let listed: HashSet<Vec<u8>> = dir.list().unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(listed.len() as u64, names, "{make:?}: names that are listed");
        for number in 0..names {
            assert!(listed.contains(name(number).as_bytes()), "{make:?}: {number} is not listed");
            dir.at(name(number)).unwrap_or_else(|error| panic!("{make:?}: {number} is not found: {error:?}"));
        }
        dir.absent(name(names)).unwrap();
    };
    check(&fs);
    drop((root, dir));
    fs.unmount().unwrap();
    drop(fs);

    let scratch = Scratch::new();
    let image = scratch.join("image");
    disk::store(&disk, &image);
    fsck_file(&image).unwrap_or_else(|text| panic!("{make:?}, {names} names: {text}"));
    let index = String::from_utf8_lossy(&run("debugfs", &["-R", "htree_dump /d", arg(&image)]).stdout).into_owned();
    let levels = index.lines().find(|line| line.contains("Indirect levels")).unwrap_or("no levels");
    assert!(levels.trim_end().ends_with('1'), "{make:?}, {names} names: two levels were wanted: {levels}");
    if may_mount("a large directory seen by Linux") {
        let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
        assert_eq!(std::fs::read_dir(linux.join("d")).unwrap().count() as u64, names);
        for number in (0..names).step_by(97) {
            assert!(linux.join("d").join(name(number)).exists(), "{make:?}: Linux does not find {number}");
        }
        linux.unmount();
    }
    drop(scratch);

    let fs = mount(disk.clone());
    check(&fs);
    let root = short::root(&*fs);
    let dir = root.dir("d").unwrap();
    // In another order than they were made.
    let step = 7919;
    for index in 0..names {
        dir.unlink(name(index * step % names)).unwrap_or_else(|error| panic!("{make:?}, {index}: {error:?}"));
    }
    assert!(dir.list().unwrap().is_empty());
    drop(dir);
    root.rmdir("d").unwrap();
    assert_eq!(free(&fs), before, "{make:?}: free blocks and inodes");
    drop(root);
    fs.unmount().unwrap();
    drop(fs);
    disk::assert_clean(&disk, &format!("{make:?}, emptied"));
}

#[test]
fn a_directory_whose_index_has_two_levels_is_made_read_and_emptied() {
    let names = number("STRATA_NAMES", 12_000);
    assert!(!names.is_multiple_of(7919), "the order of removal needs another number");
    if names <= 30_000 {
        crowd(Make::Mkfs(&["-b", "1024", "-I", "128", "-N", "32768"]), 128 * MIB, names);
    } else {
        // Two levels of blocks of 1 KiB hold 177,000 to 186,000 of these names, by the seed of their hash, and on Linux as well.
        crowd(Make::Mkfs(&["-b", "1024", "-I", "128", "-N", "262144"]), 1024 * MIB, names.min(170_000));
        crowd(Make::Mkfs(&["-b", "4096", "-I", "256", "-N", "1048576"]), 2048 * MIB, names);
    }
}

/// The depth of the extent tree of a file in the root, as `debugfs` tells it.
fn depth(disk: &MemoryDisk, file: &str) -> u32 {
    let text = debugfs(&format!("dump_extents -n /{file}"), disk);
    // Lines are "level/ depth", the first two numbers of each.
    let line = text.lines().find(|line| line.trim_start().starts_with("0/")).unwrap_or("");
    let depth = line.split('/').nth(1).and_then(|rest| rest.split_whitespace().next());
    depth.and_then(|depth| depth.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_file_of_many_pieces_has_a_deep_tree_that_linux_reads() {
    // 340 blocks of a tree of 84 entries each are more than two levels hold.
    let pieces = number("STRATA_EXTENTS", 29_000);
    let size = 1024;
    // Small inodes in every group take a thirtieth of the disk.
    let data = pieces * 2 * size;
    let disk = OLD.disk((data + data / 8 + 64 * MIB).next_multiple_of(MIB));
    let fs = mount(disk.clone());
    let before = free(&fs);
    let file = short::file(&*fs, "f", b"").unwrap();
    file.allocate(AllocateMode::Extend, 0, pieces * 2 * size).unwrap();
    for piece in 0..pieces {
        // First every fourth block, then those between, so that nodes split in their middle.
        let half = pieces.div_ceil(2);
        let place = if piece < half { piece * 2 } else { (piece - half) * 2 + 1 };
        file.allocate(AllocateMode::PunchHole, place * 2 * size, size).unwrap();
    }
    for place in (0..pieces).step_by(500) {
        file.write_at((place * 2 + 1) * size, &pattern(place, size as usize)).unwrap();
    }
    drop(file);
    fs.unmount().unwrap();
    drop(fs);
    let wanted = if pieces > 2_400_000 { 4 } else { 3 };
    assert!(depth(&disk, "f") >= wanted, "{pieces} pieces: a tree of depth {}", depth(&disk, "f"));
    read_by_all(&disk, "f", pieces * 2 * size, pieces, &format!("{pieces} pieces"));

    let fs = mount(disk.clone());
    let file = short::open(&*fs, "f").unwrap();
    for place in (0..pieces).step_by(500) {
        let mut found = vec![0; size as usize];
        assert_eq!(file.read_at((place * 2 + 1) * size, &mut found).unwrap(), size as usize);
        assert!(found == pattern(place, size as usize), "piece {place}");
    }
    file.set_len(pieces * size).unwrap();
    file.allocate(AllocateMode::PunchHole, 0, pieces * size / 2).unwrap();
    fs.sync().unwrap();
    drop(file);
    short::unlink(&*fs, "f").unwrap();
    assert_eq!(free(&fs), before, "free blocks and inodes");
    fs.unmount().unwrap();
    drop(fs);
    disk::assert_clean(&disk, "emptied");
}

/// `e2fsck` calls the image clean, and Linux reads in a file what we wrote at every 500th piece.
fn read_by_all(disk: &MemoryDisk, file: &str, len: u64, pieces: u64, what: &str) {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    disk::store(disk, &image);
    fsck_file(&image).unwrap_or_else(|text| panic!("{what}: {text}"));
    if !may_mount("a deep extent tree read by Linux") {
        return;
    }
    let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
    let file = std::fs::File::open(linux.join(file)).unwrap();
    assert_eq!(file.metadata().unwrap().len(), len);
    for place in (0..pieces).step_by(500) {
        let mut found = vec![0; 1024];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, (place * 2 + 1) * 1024).unwrap();
        assert!(found == pattern(place, 1024), "{what}: Linux reads piece {place}");
    }
    drop(file);
    linux.unmount();
}

/// Puts nodes of one entry above the leaf of a file until its tree has the depth of 5. The blocks are those of another file, which
/// is removed before by hand: its inode's links and extents go, its blocks stay taken.
fn deepen(raw: &mut Raw, file: u64, spare: &[u32]) {
    let root = raw.inode(file) + inode::BLOCK;
    let start = raw.u32(root + 12 + 4);
    let logical = raw.u32(root + 12);
    let old = raw.u16(root + 6);
    assert_eq!(raw.u16(root + 2), 1, "the root has one child");
    let mut child = start;
    let mut depth = old;
    for block in spare {
        // A node above `child`.
        let at = raw.block(*block);
        let size = raw.block_size;
        raw.bytes[at..at + size].fill(0);
        raw.put16(at, 0xf30a);
        raw.put16(at + 2, 1);
        raw.put16(at + 4, 84);
        raw.put16(at + 6, depth);
        raw.put32(at + 12, logical);
        raw.put32(at + 16, child);
        child = *block;
        depth += 1;
    }
    raw.put16(root + 6, depth);
    raw.put32(root + 16, child);
}

#[test]
fn a_tree_of_the_deepest_kind_is_read_changed_and_removed() {
    const PIECES: u64 = 60;
    let disk = OLD.disk(16 * MIB);
    let fs = mount(disk.clone());
    let before = free(&fs);
    let file = short::file(&*fs, "f", b"").unwrap();
    for place in 0..PIECES {
        file.write_at((place * 2 + 1) * 1024, &pattern(place, 1024)).unwrap();
    }
    // A tree of one level below the root, and four blocks that become nodes.
    let spare = short::file(&*fs, "spare", &[7; 4096]).unwrap();
    fs.sync().unwrap();
    let (ino, spare_ino) = (file.attr().unwrap().ino, spare.attr().unwrap().ino);
    drop((file, spare));
    fs.unmount().unwrap();
    drop(fs);
    let mut raw = Raw::of(&disk);
    assert_eq!(raw.u16(raw.inode(ino) + inode::BLOCK + 6), 1, "the tree has one level");
    let blocks: Vec<u32> = (0..4).map(|logical| raw.file_block(spare_ino, logical)).collect();
    deepen(&mut raw, ino, &blocks);
    // They are this file's now: a file's blocks count in sectors.
    let count = raw.u32(raw.inode(ino) + inode::BLOCKS) + 8;
    let at = raw.inode(ino) + inode::BLOCKS;
    raw.put32(at, count);
    let at = raw.inode(spare_ino);
    raw.put32(at + inode::BLOCKS, 0);
    raw.put32(at + inode::SIZE, 0);
    raw.put16(at + inode::BLOCK + 2, 0);
    raw.bytes[at + inode::BLOCK + 12..at + inode::BLOCK + 60].fill(0);
    let disk: Arc<MemoryDisk> = raw.disk();
    assert_eq!(depth(&disk, "f"), 5);

    let len = PIECES * 2 * 1024;
    let image_of = |what: &str, disk: &MemoryDisk| {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        disk::store(disk, &image);
        fsck_file(&image).unwrap_or_else(|text| panic!("{what}: {text}"));
        if may_mount("the deepest extent tree read by Linux") {
            let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
            let theirs = std::fs::read(linux.join("f")).unwrap();
            linux.unmount();
            let ours = short::read(&*common::mount_read_only(Arc::new(disk.snapshot())), "f").unwrap();
            assert!(ours == theirs, "{what}: Linux reads another file");
        }
    };
    image_of("as made", &disk);
    let fs = mount(disk.clone());
    let file = short::open(&*fs, "f").unwrap();
    for place in 0..PIECES {
        let mut found = vec![0; 1024];
        file.read_at((place * 2 + 1) * 1024, &mut found).unwrap();
        assert!(found == pattern(place, 1024), "piece {place}");
    }
    assert_eq!(file.attr().unwrap().size, len);
    // Leaves and nodes split, all the way down.
    for place in 0..2_000_u64 {
        file.write_at(len + place * 2048 + 1024, &pattern(place, 1024)).unwrap();
        if place % 100 == 99 {
            fs.sync().unwrap();
        }
    }
    fs.sync().unwrap();
    for place in 0..2_000_u64 {
        let mut found = vec![0; 1024];
        file.read_at(len + place * 2048 + 1024, &mut found).unwrap();
        assert!(found == pattern(place, 1024), "piece {place} behind");
    }
    file.allocate(AllocateMode::PunchHole, 40_000, 1_000_000).unwrap();
    drop(file);
    fs.unmount().unwrap();
    drop(fs);
    assert_eq!(depth(&disk, "f"), 5);
    image_of("changed", &disk);
    let fs = mount(disk.clone());
    short::unlink(&*fs, "f").unwrap();
    short::unlink(&*fs, "spare").unwrap();
    assert_eq!(free(&fs), before, "free blocks and inodes");
    fs.unmount().unwrap();
    drop(fs);
    disk::assert_clean(&disk, "removed");
}
