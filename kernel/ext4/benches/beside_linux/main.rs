//! Our ext4 over a file, beside the kernel's ext4 over a loop device on such a file: `cargo bench -p ext4 --bench beside_linux`.
//!
//! Both files lie in one directory and are made by the same `mkfs.ext4`; both sides do the same work with the same points of sync,
//! row by row and in turn. First in memory (`/dev/shm`), then on a disk (below `target/`, or where `STRATA_BENCH_DIR` says), where what is
//! synced is durable: a flush is `fdatasync` of the file here, and what the loop device does there, `fsync`. The file has all its
//! blocks from the beginning, so neither changes anything of it but data and times. Both sides write through the page cache of the host.
//!
//! Our operations are calls into the namespace of `kernel/vfs` (in the mixed row, of the filesystem itself) from one thread, without the
//! entry into a kernel, which is a tenth of a microsecond or two; our cache has 128 MiB. Linux has all memory, and threads of its own for
//! the journal, for write-back and for the loop device. The program's memory is in large pages, touched
//! before and kept, as a kernel's is: what a page fault costs on the host is nothing of the filesystem's.
//!
//! Arguments pick rows by words of their names. `STRATA_ROUNDS` rounds (5) are made, each on fresh filesystems, where a row has
//! up to four turns in directories of their own.

#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/trace/generate.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod generate;
#[path = "../../tests/trace/linux.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod linux;
#[path = "../../tests/trace/op.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod op;
#[path = "../../tests/trace/ours.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod ours;
mod rows;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::disk::{MIB, arg, run_ok};
use common::linux::{Mount, may_mount};
use common::number;
use ext4::{Ext4, MountOptions};
use host::beside::{Side, Table};
use host::worker::{Linux, Ours, Worker};
use host::{Access, FileDisk, HostClock};
use op::{Op, World};
use rows::{ROWS, Row};
use vfs::{FileSystem as _, FsContext};

/// The clock of [`ours`], which makes the trace.
const OUR_CLOCK: std::ops::Range<i64> = 1_000_000_000..1_100_000_000;
const IMAGE: u64 = 512 * MIB;
/// Inodes of a filesystem: rows leave their files behind.
const INODES: &str = "131072";
const CACHE: usize = 128 << 20;
/// How often a mounted filesystem looks whether it is time to commit.
const TICK: Duration = Duration::from_secs(1);

/// One side of a round: how it does a row's work.
struct Worked<'a> {
    worker: &'a mut dyn Worker,
    world: &'a mut dyn World,
}

impl Worked<'_> {
    /// Does the operations of a trace. A sync is one here on both sides, which [`op::World`] leaves to who calls it.
    fn replay(&mut self, trace: &[Op]) {
        for op in trace {
            match op {
                Op::Sync => self.worker.sync(),
                op => drop(self.world.apply(op)),
            }
        }
    }
}

/// Two images in a directory, removed at the end.
struct Images {
    ours: PathBuf,
    linux: PathBuf,
    at: PathBuf,
}

impl Images {
    /// Files with all their blocks.
    fn new(dir: &Path) -> std::io::Result<Self> {
        let at = dir.join(format!("strata-beside-linux-{}", std::process::id()));
        std::fs::create_dir_all(&at)?;
        let images = Self { ours: at.join("ours"), linux: at.join("linux"), at };
        for path in [&images.ours, &images.linux] {
            let file = File::create(path)?;
            for at in (0..IMAGE).step_by(MIB as usize) {
                file.write_all_at(&[0xa5; MIB as usize], at)?;
            }
            file.sync_all()?;
        }
        Ok(images)
    }

    /// Makes a fresh filesystem in each, of the same numbers.
    fn format(&self) {
        const UUID: &str = "6a1f0c5e-2f0b-4a77-9d0c-3c1f5b7a9e11";
        let extended = format!("nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed={UUID}");
        for path in [&self.ours, &self.linux] {
            run_ok(
                "mkfs.ext4",
                &["-q", "-F", "-b", "4096", "-I", "256", "-N", INODES, "-U", UUID, "-E", &extended, arg(path)],
            );
            File::open(path).and_then(|file| file.sync_all()).expect("an image is synced");
        }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        // What is left behind in a directory for such files is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.at);
    }
}

fn mount(image: &Path) -> Arc<Ext4> {
    let file = OpenOptions::new().read(true).write(true).open(image).expect("an image opens");
    let disk = FileDisk::over(file, Access::ReadWrite).expect("an image has a size");
    let context = FsContext { dev: 0x801, clock: Arc::new(HostClock) };
    let options = MountOptions { cache_bytes: CACHE, ..MountOptions::default() };
    Ext4::mount(Arc::new(disk), context, options).unwrap_or_else(|error| panic!("mount: {error}"))
}

/// Has a filesystem commit every few seconds, as Linux's does.
fn ticking(fs: Arc<Ext4>) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = channel();
    let thread = std::thread::spawn(move || {
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            fs.tick().expect("a commit");
        }
    });
    (stop, thread)
}

/// All rows once, on fresh filesystems.
fn run_round(images: &Images, round: usize, rows: &[&Row], trace: &[Op], table: &mut Table) {
    images.format();
    let fs = mount(&images.ours);
    let mounted = fs.clone();
    let (mut ours, mut our_world) = (Ours::new(fs.clone()), ours::Ours::mounted_by(move || mounted.clone()));
    let (stop, ticks) = ticking(fs.clone());
    let mount = Mount::new(&images.linux, images.at.join("mounted"), "noatime");
    let mut linux_world = linux::Linux::new(mount.path());
    let mut linux = Linux::new(mount.path());
    for (number, (row, turn)) in rows.iter().flat_map(|row| (0..row.turns).map(move |turn| (row, turn))).enumerate() {
        for side in Side::in_turn(round + turn as usize) {
            let mut worked = match side {
                Side::Ours => Worked { worker: &mut ours, world: &mut our_world },
                Side::Linux => Worked { worker: &mut linux, world: &mut linux_world },
            };
            worked.worker.enter_new(&format!("row{number}"));
            (row.prepare)(worked.worker);
            worked.worker.sync();
            let start = Instant::now();
            match row.work {
                rows::Work::Trace => worked.replay(trace),
                rows::Work::Own(work) => work(worked.worker),
            }
            table.note(row.name, side, start.elapsed(), row.operations);
            (row.clean)(worked.worker);
            worked.worker.sync();
        }
    }
    drop((ours, our_world, linux, linux_world));
    mount.unmount();
    drop(stop);
    ticks.join().expect("commits succeed");
    fs.unmount().expect("an unmount");
    for path in [&images.ours, &images.linux] {
        common::disk::fsck_file(path).unwrap_or_else(|text| panic!("{}: {text}", path.display()));
    }
}

fn main() {
    host::memory::keep_what_is_freed();
    if !may_mount("the benchmark beside Linux's ext4") {
        return;
    }
    base::sync::set_relax(std::thread::yield_now);
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let rows: Vec<&Row> =
        ROWS.iter().filter(|row| words.is_empty() || words.iter().any(|word| row.name.contains(&**word))).collect();
    let rounds = number("STRATA_ROUNDS", 5) as usize;
    let trace = rows::trace();
    host::memory::touch(CACHE * 3 / 2);
    let disk = std::env::var_os("STRATA_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    for (what, dir) in [("files in memory", Path::new("/dev/shm")), ("files on a disk", &disk)] {
        let images = Images::new(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut table = Table::default();
        for round in 0..rounds {
            run_round(&images, round, &rows, &trace, &mut table);
        }
        println!("\next4 over {what}: microseconds for one operation, medians of {rounds} rounds\n\n{table}");
        println!("slower than Linux: {:?}", table.slower());
    }
}
