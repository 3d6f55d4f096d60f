//! Inode flags on the host mount: `chattr(1)` sets them, `lsattr(1)` shows them, and what they protect stays.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, RenameFlags, XattrFlags};
use support::{Place, output, run};

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

fn firmware(place: &Place) {
    let firmware = place.firmware();
    fs::create_dir_all(firmware.join("d/empty")).unwrap();
    for file in ["f", "log", "d/x", "loose"] {
        fs::write(firmware.join(file), "firmware").unwrap();
    }
}

/// The letters that `lsattr(1)` shows.
fn letters(path: &Path) -> String {
    let shown = output("lsattr", &[&"-d", &path]);
    assert!(shown.status.success(), "{shown:?}");
    let text = String::from_utf8(shown.stdout).unwrap();
    // ext4's own letter tells of extents.
    text.split_whitespace().next().unwrap().replace(['-', 'e'], "")
}

#[test]
fn chattr_sets_flags_that_lsattr_shows_and_a_remount_keeps() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    assert_eq!(letters(&mounted.path("f")), "");
    for (path, flags) in [("f", "+id"), ("log", "+aA"), ("d", "+i")] {
        run("chattr", &[&flags, &mounted.path(path)]);
    }
    mounted.unmount();
    place.check_image();
    let mounted = place.mount_disk();
    for (path, shown) in [("f", "id"), ("log", "aA"), ("d", "i")] {
        assert_eq!(letters(&mounted.path(path)), shown);
    }
    run("chattr", &[&"-i", &mounted.path("f")]);
    run("chattr", &[&"-i", &mounted.path("d")]);
    assert_eq!((letters(&mounted.path("f")), letters(&mounted.path("d"))), ("d".into(), String::new()));
    fs::remove_file(mounted.path("f")).unwrap();
    mounted.unmount();
    place.check_image();
}

#[track_caller]
fn refused<T, E: Into<std::io::Error>>(result: Result<T, E>) {
    let error = result.err().expect("it should have been refused").into();
    assert_eq!(error.raw_os_error(), Some(1), "{error}");
}

fn os<T>(result: rustix::io::Result<T>) -> std::io::Result<T> {
    result.map_err(|errno| std::io::Error::from_raw_os_error(errno.raw_os_error()))
}

#[test]
fn what_is_protected_stays_as_it_is() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let at = |path: &str| mounted.path(path);
    let mut open_before = OpenOptions::new().write(true).open(at("f")).unwrap();
    for (path, flags) in [("f", "+i"), ("log", "+a"), ("d", "+i")] {
        run("chattr", &[&flags, &at(path)]);
    }
    let rename =
        |from: &str, to: &str, flags| os(rustix::fs::renameat_with(CWD, bytes(&at(from)), CWD, bytes(&at(to)), flags));
    let append = |path: &str| OpenOptions::new().append(true).open(at(path));
    for path in ["f", "log"] {
        refused(File::create(at(path)));
        refused(OpenOptions::new().write(true).open(at(path)));
        refused(fs::set_permissions(at(path), fs::Permissions::from_mode(0o600)));
        refused(std::os::unix::fs::chown(at(path), Some(7), None));
        refused(os(rustix::fs::setxattr(bytes(&at(path)), "user.a", b"1", XattrFlags::empty())));
        refused(fs::hard_link(at(path), at("link")));
        refused(fs::remove_file(at(path)));
        refused(rename(path, "moved", RenameFlags::empty()));
        refused(rename("loose", path, RenameFlags::empty()));
        refused(rename("loose", path, RenameFlags::EXCHANGE));
        refused(File::open(at(path)).unwrap().set_modified(SystemTime::UNIX_EPOCH));
    }
    refused(open_before.write(b"x"));
    refused(append("f"));
    let mut log = append("log").unwrap();
    log.write_all(b", added").unwrap();
    refused(log.set_len(0));
    let fd = os(rustix::fs::open(bytes(&at("log")), OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC, Mode::empty()))
        .unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    refused(os(rustix::fs::fallocate(&fd, punch, 0, 4)));
    os(rustix::fs::fallocate(&fd, FallocateFlags::KEEP_SIZE, 0, 4096)).unwrap();
    let touch = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0x3fff_ffff },
        last_modification: rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0x3fff_ffff },
    };
    let touched = |path: &str| os(rustix::fs::utimensat(CWD, bytes(&at(path)), &touch, AtFlags::empty()));
    refused(touched("f"));
    touched("log").unwrap();

    refused(File::create(at("d/new")));
    refused(fs::create_dir(at("d/new")));
    refused(fs::remove_file(at("d/x")));
    refused(fs::remove_dir(at("d/empty")));
    refused(rename("d/x", "d/y", RenameFlags::empty()));
    refused(rename("loose", "d/in", RenameFlags::empty()));
    refused(fs::hard_link(at("loose"), at("d/in")));
    fs::write(at("d/x"), "what is in it changes").unwrap();
    run("chattr", &[&"-i", &at("d")]);
    run("chattr", &[&"+a", &at("d")]);
    fs::write(at("d/new"), "").unwrap();
    refused(fs::remove_file(at("d/new")));
    assert_eq!(fs::read_to_string(at("f")).unwrap(), "firmware");
    assert_eq!(fs::read_to_string(at("log")).unwrap(), "firmware, added");
    drop((open_before, log, fd));
    mounted.unmount();
    place.check_image();
}
