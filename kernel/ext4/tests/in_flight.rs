//! How many requests a disk gets at a time.

mod common;

use std::sync::Arc;

use block::CountingDisk;
use common::disk::{MIB, Make};
use common::{mount, short};
use contract::dsl::pattern;
use vfs::FileSystem;

#[test]
fn sequential_writes_keep_eight_requests_in_flight() {
    let counting = Arc::new(CountingDisk::new(Make::Ours(4096, 256).disk(64 * MIB)));
    let fs = mount(counting.clone());
    let file = short::file(&*fs, "f", b"").unwrap();
    fs.sync().unwrap();
    counting.take();
    for at in (0..16 * MIB).step_by(65536) {
        assert_eq!(file.write_at(at, &pattern(at, 65536)).unwrap(), 65536);
    }
    file.sync(vfs::SyncKind::All).unwrap();
    let counts = counting.take();
    assert!(counts.most_writes_in_flight >= 8, "{counts:?}");
    assert!(counts.bytes_written < 18 * MIB, "each byte is written once: {counts:?}");
    let each = counts.bytes_written / counts.writes;
    assert!(each >= 48 << 10, "requests of {each} bytes: {counts:?}");
}

#[test]
fn sequential_reads_keep_eight_requests_in_flight() {
    for step in [4096, 65536, 1 << 20] {
        let disk = Make::Ours(4096, 256).disk(64 * MIB);
        let fs = mount(disk.clone());
        short::file(&*fs, "f", &pattern(0, 16 << 20)).unwrap();
        fs.unmount().unwrap();
        drop(fs);
        let counting = Arc::new(CountingDisk::new(disk));
        let fs = mount(counting.clone());
        let file = short::open(&*fs, "f").unwrap();
        counting.take();
        let mut buf = vec![0; step];
        for at in (0..16 * MIB).step_by(step) {
            assert_eq!(file.read_at(at, &mut buf).unwrap(), step);
            assert!(buf == pattern(at, step), "bytes at {at}");
        }
        let counts = counting.take();
        assert!(counts.most_reads_in_flight >= 8, "reads of {step} bytes: {counts:?}");
        assert!(counts.bytes_read < 17 * MIB, "each byte is read once, by steps of {step}: {counts:?}");
        let each = counts.bytes_read / counts.reads;
        assert!(each >= 64 << 10, "requests of {each} bytes: {counts:?}");
    }
}

#[test]
fn a_cached_file_is_read_without_the_disk() {
    let disk = Make::Ours(4096, 256).disk(32 * MIB);
    let counting = Arc::new(CountingDisk::new(disk));
    let fs = mount(counting.clone());
    short::file(&*fs, "f", &pattern(0, 1 << 20)).unwrap();
    fs.sync().unwrap();
    counting.take();
    for _ in 0..3 {
        assert!(short::read(&*fs, "f").unwrap() == pattern(0, 1 << 20));
        short::at(&*fs, "f").unwrap().attr().unwrap();
    }
    assert_eq!(counting.take(), block::Counts::default());
}
