//! The list of tests, and how they are run: one after the other, each on a filesystem of its own.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::fixture::{Env, Features, Fixture};
use crate::{Outcome, cases};

/// One behaviour that a filesystem owes.
pub struct Test {
    /// What it is about: one of [`GROUPS`].
    pub group: &'static str,
    /// The behaviour, as a sentence.
    pub name: &'static str,
    /// What the filesystem must offer.
    pub needs: Features,
    run: fn(&Env<'_>) -> Outcome,
}

impl Test {
    pub(crate) const fn new(
        group: &'static str,
        name: &'static str,
        needs: Features,
        run: fn(&Env<'_>) -> Outcome,
    ) -> Self {
        Self { group, name, needs, run }
    }

    /// Whether the filesystem offers what the test needs. A test of read-only behaviour needs nothing, and
    /// leaves writable filesystems alone by itself.
    #[must_use]
    pub fn applies_to(&self, fixture: &dyn Fixture) -> bool {
        fixture.features().contains(self.needs)
    }

    /// Runs it on a filesystem of its own, which is examined afterwards.
    ///
    /// # Errors
    /// Why it failed.
    pub fn run(&self, fixture: &dyn Fixture) -> Outcome {
        let env = Env::new(fixture);
        (self.run)(&env)?;
        env.finish().map_err(|failure| failure.while_doing("examined after the test"))
    }
}

/// The group's name, and its tests.
pub type Group = (&'static str, &'static [Test]);

/// All tests, by group. Keep [`contract_tests!`](crate::contract_tests) in step.
pub const GROUPS: &[Group] = cases::GROUPS;

/// All tests.
pub fn tests() -> impl Iterator<Item = &'static Test> {
    GROUPS.iter().flat_map(|(_, tests)| tests.iter())
}

/// What a run came to.
#[derive(Default)]
pub struct Report {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that need what the filesystem lacks.
    pub left_out: usize,
    /// The rest: name and reason.
    pub failures: Vec<(&'static str, String)>,
}

impl Report {
    /// The verdict.
    ///
    /// # Errors
    /// The report's text, if a test failed or none ran.
    pub fn verdict(&self) -> Result<(), String> {
        if self.failures.is_empty() && self.passed > 0 { Ok(()) } else { Err(format!("{self}")) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, reason) in &self.failures {
            writeln!(f, "failed: {name}\n    {reason}")?;
        }
        let Self { passed, left_out, failures } = self;
        write!(f, "{passed} passed, {} failed, {left_out} left out", failures.len())
    }
}

/// Runs every test of the suite.
#[must_use]
pub fn run_all(fixture: &dyn Fixture) -> Report {
    run_where(fixture, |_| true)
}

/// Runs the tests of one group whose name contains `only`.
#[must_use]
pub fn run_group(fixture: &dyn Fixture, group: &str, only: &str) -> Report {
    run_where(fixture, |test| test.group == group && test.name.contains(only))
}

fn run_where(fixture: &dyn Fixture, takes: impl Fn(&Test) -> bool) -> Report {
    let mut report = Report::default();
    for test in tests().filter(|test| takes(test)) {
        if !test.applies_to(fixture) {
            report.left_out += 1;
            continue;
        }
        match test.run(fixture) {
            Ok(()) => report.passed += 1,
            Err(failure) => report.failures.push((test.name, format!("{failure}"))),
        }
    }
    report
}

/// Expands to a `#[test]` for every group of the suite and for the model, over a fixture: an expression of a type
/// that implements [`Fixture`](crate::Fixture). A group of which the fixture can run nothing passes.
///
/// `STRATA_CONTRACT` keeps to tests whose name contains it; `STRATA_SEED` and `STRATA_OPS` go to the model.
#[macro_export]
macro_rules! contract_tests {
    ($fixture:expr) => {
        $crate::contract_tests!(@groups $fixture;
            read, listing, create, remove, link, rename, exchange, readdir, file, sparse, times, attr, xattr, flags, unnamed,
            limits, handle, remount, upper, whiteout, upper_rename);

        #[test]
        fn model() {
            let number = |name: &str, default: u64| match ::std::env::var(name) {
                Ok(text) => text.parse().expect("a number in STRATA_SEED and STRATA_OPS"),
                Err(_) => default,
            };
            let (seed, ops) = (number("STRATA_SEED", 1), number("STRATA_OPS", 4_000));
            for seed in seed..seed + 3 {
                if let Err(failure) = $crate::model::run(&$fixture, seed, ops) {
                    panic!("{failure}\nreplay with STRATA_SEED={seed} STRATA_OPS={ops}");
                }
            }
        }
    };
    (@groups $fixture:expr; $($group:ident),+) => {
        $(
            #[test]
            fn $group() {
                let only = ::std::env::var("STRATA_CONTRACT").unwrap_or_default();
                let report = $crate::run_group(&$fixture, stringify!($group), &only);
                assert!(report.failures.is_empty(), "\n{report}");
            }
        )+

        #[test]
        fn every_group_of_the_suite_is_run() {
            let run = [$(stringify!($group)),+];
            for (group, _) in $crate::GROUPS {
                assert!(run.contains(group), "{group} is missing in contract_tests!");
            }
        }
    };
}
