//! The dentry cache: what is known is not asked again, and what changes is known at once.

mod common;

use std::sync::Arc;

use common::{World, errno, ramfs};
use contract::fault::Calls;
use vfs::{
    AT_FDCWD, AtFlags, DirOps, Errno, Expect, FileSystem, MountFlags, Name, NamespaceOptions, NewKind, NewNode,
    OpenFlags, RenameFlags, ResolveFlags, Result, SetAttr, StatFs,
};

const ANY: Calls = Calls::all();

#[test]
fn a_hot_stat_asks_the_filesystem_for_the_file_alone() {
    let world = World::new();
    world.tree(&["/a/", "/a/b/", "/a/b/c/", "/a/b/c/f", "/l -> a/b"]);
    let user = world.user(1000);
    for path in ["/a/b/c/f", "/l/c/f", "/a/b/c/../c/./f"] {
        world.stat_as(&user, path).unwrap();
        world.calls.reset();
        world.stat_as(&user, path).unwrap();
        assert_eq!(world.calls.count(Calls::ATTR), 1, "{path}");
        assert_eq!(world.calls.count(ANY), 1, "{path}");
    }
}

#[test]
fn a_hot_open_asks_for_no_attributes() {
    let world = World::new();
    world.tree(&["/a/", "/a/f"]);
    let user = world.user(1000);
    let open = || user.files.close(world.open(&user, "/a/f", OpenFlags::O_RDONLY).unwrap()).unwrap();
    open();
    world.calls.reset();
    open();
    assert_eq!(world.calls.count(ANY.difference(Calls::OPEN)), 0);
}

#[test]
fn absence_is_remembered_until_the_name_is_made() {
    let world = World::new();
    world.tree(&["/a/", "/a/dir/", "/a/old"]);
    for _ in 0..2 {
        assert_eq!(errno(world.stat("/a/none")), Errno::ENOENT);
    }
    world.calls.reset();
    assert_eq!(errno(world.stat("/a/none")), Errno::ENOENT);
    assert_eq!(errno(world.stat("/a/none/deeper")), Errno::ENOENT);
    assert_eq!(world.calls.count(ANY), 0);
    let makers: [&dyn Fn() -> Result<()>; 5] = [
        &|| world.write("/a/none", "x"),
        &|| world.mkdir(&world.root, "/a/none"),
        &|| world.link(&world.root, "/a/old", "/a/none"),
        &|| world.rename(&world.root, "/a/dir", "/a/none"),
        &|| world.ns.symlinkat(&world.root, b"old", AT_FDCWD, b"/a/none"),
    ];
    for make in makers {
        assert_eq!(errno(world.stat("/a/none")), Errno::ENOENT);
        make().unwrap();
        assert!(world.stat("/a/none").is_ok());
        let dir = world.lstat("/a/none").unwrap().attr.kind == vfs::FileType::Dir;
        let gone = if dir { world.rmdir(&world.root, "/a/none") } else { world.unlink(&world.root, "/a/none") };
        gone.unwrap();
    }
}

#[test]
fn removal_leaves_known_absence_behind() {
    let world = World::new();
    world.tree(&["/f", "/d/", "/r"]);
    world.unlink(&world.root, "/f").unwrap();
    world.rmdir(&world.root, "/d").unwrap();
    world.rename(&world.root, "/r", "/s").unwrap();
    world.calls.reset();
    for path in ["/f", "/d", "/r"] {
        assert_eq!(errno(world.stat(path)), Errno::ENOENT);
    }
    assert_eq!(world.calls.count(ANY), 0);
}

#[test]
fn a_fault_is_never_taken_for_absence() {
    let world = World::new();
    world.tree(&["/d/", "/d/f"]);
    world.ns.shrink_cache();
    world.calls.fail_nth(Calls::LOOKUP, 2, Errno::EIO);
    assert_eq!(errno(world.stat("/d/f")), Errno::EIO);
    assert!(world.stat("/d/f").is_ok());
    world.ns.shrink_cache();
    world.calls.fail_nth(Calls::ATTR, 1, Errno::EIO);
    assert_eq!(errno(world.stat_as(&world.user(1), "/d/f")), Errno::EIO);
    assert!(world.stat_as(&world.user(1), "/d/f").is_ok());
}

#[test]
fn a_change_that_fails_changes_nothing_that_is_known() {
    let world = World::new();
    world.tree(&["/d/", "/d/f", "/e/"]);
    let tries: [(Calls, &dyn Fn() -> Result<()>); 6] = [
        (Calls::REMOVE, &|| world.unlink(&world.root, "/d/f")),
        (Calls::REMOVE, &|| world.rmdir(&world.root, "/e")),
        (Calls::RENAME, &|| world.rename(&world.root, "/d", "/x")),
        (Calls::CREATE, &|| world.mkdir(&world.root, "/x")),
        (Calls::LINK, &|| world.link(&world.root, "/d/f", "/x")),
        (Calls::SET_ATTR, &|| world.chmod(&world.root, "/d", 0)),
    ];
    for (calls, change) in tries {
        world.calls.fail_nth(calls, 1, Errno::ENOSPC);
        assert_eq!(errno(change()), Errno::ENOSPC);
        assert!(world.stat_as(&world.user(1), "/d/f").is_ok());
        assert!(world.stat("/e").is_ok());
        assert_eq!(errno(world.stat("/x")), Errno::ENOENT);
    }
    assert!(world.write("/e/new", "").is_ok());
}

#[test]
fn changed_permissions_count_at_once() {
    let world = World::new();
    world.tree(&["/d/", "/d/f"]);
    let user = world.user(1000);
    assert!(world.stat_as(&user, "/d/f").is_ok());
    world.chmod(&world.root, "/d", 0o700).unwrap();
    assert_eq!(errno(world.stat_as(&user, "/d/f")), Errno::EACCES);
    world.chown(&world.root, "/d", Some(1000), None).unwrap();
    assert!(world.stat_as(&user, "/d/f").is_ok());
    let dir = world.open(&world.root, "/d", OpenFlags::O_RDONLY).unwrap();
    world.root.file(dir).unwrap().chown(&world.root, Some(0), None).unwrap();
    assert_eq!(errno(world.stat_as(&user, "/d/f")), Errno::EACCES);
}

#[test]
fn the_working_directory_follows_a_rename_of_any_directory_above() {
    let world = World::new();
    world.tree(&["/a/", "/a/b/", "/a/b/c/", "/x/"]);
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/a/b/c").unwrap();
    world.rename(&world.root, "/a/b", "/x/y").unwrap();
    assert_eq!(world.getcwd(&task).unwrap(), "/x/y/c");
    world.rename_how(&world.root, "/x", "/a", RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(world.getcwd(&task).unwrap(), "/a/y/c");
    assert_eq!(world.stat_as(&task, "../..").unwrap().attr.ino, world.ino("/a"));
    assert_eq!(errno(world.stat("/x/y")), Errno::ENOENT);
    assert!(world.stat("/a/y/c").is_ok());
}

#[test]
fn a_removed_working_directory_is_a_dead_end() {
    let world = World::new();
    world.tree(&["/d/", "/d/e/"]);
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/d/e").unwrap();
    world.rmdir(&world.root, "/d/e").unwrap();
    assert_eq!(errno(world.getcwd(&task)), Errno::ENOENT);
    assert!(world.stat_as(&task, ".").is_ok());
    assert_eq!(world.stat_as(&task, "..").unwrap().attr.ino, world.ino("/d"));
    assert_eq!(errno(world.stat_as(&task, "x")), Errno::ENOENT);
    assert_eq!(errno(world.mkdir(&task, "x")), Errno::ENOENT);
    assert_eq!(errno(world.open(&task, "x", OpenFlags::O_CREAT | OpenFlags::O_RDWR)), Errno::ENOENT);
    world.mkdir(&world.root, "/d/e").unwrap();
    assert_eq!(errno(world.stat_as(&task, "../e/x")), Errno::ENOENT);
    assert_eq!(errno(world.getcwd(&task)), Errno::ENOENT, "a new directory of the name is another");
}

#[test]
fn the_cache_keeps_to_its_bound() {
    let world = World::with(NamespaceOptions { dentry_capacity: 100, ..NamespaceOptions::default() });
    world.tree(&["/d/"]);
    for at in 0..1000 {
        world.write(&format!("/d/f{at}"), "").unwrap();
        let _ = world.stat(&format!("/d/none{at}"));
        assert!(world.ns.cached_dentries() <= 100);
    }
    for at in 0..1000 {
        assert!(world.stat(&format!("/d/f{at}")).is_ok());
    }
    let open: Vec<_> = (0..300).map(|at| world.open(&world.root, &format!("/d/f{at}"), OpenFlags::O_RDONLY)).collect();
    assert!(open.iter().all(Result::is_ok), "what is in use is not counted against it");
    world.root.files.close_all();
    world.ns.shrink_cache();
    assert_eq!(world.ns.cached_dentries(), 0);
}

#[test]
fn what_is_used_often_outlives_a_walk_over_much() {
    let world = World::with(NamespaceOptions { dentry_capacity: 64, ..NamespaceOptions::default() });
    world.tree(&["/hot/", "/hot/f", "/cold/"]);
    let user = world.user(1000);
    let mut asked = 0;
    for at in 0..1000 {
        let _ = world.stat_as(&user, &format!("/cold/{at}"));
        world.calls.reset();
        world.stat_as(&user, "/hot/f").unwrap();
        asked += world.calls.count(Calls::LOOKUP);
    }
    assert!(asked <= 2, "{asked} lookups of a file that is used all the time");
}

#[test]
fn a_very_deep_chain_of_removed_directories_is_let_go_without_a_deep_stack() {
    let world = World::new();
    let task = world.root.fork(2);
    let depth = 20_000;
    for _ in 0..depth {
        world.mkdir(&task, "d").unwrap();
        world.ns.chdir(&task, b"d").unwrap();
    }
    let bottom = world.open(&task, ".", OpenFlags::O_PATH).unwrap();
    for _ in 0..depth {
        world.ns.chdir(&task, b"..").unwrap();
        world.rmdir(&task, "d").unwrap();
    }
    world.ns.shrink_cache();
    task.files.close(bottom).unwrap();
    world.ns.shrink_cache();
    assert_eq!(world.ns.cached_dentries(), 0);
}

#[test]
fn links_share_one_inode() {
    let world = World::new();
    world.tree(&["/a", "/d/"]);
    world.link(&world.root, "/a", "/d/b").unwrap();
    world.chmod(&world.root, "/a", 0o600).unwrap();
    assert_eq!(errno(world.open(&world.user(1), "/d/b", OpenFlags::O_RDONLY)), Errno::EACCES);
    world.chmod(&world.root, "/d/b", 0o644).unwrap();
    assert!(world.open(&world.user(1), "/a", OpenFlags::O_RDONLY).is_ok());
    let by_fd = world.ns.statat(&world.root, AT_FDCWD, b"/d/b", AtFlags::empty()).unwrap();
    assert_eq!((by_fd.attr.nlink, by_fd.attr.ino), (2, world.ino("/a")));
}

/// A filesystem that changes behind the namespace's back.
struct View(Arc<dyn FileSystem>);

impl FileSystem for View {
    fn type_name(&self) -> &'static str {
        "view"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.0.root()
    }

    fn statfs(&self) -> Result<StatFs> {
        self.0.statfs()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

#[test]
fn nothing_is_kept_of_a_volatile_filesystem() {
    let world = World::new();
    world.tree(&["/proc/", "/out/", "/out/f"]);
    let view = Arc::new(View(ramfs(9)));
    let at = world.ns.resolve(&world.root, AT_FDCWD, b"/proc").unwrap();
    world.ns.mount_at(&at, view.clone(), b"view", MountFlags::empty()).unwrap();
    let (user, root) = (world.user(1000), view.root());
    let name = |name: &'static str| Name::new(name.as_bytes()).unwrap();
    let make = |at: &'static str, kind| root.create(name(at), &NewNode::new(kind, 0o755)).unwrap();
    let remove = |at, expect| root.remove(name(at), expect).unwrap();

    assert_eq!(errno(world.stat_as(&user, "/proc/1")), Errno::ENOENT);
    let dir = make("1", NewKind::Dir);
    dir.as_dir().unwrap().create(name("f"), &NewNode::new(NewKind::File, 0o644)).unwrap();
    assert!(world.stat_as(&user, "/proc/1/f").is_ok());
    dir.ops().set_attr(&SetAttr { mode: Some(0), ..SetAttr::default() }).unwrap();
    assert_eq!(errno(world.stat_as(&user, "/proc/1/f")), Errno::EACCES);
    dir.ops().set_attr(&SetAttr { mode: Some(0o755), ..SetAttr::default() }).unwrap();

    make("self", NewKind::Symlink(b"1"));
    for path in ["/proc/self/f", "/proc/1/../self/f", "/proc/self/../1/f", "/out/../proc/self/f"] {
        assert_eq!(world.ino(path), world.ino("/proc/1/f"), "{path}");
    }
    remove("self", Expect::NonDir);
    assert_eq!(errno(world.stat("/proc/self/f")), Errno::ENOENT);
    make("self", NewKind::Symlink(b"../out"));
    assert_eq!(world.ino("/proc/self/f"), world.ino("/out/f"));
    assert_eq!(world.ns.readlinkat(&user, AT_FDCWD, b"/proc/self").unwrap(), b"../out");
    assert!(world.open(&user, "/proc/self/f", OpenFlags::O_CREAT).is_ok());
    let cached = ResolveFlags::RESOLVE_CACHED;
    assert_eq!(errno(world.open2(&user, "/proc/1/f", OpenFlags::O_RDONLY, cached)), Errno::EAGAIN);

    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/proc/1").unwrap();
    assert_eq!(world.getcwd(&task).unwrap(), "/proc/1");
    assert_eq!(world.stat_as(&task, "../1/f").unwrap().attr.ino, world.ino("/proc/1/f"));
    assert_eq!(errno(world.mkdir(&task, "f")), Errno::EEXIST);
    world.mkdir(&task, "made").unwrap();
    world.rename(&task, "made", "moved").unwrap();
    assert!(world.rmdir(&world.root, "/proc/1/moved").is_ok());
}
