//! What Linux and `mkfs.ext4 -d` wrote is read as they meant it, entry by entry.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use common::disk::{MIB, Scratch, arg, fsck_file, load, mkfs_file};
use common::linux::{Mount, may_mount};
use common::snapshot::{assert_same, of_fs, of_linux};
use common::{mount, mount_read_only, short};
use contract::dsl::pattern;
use contract::random::Random;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags,
    chownat, fallocate, lsetxattr, makedev, mknodat, open, seek, utimensat,
};
use vfs::{FileOps, FileSystem};

/// Ways to make a filesystem, and what is special about each.
const WAYS: &[(&str, &[&str])] = &[
    ("default", &["-b", "4096"]),
    ("1k blocks, 128-byte inodes, no checksums", &["-b", "1024", "-I", "128", "-O", "^metadata_csum"]),
    ("2k blocks, 512-byte inodes", &["-b", "2048", "-I", "512"]),
    ("32-bit block numbers", &["-b", "1024", "-O", "^64bit"]),
    ("no index", &["-b", "4096", "-O", "^dir_index"]),
    ("meta groups", &["-b", "1024", "-O", "meta_bg,^resize_inode"]),
    ("no flexible groups, one backup", &["-b", "1024", "-O", "^flex_bg,sparse_super2"]),
    ("checksum seed, orphan file", &["-b", "1024", "-O", "metadata_csum_seed,orphan_file"]),
    ("no journal", &["-b", "4096", "-O", "^has_journal"]),
    ("group checksums of old", &["-b", "4096", "-O", "uninit_bg,^metadata_csum"]),
];

/// Block maps instead of extents.
const MAPPED: &[(&str, &[&str])] =
    &[("ext3", &["-b", "1024", "-t", "ext3"]), ("ext2", &["-b", "1024", "-t", "ext2", "-I", "128"])];

fn path_of(path: &Path) -> &str {
    arg(path)
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    lsetxattr(path_of(path), name, value, XattrFlags::empty()).unwrap_or_else(|error| panic!("{name}: {error}"));
}

fn set_times(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: Timespec { tv_sec: secs + 1, tv_nsec: nanos / 2 } };
    utimensat(CWD, path_of(path), &times, AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

/// An ACL as Linux stores it in an xattr: owner, a user, group, mask, others.
fn acl(user: u32) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [(1_u16, 6_u16, !0), (2, 4, user), (4, 4, !0), (0x10, 4, !0), (0x20, 0, !0)] {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Entries that need no privilege.
fn build_plain(root: &Path) {
    fs::create_dir_all(root.join("etc/deep/er/and/deeper")).unwrap();
    fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("etc/deep/large"), pattern(0, 3_000_001)).unwrap();
    fs::write(root.join("etc/deep/er/block"), pattern(7, 4096)).unwrap();
    fs::hard_link(root.join("etc/hosts"), root.join("etc/deep/hosts")).unwrap();
    fs::hard_link(root.join("etc/hosts"), root.join("a third name of hosts")).unwrap();
    symlink("etc/hosts", root.join("fast")).unwrap();
    symlink("x".repeat(59), root.join("fast59")).unwrap();
    symlink("y".repeat(60), root.join("slow60")).unwrap();
    symlink("z/".repeat(500), root.join("slow")).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    for at in [0, 100_000, 9_000_000, 200_000_000_u64] {
        sparse.write_all_at(&pattern(at, 5000), at).unwrap();
    }
    sparse.set_len(300_000_000).unwrap();
    for (name, mode) in [("rwx", 0o777), ("none", 0o000), ("setuid", 0o4755), ("setgid", 0o2711), ("sticky", 0o1644)] {
        fs::write(root.join(name), name).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("many/{number}")), format!("{number}")).unwrap();
    }
}

/// The rest: owners, devices, xattrs of all classes, unusual times, large directories, strange files.
fn build_rich(root: &Path, small_inodes: bool) {
    let mut random = Random::new(5);
    for (name, kind, number) in [
        ("console", FileType::CharacterDevice, makedev(5, 1)),
        ("large numbers", FileType::CharacterDevice, makedev(4000, 1_000_000)),
        ("sda", FileType::BlockDevice, makedev(8, 0)),
        ("whiteout", FileType::CharacterDevice, 0),
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
    ] {
        mknodat(CWD, path_of(&root.join(name)), kind, Mode::from_raw_mode(0o640), number).unwrap();
    }
    for (name, uid, gid) in [("empty", 1000, 100), ("fast", 65_536, 4_000_000_000), ("whiteout", 70_000, 1)] {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(CWD, path_of(&root.join(name)), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
    // In the inode, in a block, in both; one block shared by many; values of all lengths to four.
    set_xattr(&root.join("etc/hosts"), "user.small", b"in the inode");
    set_xattr(&root.join("etc/hosts"), "security.selinux", b"system_u:object_r:etc_t:s0\0");
    set_xattr(&root.join("many"), "user.large", &pattern(1, 700));
    for length in 0..9 {
        set_xattr(&root.join("rwx"), &format!("user.length{length}"), &pattern(2, length));
    }
    set_xattr(&root.join("rwx"), "trusted.overlay.opaque", b"y");
    set_xattr(&root.join("fast"), "trusted.of.a.link", b"1");
    set_xattr(&root.join("slow"), "trusted.of.a.link", b"2");
    set_xattr(&root.join("console"), "security.of.a.device", &pattern(3, 90));
    for number in 0..40 {
        set_xattr(&root.join(format!("many/{number}")), "user.shared", &pattern(4, 600));
    }
    for number in 40..50 {
        set_xattr(&root.join(format!("many/{number}")), "system.posix_acl_access", &acl(number));
    }
    set_xattr(&root.join("etc"), "system.posix_acl_default", &acl(77));
    fs::write(root.join("etc/inherits an acl"), "").unwrap();
    // An index of two levels in small blocks, names of all lengths.
    fs::create_dir(root.join("huge")).unwrap();
    for number in 0..5000_usize {
        let mut name = format!("{number}-");
        name.extend(std::iter::repeat_n('n', (number % 255 + 1).saturating_sub(name.len())));
        File::create(root.join("huge").join(name)).unwrap();
    }
    for number in (0..5000_usize).step_by(7) {
        let mut name = format!("{number}-");
        name.extend(std::iter::repeat_n('n', (number % 255 + 1).saturating_sub(name.len())));
        fs::remove_file(root.join("huge").join(name)).unwrap();
    }
    // An extent tree with depth: every second block is a hole.
    let deep =
        open(path_of(&root.join("deep")), OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
            .unwrap();
    let deep_std = fs::OpenOptions::new().write(true).open(root.join("deep")).unwrap();
    deep_std.write_all_at(&pattern(11, 4 << 20), 0).unwrap();
    deep_std.sync_all().unwrap();
    for at in (0..4 << 20).step_by(8192) {
        fallocate(&deep, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, 4096).unwrap();
    }
    // Space that was never written: reads as zeros, here and past the end.
    let reserved = open(
        path_of(&root.join("reserved")),
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )
    .unwrap();
    fallocate(&reserved, FallocateFlags::empty(), 0, 1_000_000).unwrap();
    fallocate(&reserved, FallocateFlags::KEEP_SIZE, 1_000_000, 500_000).unwrap();
    let reserved = fs::OpenOptions::new().write(true).open(root.join("reserved")).unwrap();
    reserved.write_all_at(&pattern(12, 70_000), 300_000).unwrap();
    // Far out.
    let far = File::create(root.join("far")).unwrap();
    for _ in 0..30 {
        let at = random.below(1 << 41);
        far.write_all_at(&pattern(at, 100), at).unwrap();
    }
    // Times before 1970 and, where there is room for them, after 2038.
    set_times(&root.join("none"), -1_000_000_000, 999_999_999);
    set_times(&root.join("setuid"), i64::from(i32::MAX) - 1, 1);
    set_times(&root.join("fast59"), 86_400, 500);
    if !small_inodes {
        for (name, secs) in [("setgid", 2_147_483_648), ("sticky", 6_000_000_000), ("sparse", 15_032_385_000)] {
            set_times(&root.join(name), secs, 123_456_789);
        }
    }
    set_times(&root.join("many"), 1_234_567_890, 987_654_321);
}

/// Where Linux sees data and holes in a file, to the unit of `block` bytes.
fn linux_map(path: &Path) -> Vec<(u64, u64)> {
    let fd = open(path_of(path), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut map = Vec::new();
    let mut at = 0;
    while let Ok(data) = seek(&fd, SeekFrom::Data(at)) {
        at = seek(&fd, SeekFrom::Hole(data)).unwrap();
        map.push((data, at));
    }
    map
}

fn our_map(file: &dyn FileOps) -> Vec<(u64, u64)> {
    let mut map = Vec::new();
    let mut at = 0;
    while let Some(data) = file.seek_data(at).unwrap() {
        at = file.seek_hole(data).unwrap().unwrap();
        map.push((data, at));
    }
    map
}

#[test]
fn a_tree_copied_by_mkfs_is_read() {
    let scratch = Scratch::new();
    let tree = scratch.join("tree");
    build_plain(&tree);
    let expected = of_linux(&tree);
    for (what, args) in WAYS.iter().chain(MAPPED) {
        let image = scratch.join("image");
        let mut args = args.to_vec();
        args.extend(["-d", path_of(&tree)]);
        mkfs_file(&args, 48 * MIB, &image);
        let fs = mount_read_only(load(&image));
        let mut found = of_fs(&*fs).unwrap();
        // mkfs has its own time, and keeps no access times and no fractions of a second.
        let mut expected = expected.clone();
        for (path, entry) in &mut found {
            let like = &expected[path];
            entry.atime = like.atime;
            if entry.mtime.secs == like.mtime.secs || path.is_empty() {
                entry.mtime = like.mtime;
            }
        }
        for root in [found.get_mut(&b""[..]), expected.get_mut(&b""[..])] {
            // The root has lost+found, and its mode from mkfs.
            let root = root.unwrap();
            (root.nlink, root.mode, root.uid, root.gid) = (0, 0o040_755, 0, 0);
        }
        assert_same(&found, &expected, what);
    }
}

#[test]
fn a_tree_written_by_linux_is_read() {
    if !may_mount("reading what Linux wrote") {
        return;
    }
    for (what, args) in WAYS.iter().chain(MAPPED) {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        let mut args = args.to_vec();
        args.extend(["-N", "16384"]);
        mkfs_file(&args, 96 * MIB, &image);
        let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
        build_plain(linux.path());
        let mapped = MAPPED.iter().any(|(mapped, _)| mapped == what);
        if mapped {
            // No fallocate, and files end at 16 GiB.
            fs::create_dir(linux.join("huge")).unwrap();
        } else {
            build_rich(linux.path(), args.contains(&"128"));
        }
        linux.unmount();
        let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
        // First, for Linux takes what it has read and cached for data, reserved space included.
        let maps = ["sparse", "deep", "reserved", "far"]
            .map(|name| linux.join(name))
            .map(|path| path.exists().then(|| linux_map(&path)));
        let expected = of_linux(linux.path());
        let fs = mount_read_only(load(&image));
        assert_same(&of_fs(&*fs).unwrap(), &expected, what);
        if !mapped {
            for (name, expected) in ["sparse", "deep", "reserved", "far"].into_iter().zip(maps) {
                let found = our_map(&*short::open(&*fs, name).unwrap());
                assert_eq!(Some(found), expected, "{what}: data in {name}");
            }
            for name in ["sparse", "deep", "reserved", "many/3", "huge", "slow", "etc/deep/large"] {
                let attr = short::at(&*fs, name).unwrap().attr().unwrap();
                let meta = fs::symlink_metadata(linux.join(name)).unwrap();
                use std::os::unix::fs::MetadataExt;
                assert_eq!((attr.blocks, attr.ino), (meta.blocks(), meta.ino()), "{what}: blocks and number of {name}");
            }
        }
        linux.unmount();
    }
}

#[test]
fn what_linux_wrote_is_changed_and_stays_clean() {
    if !may_mount("changing what Linux wrote") {
        return;
    }
    for (what, args) in WAYS.iter().chain(MAPPED) {
        let scratch = Scratch::new();
        let image = scratch.join("image");
        let mut args = args.to_vec();
        args.extend(["-N", "16384"]);
        mkfs_file(&args, 96 * MIB, &image);
        let linux = Mount::new(&image, scratch.join("mounted"), "noatime");
        build_plain(linux.path());
        let mapped = MAPPED.iter().any(|(mapped, _)| mapped == what);
        if !mapped {
            build_rich(linux.path(), args.contains(&"128"));
        }
        linux.unmount();

        let disk = load(&image);
        let fs = mount(disk.clone());
        if mapped {
            // Block maps may be read-only to us.
            let _ = short::file(&*fs, "new", b"1");
            let _ = short::unlink(&*fs, "etc/deep/large");
        } else {
            change(&*fs);
        }
        let expected = of_fs(&*fs).unwrap();
        fs.unmount().unwrap();
        drop(fs);
        common::disk::store(&disk, &image);
        fsck_file(&image).unwrap_or_else(|text| panic!("{what}: {text}"));
        let linux = Mount::new(&image, scratch.join("mounted"), "ro,noatime");
        assert_same(&of_linux(linux.path()), &expected, what);
        linux.unmount();
    }
}

/// Changes of everything that [`build_rich`] made.
fn change(fs: &dyn FileSystem) {
    let root = short::root(fs);
    // Holes filled, extents split, reserved space written and cut.
    for name in ["deep", "reserved", "sparse", "far"] {
        let file = root.open(name).unwrap();
        for at in (0..1 << 20).step_by(50_000) {
            file.put(at, pattern(at, 9_000)).unwrap();
        }
        file.allocate(vfs::AllocateMode::PunchHole, 123_456, 77_777).unwrap();
        if name != "sparse" {
            file.set_len(900_001).unwrap();
        }
    }
    short::unlink(fs, "etc/deep/large").unwrap();
    // The index shrinks, and grows.
    let huge = root.dir("huge").unwrap();
    for (number, entry) in huge.list().unwrap().into_iter().enumerate() {
        if number % 3 == 0 {
            huge.unlink(&entry.name).unwrap();
        }
    }
    for number in 0..1500 {
        huge.file(format!("{number} made later {}", "m".repeat(number % 200)), "").unwrap();
    }
    // A shared block is left one by one, another entered; attributes go and grow.
    for number in 0..20 {
        let node = root.at(format!("many/{number}")).unwrap();
        match number % 4 {
            0 => node.ops().remove_xattr(b"user.shared").unwrap(),
            1 => node.ops().set_xattr(b"user.shared", b"short", vfs::XattrMode::Replace).unwrap(),
            2 => root.dir("many").unwrap().unlink(format!("{number}")).unwrap(),
            _ => node.ops().set_xattr(b"user.more", &pattern(9, 100), vfs::XattrMode::Create).unwrap(),
        }
    }
    for name in ["console", "whiteout", "slow", "slow60", "fast", "fifo", "socket", "large numbers"] {
        root.unlink(name).unwrap();
    }
    root.mv_to("etc", &root.dir("many").unwrap(), "etc").unwrap();
    root.swap("huge", &root, "empty").unwrap();
    root.unlink("a third name of hosts").unwrap();
    root.link("linked", &root.at("many/etc/hosts").unwrap()).unwrap();
    short::set_xattr(fs, "many/45", "system.posix_acl_access", &acl(1)).unwrap();
}
