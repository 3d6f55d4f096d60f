//! What the overlay itself costs, over layers in memory: look-ups, listings, copy-up, whiteouts, renames.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fs_overlay::{Layer, Layers, MetacopyMode, Options, OverlayFs};
use ramfs::RamFs;
use vfs::{
    Cookie, DirEntry, DirOps, Expect, FileSystem, FsContext, Name, NewKind, NewNode, Node, OpenIntent, RenameMode,
    RenameOp, SetAttr, Timestamp,
};

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn ram(dev: u64) -> Arc<RamFs> {
    let mut uuid = [1; 16];
    uuid[..8].copy_from_slice(&dev.to_le_bytes());
    let context = FsContext { dev, clock: Arc::new(|| Timestamp::from_secs(1)) };
    RamFs::new(context, &ramfs::Options { uuid, ..Default::default() }).unwrap()
}

fn mkdir(dir: &dyn DirOps, text: &str) -> Arc<dyn DirOps> {
    match dir.create(name(text), &NewNode::new(NewKind::Dir, 0o755)).unwrap() {
        Node::Dir(dir) => dir,
        _ => unreachable!("a directory was made"),
    }
}

fn file(dir: &dyn DirOps, text: &str, size: usize) {
    let node = dir.create(name(text), &NewNode::new(NewKind::File, 0o644)).unwrap();
    if size > 0 {
        node.as_file().unwrap().write_at(0, &vec![b'x'; size]).unwrap();
    }
}

fn overlay(lowers: Vec<Arc<RamFs>>) -> Arc<OverlayFs> {
    overlay_with(lowers, Options::default())
}

fn overlay_with(lowers: Vec<Arc<RamFs>>, options: Options) -> Arc<OverlayFs> {
    let layers = Layers {
        upper: Some(Layer::of(ram(1))),
        work: None,
        lowers: lowers.into_iter().map(|fs| Layer::of(fs)).collect(),
    };
    OverlayFs::mount(FsContext { dev: 2, clock: Arc::new(|| Timestamp::from_secs(2)) }, layers, options).unwrap()
}

fn walk(root: &Arc<dyn DirOps>, path: &[&str]) -> Node {
    let mut node = Node::Dir(root.clone());
    for part in path {
        node = node.as_dir().unwrap().lookup(name(part)).unwrap().unwrap();
    }
    node
}

fn lookups(c: &mut Criterion) {
    let lower = ram(10);
    let dir = mkdir(&*mkdir(&*mkdir(&*lower.root(), "a"), "b"), "c");
    file(&*dir, "f", 100);
    let fs = overlay(vec![lower]);
    let root = fs.root();
    let path = ["a", "b", "c", "f"];
    let mut group = c.benchmark_group("lookup");
    group.bench_function("stat a/b/c/f, nodes dropped", |b| b.iter(|| walk(&root, &path).attr().unwrap()));
    let held: Vec<_> = (1..=path.len()).map(|len| walk(&root, &path[..len])).collect();
    group.bench_function("stat a/b/c/f, nodes held", |b| b.iter(|| walk(&root, &path).attr().unwrap()));
    group.bench_function("attr of a held lower file", |b| b.iter(|| held[3].attr().unwrap()));
    held[3].as_file().unwrap().prepare_open(OpenIntent::Write).unwrap();
    group.bench_function("stat a/b/c/f, copied up", |b| b.iter(|| walk(&root, &path).attr().unwrap()));
    let reader = held[3].as_file().unwrap().clone();
    let mut buffer = [0; 64];
    group.bench_function("read 64 bytes of a copied-up file", |b| b.iter(|| reader.read_at(0, &mut buffer).unwrap()));
    group.finish();

    let mut group = c.benchmark_group("negative lookup");
    for count in [1, 10, 500] {
        let fs = overlay((0..count).map(|layer| ram(10 + layer)).collect());
        let root = fs.root();
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| root.lookup(name("absent")).unwrap().is_none());
        });
    }
    group.finish();
}

fn count_entries(dir: &dyn DirOps) -> usize {
    let mut count = 0;
    dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
        black_box(entry);
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    count
}

fn listings(c: &mut Criterion) {
    let mut group = c.benchmark_group("merged readdir");
    group.sample_size(20);
    for count in [1_000usize, 100_000] {
        let (top, bottom) = (ram(10), ram(11));
        let (top_dir, bottom_dir) = (mkdir(&*top.root(), "d"), mkdir(&*bottom.root(), "d"));
        for index in 0..count {
            file(&**if index % 2 == 0 { &top_dir } else { &bottom_dir }, &format!("file-{index}"), 0);
        }
        let fs = overlay(vec![top, bottom]);
        let dir = walk(&fs.root(), &["d"]);
        let dir = dir.as_dir().unwrap().clone();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("again", count), |b| b.iter(|| assert_eq!(count_entries(&*dir), count)));
        group.bench_function(BenchmarkId::new("after a change", count), |b| {
            b.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    dir.create(name("new"), &NewNode::new(NewKind::File, 0)).unwrap();
                    dir.remove(name("new"), Expect::NonDir).unwrap();
                    let start = Instant::now();
                    assert_eq!(count_entries(&*dir), count);
                    total += start.elapsed();
                }
                total
            });
        });
    }
    group.finish();
}

/// Times `step` on each of many lower files, in overlays made anew as they are used up.
fn on_lower_files(size: usize, iterations: u64, mut step: impl FnMut(&Arc<dyn DirOps>, &str)) -> Duration {
    let per_rig = (16usize << 20).checked_div(size).map_or(2000, |count| count.clamp(1, 2000));
    let (mut total, mut left) = (Duration::ZERO, iterations);
    while left > 0 {
        let lower = ram(10);
        let dir = mkdir(&*lower.root(), "d");
        let names: Vec<_> = (0..per_rig).map(|index| format!("f{index}")).collect();
        for text in &names {
            file(&*dir, text, size);
        }
        let fs = overlay(vec![lower]);
        let dir = walk(&fs.root(), &["d"]).as_dir().unwrap().clone();
        dir.set_attr(&SetAttr { mode: Some(0o700), ..SetAttr::default() }).unwrap();
        let count = per_rig.min(usize::try_from(left).unwrap());
        let start = Instant::now();
        for text in &names[..count] {
            step(&dir, text);
        }
        total += start.elapsed();
        left -= count as u64;
    }
    total
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy-up");
    group.sample_size(20);
    for (label, size) in [("empty", 0), ("4 KiB", 4096), ("1 MiB", 1 << 20)] {
        group.throughput(Throughput::Bytes(size.max(1) as u64));
        group.bench_function(label, |b| {
            b.iter_custom(|iterations| {
                on_lower_files(size, iterations, |dir, text| {
                    let node = dir.lookup(name(text)).unwrap().unwrap();
                    node.as_file().unwrap().prepare_open(OpenIntent::Write).unwrap();
                })
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("chmod of a lower file under metacopy");
    for (label, size) in [("4 KiB", 4096), ("1 GiB", 1 << 30)] {
        let lower = ram(10);
        file(&*lower.root(), "f", 4096);
        lower.root().lookup(name("f")).unwrap().unwrap().as_file().unwrap().set_len(size).unwrap();
        let options = Options { metacopy: MetacopyMode::Create, ..Options::default() };
        group.bench_function(label, |b| {
            b.iter_batched(
                || overlay_with(vec![lower.clone()], options).root(),
                |root| {
                    let node = root.lookup(name("f")).unwrap().unwrap();
                    node.ops().set_attr(&SetAttr { mode: Some(0o600), ..SetAttr::default() }).unwrap();
                    (root, node)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();

    let mut group = c.benchmark_group("mount");
    for count in [1, 500] {
        let lowers: Vec<_> = (0..count).map(|layer| ram(10 + layer)).collect();
        group.bench_function(BenchmarkId::from_parameter(count), |b| b.iter(|| overlay(lowers.clone())));
    }
    group.finish();

    c.bench_function("unlink that leaves a whiteout", |b| {
        b.iter_custom(|iterations| {
            on_lower_files(0, iterations, |dir, text| dir.remove(name(text), Expect::NonDir).unwrap())
        });
    });
    let fs = overlay(vec![ram(10)]);
    let root = fs.root();
    c.bench_function("create and unlink", |b| {
        b.iter(|| {
            root.create(name("f"), &NewNode::new(NewKind::File, 0o644)).unwrap();
            root.remove(name("f"), Expect::NonDir).unwrap();
        });
    });

    let mut group = c.benchmark_group("rename of a merged directory");
    for count in [10, 10_000] {
        let lower = ram(10);
        let dir = mkdir(&*lower.root(), "a");
        for index in 0..count {
            file(&*dir, &format!("{index}"), 0);
        }
        let fs = overlay(vec![lower]);
        let root: Arc<dyn DirOps> = fs.root();
        let rename = |from, to| {
            root.rename(&RenameOp { name: name(from), to: &root, new_name: name(to), mode: RenameMode::Replace })
                .unwrap();
        };
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                rename("a", "b");
                rename("b", "a");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).without_plots();
    targets = lookups, listings, changes
}
criterion_main!(benches);
