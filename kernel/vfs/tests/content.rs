//! What is in files, directories, pipes and devices.

mod common;

use std::sync::Arc;

use base::sync::Mutex;
use common::{World, errno};
use vfs::{
    AT_FDCWD, At, AtFlags, Blocking, DeviceClass, DeviceNumber, DeviceOps, Errno, FallocateFlags, Fd, Flock, FlockOp,
    LockOwner, LockType, Mapping, OpenDevice, OpenFile, OpenFlags, PollEvents, Result, RwFlags, Seeking, SyncKind,
    UserMemory, Whence,
};

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
fn a_pipe_carries_bytes_from_one_end_to_the_other() {
    let world = World::new();
    let root = &world.root;
    let (reader, writer) = world.ns.pipe2(root, OpenFlags::O_NONBLOCK).unwrap();
    let (r, w) = (root.file(reader).unwrap(), root.file(writer).unwrap());
    let mut buf = [0; 10];
    assert_eq!(errno(r.read(At::Position, &mut buf)), Errno::EAGAIN);
    assert_eq!(w.write(root, At::Position, b"hello").unwrap(), 5);
    assert!(r.poll().contains(PollEvents::POLLIN));
    assert_eq!(r.read(At::Position, &mut buf[..2]).unwrap(), 2);
    assert_eq!(r.read(At::Position, &mut buf).unwrap(), 3);
    let big = vec![7; 100_000];
    assert_eq!(w.write(root, At::Position, &big).unwrap(), 65_536);
    assert_eq!(errno(w.write(root, At::Position, b"x")), Errno::EAGAIN);
    assert!(!w.poll().contains(PollEvents::POLLOUT));
    r.read(At::Position, &mut [0; 10]).unwrap();
    assert_eq!(errno(w.write(root, At::Position, &[0; 100])), Errno::EAGAIN, "small writes are whole or not at all");
    assert_eq!(errno(r.seek(0, Whence::Set)), Errno::ESPIPE);
    assert_eq!(errno(r.read(At::Offset(0), &mut buf)), Errno::ESPIPE);
    assert_eq!(errno(r.write(root, At::Position, b"x")), Errno::EBADF);
    assert_eq!(r.stat().unwrap().attr.st_mode(), 0o010_600);
    drop(w);
    root.files.close(writer).unwrap();
    let mut rest = vec![0; 100_000];
    assert_eq!(r.read(At::Position, &mut rest).unwrap(), 65_526);
    assert_eq!(r.read(At::Position, &mut rest).unwrap(), 0, "the writers are gone");
    assert!(r.poll().contains(PollEvents::POLLHUP));
}

#[test]
fn writing_without_readers_breaks_the_pipe() {
    let world = World::new();
    let root = &world.root;
    let (reader, writer) = world.ns.pipe2(root, OpenFlags::empty()).unwrap();
    root.files.close(reader).unwrap();
    let writer = root.file(writer).unwrap();
    assert_eq!(errno(writer.write(root, At::Position, b"x")), Errno::EPIPE);
    assert!(writer.poll().contains(PollEvents::POLLERR));
}

#[test]
fn a_fifo_joins_those_who_open_it() {
    let world = World::new();
    let root = &world.root;
    world.ns.mknodat(root, AT_FDCWD, b"/p", 0o010_666, 0).unwrap();
    world.link(root, "/p", "/q").unwrap();
    let nonblock = OpenFlags::O_NONBLOCK;
    assert_eq!(errno(world.open(root, "/p", OpenFlags::O_WRONLY | nonblock)), Errno::ENXIO);
    let reader = world.ns.open_path(root, b"/p", nonblock).unwrap();
    assert_eq!(reader.read(At::Position, &mut [0]).unwrap(), 0, "no writer came yet");
    let writer = world.ns.open_path(root, b"/q", OpenFlags::O_WRONLY | nonblock).unwrap();
    assert_eq!(errno(reader.read(At::Position, &mut [0])), Errno::EAGAIN);
    writer.write(root, At::Position, b"!").unwrap();
    let mut byte = [0];
    assert_eq!(reader.read(At::Position, &mut byte).unwrap(), 1);
    let both = world.ns.open_path(root, b"/p", RDWR).unwrap();
    both.write(root, At::Position, b"x").unwrap();
    assert_eq!(both.read(At::Position, &mut byte).unwrap(), 1);
}

/// A disk of 16 bytes that counts its openings, and a null device.
#[derive(Default)]
struct Driver {
    bytes: Mutex<[u8; 16]>,
}

struct Disk(Arc<Driver>);

impl DeviceOps for Disk {
    fn open(&self, number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        if number.minor > 7 { Err(Errno::ENXIO.into()) } else { Ok(Arc::new(Disk(self.0.clone()))) }
    }
}

impl OpenDevice for Disk {
    fn read(&self, offset: u64, buf: &mut [u8], _flags: OpenFlags) -> Result<usize> {
        let bytes = self.0.bytes.lock();
        let from = (offset as usize).min(16);
        let count = buf.len().min(16 - from);
        buf[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write(&self, offset: u64, data: &[u8], _flags: OpenFlags) -> Result<usize> {
        let from = (offset as usize).min(16);
        let count = data.len().min(16 - from);
        if count == 0 {
            return Err(Errno::ENOSPC.into());
        }
        self.0.bytes.lock()[from..from + count].copy_from_slice(&data[..count]);
        Ok(count)
    }

    fn seeking(&self) -> Seeking {
        Seeking::UpTo(16)
    }

    fn ioctl(&self, command: u32, argument: u64, memory: &dyn UserMemory) -> Result<u64> {
        match command {
            0x8008_1272 => memory.copy_out(argument, &16u64.to_ne_bytes()).map(|()| 0),
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// Eight bytes of memory at address 64.
struct Memory(Mutex<[u8; 8]>);

impl UserMemory for Memory {
    fn copy_in(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        if address != 64 || buf.len() > 8 {
            return Err(Errno::EFAULT.into());
        }
        buf.copy_from_slice(&self.0.lock()[..buf.len()]);
        Ok(())
    }

    fn copy_out(&self, address: u64, data: &[u8]) -> Result<()> {
        if address != 64 || data.len() > 8 {
            return Err(Errno::EFAULT.into());
        }
        self.0.lock()[..data.len()].copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn a_device_node_reaches_its_driver() {
    let world = World::new();
    let root = &world.root;
    let driver = Arc::new(Driver::default());
    world.ns.devices().register_major(DeviceClass::Block, 8, Arc::new(Disk(driver.clone())));
    let dev = |minor| DeviceNumber::new(8, minor).encode();
    world.ns.mknodat(root, AT_FDCWD, b"/disk", 0o060_600, dev(1)).unwrap();
    world.ns.mknodat(root, AT_FDCWD, b"/none", 0o060_600, dev(9)).unwrap();
    world.ns.mknodat(root, AT_FDCWD, b"/char", 0o020_600, dev(1)).unwrap();
    assert_eq!(errno(world.open(root, "/none", RDWR)), Errno::ENXIO);
    assert_eq!(errno(world.open(root, "/char", RDWR)), Errno::ENXIO, "numbers of the two classes differ");
    assert_eq!(errno(world.open(&world.user(1), "/disk", RDWR)), Errno::EACCES);
    let disk = world.ns.open_path(root, b"/disk", RDWR).unwrap();
    assert_eq!(disk.write(root, At::Position, b"0123456789abcdefXYZ").unwrap(), 16);
    assert_eq!(errno(disk.write(root, At::Position, b"X")), Errno::ENOSPC);
    assert_eq!(disk.seek(-6, Whence::End).unwrap(), 10);
    let mut buf = [0; 8];
    assert_eq!(disk.read(At::Position, &mut buf).unwrap(), 6);
    assert_eq!(&buf[..6], b"abcdef");
    let memory = Memory(Mutex::new([0; 8]));
    assert_eq!(disk.ioctl(root, 0x8008_1272, 64, &memory).unwrap(), 0);
    assert_eq!(*memory.0.lock(), 16u64.to_ne_bytes());
    assert_eq!(errno(disk.ioctl(root, 0x8008_1272, 63, &memory)), Errno::EFAULT);
    assert_eq!(errno(disk.ioctl(root, 1, 0, &memory)), Errno::ENOTTY);
    assert!(disk.sync(SyncKind::All).is_ok());
    let direct = world.ns.open_device(DeviceClass::Block, DeviceNumber::new(8, 0), RDWR).unwrap();
    assert_eq!(direct.read(At::Offset(0), &mut buf).unwrap(), 8);
    assert_eq!(direct.stat().unwrap().attr.rdev, DeviceNumber::new(8, 0));
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
    let reader = file_ro(&world, "/f");
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
