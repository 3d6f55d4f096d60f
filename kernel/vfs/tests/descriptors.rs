//! Descriptor tables.

mod common;

use common::{World, errno};
use vfs::{Errno, Fd, OnExec, OpenFlags};

fn open(world: &World) -> Fd {
    world.open(&world.root, "/", OpenFlags::O_RDONLY).unwrap()
}

#[test]
fn the_lowest_free_number_is_given() {
    let world = World::new();
    let files = &world.root.files;
    assert_eq!([open(&world), open(&world), open(&world), open(&world)], [0, 1, 2, 3]);
    files.close(1).unwrap();
    files.close(2).unwrap();
    assert_eq!([open(&world), open(&world), open(&world)], [1, 2, 4]);
    files.close(3).unwrap();
    assert_eq!(files.dup(0).unwrap(), 3);
    assert_eq!(files.descriptors(), [0, 1, 2, 3, 4]);
}

#[test]
fn closed_and_impossible_numbers_are_bad() {
    let world = World::new();
    let files = &world.root.files;
    open(&world);
    for fd in [-1, 1, 1024, i32::MIN, i32::MAX] {
        assert_eq!(errno(files.get(fd)), Errno::EBADF);
        assert_eq!(errno(files.close(fd)), Errno::EBADF);
        assert_eq!(errno(files.dup(fd)), Errno::EBADF);
        assert_eq!(errno(files.set_on_exec(fd, OnExec::Close)), Errno::EBADF);
    }
    files.close(0).unwrap();
    assert_eq!(errno(files.close(0)), Errno::EBADF);
}

#[test]
fn the_limit_holds_for_new_numbers() {
    let world = World::new();
    let files = &world.root.files;
    files.set_limit(3);
    for _ in 0..3 {
        open(&world);
    }
    let all = || errno(world.open(&world.root, "/none", OpenFlags::O_CREAT | OpenFlags::O_RDWR));
    assert_eq!(all(), Errno::EMFILE);
    assert_eq!(errno(world.stat("/none")), Errno::ENOENT, "nothing is made without a descriptor for it");
    assert_eq!(errno(files.dup(0)), Errno::EMFILE);
    assert_eq!(errno(files.dup_from(0, 3, OnExec::Keep)), Errno::EINVAL);
    assert_eq!(errno(files.dup2(0, 3)), Errno::EBADF);
    assert_eq!(errno(world.ns.pipe2(&world.root, OpenFlags::empty())), Errno::EMFILE);
    files.close(2).unwrap();
    assert_eq!(errno(world.ns.pipe2(&world.root, OpenFlags::empty())), Errno::EMFILE);
    assert_eq!(files.descriptors(), [0, 1], "half a pipe is no pipe");
    files.set_limit(u64::MAX);
    assert_eq!(files.limit(), vfs::NR_OPEN);
}

#[test]
fn duplicates_go_where_they_are_told() {
    let world = World::new();
    let files = &world.root.files;
    open(&world);
    assert_eq!(files.dup_from(0, 10, OnExec::Close).unwrap(), 10);
    assert_eq!(files.on_exec(10).unwrap(), OnExec::Close);
    assert_eq!(files.dup2(0, 10).unwrap(), 10);
    assert_eq!(files.on_exec(10).unwrap(), OnExec::Keep);
    assert_eq!(files.dup2(10, 10).unwrap(), 10);
    assert_eq!(errno(files.dup2(11, 11)), Errno::EBADF);
    assert_eq!(errno(files.dup3(10, 10, OnExec::Close)), Errno::EINVAL);
    assert_eq!(files.dup3(0, 5, OnExec::Close).unwrap(), 5);
    assert_eq!(open(&world), 1);
}

#[test]
fn execution_closes_what_is_marked() {
    let world = World::new();
    let files = &world.root.files;
    for _ in 0..4 {
        open(&world);
    }
    world.open(&world.root, "/", OpenFlags::O_CLOEXEC).unwrap();
    files.set_on_exec(1, OnExec::Close).unwrap();
    files.close_on_exec();
    assert_eq!(files.descriptors(), [0, 2, 3]);
    files.close_range(2, u32::MAX);
    assert_eq!(files.descriptors(), [0]);
    assert_eq!(open(&world), 1);
}

#[test]
fn a_forked_table_goes_its_own_way() {
    let world = World::new();
    open(&world);
    let child = world.root.fork(2);
    child.files.close(0).unwrap();
    assert!(world.root.file(0).is_ok());
    assert_eq!(errno(child.file(0)), Errno::EBADF);
}
