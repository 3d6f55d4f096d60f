//! The overlay below the namespace: what a program sees of it, with permissions and the cache of names between.

mod support;

use std::sync::Arc;

use contract::fault::{Calls, FaultFs};
use support::{Tree, overlay, ram};
use vfs::{
    AT_FDCWD, At, AtFlags, Attr, Context, Credentials, DeviceNumber, Errno, FileSystem, Namespace, NamespaceOptions,
    NewKind, NewNode, OpenFlags, OpenHow, RenameFlags, Result, SetAttr,
};

struct World {
    ns: Arc<Namespace>,
    root: Context,
    lower: Tree,
    upper: Tree,
}

impl World {
    /// Over a lower layer that `build` fills.
    fn new(build: impl FnOnce(&Tree)) -> Self {
        let (upper, lower): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (ram(), ram());
        build(&Tree::of(&*lower));
        let fs = overlay(&upper, std::slice::from_ref(&lower));
        let ns = Namespace::new(fs, b"overlay", NamespaceOptions::default());
        let root = ns.context(Credentials::root(), 1);
        root.fs.set_umask(0);
        Self { ns, root, lower: Tree::of(&*lower), upper: Tree::of(&*upper) }
    }

    /// Over a lower layer where `d/a` and `d/b` are names of one file.
    fn with_links() -> Self {
        Self::new(|lower| {
            lower.mkdir("d").unwrap();
            lower.put("d/a", "old").unwrap();
            lower.link("d/a", "d/b").unwrap();
        })
    }

    fn user(&self, uid: u32, groups: &[u32]) -> Context {
        let user = self.ns.context(Credentials::user(uid, uid, groups), 2);
        user.fs.set_umask(0);
        user
    }

    fn attr(&self, path: &str) -> Attr {
        self.ns.statat(&self.root, AT_FDCWD, path.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW).unwrap().attr
    }

    fn open(&self, who: &Context, path: &str, flags: OpenFlags) -> Result<Arc<vfs::OpenFile>> {
        self.ns.open(who, AT_FDCWD, path.as_bytes(), &OpenHow::from_open(flags, 0o644))
    }

    fn write(&self, path: &str, content: &str) {
        let file = self.open(&self.root, path, OpenFlags::O_WRONLY | OpenFlags::O_TRUNC).unwrap();
        assert_eq!(file.write(&self.root, At::Position, content.as_bytes()).unwrap(), content.len());
    }

    fn read(&self, path: &str) -> String {
        let file = self.ns.open_path(&self.root, path.as_bytes(), OpenFlags::O_RDONLY).unwrap();
        let mut content = vec![0; 64];
        let len = file.read(At::Position, &mut content).unwrap();
        String::from_utf8(content[..len].to_vec()).unwrap()
    }

    fn chmod(&self, path: &str, mode: u32) {
        self.ns.fchmodat(&self.root, AT_FDCWD, path.as_bytes(), mode, AtFlags::empty()).unwrap();
    }

    fn rename(&self, who: &Context, from: &str, to: &str, flags: RenameFlags) -> Result<()> {
        self.ns.renameat2(who, AT_FDCWD, from.as_bytes(), AT_FDCWD, to.as_bytes(), flags)
    }

    fn unlink(&self, who: &Context, path: &str) -> Result<()> {
        self.ns.unlinkat(who, AT_FDCWD, path.as_bytes(), AtFlags::empty())
    }
}

fn errno<T>(result: Result<T>) -> Option<Errno> {
    result.err().map(|error| error.errno())
}

/// Gives an object of a layer owner and mode.
fn own(layer: &Tree, path: &str, owner: (u32, u32), mode: u16) {
    let (uid, gid) = (Some(owner.0), Some(owner.1));
    layer.get(path).unwrap().ops().set_attr(&SetAttr { uid, gid, mode: Some(mode), ..SetAttr::default() }).unwrap();
}

#[test]
fn a_write_reaches_the_name_that_was_opened() {
    let world = World::with_links();
    assert_eq!(world.attr("/d/a").ino, world.attr("/d/b").ino);
    world.write("/d/b", "new");
    assert_eq!(world.read("/d/b"), "new");
    world.ns.shrink_cache();
    assert_eq!(world.read("/d/b"), "new");
}

#[test]
fn a_lower_file_that_is_cut_is_copied_as_far_as_it_stays() {
    let (lower, upper) = (ram(), ram());
    let tree = Tree::of(&*lower);
    tree.put("f", "").unwrap();
    tree.file("f").unwrap().write_at(0, &[b'x'; 100_000]).unwrap();
    let (lower, reads) = FaultFs::new(lower);
    let (upper, writes) = FaultFs::new(upper);
    let (upper, lower): (Arc<dyn FileSystem>, Arc<dyn FileSystem>) = (upper, lower);
    let ns = Namespace::new(overlay(&upper, &[lower]), b"overlay", NamespaceOptions::default());
    let root = ns.context(Credentials::root(), 1);
    ns.truncate(&root, b"/f", 0).unwrap();
    assert_eq!(reads.count(Calls::READ) + writes.count(Calls::WRITE), 0);
    assert_eq!(ns.statat(&root, AT_FDCWD, b"/f", AtFlags::empty()).unwrap().attr.size, 0);
}

#[test]
fn a_name_that_is_removed_takes_no_other_with_it() {
    let world = World::with_links();
    assert_eq!(world.attr("/d/a").ino, world.attr("/d/b").ino);
    world.unlink(&world.root, "/d/a").unwrap();
    world.write("/d/b", "new");
    world.ns.shrink_cache();
    assert_eq!(world.read("/d/b"), "new");
    assert_eq!(world.attr("/d/b").nlink, 1);
}

#[test]
fn a_user_cannot_leave_a_whiteout() {
    let world = World::new(|lower| lower.put("f", "firmware").unwrap());
    let whiteout = RenameFlags::RENAME_WHITEOUT;
    for flags in [whiteout, whiteout | RenameFlags::RENAME_NOREPLACE, whiteout | RenameFlags::RENAME_EXCHANGE] {
        assert_eq!(errno(world.rename(&world.root, "/f", "/g", flags)), Some(Errno::EINVAL));
    }
    assert_eq!(world.read("/f"), "firmware");
    assert!(world.upper.names("").iter().all(|name| name == "work" || name == "index"), "nothing was copied up");
}

#[test]
fn devices_without_a_driver_and_sockets_answer_enxio_in_every_layer() {
    let world = World::new(|lower| {
        let device = NewKind::CharDevice(DeviceNumber::new(240, 7));
        lower.create("device", &NewNode::new(device, 0o666)).unwrap();
        lower.create("socket", &NewNode::new(NewKind::Socket, 0o666)).unwrap();
    });
    for _ in 0..2 {
        for (path, flags) in [("/device", OpenFlags::O_RDONLY), ("/device", OpenFlags::O_RDWR)] {
            assert_eq!(errno(world.open(&world.root, path, flags)), Some(Errno::ENXIO), "{path}");
        }
        assert_eq!(errno(world.open(&world.root, "/socket", OpenFlags::O_RDONLY)), Some(Errno::ENXIO));
        // By their names alone they can be held.
        world.open(&world.root, "/socket", OpenFlags::O_PATH).unwrap();
        // The same again, copied up.
        world.chmod("/device", 0o600);
        world.chmod("/socket", 0o600);
        assert_eq!(world.upper.get("device").unwrap().attr().unwrap().rdev, DeviceNumber::new(240, 7));
    }
}

#[test]
fn everything_is_on_one_device_before_and_after_its_copy_up() {
    let world = World::new(|lower| {
        lower.mkdir("d").unwrap();
        lower.put("d/f", "").unwrap();
        lower.symlink("d/l", "f").unwrap();
        lower.create("d/p", &NewNode::new(NewKind::Fifo, 0o644)).unwrap();
    });
    let paths = ["/", "/d", "/d/f", "/d/l", "/d/p"];
    let before = paths.map(|path| (world.attr(path).dev, world.attr(path).ino));
    assert!(before.iter().all(|&(dev, _)| dev == before[0].0), "{before:?}");
    world.chmod("/d/f", 0o600);
    world.chmod("/d/p", 0o600);
    world.rename(&world.root, "/d/l", "/d/moved", RenameFlags::empty()).unwrap();
    world.rename(&world.root, "/d/moved", "/d/l", RenameFlags::empty()).unwrap();
    assert_eq!(paths.map(|path| (world.attr(path).dev, world.attr(path).ino)), before);
    for path in ["d/f", "d/l", "d/p"] {
        let (lower, upper) = (world.lower.get(path).unwrap().id(), world.upper.get(path).unwrap().id());
        assert!(lower.dev != upper.dev && upper.dev != before[0].0, "{path} is on other devices below");
    }
}

#[test]
fn the_caller_is_judged_by_the_attributes_of_the_overlay() {
    let world = World::new(|lower| {
        lower.mkdir("d").unwrap();
        lower.put("d/secret", "secret").unwrap();
        lower.put("d/shared", "shared").unwrap();
        own(lower, "d/secret", (0, 0), 0o600);
        own(lower, "d/shared", (0, 70), 0o664);
    });
    let (user, member) = (world.user(1000, &[]), world.user(1000, &[70]));
    let (read, write) = (OpenFlags::O_RDONLY, OpenFlags::O_WRONLY);
    assert_eq!(errno(world.open(&user, "/d/secret", read)), Some(Errno::EACCES));
    assert_eq!(errno(world.open(&user, "/d/shared", write)), Some(Errno::EACCES));
    assert!(!world.upper.has("d"), "a refusal copies nothing up");
    // A supplementary group suffices, and the copy is made with the rights of who mounted: `d` is not the member's to write.
    world.open(&member, "/d/shared", write).unwrap();
    let copy = world.upper.get("d/shared").unwrap().attr().unwrap();
    assert_eq!((copy.uid, copy.gid), (0, 70));
    // What the overlay says counts, not what the lower layer does.
    world.chmod("/d/secret", 0o644);
    world.open(&user, "/d/secret", read).unwrap();
    assert_eq!(world.lower.get("d/secret").unwrap().attr().unwrap().mode, 0o600);
    world.chmod("/d/shared", 0o600);
    assert_eq!(errno(world.open(&member, "/d/shared", read)), Some(Errno::EACCES));
    // Root may whatever the bits say.
    world.chmod("/d/shared", 0);
    world.open(&world.root, "/d/shared", OpenFlags::O_RDWR).unwrap();
}

#[test]
fn sticky_and_set_group_id_of_lower_directories_hold() {
    let world = World::new(|lower| {
        for dir in ["tmp", "group"] {
            lower.mkdir(dir).unwrap();
        }
        lower.put("tmp/hers", "").unwrap();
        own(lower, "tmp", (0, 0), 0o1777);
        own(lower, "tmp/hers", (1001, 1001), 0o666);
        own(lower, "group", (0, 70), 0o2777);
    });
    let (his, hers) = (world.user(1000, &[]), world.user(1001, &[]));
    assert_eq!(errno(world.unlink(&his, "/tmp/hers")), Some(Errno::EPERM));
    assert_eq!(errno(world.rename(&his, "/tmp/hers", "/tmp/his", RenameFlags::empty())), Some(Errno::EPERM));
    assert!(!world.upper.has("tmp/hers"));
    world.unlink(&hers, "/tmp/hers").unwrap();
    let create = OpenFlags::O_CREAT | OpenFlags::O_WRONLY;
    world.open(&his, "/group/file", create).unwrap();
    world.ns.mkdirat(&his, AT_FDCWD, b"/group/dir", 0o755).unwrap();
    let (file, dir) = (world.attr("/group/file"), world.attr("/group/dir"));
    assert_eq!((file.uid, file.gid), (1000, 70));
    assert_eq!((dir.uid, dir.gid, dir.mode), (1000, 70, 0o2755));
}

#[test]
fn the_working_directory_has_its_new_name_right_after_a_rename() {
    let world = World::new(|lower| {
        for dir in ["d", "d/e", "other"] {
            lower.mkdir(dir).unwrap();
        }
        lower.put("d/e/f", "here").unwrap();
    });
    let user = world.user(1000, &[]);
    world.ns.chdir(&user, b"/d/e").unwrap();
    world.rename(&world.root, "/d", "/other/moved", RenameFlags::empty()).unwrap();
    assert_eq!(world.ns.getcwd(&user).unwrap(), b"/other/moved/e");
    world.rename(&world.root, "/other/moved/e", "/other/x", RenameFlags::empty()).unwrap();
    assert_eq!(world.ns.getcwd(&user).unwrap(), b"/other/x");
    world.rename(&world.root, "/other/x", "/other/moved", RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(world.ns.getcwd(&user).unwrap(), b"/other/moved");
    // What is below it is found from there.
    assert!(world.open(&user, "f", OpenFlags::O_RDONLY).is_ok());
}

#[test]
fn a_directory_that_could_not_be_removed_is_still_the_working_directory() {
    let world = World::new(|lower| {
        lower.mkdir("d").unwrap();
        lower.mkdir("d/full").unwrap();
        lower.put("d/full/f", "").unwrap();
    });
    world.ns.chdir(&world.root, b"/d/full").unwrap();
    let rmdir = world.ns.unlinkat(&world.root, AT_FDCWD, b"../full", AtFlags::AT_REMOVEDIR);
    assert_eq!(errno(rmdir), Some(Errno::ENOTEMPTY));
    assert_eq!(world.ns.getcwd(&world.root).unwrap(), b"/d/full");
    assert!(world.open(&world.root, "f", OpenFlags::O_RDONLY).is_ok());
}

#[test]
fn what_is_made_over_a_whiteout_is_its_makers_and_takes_over_the_group() {
    let world = World::new(|lower| {
        for dir in ["own", "group"] {
            lower.mkdir(dir).unwrap();
            for file in ["file", "dir", "link"] {
                lower.put(&format!("{dir}/{file}"), "").unwrap();
            }
        }
        own(lower, "own", (0, 0), 0o777);
        own(lower, "group", (0, 70), 0o2777);
    });
    let user = world.user(1000, &[]);
    for (dir, gid, mode) in [("own", 1000, 0o755), ("group", 70, 0o2755)] {
        for name in ["file", "dir", "link"] {
            world.unlink(&user, &format!("/{dir}/{name}")).unwrap();
            assert!(world.upper.get(&format!("{dir}/{name}")).unwrap().attr().unwrap().is_whiteout());
        }
        let (file, link) = (format!("/{dir}/file"), format!("/{dir}/link"));
        world.open(&user, &file, OpenFlags::O_CREAT | OpenFlags::O_WRONLY).unwrap();
        world.ns.mkdirat(&user, AT_FDCWD, format!("/{dir}/dir").as_bytes(), 0o755).unwrap();
        world.ns.linkat(&user, AT_FDCWD, file.as_bytes(), AT_FDCWD, link.as_bytes(), AtFlags::empty()).unwrap();
        let made = world.attr(&format!("/{dir}/dir"));
        assert_eq!((made.uid, made.gid, made.mode), (1000, gid, mode), "{dir}");
        for path in [file, link] {
            let made = world.attr(&path);
            assert_eq!((made.uid, made.gid, made.mode, made.nlink), (1000, gid, 0o644, 2), "{path}");
        }
    }
}
