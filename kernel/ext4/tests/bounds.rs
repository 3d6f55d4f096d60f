//! To the format's bounds: links, subdirectories, depth of trees, sizes, values; and tables that hold garbage.

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use block::{CountingDisk, MemoryDisk};
use common::disk::{DEFAULT, MIB, Make, OLD, Scratch, arg, assert_clean, load, recover_file, run_ok, store};
use common::linux::{Mount, may_mount};
use common::snapshot::{assert_same, of_fs, of_linux};
use common::{disk, mount, mount_read_only, short};
use contract::dsl::pattern;
use contract::random::Random;
use ext4::{FormatOptions, format};
use vfs::{Errno, FileSystem, NewKind, XattrMode};

#[test]
fn a_file_has_65_000_names_and_no_more() {
    let make = Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum"]);
    let disk = make.disk(16 * MIB);
    let fs = mount(disk.clone());
    let dir = short::root(&*fs).mkdir("d").unwrap();
    let node = dir.file("0", "").unwrap().node();
    for number in 1..65_000 {
        dir.link(format!("{number}"), &node).unwrap();
    }
    let refused = dir.link("one too many", &node);
    assert_eq!(refused.unwrap_err().errno(), Errno::EMLINK);
    assert_eq!(node.attr().unwrap().nlink, 65_000);
    for number in 0..10 {
        dir.unlink(format!("{number}")).unwrap();
    }
    drop((dir, node));
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "65,000 names");
}

#[test]
fn a_directory_with_more_than_65_000_subdirectories_counts_one_link() {
    let make = Make::Mkfs(&["-b", "1024", "-I", "128", "-N", "66000"]);
    let disk = make.disk(96 * MIB);
    let fs = mount(disk.clone());
    let dir = short::root(&*fs).mkdir("d").unwrap();
    for number in 0..65_200 {
        dir.mkdir(format!("{number}")).unwrap();
        if number == 64_990 {
            assert_eq!(dir.attr().unwrap().nlink, 64_993);
        }
    }
    assert_eq!(dir.attr().unwrap().nlink, 1);
    fs.sync().unwrap();
    assert_recovers(&disk, "65,200 subdirectories");
    for number in 0..65_200 {
        dir.rmdir(format!("{number}")).unwrap();
    }
    short::root(&*fs).rmdir("d").unwrap();
    drop(dir);
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "65,200 subdirectories removed");
}

#[test]
fn without_dir_nlink_the_65_000th_subdirectory_is_refused() {
    let make = Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^dir_nlink", "-N", "66000"]);
    let disk = make.disk(96 * MIB);
    let fs = mount(disk.clone());
    let dir = short::root(&*fs).mkdir("d").unwrap();
    let mut number = 0;
    let refused = loop {
        match dir.mkdir(format!("{number}")) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.errno(), dir.attr().unwrap().nlink), (Errno::EMLINK, 65_000));
    assert_eq!(number, 64_998);
    drop(dir);
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, "64,998 subdirectories");
}

/// What is on a disk that is still mounted: some of it in the log alone, which `e2fsck` replays on a copy.
fn assert_recovers(disk: &MemoryDisk, what: &str) {
    let scratch = Scratch::new();
    let image = scratch.join("image");
    store(disk, &image);
    recover_file(&image).unwrap_or_else(|text| panic!("{what}: {text}"));
}

#[test]
fn an_extent_tree_grows_deep_and_shrinks() {
    for make in [DEFAULT, OLD] {
        let disk = make.disk(96 * MIB);
        let fs = mount(disk.clone());
        let before = fs.statfs().unwrap();
        let file = short::root(&*fs).file("f", "").unwrap();
        let block = u64::from(before.block_size);
        // Alone each, in random order, so that nodes split everywhere.
        let count = 12_000_u64;
        let mut order: Vec<u64> = (0..count).collect();
        let mut random = Random::new(9);
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at as u64 + 1) as usize);
        }
        for &number in &order {
            file.put(number * 2 * block, number.to_le_bytes()).unwrap();
        }
        for number in (0..count).step_by(37) {
            assert_eq!(file.get(number * 2 * block, 8).unwrap(), number.to_le_bytes());
        }
        fs.sync().unwrap();
        assert_recovers(&disk, "deep");
        // Holes again, here and there; then filled, so that extents merge; then cut piece by piece.
        for &number in &order[..4000] {
            file.allocate(vfs::AllocateMode::PunchHole, number * 2 * block, block).unwrap();
        }
        fs.sync().unwrap();
        assert_recovers(&disk, "deep, with holes");
        for number in 0..4000 {
            file.put((number * 2 + 1) * block, [1]).unwrap();
        }
        fs.sync().unwrap();
        assert_recovers(&disk, "deep, filled");
        for part in (0..8).rev() {
            file.set_len(count * block / 4 * part + part).unwrap();
            fs.sync().unwrap();
            assert_recovers(&disk, "deep, cut");
        }
        short::unlink(&*fs, "f").unwrap();
        drop(file);
        fs.sync().unwrap();
        assert_eq!(fs.statfs().unwrap().blocks_free, before.blocks_free);
        fs.unmount().unwrap();
    }
}

#[test]
fn files_end_where_block_numbers_do() {
    for (make, blocks) in [(DEFAULT, 1_u64 << 32), (OLD, 1 << 32)] {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        let size = u64::from(fs.statfs().unwrap().block_size);
        let file = short::root(&*fs).file("f", "").unwrap();
        // Linux's own bound: the last block number is kept free.
        let end = (blocks - 1) * size;
        assert_eq!(file.set_len(end + 1).unwrap_err().errno(), Errno::EFBIG);
        assert_eq!(file.write_at(end, b"x").unwrap_err().errno(), Errno::EFBIG);
        file.put(end - 3, "end").unwrap();
        assert_eq!(file.write_at(end - 2, b"longer").unwrap(), 2);
        assert_eq!(file.size().unwrap(), end);
        assert_eq!(file.seek_data(1).unwrap(), Some(end - size));
        drop(file);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, "a file of the largest size");
        let fs = mount(disk.clone());
        assert_eq!(short::root(&*fs).open("f").unwrap().get(end - 3, 3).unwrap(), b"elo");
        short::unlink(&*fs, "f").unwrap();
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, "and it is gone");
    }
}

#[test]
fn attributes_fill_inode_and_block_and_no_more() {
    for make in [DEFAULT, OLD] {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        let file = short::root(&*fs).file("f", "").unwrap();
        let mut kept = 0;
        let refused = loop {
            match file.set_xattr(format!("user.{kept}").as_bytes(), &pattern(kept * 8, 40), XattrMode::Create) {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
            assert!(kept < 1000);
        };
        assert_eq!(refused.errno(), Errno::ENOSPC);
        let block = u64::from(fs.statfs().unwrap().block_size);
        assert!(kept * 70 > block, "{kept} attributes in blocks of {block} bytes");
        for number in 0..kept {
            let value = file.xattr(format!("user.{number}").as_bytes()).unwrap();
            assert_eq!(value, Some(pattern(number * 8, 40)));
        }
        fs.sync().unwrap();
        assert_recovers(&disk, "full of attributes");
        for number in (0..kept).rev() {
            file.remove_xattr(format!("user.{number}").as_bytes()).unwrap();
        }
        let blocks = file.attr().unwrap().blocks;
        assert_eq!(blocks, 0, "the block of the attributes is given back");
        drop(file);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, "without attributes");
    }
}

/// `bg_flags`: the inode table is zeroed.
const ITABLE_ZEROED: u16 = 4;

/// Where the inode tables of an image are, in blocks, and the flags of their groups.
fn tables(image: &Path) -> Vec<(Range<u64>, u16)> {
    let mut found = Vec::new();
    let mut flags = 0;
    for line in run_ok("dumpe2fs", &[arg(image)]).lines() {
        if line.starts_with("Group ") {
            let names = [("INODE_UNINIT", 1), ("BLOCK_UNINIT", 2), ("ITABLE_ZEROED", ITABLE_ZEROED)];
            flags = names.iter().filter(|(name, _)| line.contains(name)).map(|(_, flag)| flag).sum();
        } else if let Some(place) = line.trim().strip_prefix("Inode table at ") {
            let (first, last) = place.split([' ', ',']).next().unwrap().split_once('-').unwrap();
            found.push((first.parse().unwrap()..last.parse::<u64>().unwrap() + 1, flags));
        }
    }
    found
}

/// Zeroes the tables of every other group and says so, as Linux's thread has when it is interrupted.
fn half_initialise(image: &Path, block: u64, scratch: &Scratch) {
    let file = OpenOptions::new().write(true).open(image).unwrap();
    let mut commands = String::new();
    for (group, (table, flags)) in tables(image).into_iter().enumerate().skip(1).step_by(2) {
        file.write_all_at(&vec![0; ((table.end - table.start) * block) as usize], table.start * block).unwrap();
        let flags = flags | ITABLE_ZEROED;
        commands += &format!("set_bg {group} flags {flags}\nset_bg {group} checksum calc\n");
    }
    // In one session: with a wrong checksum in between, debugfs would not open the image again.
    let script = scratch.join("commands");
    std::fs::write(&script, commands).unwrap();
    run_ok("debugfs", &["-w", "-f", arg(&script), arg(image)]);
    assert!(tables(image).iter().skip(1).step_by(2).all(|(_, flags)| flags & ITABLE_ZEROED != 0));
}

#[test]
fn a_large_disk_is_formatted_with_little_to_write() {
    let memory = Arc::new(MemoryDisk::new(20 << 30));
    let disk = CountingDisk::new(memory.clone());
    format(&disk, &FormatOptions::new([7; 32], common::now())).unwrap();
    let counts = disk.take();
    println!("20 GiB: {} bytes in {} writes", counts.bytes_written, counts.writes);
    assert!(counts.bytes_written < 2 << 20, "{counts:?}");
    let scratch = Scratch::new();
    let image = scratch.join("image");
    disk::store(&memory, &image);
    let initialised = tables(&image).iter().filter(|(_, flags)| flags & ITABLE_ZEROED != 0).count();
    assert_eq!((tables(&image).len(), initialised), (160, 0));
    disk::fsck_file(&image).unwrap();
}

#[test]
fn inode_tables_that_were_never_zeroed_are_used() {
    let makes = [&["-b", "4096"][..], &["-b", "1024"], &["-b", "1024", "-O", "^metadata_csum,uninit_bg"]];
    // With large blocks there is one group alone.
    let halves = makes.into_iter().skip(1).map(|args| (args, true));
    for (args, half) in makes.into_iter().map(|args| (args, false)).chain(halves) {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        let garbage = pattern(3, 1 << 20);
        let mut file = File::create(&image).unwrap();
        for _ in 0..48 {
            file.write_all(&garbage).unwrap();
        }
        drop(file);
        let mut all = vec!["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", "-N", "9000"];
        all.extend_from_slice(args);
        all.push(arg(&image));
        run_ok("mkfs.ext4", &all);
        if half {
            half_initialise(&image, args[1].parse().unwrap(), &scratch);
            disk::fsck_file(&image).unwrap();
        }
        let disk = load(&image);
        let fs = mount(disk.clone());
        let root = short::root(&*fs);
        for number in 0..60 {
            let dir = root.mkdir(format!("d{number}")).unwrap();
            for inner in 0..100_u64 {
                dir.file(format!("{inner}"), pattern(inner, 30)).unwrap();
            }
            dir.make("link", NewKind::Symlink(b"short")).unwrap();
            dir.make("fifo", NewKind::Fifo).unwrap();
        }
        let sparse = root.file("sparse", "").unwrap();
        sparse.set_len(100_000).unwrap();
        sparse.put(50_000, "x").unwrap();
        sparse.allocate(vfs::AllocateMode::Extend, 200_000, 300_000).unwrap();
        let content = sparse.content().unwrap();
        let zeros = content.iter().enumerate().all(|(at, &byte)| byte == 0 || at == 50_000);
        assert!(zeros, "what was never written reads as zeros");
        let expected = of_fs(&*fs).unwrap();
        assert!(expected.values().all(|entry| entry.xattrs.is_empty()), "attributes came from nowhere");
        drop((root, sparse));
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{args:?}"));
        assert_same(&of_fs(&*mount_read_only(disk.clone())).unwrap(), &expected, "mounted again");
        if may_mount("a tree in tables of garbage") {
            disk::store(&disk, &image);
            let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
            assert_same(&of_linux(linux.path()), &expected, "seen by Linux");
            linux.unmount();
        }
    }
}
