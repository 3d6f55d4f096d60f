//! A full disk: the last block and the last inode are used, what fails fails wholly, all can be removed, and then the
//! counts are what they were.

mod common;

use std::sync::Arc;

use block::MemoryDisk;
use common::disk::{DEFAULT, MIB, Make, OLD, assert_clean};
use common::{mount, short};
use contract::dsl::pattern;
use ext4::Ext4;
use vfs::{Errno, FileSystem, NewKind, StatFs, XattrMode};

const MAKES: [Make; 3] = [Make::Ours(4096, 256), DEFAULT, OLD];

/// Free blocks and inodes, when everything that was deleted is given back.
fn free(fs: &Ext4) -> (u64, u64) {
    fs.sync().unwrap();
    let StatFs { blocks_free, files_free, .. } = fs.statfs().unwrap();
    (blocks_free, files_free)
}

/// Fills by `work` in a directory of its own, empties by `clear`, and looks whether all came back; then the disk is filled
/// again, unmounted full, judged, mounted, emptied, judged.
fn fill_and_empty(make: Make, bytes: u64, work: fn(&Ext4), clear: fn(&Ext4)) {
    let disk: Arc<MemoryDisk> = make.disk(bytes);
    let fs = mount(disk.clone());
    let before = free(&fs);
    for round in 0..2 {
        short::mkdir(&*fs, "d").unwrap();
        work(&fs);
        clear(&fs);
        short::rmdir(&*fs, "d").unwrap();
        assert_eq!(free(&fs), before, "{make:?}: free blocks and inodes after round {round}");
    }
    short::mkdir(&*fs, "d").unwrap();
    work(&fs);
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, &format!("{make:?}, full"));
    let fs = mount(disk.clone());
    clear(&fs);
    short::rmdir(&*fs, "d").unwrap();
    assert_eq!(free(&fs), before, "{make:?}: free blocks and inodes after a remount");
    fs.unmount().unwrap();
    drop(fs);
    assert_clean(&disk, &format!("{make:?}, emptied"));
}

/// Removes everything in `d`.
fn clear(fs: &Ext4) {
    let dir = short::root(fs).dir("d").unwrap();
    for entry in dir.list().unwrap() {
        let removed = if entry.kind == 4 { dir.rmdir(&entry.name) } else { dir.unlink(&entry.name) };
        removed.unwrap_or_else(|error| panic!("{}: {error:?}", entry.name.escape_ascii()));
    }
}

#[test]
fn files_fill_the_disk_to_its_last_block() {
    for make in MAKES {
        fill_and_empty(
            make,
            12 * MIB,
            |fs| {
                let dir = short::root(fs).dir("d").unwrap();
                let mut made = Vec::new();
                // Large ones first, then what still fits.
                'sizes: for (index, size) in [(0, 3 << 20), (1, 300_000), (2, 5_000), (3, 1)] {
                    for number in 0.. {
                        let name = format!("{index}-{number}");
                        let node = match dir.make(&name, NewKind::File) {
                            Ok(node) => node,
                            Err(error) if error == Errno::ENOSPC => break 'sizes,
                            Err(error) => panic!("{error:?}"),
                        };
                        let file = node.as_file().unwrap();
                        let data = pattern(number, size);
                        let mut at = 0;
                        while at < size {
                            match file.write_at(at as u64, &data[at..]) {
                                Ok(count) => at += count,
                                Err(error) if error == Errno::ENOSPC => break,
                                Err(error) => panic!("{error:?}"),
                            }
                        }
                        made.push((name, data, at));
                        if at < size {
                            break;
                        }
                    }
                }
                assert_eq!(fs.statfs().unwrap().blocks_free, 0, "no block is left unused");
                for (name, data, len) in &made {
                    dir.holds(name, &data[..*len]).unwrap();
                }
            },
            clear,
        );
    }
}

#[test]
fn empty_files_fill_the_disk_to_its_last_inode() {
    for make in MAKES {
        fill_and_empty(
            make,
            12 * MIB,
            |fs| {
                let dir = short::root(fs).dir("d").unwrap();
                let mut count = 0;
                loop {
                    let kind = match count % 4 {
                        0 => NewKind::File,
                        1 => NewKind::Fifo,
                        2 => NewKind::Symlink(b"short"),
                        _ => NewKind::CharDevice(vfs::DeviceNumber::new(0, 0)),
                    };
                    match dir.make(format!("an inode with the number {count}"), kind) {
                        Ok(_) => count += 1,
                        Err(error) if error == Errno::ENOSPC => break,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                assert_eq!(fs.statfs().unwrap().files_free, 0, "no inode is left unused");
                dir.absent(format!("an inode with the number {count}")).unwrap();
                assert_eq!(dir.list().unwrap().len(), count);
            },
            clear,
        );
    }
}

#[test]
fn directories_fill_the_disk() {
    for make in MAKES {
        fill_and_empty(
            make,
            10 * MIB,
            |fs| {
                let mut dir = short::root(fs).dir("d").unwrap();
                let nlink = dir.attr().unwrap().nlink;
                // Few blocks are left, so that it is these that run out.
                let filler = dir.file("filler", "").unwrap();
                let spare = fs.statfs().unwrap();
                let rest = spare.blocks_free.saturating_sub(600) * u64::from(spare.block_size);
                filler.allocate(vfs::AllocateMode::Extend, 0, rest).unwrap();
                let mut count = 0;
                loop {
                    match dir.mkdir(format!("{count}")) {
                        Ok(_) => count += 1,
                        Err(error) if error == Errno::ENOSPC => break,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                assert!(count > 20, "{count} directories");
                assert_eq!(dir.attr().unwrap().nlink, nlink + count);
                dir = short::root(fs).dir("d").unwrap();
                assert_eq!(dir.list().unwrap().len(), count as usize + 1);
            },
            clear,
        );
    }
}

#[test]
fn xattrs_fill_the_disk() {
    for make in MAKES {
        fill_and_empty(
            make,
            10 * MIB,
            |fs| {
                let dir = short::root(fs).dir("d").unwrap();
                let filler = dir.file("filler", "").unwrap();
                let spare = fs.statfs().unwrap();
                let rest = spare.blocks_free.saturating_sub(300) * u64::from(spare.block_size);
                filler.allocate(vfs::AllocateMode::Extend, 0, rest).unwrap();
                let size = spare.block_size as usize / 2;
                let mut kept = 0;
                let mut refused = 0;
                for number in 0..400_u64 {
                    let Ok(node) = dir.make(format!("{number}"), NewKind::File) else { break };
                    match node.ops().set_xattr(b"user.large", &pattern(number * 64, size), XattrMode::Set) {
                        Ok(()) => kept += 1,
                        Err(error) => {
                            assert_eq!(error.errno(), Errno::ENOSPC);
                            assert_eq!(node.ops().xattr(b"user.large").unwrap(), None);
                            refused += 1;
                        }
                    }
                }
                assert!(kept > 100 && refused > 0, "{kept} kept, {refused} refused");
                for number in 0..kept {
                    let node = dir.at(format!("{number}")).unwrap();
                    assert_eq!(node.ops().xattr(b"user.large").unwrap(), Some(pattern(number * 64, size)));
                }
            },
            clear,
        );
    }
}

#[test]
fn a_fragmented_disk_is_filled_and_emptied() {
    for make in MAKES {
        fill_and_empty(
            make,
            12 * MIB,
            |fs| {
                let dir = short::root(fs).dir("d").unwrap();
                let size = fs.statfs().unwrap().block_size as usize;
                let mut count = 0_u64;
                while let Ok(node) = dir.make(format!("{count}"), NewKind::File) {
                    if node.as_file().unwrap().write_at(0, &pattern(count, size)).is_err() {
                        break;
                    }
                    count += 1;
                }
                for number in (0..count).step_by(2) {
                    dir.unlink(format!("{number}")).unwrap();
                }
                // Each of its blocks lies alone: the extent tree needs blocks, too.
                let all = dir.make("all", NewKind::File).unwrap();
                let all = all.as_file().unwrap();
                let mut at = 0;
                loop {
                    match all.write_at(at, &pattern(at, size)) {
                        Ok(written) => at += written as u64,
                        Err(error) if error == Errno::ENOSPC => break,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                assert!(at >= count / 3 * size as u64, "{at} bytes in the gaps of {count} blocks");
                contract::dsl::File(all.clone()).holds(pattern(0, at as usize)).unwrap();
                for number in (1..count).step_by(2) {
                    dir.holds(format!("{number}"), pattern(number, size)).unwrap();
                }
            },
            clear,
        );
    }
}

#[test]
fn a_full_disk_refuses_wholly_and_keeps_what_it_has() {
    for make in MAKES {
        let disk = make.disk(10 * MIB);
        let fs = mount(disk.clone());
        let root = short::root(&*fs);
        root.file("kept", pattern(0, 20_000)).unwrap();
        let dir = root.mkdir("dir").unwrap();
        // Names that leave no room for one more in the directory's block.
        let size = u64::from(fs.statfs().unwrap().block_size);
        for number in 0..size / 128 + 2 {
            dir.file(format!("{number:0>100}"), "").unwrap();
        }
        let filler = root.file("filler", "").unwrap();
        while filler.append(&vec![7; 65536]).is_ok() {}
        let free = free(&fs);
        assert_eq!(free.0, 0);
        for number in 0..200 {
            let before = dir.list().unwrap();
            match dir.file(format!("{number:x<200}"), "") {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.errno(), Errno::ENOSPC);
                    assert_eq!(dir.list().unwrap(), before);
                    break;
                }
            }
            assert!(number < 199, "a directory grows on a full disk");
        }
        assert_eq!(root.mkdir("new").err().map(|error| error.errno()), Some(Errno::ENOSPC));
        let long = vec![b'l'; 500];
        let refused = root.make("long", NewKind::Symlink(&long));
        assert_eq!(refused.err().map(|error| error.errno()), Some(Errno::ENOSPC));
        assert!(root.at("new").is_err() && root.at("long").is_err());
        root.holds("kept", pattern(0, 20_000)).unwrap();
        // What takes no space still goes.
        root.mv("kept", "still kept").unwrap();
        root.unlink("filler").unwrap();
        drop(filler);
        root.mkdir("new").unwrap();
        drop((root, dir));
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}"));
    }
}
