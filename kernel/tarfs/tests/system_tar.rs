//! Against the system's GNU tar: what it archives from a real tree is shown as that tree, in every format; and what it
//! extracts from members in any order is what a mount of them shows.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use common::*;
use rustix::fs::{AtFlags, CWD, FileType as HostType, Mode, Timespec, Timestamps, XattrFlags};
use vfs::FileType;

/// What a format can hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Names up to 99 bytes, plain files, directories and links.
    Least,
    /// Also devices, pipes, and names of which the last 100 bytes follow a slash.
    Ustar,
    /// Names, owners and times of any size.
    Gnu,
    /// Also nanoseconds and extended attributes.
    Pax,
}

fn tar(args: &[&str], dir: &Path, archive: &Path) -> Vec<u8> {
    let output = Command::new("tar").args(args).arg("-C").arg(dir).arg("-cf").arg(archive).arg(".").output().unwrap();
    assert!(output.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(archive).unwrap()
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path.as_os_str().as_bytes(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Makes a tree of everything that a format holds.
fn plant(root: &Path, holds: Holds) {
    let is_root = rustix::process::geteuid().is_root();
    for (at, size) in [0usize, 1, 511, 512, 513, 70_000].into_iter().enumerate() {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte * 31 + at) as u8).collect();
        write(&root.join(format!("sizes/{size}")), &bytes);
    }
    write(&root.join("links/one"), b"linked");
    std::fs::hard_link(root.join("links/one"), root.join("links/two")).unwrap();
    std::fs::create_dir_all(root.join("a/b/c/d")).unwrap();
    std::fs::hard_link(root.join("links/one"), root.join("a/b/three")).unwrap();
    symlink("../links/one", root.join("a/up")).unwrap();
    symlink("/nowhere at all", root.join("dangling")).unwrap();
    std::fs::hard_link(root.join("dangling"), root.join("dangling too")).unwrap();
    write(&root.join(OsStr::from_bytes(b"bytes \xff\x01\\ \n\"")), b"any name");
    write(&root.join("...dots"), b"");
    for (path, mode) in [("a", 0o1777), ("a/b", 0o2750), ("links/one", 0o4711), ("sizes/0", 0), ("a/b/c", 0o700)] {
        std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    if holds != Holds::Least {
        let deep = root.join("p".repeat(60)).join("q".repeat(80)).join("n".repeat(100));
        write(&deep, b"split into prefix and name");
        rustix::fs::mknodat(CWD, root.join("pipe").as_os_str().as_bytes(), HostType::Fifo, Mode::from(0o640), 0)
            .unwrap();
        if is_root {
            let device = rustix::fs::makedev(5, 1);
            rustix::fs::mknodat(
                CWD,
                root.join("char").as_os_str().as_bytes(),
                HostType::CharacterDevice,
                Mode::from(0o620),
                device,
            )
            .unwrap();
            let device = rustix::fs::makedev(259, 70_000);
            rustix::fs::mknodat(
                CWD,
                root.join("block").as_os_str().as_bytes(),
                HostType::BlockDevice,
                Mode::from(0o660),
                device,
            )
            .unwrap();
        }
    }
    if is_root {
        std::os::unix::fs::lchown(root.join("sizes/1"), Some(1000), Some(2_097_151)).unwrap();
        std::os::unix::fs::lchown(root.join("dangling"), Some(33), Some(34)).unwrap();
    }
    if matches!(holds, Holds::Gnu | Holds::Pax) {
        let deep = root.join("l".repeat(255)).join("m".repeat(255)).join("n".repeat(255));
        write(&deep, b"a long name");
        std::fs::hard_link(&deep, root.join("link to a long name")).unwrap();
        symlink("t".repeat(1500), root.join("long target")).unwrap();
        set_mtime(&root.join("sizes/511"), -86_400 * 365, 0);
        if is_root {
            std::os::unix::fs::lchown(root.join("sizes/512"), Some(4_000_000_000), Some(3_000_000)).unwrap();
        }
    }
    if holds == Holds::Pax {
        set_mtime(&root.join("sizes/512"), 1_700_000_000, 123_456_789);
        set_mtime(&root.join("sizes/513"), -2, 750_000_000);
        set_mtime(&root.join("a/up"), 1_600_000_000, 1);
        plant_xattrs(root, is_root);
    }
}

/// Extended attributes, where the host's filesystem keeps them.
fn plant_xattrs(root: &Path, is_root: bool) {
    let set = |path: &str, name: &str, value: &[u8]| {
        let _ = rustix::fs::lsetxattr(root.join(path).as_os_str().as_bytes(), name, value, XattrFlags::empty());
    };
    set("sizes/1", "user.mime", b"text/plain");
    set("sizes/1", "user.binary", b"\0\n=\xff");
    set("sizes/1", "user.with=sign%25", b"x");
    set("sizes/513", "user.empty", b"");
    set("a/b", "user.dir", &[7; 500]);
    if is_root {
        set("a", "trusted.overlay.opaque", b"y");
        set("dangling", "trusted.on.a.link", b"too");
        set("sizes/70000", "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    }
}

/// Drops from the host's tree what a format does not hold.
fn as_held(mut tree: Tree, holds: Holds) -> Tree {
    for snapshot in tree.values_mut() {
        if holds != Holds::Pax {
            snapshot.mtime.nanos = 0;
            snapshot.xattrs.clear();
        }
    }
    tree
}

fn compare(format: &str, extra: &[&str], holds: Holds, plant: impl FnOnce(&Path)) {
    let scratch = Scratch::new(&format!("{format}-{}", extra.concat().replace(['/', '*'], "")));
    let root = scratch.path("tree");
    std::fs::create_dir(&root).unwrap();
    plant(&root);
    let mut args = vec!["--numeric-owner"];
    let flag = format!("--format={format}");
    args.push(&flag);
    args.extend(extra);
    let archive = tar(&args, &root, &scratch.path("archive.tar"));
    let fs = mount(archive);
    assert_eq!(fs.stats().left_out, 0);
    assert_same(&snapshot(&fs), &as_held(host_snapshot(&root), holds), &format!("{format} {extra:?}"));
}

#[test]
fn a_tree_in_the_v7_format_is_shown_as_it_was() {
    compare("v7", &[], Holds::Least, |root| plant(root, Holds::Least));
}

#[test]
fn a_tree_in_the_ustar_format_is_shown_as_it_was() {
    compare("ustar", &[], Holds::Ustar, |root| plant(root, Holds::Ustar));
}

#[test]
fn a_tree_in_the_gnu_formats_is_shown_as_it_was() {
    compare("gnu", &[], Holds::Gnu, |root| plant(root, Holds::Gnu));
    compare("oldgnu", &[], Holds::Gnu, |root| plant(root, Holds::Gnu));
    compare("gnu", &["--sparse"], Holds::Gnu, |root| plant(root, Holds::Gnu));
    compare("gnu", &["--label=firmware", "--transform=s,^\\./,,"], Holds::Gnu, |root| plant(root, Holds::Gnu));
}

#[test]
fn a_tree_in_the_pax_format_is_shown_as_it_was() {
    let xattrs = ["--xattrs", "--xattrs-include=*"];
    compare("posix", &xattrs, Holds::Pax, |root| plant(root, Holds::Pax));
    let global = ["--xattrs", "--xattrs-include=*", "--pax-option=globexthdr.name=/tmp/g,comment=x"];
    compare("posix", &global, Holds::Pax, |root| plant(root, Holds::Pax));
}

/// Sparse files of every shape: their holes lie at block boundaries of the host's filesystem.
fn plant_sparse(root: &Path) {
    let make = |name: &str, len: u64, runs: &[(u64, usize)]| {
        let file = std::fs::File::create(root.join(name)).unwrap();
        file.set_len(len).unwrap();
        for &(at, count) in runs {
            let bytes: Vec<u8> = (0..count).map(|byte| (byte % 251 + 1) as u8).collect();
            file.write_all_at(&bytes, at).unwrap();
        }
    };
    make("hole only", 1 << 20, &[]);
    make("data only", 10_000, &[(0, 10_000)]);
    make("hole first", 300_000, &[(200_000, 100_000)]);
    make("hole last", 300_000, &[(0, 5_000)]);
    make("odd end", 131_073, &[(131_072, 1)]);
    for count in [3u64, 4, 5, 25, 26, 100] {
        let runs: Vec<_> = (0..count).map(|run| (run * 65_536 + 8192, 4096 + run as usize)).collect();
        make(&format!("{count} runs"), count * 65_536 + 100, &runs);
    }
    make("x".repeat(150).as_str(), 200_000, &[(100_000, 1)]);
}

#[test]
fn sparse_files_keep_their_holes_in_every_version() {
    for (format, extra) in [
        ("gnu", &["--sparse"][..]),
        ("oldgnu", &["--sparse"]),
        ("posix", &["--sparse", "--sparse-version=0.0"]),
        ("posix", &["--sparse", "--sparse-version=0.1"]),
        ("posix", &["--sparse", "--sparse-version=1.0"]),
    ] {
        let holds = if format == "posix" { Holds::Pax } else { Holds::Gnu };
        compare(format, extra, holds, plant_sparse);
    }
}

#[test]
fn seeks_for_data_and_holes_agree_with_the_content() {
    let scratch = Scratch::new("seek");
    let root = scratch.path("tree");
    std::fs::create_dir(&root).unwrap();
    plant_sparse(&root);
    let fs = mount(tar(&["--format=posix", "--sparse"], &root, &scratch.path("archive.tar")));
    let mut holes = 0;
    for (path, snapshot) in snapshot(&fs) {
        if snapshot.kind != FileType::File {
            continue;
        }
        let node = find(&fs, std::str::from_utf8(&path).unwrap()).unwrap();
        let file = node.as_file().unwrap();
        let (mut at, mut data) = (0, 0);
        while let Some(start) = file.seek_data(at).unwrap() {
            assert!(snapshot.content[at as usize..start as usize].iter().all(|&byte| byte == 0));
            holes += u64::from(start > at);
            at = file.seek_hole(start).unwrap().unwrap();
            assert!(at > start);
            data += at - start;
        }
        assert!(snapshot.content[at as usize..].iter().all(|&byte| byte == 0));
        assert_eq!(node.attr().unwrap().blocks, data.div_ceil(512));
    }
    assert!(holes > 100, "the host's filesystem keeps holes, and tar finds them");
}

/// Members in any order under few names, so that they meet: files, directories, symbolic links that lead nowhere, and
/// hard links to names that are always there.
fn quarrel(random: &mut Random) -> Vec<u8> {
    const NAMES: [&str; 9] = ["a", "b", "a/b", "a/c", "a/b/c", "b/a", "b/a/c", "a/b/c/d", "base0"];
    let mut tar = Tar::new();
    for base in 0..3 {
        tar.file(format!("base{base}"), format!("base {base}"));
    }
    for step in 0..12 {
        let name = *random.pick(&NAMES);
        let mtime = 1_000_000_000 + random.next() % 1000;
        let mode = *random.pick(&[0o644, 0o700, 0o755, 0o4711]);
        let header = |kind, name: &str| Header { mode, mtime, ..Header::new(kind, name) };
        match random.below(8) {
            // A link to a directory fails, but tar removes what was at its name first: nothing to imitate.
            3..5 if name.starts_with("base") => continue,
            0..3 => tar.member(&header(b'0', name), format!("step {step}").as_bytes()),
            3..5 => tar.header(&header(b'5', &format!("{name}/"))),
            5 => tar.header(&Header { link: b"zz/nowhere".to_vec(), ..header(b'2', name) }),
            6 => tar.header(&header(b'6', name)),
            _ => {
                let target = format!("base{}", random.below(3));
                tar.header(&Header { link: target.into_bytes(), ..header(b'1', name) })
            }
        };
    }
    tar.end()
}

#[test]
fn members_in_any_order_leave_the_tree_that_tar_extracts() {
    let scratch = Scratch::new("quarrel");
    for seed in 0..150 {
        let _seed = Seed(seed);
        let bytes = quarrel(&mut Random(seed));
        let (archive, out) = (scratch.path("archive.tar"), scratch.path("out"));
        let _ = std::fs::remove_dir_all(&out);
        std::fs::create_dir(&out).unwrap();
        std::fs::write(&archive, &bytes).unwrap();
        // It fails for members that cannot be placed, and goes on.
        let output = Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(&out).output().unwrap();
        let fs = mount(bytes);
        let comparable = |mut tree: Tree| {
            tree.remove(&b""[..]);
            for snapshot in tree.values_mut() {
                // tar gives directories that only names speak of its own time and umask, and files its user.
                (snapshot.uid, snapshot.gid) = (0, 0);
                if snapshot.kind == FileType::Dir {
                    (snapshot.mode, snapshot.mtime) = (0, vfs::Timestamp::EPOCH);
                }
                snapshot.xattrs.clear();
            }
            tree
        };
        assert_same(&comparable(snapshot(&fs)), &comparable(host_snapshot(&out)), &format!("seed {seed}"));
        assert_eq!(fs.stats().left_out > 0, !output.status.success(), "seed {seed}");
    }
}
