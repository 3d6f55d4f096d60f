//! Random use of two files, one of the firmware and one new, over the mount and on a model in memory: reads, writes, cuts, holes and
//! stores through a mapping in any order. A sequence that fails is made short. `STRATA_SEED` replays a run, `STRATA_OPS` sets its length.

#[path = "../../tests/support/shortest.rs"]
mod shortest;
mod support;

use std::fmt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use shortest::{Sequence, Verdict};
use support::Place;
use support::mapping::Mapping;

/// How large a file gets.
const SIZE_MAX: usize = 256 << 10;
/// How much one operation is about.
const LEN_MAX: usize = 40_000;
/// How large the file of the firmware is at first.
const FIRMWARE_LEN: usize = 100_003;
/// How many operations the first mount sees.
const OPERATIONS: u64 = 2_000;

/// A part of a file.
#[derive(Debug, Clone, Copy)]
struct Range {
    offset: usize,
    len: usize,
}

impl Range {
    const fn end(self) -> usize {
        self.offset + self.len
    }

    /// What of it is in a file of this size.
    fn within(self, size: usize) -> Option<std::ops::Range<usize>> {
        (self.offset < size).then(|| self.offset..self.end().min(size))
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Read(Range),
    /// The seed of the bytes.
    Write(Range, u8),
    /// Through a descriptor with `O_APPEND`.
    Append(usize, u8),
    Truncate(usize),
    /// By the path, as others do.
    TruncatePath(usize),
    Punch(Range),
    Zero(Range, KeepSize),
    Allocate(Range, KeepSize),
    ReadMapped(Range),
    StoreMapped(Range, u8),
    SyncMapped,
    /// Copied by the kernel from the other file, to the same offset.
    Copy(Range),
    /// Every hole is zeros, and every byte is data or in a hole.
    Seek,
    Sync,
    /// The kernel forgets the pages.
    Forget,
    Reopen,
    /// All of it is read.
    Compare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeepSize {
    No,
    Yes,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    OnFirmware(Action),
    OnNew(Action),
    Remount,
}

#[derive(Clone)]
struct Case(Vec<Op>);

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One that is not short is of no use but at its end.
        let skipped = self.0.len().saturating_sub(60);
        if skipped > 0 {
            writeln!(f, "    {skipped} operations, then")?;
        }
        self.0[skipped..].iter().try_for_each(|op| writeln!(f, "    {op:?}"))
    }
}

fn range() -> impl Strategy<Value = Range> {
    // Often at the borders of pages.
    let page = |at: usize| at / 4096 * 4096;
    let any = (0..SIZE_MAX - LEN_MAX, 1..LEN_MAX).prop_map(|(offset, len)| Range { offset, len });
    prop_oneof![
        3 => any.clone(),
        1 => any.prop_map(move |range| Range { offset: page(range.offset), len: page(range.len).max(1) }),
        1 => (0..SIZE_MAX - LEN_MAX, 1..64_usize).prop_map(|(offset, len)| Range { offset, len }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let keep = || any::<bool>().prop_map(|keep| if keep { KeepSize::Yes } else { KeepSize::No });
    prop_oneof![
        10 => range().prop_map(Action::Read),
        10 => (range(), any::<u8>()).prop_map(|(range, seed)| Action::Write(range, seed)),
        2 => (1..5000_usize, any::<u8>()).prop_map(|(len, seed)| Action::Append(len, seed)),
        3 => (0..SIZE_MAX).prop_map(Action::Truncate),
        2 => (0..SIZE_MAX).prop_map(Action::TruncatePath),
        4 => range().prop_map(Action::Punch),
        2 => (range(), keep()).prop_map(|(range, keep)| Action::Zero(range, keep)),
        2 => (range(), keep()).prop_map(|(range, keep)| Action::Allocate(range, keep)),
        8 => range().prop_map(Action::ReadMapped),
        8 => (range(), any::<u8>()).prop_map(|(range, seed)| Action::StoreMapped(range, seed)),
        1 => Just(Action::SyncMapped),
        3 => range().prop_map(Action::Copy),
        2 => Just(Action::Seek),
        1 => Just(Action::Sync),
        1 => Just(Action::Forget),
        2 => Just(Action::Reopen),
        1 => Just(Action::Compare),
    ]
}

fn case(operations: usize) -> impl Strategy<Value = Case> {
    let op = prop_oneof![
        200 => action().prop_map(Op::OnFirmware),
        200 => action().prop_map(Op::OnNew),
        1 => Just(Op::Remount),
    ];
    Sequence { op: op.boxed(), len: operations }.prop_map(Case)
}

/// Bytes that tell where they belong.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed | 1).collect()
}

fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes()
}

/// A file through one descriptor and one mapping, as far as files get.
struct Open {
    fd: OwnedFd,
    mapping: Mapping,
}

impl Open {
    fn new(path: &Path) -> Self {
        let fd = rustix::fs::open(bytes(path), OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o644)).unwrap();
        Self { mapping: Mapping::writable(&fd, SIZE_MAX), fd }
    }

    /// What is at a range, less where the file ends.
    fn read(&self, range: Range) -> rustix::io::Result<Vec<u8>> {
        let mut data = vec![0; range.len];
        let mut done = 0;
        while done < data.len() {
            match rustix::io::pread(&self.fd, &mut data[done..], (range.offset + done) as u64)? {
                0 => break,
                count => done += count,
            }
        }
        data.truncate(done);
        Ok(data)
    }
}

/// A file and what should be in it.
struct Subject {
    path: PathBuf,
    open: Open,
    model: Vec<u8>,
}

fn failed(what: &str) -> impl Fn(Errno) -> String {
    move |error| format!("{what}: {error}")
}

/// The first difference, told.
fn same(found: &[u8], wanted: &[u8], offset: usize, what: &str) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    let at = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let at = at.unwrap_or_else(|| found.len().min(wanted.len()));
    let bytes = |data: &[u8]| data.get(at..data.len().min(at + 8)).map(<[u8]>::to_vec);
    let (found, wanted) = ((found.len(), bytes(found)), (wanted.len(), bytes(wanted)));
    Err(format!("{what} at {offset}: from byte {} on {found:?} in place of {wanted:?}", offset + at))
}

impl Subject {
    fn new(path: PathBuf, model: Vec<u8>) -> Self {
        Self { open: Open::new(&path), path, model }
    }

    fn grow(&mut self, size: usize) {
        if self.model.len() < size {
            self.model.resize(size, 0);
        }
    }

    fn zero(&mut self, range: Range) {
        if let Some(range) = range.within(self.model.len()) {
            self.model[range].fill(0);
        }
    }

    fn put(&mut self, offset: usize, data: &[u8]) {
        self.grow(offset + data.len());
        self.model[offset..][..data.len()].copy_from_slice(data);
    }

    fn allocate(&self, mode: FallocateFlags, range: Range) -> Result<(), String> {
        rustix::fs::fallocate(&self.open.fd, mode, range.offset as u64, range.len as u64).map_err(failed("fallocate"))
    }

    fn write(&self, fd: &OwnedFd, mut offset: usize, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            let written = rustix::io::pwrite(fd, data, offset as u64).map_err(failed("write"))?;
            offset += written;
            data = &data[written..];
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), String> {
        let all = Range { offset: 0, len: SIZE_MAX + 1 };
        same(&self.open.read(all).map_err(failed("read"))?, &self.model, 0, "all of it")
    }

    fn check_size(&self) -> Result<(), String> {
        let size = rustix::fs::fstat(&self.open.fd).map_err(failed("fstat"))?.st_size;
        let wanted = self.model.len();
        if size == wanted as i64 { Ok(()) } else { Err(format!("a size of {size} in place of {wanted}")) }
    }

    /// Walks over data and holes.
    fn check_holes(&self) -> Result<(), String> {
        let size = self.model.len();
        let seek = |to| match rustix::fs::seek(&self.open.fd, to) {
            Ok(at) => Ok(Some(at as usize)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(format!("lseek: {error}")),
        };
        let mut at = 0;
        while at < size {
            let data = seek(SeekFrom::Data(at as u64))?.unwrap_or(size);
            if data < at || data > size || self.model[at..data].iter().any(|&byte| byte != 0) {
                return Err(format!("a hole from {at} to {data} of {size} bytes"));
            }
            if data == size {
                break;
            }
            match seek(SeekFrom::Hole(data as u64))? {
                Some(hole) if hole > data && hole <= size => at = hole,
                hole => return Err(format!("data at {data} of {size} bytes, then a hole at {hole:?}")),
            }
        }
        Ok(())
    }

    fn apply(&mut self, action: Action, other: &Self) -> Result<(), String> {
        let keeps = |keep| if keep == KeepSize::Yes { FallocateFlags::KEEP_SIZE } else { FallocateFlags::empty() };
        match action {
            Action::Read(range) => {
                let wanted = range.within(self.model.len()).map_or(&[][..], |range| &self.model[range]);
                same(&self.open.read(range).map_err(failed("read"))?, wanted, range.offset, "a read")?;
            }
            Action::Write(range, seed) => {
                let data = pattern(seed, range.len);
                self.write(&self.open.fd, range.offset, &data)?;
                self.put(range.offset, &data);
            }
            Action::Append(len, seed) => {
                let len = len.min(SIZE_MAX - self.model.len());
                let data = pattern(seed, len);
                let flags = OFlags::WRONLY | OFlags::APPEND;
                let fd = rustix::fs::open(bytes(&self.path), flags, Mode::empty()).map_err(failed("open"))?;
                // To the end, whatever the offset is.
                self.write(&fd, 0, &data)?;
                self.put(self.model.len(), &data);
            }
            Action::Truncate(size) => {
                rustix::fs::ftruncate(&self.open.fd, size as u64).map_err(failed("ftruncate"))?;
                self.model.resize(size, 0);
            }
            Action::TruncatePath(size) => {
                nix::unistd::truncate(&self.path, size as i64).map_err(|error| format!("truncate: {error}"))?;
                self.model.resize(size, 0);
            }
            Action::Punch(range) => {
                self.allocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, range)?;
                self.zero(range);
            }
            Action::Zero(range, keep) => {
                self.allocate(FallocateFlags::ZERO_RANGE | keeps(keep), range)?;
                if keep == KeepSize::No {
                    self.grow(range.end());
                }
                self.zero(range);
            }
            Action::Allocate(range, keep) => {
                self.allocate(keeps(keep), range)?;
                if keep == KeepSize::No {
                    self.grow(range.end());
                }
            }
            Action::ReadMapped(range) => {
                if let Some(within) = range.within(self.model.len()) {
                    same(&self.open.mapping.load(within.clone()), &self.model[within], range.offset, "a mapping")?;
                }
            }
            Action::StoreMapped(range, seed) => {
                if let Some(within) = range.within(self.model.len()) {
                    let data = pattern(seed, within.len());
                    self.open.mapping.store(within.start, &data);
                    self.put(within.start, &data);
                }
            }
            Action::SyncMapped => self.open.mapping.sync().map_err(failed("msync"))?,
            Action::Copy(range) => {
                let Some(within) = range.within(other.model.len()) else { return Ok(()) };
                let (mut from, mut to) = (within.start as u64, within.start as u64);
                while to < within.end as u64 {
                    let len = within.end - to as usize;
                    let (source, target) = (&other.open.fd, &self.open.fd);
                    let copied = rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), len);
                    if copied.map_err(failed("copy_file_range"))? == 0 {
                        return Err(format!("copy_file_range ends at {to} of {}", within.end));
                    }
                }
                self.put(within.start, &other.model[within.clone()]);
            }
            Action::Seek => {
                // The kernel asks at once, without what was stored through a mapping and not written yet.
                self.open.mapping.sync().map_err(failed("msync"))?;
                self.check_holes()?;
            }
            Action::Sync => rustix::fs::fsync(&self.open.fd).map_err(failed("fsync"))?,
            Action::Forget => {
                rustix::fs::fsync(&self.open.fd).map_err(failed("fsync"))?;
                rustix::fs::fadvise(&self.open.fd, 0, None, rustix::fs::Advice::DontNeed).map_err(failed("fadvise"))?;
            }
            Action::Reopen => self.open = Open::new(&self.path),
            Action::Compare => self.compare()?,
        }
        self.check_size()
    }
}

/// The two files of a mount.
fn opened(mounted: &support::Mounted, models: (Vec<u8>, Vec<u8>)) -> (Subject, Subject) {
    (Subject::new(mounted.path("firmware"), models.0), Subject::new(mounted.path("new"), models.1))
}

fn run(case: &Case) -> Verdict {
    let Some(place) = Place::new() else { return Ok(None) };
    let first = pattern(0x55, FIRMWARE_LEN);
    std::fs::write(place.firmware().join("firmware"), &first).unwrap();
    let mut mounted = place.mount_disk();
    let mut subjects = opened(&mounted, (first, Vec::new()));
    for (step, op) in case.0.iter().enumerate() {
        let (firmware, new) = &mut subjects;
        let result = match *op {
            Op::OnFirmware(action) => firmware.apply(action, new),
            Op::OnNew(action) => new.apply(action, firmware),
            Op::Remount => {
                let (firmware, new) = subjects;
                let models = (firmware.model, new.model);
                drop((firmware.open, new.open));
                mounted.unmount();
                mounted = place.mount_disk();
                subjects = opened(&mounted, models);
                subjects.0.compare().and_then(|()| subjects.1.compare())
            }
        };
        result.map_err(|text| format!("operation {step}, {op:?}: {text}"))?;
    }
    for subject in [&subjects.0, &subjects.1] {
        subject.compare().map_err(|text| format!("at the end, {}: {text}", subject.path.display()))?;
    }
    drop(subjects);
    mounted.unmount();
    place.check_image();
    Ok(Some(case.0.len() as u64))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn a_file_holds_what_was_put_there_however_it_was_put() {
    let (seed, operations) = (number("STRATA_SEED", 1), number("STRATA_OPS", OPERATIONS));
    let done = shortest::judge(&case(usize::try_from(operations).unwrap()), seed, operations, run);
    println!("{} operations were compared with a model", done.unwrap_or_default());
}
