//! Pipes, FIFOs and devices.

mod common;

use std::sync::Arc;

use base::sync::Mutex;
use common::{World, errno};
use vfs::{
    AT_FDCWD, At, DeviceClass, DeviceNumber, DeviceOps, Errno, OpenDevice, OpenFlags, PollEvents, Result, Seeking,
    SyncKind, UserMemory, Whence,
};

const RDWR: OpenFlags = OpenFlags::O_RDWR;

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

/// 24 bytes of memory at address 64.
struct Memory(Mutex<[u8; 24]>);

impl UserMemory for Memory {
    fn copy_in(&self, address: u64, buf: &mut [u8]) -> Result<()> {
        if address != 64 || buf.len() > 24 {
            return Err(Errno::EFAULT.into());
        }
        buf.copy_from_slice(&self.0.lock()[..buf.len()]);
        Ok(())
    }

    fn copy_out(&self, address: u64, data: &[u8]) -> Result<()> {
        if address != 64 || data.len() > 24 {
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
    let memory = Memory(Mutex::new([0; 24]));
    assert_eq!(disk.ioctl(root, 0x8008_1272, 64, &memory).unwrap(), 0);
    assert_eq!(memory.0.lock()[..8], 16u64.to_ne_bytes());
    assert_eq!(errno(disk.ioctl(root, 0x8008_1272, 63, &memory)), Errno::EFAULT);
    assert_eq!(errno(disk.ioctl(root, 1, 0, &memory)), Errno::ENOTTY);
    assert!(disk.sync(SyncKind::All).is_ok());
    let direct = world.ns.open_device(DeviceClass::Block, DeviceNumber::new(8, 0), RDWR).unwrap();
    assert_eq!(direct.read(At::Offset(0), &mut buf).unwrap(), 8);
    assert_eq!(direct.stat().unwrap().attr.rdev, DeviceNumber::new(8, 0));
}

#[test]
fn free_space_is_trimmed_by_the_privileged_where_the_filesystem_can() {
    const FITRIM: u32 = 0xc018_5879;
    let world = World::new();
    let memory = Memory(Mutex::new([0; 24]));
    let dir = world.ns.open_path(&world.root, b"/", OpenFlags::O_RDONLY).unwrap();
    assert_eq!(errno(dir.ioctl(&world.user(1), FITRIM, 64, &memory)), Errno::EPERM);
    assert_eq!(errno(dir.ioctl(&world.root, FITRIM, 8, &memory)), Errno::EFAULT);
    assert_eq!(errno(dir.ioctl(&world.root, FITRIM, 64, &memory)), Errno::ENOTTY);
}
