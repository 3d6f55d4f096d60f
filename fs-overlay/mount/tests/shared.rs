//! What users of one file see of each other: locks, mappings, times. All of it begins with a file of the firmware.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use support::mapping::Mapping;
use support::{Place, output, run};

fn open(path: &Path, flags: OFlags) -> OwnedFd {
    use std::os::unix::ffi::OsStrExt as _;
    rustix::fs::open(path.as_os_str().as_bytes(), flags, Mode::empty()).unwrap()
}

fn firmware(place: &Place) {
    fs::create_dir(place.firmware().join("d")).unwrap();
    fs::write(place.firmware().join("d/f"), "This is old news").unwrap();
}

#[test]
fn a_lock_holds_over_the_copy_up_of_its_file() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("d/f");
    let holder = open(&path, OFlags::RDONLY);
    rustix::fs::flock(&holder, FlockOperation::LockExclusive).unwrap();
    fs::write(&path, "new").unwrap();
    let other = open(&path, OFlags::RDWR);
    let try_lock = || rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive);
    assert_eq!(try_lock(), Err(Errno::WOULDBLOCK));
    // The list of locks tells the file by the number that `stat` gives.
    let number = format!(":{} ", fs::metadata(&path).unwrap().ino());
    assert!(fs::read_to_string("/proc/locks").unwrap().contains(&number));
    drop(holder);
    // A process that another test is just starting has all descriptors for a moment.
    let begin = Instant::now();
    while try_lock().is_err() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the lock is held by nobody");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn mappings_made_before_and_after_the_copy_up_are_one() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let path = mounted.path("d/f");
    // They outlive the descriptors.
    let early = Mapping::readable(&open(&path, OFlags::RDONLY), 16);
    assert_eq!(early.load(0..16), b"This is old news");
    let writer = open(&path, OFlags::RDWR);
    rustix::io::pwrite(&writer, b"That", 0).unwrap();
    assert_eq!(early.load(0..16), b"That is old news");
    let late = Mapping::writable(&writer, 16);
    drop(writer);
    late.store(8, b"new");
    drop(late);
    assert_eq!(early.load(0..16), b"That is new news");
    assert_eq!(fs::read(&path).unwrap(), b"That is new news");
    drop(early);
    mounted.unmount();
    let mounted = place.mount_disk();
    let again = Mapping::readable(&open(&mounted.path("d/f"), OFlags::RDONLY), 16);
    assert_eq!(again.load(0..16), b"That is new news");
}

#[test]
fn a_store_to_a_mapping_alone_copies_the_file_up() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let mapping = Mapping::writable(&open(&mounted.path("d/f"), OFlags::RDWR), 16);
    mapping.store(0, b"That");
    mapping.sync().unwrap();
    drop(mapping);
    mounted.unmount();
    place.check_image();
    let mounted = place.mount_disk();
    assert_eq!(fs::read(mounted.path("d/f")).unwrap(), b"That is old news");
}

#[test]
fn access_times_of_what_was_changed_follow_relatime() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let (dir, file) = (mounted.path("made"), mounted.path("file"));
    fs::create_dir(&dir).unwrap();
    fs::write(&file, "content").unwrap();
    let accessed = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.atime(), meta.atime_nsec())
    };
    let read = || {
        let fd = open(&file, OFlags::RDONLY);
        // The kernel forgets what it has of it, and asks.
        rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        rustix::io::pread(&fd, &mut [0; 4][..], 0).unwrap();
    };
    let list = || assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let looks: [(&Path, &dyn Fn()); 2] = [(&dir, &list), (&file, &read)];
    for (path, look) in looks {
        look();
        let first = accessed(path);
        std::thread::sleep(Duration::from_millis(20));
        look();
        assert_eq!(accessed(path), first, "{}: nothing has changed since", path.display());
        run("touch", &[&"-m", &path]);
        std::thread::sleep(Duration::from_millis(20));
        look();
        assert!(accessed(path) > first, "{}", path.display());
    }
    let before = accessed(&dir);
    run("touch", &[&"-m", &dir]);
    let quiet = open(&dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME);
    assert_eq!(rustix::fs::Dir::new(quiet).unwrap().count(), 2);
    assert_eq!(accessed(&dir), before, "listed with O_NOATIME");
}

#[test]
fn root_of_a_user_namespace_changes_what_is_roots() {
    let Some(place) = Place::new() else { return };
    firmware(&place);
    let mounted = place.mount_disk();
    let script = "cd \"$0\" && touch d/1 d/2 && rm -rf d && test ! -e d && mkdir d && chown 0:0 d";
    let done = output("unshare", &[&"-m", &"-p", &"-f", &"-U", &"-r", &"sh", &"-c", &script, &mounted.path("")]);
    if String::from_utf8_lossy(&done.stderr).starts_with("unshare:") {
        println!("SKIPPED: no user namespaces here");
        return;
    }
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_dir(mounted.path("d")).unwrap().count(), 0);
    assert_eq!(fs::metadata(mounted.path("d")).unwrap().uid(), 0);
}
