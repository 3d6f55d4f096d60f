//! Random operations on this overlay and on Linux's, over layers made alike: every result is compared, at the end the merged
//! tree and what is on the upper. A sequence that fails is made short. `STRATA_SEED` replays a run, `STRATA_OPS` sets its length.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use fs_overlay::{MetacopyMode, Options, OverlayFs, RedirectMode};
use support::linux::{self, Linux, differences, leaves_a_trace_on_linux, touches_without_a_write_on_linux};
use support::ops::{self, ItemKind, Op};
use support::random::{Case, Verdict, judge};
use support::{Detail, Tree, number, overlay, overlay_with, ram};
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
fn interchange(ours: &Ours, linux: &Linux) -> Result<(), String> {
    let expected = Tree::of(&*ours.fs).dump(Detail::Content);
    linux.unmount();

    let upper: Arc<dyn FileSystem> = ram();
    ops::build(&Tree::of(&*upper), &linux::items_of(&linux.upper()));
    let shown = Tree::of(&*overlay(&upper, &ours.lowers)).dump(Detail::Content);
    same(&below_the_root(&shown), &below_the_root(&expected), "trees shown here of Linux's upper and before")?;

    linux.clear_upper();
    linux::build(&linux.upper(), &ops::items_of(&Tree::of(&*ours.upper)));
    linux.mount().unwrap();
    let shown = linux::dump(&linux.merged(), Detail::Content);
    same(&below_the_root(&expected), &below_the_root(&shown), "trees before and shown on Linux of our upper")
}

fn below_the_root(dump: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    dump.iter().filter(|(path, _)| *path != "/").map(|(path, line)| (path.clone(), line.clone())).collect()
}

fn same(ours: &BTreeMap<String, String>, linux: &BTreeMap<String, String>, what: &str) -> Result<(), String> {
    let found = differences(ours, linux);
    if found.is_empty() { Ok(()) } else { Err(format!("{what} differ\n{}", found.join("\n"))) }
}

fn compare(ours: &Ours, linux: &Linux, when: &str) -> Result<(), String> {
    let merged = (Tree::of(&*ours.fs).dump(Detail::Merged), linux::dump(&linux.merged(), Detail::Merged));
    same(&merged.0, &merged.1, &format!("merged trees {when}"))?;
    let raw = (Tree::of(&*ours.upper).dump(Detail::Raw), linux::dump(&linux.upper(), Detail::Raw));
    same(&raw.0, &raw.1, &format!("uppers {when}"))
}

fn run(seed: u64, case: &Case) -> Verdict {
    let (redirect, metacopy, text) = match seed % 5 {
        0 => (RedirectMode::Follow, MetacopyMode::Follow, "redirect_dir=off,xino=on"),
        1 | 2 => (RedirectMode::Create, MetacopyMode::Create, "redirect_dir=on,metacopy=on,xino=on"),
        _ => (RedirectMode::Create, MetacopyMode::Follow, "redirect_dir=on,xino=on"),
    };
    let options = Options { redirect, metacopy, ..Options::default() };
    let Some(linux) = Linux::new(case.layers.len(), text) else { return Ok(None) };
    let mut layers: Vec<Arc<dyn FileSystem>> = Vec::new();
    for (index, items) in case.layers.iter().enumerate() {
        let layer = ram();
        ops::build(&Tree::of(&*layer), items);
        linux::build(linux.lower(index), items);
        layers.push(layer);
    }
    linux.mount().unwrap();
    let upper: Arc<dyn FileSystem> = ram();
    let mut ours = Ours { fs: overlay_with(&upper, &layers, options), upper, lowers: layers, options };
    compare(&ours, &linux, "before the first operation")?;
    let mut done = 0;
    for (step, op) in case.ops.iter().enumerate() {
        let tree = Tree::of(&*ours.fs);
        if leaves_a_trace_on_linux(&tree, op) || differs_without_data(&tree, op, metacopy) {
            continue;
        }
        let our_result = ours.apply(op).map_err(|errno| i32::from(errno.number()));
        let linux_result = linux.apply(op).map_err(|error| error.raw_os_error().unwrap_or(-1));
        if our_result != linux_result {
            return Err(format!("operation {step}, {op:?}: here {our_result:?}, on Linux {linux_result:?}"));
        }
        done += 1;
        if step % 64 == 63 || std::env::var_os("STRATA_EACH").is_some() {
            compare(&ours, &linux, &format!("after operation {step}, {op:?}"))?;
        }
    }
    compare(&ours, &linux, "at the end")?;
    interchange(&ours, &linux)?;
    Ok(Some(done))
}

#[test]
fn random_operations_give_what_linux_gives() {
    let operations = number("STRATA_OPS", 410);
    let seeds = match std::env::var("STRATA_SEED") {
        Ok(_) => number("STRATA_SEED", 0)..number("STRATA_SEED", 0) + 1,
        Err(_) => 1..1 + number("STRATA_RUNS", 25),
    };
    let done: Vec<u64> = seeds.filter_map(|seed| judge(seed, operations, |case| run(seed, case))).collect();
    println!("{} operations of {} runs were compared with Linux", done.iter().sum::<u64>(), done.len());
}

/// What the other test tells when it fails.
#[test]
fn a_sequence_that_fails_is_made_as_short_as_it_can_be() {
    let fails = |case: &Case| {
        let link = case.ops.iter().position(|op| matches!(op, Op::Link(..)));
        let rename = case.ops.iter().rposition(|op| matches!(op, Op::Rename(..)));
        let has_dir = case.layers.iter().flatten().any(|item| matches!(item.kind, ItemKind::Dir));
        if has_dir && link.is_some() && link < rename { Err("a rename after a link".into()) } else { Ok(Some(0)) }
    };
    let told = std::panic::catch_unwind(|| judge(2, 400, fails)).unwrap_err();
    let told = told.downcast_ref::<String>().unwrap();
    let count = |what: &str| told.lines().filter(|line| line.starts_with("    ") && line.contains(what)).count();
    assert_eq!([count(": Dir"), count("Link("), count("Rename(")], [1, 1, 1], "{told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("    ")).count(), 3, "{told}");
    assert!(told.ends_with("replay with STRATA_SEED=2 STRATA_OPS=400"), "{told}");
}
