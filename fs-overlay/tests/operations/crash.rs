//! Every operation over an upper on ext4, cut at every point between its first write and its last: after a recovery the merged tree
//! is wholly as before or wholly as after, and after a sync it is as after.

use std::collections::BTreeMap;
use std::sync::Arc;

use block::{RecordingDisk, Survival, WriteCache};
use fs_overlay::{Layer, Layers, MetacopyMode, Options, OverlayFs, RedirectMode};
use vfs::{AllocateMode, FileSystem, OpenIntent, Result, SetAttr, SyncKind};

use crate::faults::{OPERATIONS, Operation, lower, prepare};
use crate::support::disk::Disk;
use crate::support::{Detail, Tree, context, number, ram};

fn merged(ext4: &Arc<dyn FileSystem>, lower: &Arc<dyn FileSystem>) -> Arc<OverlayFs> {
    merged_with(ext4, lower, Options::default())
}

fn merged_with(ext4: &Arc<dyn FileSystem>, lower: &Arc<dyn FileSystem>, options: Options) -> Arc<OverlayFs> {
    let layers = Layers {
        upper: Some(Disk::layer(ext4, "u")),
        work: Some(Disk::layer(ext4, "w")),
        lowers: vec![Layer::of(lower.clone())],
    };
    OverlayFs::mount(context(), layers, options).unwrap()
}

fn dump(fs: &OverlayFs) -> BTreeMap<String, String> {
    Tree::of(fs).dump(Detail::Content)
}

fn cut_everywhere(base: &Disk, below: &Arc<dyn FileSystem>, operation: &Operation, cuts: &mut u64) {
    let (title, step) = operation;
    let recorder = Arc::new(RecordingDisk::new(base.snapshot().device().clone(), WriteCache::Flush));
    let ext4 = Disk::mount_device(recorder.clone(), context());
    let fs = merged(&ext4, below);
    fs.sync().unwrap();
    let first = recorder.position();
    let before = dump(&fs);
    step(&Tree::of(&*fs)).unwrap_or_else(|error| panic!("{title}: {error}"));
    let after = dump(&fs);
    ext4.sync().unwrap();
    let recording = recorder.recording();
    drop((fs, ext4));
    let end = recording.len();
    // e2fsck judges every so many, each time others.
    let stride = (2_000 / number("STRATA_CUTS", 40)).max(1);
    for events in first..=end {
        for survival in [Survival::Everything, Survival::Nothing, Survival::Some(3), Survival::Some(4)] {
            let at = format!("{title}, cut after {} of {} events, {survival:?}", events - first, end - first);
            let disk = base.snapshot();
            recording.cut(&**disk.device(), events, survival).unwrap();
            let ext4 = disk.mount(context());
            let fs = merged(&ext4, below);
            let found = dump(&fs);
            assert!(found == before || found == after, "{at}: neither before nor after: {found:#?}");
            assert!(events < end || found == after, "{at}: lost what was synced");
            *cuts += 1;
            if cuts.is_multiple_of(stride) {
                fs.unmount().unwrap();
                drop(fs);
                ext4.unmount().unwrap();
                assert_eq!(disk.damage(), None, "{at}");
            }
        }
    }
}

#[test]
fn every_operation_over_ext4_has_wholly_happened_or_not_at_all_wherever_it_is_cut() {
    let below: Arc<dyn FileSystem> = ram();
    lower(&Tree::of(&*below));
    let base = prepared(&below);
    let mut cuts = 0;
    for operation in OPERATIONS {
        cut_everywhere(&base, &below, operation, &mut cuts);
    }
    println!("{cuts} cuts in {} operations", OPERATIONS.len());
}

/// Whether a file that was copied up, overwritten and synced survives a power cut right after the sync.
fn overwrite_and_cut(options: Options, before: fn(&Tree), sync: SyncKind) {
    let below: Arc<dyn FileSystem> = ram();
    lower(&Tree::of(&*below));
    let base = Disk::new(16 << 20, 3, context());
    let recorder = Arc::new(RecordingDisk::new(base.snapshot().device().clone(), WriteCache::Flush));
    let ext4 = Disk::mount_device(recorder.clone(), context());
    let fs = merged_with(&ext4, &below, options);
    before(&Tree::of(&*fs));
    ext4.sync().unwrap();
    let file = Tree::of(&*fs).file("d/large").unwrap();
    file.prepare_open(OpenIntent::Write).unwrap();
    file.write_at(3, b"confirmed").unwrap();
    file.sync(sync).unwrap();
    let expected = Tree::of(&*fs).read("d/large").unwrap();
    let end = recorder.position();
    for survival in [Survival::Nothing, Survival::Everything] {
        let disk = base.snapshot();
        recorder.recording().cut(&**disk.device(), end, survival).unwrap();
        let ext4 = disk.mount(context());
        let fs = merged_with(&ext4, &below, options);
        let found = Tree::of(&*fs).read("d/large").unwrap();
        assert!(found == expected, "{sync:?}: what was confirmed is lost: {:?}", &found[..20]);
        fs.unmount().unwrap();
        drop(fs);
        ext4.unmount().unwrap();
        assert_eq!(disk.damage(), None);
    }
}

#[test]
fn a_sync_of_data_after_a_copy_up_makes_the_copy_durable() {
    for sync in [SyncKind::Data, SyncKind::All] {
        overwrite_and_cut(Options::default(), |_| {}, sync);
    }
}

#[test]
fn a_sync_of_data_after_a_metacopy_became_whole_makes_that_durable() {
    let options = Options { metacopy: MetacopyMode::Create, redirect: RedirectMode::Create, ..Options::default() };
    let chmod = |tree: &Tree| {
        let mode = SetAttr { mode: Some(0o640), ..SetAttr::default() };
        tree.get("d/large").unwrap().ops().set_attr(&mode).unwrap();
    };
    for sync in [SyncKind::Data, SyncKind::All] {
        overwrite_and_cut(options, chmod, sync);
    }
}

/// Larger than what one transaction of the upper takes.
const BIG: usize = 5 << 20;

/// Operations on what takes many requests.
const LARGE: &[Operation] = &[
    ("opening a file of 5 MiB to write", |t| t.file("big")?.prepare_open(OpenIntent::Write)),
    ("rename of a file of 5 MiB", |t| t.rename("big", "up/big")),
];

#[test]
fn a_large_copy_up_over_ext4_has_wholly_happened_or_not_at_all_wherever_it_is_cut() {
    let below: Arc<dyn FileSystem> = ram();
    lower(&Tree::of(&*below));
    Tree::of(&*below).put("big", &"a large file ".repeat(BIG / 13)).unwrap();
    let base = prepared(&below);
    let mut cuts = 0;
    for operation in LARGE {
        cut_everywhere(&base, &below, operation, &mut cuts);
    }
    println!("{cuts} cuts");
}

/// What is done, and what is synced then.
type Synced = (&'static str, fn(&Tree) -> Result<()>, &'static str);

const SYNCED: &[Synced] = &[
    ("write to a lower file", |t| t.file("d/large")?.write_at(70_000, b"written").map(drop), "d/large"),
    ("append to a copy", |t| t.append("e/h", " appended"), "e/h"),
    ("cut of a lower file", |t| t.file("d/large")?.set_len(10), "d/large"),
    ("create over a whiteout, and write", |t| t.put("e/i", "made anew"), "e/i"),
    ("attribute of a lower file", |t| t.set_xattr("d/g", "user.b", b"2"), "d/g"),
    ("mkdir over a whiteout", |t| t.mkdir("e/i"), "e"),
    ("unlink of a copy", |t| t.unlink("e/h"), "e"),
    ("rename of a lower file", |t| t.rename("d/f", "up/f"), "up"),
    ("rename of a lower directory", |t| t.rename("d/sub", "up/sub"), "up"),
    ("hole in a lower file", |t| t.file("d/large")?.allocate(AllocateMode::PunchHole, 5_000, 90_000), "d/large"),
];

#[test]
fn what_an_fsync_of_a_file_or_directory_promised_over_ext4_is_there() {
    let below: Arc<dyn FileSystem> = ram();
    lower(&Tree::of(&*below));
    let base = prepared(&below);
    for (title, step, path) in SYNCED {
        let recorder = Arc::new(RecordingDisk::new(base.snapshot().device().clone(), WriteCache::Flush));
        let ext4 = Disk::mount_device(recorder.clone(), context());
        let fs = merged(&ext4, &below);
        let tree = Tree::of(&*fs);
        step(&tree).unwrap_or_else(|error| panic!("{title}: {error}"));
        tree.get(path).unwrap().ops().sync(SyncKind::All).unwrap();
        let after = dump(&fs);
        let end = recorder.position();
        for survival in [Survival::Nothing, Survival::Some(5), Survival::Everything] {
            let disk = base.snapshot();
            recorder.recording().cut(&**disk.device(), end, survival).unwrap();
            let again = merged(&disk.mount(context()), &below);
            assert!(dump(&again) == after, "{title}, {survival:?}: lost what was synced");
        }
    }
}

/// What is there and durable, what becomes of the names, and what is synced then. All of it is to be there, for whoever syncs waits
/// for everything that a journal took before.
struct Story {
    title: &'static str,
    before: fn(&Tree) -> Result<()>,
    after: fn(&Tree) -> Result<()>,
    synced: &'static [&'static str],
}

const STORIES: &[Story] = &[
    Story { title: "a new directory", before: |_| Ok(()), after: |t| t.mkdir("x"), synced: &["x"] },
    Story {
        title: "a synced file moves into a new directory",
        before: |t| {
            t.put("x", "content")?;
            t.get("x")?.ops().sync(SyncKind::All)
        },
        after: |t| {
            t.mkdir("y")?;
            t.rename("x", "y/x")?;
            t.set_xattr("y/x", "user.a", b"1")
        },
        synced: &["y", "y/x"],
    },
    Story {
        title: "a file grows and gets another name",
        before: |t| t.put("x", &"content ".repeat(20_000)),
        after: |t| {
            t.file("x")?.write_at(300_000, b"more")?;
            t.rename("x", "y")
        },
        synced: &["y"],
    },
    Story {
        title: "a lower file moves, and the directory above the one that it left is synced",
        before: |t| t.mkdir("c"),
        after: |t| {
            t.rename("d/sub/k", "c/k")?;
            t.put("d/new", "")
        },
        synced: &["d"],
    },
    Story {
        title: "one name of a file goes, another file moves, and the first is synced",
        before: |t| {
            t.mkdir("a")?;
            t.mkdir("c")?;
            t.put("a/x", "x")?;
            t.link("a/x", "c/linked")?;
            t.put("c/y", "y")
        },
        after: |t| {
            t.unlink("c/linked")?;
            t.rename("c/y", "a/y")
        },
        synced: &["a/x"],
    },
    Story {
        title: "a directory of the firmware moves, and a new one takes its name",
        before: |_| Ok(()),
        after: |t| {
            t.rename("d/sub", "d/moved")?;
            t.mkdir("d/sub")
        },
        synced: &["d/sub"],
    },
    Story {
        title: "a file of the firmware moves, and a new one takes its name",
        before: |_| Ok(()),
        after: |t| {
            t.rename("d/f", "d/moved")?;
            t.put("d/f", &"new ".repeat(9_000))
        },
        synced: &["d/f"],
    },
    Story {
        title: "a file gets a name, and what is beside it comes from elsewhere",
        before: |t| {
            t.mkdir("x")?;
            t.mkdir("y")?;
            t.mkdir("y/z")?;
            t.put("x/file", "file")?;
            t.put("y/other", "other")
        },
        after: |t| {
            t.link("x/file", "x/linked")?;
            t.rename("y/z", "x/z")?;
            t.rename("y/other", "x/other")
        },
        synced: &["x/linked"],
    },
    Story {
        title: "symbolic links in a new and in an old directory",
        before: |t| t.mkdir("old"),
        after: |t| {
            t.symlink("old/link", "target")?;
            t.mkdir("new")?;
            t.symlink("new/link", &"long".repeat(100))
        },
        synced: &["old", "new"],
    },
    Story {
        title: "a directory takes the place of the one whose file it took in",
        before: |t| {
            t.mkdir("a")?;
            t.mkdir("b")?;
            t.put("b/file", "file")
        },
        after: |t| {
            t.rename("b/file", "a/file")?;
            t.rename("a", "b")
        },
        synced: &["b/file"],
    },
    Story {
        title: "space behind the end of a very small file",
        before: |_| Ok(()),
        after: |t| {
            t.put("x", "twenty-one characters")?;
            t.file("x")?.allocate(AllocateMode::Extend, 40, 40)
        },
        synced: &["x"],
    },
    Story {
        title: "names go round, and a new file takes the first",
        before: |t| {
            t.mkdir("x")?;
            t.put("x/1", "one")?;
            t.put("x/2", "two")
        },
        after: |t| {
            t.rename("x/1", "x/3")?;
            t.rename("x/2", "x/4")?;
            t.link("x/3", "x/2")?;
            t.put("x/1", "new")
        },
        synced: &["x/1"],
    },
    Story {
        title: "names of removed files and of hard links go round",
        before: |t| {
            t.mkdir("x")?;
            t.put("x/zz", "foo")?;
            t.link("x/zz", "x/linked")?;
            t.put("x/a", "hello")?;
            t.put("x/gone", "gone")
        },
        after: |t| {
            t.unlink("x/gone")?;
            t.exchange("x/a", "x/linked")?;
            t.link("x/a", "x/gone")?;
            t.rename("x/zz", "x/a2")?;
            t.put("x/zz", "bar")
        },
        synced: &["x/zz"],
    },
    Story {
        title: "a file of the firmware is removed",
        before: |t| t.append("d/g", "copied"),
        after: |t| t.unlink("d/g"),
        synced: &["d"],
    },
];

#[test]
fn what_became_of_names_before_an_fsync_is_there_with_it() {
    let below: Arc<dyn FileSystem> = ram();
    lower(&Tree::of(&*below));
    Tree::of(&*below).put("d/sub/k", "k").unwrap();
    let base = prepared(&below);
    for Story { title, before, after, synced } in STORIES {
        let recorder = Arc::new(RecordingDisk::new(base.snapshot().device().clone(), WriteCache::Flush));
        let ext4 = Disk::mount_device(recorder.clone(), context());
        let fs = merged(&ext4, &below);
        let tree = Tree::of(&*fs);
        before(&tree).unwrap_or_else(|error| panic!("{title}, before: {error}"));
        fs.sync().unwrap();
        after(&tree).unwrap_or_else(|error| panic!("{title}: {error}"));
        for path in *synced {
            tree.get(path).unwrap().ops().sync(SyncKind::All).unwrap();
        }
        let wanted = dump(&fs);
        let end = recorder.position();
        for survival in [Survival::Nothing, Survival::Some(8), Survival::Everything] {
            let disk = base.snapshot();
            recorder.recording().cut(&**disk.device(), end, survival).unwrap();
            let ext4 = disk.mount(context());
            let again = merged(&ext4, &below);
            let found = dump(&again);
            assert!(found == wanted, "{title}, {survival:?}: {found:#?} in place of {wanted:#?}");
            again.unmount().unwrap();
            drop(again);
            ext4.unmount().unwrap();
            assert_eq!(disk.damage(), None, "{title}, {survival:?}");
        }
    }
}

/// A disk on which the overlay was used before.
fn prepared(below: &Arc<dyn FileSystem>) -> Disk {
    let base = Disk::new(16 << 20, 3, context());
    let ext4 = base.mount(context());
    let fs = merged(&ext4, below);
    prepare(&Tree::of(&*fs));
    fs.unmount().unwrap();
    drop(fs);
    ext4.unmount().unwrap();
    base
}
