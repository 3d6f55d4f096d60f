//! From a path to a place: `path_resolution(7)` and the limits of `openat2(2)`.

mod common;

use common::{World, errno};
use vfs::{AT_FDCWD, AtFlags, Errno, OpenFlags, ResolveFlags};

const READ: OpenFlags = OpenFlags::O_RDONLY;

#[test]
fn dots_and_repeated_slashes_lead_where_they_should() {
    let world = World::new();
    world.tree(&["/a/", "/a/b/", "/a/b/f"]);
    let ino = world.ino("/a/b/f");
    for path in ["//a///b//f", "/./a/./b/f", "/a/../a/b/../b/f", "/../../a/b/f", "a/b/f"] {
        assert_eq!(world.ino(path), ino, "{path}");
    }
    assert_eq!(world.ino("/.."), world.ino("/"));
}

#[test]
fn a_trailing_slash_asks_for_a_directory() {
    let world = World::new();
    world.tree(&["/d/", "/f", "/to-d -> d", "/to-f -> f"]);
    assert!(world.lstat("/d/").is_ok());
    assert_eq!(errno(world.lstat("/f/")), Errno::ENOTDIR);
    assert_eq!(errno(world.lstat("/f/.")), Errno::ENOTDIR);
    assert_eq!(world.ino("/to-d/"), world.ino("/d"), "lstat follows a link that must be a directory");
    assert_eq!(errno(world.lstat("/to-f/")), Errno::ENOTDIR);
    assert_eq!(errno(world.open(&world.root, "/new/", OpenFlags::O_CREAT | OpenFlags::O_WRONLY)), Errno::EISDIR);
    assert!(world.mkdir(&world.root, "/new/").is_ok());
}

#[test]
fn an_empty_path_is_nothing_unless_asked_for() {
    let world = World::new();
    world.tree(&["/d/", "/d/f"]);
    assert_eq!(errno(world.stat("")), Errno::ENOENT);
    let dir = world.open(&world.root, "/d", READ).unwrap();
    let stat = |fd, path: &str| world.ns.statat(&world.root, fd, path.as_bytes(), AtFlags::AT_EMPTY_PATH);
    assert_eq!(stat(dir, "").unwrap().attr.ino, world.ino("/d"));
    assert_eq!(stat(dir, "f").unwrap().attr.ino, world.ino("/d/f"));
    assert_eq!(stat(AT_FDCWD, "").unwrap().attr.ino, world.ino("/"));
}

#[test]
fn descriptors_are_asked_only_by_relative_paths() {
    let world = World::new();
    world.tree(&["/f"]);
    let stat = |fd, path: &str| world.ns.statat(&world.root, fd, path.as_bytes(), AtFlags::empty());
    assert!(stat(77, "/f").is_ok());
    assert_eq!(errno(stat(77, "f")), Errno::EBADF);
    let file = world.open(&world.root, "/f", READ).unwrap();
    assert_eq!(errno(stat(file, "f")), Errno::ENOTDIR);
}

#[test]
fn names_of_256_bytes_and_paths_of_4096_are_too_long() {
    let world = World::new();
    let name = |len: usize| format!("/{}", "n".repeat(len));
    assert!(world.write(&name(255), "").is_ok());
    assert_eq!(errno(world.write(&name(256), "")), Errno::ENAMETOOLONG);
    let path = |len: usize| format!("{}{}", "/".repeat(len - 1), ".");
    assert!(world.stat(&path(4095)).is_ok());
    assert_eq!(errno(world.stat(&path(4096))), Errno::ENAMETOOLONG);
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let world = World::new();
    world.tree(&["/l0"]);
    for at in 1..=41 {
        world.tree(&[&format!("/l{at} -> l{}", at - 1)]);
    }
    assert!(world.stat("/l40").is_ok());
    assert_eq!(errno(world.stat("/l41")), Errno::ELOOP);
    assert!(world.lstat("/l41").is_ok());
    world.tree(&["/loop -> loop"]);
    assert_eq!(errno(world.stat("/loop")), Errno::ELOOP);
    assert_eq!(errno(world.stat("/loop/x")), Errno::ELOOP);
}

#[test]
fn links_nest_and_count_in_the_middle_of_paths_too() {
    let world = World::new();
    world.tree(&["/d/", "/d/e/", "/d/e/f", "/a -> d/e", "/b -> /a/../e", "/d/up -> ..", "/c -> d/up/b/"]);
    let ino = world.ino("/d/e/f");
    for path in ["/a/f", "/b/f", "/c/f", "/d/up/a/f", "/c/../up/d/e/f"] {
        assert_eq!(world.ino(path), ino, "{path}");
    }
    assert_eq!(world.stat("/c").unwrap().attr.ino, world.ino("/d/e"));
}

#[test]
fn missing_names_and_files_in_the_way_are_told_apart() {
    let world = World::new();
    world.tree(&["/f", "/dangling -> nowhere"]);
    assert_eq!(errno(world.stat("/none")), Errno::ENOENT);
    assert_eq!(errno(world.stat("/none/x")), Errno::ENOENT);
    assert_eq!(errno(world.stat("/f/x")), Errno::ENOTDIR);
    assert_eq!(errno(world.stat("/f/..")), Errno::ENOTDIR);
    assert_eq!(errno(world.stat("/dangling")), Errno::ENOENT);
    assert!(world.lstat("/dangling").is_ok());
}

#[test]
fn searching_a_directory_takes_its_execute_bit() {
    let world = World::new();
    world.tree(&["/d/", "/d/f", "/to -> d/f"]);
    let user = world.user(1000);
    assert!(world.stat_as(&user, "/d/f").is_ok());
    world.chmod(&world.root, "/d", 0o644).unwrap();
    for path in ["/d/f", "/d/none", "/d/.", "/d/..", "/to"] {
        assert_eq!(errno(world.stat_as(&user, path)), Errno::EACCES, "{path}");
    }
    assert!(world.stat_as(&user, "/d").is_ok());
    assert!(world.stat("/d/f").is_ok());
}

#[test]
fn beneath_refuses_whatever_leaves_the_directory() {
    let world = World::new();
    world.tree(&["/d/", "/d/e/", "/d/f", "/out", "/d/abs -> /d/f", "/d/esc -> ../out", "/d/in -> e/../f"]);
    let mut task = world.root.clone();
    task.fs = std::sync::Arc::new(task.fs.fork());
    world.ns.chdir(&task, b"/d").unwrap();
    let open = |path, resolve| {
        world.open2(&task, path, READ, resolve).map(|fd| world.root.file(fd).unwrap().stat().unwrap().attr.ino)
    };
    let beneath = ResolveFlags::RESOLVE_BENEATH;
    assert_eq!(open("f", beneath).unwrap(), world.ino("/d/f"));
    assert_eq!(open("in", beneath).unwrap(), world.ino("/d/f"));
    for path in ["..", "../out", "e/../../out", "/d/f", "abs", "esc", "e/../.."] {
        assert_eq!(errno(open(path, beneath)), Errno::EXDEV, "{path}");
    }
    let in_root = ResolveFlags::RESOLVE_IN_ROOT;
    assert_eq!(open("/f", in_root).unwrap(), world.ino("/d/f"));
    assert_eq!(open("../../f", in_root).unwrap(), world.ino("/d/f"));
    assert_eq!(errno(open("abs", in_root)), Errno::ENOENT);
    assert_eq!(errno(open("esc", in_root)), Errno::ENOENT);
    assert_eq!(errno(open("f", beneath | in_root)), Errno::EINVAL);
}

#[test]
fn no_symlinks_refuses_every_link() {
    let world = World::new();
    world.tree(&["/d/", "/d/f", "/l -> d", "/m -> d/f"]);
    let none = ResolveFlags::RESOLVE_NO_SYMLINKS;
    assert!(world.open2(&world.root, "/d/f", READ, none).is_ok());
    assert_eq!(errno(world.open2(&world.root, "/l/f", READ, none)), Errno::ELOOP);
    assert_eq!(errno(world.open2(&world.root, "/m", READ, none)), Errno::ELOOP);
    let itself = OpenFlags::O_PATH | OpenFlags::O_NOFOLLOW;
    assert!(world.open2(&world.root, "/m", itself, none).is_ok());
}

#[test]
fn cached_answers_only_from_memory() {
    let world = World::new();
    world.tree(&["/d/", "/d/f"]);
    world.ns.shrink_cache();
    let cached = ResolveFlags::RESOLVE_CACHED;
    assert_eq!(errno(world.open2(&world.root, "/d/f", READ, cached)), Errno::EAGAIN);
    world.stat("/d/f").unwrap();
    assert!(world.open2(&world.root, "/d/f", READ, cached).is_ok());
    assert_eq!(errno(world.open2(&world.root, "/d/f", READ | OpenFlags::O_TRUNC, cached)), Errno::EAGAIN);
}

#[test]
fn a_changed_root_holds_links_and_dots() {
    let world = World::new();
    world.tree(&["/jail/", "/jail/f", "/jail/abs -> /f", "/f"]);
    let task = world.root.fork(2);
    world.ns.chroot(&task, b"/jail").unwrap();
    world.ns.chdir(&task, b"/").unwrap();
    for path in ["/f", "f", "/../f", "../f", "/abs"] {
        assert_eq!(world.stat_as(&task, path).unwrap().attr.ino, world.ino("/jail/f"), "{path}");
    }
    assert_eq!(world.getcwd(&task).unwrap(), "/");
    assert_eq!(errno(world.ns.chroot(&world.user(1), b"/jail")), Errno::EPERM);
}

#[test]
fn the_working_directory_can_be_outside_of_the_root() {
    let world = World::new();
    world.tree(&["/jail/", "/a/"]);
    let task = world.root.fork(2);
    world.ns.chdir(&task, b"/a").unwrap();
    world.ns.chroot(&task, b"/jail").unwrap();
    assert_eq!(world.getcwd(&task).unwrap(), "(unreachable)/a");
}
