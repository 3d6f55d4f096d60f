//! The same random operations on our ext4 and on Linux's, which must answer alike; then Linux mounts our image and finds
//! the tree that it has in its own, and `e2fsck` finds nothing in either.
//!
//! The images have 20 GiB, nearly all of it holes. `STRATA_SEED` replays, `STRATA_OPS` and `STRATA_SEEDS` (how many seeds for each way to
//! make a filesystem) scale, `STRATA_SHOW=1` shows every operation.
#![expect(unreachable_pub, reason = "the modules of a test have no outside")]

#[path = "../common/mod.rs"]
mod common;
mod generate;
mod linux;
mod op;
mod ours;

use common::disk::{self, Make, Scratch};
use common::linux::{Mount, may_mount};
use common::number;
use common::snapshot::{Tree, assert_same, of_fs, of_linux};
use generate::Generator;
use op::{Answer, World, show};
use ours::Ours;

/// Linux's clock ran later than this, ours between the two; explicit times keep out of all that.
const OUR_CLOCK: std::ops::Range<i64> = 1_000_000_000..1_100_000_000;
const LINUX_CLOCK: std::ops::Range<i64> = 1_700_000_000..2_200_000_000;

/// The disk's, in bytes: most of its groups are never touched, many block numbers need more than 22 bits.
const SIZE: u64 = 20 << 30;

/// Makes equal what may differ: the time of a change is known only to have been taken from the clock; whiteouts may share
/// an inode, and then take no group from the directory.
fn normalize(mut tree: Tree) -> Tree {
    for (path, entry) in &mut tree {
        for time in [&mut entry.atime, &mut entry.mtime] {
            if OUR_CLOCK.contains(&time.secs) || LINUX_CLOCK.contains(&time.secs) {
                *time = vfs::Timestamp::EPOCH;
            }
        }
        if entry.kind() == vfs::FileType::CharDevice && entry.rdev == (0, 0) {
            (entry.nlink, entry.gid) = (1, 0);
            entry.first.clone_from(path);
        }
    }
    tree
}

fn run(make: Make, seed: u64, ops: u64) {
    let name = format!("{make:?}, STRATA_SEED={seed} STRATA_OPS={ops}");
    let scratch = Scratch::new();
    let disk = make.disk(SIZE);
    let theirs = scratch.join("linux.img");
    disk::store(&disk, &theirs);
    let small_inodes = disk::inode_size(&disk) == 128;

    // Without Linux's thread that writes zeros over all inode tables.
    let mount = Mount::new(&theirs, scratch.join("linux"), "noatime,noinit_itable");
    let mut linux = linux::Linux::new(mount.path());
    let mut ours = Ours::new(disk.clone());
    let mut generator = Generator::new(seed, small_inodes);
    let mut counts = [0_u64; 2];
    for number in 0..ops {
        let op = generator.next();
        let (expected, found) = (linux.apply(&op), ours.apply(&op));
        if std::env::var_os("STRATA_SHOW").is_some() {
            eprintln!("{number} {}: {expected:?}", show(&op));
        }
        counts[usize::from(matches!(expected, Answer::Errno(_)))] += 1;
        assert!(found == expected, "op {number} {}: {found:?} instead of {expected:?}\n{name}", show(&op));
        generator.learn(&op, &expected);
        if number % 700 == 699 {
            linux.release();
            ours.remount();
            generator.released();
        }
        if number % 400 == 399 {
            let found =
                normalize(of_fs(&*ours.fs).unwrap_or_else(|error| panic!("{error:?} after op {number}, {name}")));
            assert_same(&found, &normalize(of_linux(mount.path())), &format!("after op {number}, {name}"));
        }
    }
    assert!(counts[0] > ops / 2 && counts[1] > ops / 100, "{counts:?} operations succeeded and failed");
    linux.release();
    let last = normalize(of_fs(&*ours.fs).expect("our tree is read"));
    ours.unmount();
    mount.unmount();

    let our_image = scratch.join("ours.img");
    disk::store(&disk, &our_image);
    disk::fsck_file(&theirs).unwrap_or_else(|text| panic!("Linux's image, {name}: {text}"));
    disk::fsck_file(&our_image).unwrap_or_else(|text| panic!("our image, {name}: {text}"));
    let theirs = Mount::new(&theirs, scratch.join("linux"), "ro,noatime");
    let expected = normalize(of_linux(theirs.path()));
    let seen = Mount::new(&our_image, scratch.join("seen"), "ro,noatime");
    assert_same(&normalize(of_linux(seen.path())), &expected, &format!("our image seen by Linux, {name}"));
    assert_same(&last, &expected, &format!("our image seen by us, {name}"));
    theirs.unmount();
    seen.unmount();
}

fn configuration(make: Make, index: u64) {
    if !may_mount("the random trace against Linux") {
        return;
    }
    let ops = number("STRATA_OPS", 1_500);
    if std::env::var_os("STRATA_SEED").is_some() {
        return run(make, number("STRATA_SEED", 1), ops);
    }
    for round in 0..number("STRATA_SEEDS", 1) {
        // Every seed is another trace.
        run(make, 1 + index + 100 * round, ops);
    }
}

#[test]
fn linux_agrees_on_blocks_of_1k_and_inodes_of_128_bytes() {
    configuration(Make::Mkfs(&["-b", "1024", "-I", "128", "-N", "65536"]), 0);
}

#[test]
fn linux_agrees_on_blocks_of_1k_and_inodes_of_256_bytes() {
    configuration(Make::Mkfs(&["-b", "1024", "-I", "256", "-N", "65536"]), 5);
}

#[test]
fn linux_agrees_on_blocks_of_2k_and_inodes_of_128_bytes() {
    configuration(Make::Mkfs(&["-b", "2048", "-I", "128", "-N", "65536"]), 6);
}

#[test]
fn linux_agrees_on_blocks_of_2k_and_inodes_of_256_bytes() {
    configuration(Make::Mkfs(&["-b", "2048", "-I", "256", "-N", "65536"]), 1);
}

#[test]
fn linux_agrees_on_blocks_of_4k_and_inodes_of_128_bytes() {
    configuration(Make::Mkfs(&["-b", "4096", "-I", "128", "-N", "65536"]), 7);
}

#[test]
fn linux_agrees_on_blocks_of_4k_and_inodes_of_256_bytes() {
    configuration(Make::Mkfs(&["-b", "4096", "-I", "256", "-N", "65536"]), 2);
}

#[test]
fn linux_agrees_on_what_we_format() {
    configuration(Make::Ours(4096, 256), 3);
}

#[test]
fn linux_agrees_without_checksums_and_indexes() {
    configuration(Make::Mkfs(&["-b", "1024", "-I", "256", "-O", "^metadata_csum,^dir_index,^64bit", "-N", "65536"]), 4);
}
