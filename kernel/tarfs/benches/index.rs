//! What a mount costs, and what it answers afterwards: time and memory per entry, lookups, walks and reads.
//!
//! `cargo bench -p tarfs` measures archives made on the spot; `cargo bench -p tarfs -- FILE.tar` measures one more.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tarfs::{MountOptions, TarFs, split};
use vfs::{Cookie, DirEntry, DirOps, FileSystem, FsContext, Name, Node, Timestamp};

const BLOCK: usize = 512;
const DIRECTORIES: usize = 1000;
const FILES: usize = 100;
/// Rounds of a measurement; the best counts.
const ROUNDS: usize = 10;

fn header(tar: &mut Vec<u8>, kind: u8, name: &str, size: usize) {
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\x000000000\x000000000");
    put(124, &format!("{size:011o}\x0007346545000"));
    put(148, "        ");
    put(156, char::from(kind).encode_utf8(&mut [0; 4]));
    put(257, "ustar\x0000");
    let sum = block.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&block);
}

fn pax_header(tar: &mut Vec<u8>) {
    let records = "30 mtime=1700000000.123456789\n30 atime=1700000000.123456789\n30 ctime=1700000000.123456789\n";
    header(tar, b'x', "PaxHeaders/x", records.len());
    tar.extend_from_slice(records.as_bytes());
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// A tree of a thousand directories with a hundred files each, as deep as those of a root usually are.
fn archive(with_pax: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut tar = Vec::new();
    for dir in 0..DIRECTORIES {
        let name = format!("./usr/share/doc-{}/package-{dir}/", dir / 50);
        with_pax(&mut tar);
        header(&mut tar, b'5', &name, 0);
        for file in 0..FILES {
            with_pax(&mut tar);
            header(&mut tar, b'0', &format!("{name}file-number-{file}.txt"), 700);
            tar.resize(tar.len() + 2 * BLOCK, b'x');
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

fn best<T>(mut what: impl FnMut() -> T) -> (Duration, T) {
    let run = |what: &mut dyn FnMut() -> T| {
        let started = Instant::now();
        let result = what();
        (started.elapsed(), result)
    };
    let first = run(&mut what);
    (1..ROUNDS).map(|_| run(&mut what)).fold(first, |best, next| if next.0 < best.0 { next } else { best })
}

fn nanos(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e9 / count.max(1) as f64
}

/// A directory and the names in it.
type Listed = (Arc<dyn DirOps>, Vec<Vec<u8>>);

/// Every directory.
fn directories(root: Arc<dyn DirOps>) -> Vec<Listed> {
    let mut found = vec![];
    let mut waiting = vec![root];
    while let Some(dir) = waiting.pop() {
        let mut names = Vec::new();
        let mut sink = |entry: &DirEntry<'_>| {
            names.push(entry.name.as_bytes().to_vec());
            ControlFlow::Continue(())
        };
        dir.read_dir(Cookie::START, &mut sink).unwrap();
        for name in &names {
            if let Some(Node::Dir(inner)) = dir.lookup(Name::new(name).unwrap()).unwrap() {
                waiting.push(inner);
            }
        }
        found.push((dir, names));
    }
    found
}

fn measure(what: &str, bytes: Vec<u8>) {
    let bytes: &'static [u8] = bytes.leak();
    let context = FsContext { dev: 1, clock: Arc::new(|| Timestamp::EPOCH) };
    let (walk, _) = best(|| split(bytes).map(|part| part.unwrap().len()).sum::<usize>());
    let (mount, fs) = best(|| TarFs::mount(bytes, &context, MountOptions::default()).unwrap());
    let stats = fs.stats();
    let directories = directories(fs.root());
    let (lookup, _) = best(|| {
        for (dir, names) in &directories {
            for name in names {
                black_box(dir.lookup(Name::new(name).unwrap()).unwrap());
            }
        }
    });
    let (list, _) = best(|| {
        for (dir, _) in &directories {
            let mut sink = |entry: &DirEntry<'_>| {
                black_box(entry.ino);
                ControlFlow::Continue(())
            };
            dir.read_dir(Cookie::START, &mut sink).unwrap();
        }
    });
    let mut buf = vec![0; 65_536];
    let (read, total) = best(|| {
        let mut total = 0;
        for (dir, names) in &directories {
            for name in names {
                let Some(Node::File(file)) = dir.lookup(Name::new(name).unwrap()).unwrap() else { continue };
                let mut at = 0;
                while let len @ 1.. = file.read_at(at, &mut buf).unwrap() {
                    at += len as u64;
                }
                total += at;
            }
        }
        total
    });
    println!(
        "{what}: {} inodes, {:.1} MiB, {} left out\n  \
         split {:.0} ns, mount {:.0} ns an entry ({:.2} ms); index {:.1} bytes an entry\n  \
         lookup {:.0} ns, read_dir {:.0} ns an entry, lookup and read of every file {:.2} GB/s",
        stats.inodes,
        stats.archive_bytes as f64 / 1048576.0,
        stats.left_out,
        nanos(walk, stats.entries),
        nanos(mount, stats.entries),
        mount.as_secs_f64() * 1e3,
        stats.index_bytes as f64 / stats.entries.max(1) as f64,
        nanos(lookup, stats.entries),
        nanos(list, stats.entries),
        total as f64 / read.as_secs_f64() / 1e9,
    );
}

fn main() {
    measure("ustar", archive(|_| ()));
    measure("pax with three times", archive(pax_header));
    for path in std::env::args().skip(1).filter(|arg| !arg.starts_with("--")) {
        measure(&path, std::fs::read(&path).unwrap());
    }
}
