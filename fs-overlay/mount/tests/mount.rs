//! The program as its users meet it: mounting, the merged tree, unmounting, and what it refuses.

mod support;

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};

use rustix::fs::{CWD, Gid, RenameFlags, Uid, XattrFlags};
use support::{PROGRAM, Place, output, run};

/// A path as system calls take it: rustix is used without `std`, see the workspace's manifest.
fn bytes(path: &std::path::Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

fn small_firmware(place: &Place) {
    let firmware = place.firmware();
    fs::create_dir_all(firmware.join("etc/conf.d")).unwrap();
    fs::write(firmware.join("etc/motd"), "firmware\n").unwrap();
    fs::write(firmware.join("etc/conf.d/a"), "a\n").unwrap();
    fs::hard_link(firmware.join("etc/motd"), firmware.join("etc/issue")).unwrap();
    symlink("motd", firmware.join("etc/link")).unwrap();
}

#[test]
fn changes_are_there_after_a_remount_and_the_disk_is_clean() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    assert_eq!(fs::read_to_string(mounted.path("etc/link")).unwrap(), "firmware\n");
    OpenOptions::new().append(true).open(mounted.path("etc/conf.d/a")).unwrap().write_all(b"b\n").unwrap();
    fs::rename(mounted.path("etc"), mounted.path("moved")).unwrap();
    fs::create_dir(mounted.path("etc")).unwrap();
    fs::remove_file(mounted.path("moved/issue")).unwrap();
    mounted.unmount();
    place.check_image();

    let mounted = place.mount_disk();
    assert_eq!(fs::read_to_string(mounted.path("moved/conf.d/a")).unwrap(), "a\nb\n");
    assert_eq!(fs::read_dir(mounted.path("etc")).unwrap().count(), 0);
    assert!(!mounted.path("moved/issue").exists());
    mounted.unmount();
    place.check_image();
}

#[test]
fn a_directory_is_firmware_as_well_with_whiteouts_and_attributes_as_they_are() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let above = place.path("above");
    fs::create_dir_all(above.join("etc/conf.d")).unwrap();
    let whiteout = above.join("etc/motd");
    rustix::fs::mknodat(CWD, bytes(&whiteout), rustix::fs::FileType::CharacterDevice, 0.into(), 0).unwrap();
    let opaque = above.join("etc/conf.d");
    if rustix::fs::setxattr(bytes(&opaque), "trusted.overlay.opaque", b"y", XattrFlags::empty()).is_err() {
        println!("SKIPPED: the host's temporary directory keeps no attributes");
        return;
    }
    let mounted = place.mount(&[&"--firmware", &above, &"--firmware", &place.firmware(), &"--read-only"]);
    let names = |path: &str| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(mounted.path(path)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("etc"), ["conf.d", "issue", "link"]);
    assert!(names("etc/conf.d").is_empty());
    assert_eq!(fs::write(mounted.path("etc/new"), "").unwrap_err().raw_os_error(), Some(30));
    mounted.unmount();
}

#[test]
fn an_image_is_mounted_once_at_a_time_and_only_if_it_is_known() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let archive = place.archive();
    let image = place.image(64);
    let mounted = place.mount_disk();
    let second = place.path("second");
    fs::create_dir(&second).unwrap();
    let refused = output(PROGRAM, &[&"--firmware", &archive, &"--disk", &image, &"--foreground", &second]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("disk.img: in use"), "{refused:?}");
    mounted.unmount();

    let unknown = place.path("unknown.img");
    let mut content = vec![0u8; 32 << 20];
    content[64 << 10..][..8].copy_from_slice(b"precious");
    fs::write(&unknown, &content).unwrap();
    let error = place.try_mount(&[&"--firmware", &archive, &"--disk", &unknown]).err().unwrap();
    assert!(error.contains("unknown.img") && error.contains("untouched"), "{error}");
    assert!(fs::read(&unknown).unwrap() == content, "the image was changed");
}

#[test]
fn what_is_wrong_is_named() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let archive = place.archive();
    let broken = place.path("broken.tar");
    fs::write(&broken, vec![b'x'; 2048]).unwrap();
    for (arguments, words) in [
        (vec![&"--firmware" as &dyn AsRef<std::ffi::OsStr>, &"/nowhere.tar", &"--ram-upper"], "/nowhere.tar"),
        (vec![&"--firmware", &broken, &"--ram-upper"], "broken.tar"),
        (vec![&"--firmware", &archive, &"--disk", &"/nowhere.img"], "/nowhere.img"),
        (vec![&"--firmware", &archive, &"--ram-upper", &"-o", &"frobnicate=on"], "frobnicate"),
        (vec![&"--firmware", &archive, &"--ram-upper", &"-o", &"lowerdir=/x"], "--firmware"),
    ] {
        let error = place.try_mount(&arguments).err().unwrap();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn it_goes_to_the_background_and_unmounts_by_itself() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let (archive, image, mountpoint) = (place.archive(), place.image(64), place.mountpoint());
    run(PROGRAM, &[&"--firmware", &archive, &"--disk", &image, &mountpoint]);
    fs::write(mountpoint.join("kept"), "kept").unwrap();
    run(PROGRAM, &[&"--unmount", &mountpoint]);
    place.check_image();
    assert!(!mountpoint.join("kept").exists());
    let mounted = place.mount(&[&"--firmware", &archive, &"--disk", &image, &"--read-only"]);
    assert_eq!(fs::read_to_string(mounted.path("kept")).unwrap(), "kept");
}

#[test]
fn a_signal_unmounts_and_nothing_is_lost() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    fs::write(mounted.path("kept"), "kept").unwrap();
    mounted.interrupt();
    place.check_image();
    let mounted = place.mount_disk();
    assert_eq!(fs::read_to_string(mounted.path("kept")).unwrap(), "kept");
}

#[test]
fn numbers_stay_over_copy_up_and_agree_with_listings() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("etc/conf.d/a");
    let before = fs::metadata(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.ino(), before.dev()), (after.ino(), after.dev()));
    for dir in ["", "etc", "etc/conf.d"] {
        use std::os::unix::fs::DirEntryExt as _;
        for entry in fs::read_dir(mounted.path(dir)).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.ino(), fs::symlink_metadata(entry.path()).unwrap().ino(), "{:?}", entry.path());
        }
    }
    let ino = after.ino();
    mounted.unmount();
    let mounted = place.mount_disk();
    assert_eq!(fs::metadata(mounted.path("etc/conf.d/a")).unwrap().ino(), ino);
}

#[test]
fn an_open_file_sees_what_is_written_after_its_copy_up() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("etc/conf.d/a");
    let mut early = File::open(&path).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().write_all_at(b"X", 0).unwrap();
    let mut seen = String::new();
    early.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "X\n");
    fs::remove_file(&path).unwrap();
    early.seek(SeekFrom::Start(0)).unwrap();
    seen.clear();
    early.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "X\n");
    assert_eq!(early.metadata().unwrap().nlink(), 0);
}

#[test]
fn a_file_that_is_executed_is_not_truncated() {
    let Some(place) = Place::new() else { return };
    fs::copy("/bin/sleep", place.firmware().join("sleep")).unwrap();
    let mounted = place.mount_disk();
    let path = mounted.path("sleep");
    let before = fs::metadata(&path).unwrap().len();
    let mut child = std::process::Command::new(&path).arg("60").spawn().unwrap();
    // That it is there by its name may come before that it is executed.
    std::thread::sleep(std::time::Duration::from_millis(100));
    for access in [rustix::fs::OFlags::RDONLY, rustix::fs::OFlags::WRONLY] {
        let flags = access | rustix::fs::OFlags::TRUNC;
        let opened = rustix::fs::open(bytes(&path), flags, rustix::fs::Mode::empty());
        assert_eq!(opened.err(), Some(rustix::io::Errno::TXTBSY));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
    assert!(child.try_wait().unwrap().is_none(), "it lost its pages");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_file_is_copied_up_by_its_first_change_and_what_is_cut_off_is_not_copied() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("etc/conf.d/a");
    let layer = || {
        let mut value = [0; 16];
        let len = rustix::fs::getxattr(bytes(&path), "system.strata.layer", &mut value).unwrap();
        String::from_utf8_lossy(&value[..len]).into_owned()
    };
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(layer(), "lower0");
    file.write_all_at(b"b", 0).unwrap();
    assert_eq!((layer().as_str(), fs::read(&path).unwrap().as_slice()), ("upper", b"b\n".as_slice()));
    let path = mounted.path("etc/motd");
    File::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn a_listing_leaves_the_content_of_a_parted_link_alone() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    for name in ["etc/motd", "etc/issue"] {
        let path = mounted.path(name);
        // Known to the kernel before it parts from the other.
        let attr = fs::metadata(&path).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all_at(b"long", 100).unwrap();
        let mut content = [0; 104];
        file.read_exact_at(&mut content, 0).unwrap();
        for entry in fs::read_dir(mounted.path("etc")).unwrap() {
            let entry = entry.unwrap();
            entry.metadata().unwrap();
        }
        assert!(fs::read(&path).unwrap() == content && content.ends_with(b"long"), "{name} of {}", attr.nlink());
    }
}

#[test]
fn renames_know_their_flags() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let (a, b) = (mounted.path("etc/motd"), mounted.path("etc/conf.d"));
    let rename = |flags| rustix::fs::renameat_with(CWD, bytes(&a), CWD, bytes(&b), flags);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(rustix::io::Errno::EXIST));
    let free = mounted.path("etc/free");
    let whiteout = rustix::fs::renameat_with(CWD, bytes(&a), CWD, bytes(&free), RenameFlags::WHITEOUT);
    assert_eq!(whiteout, Err(rustix::io::Errno::INVAL));
    rename(RenameFlags::EXCHANGE).unwrap();
    assert!(a.is_dir() && b.is_file());
    assert_eq!(fs::read_to_string(a.join("a")).unwrap(), "a\n");
}

#[test]
fn set_id_bits_groups_and_umask_are_as_on_linux() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let shared = mounted.path("shared");
    fs::create_dir(&shared).unwrap();
    rustix::fs::chown(bytes(&shared), Some(Uid::ROOT), Some(Gid::from_raw(4321))).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o2777)).unwrap();
    run(
        "setpriv",
        &[
            &"--reuid=1234",
            &"--regid=1234",
            &"--clear-groups",
            &"--",
            &"sh",
            &"-c",
            &r#"umask 027; cd "$0" && mkdir dir && : > file && printf x > set && chmod 6755 set && printf y >> set && mknod fifo p"#,
            &shared,
        ],
    );
    let of = |name: &str| {
        let it = fs::metadata(shared.join(name)).unwrap();
        (it.mode() & 0o7777, it.uid(), it.gid())
    };
    assert_eq!(of("dir"), (0o2750, 1234, 4321));
    assert_eq!(of("file"), (0o640, 1234, 4321));
    assert_eq!(of("fifo"), (0o640, 1234, 4321));
    // The group is not the caller's: chmod took the bit of the group, the write the user's.
    assert_eq!(of("set"), (0o755, 1234, 4321));
}

#[test]
fn permissions_are_checked_with_supplementary_groups_and_lists() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("etc/secret");
    fs::write(&path, "secret").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    rustix::fs::chown(bytes(&path), Some(Uid::ROOT), Some(Gid::from_raw(77))).unwrap();
    let can_read = |groups: &str, uid: &str| {
        let groups = format!("--groups={groups}");
        let uid = format!("--reuid={uid}");
        output("setpriv", &[&uid, &"--regid=1", &groups, &"cat", &path]).status.success()
    };
    assert!(can_read("5,77", "1234"));
    assert!(!can_read("5", "1234"));
    // user::rw- user:555:r-- group::r-- mask::r-- other::---
    let acl: Vec<u8> = [2u32.to_le_bytes().as_slice()]
        .into_iter()
        .chain([
            &[1, 0, 6, 0, 255, 255, 255, 255][..],
            &[2, 0, 4, 0, 43, 2, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ])
        .flatten()
        .copied()
        .collect();
    rustix::fs::setxattr(bytes(&path), "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
    assert!(can_read("5", "555"));
    assert!(!can_read("5", "556"));
    // A default list is inherited, and takes the umask's place.
    let dir = mounted.path("etc/lists");
    fs::create_dir(&dir).unwrap();
    rustix::fs::setxattr(bytes(&dir), "system.posix_acl_default", &acl, XattrFlags::empty()).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    assert_eq!(fs::metadata(dir.join("file")).unwrap().mode() & 0o777, 0o640);
    let mut value = [0u8; 64];
    let inherited = dir.join("sub");
    let len = rustix::fs::getxattr(bytes(&inherited), "system.posix_acl_default", &mut value).unwrap();
    assert_eq!(&value[..len], acl);
}

#[test]
fn holes_are_made_found_and_kept() {
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("sparse");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all_at(&[1; 65_536], 0).unwrap();
    let fd = rustix::fs::open(bytes(&path), rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&fd, flags, 16_384, 16_384).unwrap();
    assert_eq!(rustix::fs::seek(&fd, rustix::fs::SeekFrom::Hole(0)), Ok(16_384));
    assert_eq!(rustix::fs::seek(&fd, rustix::fs::SeekFrom::Data(16_384)), Ok(32_768));
    assert_eq!(rustix::fs::seek(&fd, rustix::fs::SeekFrom::Data(65_536)), Err(rustix::io::Errno::NXIO));
    let mut read = [9; 16_384];
    file.read_exact_at(&mut read, 16_384).unwrap();
    assert!(read.iter().all(|&byte| byte == 0));
    assert!(file.metadata().unwrap().blocks() < 65_536 / 512);
}

#[test]
fn a_large_directory_is_listed_whole_with_and_without_attributes() {
    let Some(place) = Place::new() else { return };
    let many = place.firmware().join("many");
    fs::create_dir(&many).unwrap();
    for index in 0..1500 {
        fs::write(many.join(format!("lower-{index:04}")), "").unwrap();
    }
    let mounted = place.mount_disk();
    for index in 0..1500 {
        fs::write(mounted.path(&format!("many/upper-{index:04}")), "").unwrap();
    }
    for index in (0..1500).step_by(2) {
        fs::remove_file(mounted.path(&format!("many/lower-{index:04}"))).unwrap();
    }
    assert_eq!(fs::read_dir(mounted.path("many")).unwrap().count(), 2250);
    let listed = run("ls", &[&"-lU", &mounted.path("many")]);
    assert_eq!(listed.lines().count(), 2251);
}

#[test]
fn names_of_extended_attributes_are_refused_as_on_linux() {
    use rustix::io::Errno;
    let Some(place) = Place::new() else { return };
    small_firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("etc/motd");
    let set = |name: &str| rustix::fs::setxattr(bytes(&path), name, b"v", XattrFlags::empty());
    let remove = |name: &str| rustix::fs::removexattr(bytes(&path), name);
    assert_eq!((set("user."), remove("user.")), (Err(Errno::INVAL), Err(Errno::INVAL)));
    assert_eq!((set("bogus.a"), remove("bogus.a")), (Err(Errno::OPNOTSUPP), Err(Errno::OPNOTSUPP)));
    assert_eq!((set("system.a"), remove("system.a")), (Err(Errno::OPNOTSUPP), Err(Errno::OPNOTSUPP)));
    assert_eq!((set("user.a"), remove("user.a"), remove("user.a")), (Ok(()), Ok(()), Err(Errno::NODATA)));
}
