//! Hard links under `index=on` beside Linux: the same operations on two copies of one disk, compared; then the disks change sides, and
//! all is done again. `STRATA_SEED` replays a run, `STRATA_OPS` sets its length.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use fs_overlay::{IndexMode, Layers, MetacopyMode, Options, OverlayFs, RedirectMode};
use support::disk::Disk;
use support::linux::{self, Linux, differences, leaves_a_trace_on_linux, touches_without_a_write_on_linux};
use support::ops::{self, Op};
use support::{Detail, Random, Tree, context, number};
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
        let ext4 = disk.mount(context());
        let layers = Layers {
            upper: Some(Disk::layer(&ext4, "u")),
            work: Some(Disk::layer(&ext4, "w")),
            lowers: (0..lowers).map(|index| Disk::layer(&ext4, &format!("l{index}"))).collect(),
        };
        let fs = OverlayFs::mount(context(), layers, INDEXED).unwrap();
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

fn run_indexed(seed: u64, operations: u64) -> bool {
    let mut random = Random::new(seed);
    let lowers = usize::try_from(1 + random.below(3)).unwrap();
    let Some(mut linux) = Linux::new(lowers, "index=on,metacopy=on,redirect_dir=on,xino=on") else { return false };
    let disk = Disk::new(16 << 20, u8::try_from(seed % 256).unwrap(), context());
    let ext4 = disk.mount(context());
    for index in 0..lowers {
        let items = ops::random_layer(&mut random, index + 1 < lowers);
        let root = Tree::of(&*ext4);
        let layer = format!("l{index}");
        root.mkdir(&layer).unwrap();
        ops::build(&Tree(root.dir(&layer).unwrap()), &items);
    }
    ext4.unmount().unwrap();
    disk.store(&linux.image());
    if let Err(error) = linux.use_whole_image() {
        println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
        return false;
    }
    linux.mount().unwrap();
    let mut ours = OnDisk::boot(disk, lowers);
    let replay = format!("replay with STRATA_SEED={seed} STRATA_OPS={operations}");
    let compare = |ours: &OnDisk, linux: &Linux, when: &str| {
        let found = differences(
            &without_links_of_directories(ours.dump()),
            &without_links_of_directories(linux::dump(&linux.merged(), Detail::Merged)),
        );
        assert!(found.is_empty(), "merged trees differ {when}; {replay}\n{}", found.join("\n"));
    };
    for round in ["before the exchange", "after it"] {
        for step in 0..operations {
            let op = ops::random_op(&mut random);
            let tree = Tree::of(&*ours.fs);
            if leaves_a_trace_on_linux(&tree, &op) || touches_without_a_write_on_linux(&op) {
                continue;
            }
            let linux_result = linux.apply(&op).map_err(|error| error.raw_os_error().unwrap_or(-1));
            if let Op::Remount = op {
                drop(tree);
                ours = OnDisk::boot(ours.power_off(), lowers);
                continue;
            }
            let our_result = ops::apply(&tree, &op).map_err(|error| i32::from(error.errno().number()));
            assert_eq!(
                our_result, linux_result,
                "result (ours, Linux's) of operation {step} {round}, {op:?}; {replay}"
            );
            if step % 64 == 63 || std::env::var_os("STRATA_EACH").is_some() {
                compare(&ours, &linux, &format!("after operation {step} {round}, {op:?}"));
            }
        }
        compare(&ours, &linux, round);
        // The disks change sides.
        linux.unmount();
        linux.leave_image();
        let theirs = Disk::load(&linux.image());
        let disk = ours.power_off();
        assert_eq!(disk.damage(), None, "{replay}");
        disk.store(&linux.image());
        linux.use_whole_image().unwrap();
        linux.mount().unwrap();
        ours = OnDisk::boot(theirs, lowers);
        compare(&ours, &linux, "with disks exchanged");
    }
    linux.unmount();
    linux.leave_image();
    assert_eq!(ours.power_off().damage(), None, "{replay}");
    true
}

#[test]
fn hard_links_stay_together_as_on_linux_and_on_each_others_disks() {
    let operations = number("STRATA_OPS", 150);
    let first = number("STRATA_SEED", 1);
    let mut done = 0;
    for seed in first..first + number("STRATA_RUNS", 8) {
        // A thread for each: its mount namespace goes with it.
        let run = std::thread::spawn(move || run_indexed(seed, operations)).join();
        done += u64::from(run.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }
    println!("{done} runs of two times {operations} operations with index=on were compared with Linux");
}
