//! Inode flags over copy-up: what protects a file is beside the inode of the upper, the rest on it.

use contract::fault::{Calls, FaultFs};
use vfs::{AT_FDCWD, At, AtFlags, Credentials, Errno, FileSystem, InodeFlags, Namespace, NamespaceOptions, OpenFlags};

use crate::support::disk::Disk;
use crate::support::{Rig, Tree, context};

const PROTATTR: &str = "trusted.overlay.protattr";
const A: InodeFlags = InodeFlags::APPEND;
const I: InodeFlags = InodeFlags::IMMUTABLE;

fn rig() -> Rig {
    Rig::new(|lower| {
        lower.mkdir("d").unwrap();
        for file in ["d/f", "d/g", "plain"] {
            lower.put(file, "content").unwrap();
        }
    })
}

/// The flags of the lower layer, set below the overlay.
fn protect_lower(rig: &Rig, path: &str, flags: InodeFlags) {
    Tree::of(&*rig.lower).set_flags(path, flags).unwrap();
}

#[test]
fn a_copy_shows_what_protected_the_lower_file_and_does_not_have_it() {
    let mut rig = rig();
    protect_lower(&rig, "d/f", A | I | InodeFlags::NOATIME | InodeFlags::NODUMP);
    protect_lower(&rig, "d", A);
    assert_eq!(rig.tree().flags("d/f"), A | I | InodeFlags::NOATIME | InodeFlags::NODUMP);
    rig.tree().append("d/f", "!").unwrap();
    for _ in 0..2 {
        assert_eq!(rig.tree().flags("d/f"), A | I | InodeFlags::NOATIME, "as on Linux, NODUMP is not copied");
        assert_eq!(rig.tree().flags("d"), A);
        assert_eq!((rig.raw().flags("d/f"), rig.raw().flags("d")), (InodeFlags::NOATIME, InodeFlags::empty()));
        assert_eq!(rig.raw().xattr("d/f", PROTATTR).as_deref(), Some(&b"ai"[..]));
        assert_eq!(rig.raw().xattr("d", PROTATTR).as_deref(), Some(&b"a"[..]));
        rig.remount();
    }
    assert_eq!(rig.tree().xattr("d/f", PROTATTR), None, "it is hidden");
    rig.tree().put("d/new", "").unwrap();
    assert_eq!(rig.tree().flags("d/new"), InodeFlags::empty());
}

#[test]
fn setting_flags_copies_up_and_writes_the_letters() {
    let mut rig = rig();
    rig.tree().set_flags("plain", I | InodeFlags::NODUMP).unwrap();
    assert_eq!(rig.tree().layer("plain"), "upper");
    assert_eq!(rig.tree().flags("plain"), I | InodeFlags::NODUMP);
    assert_eq!(rig.raw().flags("plain"), InodeFlags::NODUMP);
    assert_eq!(rig.raw().xattr("plain", PROTATTR).as_deref(), Some(&b"i"[..]));
    rig.tree().set_flags("plain", A | I).unwrap();
    assert_eq!(rig.raw().xattr("plain", PROTATTR).as_deref(), Some(&b"ai"[..]));
    assert_eq!((rig.tree().flags("plain"), rig.raw().flags("plain")), (A | I, InodeFlags::empty()));
    rig.remount();
    assert_eq!(rig.tree().flags("plain"), A | I);
    rig.tree().set_flags("plain", InodeFlags::empty()).unwrap();
    assert_eq!((rig.raw().xattr("plain", PROTATTR), rig.tree().flags("plain")), (None, InodeFlags::empty()));
    rig.remount();
    assert_eq!(rig.tree().flags("plain"), InodeFlags::empty());
    assert_eq!(rig.tree().read("plain").unwrap(), "content");
}

#[test]
fn clearing_the_flags_of_a_lower_file_is_one_copy_up() {
    let rig = rig();
    protect_lower(&rig, "d/f", I);
    rig.tree().set_flags("d/f", InodeFlags::empty()).unwrap();
    assert_eq!(rig.tree().flags("d/f"), InodeFlags::empty());
    assert_eq!(rig.raw().xattr("d/f", PROTATTR), None);
}

#[test]
fn letters_are_read_as_linux_reads_them() {
    let mut rig = rig();
    for (name, letters, flags) in [
        ("one", &b"i"[..], I),
        ("order", b"ia", A | I),
        ("unknown", b"aX", InodeFlags::empty()),
        ("none", b"", InodeFlags::empty()),
    ] {
        rig.raw().put(name, "").unwrap();
        rig.raw().set_xattr(name, PROTATTR, letters).unwrap();
        assert_eq!(rig.tree().flags(name), flags, "{name}");
    }
    let lower = Tree::of(&*rig.lower);
    lower.set_xattr("plain", PROTATTR, b"i").unwrap();
    rig.remount();
    assert_eq!(rig.tree().flags("plain"), InodeFlags::empty(), "a lower layer's letters are its own overlay's");
    rig.tree().append("plain", "!").unwrap();
    assert_eq!(rig.tree().flags("plain"), InodeFlags::empty());
    // What an old kernel left on the inode itself counts, and goes with the next change.
    rig.raw().put("old", "").unwrap();
    rig.raw().set_flags("old", I).unwrap();
    assert_eq!(rig.tree().flags("old"), I);
    rig.tree().set_flags("old", A).unwrap();
    assert_eq!((rig.tree().flags("old"), rig.raw().flags("old")), (A, InodeFlags::empty()));
}

#[test]
fn a_refused_flag_copies_nothing_up() {
    let rig = rig();
    for path in ["plain", "d"] {
        // The upper of this rig has no such flag.
        assert_eq!(rig.tree().set_flags(path, InodeFlags::SYNC).unwrap_err(), Errno::EOPNOTSUPP);
        assert!(rig.tree().layer(path).starts_with("lower"), "{path}");
    }
    rig.tree().symlink("link", "nowhere").unwrap();
    assert_eq!(rig.tree().set_flags("link", InodeFlags::NODUMP).unwrap_err(), Errno::ENOTTY);
}

#[test]
fn a_users_letters_on_an_overlay_are_only_an_attribute() {
    let mut rig = rig();
    rig.tree().set_xattr("plain", PROTATTR, b"i").unwrap();
    assert_eq!(rig.tree().flags("plain"), InodeFlags::empty());
    rig.remount();
    assert_eq!(rig.tree().flags("plain"), InodeFlags::empty());
    assert_eq!(rig.tree().xattr("plain", PROTATTR).as_deref(), Some(&b"i"[..]));
    rig.fs.unmount().unwrap();
}

#[test]
fn what_the_flags_want_durable_is_synced() {
    let ext4 = Disk::new(16 << 20, 5, context()).mount(context());
    let tree = Tree::of(&*ext4);
    for (dir, flags) in [("d", InodeFlags::DIRSYNC), ("s", InodeFlags::SYNC), ("plain", InodeFlags::empty())] {
        tree.mkdir(dir).unwrap();
        tree.put(&format!("{dir}/f"), "").unwrap();
        tree.set_flags(dir, flags).unwrap();
    }
    tree.set_flags("d/f", InodeFlags::SYNC).unwrap();
    let (fs, calls) = FaultFs::new(ext4);
    let ns = Namespace::new(fs, b"disk", NamespaceOptions::default());
    let root = ns.context(Credentials::root(), 1);
    let syncs = |act: &dyn Fn()| {
        calls.reset();
        act();
        calls.count(Calls::SYNC)
    };
    let write = |path: &str| {
        let file = ns.open_path(&root, path.as_bytes(), OpenFlags::O_WRONLY).unwrap();
        file.write(&root, At::Position, b"x").unwrap();
    };
    assert_eq!(syncs(&|| write("/d/f")), 1, "a write");
    assert_eq!(syncs(&|| write("/s/f")), 0, "what is in a directory was there before its flag");
    for (dir, each) in [("d", 1), ("s", 1), ("plain", 0)] {
        let at = |name: &str| format!("/{dir}/{name}").into_bytes();
        assert_eq!(syncs(&|| ns.mkdirat(&root, AT_FDCWD, &at("new"), 0o755).unwrap()), each, "mkdir in {dir}");
        let create = || drop(ns.open_path(&root, &at("file"), OpenFlags::O_CREAT | OpenFlags::O_WRONLY).unwrap());
        assert_eq!(syncs(&create), each, "a new file in {dir}");
        assert_eq!(syncs(&|| ns.unlinkat(&root, AT_FDCWD, &at("file"), AtFlags::empty()).unwrap()), each);
        let none = vfs::RenameFlags::empty();
        let rename = || ns.renameat2(&root, AT_FDCWD, &at("f"), AT_FDCWD, b"/moved", none).unwrap();
        assert_eq!(syncs(&rename), each, "a rename out of {dir}");
        ns.unlinkat(&root, AT_FDCWD, b"/moved", AtFlags::empty()).unwrap();
    }
    assert_eq!(syncs(&|| ns.mkdirat(&root, AT_FDCWD, b"/s/new/inherits", 0o755).unwrap()), 1, "SYNC is inherited");
}
