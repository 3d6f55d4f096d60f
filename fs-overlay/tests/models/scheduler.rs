//! Threads that shuttle schedules: the overlay's own code, one step at a time, in an order that a seed decides.
//!
//! A thread of a model is a coroutine. It can lose the processor wherever `base::sync` says that another thread could get it: before
//! each lock of the overlay and of the layers below, and after each is let go. A waiter at a lock yields.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::support::{TASK, number};

/// How many orders each scheduler tries for one seed.
const ORDERS: usize = 12;
/// The order of a failure that PCT finds for certain, if it is let try often enough: as many steps must meet.
const DEPTH: usize = 3;
/// More steps than any model takes, unless its threads wait for each other.
const STEPS_MAX: usize = 200_000;

thread_local! {
    /// Whether the threads of a model run on this one.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

fn relax() {
    if IS_RUNNING.get() { shuttle::thread::yield_now() } else { std::thread::yield_now() }
}

fn switch() {
    if IS_RUNNING.get() && !std::thread::panicking() {
        // A step without a yield, which would tell the scheduler that this thread waits for another.
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Tells how a failure is replayed.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with STRATA_SEED={} STRATA_OPS=1", self.0);
        }
    }
}

/// Runs `model` in many orders of its steps, by chance and by PCT. `STRATA_OPS` says how many seeds are tried, `STRATA_SEED` with
/// which to begin.
pub(crate) fn explore(seeds: u64, model: impl Fn() + Send + Sync + 'static) {
    base::sync::set_relax(relax);
    base::sync::set_switch(switch);
    let model = Arc::new(model);
    let first = number("STRATA_SEED", 1);
    for seed in first..first + number("STRATA_OPS", seeds) {
        let _replay = Replay(seed);
        let mut config = Config::new();
        config.stack_size = 512 << 10;
        config.failure_persistence = FailurePersistence::None;
        config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
        let (by_chance, by_pct) = (Arc::clone(&model), Arc::clone(&model));
        Runner::new(RandomScheduler::new_from_seed(seed, ORDERS), config.clone()).run(move || by_chance());
        // Its first run only counts the steps.
        Runner::new(PctScheduler::new_from_seed(seed, DEPTH, ORDERS + 1), config).run(move || by_pct());
    }
}

/// Runs `work` on so many threads, and waits for them.
pub(crate) fn at_once(threads: usize, work: &(impl Fn(usize) + Sync)) {
    TASK.set(|| shuttle::current::try_get_current_task().map_or(0, usize::from));
    let _running = Running::begin();
    shuttle::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || work(thread));
        }
    });
}

struct Running;

impl Running {
    fn begin() -> Self {
        IS_RUNNING.set(true);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        IS_RUNNING.set(false);
    }
}
