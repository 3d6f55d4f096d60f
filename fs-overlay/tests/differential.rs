//! Random operations on this overlay and on Linux's, over layers made alike: every result is compared, at the end the merged
//! tree and what is on the upper. `STRATA_SEED` replays a run, `STRATA_OPS` sets its length.

mod support;

use std::sync::Arc;

use fs_overlay::{MetacopyMode, Options, OverlayFs, RedirectMode};
use support::linux::{self, Linux, differences, leaves_a_trace_on_linux, touches_without_a_write_on_linux};
use support::ops::{self, Op};
use support::{Detail, Random, Tree, number, overlay, overlay_with, ram};
use vfs::{FileSystem, Node};

/// Our side of a run.
struct Ours {
    upper: Arc<dyn FileSystem>,
    lowers: Vec<Arc<dyn FileSystem>>,
    fs: Arc<OverlayFs>,
    options: Options,
}

impl Ours {
    fn apply(&mut self, op: &Op) -> Result<(), vfs::Errno> {
        if let Op::Remount = op {
            self.fs.unmount().unwrap();
            self.fs = overlay_with(&self.upper, &self.lowers, self.options);
        }
        let tree = Tree::of(&*self.fs);
        let before = op.changes().and_then(|path| tree.find(path).ok().flatten()).map(|node| node.attr().unwrap());
        let result = ops::apply(&tree, op);
        if let (Some(before), Ok(()), Some(path)) = (before, &result, op.changes())
            && (before.nlink == 1 || before.kind == vfs::FileType::Dir)
        {
            let after = tree.get(path).unwrap().attr().unwrap();
            assert_eq!((before.dev, before.ino), (after.dev, after.ino), "identity of {path} over {op:?}");
        }
        result.map_err(|error| error.errno())
    }
}

/// Whether Linux treats files without data otherwise: it links them without their data, by an absolute redirect for all their names,
/// where here a link copies the data first.
fn differs_without_data(tree: &Tree, op: &Op, metacopy: MetacopyMode) -> bool {
    match op {
        Op::Link(from, _) => metacopy == MetacopyMode::Create && matches!(tree.find(from), Ok(Some(Node::File(_)))),
        op => metacopy == MetacopyMode::Create && touches_without_a_write_on_linux(op),
    }
}

/// The uppers change sides: each must show there what it showed here.
fn interchange(ours: &Ours, linux: &Linux, replay: &str) {
    let expected = Tree::of(&*ours.fs).dump(Detail::Content);
    linux.unmount();

    let upper: Arc<dyn FileSystem> = ram();
    ops::build(&Tree::of(&*upper), &linux::items_of(&linux.upper()));
    let shown = differences(&Tree::of(&*overlay(&upper, &ours.lowers)).dump(Detail::Content), &expected);
    let shown: Vec<_> = shown.into_iter().filter(|line| !line.starts_with("/\n")).collect();
    assert!(shown.is_empty(), "Linux's upper shows another tree here; {replay}\n{}", shown.join("\n"));

    linux.clear_upper();
    linux::build(&linux.upper(), &ops::items_of(&Tree::of(&*ours.upper)));
    linux.mount().unwrap();
    let shown = differences(&expected, &linux::dump(&linux.merged(), Detail::Content));
    let shown: Vec<_> = shown.into_iter().filter(|line| !line.starts_with("/\n")).collect();
    assert!(shown.is_empty(), "our upper shows another tree on Linux; {replay}\n{}", shown.join("\n"));
}

fn run(seed: u64, operations: u64) -> bool {
    let mut random = Random::new(seed);
    let lowers = usize::try_from(1 + random.below(3)).unwrap();
    let (redirect, metacopy, text) = match seed % 5 {
        0 => (RedirectMode::Follow, MetacopyMode::Follow, "redirect_dir=off,xino=on"),
        1 | 2 => (RedirectMode::Create, MetacopyMode::Create, "redirect_dir=on,metacopy=on,xino=on"),
        _ => (RedirectMode::Create, MetacopyMode::Follow, "redirect_dir=on,xino=on"),
    };
    let options = Options { redirect, metacopy, ..Options::default() };
    let Some(linux) = Linux::new(lowers, text) else { return false };
    let mut layers: Vec<Arc<dyn FileSystem>> = Vec::new();
    for index in 0..lowers {
        let items = ops::random_layer(&mut random, index + 1 < lowers);
        let layer = ram();
        ops::build(&Tree::of(&*layer), &items);
        linux::build(linux.lower(index), &items);
        layers.push(layer);
    }
    linux.mount().unwrap();
    let upper: Arc<dyn FileSystem> = ram();
    let mut ours = Ours { fs: overlay_with(&upper, &layers, options), upper, lowers: layers, options };
    let replay = format!("replay with STRATA_SEED={seed} STRATA_OPS={operations}");
    let compare = |ours: &Ours, when: &str| {
        let merged =
            differences(&Tree::of(&*ours.fs).dump(Detail::Merged), &linux::dump(&linux.merged(), Detail::Merged));
        assert!(merged.is_empty(), "merged trees differ {when}; {replay}\n{}", merged.join("\n"));
        let raw = differences(&Tree::of(&*ours.upper).dump(Detail::Raw), &linux::dump(&linux.upper(), Detail::Raw));
        assert!(raw.is_empty(), "uppers differ {when}; {replay}\n{}", raw.join("\n"));
    };
    compare(&ours, "before the first operation");
    for step in 0..operations {
        let op = ops::random_op(&mut random);
        let tree = Tree::of(&*ours.fs);
        if leaves_a_trace_on_linux(&tree, &op) || differs_without_data(&tree, &op, metacopy) {
            continue;
        }
        let our_result = ours.apply(&op).map_err(|errno| i32::from(errno.number()));
        let linux_result = linux.apply(&op).map_err(|error| error.raw_os_error().unwrap_or(-1));
        assert_eq!(our_result, linux_result, "result (ours, Linux's) of operation {step}, {op:?}; {replay}");
        if step % 64 == 63 || std::env::var_os("STRATA_EACH").is_some() {
            compare(&ours, &format!("after operation {step}, {op:?}"));
        }
    }
    compare(&ours, "at the end");
    interchange(&ours, &linux, &replay);
    true
}

#[test]
fn random_operations_give_what_linux_gives() {
    let operations = number("STRATA_OPS", 400);
    let seeds = match std::env::var("STRATA_SEED") {
        Ok(_) => number("STRATA_SEED", 0)..number("STRATA_SEED", 0) + 1,
        Err(_) => 1..1 + number("STRATA_RUNS", 25),
    };
    let mut done = 0;
    for seed in seeds {
        // A thread for each: its mount namespace goes with it.
        if std::thread::spawn(move || run(seed, operations))
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        {
            done += 1;
        }
    }
    println!("{done} runs of {operations} operations were compared with Linux");
}
