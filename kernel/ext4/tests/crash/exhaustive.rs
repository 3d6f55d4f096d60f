//! Every operation, cut at every point between its first write and its last.

use std::sync::Arc;

use block::{MemoryDisk, RecordingDisk, Survival, WriteCache};
use contract::dsl::{Dir, pattern};
use ext4::Ext4;
use vfs::{AllocateMode, FileSystem, NewKind, NewNode, RenameMode, Result, SyncKind};

use crate::common::disk::{DEFAULT, MIB, Make};
use crate::common::snapshot::difference;
use crate::common::steps::{STEPS, Step, prepare};
use crate::common::{mount, number, short};
use crate::judge::{Doctor, recovered, tree, which};

const MAKES: [Make; 3] =
    [Make::Ours(4096, 256), DEFAULT, Make::Mkfs(&["-b", "1024", "-I", "128", "-O", "^metadata_csum,^64bit"])];

fn file(root: &Dir, path: &str) -> Result<Arc<dyn vfs::FileOps>> {
    Ok(contract::tree::walk(root, path.as_bytes())?.as_file()?.clone())
}

fn plain(root: &Dir, from: &str, to: &str, mode: RenameMode) -> Result<()> {
    let (from_dir, name) = from.rsplit_once('/').unwrap_or(("", from));
    let (to_dir, new_name) = to.rsplit_once('/').unwrap_or(("", to));
    let from_dir = contract::tree::walk(root, from_dir.as_bytes())?;
    let to_dir = contract::tree::walk(root, to_dir.as_bytes())?;
    let (name, new_name) = (vfs::Name::new(name.as_bytes())?, vfs::Name::new(new_name.as_bytes())?);
    from_dir.as_dir()?.rename(&vfs::RenameOp { name, to: to_dir.as_dir()?, new_name, mode })
}

/// The operations of any filesystem; those of an overlay's upper are [`STEPS`].
const OPERATIONS: &[(&str, Step)] = &[
    ("create", |root| root.file("new", "").map(drop)),
    ("create and write", |root| root.file("new", pattern(4, 50_000)).map(drop)),
    ("write over", |root| file(root, "dir/file")?.write_at(5_000, &pattern(5, 9_000)).map(drop)),
    ("append", |root| file(root, "dir/file")?.append(&pattern(6, 40_000)).map(drop)),
    ("write far behind the end", |root| file(root, "dir/file")?.write_at(1 << 30, b"far").map(drop)),
    ("cut", |root| file(root, "dir/file")?.set_len(10_001)),
    ("cut to nothing", |root| file(root, "dir/file")?.set_len(0)),
    ("grow", |root| file(root, "dir/file")?.set_len(1 << 20)),
    ("link", |root| {
        let node = contract::tree::walk(root, b"dir/file")?;
        root.link("second", &node)
    }),
    ("unlink", |root| remove(root, "dir", "file", vfs::Expect::NonDir)),
    ("rmdir", |root| remove(root, "dir", "sub", vfs::Expect::EmptyDir)),
    ("unlink in an index", |root| {
        let name = format!("60 {}", "c".repeat(100));
        remove(root, "crowd", &name, vfs::Expect::NonDir)
    }),
    ("rename", |root| plain(root, "dir/file", "target/moved", RenameMode::Replace)),
    ("rename over a file", |root| plain(root, "dir/file", "target/there", RenameMode::Replace)),
    ("rename to a free name only", |root| plain(root, "dir/file", "target/free", RenameMode::NoReplace)),
    ("rename of a directory", |root| plain(root, "dir/sub", "target/sub", RenameMode::Replace)),
    ("exchange", |root| plain(root, "dir/sub", "target/there", RenameMode::Exchange)),
    ("mkdir", |root| root.mkdir("made").map(drop)),
    ("long symlink", |root| root.make("symlink", NewKind::Symlink(&[b'l'; 300])).map(drop)),
    ("mknod", |root| root.make("device", NewKind::BlockDevice(vfs::DeviceNumber::new(8, 300))).map(drop)),
    ("small xattr", |root| {
        contract::tree::walk(root, b"dir/file")?.ops().set_xattr(b"user.small", b"s", vfs::XattrMode::Set)
    }),
    ("large xattr", |root| {
        contract::tree::walk(root, b"dir/file")?.ops().set_xattr(b"user.l", &pattern(7, 700), vfs::XattrMode::Set)
    }),
    ("O_TMPFILE and link", |root| {
        let node = root.create_unnamed(&NewNode::new(NewKind::File, 0o600))?;
        node.as_file()?.write_at(0, &pattern(8, 30_000))?;
        root.link("linked", &node)
    }),
    ("fallocate", |root| file(root, "dir/file")?.allocate(AllocateMode::Extend, 20_000, 200_000)),
    ("fallocate behind the end, size kept", |root| {
        file(root, "dir/file")?.allocate(AllocateMode::KeepSize, 50_000, 200_000)
    }),
    ("zero a range behind the end, size kept", |root| {
        file(root, "dir/file")?.allocate(AllocateMode::ZeroRangeKeepSize, 20_000, 90_000)
    }),
    ("punch", |root| file(root, "dir/file")?.allocate(AllocateMode::PunchHole, 5_000, 20_000)),
    ("zero a range", |root| file(root, "dir/file")?.allocate(AllocateMode::ZeroRange, 5_000, 20_000)),
    ("a hundred files, which split leaves", |root| {
        let crowd = contract::tree::walk(root, b"crowd")?;
        let crowd = Dir(crowd.as_dir()?.clone());
        (0..100).try_for_each(|number| crowd.file(format!("{} {number}", "n".repeat(120)), "").map(drop))
    }),
];

fn remove(root: &Dir, dir: &str, name: &str, expect: vfs::Expect) -> Result<()> {
    contract::tree::walk(root, dir.as_bytes())?.as_dir()?.remove(vfs::Name::new(name.as_bytes())?, expect)
}

/// Operations of several steps: a crash may leave any of them as the last one.
fn is_single(what: &str) -> bool {
    !matches!(
        what,
        "create and write"
            | "O_TMPFILE and link"
            | "a hundred files, which split leaves"
            | "stage and publish of a file"
    )
}

struct Count {
    cuts: u64,
    checked: u64,
}

/// Cuts one operation everywhere.
fn cut_everywhere(make: Make, base: &MemoryDisk, what: &str, step: Step, cache: WriteCache, count: &mut Count) {
    let disk = Arc::new(base.snapshot());
    let recorder = Arc::new(RecordingDisk::new(disk, cache));
    let fs: Arc<Ext4> = mount(recorder.clone());
    let before = tree(&fs);
    let first = recorder.position();
    let root = short::root(&*fs);
    step(&root).unwrap_or_else(|error| panic!("{make:?}: {what}: {error:?}"));
    let after = tree(&fs);
    fs.sync().unwrap();
    let recording = recorder.recording();
    let end = recording.len();
    assert!(end > first, "{what}: nothing was written");
    drop((root, fs));
    let states = [before, after];
    // Every so many are judged by e2fsck as well, each time others.
    let stride = (600 / number("STRATA_CUTS", 60)).max(1);
    for events in first..=end {
        for survival in [Survival::Everything, Survival::Nothing, Survival::Some(1), Survival::Some(2)] {
            let at = format!(
                "{make:?}, {cache:?}: {what}, cut after {} of {} events, {survival:?}",
                events - first,
                end - first
            );
            let cut = || {
                let disk = Arc::new(base.snapshot());
                recording.cut(&*disk, events, survival).unwrap();
                disk
            };
            count.cuts += 1;
            let doctors: &[Doctor] =
                if count.cuts.is_multiple_of(stride) || events == end && survival == Survival::Nothing {
                    count.checked += 1;
                    &[Doctor::OursChecked, Doctor::E2fsck]
                } else {
                    &[Doctor::Ours]
                };
            for &doctor in doctors {
                let found = recovered(&cut(), doctor).unwrap_or_else(|text| panic!("{at}, {doctor:?}: {text}"));
                let found = if events == end {
                    // All of it is synced, data too.
                    difference(&found, &states[1]).map_or(Ok(1), Err)
                } else {
                    which(&found, &states)
                };
                match found {
                    Ok(_) => {}
                    Err(_) if !is_single(what) && events < end => {}
                    Err(text) => panic!("{at}, {doctor:?}: neither before nor after: {text}"),
                }
            }
        }
    }
}

#[test]
fn every_operation_has_wholly_happened_or_not_at_all_wherever_it_is_cut() {
    let mut count = Count { cuts: 0, checked: 0 };
    for (index, make) in MAKES.into_iter().enumerate() {
        let disk = make.disk(16 * MIB);
        let fs = mount(disk.clone());
        prepare(&fs).unwrap();
        fs.unmount().unwrap();
        drop(fs);
        for (what, step) in OPERATIONS.iter().chain(STEPS) {
            let cache = if index == 1 { WriteCache::WriteThrough } else { WriteCache::Flush };
            cut_everywhere(make, &disk, what, *step, cache, &mut count);
        }
    }
    println!("{} cuts, {} judged by e2fsck as well", count.cuts, count.checked);
}

#[test]
fn what_fsync_promised_of_one_file_is_there() {
    for make in MAKES {
        let base = make.disk(16 * MIB);
        for kind in [SyncKind::All, SyncKind::Data] {
            let recorder = Arc::new(RecordingDisk::new(Arc::new(base.snapshot()), WriteCache::Flush));
            let fs = mount(recorder.clone());
            let data = pattern(11, 70_000);
            let file = short::file(&*fs, "synced", &data).unwrap();
            file.sync(kind).unwrap();
            file.write_at(3, b"over what is there").unwrap();
            file.sync(kind).unwrap();
            let end = recorder.position();
            file.write_at(100_000, b"not synced").unwrap();
            short::unlink(&*fs, "synced").unwrap();
            for seed in 0..8 {
                let disk = Arc::new(base.snapshot());
                recorder.recording().cut(&*disk, end, Survival::Some(seed)).unwrap();
                let again = mount(disk);
                let mut wanted = data.clone();
                wanted[3..21].copy_from_slice(b"over what is there");
                assert!(short::read(&*again, "synced").unwrap() == wanted, "{make:?}, {kind:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_sync_with_nothing_new_costs_nothing_and_one_of_data_alone_one_flush() {
    let disk = Make::Ours(4096, 256).disk(32 * MIB);
    let counting = Arc::new(block::CountingDisk::new(disk));
    let fs = mount(counting.clone());
    let one = short::file(&*fs, "one", &pattern(1, 30_000)).unwrap();
    let two = short::file(&*fs, "two", b"2").unwrap();
    one.sync(SyncKind::All).unwrap();
    counting.take();
    for file in [&one, &two] {
        file.sync(SyncKind::All).unwrap();
        file.sync(SyncKind::Data).unwrap();
    }
    fs.sync().unwrap();
    assert_eq!(counting.take(), block::Counts::default());
    one.write_at(0, b"over").unwrap();
    one.sync(SyncKind::Data).unwrap();
    let counts = counting.take();
    assert_eq!((counts.writes, counts.flushes), (1, 1), "{counts:?}");
    // The time of the change is metadata: data, log; commit block. The log's blocks go in one request.
    one.sync(SyncKind::All).unwrap();
    let counts = counting.take();
    assert!(counts.flushes == 2 && counts.writes <= 3, "{counts:?}");
}

#[test]
fn data_in_blocks_that_were_a_directory_is_not_overwritten_by_a_replay() {
    for make in MAKES {
        let base = make.disk(8 * MIB);
        let recorder = Arc::new(RecordingDisk::new(Arc::new(base.snapshot()), WriteCache::Flush));
        let fs = mount(recorder.clone());
        let root = short::root(&*fs);
        let dir = root.mkdir("dir").unwrap();
        let names: Vec<String> = (0..60).map(|number| format!("{number} {}", "d".repeat(150))).collect();
        names.iter().for_each(|name| drop(dir.file(name, "").unwrap()));
        fs.sync().unwrap();
        names.iter().for_each(|name| dir.unlink(name).unwrap());
        drop(dir);
        root.rmdir("dir").unwrap();
        fs.sync().unwrap();
        // All of the disk: the directory's blocks, too, while the log still has copies of them.
        let file = short::file(&*fs, "all", b"").unwrap();
        let mut len = 0;
        while let Ok(count @ 1..) = file.write_at(len, &pattern(len, 65_536)) {
            len += count as u64;
        }
        file.sync(SyncKind::All).unwrap();
        let disk = Arc::new(base.snapshot());
        recorder.recording().cut(&*disk, recorder.position(), Survival::Nothing).unwrap();
        let again = mount(disk);
        let found = short::read(&*again, "all").unwrap();
        assert_eq!(found.len() as u64, len, "{make:?}");
        let differs = found
            .chunks(65_536)
            .enumerate()
            .find(|(index, piece)| pattern(*index as u64 * 65_536, 65_536)[..piece.len()] != **piece);
        assert!(differs.is_none(), "{make:?}: bytes near {} MiB differ", differs.unwrap().0 / 16);
    }
}
