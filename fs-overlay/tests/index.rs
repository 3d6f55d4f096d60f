//! Hard links under `index=on` beside Linux: the same operations on two copies of one disk, compared; then the disks change sides, and
//! all is done again. `STRATA_SEED` replays a run, `STRATA_OPS` sets its length.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use fs_overlay::{IndexMode, Layers, MetacopyMode, Options, OverlayFs, RedirectMode};
use support::disk::Disk;
use support::linux::{self, Linux, differences, leaves_a_trace_on_linux, touches_without_a_write_on_linux};
use support::ops::{self, Op};
use support::random::{Case, Verdict, judge};
use support::{Detail, Tree, context, number};
use vfs::FileSystem;

/// Layers, upper and work directory on one disk, which Linux can have too: the handles in `origin` are the same for both.
struct OnDisk {
    disk: Disk,
    ext4: Arc<dyn FileSystem>,
    fs: Arc<OverlayFs>,
}

const INDEXED: Options = Options {
    redirect: RedirectMode::Create,
    metacopy: MetacopyMode::Create,
    index: IndexMode::On,
    data_only: 0,
    uuid: fs_overlay::UuidMode::Auto,
    random: None,
    xattrs: fs_overlay::XattrClass::Trusted,
    sync: fs_overlay::SyncMode::Auto,
};

impl OnDisk {
    fn boot(disk: Disk, lowers: usize) -> Self {
        Self::boot_with(disk, lowers, INDEXED)
    }

    fn boot_with(disk: Disk, lowers: usize, options: Options) -> Self {
        let ext4 = disk.mount(context());
        let layers = Layers {
            upper: Some(Disk::layer(&ext4, "u")),
            work: Some(Disk::layer(&ext4, "w")),
            lowers: (0..lowers).map(|index| Disk::layer(&ext4, &format!("l{index}"))).collect(),
        };
        let fs = OverlayFs::mount(context(), layers, options).unwrap();
        Self { disk, ext4, fs }
    }

    fn power_off(self) -> Disk {
        self.fs.unmount().unwrap();
        drop(self.fs);
        self.ext4.unmount().unwrap();
        self.disk
    }

    fn dump(&self) -> BTreeMap<String, String> {
        Tree::of(&*self.fs).dump(Detail::Merged)
    }
}

/// A dump without the links of directories: Linux copies directories up for a copy that here goes to the index alone, and a
/// directory of two layers has one link.
fn without_links_of_directories(dump: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let plain = |line: String| match line.split_once(" links ") {
        Some((start, rest)) if line.starts_with("04") => format!("{start} {}", rest.split_once(' ').unwrap().1),
        _ => line,
    };
    dump.into_iter().map(|(path, line)| (path, plain(line))).collect()
}

fn compare(ours: &OnDisk, linux: &Linux, when: &str) -> Result<(), String> {
    let found = differences(
        &without_links_of_directories(ours.dump()),
        &without_links_of_directories(linux::dump(&linux.merged(), Detail::Merged)),
    );
    if found.is_empty() { Ok(()) } else { Err(format!("merged trees differ {when}\n{}", found.join("\n"))) }
}

fn run_indexed(seed: u64, case: &Case) -> Verdict {
    let lowers = case.layers.len();
    let Some(mut linux) = Linux::new(lowers, "index=on,metacopy=on,redirect_dir=on,xino=on") else { return Ok(None) };
    let disk = Disk::new(16 << 20, u8::try_from(seed % 256).unwrap(), context());
    let ext4 = disk.mount(context());
    for (index, items) in case.layers.iter().enumerate() {
        let root = Tree::of(&*ext4);
        let layer = format!("l{index}");
        root.mkdir(&layer).unwrap();
        ops::build(&Tree(root.dir(&layer).unwrap()), items);
    }
    ext4.unmount().unwrap();
    disk.store(&linux.image());
    if let Err(error) = linux.use_whole_image() {
        println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
        return Ok(None);
    }
    linux.mount().unwrap();
    let mut ours = OnDisk::boot(disk, lowers);
    let mut done = 0;
    let (before, after) = case.ops.split_at(case.ops.len() / 2);
    for (round, ops) in [("before the exchange", before), ("after it", after)] {
        for (step, op) in ops.iter().enumerate() {
            let tree = Tree::of(&*ours.fs);
            if leaves_a_trace_on_linux(&tree, op) || touches_without_a_write_on_linux(op) {
                continue;
            }
            let linux_result = linux.apply(op).map_err(|error| error.raw_os_error().unwrap_or(-1));
            if let Op::Remount = op {
                drop(tree);
                ours = OnDisk::boot(ours.power_off(), lowers);
                continue;
            }
            let our_result = ops::apply(&tree, op).map_err(|error| i32::from(error.errno().number()));
            if our_result != linux_result {
                return Err(format!(
                    "operation {step} {round}, {op:?}: here {our_result:?}, on Linux {linux_result:?}"
                ));
            }
            done += 1;
            if step % 64 == 63 || std::env::var_os("STRATA_EACH").is_some() {
                compare(&ours, &linux, &format!("after operation {step} {round}, {op:?}"))?;
            }
        }
        compare(&ours, &linux, round)?;
        // The disks change sides.
        linux.unmount();
        linux.leave_image();
        let theirs = Disk::load(&linux.image());
        let disk = ours.power_off();
        if let Some(damage) = disk.damage() {
            return Err(damage);
        }
        disk.store(&linux.image());
        linux.use_whole_image().unwrap();
        linux.mount().unwrap();
        ours = OnDisk::boot(theirs, lowers);
        compare(&ours, &linux, "with disks exchanged")?;
    }
    linux.unmount();
    linux.leave_image();
    ours.power_off().damage().map_or(Ok(Some(done)), Err)
}

#[test]
fn hard_links_stay_together_as_on_linux_and_on_each_others_disks() {
    let operations = number("STRATA_OPS", 300);
    let first = number("STRATA_SEED", 1);
    let seeds = first..first + number("STRATA_RUNS", 8);
    let done: Vec<u64> = seeds.filter_map(|seed| judge(seed, operations, |case| run_indexed(seed, case))).collect();
    println!("{} operations of {} runs with index=on were compared with Linux", done.iter().sum::<u64>(), done.len());
}

/// What is done without an index; names that come below, of `a`; what is done with one.
type Unindexed = (Vec<Op>, &'static [&'static str], Vec<Op>);

#[test]
fn a_name_that_went_without_an_index_is_counted_for_ever_as_on_linux() {
    // The count of a copy begins with that of the lower inode: nothing tells which of its names an upper without an index had hidden.
    let unlink = |name: &str| Op::Unlink(name.into());
    let link = |from: &str, to: &str| Op::Link(from.into(), to.into());
    let append = |name: &str| Op::Append(name.into(), b"!".to_vec());
    let cases: [Unindexed; 3] = [
        (vec![unlink("a")], &[], vec![append("b"), unlink("b")]),
        (vec![append("a")], &[], vec![append("b"), unlink("b"), unlink("a")]),
        (vec![link("c", "d")], &["2", "3"], ["c", "d", "2", "3"].map(unlink).into_iter().collect()),
    ];
    for (index, (without, names, with)) in cases.into_iter().enumerate() {
        let Some(mut linux) = Linux::new(1, "index=off") else { return };
        let disk = Disk::new(16 << 20, u8::try_from(index).unwrap(), context());
        let ext4 = disk.mount(context());
        let tree = Tree::of(&*ext4);
        tree.mkdir("l0").unwrap();
        tree.put("l0/a", "shared").unwrap();
        tree.link("l0/a", "l0/b").unwrap();
        tree.put("l0/c", "single").unwrap();
        drop(tree);
        ext4.unmount().unwrap();
        disk.store(&linux.image());
        if let Err(error) = linux.use_whole_image() {
            println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
            return;
        }
        let mut ours = OnDisk::boot_with(disk, 1, Options { index: IndexMode::Off, ..INDEXED });
        linux.mount().unwrap();
        for op in &without {
            ops::apply(&Tree::of(&*ours.fs), op).unwrap();
            linux.apply(op).unwrap();
        }
        linux.unmount();
        let disk = ours.power_off();
        let ext4 = disk.mount(context());
        for name in names {
            Tree::of(&*ext4).link("l0/c", &format!("l0/{name}")).unwrap();
            std::fs::hard_link(linux.lower(0).join("c"), linux.lower(0).join(name)).unwrap();
        }
        ext4.unmount().unwrap();
        linux.set_options("index=on,redirect_dir=on,metacopy=on");
        linux.mount().unwrap();
        ours = OnDisk::boot(disk, 1);
        for op in &with {
            ops::apply(&Tree::of(&*ours.fs), op).unwrap();
            linux.apply(op).unwrap();
        }
        // Neither finds at the next mount that the copy is nobody's.
        linux.apply(&Op::Remount).unwrap();
        ours = OnDisk::boot(ours.power_off(), 1);
        compare(&ours, &linux, "at the end").unwrap();
        let left = Tree::of(&*ours.ext4).names("w/index");
        // Linux keeps a whiteout there for the next.
        let mut on_linux = linux.index();
        on_linux.retain(|name| !name.starts_with('#'));
        assert_eq!((left.len(), &left), (1, &on_linux), "case {index}");
        linux.unmount();
        linux.leave_image();
    }
}
