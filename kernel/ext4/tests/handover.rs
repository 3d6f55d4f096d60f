//! From hand to hand: Linux goes on where we stopped, we go on where Linux stopped or was cut off.

mod common;

use std::fs;
use std::os::unix::fs::FileExt;

use common::disk::{self, DEFAULT, MIB, Make, OLD, Scratch, arg, fsck_file, load, run};
use common::linux::{Mount, may_mount};
use common::snapshot::{assert_same, of_fs, of_linux};
use common::{mount, mount_read_only, short};
use contract::dsl::pattern;
use vfs::{FileSystem, NewKind};

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
