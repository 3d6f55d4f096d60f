//! The overlay as an appliance has it: the upper on ext4. After random operations `e2fsck` finds the disk whole, Linux mounts
//! it and its own overlayfs shows the same tree; what Linux then changes is seen here.

mod support;

use std::sync::Arc;

use fs_overlay::{Layer, Layers, Options, OverlayFs};
use support::disk::Disk;
use support::linux::{self, Linux};
use support::ops::{self, Op};
use support::random::Source;
use support::{Detail, Tree, context, number, ram};
use vfs::FileSystem;

struct Appliance<'a> {
    disk: &'a Disk,
    lowers: &'a [Arc<dyn FileSystem>],
    ext4: Arc<dyn FileSystem>,
    fs: Arc<OverlayFs>,
}

impl<'a> Appliance<'a> {
    fn boot(disk: &'a Disk, lowers: &'a [Arc<dyn FileSystem>]) -> Self {
        let ext4 = disk.mount(context());
        let layers = Layers {
            upper: Some(Disk::layer(&ext4, "u")),
            work: Some(Disk::layer(&ext4, "w")),
            lowers: lowers.iter().cloned().map(Layer::of).collect(),
        };
        let fs = OverlayFs::mount(context(), layers, Options::default()).unwrap();
        Self { disk, lowers, ext4, fs }
    }

    fn power_off(self) {
        self.fs.unmount().unwrap();
        drop(self.fs);
        self.ext4.unmount().unwrap();
    }

    fn reboot(self) -> Self {
        let (disk, lowers) = (self.disk, self.lowers);
        self.power_off();
        Self::boot(disk, lowers)
    }

    fn dump(&self) -> std::collections::BTreeMap<String, String> {
        Tree::of(&*self.fs).dump(Detail::Content)
    }
}

fn run(seed: u64, operations: u64) {
    let mut source = Source::new(seed);
    let linux = Linux::new(2, "redirect_dir=on,xino=on");
    let mut lowers: Vec<Arc<dyn FileSystem>> = Vec::new();
    for index in 0..2 {
        let items = source.layer(index == 0);
        let layer = ram();
        ops::build(&Tree::of(&*layer), &items);
        if let Some(linux) = &linux {
            linux::build(linux.lower(index), &items);
        }
        lowers.push(layer);
    }
    let disk = Disk::new(16 << 20, u8::try_from(seed % 256).unwrap(), context());
    let replay = format!("replay with STRATA_SEED={seed} STRATA_OPS={operations}");
    let mut appliance = Appliance::boot(&disk, &lowers);
    for _ in 0..operations {
        match source.op() {
            Op::Remount => {
                let before = appliance.dump();
                appliance = appliance.reboot();
                assert!(appliance.dump() == before, "another tree after a reboot; {replay}");
            }
            // Refusals are compared elsewhere.
            op => drop(ops::apply(&Tree::of(&*appliance.fs), &op)),
        }
    }
    let expected = appliance.dump();
    appliance.power_off();
    if let Some(damage) = disk.damage() {
        panic!("{damage}\n{replay}");
    }

    let Some(mut linux) = linux else { return };
    disk.store(&linux.image());
    if let Err(error) = linux.use_image() {
        println!("SKIPPED: no image can be mounted to compare with Linux: {error}");
        return;
    }
    linux.mount().unwrap();
    let shown = linux::dump(&linux.merged(), Detail::Content);
    assert!(shown == expected, "Linux shows another tree; {replay}\nours {expected:#?}\nLinux {shown:#?}");
    for _ in 0..operations {
        let _ = linux.apply(&source.op());
    }
    let expected = linux::dump(&linux.merged(), Detail::Content);
    linux.unmount();
    linux.leave_image();
    let disk = Disk::load(&linux.image());
    let appliance = Appliance::boot(&disk, &lowers);
    let shown = appliance.dump();
    assert!(
        shown == expected,
        "what Linux changed is another tree here; {replay}\nours {shown:#?}\nLinux {expected:#?}"
    );
    appliance.power_off();
    assert_eq!(disk.damage(), None, "{replay}");
}

#[test]
fn a_disk_goes_to_linux_and_back_and_shows_the_same_tree() {
    let first = number("STRATA_SEED", 1);
    for seed in first..first + number("STRATA_RUNS", 8) {
        // A thread for each: its mount namespace goes with it.
        let operations = number("STRATA_OPS", 200);
        let done = std::thread::spawn(move || run(seed, operations)).join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
