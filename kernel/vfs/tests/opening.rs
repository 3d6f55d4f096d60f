//! `open(2)`: what its flags do, and what the comparison with Linux leaves out.

mod common;

use common::{World, errno};
use contract::fault::Calls;
use vfs::{AT_FDCWD, At, AtFlags, Errno, FileType, OpenFlags, OpenHow, RwFlags, SyncKind, Whence};

const READ: OpenFlags = OpenFlags::O_RDONLY;
const WRITE: OpenFlags = OpenFlags::O_WRONLY;
const CREATE: OpenFlags = OpenFlags::O_CREAT;

#[test]
fn a_file_is_created_once() {
    let world = World::new();
    world.tree(&["/old", "/d/", "/l -> made", "/x -> old"]);
    let root = &world.root;
    assert!(world.open(root, "/new", CREATE | WRITE).is_ok());
    assert!(world.open(root, "/new", CREATE | WRITE).is_ok());
    assert_eq!(errno(world.open(root, "/new", CREATE | WRITE | OpenFlags::O_EXCL)), Errno::EEXIST);
    assert_eq!(errno(world.open(root, "/x", CREATE | WRITE | OpenFlags::O_EXCL)), Errno::EEXIST);
    assert_eq!(errno(world.open(root, "/l", CREATE | WRITE | OpenFlags::O_EXCL)), Errno::EEXIST);
    assert_eq!(errno(world.open(root, "/l", CREATE | WRITE | OpenFlags::O_NOFOLLOW)), Errno::ELOOP);
    assert!(world.open(root, "/l", CREATE | WRITE).is_ok(), "a link to nothing says where to create");
    assert!(world.stat("/made").is_ok());
    assert_eq!(errno(world.open(root, "/d", CREATE)), Errno::EISDIR);
    assert_eq!(errno(world.open(root, "/d/.", CREATE)), Errno::EISDIR);
    assert_eq!(errno(world.open(root, "/", CREATE | OpenFlags::O_EXCL)), Errno::EEXIST);
    assert_eq!(errno(world.open(root, "/none/f", CREATE | WRITE)), Errno::ENOENT);
}

#[test]
fn the_umask_and_the_mode_make_the_permissions_but_not_those_of_the_opener() {
    let world = World::new();
    world.chmod(&world.root, "/", 0o777).unwrap();
    let user = world.user(1000);
    user.fs.set_umask(0o027);
    let how = OpenHow::from_open(CREATE | OpenFlags::O_RDWR, 0o460);
    let file = world.ns.open(&user, AT_FDCWD, b"/f", &how).unwrap();
    assert_eq!(world.stat("/f").unwrap().attr.mode, 0o440);
    assert_eq!(file.write(&user, At::Position, b"x").unwrap(), 1, "the opener writes what it made");
    assert_eq!(errno(world.open(&user, "/f", WRITE)), Errno::EACCES);
}

#[test]
fn kinds_that_do_not_fit_are_refused() {
    let world = World::new();
    world.tree(&["/f", "/d/", "/l -> f"]);
    let root = &world.root;
    assert_eq!(errno(world.open(root, "/d", WRITE)), Errno::EISDIR);
    assert_eq!(errno(world.open(root, "/f", OpenFlags::O_DIRECTORY)), Errno::ENOTDIR);
    assert_eq!(errno(world.open(root, "/l", OpenFlags::O_NOFOLLOW)), Errno::ELOOP);
    assert_eq!(errno(world.open(root, "/l", OpenFlags::O_NOFOLLOW | OpenFlags::O_DIRECTORY)), Errno::ENOTDIR);
    assert_eq!(errno(world.open(root, "/f", CREATE | OpenFlags::O_DIRECTORY)), Errno::EINVAL);
    world.ns.mknodat(root, AT_FDCWD, b"/s", 0o140_644, 0).unwrap();
    world.ns.mknodat(root, AT_FDCWD, b"/c", 0o020_644, 0x0103).unwrap();
    assert_eq!(errno(world.open(root, "/s", READ)), Errno::ENXIO);
    assert_eq!(errno(world.open(root, "/c", READ)), Errno::ENXIO);
    assert_eq!(errno(world.open(&world.user(1), "/f", READ | OpenFlags::O_NOATIME)), Errno::EPERM);
}

#[test]
fn truncation_throws_content_away_once_permission_is_sure() {
    let world = World::new();
    world.tree(&["/f"]);
    assert_eq!(errno(world.open(&world.user(1), "/f", READ | OpenFlags::O_TRUNC)), Errno::EACCES);
    assert_eq!(world.read("/f").unwrap(), "/f");
    world.open(&world.root, "/f", READ | OpenFlags::O_TRUNC).unwrap();
    assert_eq!(world.read("/f").unwrap(), "");
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let world = World::new();
    world.tree(&["/f"]);
    let fd = world.open(&world.root, "/f", OpenFlags::O_RDWR).unwrap();
    world.unlink(&world.root, "/f").unwrap();
    let file = world.root.file(fd).unwrap();
    assert_eq!(file.write(&world.root, At::Offset(2), b"!").unwrap(), 1);
    let mut content = [0; 8];
    assert_eq!(file.read(At::Position, &mut content).unwrap(), 3);
    assert_eq!((&content[..3], file.stat().unwrap().attr.nlink), (&b"/f!"[..], 0));
    world.tree(&["/f"]);
    assert_ne!(world.ino("/f"), file.stat().unwrap().attr.ino);
    let path = world.ns.path_of(&world.root, file.location().unwrap());
    assert_eq!(path, b"/f (deleted)");
}

#[test]
fn a_file_without_a_name_can_get_one() {
    let world = World::new();
    world.tree(&["/d/"]);
    let root = &world.root;
    let tmp = OpenFlags::O_TMPFILE | OpenFlags::O_RDWR;
    let link = |fd, path: &[u8]| world.ns.linkat(root, fd, b"", AT_FDCWD, path, AtFlags::AT_EMPTY_PATH);
    let fd = world.open(root, "/d", tmp).unwrap();
    let file = root.file(fd).unwrap();
    file.write(root, At::Position, b"made out of sight").unwrap();
    assert_eq!(file.stat().unwrap().attr.nlink, 0);
    link(fd, b"/d/f").unwrap();
    assert_eq!(world.read("/d/f").unwrap(), "made out of sight");
    let never = world.open(root, "/d", tmp | OpenFlags::O_EXCL).unwrap();
    assert_eq!(errno(link(never, b"/d/g")), Errno::ENOENT);
    assert_eq!(errno(world.open(root, "/d", OpenFlags::O_TMPFILE)), Errno::EINVAL);
    assert_eq!(errno(world.open(root, "/d/f", tmp)), Errno::ENOTDIR);
}

#[test]
fn a_path_descriptor_is_a_place_and_nothing_else() {
    let world = World::new();
    world.tree(&["/d/", "/d/f", "/l -> d"]);
    let root = &world.root;
    world.chmod(root, "/d/f", 0).unwrap();
    let user = world.user(1000);
    let fd = world.open(&user, "/d/f", OpenFlags::O_PATH | OpenFlags::O_RDWR).unwrap();
    let file = user.file(fd).unwrap();
    assert!(file.stat().is_ok());
    assert_eq!(errno(file.read(At::Position, &mut [0])), Errno::EBADF);
    assert_eq!(errno(file.write(&user, At::Position, &[0])), Errno::EBADF);
    assert_eq!(errno(file.seek(0, Whence::Set)), Errno::EBADF);
    assert_eq!(errno(file.chmod(&user, 0o777)), Errno::EBADF);
    assert_eq!(errno(file.sync(SyncKind::All)), Errno::EBADF);
    assert_eq!(errno(file.list_xattrs(&user)), Errno::EBADF);
    let dir = world.open(&user, "/d", OpenFlags::O_PATH).unwrap();
    assert!(world.ns.statat(&user, dir, b"f", AtFlags::empty()).is_ok());
    assert!(world.ns.fchdir(&user, dir).is_ok());
    let link = world.open(root, "/l", OpenFlags::O_PATH | OpenFlags::O_NOFOLLOW).unwrap();
    assert_eq!(root.file(link).unwrap().file_type().unwrap(), FileType::Symlink);
    assert_eq!(world.ns.readlinkat(root, link, b"").unwrap(), b"d");
}

#[test]
fn descriptors_share_what_they_were_duplicated_from() {
    let world = World::new();
    world.tree(&["/f"]);
    let root = &world.root;
    let fd = world.open(root, "/f", READ).unwrap();
    let twin = root.files.dup(fd).unwrap();
    let child = root.fork(2);
    root.file(fd).unwrap().seek(1, Whence::Set).unwrap();
    let mut byte = [0];
    child.file(twin).unwrap().read(At::Position, &mut byte).unwrap();
    assert_eq!((byte[0], root.file(twin).unwrap().seek(0, Whence::Current).unwrap()), (b'f', 2));
    root.file(fd).unwrap().set_flags(root, OpenFlags::O_NONBLOCK).unwrap();
    assert!(root.file(twin).unwrap().flags().contains(OpenFlags::O_NONBLOCK));
    let other = world.open(root, "/f", READ).unwrap();
    assert_eq!(root.file(other).unwrap().seek(0, Whence::Current).unwrap(), 0);
}

#[test]
fn executed_files_are_not_written_and_written_ones_not_executed() {
    let world = World::new();
    world.tree(&["/program"]);
    let root = &world.root;
    let exec = |path: &[u8]| world.ns.open_exec(root, AT_FDCWD, path, AtFlags::empty());
    assert_eq!(errno(exec(b"/program")), Errno::EACCES);
    world.chmod(root, "/program", 0o755).unwrap();
    let running = exec(b"/program").unwrap();
    assert_eq!(errno(world.open(root, "/program", WRITE)), Errno::ETXTBSY);
    assert_eq!(errno(world.open(root, "/program", READ | OpenFlags::O_TRUNC)), Errno::ETXTBSY);
    assert_eq!(errno(world.ns.truncate(root, b"/program", 0)), Errno::ETXTBSY);
    drop(running);
    let writer = world.open(root, "/program", WRITE).unwrap();
    assert_eq!(errno(exec(b"/program")), Errno::ETXTBSY);
    root.files.close(writer).unwrap();
    assert!(exec(b"/program").is_ok());
    assert_eq!(errno(exec(b"/")), Errno::EACCES);
}

#[test]
fn a_failed_open_leaves_no_claim_and_no_descriptor() {
    let world = World::new();
    world.tree(&["/f"]);
    let root = &world.root;
    world.chmod(root, "/f", 0o755).unwrap();
    for flags in [WRITE, READ | OpenFlags::O_TRUNC, OpenFlags::O_RDWR | OpenFlags::O_TRUNC] {
        world.calls.fail_nth(Calls::OPEN, 1, Errno::EIO);
        assert_eq!(errno(world.open(root, "/f", flags)), Errno::EIO);
    }
    assert!(root.files.descriptors().is_empty());
    assert!(world.ns.open_exec(root, AT_FDCWD, b"/f", AtFlags::empty()).is_ok());
}

#[test]
fn synchronous_files_are_durable_after_each_write() {
    let world = World::new();
    world.tree(&["/f"]);
    let root = &world.root;
    let synced = |flags, how| {
        let file = world.ns.open_path(root, b"/f", WRITE | flags).unwrap();
        world.calls.reset();
        file.write_vectored(root, At::Position, &[b"x"], how).unwrap();
        world.calls.count(Calls::SYNC)
    };
    assert_eq!(synced(OpenFlags::empty(), RwFlags::empty()), 0);
    assert_eq!(synced(OpenFlags::O_DSYNC, RwFlags::empty()), 1);
    assert_eq!(synced(OpenFlags::O_SYNC, RwFlags::empty()), 1);
    assert_eq!(synced(OpenFlags::empty(), RwFlags::RWF_DSYNC), 1);
}
