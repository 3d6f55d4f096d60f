//! One to six bytes of metadata are not what they were.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use block::MemoryDisk;
use contract::random::Random;
use ext4::MountMode;
use vfs::FileSystem;

use crate::common::disk::{DEFAULT, MIB, Make, OLD, Scratch, load, mkfs_file};
use crate::common::linux::{Mount, may_mount};
use crate::common::raw::{Raw, sb};
use crate::common::{mount, number};
use crate::exercise::{MOUNTED, exercise};
use crate::limits::within_limits;
use crate::populate::{Class, FILL, places, populate};

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
