//! Advisory locks.

mod common;

use std::sync::Arc;

use common::{World, errno};
use vfs::{Blocking, Errno, Fd, Flock, FlockOp, LockOwner, LockType, OpenFile, OpenFlags, Whence};

const RDWR: OpenFlags = OpenFlags::O_RDWR;

fn file(world: &World, path: &str, flags: OpenFlags) -> Arc<OpenFile> {
    world.ns.open_path(&world.root, path.as_bytes(), flags).unwrap()
}

fn lock(kind: LockType, start: i64, len: i64) -> Flock {
    Flock { kind, whence: Whence::Set, start, len, pid: 0 }
}

#[test]
fn record_locks_are_the_processes_and_go_with_any_close() {
    let world = World::new();
    world.tree(&["/f"]);
    let (one, two) = (world.root.fork(11), world.root.fork(22));
    let open = |ctx| world.open(ctx, "/f", RDWR).unwrap();
    let (fd1, fd2) = (open(&one), open(&two));
    let (f1, f2) = (one.file(fd1).unwrap(), two.file(fd2).unwrap());
    let set = |file: &OpenFile, ctx, kind, start, len| {
        file.set_lock(ctx, &lock(kind, start, len), LockOwner::Process, Blocking::No)
    };
    set(&f1, &one, LockType::Write, 0, 100).unwrap();
    set(&f1, &one, LockType::Write, 50, 10).unwrap();
    assert_eq!(errno(set(&f2, &two, LockType::Read, 99, 1)), Errno::EAGAIN);
    set(&f2, &two, LockType::Write, 100, 0).unwrap();
    let found = f2.get_lock(&two, &lock(LockType::Read, 90, 20), LockOwner::Process).unwrap();
    assert_eq!((found.kind, found.start, found.len, found.pid), (LockType::Write, 0, 100, 11));
    let found = f1.get_lock(&one, &lock(LockType::Read, 200, 1), LockOwner::Process).unwrap();
    assert_eq!((found.kind, found.start, found.len, found.pid), (LockType::Write, 100, 0, 22));
    let free = f1.get_lock(&one, &lock(LockType::Write, 0, 10), LockOwner::Process).unwrap();
    assert_eq!(free.kind, LockType::Unlock);
    let other: Fd = open(&one);
    one.files.close(other).unwrap();
    assert!(set(&f2, &two, LockType::Write, 0, 0).is_ok(), "closing another descriptor of the file unlocks it");
    world.tree(&["/d/"]);
    let dir = |ctx| world.open(ctx, "/d", OpenFlags::O_RDONLY).unwrap();
    let (fd1, fd2) = (dir(&one), dir(&two));
    let (d1, d2) = (one.file(fd1).unwrap(), two.file(fd2).unwrap());
    set(&d1, &one, LockType::Read, 0, 0).unwrap();
    one.files.close(fd1).unwrap();
    let left = d2.get_lock(&two, &lock(LockType::Write, 0, 0), LockOwner::Process).unwrap();
    assert_eq!(left.kind, LockType::Unlock, "a directory's locks go as a file's do");
    let reader = file(&world, "/f", OpenFlags::O_RDONLY);
    assert_eq!(errno(set(&reader, &one, LockType::Write, 0, 1)), Errno::EBADF);
}

#[test]
fn locks_of_open_files_go_with_the_last_descriptor() {
    let world = World::new();
    world.tree(&["/f"]);
    let root = &world.root;
    let (a, b) = (file(&world, "/f", RDWR), file(&world, "/f", RDWR));
    let set = |file: &OpenFile, kind| file.set_lock(root, &lock(kind, 0, 0), LockOwner::OpenFile, Blocking::No);
    set(&a, LockType::Write).unwrap();
    assert_eq!(errno(set(&b, LockType::Read)), Errno::EAGAIN);
    assert_eq!(b.get_lock(root, &lock(LockType::Read, 0, 0), LockOwner::OpenFile).unwrap().pid, -1);
    drop(a);
    set(&b, LockType::Read).unwrap();
    let c = file(&world, "/f", RDWR);
    b.flock(FlockOp::Exclusive, Blocking::No).unwrap();
    assert_eq!(errno(c.flock(FlockOp::Shared, Blocking::No)), Errno::EAGAIN);
    b.flock(FlockOp::Shared, Blocking::No).unwrap();
    c.flock(FlockOp::Shared, Blocking::No).unwrap();
    assert_eq!(errno(c.flock(FlockOp::Exclusive, Blocking::No)), Errno::EAGAIN);
    drop(b);
    c.flock(FlockOp::Exclusive, Blocking::No).unwrap();
}
