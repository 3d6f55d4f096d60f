//! What an overlay asks of its upper layer: on the disk it is Linux's format; where the disk fails, it is done or not done.

mod common;

use std::sync::Arc;

use block::{BlockDevice, Fault, FaultDisk, MemoryDisk};
use common::disk::{self, DEFAULT, MIB, Make, OLD, Scratch, assert_clean};
use common::linux::{Mount, may_mount};
use common::snapshot::{Tree, difference, of_fs, of_linux};
use common::steps::{STEPS, prepare, upper};
use common::{mount, short};
use contract::dsl::pattern;
use ext4::Ext4;
use vfs::{Errno, FileSystem, FileType, Name, NewKind, NewNode, Victim};

const MAKES: [Make; 3] = [Make::Ours(4096, 256), DEFAULT, OLD];

/// A disk with what [`prepare`] makes.
fn prepared(make: Make) -> Arc<MemoryDisk> {
    let disk = make.disk(16 * MIB);
    let fs = mount(disk.clone());
    prepare(&fs).unwrap();
    fs.unmount().unwrap();
    disk
}

/// Without times: those of an operation that was tried twice differ.
fn tree(fs: &Ext4) -> Tree {
    let mut tree = of_fs(fs).unwrap_or_else(|error| panic!("the tree is not read: {error:?}"));
    for (path, entry) in &mut tree {
        (entry.atime, entry.mtime) = Default::default();
        if entry.kind() == FileType::CharDevice {
            entry.nlink = 1;
            entry.first.clone_from(path);
        }
    }
    tree
}

fn copy(disk: &MemoryDisk) -> Arc<MemoryDisk> {
    let copy = MemoryDisk::new(disk.capabilities().sectors * 512);
    disk.for_each_written(|at, data| copy.write(at / 512, data).unwrap());
    Arc::new(copy)
}

#[test]
fn every_step_leaves_what_linux_understands() {
    for make in MAKES {
        for (what, step) in STEPS {
            let disk = prepared(make);
            let fs = mount(disk.clone());
            step(&short::root(&*fs)).unwrap_or_else(|error| panic!("{make:?}: {what}: {error:?}"));
            let expected = tree(&fs);
            fs.unmount().unwrap();
            drop(fs);
            assert_clean(&disk, &format!("{make:?}: {what}"));
            let fs = mount(disk.clone());
            assert_eq!(difference(&tree(&fs), &expected), None, "{make:?}: {what}, mounted again");
        }
    }
}

#[test]
fn linux_sees_whiteouts_and_xattrs() {
    if !may_mount("Linux's view of an upper layer") {
        return;
    }
    for make in MAKES {
        let disk = prepared(make);
        let fs = mount(disk.clone());
        let root = short::root(&*fs);
        for (what, _) in STEPS {
            // One after the other, where the one before left what the next needs.
            let step = STEPS.iter().find(|(name, _)| name == what).unwrap().1;
            let _ = step(&root);
        }
        let expected = of_fs(&*fs).unwrap();
        drop(root);
        fs.unmount().unwrap();
        drop(fs);
        let scratch = Scratch::new();
        let image = scratch.join("image");
        disk::store(&disk, &image);
        disk::fsck_file(&image).unwrap();
        let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
        let seen = of_linux(linux.path());
        assert_eq!(difference(&seen, &expected), None, "{make:?}");
        let whiteouts =
            seen.values().filter(|entry| entry.kind() == FileType::CharDevice && entry.rdev == (0, 0)).count();
        assert!(whiteouts >= 3, "{whiteouts} whiteouts");
        linux.unmount();
    }
}

#[test]
fn a_disk_that_fails_to_read_leaves_each_step_done_or_not_done() {
    for make in [Make::Ours(4096, 256), OLD] {
        let disk = prepared(make);
        let before = tree(&mount(copy(&disk)));
        for (what, step) in STEPS {
            let fs = mount(copy(&disk));
            step(&short::root(&*fs)).unwrap();
            let after = tree(&fs);
            let mut failed = 0;
            for reads in 0.. {
                let faulty = Arc::new(FaultDisk::new(copy(&disk)));
                let fs = mount(faulty.clone());
                faulty.set(Fault::ReadsAfter(reads));
                let result = step(&short::root(&*fs));
                faulty.clear();
                let found = tree(&fs);
                match &result {
                    Ok(()) => assert_eq!(difference(&found, &after), None, "{make:?}: {what}, read {reads}: succeeded"),
                    Err(error) => {
                        assert!(
                            matches!(error.errno(), Errno::EIO | Errno::EROFS),
                            "{make:?}: {what}, read {reads}: {error:?}"
                        );
                        assert_eq!(difference(&found, &before), None, "{make:?}: {what}, read {reads}: failed");
                        failed += 1;
                    }
                }
                // Whatever it was, the filesystem ends without a panic, and what is there can be read.
                let _ = fs.unmount();
                if result.is_ok() {
                    break;
                }
                assert!(reads < 200, "{make:?}: {what} never succeeds");
            }
            assert!(failed > 0, "{make:?}: {what} reads nothing: the test is void");
        }
    }
}

#[test]
fn a_disk_that_fails_to_write_is_told_by_sync_and_takes_nothing_but_content() {
    for make in [Make::Ours(4096, 256), OLD] {
        let disk = prepared(make);
        for (what, step) in STEPS {
            for writes in [0, 1, 3, 6] {
                let below = copy(&disk);
                let faulty = Arc::new(FaultDisk::new(below.clone()));
                let fs = mount(faulty.clone());
                let before = tree(&fs);
                faulty.set(Fault::WritesAfter(writes));
                faulty.set(Fault::Flushes);
                let result = step(&short::root(&*fs));
                let state = tree(&fs);
                let synced = fs.sync();
                assert!(synced.is_err(), "{make:?}: {what}, write {writes}: sync promised what the disk refused");
                let kept = tree(&fs);
                assert_eq!(difference(&but_for_lost(&kept, &state), &state), None, "{make:?}: {what}, write {writes}");
                match result {
                    Ok(()) => assert!(difference(&state, &before).is_some(), "{make:?}: {what} changed nothing"),
                    Err(_) => assert_eq!(difference(&state, &before), None, "{make:?}: {what}, write {writes}"),
                }
                // Either it stops here, or nothing was lost: when the disk works again, all gets there.
                let stopped = fs.is_read_only();
                faulty.clear();
                let again = fs.sync().and(fs.unmount());
                assert!(stopped || again.is_ok(), "{make:?}: {what}, write {writes}: {again:?}");
                drop(fs);
                if !stopped {
                    assert_clean(&below, &format!("{make:?}: {what}, write {writes}, the disk works again"));
                    assert_eq!(difference(&tree(&mount(below)), &kept), None, "{make:?}: {what}, write {writes}");
                }
            }
        }
    }
}

/// A tree with the content that files had in `before` where it was lost, so that they read as zeros.
fn but_for_lost(tree: &Tree, before: &Tree) -> Tree {
    let mut tree = tree.clone();
    for (path, entry) in &mut tree {
        if entry.kind() == FileType::File && entry.content == 0 {
            entry.content = before.get(path).map_or(0, |entry| entry.content);
        }
    }
    tree
}

#[test]
fn a_full_disk_leaves_each_step_done_or_not_done() {
    for make in MAKES {
        for (what, step) in STEPS {
            for left in [0, 1, 2, 4, 5_u64] {
                let disk = prepared(make);
                let fs = mount(disk.clone());
                let root = short::root(&*fs);
                // All but `left` blocks are taken, in pieces that end where space does; or all inodes but one.
                let filler = root.file("filler", "").unwrap();
                let size = u64::from(fs.statfs().unwrap().block_size);
                if left == 5 {
                    let mut number = 0;
                    let many = root.mkdir("many").unwrap();
                    while many.file(format!("{number}"), "").is_ok() {
                        number += 1;
                    }
                } else {
                    let free = fs.statfs().unwrap().blocks_free.saturating_sub(left);
                    let mut at = 0;
                    while at < free * size {
                        match filler.write_at(at, &vec![7; (free * size - at).min(65536) as usize]) {
                            Ok(count) => at += count as u64,
                            Err(error) if error == Errno::ENOSPC => break,
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
                fs.sync().unwrap();
                let before = tree(&fs);
                let free = fs.statfs().unwrap();
                match step(&root) {
                    Ok(()) => assert!(difference(&tree(&fs), &before).is_some(), "{make:?}: {what} changed nothing"),
                    Err(error) => {
                        assert_eq!(error.errno(), Errno::ENOSPC, "{make:?}: {what}, {left} left");
                        assert_eq!(difference(&tree(&fs), &before), None, "{make:?}: {what}, {left} left: failed");
                        fs.sync().unwrap();
                        let now = fs.statfs().unwrap();
                        assert_eq!(
                            (now.blocks_free, now.files_free),
                            (free.blocks_free, free.files_free),
                            "{make:?}: {what}, {left} left: space is lost"
                        );
                    }
                }
                assert!(!fs.is_read_only(), "{make:?}: {what}, {left} left");
                drop((root, filler));
                fs.unmount().unwrap();
                drop(fs);
                assert_clean(&disk, &format!("{make:?}: {what}, {left} left"));
            }
        }
    }
}

#[test]
fn a_staged_node_that_is_never_published_leaves_nothing() {
    for make in MAKES {
        let disk = prepared(make);
        let fs = mount(disk.clone());
        let before = tree(&fs);
        let free = fs.statfs().unwrap();
        let dir = short::root(&*fs).dir("dir").unwrap();
        for kind in [NewKind::File, NewKind::Dir, NewKind::Symlink(&[b'x'; 300]), NewKind::Fifo] {
            let node = upper(&dir).stage(&NewNode::new(kind, 0o600)).unwrap();
            if let Ok(file) = node.as_file() {
                file.write_at(0, &pattern(0, 100_000)).unwrap();
            }
        }
        drop(dir);
        fs.sync().unwrap();
        let now = fs.statfs().unwrap();
        assert_eq!((now.blocks_free, now.files_free), (free.blocks_free, free.files_free), "{make:?}");
        assert_eq!(difference(&tree(&fs), &before), None, "{make:?}");
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}"));
    }
}

#[test]
fn a_removed_directory_that_was_full_of_whiteouts_has_no_names_and_does_no_harm() {
    for make in MAKES {
        let disk = prepared(make);
        let fs = mount(disk.clone());
        let dir = short::mkdir(&*fs, "whites").unwrap();
        let names: Vec<String> = (0..400).map(|index| format!("a long name of a whiteout {index:0>40}")).collect();
        for name in &names {
            dir.as_upper().unwrap().whiteout(Name::new(name.as_bytes()).unwrap(), Victim::Absent).unwrap();
        }
        let root = fs.root();
        root.as_upper().unwrap().remove_with_whiteouts(Name::new(b"whites").unwrap()).unwrap();
        for name in &names[..3] {
            assert!(dir.lookup(Name::new(name.as_bytes()).unwrap()).unwrap().is_none(), "{make:?}");
        }
        assert!(short::root(&*fs).list().unwrap().iter().all(|entry| entry.name != b"whites"));
        assert!(!fs.is_read_only(), "{make:?}");
        drop(dir);
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, &format!("{make:?}"));
    }
}
