//! What is in files and directories.

mod common;

use std::sync::Arc;

use common::{World, errno};
use vfs::{At, AtFlags, Errno, FallocateFlags, Mapping, OpenFile, OpenFlags, Result, RwFlags, SyncKind, Whence};

const RDWR: OpenFlags = OpenFlags::O_RDWR;

fn file(world: &World, path: &str, flags: OpenFlags) -> Arc<OpenFile> {
    world.ns.open_path(&world.root, path.as_bytes(), flags | OpenFlags::O_CREAT).unwrap()
}

#[test]
fn positions_move_with_reads_and_writes_and_offsets_leave_them() {
    let world = World::new();
    let f = file(&world, "/f", RDWR);
    let root = &world.root;
    assert_eq!(f.write(root, At::Position, b"hello world").unwrap(), 11);
    assert_eq!(f.write(root, At::Offset(6), b"W").unwrap(), 1);
    assert_eq!(f.seek(0, Whence::Current).unwrap(), 11);
    assert_eq!(f.seek(-5, Whence::End).unwrap(), 6);
    let mut buf = [0; 20];
    assert_eq!(f.read(At::Position, &mut buf).unwrap(), 5);
    assert_eq!(&buf[..5], b"World");
    assert_eq!(f.read(At::Position, &mut buf).unwrap(), 0);
    assert_eq!(errno(f.seek(-1, Whence::Set)), Errno::EINVAL);
    assert_eq!(errno(f.seek(i64::MAX, Whence::End)), Errno::EOVERFLOW);
    assert_eq!(errno(f.read(At::Offset(-1), &mut buf)), Errno::EINVAL);
    assert_eq!(errno(f.read(At::Offset(i64::MAX), &mut buf)), Errno::EINVAL);
}

#[test]
fn access_modes_hold_for_the_descriptor() {
    let world = World::new();
    world.tree(&["/f"]);
    let root = &world.root;
    assert_eq!(errno(file(&world, "/f", OpenFlags::O_WRONLY).read(At::Position, &mut [0])), Errno::EBADF);
    let reader = file(&world, "/f", OpenFlags::O_RDONLY);
    assert_eq!(errno(reader.write(root, At::Position, b"x")), Errno::EBADF);
    assert_eq!(errno(reader.truncate(root, 0)), Errno::EINVAL);
    assert_eq!(errno(reader.allocate(root, FallocateFlags::empty(), 0, 1)), Errno::EBADF);
    let neither = file(&world, "/f", OpenFlags::O_ACCMODE);
    assert_eq!(errno(neither.read(At::Position, &mut [0])), Errno::EBADF);
    assert_eq!(errno(neither.write(root, At::Position, b"x")), Errno::EBADF);
    world.chmod(root, "/f", 0).unwrap();
    assert_eq!(reader.read(At::Position, &mut [0]).unwrap(), 1, "permissions count at open(2)");
}

#[test]
fn appending_writes_go_to_the_end_wherever_the_position_is() {
    let world = World::new();
    let root = &world.root;
    let (a, b) = (file(&world, "/f", RDWR | OpenFlags::O_APPEND), file(&world, "/f", RDWR | OpenFlags::O_APPEND));
    a.write(root, At::Position, b"one,").unwrap();
    b.write(root, At::Position, b"two,").unwrap();
    a.seek(0, Whence::Set).unwrap();
    a.write(root, At::Position, b"three").unwrap();
    assert_eq!(a.seek(0, Whence::Current).unwrap(), 13);
    a.write(root, At::Offset(0), b".").unwrap();
    a.write_vectored(root, At::Position, &[b"4", b"", b"5"], RwFlags::empty()).unwrap();
    assert_eq!(world.read("/f").unwrap(), "one,two,three.45");
    a.write_vectored(root, At::Offset(0), &[b"O"], RwFlags::RWF_NOAPPEND).unwrap();
    a.set_flags(root, OpenFlags::empty()).unwrap();
    a.write(root, At::Offset(4), b"T").unwrap();
    assert_eq!(world.read("/f").unwrap(), "One,Two,three.45");
    file(&world, "/f", RDWR).write_vectored(root, At::Position, &[b"!"], RwFlags::RWF_APPEND).unwrap();
    assert_eq!(world.read("/f").unwrap(), "One,Two,three.45!");
}

#[test]
fn appends_of_two_threads_never_overwrite_each_other() {
    let world = World::new();
    base::sync::set_relax(std::thread::yield_now);
    std::thread::scope(|scope| {
        for id in 0..4u8 {
            let world = &world;
            scope.spawn(move || {
                let f = file(world, "/log", OpenFlags::O_WRONLY | OpenFlags::O_APPEND);
                for _ in 0..200 {
                    let halves = [[b'a' + id; 3], [b'A' + id; 3]];
                    f.write_vectored(&world.root, At::Position, &[&halves[0], &halves[1]], RwFlags::empty()).unwrap();
                }
            });
        }
    });
    let mut log = vec![0; 10_000];
    let len = file(&world, "/log", RDWR).read(At::Position, &mut log).unwrap();
    assert_eq!(len, 4 * 200 * 6);
    for record in log[..len].chunks(6) {
        assert!(record[..3].iter().all(|&byte| byte == record[0]), "{record:?}");
        assert!(record[3..].iter().all(|&byte| byte == record[0].to_ascii_uppercase()), "{record:?}");
    }
}

#[test]
fn vectors_are_read_and_written_in_order() {
    let world = World::new();
    let root = &world.root;
    let f = file(&world, "/f", RDWR);
    assert_eq!(f.write_vectored(root, At::Position, &[b"ab", b"", b"cde"], RwFlags::empty()).unwrap(), 5);
    let (mut one, mut two, mut three) = ([0; 1], [0; 3], [0; 9]);
    let bufs: &mut [&mut [u8]] = &mut [&mut one, &mut two, &mut three];
    assert_eq!(f.read_vectored(At::Offset(0), bufs, RwFlags::empty()).unwrap(), 5);
    assert_eq!((&one, &two, three[0]), (b"a", b"bcd", b'e'));
    assert_eq!(errno(f.read_vectored(At::Position, &mut [], RwFlags::RWF_APPEND)), Errno::EOPNOTSUPP);
}

#[test]
fn the_file_size_limit_cuts_writes_and_refuses_what_is_past_it() {
    let world = World::new();
    let mut task = world.root.clone();
    task.file_size_limit = 10;
    let f = file(&world, "/f", RDWR);
    assert_eq!(f.write(&task, At::Offset(7), b"12345").unwrap(), 3);
    assert_eq!(errno(f.write(&task, At::Offset(10), b"1")), Errno::EFBIG);
    assert_eq!(errno(f.truncate(&task, 11)), Errno::EFBIG);
    assert_eq!(errno(f.allocate(&task, FallocateFlags::empty(), 0, 11)), Errno::EFBIG);
    let appender = file(&world, "/f", RDWR | OpenFlags::O_APPEND);
    assert_eq!(errno(appender.write(&task, At::Position, b"1")), Errno::EFBIG);
    assert!(f.truncate(&task, 3).is_ok());
    assert_eq!(appender.write(&task, At::Position, b"12345678").unwrap(), 7);
}

#[test]
fn holes_are_found_and_made() {
    let world = World::new();
    let root = &world.root;
    let f = file(&world, "/f", RDWR);
    f.truncate(root, 100_000).unwrap();
    f.write(root, At::Offset(50_000), b"data").unwrap();
    let data = f.seek(0, Whence::Data).unwrap();
    assert!(data > 0 && data <= 50_000);
    assert_eq!(f.seek(0, Whence::Hole).unwrap(), 0);
    assert_eq!(errno(f.seek(90_000, Whence::Data)), Errno::ENXIO);
    assert_eq!(errno(f.seek(100_000, Whence::Hole)), Errno::ENXIO);
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    f.allocate(root, punch, 0, 100_000).unwrap();
    assert_eq!(errno(f.seek(0, Whence::Data)), Errno::ENXIO);
    assert_eq!(f.stat().unwrap().attr.size, 100_000);
    assert_eq!(errno(f.allocate(root, FallocateFlags::FALLOC_FL_PUNCH_HOLE, 0, 1)), Errno::EOPNOTSUPP);
    assert_eq!(errno(f.allocate(root, FallocateFlags::empty(), 0, 0)), Errno::EINVAL);
    assert_eq!(errno(f.allocate(root, FallocateFlags::empty(), i64::MAX, 1)), Errno::EFBIG);
}

#[test]
fn content_is_copied_between_files() {
    let world = World::new();
    let root = &world.root;
    let (from, to) = (file(&world, "/from", RDWR), file(&world, "/to", RDWR));
    let content: Vec<u8> = (0..200_000u32).map(|at| at as u8).collect();
    from.write(root, At::Position, &content).unwrap();
    assert_eq!(from.copy_range_to(root, At::Offset(10), &to, At::Position, 150_000).unwrap(), 150_000);
    assert_eq!(to.seek(0, Whence::Current).unwrap(), 150_000);
    let mut copied = vec![0; 200_000];
    assert_eq!(to.read(At::Offset(0), &mut copied).unwrap(), 150_000);
    assert!(copied[..150_000] == content[10..150_010]);
    from.seek(199_990, Whence::Set).unwrap();
    assert_eq!(from.copy_to(root, At::Position, &to, At::Offset(0), 100).unwrap(), 10);
    assert_eq!(from.seek(0, Whence::Current).unwrap(), 200_000);
    assert_eq!(errno(from.copy_range_to(root, At::Offset(0), &from, At::Offset(5), 10)), Errno::EINVAL);
    let appender = file(&world, "/to", RDWR | OpenFlags::O_APPEND);
    assert_eq!(errno(from.copy_range_to(root, At::Offset(0), &appender, At::Position, 1)), Errno::EBADF);
}

/// The names that `getdents64(2)` gives, with the position after each.
fn entries(dir: &OpenFile, size: usize) -> Result<Vec<(String, u64)>> {
    let mut all = Vec::new();
    let mut buf = vec![0; size];
    loop {
        let len = dir.read_dir(&mut buf)?;
        if len == 0 {
            return Ok(all);
        }
        let mut at = 0;
        while at < len {
            let record = usize::from(u16::from_ne_bytes([buf[at + 16], buf[at + 17]]));
            let name = buf[at + 19..at + record].split(|&byte| byte == 0).next().unwrap();
            let next = u64::from_ne_bytes(buf[at + 8..at + 16].try_into().unwrap());
            all.push((String::from_utf8(name.to_vec()).unwrap(), next));
            at += record;
        }
    }
}

#[test]
fn a_directory_is_listed_whole_in_any_portions() {
    let world = World::new();
    world.tree(&["/d/"]);
    for at in 0..50 {
        world.write(&format!("/d/name{at}"), "").unwrap();
    }
    let dir = file_ro(&world, "/d");
    let all = entries(&dir, 100_000).unwrap();
    assert_eq!((all.len(), all[0].0.as_str(), all[1].0.as_str()), (52, ".", ".."));
    for size in [32, 40, 100] {
        dir.seek(0, Whence::Set).unwrap();
        assert_eq!(entries(&dir, size).unwrap(), all, "by {size} bytes");
    }
    dir.seek(0, Whence::Set).unwrap();
    assert_eq!(errno(dir.read_dir(&mut [0; 16])), Errno::EINVAL);
    for (at, (_, next)) in all.iter().enumerate() {
        dir.seek(*next as i64, Whence::Set).unwrap();
        assert_eq!(entries(&dir, 1000).unwrap(), all[at + 1..]);
    }
}

fn file_ro(world: &World, path: &str) -> Arc<OpenFile> {
    world.ns.open_path(&world.root, path.as_bytes(), OpenFlags::O_RDONLY).unwrap()
}

#[test]
fn listing_survives_changes_and_ends_in_a_removed_directory() {
    let world = World::new();
    world.tree(&["/d/"]);
    for at in 0..20 {
        world.write(&format!("/d/{at}"), "").unwrap();
    }
    let dir = file_ro(&world, "/d");
    let mut seen = Vec::new();
    let mut buf = [0; 64];
    while dir.read_dir(&mut buf).unwrap() > 0 {
        let name = buf[19..].split(|&byte| byte == 0).next().unwrap();
        let name = String::from_utf8(name.to_vec()).unwrap();
        if !name.starts_with('.') {
            world.unlink(&world.root, &format!("/d/{name}")).unwrap();
            seen.push(name);
        }
    }
    let after = file_ro(&world, "/d");
    let left = entries(&after, 1000).unwrap().len() - 2;
    assert_eq!((seen.len() + left, left), (20, 20 - seen.len()));
    for at in 0..20 {
        let _ = world.unlink(&world.root, &format!("/d/{at}"));
    }
    world.rmdir(&world.root, "/d").unwrap();
    dir.seek(0, Whence::Set).unwrap();
    assert_eq!(errno(dir.read_dir(&mut buf)), Errno::ENOENT);
}

#[test]
fn mappings_need_what_they_use() {
    let world = World::new();
    world.tree(&["/f", "/d/"]);
    let reader = file(&world, "/f", OpenFlags::O_RDONLY);
    assert!(reader.mapping(Mapping::WRITE).is_ok(), "private stores stay private");
    assert_eq!(errno(reader.mapping(Mapping::WRITE | Mapping::SHARED)), Errno::EACCES);
    assert_eq!(errno(file(&world, "/f", OpenFlags::O_WRONLY).mapping(Mapping::SHARED)), Errno::EACCES);
    assert!(file(&world, "/f", RDWR).mapping(Mapping::WRITE | Mapping::SHARED).is_ok());
    assert_eq!(errno(file_ro(&world, "/d").mapping(Mapping::empty())), Errno::ENODEV);
}

#[test]
fn statistics_and_sync_reach_the_filesystem() {
    let world = World::new();
    world.tree(&["/f", "/d/"]);
    assert_eq!(world.ns.statfs(&world.root, b"/d").unwrap(), file_ro(&world, "/f").statfs().unwrap());
    let dir = world.open(&world.root, "/d", OpenFlags::O_RDONLY).unwrap();
    assert!(world.root.file(dir).unwrap().sync(SyncKind::All).is_ok());
    assert!(world.ns.syncfs(&world.root, dir).is_ok());
    assert!(world.ns.sync().is_ok());
    assert_eq!(errno(world.ns.syncfs(&world.root, 99)), Errno::EBADF);
    let at_empty = AtFlags::AT_EMPTY_PATH;
    assert!(world.ns.statat(&world.root, dir, b"", at_empty).is_ok());
}
