//! The rows: what is done, how many operations that is, and what is made ready before.

use std::sync::Arc;

use block::MemoryDisk;
use contract::dsl::pattern;
use contract::random::Random;
use ext4::format::{FormatOptions, format};
use host::worker::{Work as OpenWork, Worker};

use crate::common::disk::MIB;
use crate::generate::Generator;
use crate::op::{Op, World as _};
use crate::ours::Ours;

/// A row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// How many operations the work is.
    pub(crate) operations: u32,
    /// How often it is done in a round.
    pub(crate) turns: u32,
    /// In a new directory; not timed, and synced.
    pub(crate) prepare: fn(&mut dyn Worker),
    pub(crate) work: Work,
    /// Not timed.
    pub(crate) clean: fn(&mut dyn Worker),
}

/// What is timed.
pub(crate) enum Work {
    /// The operations of [`trace`].
    Trace,
    Own(fn(&mut dyn Worker)),
}

const TRACE: u32 = 6_000;
const CHUNK: usize = 65536;
const LARGE: u64 = 64 * MIB;

/// Random operations of all kinds, three of a hundred syncs: the same as in the tests that compare trees.
pub(crate) fn trace() -> Vec<Op> {
    let disk = MemoryDisk::new(256 * MIB);
    format(&disk, &FormatOptions::new([7; 32], crate::common::now())).expect("a disk in memory is formatted");
    let mut ours = Ours::new(Arc::new(disk));
    let mut generator = Generator::new(1, false);
    let mut next = || {
        let op = generator.next();
        generator.learn(&op, &ours.apply(&op));
        op
    };
    let ops = (0..TRACE).map(|_| next()).collect();
    ours.unmount();
    ops
}

fn nothing(_: &mut dyn Worker) {}

fn many(w: &mut dyn Worker, dir: &str, count: u32) {
    w.mkdir(dir);
    (0..count).for_each(|number| drop(w.create(&format!("{dir}/{number}"))));
}

fn no_more(w: &mut dyn Worker, dir: &str, count: u32) {
    (0..count).for_each(|number| w.unlink(&format!("{dir}/{number}")));
    w.rmdir(dir);
}

/// A directory's life.
fn directory(w: &mut dyn Worker, dir: &str, count: u32) {
    many(w, dir, count);
    (0..count).for_each(|number| assert_eq!(w.stat(&format!("{dir}/{number}")), 0));
    assert_eq!(w.list(dir), count as usize);
    no_more(w, dir, count);
    w.sync();
}

/// Makes a large file.
fn large(w: &mut dyn Worker, path: &str) {
    let file = w.create(path);
    (0..LARGE).step_by(CHUNK).for_each(|at| file.write(at, piece()));
}

fn at_random(w: &mut dyn Worker, path: &str, count: u32, after_each: impl Fn(&dyn OpenWork)) {
    let file = w.open(path);
    let data = pattern(1, 4096);
    let mut random = Random::new(7);
    for _ in 0..count {
        file.write(random.below(LARGE / 4096) * 4096, &data);
        after_each(&*file);
    }
}

/// The table. Each row stands for itself, so that it can be picked.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "mixed operations, 3 % syncs",
        operations: TRACE,
        turns: 1,
        prepare: nothing,
        work: Work::Trace,
        clean: nothing,
    },
    Row {
        name: "directory of 2,000 files: create, stat, list, unlink, sync; a file",
        operations: 2_000,
        turns: 3,
        prepare: nothing,
        work: Work::Own(|w| directory(w, "two", 2_000)),
        clean: nothing,
    },
    Row {
        name: "directory of 20,000 files: the same; a file",
        operations: 20_000,
        turns: 1,
        prepare: nothing,
        work: Work::Own(|w| directory(w, "twenty", 20_000)),
        clean: nothing,
    },
    Row {
        name: "create",
        operations: 5_000,
        turns: 3,
        prepare: nothing,
        work: Work::Own(|w| many(w, "create", 5_000)),
        clean: nothing,
    },
    Row {
        name: "stat",
        operations: 5_000,
        turns: 3,
        prepare: |w| many(w, "stat", 5_000),
        work: Work::Own(|w| (0..5_000).for_each(|number| assert_eq!(w.stat(&format!("stat/{number}")), 0))),
        clean: nothing,
    },
    Row {
        name: "chmod",
        operations: 5_000,
        turns: 3,
        prepare: |w| many(w, "chmod", 5_000),
        work: Work::Own(|w| (0..5_000).for_each(|number| w.chmod(&format!("chmod/{number}"), 0o600))),
        clean: nothing,
    },
    Row {
        name: "rename",
        operations: 5_000,
        turns: 3,
        prepare: |w| many(w, "rename", 5_000),
        work: Work::Own(|w| {
            (0..5_000).for_each(|number| w.rename(&format!("rename/{number}"), &format!("rename/new{number}")));
        }),
        clean: nothing,
    },
    Row {
        name: "unlink, and one sync",
        operations: 5_000,
        turns: 3,
        prepare: |w| many(w, "unlink", 5_000),
        work: Work::Own(|w| {
            no_more(w, "unlink", 5_000);
            w.sync();
        }),
        clean: nothing,
    },
    Row {
        name: "create and unlink",
        operations: 5_000,
        turns: 3,
        prepare: |w| w.mkdir("brief"),
        work: Work::Own(|w| {
            for _ in 0..5_000 {
                drop(w.create("brief/one"));
                w.unlink("brief/one");
            }
        }),
        clean: nothing,
    },
    Row {
        name: "create, rename over another",
        operations: 5_000,
        turns: 3,
        prepare: |w| w.mkdir("over"),
        work: Work::Own(|w| {
            for _ in 0..5_000 {
                drop(w.create("over/new"));
                w.rename("over/new", "over/old");
            }
        }),
        clean: nothing,
    },
    Row {
        name: "mkdir and rmdir",
        operations: 3_000,
        turns: 3,
        prepare: |w| w.mkdir("dirs"),
        work: Work::Own(|w| {
            for _ in 0..3_000 {
                w.mkdir("dirs/dir");
                w.rmdir("dirs/dir");
            }
        }),
        clean: nothing,
    },
    Row {
        name: "symlink and unlink",
        operations: 3_000,
        turns: 3,
        prepare: |w| w.mkdir("links"),
        work: Work::Own(|w| {
            for _ in 0..3_000 {
                w.symlink("somewhere/else", "links/link");
                w.unlink("links/link");
            }
        }),
        clean: nothing,
    },
    Row {
        name: "create, write 4 KiB; one sync",
        operations: 2_000,
        turns: 3,
        prepare: |w| w.mkdir("small"),
        work: Work::Own(|w| {
            let data = pattern(0, 4096);
            (0..2_000).for_each(|number| w.create(&format!("small/{number}")).write(0, &data));
            w.sync();
        }),
        clean: nothing,
    },
    Row {
        name: "create, write 4 KiB, fsync",
        operations: 50,
        turns: 4,
        prepare: |w| w.mkdir("synced"),
        work: Work::Own(|w| {
            let data = pattern(0, 4096);
            for number in 0..50 {
                let file = w.create(&format!("synced/{number}"));
                file.write(0, &data);
                file.fsync();
            }
        }),
        clean: nothing,
    },
    Row {
        name: "append 100 bytes; one fsync",
        operations: 20_000,
        turns: 4,
        prepare: nothing,
        work: Work::Own(|w| {
            let (file, data) = (w.create("log"), pattern(0, 100));
            (0..20_000).for_each(|_| file.append(&data));
            file.fsync();
        }),
        clean: nothing,
    },
    Row {
        name: "append 100 bytes, fdatasync",
        operations: 50,
        turns: 4,
        prepare: nothing,
        work: Work::Own(|w| {
            let (file, data) = (w.create("journal"), pattern(0, 100));
            for _ in 0..50 {
                file.append(&data);
                file.fdatasync();
            }
        }),
        clean: nothing,
    },
    Row {
        name: "setxattr",
        operations: 5_000,
        turns: 3,
        prepare: |w| drop(w.create("xattr")),
        work: Work::Own(|w| {
            let file = w.open("xattr");
            (0..5_000_u32).for_each(|number| file.set_xattr("user.number", &number.to_le_bytes()));
        }),
        clean: nothing,
    },
    Row {
        name: "truncate to 1,000 bytes and back to 0",
        operations: 3_000,
        turns: 3,
        prepare: nothing,
        work: Work::Own(|w| {
            let file = w.create("cut");
            for _ in 0..3_000 {
                file.set_len(1_000);
                file.set_len(0);
            }
        }),
        clean: nothing,
    },
    Row {
        name: "write 64 MiB in pieces of 64 KiB, fsync; MiB",
        operations: 64,
        turns: 3,
        prepare: nothing,
        work: Work::Own(|w| {
            large(w, "large");
            w.open("large").fsync();
        }),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "overwrite 64 MiB in pieces of 64 KiB, fsync; MiB",
        operations: 64,
        turns: 3,
        prepare: |w| large(w, "large"),
        work: Work::Own(|w| {
            let file = w.open("large");
            (0..LARGE).step_by(CHUNK).for_each(|at| file.write(at, piece()));
            file.fsync();
        }),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "read 64 MiB in pieces of 64 KiB, cached; MiB",
        operations: 64,
        turns: 3,
        prepare: |w| large(w, "large"),
        work: Work::Own(|w| {
            let (file, mut buf) = (w.open("large"), vec![0; CHUNK]);
            (0..LARGE).step_by(CHUNK).for_each(|at| file.read(at, &mut buf));
        }),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "4 KiB random writes in 64 MiB",
        operations: 10_000,
        turns: 3,
        prepare: |w| large(w, "large"),
        work: Work::Own(|w| at_random(w, "large", 10_000, |_| ())),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "4 KiB random writes in 64 MiB; one fsync",
        operations: 10_000,
        turns: 4,
        prepare: |w| large(w, "large"),
        work: Work::Own(|w| {
            at_random(w, "large", 10_000, |_| ());
            w.open("large").fsync();
        }),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "4 KiB random writes in 64 MiB, fdatasync",
        operations: 60,
        turns: 4,
        prepare: |w| large(w, "large"),
        work: Work::Own(|w| at_random(w, "large", 60, |file| file.fdatasync())),
        clean: |w| w.unlink("large"),
    },
    Row {
        name: "fsync of what is clean",
        operations: 2_000,
        turns: 3,
        prepare: |w| drop(w.create("clean")),
        work: Work::Own(|w| {
            let file = w.open("clean");
            (0..2_000).for_each(|_| file.fsync());
        }),
        clean: nothing,
    },
];

/// A piece of a large file.
fn piece() -> &'static [u8] {
    static PIECE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| pattern(0, CHUNK));
    &PIECE
}
