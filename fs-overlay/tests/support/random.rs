//! Random layers and sequences of operations, as strategies of proptest: a sequence that fails is made as short as it can be.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use vfs::RenameMode;

use super::ops::{Item, ItemKind, Op};

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const XATTRS: &[&str] = &["user.x", "user.y", "trusted.t", "trusted.overlay.foo", "trusted.overlay.opaque"];

/// How deep directories of a layer are.
const DEPTH: u32 = 3;
/// Shrinking ends after so many runs, or this time: each run mounts anew.
const SHRINK_RUNS: u32 = 1500;
const SHRINK_MILLISECONDS: u32 = 90_000;

/// Layers, topmost first, and what is done on them.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) layers: Vec<Vec<Item>>,
    pub(crate) ops: Vec<Op>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, layer) in self.layers.iter().enumerate() {
            writeln!(f, "lower layer {index}:")?;
            for Item { path, kind, mode, owner, xattrs } in layer {
                write!(f, "    {path}: {kind:?} {mode:o} {}:{}", owner.0, owner.1)?;
                for (name, value) in xattrs {
                    write!(f, " {name}={}", value.escape_ascii())?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "operations:")?;
        self.ops.iter().try_for_each(|op| writeln!(f, "    {op:?}"))
    }
}

/// What is at a name of a layer, before it has a place.
#[derive(Debug, Clone)]
enum Draft {
    Leaf(ItemKind),
    /// To the last file before it.
    Link,
    Dir {
        is_opaque: bool,
        entries: Vec<(&'static str, Draft, Attributes)>,
    },
}

#[derive(Debug, Clone)]
struct Attributes {
    mode: u16,
    owner: (u32, u32),
    user: Option<u8>,
    is_trusted: bool,
}

type Entries = Vec<(&'static str, Draft, Attributes)>;

fn attributes() -> impl Strategy<Value = Attributes> {
    let user = prop_oneof![3 => Just(None), 1 => (b'0'..=b'9').prop_map(Some)];
    (0o600..0o700_u16, (0..3_u32, 0..3_u32), user, prop::bool::weighted(0.125))
        .prop_map(|(mode, owner, user, is_trusted)| Attributes { mode, owner, user, is_trusted })
}

fn entries_of(depth: u32, is_above: bool) -> BoxedStrategy<Entries> {
    vec((select(NAMES), draft(depth, is_above), attributes()), 0..=12).boxed()
}

fn draft(depth: u32, is_above: bool) -> BoxedStrategy<Draft> {
    let content = (b'A'..=b'Z', 0..20_usize).prop_map(|(byte, len)| ItemKind::File(vec![byte; len]));
    let sparse = (0..40_u64).prop_map(|page| ItemKind::Sparse(page * 4096, b"data after a hole".to_vec()));
    let special = if is_above { ItemKind::Whiteout } else { ItemKind::Fifo };
    let leaf = prop_oneof![
        6 => content,
        1 => sparse,
        1 => (0..10_u32).prop_map(|number| ItemKind::Symlink(format!("nowhere-{number}"))),
        1 => Just(special),
        1 => Just(ItemKind::Fifo),
        1 => (1..10_u32).prop_map(|minor| ItemKind::Device(1, minor)),
    ];
    let leaf = prop_oneof![11 => leaf.prop_map(Draft::Leaf), 1 => Just(Draft::Link)];
    if depth == DEPTH {
        return leaf.boxed();
    }
    let is_opaque = prop::bool::weighted(if is_above { 0.2 } else { 0.0 });
    let dir =
        (is_opaque, entries_of(depth + 1, is_above)).prop_map(|(is_opaque, entries)| Draft::Dir { is_opaque, entries });
    prop_oneof![9 => leaf, 7 => dir].boxed()
}

/// Gives the entries below `path` their place, the first of each name.
fn place(path: &str, entries: &Entries, items: &mut Vec<Item>) {
    let mut taken = BTreeSet::new();
    for (name, draft, attributes) in entries.iter().filter(|(name, ..)| taken.insert(*name)) {
        let path = if path.is_empty() { (*name).to_string() } else { format!("{path}/{name}") };
        let (kind, is_opaque) = match draft {
            Draft::Leaf(kind) => (kind.clone(), false),
            Draft::Dir { is_opaque, .. } => (ItemKind::Dir, *is_opaque),
            Draft::Link => match items.iter().rev().find(|item| matches!(item.kind, ItemKind::File(_))) {
                Some(file) => (ItemKind::HardLink(file.path.clone()), false),
                None => continue,
            },
        };
        let mut mode = attributes.mode;
        match &kind {
            ItemKind::Dir => mode |= 0o700,
            ItemKind::Symlink(_) => mode = 0o777,
            _ => {}
        }
        let mut xattrs = Vec::new();
        if let (Some(value), ItemKind::File(_) | ItemKind::Sparse(..)) = (attributes.user, &kind) {
            xattrs.push(("user.x".into(), vec![value]));
        }
        if attributes.is_trusted && !matches!(kind, ItemKind::Whiteout | ItemKind::HardLink(_)) {
            xattrs.push(("trusted.t".into(), b"t".to_vec()));
        }
        if is_opaque {
            xattrs.push(("trusted.overlay.opaque".into(), b"y".to_vec()));
        }
        items.push(Item { path: path.clone(), kind, mode, owner: attributes.owner, xattrs });
        if let Draft::Dir { entries, .. } = draft {
            place(&path, entries, items);
        }
    }
}

/// A tree for a layer; one that is above others hides some of what they have.
fn layer(is_above: bool) -> BoxedStrategy<Vec<Item>> {
    let items = |entries| {
        let mut items = Vec::new();
        place("", &entries, &mut items);
        items
    };
    entries_of(0, is_above).prop_map(items).boxed()
}

fn path() -> impl Strategy<Value = String> {
    vec(select(NAMES), 1..=4).prop_map(|names| names.join("/"))
}

/// Two paths, often in one directory, so that operations meet.
fn paths() -> impl Strategy<Value = (String, String)> {
    (path(), prop_oneof![2 => path().prop_map(Err), 1 => select(NAMES).prop_map(Ok)]).prop_map(|(from, to)| {
        let to = match (to, from.rsplit_once('/')) {
            (Err(path), _) => path,
            (Ok(name), Some((parent, _))) => format!("{parent}/{name}"),
            (Ok(name), None) => name.to_string(),
        };
        (from, to)
    })
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    (b'a'..=b'z', 0..12_usize).prop_map(|(byte, len)| vec![byte; len])
}

fn rename(mode: RenameMode) -> impl Strategy<Value = Op> {
    paths().prop_map(move |(from, to)| Op::Rename(from, to, mode))
}

/// An operation; its paths need not exist.
fn op() -> BoxedStrategy<Op> {
    let attribute = || select(XATTRS).prop_map(str::to_string);
    prop_oneof![
        8 => path().prop_map(Op::Mkdir),
        7 => (path(), data()).prop_map(|(path, data)| Op::Create(path, data)),
        5 => (path(), 0..30_u64, data()).prop_map(|(path, offset, data)| Op::Write(path, offset, data)),
        3 => (path(), data()).prop_map(|(path, data)| Op::OpenTruncate(path, data)),
        3 => (path(), data()).prop_map(|(path, data)| Op::Append(path, data)),
        3 => (path(), 0..25_u64).prop_map(|(path, len)| Op::Truncate(path, len)),
        8 => path().prop_map(Op::Unlink),
        8 => path().prop_map(Op::Rmdir),
        17 => rename(RenameMode::Replace),
        3 => rename(RenameMode::NoReplace),
        6 => rename(RenameMode::Exchange),
        6 => paths().prop_map(|(from, to)| Op::Link(from, to)),
        2 => (path(), 0..10_u32).prop_map(|(path, number)| Op::Symlink(path, format!("nowhere-{number}"))),
        1 => path().prop_map(Op::Fifo),
        1 => (path(), 0..2_u32, 0..2_u32).prop_map(|(path, major, minor)| Op::Device(path, major, minor)),
        4 => (path(), 0..0o1000_u16).prop_map(|(path, mode)| Op::Chmod(path, mode)),
        3 => (path(), 0..4_u32, 0..4_u32).prop_map(|(path, uid, gid)| Op::Chown(path, uid, gid)),
        5 => (path(), attribute(), data()).prop_map(|(path, name, value)| Op::SetXattr(path, name, value)),
        3 => (path(), attribute()).prop_map(|(path, name)| Op::RemoveXattr(path, name)),
        3 => (path(), 0..1000_i64).prop_map(|(path, secs)| Op::SetMtime(path, secs)),
        1 => Just(Op::Remount),
    ]
    .boxed()
}

/// So many operations.
#[derive(Debug)]
struct Sequence {
    op: BoxedStrategy<Op>,
    len: usize,
}

impl Strategy for Sequence {
    type Tree = Shrinking;
    type Value = Vec<Op>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let ops = (0..self.len).map(|_| self.op.new_tree(runner)).collect::<Result<Vec<_>, _>>()?;
        let run = ops.len().div_ceil(2);
        Ok(Shrinking { ops, run, at: 0, left_out: Vec::new(), is_shorter: false, changed: 0 })
    }
}

/// A sequence that gets shorter: runs of operations are left out, long ones first, as long as it goes on failing; then each
/// operation that is left is made simpler. Proptest's own vectors leave out one element after the other, once.
struct Shrinking {
    ops: Vec<Box<dyn ValueTree<Value = Op>>>,
    /// How many are left out together; 0 when all of that is done.
    run: usize,
    /// Where.
    at: usize,
    /// What was left out there just now.
    left_out: Vec<Box<dyn ValueTree<Value = Op>>>,
    /// Whether anything was since `at` was 0.
    is_shorter: bool,
    /// Which operation is made simpler.
    changed: usize,
}

impl Shrinking {
    /// Leaves out what is next; `false` at the end.
    fn leave_out(&mut self) -> bool {
        let end = self.ops.len().min(self.at + self.run);
        self.left_out = self.ops.drain(self.at.min(end)..end).collect();
        !self.left_out.is_empty()
    }
}

impl ValueTree for Shrinking {
    type Value = Vec<Op>;

    fn current(&self) -> Vec<Op> {
        self.ops.iter().map(|op| op.current()).collect()
    }

    fn simplify(&mut self) -> bool {
        self.is_shorter |= !self.left_out.is_empty();
        self.left_out.clear();
        while self.run > 0 {
            if self.leave_out() {
                return true;
            }
            // What could not be left out may have become superfluous.
            if !(self.run == 1 && self.is_shorter) {
                self.run /= 2;
            }
            (self.at, self.is_shorter) = (0, false);
        }
        while let Some(op) = self.ops.get_mut(self.changed) {
            if op.simplify() {
                return true;
            }
            self.changed += 1;
        }
        false
    }

    fn complicate(&mut self) -> bool {
        if self.run == 0 {
            return self.ops.get_mut(self.changed).is_some_and(|op| op.complicate());
        }
        if self.left_out.is_empty() {
            return false;
        }
        let needed = std::mem::take(&mut self.left_out);
        let count = needed.len();
        self.ops.splice(self.at..self.at, needed);
        self.at += count;
        // That fails as before: the next is tried at once.
        self.leave_out();
        true
    }
}

/// One to three layers and so many operations, which are made fewer first.
fn case(operations: usize) -> impl Strategy<Value = Case> {
    let ops = Sequence { op: op(), len: operations };
    (ops, layer(true), layer(true), layer(false), 1..=3_usize).prop_map(|(ops, first, second, last, count)| {
        let layers = [first, second, last].into_iter().skip(3 - count).collect();
        Case { layers, ops }
    })
}

/// What a run tells: how many operations it compared, or `None` where there is nothing to compare with; else what is wrong.
pub(crate) type Verdict = Result<Option<u64>, String>;

/// Makes up a case of so many operations and has it judged, on a thread of its own. One that fails is told as short as it can be made.
pub(crate) fn judge(seed: u64, operations: u64, run: impl Fn(&Case) -> Verdict + Sync) -> Option<u64> {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: SHRINK_RUNS,
        max_shrink_time: SHRINK_MILLISECONDS,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, generator(seed));
    let compared = Cell::new(None);
    // A thread for each: its mount namespace goes with it.
    let on_a_thread = |case: &Case| {
        std::thread::scope(|scope| scope.spawn(|| run(case)).join()).unwrap_or_else(|panic| Err(text_of(&*panic)))
    };
    let result = runner.run(&case(usize::try_from(operations).unwrap()), |case| {
        compared.set(on_a_thread(&case).map_err(TestCaseError::fail)?);
        Ok(())
    });
    if let Err(error) = result {
        let (reason, case) = match error {
            TestError::Fail(reason, case) => (reason, format!("{case:?}")),
            TestError::Abort(reason) => (reason, String::new()),
        };
        panic!("{reason}\nmade as short as it could be:\n{case}replay with STRATA_SEED={seed} STRATA_OPS={operations}");
    }
    compared.get()
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_string(),
        (None, None) => "a panic without words".to_string(),
    }
}

/// Makes up layers and operations one by one, for tests whose threads or sides take them as they come.
pub(crate) struct Source {
    runner: TestRunner,
    ops: BoxedStrategy<Op>,
}

impl Source {
    pub(crate) fn new(seed: u64) -> Self {
        Self { runner: TestRunner::new_with_rng(Config::default(), generator(seed)), ops: op() }
    }

    pub(crate) fn layer(&mut self, is_above: bool) -> Vec<Item> {
        layer(is_above).new_tree(&mut self.runner).unwrap().current()
    }

    pub(crate) fn op(&mut self) -> Op {
        self.ops.new_tree(&mut self.runner).unwrap().current()
    }
}

fn generator(seed: u64) -> TestRng {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
