//! One to six bytes of metadata are not what they were.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use block::MemoryDisk;
use contract::random::Random;
use ext4::{Ext4, MountMode};
use vfs::{AllocateMode, DeviceNumber, FileSystem, NewKind, SetAttr, Victim};

use crate::common::disk::{DEFAULT, MIB, Make, OLD, Scratch, load, mkfs_file};
use crate::common::linux::{Mount, may_mount};
use crate::common::raw::{Raw, group, sb};
use crate::common::{mount, number, short};
use crate::exercise::{MOUNTED, exercise};
use crate::limits::within_limits;

/// What all files hold: such blocks are no metadata.
const FILL: u8 = 0x5a;

/// A bit of everything.
pub fn populate(fs: &Ext4) {
    let root = short::root(fs);
    root.file("file", vec![FILL; 20_000]).unwrap();
    let deep = root.file("deep", "").unwrap();
    for at in 0..500 {
        deep.put(at * 8192, vec![FILL; 1024]).unwrap();
    }
    let reserved = root.file("reserved", vec![FILL; 9000]).unwrap();
    reserved.allocate(AllocateMode::Extend, 9000, 60_000).unwrap();
    let dir = root.mkdir("dir").unwrap();
    for number in 0..12 {
        let sub = dir.mkdir(format!("sub{number}")).unwrap();
        sub.file("inner", vec![FILL; 1000 * number]).unwrap();
        sub.link("again", &sub.at("inner").unwrap()).unwrap();
    }
    let crowd = root.mkdir("crowd").unwrap();
    for number in 0..150 {
        crowd.file(format!("{number} {}", "c".repeat(number)), "").unwrap();
    }
    root.make("fast", NewKind::Symlink(b"dir/sub1/inner")).unwrap();
    root.make("slow", NewKind::Symlink(&[b's'; 300])).unwrap();
    root.make("device", NewKind::CharDevice(DeviceNumber::new(300, 70_000))).unwrap();
    root.make("block", NewKind::BlockDevice(DeviceNumber::new(8, 1))).unwrap();
    root.make("fifo", NewKind::Fifo).unwrap();
    dir.as_upper().unwrap().whiteout(vfs::Name::new(b"white").unwrap(), Victim::Absent).unwrap();
    for (path, len) in [("file", 30), ("dir", 200), ("crowd", 600), ("slow", 20), ("device", 100)] {
        short::set_xattr(fs, path, "trusted.x", &vec![1; len]).unwrap();
        short::set_xattr(fs, path, "trusted.overlay.opaque", b"y").unwrap();
    }
    short::at(fs, "dir").unwrap().ops().set_attr(&SetAttr { mode: Some(0o2775), ..SetAttr::default() }).unwrap();
}

fn populated(make: Make) -> Raw {
    let disk = make.disk(12 * MIB);
    let fs = mount(disk.clone());
    populate(&fs);
    fs.unmount().unwrap();
    Raw::of(&disk)
}

/// An image with a journal to be replayed, made by Linux.
fn left_by_linux() -> Raw {
    let scratch = Scratch::new();
    let (image, copy) = (scratch.join("image"), scratch.join("copy"));
    mkfs_file(&["-b", "1024", "-I", "256"], 12 * MIB, &image);
    let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
    for round in 0..3 {
        let dir = linux.join(&format!("d{round}"));
        std::fs::create_dir(&dir).unwrap();
        for number in 0..60 {
            std::fs::write(dir.join(format!("{number}")), vec![FILL; number * 10]).unwrap();
        }
        if round > 0 {
            std::fs::remove_dir_all(linux.join(&format!("d{}", round - 1))).unwrap();
        }
        linux.sync();
    }
    std::fs::copy(&image, &copy).unwrap();
    linux.unmount();
    Raw::of(&load(&copy))
}

/// Places of one kind of metadata.
type Class = Vec<std::ops::Range<usize>>;

/// Places of metadata, by what it is: a class is chosen first, so that small ones are met as often as large ones.
pub fn places(raw: &Raw) -> Vec<Class> {
    let size = raw.block_size;
    let whole = |block: u32| raw.block(block)..raw.block(block) + size;
    let superblock: Class = std::iter::once(sb::AT..sb::AT + 0x280).collect();
    let descriptors: Class = std::iter::once(raw.group(0)..raw.group(raw.groups)).collect();
    let mut bitmaps = Vec::new();
    let mut tables = Vec::new();
    let mut taken = std::collections::HashSet::new();
    for number in 0..raw.groups {
        let at = raw.group(number);
        for field in [group::BLOCK_BITMAP, group::INODE_BITMAP] {
            bitmaps.push(whole(raw.u32(at + field)));
            taken.insert(raw.u32(at + field) as usize);
        }
        let table = raw.u32(at + group::INODE_TABLE);
        for index in 0..raw.inodes_per_group as usize {
            let record = raw.block(table) + index * raw.inode_size;
            taken.insert(record / size);
            if raw.bytes[record..record + raw.inode_size].iter().any(|&byte| byte != 0) {
                tables.push(record..record + raw.inode_size);
            }
        }
    }
    let journal_blocks = raw.u32(raw.inode(8) + 4) as usize / size;
    let journal: Class = (0..journal_blocks)
        .map(|logical| raw.file_block(8, logical as u32))
        .inspect(|&block| {
            taken.insert(block as usize);
        })
        .filter(|&block| raw.bytes[whole(block)].iter().any(|&byte| byte != 0))
        .map(whole)
        .collect();
    let first = (raw.group(raw.groups)).div_ceil(size);
    let others = (first..raw.bytes.len() / size)
        .filter(|block| !taken.contains(block))
        .map(|block| block * size..(block + 1) * size)
        .filter(|range| {
            let bytes = &raw.bytes[range.clone()];
            bytes.iter().any(|&byte| byte != 0) && !bytes.iter().all(|&byte| byte == FILL || byte == 0)
        })
        .collect();
    let mut classes = vec![superblock.clone(), descriptors, bitmaps, tables.clone(), tables, others];
    classes.push(if journal.is_empty() { superblock.clone() } else { journal });
    classes
}

fn flip(raw: &mut Raw, places: &[Class], random: &mut Random) {
    let fixed = random.one_in(3).then(|| random.pick(places).clone());
    for _ in 0..=random.below(6) {
        let class = match &fixed {
            Some(class) => class,
            None => random.pick(places),
        };
        let range = random.pick(class);
        // Headers are met more often than what follows.
        let len = if random.one_in(2) { range.len().min(64) } else { range.len() };
        let at = range.start + random.below(len as u64) as usize;
        raw.bytes[at] = match random.below(5) {
            0 => 0,
            1 => 0xff,
            2 => raw.bytes[at] ^ 1 << random.below(8),
            3 => raw.bytes[at].wrapping_add(1),
            _ => random.next() as u8,
        };
    }
}

/// `count` images of one base.
fn run(what: &'static str, base: &Raw, count: u64) {
    let places = places(base);
    let seeds = match std::env::var("STRATA_SEED") {
        Ok(_) => number("STRATA_SEED", 0)..number("STRATA_SEED", 0) + 1,
        Err(_) => 0..number("STRATA_IMAGES", count),
    };
    let all = seeds.end - seeds.start;
    let before = MOUNTED.load(Ordering::Relaxed);
    for seed in seeds {
        let mut random = Random::new(seed ^ 0x686f_7374_696c_6500);
        let mut raw = base.clone();
        flip(&mut raw, &places, &mut random);
        let disk = raw.disk();
        let name = format!("{what}, STRATA_SEED={seed}");
        within_limits(&name, move || judge(&disk, &raw, &mut random));
    }
    let mounted = MOUNTED.load(Ordering::Relaxed) - before;
    assert!(mounted * 4 > all || all < 20, "{what}: only {mounted} mounts of {all} images");
}

fn judge(disk: &Arc<MemoryDisk>, raw: &Raw, random: &mut Random) {
    if random.one_in(4) {
        exercise(disk, MountMode::ReadOnly, random);
        let replayed = raw.u32(sb::INCOMPAT) & 4 != 0;
        assert!(replayed || disk.to_image() == raw.bytes, "a read-only mount wrote");
    } else {
        exercise(disk, MountMode::ReadWrite, random);
        if random.one_in(3) {
            exercise(disk, MountMode::ReadWrite, random);
        }
    }
}

static OLD_BASE: OnceLock<Raw> = OnceLock::new();

/// The image without checksums.
pub fn old_base() -> &'static Raw {
    OLD_BASE.get_or_init(|| populated(OLD))
}

static LARGE_BASE: OnceLock<Raw> = OnceLock::new();

/// The image of large blocks and inodes without checksums.
pub fn large_base() -> &'static Raw {
    LARGE_BASE.get_or_init(|| populated(Make::Mkfs(&["-b", "4096", "-I", "256", "-O", "^metadata_csum"])))
}

#[test]
fn images_with_checksums_and_flipped_bytes_give_errors() {
    run("checksums", &populated(DEFAULT), 500);
}

#[test]
fn images_without_checksums_and_with_flipped_bytes_give_errors() {
    run("no checksums", old_base(), 600);
}

#[test]
fn images_of_large_blocks_without_checksums_and_with_flipped_bytes_give_errors() {
    run("4k, no checksums", large_base(), 500);
}

#[test]
fn images_with_a_journal_to_replay_and_flipped_bytes_give_errors() {
    if may_mount("flipped bytes in a journal of Linux's") {
        run("journal", &left_by_linux(), 400);
    }
}
