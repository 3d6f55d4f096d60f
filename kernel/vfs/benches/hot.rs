//! The calls that programs make most, with everything in the cache: `cargo bench -p vfs`.
//!
//! The tree is three levels deep over ramfs; `stat of the root` is what a call costs without a path. The same calls on Linux's tmpfs
//! stand beside, system call included.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use ramfs::{Options, RamFs};
use vfs::{
    AT_FDCWD, At, AtFlags, Credentials, FsContext, Namespace, NamespaceOptions, OpenFlags, RenameFlags, Timestamp,
};

fn calls(c: &mut Criterion) {
    let context = FsContext { dev: 1, clock: Arc::new(|| Timestamp::EPOCH) };
    let fs = RamFs::new(context, &Options::default()).expect("it fits");
    let ns = Namespace::new(fs, b"none", NamespaceOptions::default());
    let root = ns.context(Credentials::root(), 1);
    let user = ns.context(Credentials::user(1000, 1000, &[10, 20, 30]), 2);
    let none = AtFlags::empty();
    for dir in [&b"/usr"[..], b"/usr/share", b"/usr/share/doc"] {
        ns.mkdirat(&root, AT_FDCWD, dir, 0o755).expect("a directory");
    }
    let path = &b"/usr/share/doc/file"[..];
    let created = ns.openat(&root, AT_FDCWD, path, OpenFlags::O_CREAT | OpenFlags::O_RDWR, 0o644).expect("a file");
    ns.symlinkat(&root, b"usr/share", AT_FDCWD, b"/share").expect("a link");
    root.file(created).expect("open").write(&root, At::Position, &[7; 4096]).expect("it fits");

    c.bench_function("stat of the root", |b| {
        b.iter(|| ns.statat(&root, AT_FDCWD, black_box(b"/"), none));
    });
    c.bench_function("hot stat, 3 directories deep", |b| {
        b.iter(|| ns.statat(&root, AT_FDCWD, black_box(path), none).expect("it is there"));
    });
    c.bench_function("hot stat as a user in groups", |b| {
        b.iter(|| ns.statat(&user, AT_FDCWD, black_box(path), none).expect("it is there"));
    });
    c.bench_function("hot stat through a link", |b| {
        b.iter(|| ns.statat(&root, AT_FDCWD, black_box(b"/share/doc/file"), none).expect("it is there"));
    });
    c.bench_function("negative stat, 3 directories deep", |b| {
        b.iter(|| ns.statat(&root, AT_FDCWD, black_box(b"/usr/share/doc/none"), none).expect_err("it is not"));
    });
    c.bench_function("access", |b| {
        b.iter(|| ns.faccessat(&user, AT_FDCWD, black_box(path), 4, none).expect("it is readable"));
    });
    c.bench_function("open and close", |b| {
        b.iter(|| {
            let fd = ns.openat(&root, AT_FDCWD, black_box(path), OpenFlags::O_RDONLY, 0).expect("it opens");
            root.files.close(fd)
        });
    });
    c.bench_function("fstat", |b| b.iter(|| root.file(created).expect("open").stat()));
    c.bench_function("pread of 1 byte", |b| {
        let mut byte = [0];
        b.iter(|| root.file(created).expect("open").read(At::Offset(5), &mut byte));
    });
    c.bench_function("create and unlink", |b| {
        b.iter(|| {
            let flags = OpenFlags::O_CREAT | OpenFlags::O_EXCL | OpenFlags::O_WRONLY;
            let fd = ns.openat(&root, AT_FDCWD, b"/usr/share/new", flags, 0o644).expect("it is new");
            root.files.close(fd).expect("open");
            ns.unlinkat(&root, AT_FDCWD, b"/usr/share/new", none)
        });
    });
    c.bench_function("rename there and back", |b| {
        b.iter(|| {
            let (old, new) = (b"/usr/share/doc", b"/usr/doc");
            ns.renameat2(&root, AT_FDCWD, old, AT_FDCWD, new, RenameFlags::empty()).expect("it moves");
            ns.renameat2(&root, AT_FDCWD, new, AT_FDCWD, old, RenameFlags::empty()).expect("it moves");
        });
    });
    let linux = std::env::temp_dir().join("strata-vfs-bench/share/doc");
    std::fs::create_dir_all(&linux).expect("a directory");
    let file = linux.join("file");
    std::fs::write(&file, "x").expect("a file");
    let file = file.into_os_string().into_string().expect("a path in text");
    c.bench_function("Linux: hot stat", |b| b.iter(|| rustix::fs::stat(black_box(&file))));
    c.bench_function("Linux: open and close", |b| {
        let flags = rustix::fs::OFlags::RDONLY;
        b.iter(|| drop(rustix::fs::open(black_box(&file), flags, rustix::fs::Mode::empty())));
    });
    // What remains is a temporary directory.
    let _ = std::fs::remove_dir_all(std::env::temp_dir().join("strata-vfs-bench"));
}

criterion_group!(benches, calls);
criterion_main!(benches);
