//! From hand to hand: Linux goes on where we stopped, we go on where Linux stopped or was cut off.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;

use common::disk::{self, DEFAULT, MIB, Make, OLD, Scratch, arg, fsck_file, load, run};
use common::linux::{Mount, may_mount};
use common::raw::Raw;
use common::snapshot::{assert_same, of_fs, of_linux};
use common::{mount, mount_read_only, short};
use contract::dsl::pattern;
use vfs::{FileSystem, NewKind, NewNode};

const MAKES: [Make; 3] = [Make::Ours(4096, 256), DEFAULT, OLD];

#[test]
fn linux_goes_on_where_we_stopped_and_we_where_linux_did() {
    if !may_mount("going on where the other stopped") {
        return;
    }
    for make in MAKES {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        let mut disk = make.disk(64 * MIB);
        for round in 0..3_u64 {
            // Ours.
            let fs = mount(disk.clone());
            let root = short::root(&*fs);
            let dir = root.mkdir(format!("ours{round}")).unwrap();
            for number in 0..400 {
                dir.file(format!("{number} {}", "o".repeat(number % 100)), pattern(round, number * 20)).unwrap();
            }
            let large = root.file(format!("large{round}"), pattern(round, 1 << 20)).unwrap();
            large.allocate(vfs::AllocateMode::PunchHole, 100_000, 300_000).unwrap();
            root.make(format!("link{round}"), NewKind::Symlink(&[b'l'; 200])).unwrap();
            short::set_xattr(&*fs, &format!("large{round}"), "user.x", &pattern(round, 300)).unwrap();
            if round > 0 {
                let theirs = root.dir(format!("theirs{}", round - 1)).unwrap();
                for entry in theirs.list().unwrap().iter().step_by(2) {
                    theirs.unlink(&entry.name).unwrap();
                }
                let log = root.open("log").unwrap();
                log.append(format!("ours {round}\n").as_bytes()).unwrap();
            }
            let expected = of_fs(&*fs).unwrap();
            drop((root, dir, large));
            fs.unmount().unwrap();
            drop(fs);
            disk::store(&disk, &image);
            fsck_file(&image).unwrap_or_else(|text| panic!("{make:?}, round {round}, ours: {text}"));

            // Linux.
            let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
            assert_same(&of_linux(linux.path()), &expected, &format!("{make:?}, round {round}, seen by Linux"));
            let theirs = linux.join(&format!("theirs{round}"));
            fs::create_dir(&theirs).unwrap();
            for number in 0..500_usize {
                fs::write(theirs.join(format!("{number} {}", "t".repeat(number % 150))), pattern(9, number * 10))
                    .unwrap();
            }
            let ours = linux.join(&format!("ours{round}"));
            for (number, entry) in fs::read_dir(&ours).unwrap().enumerate() {
                if number % 2 == 0 {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
            }
            let large = fs::OpenOptions::new().write(true).open(linux.join(&format!("large{round}"))).unwrap();
            large.write_all_at(&pattern(77, 150_000), 50_000).unwrap();
            let log = fs::OpenOptions::new().append(true).create(true).open(linux.join("log")).unwrap();
            std::io::Write::write_all(&mut &log, format!("theirs {round}\n").as_bytes()).unwrap();
            drop((large, log));
            let expected = of_linux(linux.path());
            linux.unmount();
            disk = load(&image);
            let fs = mount_read_only(disk.clone());
            assert_same(&of_fs(&*fs).unwrap(), &expected, &format!("{make:?}, round {round}, seen by us"));
        }
    }
}

/// Copies the image of a mounted filesystem, as it would be found after a power cut.
fn cut(linux: &Mount, image: &std::path::Path, copy: &std::path::Path) {
    linux.sync();
    fs::copy(image, copy).unwrap();
}

#[test]
fn a_journal_that_linux_left_is_replayed() {
    if !may_mount("replaying Linux's journal") {
        return;
    }
    for (what, args) in [
        ("default", &["-b", "4096"][..]),
        ("1k", &["-b", "1024"]),
        ("no checksums", &["-b", "1024", "-I", "128", "-O", "^metadata_csum,^64bit"]),
        ("orphan file", &["-b", "4096", "-O", "orphan_file,metadata_csum_seed"]),
    ] {
        let scratch = Scratch::new();
        let (image, copy) = (scratch.join("image"), scratch.join("copy"));
        disk::mkfs_file(args, 48 * MIB, &image);
        let linux = Mount::new(&image, scratch.join("mounted"), "noatime,commit=1");
        let mut held = Vec::new();
        for round in 0..4 {
            let dir = linux.join(&format!("d{round}"));
            fs::create_dir(&dir).unwrap();
            for number in 0..300 {
                fs::write(dir.join(format!("{number}")), pattern(round, number * 30)).unwrap();
            }
            if round > 0 {
                // Blocks of directories go, and are revoked; others take them.
                fs::remove_dir_all(linux.join(&format!("d{}", round - 1))).unwrap();
                fs::write(linux.join(&format!("data{round}")), pattern(99, 400_000)).unwrap();
            }
            // Unlinked and open: on the orphan list, to be freed by the mount.
            let path = linux.join("orphan");
            fs::write(&path, pattern(5, 200_000)).unwrap();
            held.push(fs::File::open(&path).unwrap());
            fs::remove_file(&path).unwrap();
            // And one that grows on: its tail is to be cut.
            cut(&linux, &image, &copy);
            let expected = of_linux(linux.path());

            let disk = load(&copy);
            assert!(disk::fsck(&disk).is_err(), "{what}: nothing to recover: the test is void");
            let fs = mount(disk.clone());
            assert_same(&of_fs(&*fs).unwrap(), &expected, &format!("{what}, round {round}, replayed by us"));
            short::file(&*fs, "after the replay", b"1").unwrap();
            fs.unmount().unwrap();
            drop(fs);
            disk::assert_clean(&disk, &format!("{what}, round {round}, replayed by us"));

            // Read-only mounts replay, too, and free nothing.
            let disk = load(&copy);
            let fs = mount_read_only(disk.clone());
            assert_same(&of_fs(&*fs).unwrap(), &expected, &format!("{what}, round {round}, replayed read-only"));
            drop(fs);

            // e2fsck comes to the same counts.
            run("e2fsck", &["-fy", arg(&copy)]);
            let fs = mount_read_only(load(&copy));
            assert_same(&of_fs(&*fs).unwrap(), &expected, &format!("{what}, round {round}, replayed by e2fsck"));
        }
        drop(held);
        linux.unmount();
    }
}

#[test]
fn space_of_files_that_were_open_and_unlinked_at_the_cut_is_given_back() {
    if !may_mount("freeing Linux's orphans") {
        return;
    }
    for (what, args) in [
        ("orphan list", &["-b", "4096", "-O", "^orphan_file"][..]),
        ("orphan file", &["-b", "4096", "-O", "orphan_file"]),
        ("old", &["-b", "1024", "-I", "128", "-O", "^metadata_csum"]),
    ] {
        let scratch = Scratch::new();
        let (image, copy) = (scratch.join("image"), scratch.join("copy"));
        disk::mkfs_file(args, 48 * MIB, &image);
        let before = mount_read_only(load(&image)).statfs().unwrap();
        let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
        let held: Vec<fs::File> = (0..20)
            .map(|number| {
                let path = linux.join(&format!("orphan{number}"));
                fs::write(&path, pattern(number, 100_000)).unwrap();
                let file = fs::File::open(&path).unwrap();
                fs::remove_file(&path).unwrap();
                file
            })
            .collect();
        cut(&linux, &image, &copy);
        drop(held);
        linux.unmount();
        let disk = load(&copy);
        let fs = mount(disk.clone());
        let after = fs.statfs().unwrap();
        assert_eq!((after.blocks_free, after.files_free), (before.blocks_free, before.files_free), "{what}");
        fs.unmount().unwrap();
        drop(fs);
        disk::assert_clean(&disk, what);
    }
}

#[test]
fn what_was_synced_is_whole_without_an_unmount() {
    for make in MAKES {
        let disk = make.disk(48 * MIB);
        let fs = mount(disk.clone());
        let root = short::root(&*fs);
        let before = fs.statfs().unwrap();
        let dir = root.mkdir("d").unwrap();
        for number in 0..300 {
            dir.file(format!("{number} {}", "d".repeat(number % 90)), pattern(number as u64, number * 30)).unwrap();
        }
        fs.sync().unwrap();
        let expected = of_fs(&*fs).unwrap();
        let copy = Raw::of(&disk).disk();
        let again = mount(copy.clone());
        assert_same(&of_fs(&*again).unwrap(), &expected, &format!("{make:?}: synced"));
        again.unmount().unwrap();
        drop(again);
        disk::assert_clean(&copy, &format!("{make:?}: synced"));

        // Unlinked and held at the cut: their space comes back, from us and from Linux.
        let held: Vec<_> = (0..30_usize)
            .map(|number| {
                let name = format!("orphan{number}");
                let file = root.file(&name, pattern(number as u64, 50_000 * (number % 3))).unwrap();
                root.unlink(&name).unwrap();
                file
            })
            .collect();
        let unnamed = root.create_unnamed(&NewNode::new(NewKind::File, 0o600)).unwrap();
        fs.sync().unwrap();
        let expected = of_fs(&*fs).unwrap();
        let copy = Raw::of(&disk).disk();
        let scratch = Scratch::new();
        let image = scratch.join("image");
        disk::store(&copy, &image);
        let again = mount(copy.clone());
        assert_same(&of_fs(&*again).unwrap(), &expected, &format!("{make:?}: with orphans"));
        short::unlink(&*again, "d/0 ").unwrap();
        again.unmount().unwrap();
        drop(again);
        disk::assert_clean(&copy, &format!("{make:?}: our orphans freed by us"));
        if may_mount("freeing our orphans by Linux") {
            let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
            assert_same(&of_linux(linux.path()), &expected, &format!("{make:?}: seen by Linux"));
            linux.unmount();
            fsck_file(&image).unwrap_or_else(|text| panic!("{make:?}: our orphans freed by Linux: {text}"));
        }
        drop((held, unnamed));
        for entry in dir.list().unwrap() {
            dir.unlink(&entry.name).unwrap();
        }
        drop(dir);
        root.rmdir("d").unwrap();
        fs.sync().unwrap();
        let after = fs.statfs().unwrap();
        assert_eq!((after.blocks_free, after.files_free), (before.blocks_free, before.files_free), "{make:?}");
        drop(root);
        fs.unmount().unwrap();
        drop(fs);
        disk::assert_clean(&disk, &format!("{make:?}: all removed"));
    }
}

#[test]
fn statfs_agrees_with_linux() {
    if !may_mount("counts as Linux tells them") {
        return;
    }
    for make in MAKES {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        let disk = make.disk(64 * MIB);
        let fs = mount(disk.clone());
        short::file(&*fs, "f", &pattern(1, 1 << 20)).unwrap();
        for number in 0..50 {
            short::mkdir(&*fs, &format!("{number}")).unwrap();
        }
        fs.unmount().unwrap();
        drop(fs);
        let ours = mount_read_only(disk.clone()).statfs().unwrap();
        disk::store(&disk, &image);
        let linux = Mount::new(&image, scratch.join("mounted"), "ro");
        let theirs = rustix::fs::statfs(arg(linux.path())).unwrap();
        assert_eq!(
            (ours.magic, u64::from(ours.block_size), ours.blocks, ours.blocks_free, ours.blocks_available),
            (theirs.f_type as u64, theirs.f_bsize as u64, theirs.f_blocks, theirs.f_bfree, theirs.f_bavail),
            "{make:?}"
        );
        assert_eq!((ours.files, ours.files_free), (theirs.f_files, theirs.f_ffree), "{make:?}");
        linux.unmount();
    }
}
