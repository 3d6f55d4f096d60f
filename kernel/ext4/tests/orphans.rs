//! Orphans that Linux left, with ext3's block maps.

mod common;

use std::fs;
use std::sync::Arc;

use block::MemoryDisk;
use common::disk::{MIB, Scratch, arg, assert_clean, load, mkfs_file, run_ok};
use common::raw::{Raw, inode, sb};
use common::{mount, mount_read_only, short};
use contract::dsl::pattern;
use vfs::FileSystem;

const BLOCK: usize = 1024;
/// Pointers in a block.
const PER_BLOCK: usize = BLOCK / 4;

/// An image with files in block maps, made by `mkfs.ext4`.
fn image(scratch: &Scratch, bytes: u64, files: &[(&str, usize)]) -> Arc<MemoryDisk> {
    let tree = scratch.join("tree");
    fs::create_dir(&tree).unwrap();
    for (name, blocks) in files {
        fs::write(tree.join(name), pattern(blocks.to_owned() as u64 + 1, blocks * BLOCK)).unwrap();
    }
    let file = scratch.join("image");
    let options = "^extents,^64bit,^metadata_csum,^flex_bg,^orphan_file";
    mkfs_file(&["-b", "1024", "-I", "128", "-N", "400", "-O", options, "-d", arg(&tree)], bytes, &file);
    // Files keep their maps, and the filesystem is one that is written.
    run_ok("tune2fs", &["-O", "extents", arg(&file)]);
    load(&file)
}

/// Takes names away, and nothing else.
fn unlink(scratch: &Scratch, names: &[&str]) {
    let file = scratch.join("image");
    for name in names {
        run_ok("debugfs", &["-w", "-R", &format!("unlink /{name}"), arg(&file)]);
    }
}

/// What is free when the files are gone that have no names, and the others have `blocks` less.
fn counts(fs: &dyn FileSystem) -> (u64, u64) {
    fs.sync().unwrap();
    let stat = fs.statfs().unwrap();
    (stat.blocks_free, stat.files_free)
}

/// Puts inodes on the list of orphans.
fn chain(raw: &mut Raw, inos: &[u64]) {
    raw.put32(sb::LAST_ORPHAN, inos[0] as u32);
    for (index, &ino) in inos.iter().enumerate() {
        let at = raw.inode(ino) + inode::DTIME;
        raw.put32(at, inos.get(index + 1).map_or(0, |&next| next as u32));
    }
}

/// Each pointer leads elsewhere than behind the one before: as many pieces as blocks.
fn scatter(raw: &mut Raw, ino: u64) {
    let double = raw.u32(raw.inode(ino) + inode::BLOCK + 13 * 4);
    for index in 0..PER_BLOCK {
        let leaf = raw.u32(raw.block(double) + index * 4);
        if leaf == 0 {
            continue;
        }
        let at = raw.block(leaf);
        let pointers: Vec<u32> = (0..PER_BLOCK).map(|index| raw.u32(at + index * 4)).filter(|&p| p != 0).collect();
        for (index, pointer) in pointers.iter().rev().enumerate() {
            raw.put32(at + index * 4, *pointer);
        }
    }
}

#[test]
fn orphans_of_ext3_are_freed_and_cut_whatever_their_size_and_their_pieces() {
    let scratch = Scratch::new();
    // The first reaches into the triple indirect blocks, and has more pieces than 65,536.
    let files = [("gone", 66_500), ("cut", 2_000), ("behind", 300), ("cut inside", 9), ("kept", 40)];
    let disk = image(&scratch, 110 * MIB, &files);
    let numbers = {
        let fs = mount_read_only(disk);
        files.map(|(name, _)| short::at(&*fs, name).unwrap().id().ino)
    };
    unlink(&scratch, &["gone", "behind"]);
    let mut raw = Raw::of(&load(&scratch.join("image")));
    let [gone, cut, behind, inside, _] = numbers;
    scatter(&mut raw, gone);
    for ino in [gone, behind] {
        let at = raw.inode(ino);
        raw.put16(at + inode::LINKS, 0);
    }
    // As Linux's truncate leaves them: the size is set, the blocks are not freed yet.
    for (ino, size) in [(gone, 0), (cut, 20 * BLOCK + 3), (behind, 5), (inside, BLOCK)] {
        let at = raw.inode(ino);
        raw.put32(at + inode::SIZE, size as u32);
    }
    chain(&mut raw, &[gone, cut, behind, inside]);
    let disk = raw.disk();
    let before = {
        let fs = mount_read_only(disk.clone());
        let stat = fs.statfs().unwrap();
        (stat.blocks_free, stat.files_free)
    };
    let fs = mount(disk.clone());
    assert!(!fs.is_read_only());
    let after = counts(&*fs);
    assert_eq!(after.1, before.1 + 2);
    // Data alone; blocks of pointers come on top.
    let data = 66_500 + (2_000 - 21) + 300 + (9 - 1);
    assert!(after.0 >= before.0 + data && after.0 < before.0 + data + 300, "{after:?} after {before:?}");
    assert!(short::read(&*fs, "cut").unwrap() == pattern(2_001, 20 * BLOCK + 3));
    assert!(short::read(&*fs, "cut inside").unwrap() == pattern(10, BLOCK));
    assert!(short::read(&*fs, "kept").unwrap() == pattern(41, 40 * BLOCK));
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "after the orphans");
}
