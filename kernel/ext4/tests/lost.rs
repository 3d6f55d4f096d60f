//! Data that the disk does not take: every descriptor is told once, and all else goes on.

mod common;

use std::sync::Arc;

use block::{Fault, FaultDisk, MemoryDisk};
use common::disk::{DEFAULT, MIB, Make, OLD, assert_clean};
use common::{mount, short};
use contract::dsl::pattern;
use ext4::Ext4;
use vfs::{
    AT_FDCWD, At, Context, Credentials, Errno, FileSystem, Namespace, NamespaceOptions, OpenFile, OpenFlags, OpenHow,
    Result, SyncKind,
};

/// What the disk refuses to write.
const BAD: [u8; 8] = *b"refused!";

/// A mounted disk that refuses some data, and a task that has it as its root.
struct World {
    disk: Arc<MemoryDisk>,
    faulty: Arc<FaultDisk>,
    fs: Arc<Ext4>,
    ns: Arc<Namespace>,
    root: Context,
}

impl World {
    fn new(disk: Arc<MemoryDisk>) -> Self {
        let faulty = Arc::new(FaultDisk::new(disk.clone()));
        let fs = mount(faulty.clone());
        let ns = Namespace::new(fs.clone(), b"disk", NamespaceOptions::default());
        let root = ns.context(Credentials::root(), 1);
        Self { disk, faulty, fs, ns, root }
    }

    fn open(&self, name: &str) -> Arc<OpenFile> {
        let how = OpenHow::from_open(OpenFlags::O_RDWR | OpenFlags::O_CREAT, 0o644);
        self.ns.open(&self.root, AT_FDCWD, name.as_bytes(), &how).unwrap()
    }

    fn put(&self, file: &OpenFile, offset: i64, bytes: &[u8]) {
        assert_eq!(file.write(&self.root, At::Offset(offset), bytes).unwrap(), bytes.len());
    }

    /// Ends the mount; the disk is clean then, and mounted anew.
    fn again(self) -> (Arc<MemoryDisk>, Arc<Ext4>) {
        let Self { disk, faulty, fs, ns, root } = self;
        faulty.clear();
        drop((ns, root));
        fs.unmount().unwrap();
        drop(fs);
        assert_clean(&disk, "after data was lost");
        (disk.clone(), mount(disk))
    }
}

fn bad(len: usize) -> Vec<u8> {
    let mut bytes = pattern(9, len);
    bytes[..8].copy_from_slice(&BAD);
    bytes
}

fn is_told(result: Result<()>) -> bool {
    match result {
        Ok(()) => false,
        Err(error) if error == Errno::EIO => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn data_that_is_lost_is_told_to_every_descriptor_once_and_the_rest_goes_on() {
    for make in [Make::Ours(4096, 256), DEFAULT, OLD, Make::Mkfs(&["-b", "4096", "-O", "^has_journal"])] {
        let world = World::new(make.disk(16 * MIB));
        let (first, second, other) = (world.open("a"), world.open("a"), world.open("b"));
        world.faulty.set(Fault::WriteOf(BAD));
        world.put(&first, 0, &bad(10_000));
        world.put(&other, 0, &pattern(2, 10_000));
        let data = |file: &OpenFile| is_told(file.sync(SyncKind::Data));
        let all = |file: &OpenFile| is_told(file.sync(SyncKind::All));
        assert!(!all(&other), "{make:?}: a file that is whole");
        let before_any_report = world.open("a");
        assert_eq!((data(&first), data(&first), all(&first)), (true, false, false), "{make:?}");
        let late = world.open("a");
        assert_eq!((all(&second), data(&second)), (true, false));
        assert_eq!((all(&before_any_report), data(&before_any_report)), (true, false));
        assert!(!all(&late), "it came after the report");
        // As of the whole filesystem.
        let whole = |file: &OpenFile| is_told(file.sync_file_system());
        assert_eq!((whole(&other), whole(&other)), (true, false));
        assert_eq!((whole(&first), whole(&first)), (true, false));
        assert!(!whole(&world.open("c")), "it came after the report");

        assert!(!world.fs.is_read_only());
        // It can be written again, and lost again; and every one is told again.
        world.put(&second, 0, &bad(5000));
        assert_eq!((all(&late), all(&late), all(&first), all(&second)), (true, false, true, true));
        world.put(&second, 0, &pattern(5, 5000));
        assert_eq!((all(&first), all(&second), whole(&late)), (false, false, true));
        short::file(&*world.fs, "new", &pattern(3, 50_000)).unwrap();
        assert!(!all(&other));
        drop((first, second, other, before_any_report, late));
        let (_, fs) = world.again();
        assert_eq!(short::read(&*fs, "b").unwrap(), pattern(2, 10_000));
        assert_eq!(short::read(&*fs, "new").unwrap(), pattern(3, 50_000));
        assert_eq!(short::read(&*fs, "a").unwrap()[..5000], pattern(5, 5000));
    }
}

#[test]
fn what_nobody_was_told_of_is_told_to_who_opens_the_file_next() {
    let world = World::new(DEFAULT.disk(16 * MIB));
    let file = world.open("a");
    world.faulty.set(Fault::WriteOf(BAD));
    world.put(&file, 0, &bad(10_000));
    drop(file);
    // As a timer does: nobody asks.
    world.fs.sync().unwrap();
    let (first, second) = (world.open("a"), world.open("a"));
    assert!(is_told(first.sync(SyncKind::All)) && !is_told(first.sync(SyncKind::All)));
    assert!(is_told(second.sync(SyncKind::Data)));
    assert!(!is_told(world.open("a").sync(SyncKind::All)));
    drop((first, second));
    world.again();
}

#[test]
fn synchronous_writes_are_told_at_once() {
    let world = World::new(DEFAULT.disk(16 * MIB));
    let how = OpenHow::from_open(OpenFlags::O_RDWR | OpenFlags::O_CREAT | OpenFlags::O_DSYNC, 0o644);
    let file = world.ns.open(&world.root, AT_FDCWD, b"a", &how).unwrap();
    world.faulty.set(Fault::WriteOf(BAD));
    assert_eq!(file.write(&world.root, At::Offset(0), &bad(4096)).unwrap_err(), Errno::EIO);
    world.put(&file, 0, &pattern(1, 4096));
    drop(file);
    let (_, fs) = world.again();
    assert_eq!(short::read(&*fs, "a").unwrap(), pattern(1, 4096));
}

#[test]
fn blocks_whose_data_was_lost_show_nothing_of_what_they_had_before() {
    for make in [Make::Ours(4096, 256), OLD] {
        let world = World::new(make.disk(16 * MIB));
        let secret = b"a secret".repeat(512);
        // Every block that is free has held it.
        let full = world.open("secret");
        let mut at = 0;
        while let Ok(written) = full.write(&world.root, At::Offset(at), &secret) {
            at += written as i64;
        }
        drop(full);
        world.fs.sync().unwrap();
        world.ns.unlinkat(&world.root, AT_FDCWD, b"secret", vfs::AtFlags::empty()).unwrap();
        world.fs.sync().unwrap();

        let (delayed, reserved, old) = (world.open("delayed"), world.open("reserved"), world.open("old"));
        world.put(&old, 0, &pattern(1, 12_288));
        reserved.allocate(&world.root, vfs::FallocateFlags::empty(), 0, 65_536).unwrap();
        assert!(!is_told(old.sync(SyncKind::All)));
        world.faulty.set(Fault::WriteOf(BAD));
        for file in [&delayed, &reserved] {
            world.put(file, 0, &pattern(4, 8192));
            world.put(file, 8192, &bad(4096));
            world.put(file, 12_288, &pattern(5, 8192));
        }
        world.put(&old, 4096, &bad(4096));
        assert!(is_told(delayed.sync(SyncKind::Data)));
        assert!(is_told(reserved.sync(SyncKind::Data)) && is_told(old.sync(SyncKind::Data)));
        drop((delayed, reserved, old));
        let (_, fs) = world.again();
        for name in ["delayed", "reserved"] {
            let found = short::read(&*fs, name).unwrap();
            let is_secret = found.windows(8).any(|bytes| bytes == b"a secret");
            assert!(!is_secret, "{make:?}: {name}");
            // Writes fail by pieces; what was not written reads as zeros.
            for (block, bytes) in found.chunks(4096).take(5).enumerate() {
                let written = match block {
                    0 | 1 => pattern(4, 8192)[block * 4096..][..4096].to_vec(),
                    2 => bad(4096),
                    _ => pattern(5, 8192)[(block - 3) * 4096..][..4096].to_vec(),
                };
                let zero = bytes.iter().all(|&byte| byte == 0);
                assert!(zero || bytes == written, "{make:?}: {name}, block {block}");
            }
            assert!(found[8192..8192 + 512].iter().all(|&byte| byte == 0));
        }
        // What had been there before stays, as far as the disk has it.
        let found = short::read(&*fs, "old").unwrap();
        assert!(found == pattern(1, 12_288), "{make:?}");
    }
}

#[test]
fn what_is_written_again_after_it_was_lost_stays() {
    for ending in [SyncKind::Data, SyncKind::All] {
        let world = World::new(DEFAULT.disk(16 * MIB));
        let file = world.open("a");
        world.put(&file, 0, &pattern(1, 12_288));
        file.sync(SyncKind::All).unwrap();
        world.faulty.set(Fault::WriteOf(BAD));
        world.put(&file, 4096, &bad(4096));
        assert!(is_told(file.sync(ending)));
        world.faulty.clear();
        // The same block once more, as one that has no content yet.
        file.allocate(&world.root, vfs::FallocateFlags::FALLOC_FL_ZERO_RANGE, 0, 12_288).unwrap();
        world.put(&file, 0, &pattern(2, 12_288));
        assert!(!is_told(file.sync(SyncKind::All)));
        drop(file);
        let (_, fs) = world.again();
        assert!(short::read(&*fs, "a").unwrap() == pattern(2, 12_288));
    }
}

#[test]
fn metadata_that_is_lost_stops_the_filesystem() {
    let disk = DEFAULT.disk(16 * MIB);
    let faulty = Arc::new(FaultDisk::new(disk));
    let fs = mount(faulty.clone());
    let file = short::file(&*fs, "a", &pattern(1, 4096)).unwrap();
    fs.sync().unwrap();
    // The first block of the log: every transaction begins with its magic number.
    faulty.set(Fault::WriteOf(*b"\xc0\x3b\x39\x98\0\0\0\x01"));
    file.write_at(0, &pattern(2, 4096)).unwrap();
    assert_eq!(file.sync(SyncKind::All).unwrap_err(), Errno::EIO);
    assert!(fs.is_read_only());
    assert_eq!(file.sync(SyncKind::All).unwrap_err(), Errno::EROFS);
    assert_eq!(file.write_at(0, b"x").unwrap_err(), Errno::EROFS);
}
