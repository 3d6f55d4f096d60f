//! Scenarios for several threads at once: the host runs them on threads ([`stress_tests!`](crate::stress_tests)), the guest on tasks.
//!
//! A [`Scenario`] prepares a filesystem, has workers that go on for a number of rounds, and a check when all are done.
//! Workers accept the errors that a race can bring (`ENOENT`, `EEXIST`, …) and no others.

mod contents;
mod names;
mod scenarios;

use alloc::sync::Arc;

use vfs::{Errno, Error, FileSystem, FsContext};

use crate::dsl::Dir;
use crate::random::Random;
use crate::tree::Item;
use crate::{Failure, Features, Fixture, Mounted, Outcome, Setup, TestClock};

/// A filesystem that several workers are on.
pub struct Arena {
    mounted: Mounted,
    /// How many rounds each worker goes on.
    pub rounds: u64,
}

impl Arena {
    /// The base directory.
    #[must_use]
    pub fn base(&self) -> Dir {
        Dir(self.mounted.base.clone())
    }

    /// The filesystem.
    #[must_use]
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.mounted.fs
    }

    /// A worker's own random numbers.
    fn random(&self, worker: u64) -> Random {
        Random::new(self.rounds.wrapping_mul(31) ^ (worker << 40))
    }
}

/// One worker: it gets its number, from 0.
type Worker = fn(&Arena, u64) -> Outcome;

/// What several threads do at once.
pub struct Scenario {
    /// What must hold, as a sentence.
    pub name: &'static str,
    /// What the filesystem must offer.
    pub needs: Features,
    tree: fn() -> alloc::vec::Vec<Item<'static>>,
    workers: &'static [Worker],
    check: fn(&Arena) -> Outcome,
}

impl Scenario {
    /// How many workers there are; each is run once, all at the same time.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Mounts a filesystem and prepares it.
    ///
    /// # Errors
    /// The fixture's.
    pub fn prepare(&self, fixture: &dyn Fixture, rounds: u64) -> Outcome<Arena> {
        let context = FsContext { dev: 0x2b, clock: Arc::new(TestClock::default()) };
        let tree = (self.tree)();
        let mounted = fixture.mount(&Setup { tree: &tree, context, space: None })?;
        Ok(Arena { mounted, rounds })
    }

    /// Runs one worker to its end.
    ///
    /// # Errors
    /// What it saw that must not be.
    pub fn work(&self, arena: &Arena, worker: usize) -> Outcome {
        match self.workers.get(worker) {
            Some(work) => work(arena, worker as u64),
            None => Err(Failure::new("no such worker")),
        }
    }

    /// Checks the filesystem after all workers have ended, and has the fixture examine it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn finish(&self, arena: Arena, fixture: &dyn Fixture) -> Outcome {
        (self.check)(&arena)?;
        fixture.examine(arena.mounted)
    }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = scenarios::SCENARIOS;

/// Passes success, and the errors that a race can bring.
fn racing<T>(result: Result<T, Error>, allowed: &[Errno]) -> Outcome<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if allowed.contains(&error.errno()) => Ok(None),
        Err(error) => Err(Failure::from(error)),
    }
}

/// Expands to a `#[test]` that runs every scenario the fixture has the features for, each worker on a thread of its
/// own. `STRATA_OPS` sets the rounds. A scenario that hangs ends the process after two minutes, with its name.
#[macro_export]
macro_rules! stress_tests {
    ($fixture:expr) => {
        #[test]
        fn threads() {
            use ::std::sync::atomic::{AtomicBool, Ordering};

            $crate::set_relax(::std::thread::yield_now);
            let rounds = ::std::env::var("STRATA_OPS").map_or(1_500, |text| text.parse().expect("a number"));
            let fixture = &$fixture;
            for scenario in $crate::stress::SCENARIOS {
                if !$crate::Fixture::features(fixture).contains(scenario.needs) {
                    continue;
                }
                let arena = scenario.prepare(fixture, rounds).unwrap_or_else(|f| panic!("{}: {f}", scenario.name));
                let done = ::std::sync::Arc::new(AtomicBool::new(false));
                let watched = done.clone();
                ::std::thread::spawn(move || {
                    for _ in 0..1_200 {
                        ::std::thread::sleep(::std::time::Duration::from_millis(100));
                        if watched.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    eprintln!("{} hangs", scenario.name);
                    ::std::process::abort();
                });
                let outcomes: ::std::vec::Vec<_> = ::std::thread::scope(|scope| {
                    let arena = &arena;
                    let run = |worker| scope.spawn(move || scenario.work(arena, worker));
                    let workers: ::std::vec::Vec<_> = (0..scenario.workers()).map(run).collect();
                    workers.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect()
                });
                for outcome in outcomes.into_iter().chain([scenario.finish(arena, fixture)]) {
                    outcome.unwrap_or_else(|failure| panic!("{}: {failure}", scenario.name));
                }
                done.store(true, Ordering::Relaxed);
            }
        }
    };
}
