//! Sequences of operations as strategies of proptest, and their judgement: one that fails is told as short as it can be made. Used
//! by the tests of `strata-mount` as well.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Shrinking ends after so many runs, or this time: each run mounts anew.
const SHRINK_RUNS: u32 = 1500;
const SHRINK_MILLISECONDS: u32 = 90_000;

/// So many operations.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    pub(crate) op: BoxedStrategy<T>,
    pub(crate) len: usize,
}

impl<T: Debug> Strategy for Sequence<T> {
    type Tree = Shrinking<T>;
    type Value = Vec<T>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let ops = (0..self.len).map(|_| self.op.new_tree(runner)).collect::<Result<Vec<_>, _>>()?;
        let run = ops.len().div_ceil(2);
        Ok(Shrinking { ops, run, at: 0, left_out: Vec::new(), is_shorter: false, changed: 0 })
    }
}

/// A sequence that gets shorter: runs of operations are left out, long ones first, as long as it goes on failing; then each
/// operation that is left is made simpler. Proptest's own vectors leave out one element after the other, once.
pub(crate) struct Shrinking<T> {
    ops: Vec<Box<dyn ValueTree<Value = T>>>,
    /// How many are left out together; 0 when all of that is done.
    run: usize,
    /// Where.
    at: usize,
    /// What was left out there just now.
    left_out: Vec<Box<dyn ValueTree<Value = T>>>,
    /// Whether anything was since `at` was 0.
    is_shorter: bool,
    /// Which operation is made simpler.
    changed: usize,
}

impl<T> Shrinking<T> {
    /// Leaves out what is next; `false` at the end.
    fn leave_out(&mut self) -> bool {
        let end = self.ops.len().min(self.at + self.run);
        self.left_out = self.ops.drain(self.at.min(end)..end).collect();
        !self.left_out.is_empty()
    }
}

impl<T: Debug> ValueTree for Shrinking<T> {
    type Value = Vec<T>;

    fn current(&self) -> Vec<T> {
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

/// What a run tells: how many operations it compared, or `None` where there is nothing to compare with; else what is wrong.
pub(crate) type Verdict = Result<Option<u64>, String>;

/// Makes up a case and has it judged, on a thread of its own. One that fails is told as short as it can be made.
pub(crate) fn judge<S>(cases: &S, seed: u64, operations: u64, run: impl Fn(&S::Value) -> Verdict + Sync) -> Option<u64>
where
    S: Strategy<Value: Sync>,
{
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
    let on_a_thread = |case: &S::Value| {
        std::thread::scope(|scope| scope.spawn(|| run(case)).join()).unwrap_or_else(|panic| Err(text_of(&*panic)))
    };
    let result = runner.run(cases, |case| {
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

/// Random numbers that a seed replays.
pub(crate) fn generator(seed: u64) -> TestRng {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
