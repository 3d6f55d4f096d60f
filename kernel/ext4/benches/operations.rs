//! What operations cost above a disk in memory: `cargo bench -p ext4`.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use block::MemoryDisk;
use contract::dsl::pattern;
use contract::random::Random;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ext4::format::{FormatOptions, format};
use ext4::{Ext4, MountMode, MountOptions};
use vfs::{
    Cookie, DirEntry, DirOps, Expect, FileOps, FileSystem, FsContext, Name, NewKind, NewNode, RenameMode, RenameOp,
    Timestamp,
};

const MIB: usize = 1 << 20;

/// A fresh filesystem of `mib` MiB.
fn fresh(mib: u64) -> (Arc<MemoryDisk>, Arc<Ext4>) {
    let disk = Arc::new(MemoryDisk::new(mib * MIB as u64));
    let now = Timestamp::from_secs(1_700_000_000);
    format(&*disk, &FormatOptions::new([7; 32], now)).expect("a blank disk is formatted");
    let fs = mount(&disk, 64 * MIB);
    (disk, fs)
}

fn mount(disk: &Arc<MemoryDisk>, cache_bytes: usize) -> Arc<Ext4> {
    let context = FsContext { dev: 1, clock: Arc::new(|| Timestamp::from_secs(1_700_000_000)) };
    let options = MountOptions { mode: MountMode::ReadWrite, cache_bytes, ..MountOptions::default() };
    Ext4::mount(disk.clone(), context, options).expect("it is mounted")
}

fn name(bytes: &[u8]) -> Name<'_> {
    Name::new(bytes).expect("a name")
}

fn file(dir: &dyn DirOps, at: &[u8]) -> Arc<dyn FileOps> {
    let node = dir.create(name(at), &NewNode::new(NewKind::File, 0o644)).expect("a file is made");
    node.as_file().expect("it is a file").clone()
}

fn names(c: &mut Criterion) {
    let (_disk, fs) = fresh(256);
    let root = fs.root();
    for number in 0..1000 {
        file(&*root, format!("file{number}").as_bytes());
    }
    let mut number = 0_u32;
    c.bench_function("lookup and attr, 1,000 names", |b| {
        b.iter(|| {
            number = (number + 7) % 1000;
            let path = format!("file{number}");
            let node = root.lookup(name(path.as_bytes())).expect("no fault").expect("it is there");
            black_box(node.attr().expect("no fault"))
        });
    });
    c.bench_function("lookup of an absent name", |b| {
        b.iter(|| black_box(root.lookup(name(b"not there")).expect("no fault")).is_none());
    });
    c.bench_function("create and unlink", |b| {
        b.iter(|| {
            file(&*root, b"short-lived");
            root.remove(name(b"short-lived"), Expect::NonDir).expect("it goes");
        });
    });
}

fn small_changes(c: &mut Criterion) {
    let (_disk, fs) = fresh(1024);
    let root = fs.root();
    let log = file(&*root, b"log");
    let data = pattern(0, 100);
    let mut at = 0;
    c.bench_function("append of 100 bytes", |b| {
        b.iter(|| {
            at = if at > 200 << 20 { 0 } else { at };
            at += log.write_at(at, &data).expect("there is space") as u64;
        });
    });
    for number in 0..5000 {
        file(&*root, format!("from {number}").as_bytes());
    }
    let (mut number, mut there) = (0_u32, false);
    c.bench_function("rename among 5,000 names", |b| {
        b.iter(|| {
            let (from, to) = (format!("from {number}"), format!("to {number}"));
            let (from, to) = if there { (to, from) } else { (from, to) };
            let (name, new_name) = (name(from.as_bytes()), name(to.as_bytes()));
            root.rename(&RenameOp { name, to: &root, new_name, mode: RenameMode::Replace }).expect("it moves");
            number += 1;
            if number == 5000 {
                (number, there) = (0, !there);
            }
        });
    });
}

fn directories(c: &mut Criterion) {
    let mut group = c.benchmark_group("directory of 10,000 names");
    group.throughput(Throughput::Elements(10_000)).sample_size(10);
    let names: Vec<String> = (0..10_000).map(|number| format!("a name of usual length {number}")).collect();
    group.bench_function("create", |b| {
        b.iter_batched(
            || fresh(256),
            |(disk, fs)| {
                for path in &names {
                    file(&*fs.root(), path.as_bytes());
                }
                fs.unmount().expect("it is written");
                (disk, fs)
            },
            BatchSize::PerIteration,
        );
    });
    let (disk, fs) = fresh(256);
    for path in &names {
        file(&*fs.root(), path.as_bytes());
    }
    let list = |fs: &Ext4| {
        let mut count = 0;
        let mut take = |_: &DirEntry<'_>| {
            count += 1;
            ControlFlow::Continue(())
        };
        fs.root().read_dir(Cookie::START, &mut take).expect("no fault");
        assert_eq!(count, 10_001);
    };
    group.bench_function("readdir", |b| b.iter(|| list(&fs)));
    fs.unmount().expect("it is written");
    group.bench_function("mount and readdir", |b| {
        b.iter_batched(|| (), |()| list(&mount(&disk, 64 * MIB)), BatchSize::PerIteration);
    });
    group.finish();
}

fn data(c: &mut Criterion) {
    let mut group = c.benchmark_group("data");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let chunk = pattern(0, MIB);
    group.throughput(Throughput::Bytes(32 * MIB as u64));
    group.bench_function("sequential write of 32 MiB and sync", |b| {
        b.iter_batched(
            || fresh(128),
            |(disk, fs)| {
                let f = file(&*fs.root(), b"f");
                for at in 0..32 {
                    f.write_at(at * MIB as u64, &chunk).expect("it is written");
                }
                fs.sync().expect("it is synced");
                (disk, fs, f)
            },
            BatchSize::PerIteration,
        );
    });
    let (disk, fs) = fresh(128);
    let f = file(&*fs.root(), b"f");
    for at in 0..32 {
        f.write_at(at * MIB as u64, &chunk).expect("it is written");
    }
    fs.sync().expect("it is synced");
    let mut buf = vec![0; MIB];
    group.bench_function("sequential read of 32 MiB, cached", |b| {
        b.iter(|| {
            for at in 0..32 {
                f.read_at(at * MIB as u64, &mut buf).expect("it is read");
            }
        });
    });
    group.throughput(Throughput::Bytes(4096));
    let mut random = Random::new(3);
    group.bench_function("overwrite of 4 KiB at random, written back in the background", |b| {
        b.iter(|| f.write_at(random.below(8192) * 4096, &chunk[..4096]).expect("it is written"));
    });
    group.bench_function("read of 4 KiB at random, cached", |b| {
        b.iter(|| f.read_at(random.below(8192) * 4096, &mut buf[..4096]).expect("it is read"));
    });
    fs.unmount().expect("it is written");
    drop((f, fs));
    group.throughput(Throughput::Bytes(32 * MIB as u64));
    group.bench_function("sequential read of 32 MiB, from the disk", |b| {
        b.iter_batched(
            || mount(&disk, 8 * MIB),
            |fs| {
                let node = fs.root().lookup(name(b"f")).expect("no fault").expect("it is there");
                let f = node.as_file().expect("it is a file").clone();
                for at in 0..32 {
                    f.read_at(at * MIB as u64, &mut buf).expect("it is read");
                }
                (fs, f)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, names, small_changes, directories, data);
criterion_main!(benches);
