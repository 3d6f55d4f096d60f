//! Inode flags and the UUID beside Linux's overlayfs: each reads what the other wrote, on disks that change sides.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use fs_overlay::{Layers, Options, OverlayFs, UuidMode};
use support::disk::Disk;
use support::linux::{self, Linux};
use support::{Tree, context};
use vfs::{FileSystem, InodeFlags};

const A: InodeFlags = InodeFlags::APPEND;
const I: InodeFlags = InodeFlags::IMMUTABLE;
const PROTATTR: &str = "trusted.overlay.protattr";

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// In a thread of its own, whose mount namespace goes with it.
fn apart(test: fn()) {
    std::thread::spawn(test).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn mounted(disk: &Disk, options: Options) -> (Arc<dyn FileSystem>, Arc<OverlayFs>) {
    let ext4 = disk.mount(context());
    let layers = Layers {
        upper: Some(Disk::layer(&ext4, "u")),
        work: Some(Disk::layer(&ext4, "w")),
        lowers: vec![Disk::layer(&ext4, "l0")],
    };
    let fs = OverlayFs::mount(context(), layers, options).unwrap();
    (ext4, fs)
}

fn unmounted((ext4, fs): (Arc<dyn FileSystem>, Arc<OverlayFs>)) {
    fs.unmount().unwrap();
    drop(fs);
    ext4.unmount().unwrap();
}

/// What a side shows: of each path its flags through the overlay; of the upper's its own flags and the letters beside them.
type Shown = BTreeMap<String, String>;

const PATHS: [&str; 9] = ["f", "g", "h", "s", "d", "d/x", "e", "e/y", "new"];

fn ours((ext4, fs): &(Arc<dyn FileSystem>, Arc<OverlayFs>)) -> Shown {
    let (merged, upper) = (Tree::of(&**fs), Tree(Disk::layer(ext4, "u").root));
    let mut shown = Shown::new();
    for path in PATHS {
        if merged.has(path) {
            shown.insert(path.into(), format!("{:?}", merged.flags(path)));
        }
        if upper.has(path) {
            let letters = upper.xattr(path, PROTATTR).map(|value| String::from_utf8(value).unwrap());
            shown.insert(format!("upper {path}"), format!("{:?} {letters:?}", upper.flags(path)));
        }
    }
    shown
}

fn linuxs(linux: &Linux) -> Shown {
    let mut shown = Shown::new();
    for path in PATHS {
        if let Some(flags) = linux::flags(&linux.merged().join(path)) {
            shown.insert(path.into(), format!("{flags:?}"));
        }
        let upper = linux.upper().join(path);
        if let Some(flags) = linux::flags(&upper) {
            let mut value = [0; 64];
            let len = rustix::fs::lgetxattr(bytes(&upper), PROTATTR, &mut value[..]);
            let letters = len.ok().map(|len| String::from_utf8(value[..len].to_vec()).unwrap());
            shown.insert(format!("upper {path}"), format!("{flags:?} {letters:?}"));
        }
    }
    shown
}

/// What is done first: copies of what is protected, and flags set through the overlay.
const FIRST: [(&str, Step); 8] = [
    ("f", Step::Flags(I.union(InodeFlags::NODUMP))),
    ("g", Step::Append),
    ("h", Step::Flags(InodeFlags::empty())),
    ("s", Step::Append),
    ("d/x", Step::Append),
    ("e", Step::Flags(A.union(I).union(InodeFlags::NODUMP))),
    ("new", Step::Create),
    ("new", Step::Flags(A.union(InodeFlags::NOATIME).union(InodeFlags::SYNC))),
];

/// And once the disks have changed sides.
const SECOND: [(&str, Step); 5] = [
    ("f", Step::Flags(A.union(I))),
    ("g", Step::Flags(InodeFlags::empty())),
    ("d", Step::Flags(I)),
    ("e", Step::Flags(InodeFlags::DIRSYNC)),
    ("new", Step::Flags(InodeFlags::NODUMP)),
];

#[derive(Clone, Copy)]
enum Step {
    Create,
    Append,
    Flags(InodeFlags),
}

fn on_ours(fs: &OverlayFs, steps: &[(&str, Step)]) {
    let tree = Tree::of(fs);
    for (path, step) in steps {
        match step {
            Step::Create => tree.put(path, "new").unwrap(),
            Step::Append => tree.append(path, "!").unwrap(),
            Step::Flags(flags) => {
                let others = tree.get(path).unwrap().attr().unwrap().flags.unwrap() - InodeFlags::COMMON;
                tree.set_flags(path, others | *flags).unwrap();
            }
        }
    }
}

fn on_linux(merged: &Path, steps: &[(&str, Step)]) {
    use std::io::Write as _;
    for (path, step) in steps {
        let path = merged.join(path);
        match step {
            Step::Create => fs::write(&path, "new").unwrap(),
            Step::Append => OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap(),
            Step::Flags(flags) => linux::set_flags(&path, *flags).unwrap(),
        }
    }
}

fn interchange() {
    let Some(mut linux) = Linux::new(1, "redirect_dir=on,xino=on") else { return };
    let mut disk = Disk::new(16 << 20, 77, context());
    let ext4 = disk.mount(context());
    let root = Tree::of(&*ext4);
    root.mkdir("l0").unwrap();
    let lower = Tree(root.dir("l0").unwrap());
    for dir in ["d", "e"] {
        lower.mkdir(dir).unwrap();
    }
    for file in ["f", "g", "h", "s", "d/x", "e/y"] {
        lower.put(file, "lower").unwrap();
    }
    for (path, flags) in [("g", A), ("h", I | A), ("s", InodeFlags::SYNC | InodeFlags::NOATIME | InodeFlags::NODUMP)] {
        lower.set_flags(path, flags).unwrap();
    }
    lower.set_flags("d", I | InodeFlags::DIRSYNC).unwrap();
    ext4.unmount().unwrap();
    assert_eq!(disk.damage(), None);
    disk.store(&linux.image());
    if let Err(error) = linux.use_whole_image() {
        println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
        return;
    }
    linux.mount().unwrap();
    let mut mine = mounted(&disk, Options::default());
    assert_eq!(ours(&mine), linuxs(&linux), "before the first step");
    for steps in [&FIRST[..], &SECOND[..]] {
        on_ours(&mine.1, steps);
        on_linux(&linux.merged(), steps);
        let shown = ours(&mine);
        assert_eq!(shown, linuxs(&linux));
        unmounted(mine);
        linux.unmount();
        linux.leave_image();
        // The disks change sides.
        let theirs = Disk::load(&linux.image());
        assert_eq!((disk.damage(), theirs.damage()), (None, None));
        disk.store(&linux.image());
        linux.use_whole_image().unwrap();
        linux.mount().unwrap();
        mine = mounted(&theirs, Options::default());
        assert_eq!(ours(&mine), shown, "what Linux wrote, read here");
        assert_eq!(linuxs(&linux), shown, "what was written here, read by Linux");
        disk = theirs;
    }
    unmounted(mine);
    linux.unmount();
    linux.leave_image();
}

/// `f_fsid`, as both tell it.
fn fsid(linux: &Linux) -> u64 {
    rustix::fs::statvfs(bytes(&linux.merged())).unwrap().f_fsid
}

fn uuids() {
    const RANDOM: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x10\x32\x54\x76\x98\xba\xdc\xfe";
    for made_by_linux in [false, true] {
        let Some(mut linux) = Linux::new(1, "uuid=auto") else { return };
        let disk = Disk::new(16 << 20, 78, context());
        let ext4 = disk.mount(context());
        Tree::of(&*ext4).mkdir("l0").unwrap();
        ext4.unmount().unwrap();
        let options = |uuid, random| Options { uuid, random, ..Options::default() };
        if !made_by_linux {
            let mine = mounted(&disk, options(UuidMode::Auto, Some(RANDOM)));
            let stored = Tree(Disk::layer(&mine.0, "u").root).xattr("", "trusted.overlay.uuid").unwrap();
            assert_eq!((stored.len(), stored[6] >> 4, stored[8] >> 6), (16, 4, 2), "a random UUID");
            unmounted(mine);
        }
        disk.store(&linux.image());
        if let Err(error) = linux.use_whole_image() {
            println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
            return;
        }
        linux.mount().unwrap();
        let theirs = fsid(&linux);
        linux.unmount();
        linux.leave_image();
        let disk = Disk::load(&linux.image());
        for uuid in [UuidMode::Auto, UuidMode::On] {
            let mine = mounted(&disk, options(uuid, Some([0xff; 16])));
            assert_eq!(mine.1.statfs().unwrap().id, theirs, "{uuid:?}, made by Linux: {made_by_linux}");
            unmounted(mine);
        }
        for uuid in [UuidMode::Null, UuidMode::Off] {
            let mine = mounted(&disk, options(uuid, Some([0xff; 16])));
            assert_eq!(mine.1.statfs().unwrap().id, mine.0.statfs().unwrap().id, "{uuid:?}");
            unmounted(mine);
        }
    }
}

#[test]
fn flags_are_kept_as_linux_keeps_them_and_on_each_others_disks() {
    apart(interchange);
}

#[test]
fn an_overlay_has_the_identity_that_linux_sees_in_its_upper() {
    apart(uuids);
}
