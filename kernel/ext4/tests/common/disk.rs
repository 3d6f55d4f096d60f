//! Images: made by `mkfs.ext4` or by the crate itself, kept in memory, judged by `e2fsck`.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use block::MemoryDisk;
use contract::random::Random;
use ext4::format::{FormatOptions, format};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::pread;

use super::now;

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// How a filesystem is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Make {
    /// By the crate: block size and inode size.
    Ours(u32, u16),
    /// By `mkfs.ext4` with these arguments.
    Mkfs(&'static [&'static str]),
}

/// What `mkfs.ext4` makes when nothing is asked.
pub const DEFAULT: Make = Make::Mkfs(&["-b", "4096", "-I", "256"]);
/// Small blocks, small inodes, no checksums: what old disks are like.
pub const OLD: Make = Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum"]);

impl Make {
    /// Size of a block that it asks for, in bytes.
    pub fn block_size(self) -> u64 {
        match self {
            Self::Ours(block_size, _) => block_size.into(),
            Self::Mkfs(args) => {
                let value = args.iter().position(|arg| *arg == "-b").and_then(|at| args.get(at + 1));
                value.and_then(|text| text.parse().ok()).expect("it is asked for")
            }
        }
    }

    /// A disk of `bytes` with a fresh filesystem.
    pub fn disk(self, bytes: u64) -> Arc<MemoryDisk> {
        match self {
            Self::Ours(block_size, inode_size) => {
                let disk = MemoryDisk::new(bytes);
                let mut bytes = [0; 32];
                Random::new(u64::from(block_size) + u64::from(inode_size)).fill(&mut bytes);
                let options = FormatOptions { block_size, inode_size, ..FormatOptions::new(bytes, now()) };
                format(&disk, &options).unwrap_or_else(|error| panic!("format: {error}"));
                Arc::new(disk)
            }
            Self::Mkfs(args) => mkfs(args, bytes),
        }
    }
}

/// A directory for files of one test, removed at the end.
pub struct Scratch(PathBuf);

static SCRATCHES: AtomicU64 = AtomicU64::new(0);

impl Scratch {
    /// An empty directory; in memory where the host has such a place, for images are written and thrown away.
    pub fn new() -> Self {
        let shared_memory = Path::new("/dev/shm");
        let base = if shared_memory.is_dir() { shared_memory.to_path_buf() } else { std::env::temp_dir() };
        let unique = SCRATCHES.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("strata-ext4-{}-{unique}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Something left behind in the host's temporary directory is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where the programs of the host are.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin";

/// Runs a program of the host.
pub fn run(program: &str, args: &[&str]) -> Output {
    // By its whole path: else all of this process's memory is copied for the sake of a search in another `PATH`.
    let found = PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    command.env("PATH", PATH).env("LC_ALL", "C").args(args);
    command.output().unwrap_or_else(|error| panic!("{program} (of e2fsprogs, util-linux?) does not run: {error}"))
}

/// Runs a program that must succeed.
pub fn run_ok(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {args:?}: {text}");
    text
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("the tests' own paths are plain")
}

/// What of an image is not zero, by offset.
type Pieces = Arc<Vec<(u64, Vec<u8>)>>;
/// Images by the arguments that made them, and their size.
type Made = HashMap<(Vec<String>, u64), Pieces>;

static MADE: Mutex<Option<Made>> = Mutex::new(None);

/// A disk with what `mkfs.ext4 ARGS` makes; each is made once.
pub fn mkfs(args: &[&str], bytes: u64) -> Arc<MemoryDisk> {
    let key = (args.iter().map(|arg| (*arg).to_owned()).collect(), bytes);
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pieces = made.get_or_insert_default().entry(key).or_insert_with(|| {
        let scratch = Scratch::new();
        let file = scratch.join("image");
        mkfs_file(args, bytes, &file);
        let mut pieces = Vec::new();
        load(&file).for_each_written(|at, data| pieces.push((at, data.to_vec())));
        Arc::new(pieces)
    });
    let disk = MemoryDisk::new(bytes);
    for (at, data) in pieces.iter() {
        block::BlockDevice::write(&disk, at / 512, data).expect("a disk in memory takes writes");
    }
    Arc::new(disk)
}

/// Makes a filesystem in a file of the host.
pub fn mkfs_file(args: &[&str], bytes: u64, file: &Path) {
    File::create(file).and_then(|file| file.set_len(bytes)).expect("an image fits");
    let mut all = vec!["-q", "-F"];
    all.extend_from_slice(args);
    all.push(arg(file));
    run_ok("mkfs.ext4", &all);
}

/// Writes a disk to a file, its zeros as holes.
pub fn store(disk: &MemoryDisk, file: &Path) {
    let out = OpenOptions::new().write(true).create(true).truncate(true).open(file).expect("an image can be made");
    let sectors = block::BlockDevice::capabilities(disk).sectors;
    out.set_len(sectors * 512).expect("an image fits");
    disk.for_each_written(|at, data| {
        // Neighbours that are not zero go together.
        let pieces: Vec<&[u8]> = data.chunks(4096).collect();
        let mut done = 0;
        for run in pieces.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let len = run.iter().map(|piece| piece.len()).sum::<usize>();
            if !is_zero(run[0]) {
                out.write_all_at(&data[done..done + len], at + done as u64).expect("an image fits");
            }
            done += len;
        }
    });
}

fn is_zero(bytes: &[u8]) -> bool {
    // By words, for the compiler makes wide loads of that.
    bytes.chunks(64).all(|piece| piece.iter().fold(0, |sum, byte| sum | byte) == 0)
}

/// Reads a disk from a file, its holes unread.
pub fn load(file: &Path) -> Arc<MemoryDisk> {
    let size = fs::metadata(file).expect("the image is there").len();
    let disk = MemoryDisk::new(size);
    let fd = open(arg(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("the image opens");
    let mut at = 0;
    let mut buf = vec![0; 65536];
    while let Ok(data) = seek(&fd, SeekFrom::Data(at)) {
        let hole = seek(&fd, SeekFrom::Hole(data)).expect("there is a hole at the end");
        at = data / 65536 * 65536;
        while at < hole {
            let want = (size - at).min(65536) as usize;
            let mut got = 0;
            while got < want {
                let read = pread(&fd, &mut buf[got..want], at + got as u64).expect("the image is read");
                assert!(read > 0, "the image ends early");
                got += read;
            }
            if !is_zero(&buf[..want]) {
                block::BlockDevice::write(&disk, at / 512, &buf[..want]).expect("a disk in memory takes writes");
            }
            at += want as u64;
        }
    }
    Arc::new(disk)
}

/// The size of an inode's record, as the superblock says.
pub fn inode_size(disk: &MemoryDisk) -> u16 {
    let mut superblock = [0; 1024];
    block::BlockDevice::read(disk, 2, &mut superblock).expect("a superblock");
    u16::from_le_bytes([superblock[0x58], superblock[0x59]])
}

/// `e2fsck -fn` over a file.
pub fn fsck_file(file: &Path) -> Result<(), String> {
    let output = run("e2fsck", &["-fn", arg(file)]);
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("Pass ") && !line.is_empty()).take(25).collect();
    Err(format!("e2fsck -fn: {}\n{}", output.status, lines.join("\n")))
}

/// Has `e2fsck -fy` replay the journal of an image after a power cut, and `e2fsck -fn` look once more. Nothing but what a replay
/// leaves to do may be there to repair.
pub fn recover_file(file: &Path) -> Result<(), String> {
    let output = run("e2fsck", &["-fy", arg(file)]);
    let code = output.status.code().unwrap_or(99);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // 1: something was corrected, which a journal to replay and orphans to free are. No more than those is expected.
    if code > 1 {
        return Err(format!("e2fsck -fy: {code}\n{text}"));
    }
    if let Some(line) = repairs(&text) {
        return Err(format!("e2fsck -fy had to repair: {line}\n{text}"));
    }
    fsck_file(file)
}

/// The first thing that `e2fsck` repaired and should not have had to. Totals in the superblock are no repair, for no mount
/// trusts them; nor are better-packed extent trees, and times that it takes for something else.
fn repairs(text: &str) -> Option<&str> {
    let mut before = "";
    for line in text.lines() {
        let totals =
            |text: &str| text.starts_with("Free blocks count wrong (") || text.starts_with("Free inodes count wrong (");
        // The question is on the same line or on the next.
        let expected = totals(line)
            || totals(before)
            || line.contains("Optimize? yes")
            || before.starts_with("Timestamp(s) on inode")
            // What it asks wherever an orphan file was in use, having freed what is listed there.
            || (before.starts_with("Orphan file (inode") && before.ends_with("is not clean."))
            || before.starts_with("Feature orphan_present is set but orphan file is clean");
        if line.contains("? yes") && !expected {
            return Some(line);
        }
        before = line;
    }
    None
}

/// `e2fsck -fn` over a disk.
pub fn fsck(disk: &MemoryDisk) -> Result<(), String> {
    let scratch = Scratch::new();
    let file = scratch.join("image");
    store(disk, &file);
    let result = fsck_file(&file);
    if result.is_err()
        && let Ok(keep) = std::env::var("STRATA_KEEP")
    {
        // For whoever looks into a failure: STRATA_KEEP=DIRECTORY.
        let _ = fs::copy(&file, Path::new(&keep).join(format!("{}.img", SCRATCHES.load(Ordering::Relaxed))));
    }
    result
}

/// Fails the test unless `e2fsck -fn` finds nothing.
#[track_caller]
pub fn assert_clean(disk: &MemoryDisk, what: &str) {
    if let Err(text) = fsck(disk) {
        panic!("{what}: {text}");
    }
}
