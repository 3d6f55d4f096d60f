//! Suites: tests that run in the kernel, on the machine itself.
//!
//! [`test!`](crate::test) registers one in the linker section `.suites`; nothing else refers to it. [`group!`](crate::group)
//! registers a function that runs any number of cases with a name each, for tables of tests that a crate shares with the
//! host. `suite=GLOB` on the command line runs those whose `suite::name`, or whose suite, matches: failures are printed with
//! their reason, the last line is `N passed, N failed`, and the machine ends with that outcome. Running none is a failure.

mod archive;
mod boot;
mod crash;
mod drivers;
mod filesystems;
mod flags;
mod mappings;
mod memory;
mod namespace;
mod ondisk;
mod pattern;
mod pointers;
mod power;
mod programs;
mod speed;
mod syscalls;
mod transfers;

use alloc::string::String;
use core::fmt;

use crate::power::{Outcome, exit};
use crate::{console, time};

/// Why a test failed.
pub(crate) struct Failure(String);

/// What a test returns.
pub(crate) type TestResult = Result<(), Failure>;

impl Failure {
    /// A failure with its reason.
    pub(crate) fn new(reason: impl fmt::Display) -> Self {
        Self(alloc::format!("{reason}"))
    }
}

impl<E: core::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// What is registered.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Test {
    suite: &'static str,
    name: &'static str,
    run: Run,
}

/// How it runs.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// One test.
    One(fn() -> TestResult),
    /// Many, given to [`Cases::run`] one by one.
    Many(fn(&mut Cases<'_>)),
}

impl Test {
    pub(crate) const fn new(suite: &'static str, name: &'static str, run: Run) -> Self {
        Self { suite, name, run }
    }
}

/// Registers a test: `test!("memory", fn name_as_a_sentence() { …; Ok(()) });`
#[macro_export]
macro_rules! test {
    ($suite:literal, fn $name:ident() $body:block) => {
        fn $name() -> $crate::suite::TestResult $body

        const _: () = {
            #[used]
            // SAFETY: the section holds values of this type only, and the linker script keeps them in a row.
            #[unsafe(link_section = ".suites")]
            static TEST: $crate::suite::Test =
                $crate::suite::Test::new($suite, stringify!($name), $crate::suite::Run::One($name));
        };
    };
}

/// Registers a function that runs cases: `group!("ramfs", fn contract(cases) { cases.run("name", || …); });`
#[macro_export]
macro_rules! group {
    ($suite:literal, fn $name:ident($cases:ident) $body:block) => {
        fn $name($cases: &mut $crate::suite::Cases<'_>) $body

        const _: () = {
            #[used]
            // SAFETY: as for `test!`.
            #[unsafe(link_section = ".suites")]
            static TEST: $crate::suite::Test =
                $crate::suite::Test::new($suite, stringify!($name), $crate::suite::Run::Many($name));
        };
    };
}

/// Fails the test unless the condition holds; with a reason as for `format!`, or the condition itself.
#[macro_export]
macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::suite::Failure::new(format_args!("not so: {}", stringify!($condition))));
        }
    };
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::suite::Failure::new(format_args!($($reason)+)));
        }
    };
}

/// Fails the test unless both are equal, and says what they are.
#[macro_export]
macro_rules! ensure_eq {
    ($left:expr, $right:expr) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    return Err($crate::suite::Failure::new(format_args!(
                        "{} is {left:?}, expected {right:?}",
                        stringify!($left)
                    )));
                }
            }
        }
    };
}

#[expect(improper_ctypes, reason = "the symbols mark a section that holds this very type")]
unsafe extern "C" {
    static __suites_start: Test;
    static __suites_end: Test;
}

/// Every test that is registered.
fn all() -> &'static [Test] {
    let start = &raw const __suites_start;
    let bytes = &raw const __suites_end as usize - start as usize;
    // SAFETY: the linker script puts the section between the symbols; only `Test`s are in it.
    unsafe { core::slice::from_raw_parts(start, bytes / size_of::<Test>()) }
}

/// The cases of a run.
pub(crate) struct Cases<'a> {
    suite: &'static str,
    pattern: &'a str,
    passed: u32,
    failed: u32,
}

impl Cases<'_> {
    /// Runs a case, if its name matches.
    pub(crate) fn run(&mut self, name: &str, case: impl FnOnce() -> TestResult) {
        if !pattern::selects(self.pattern, self.suite, name) {
            return;
        }
        log::info!("{}::{name}", self.suite);
        match case() {
            Ok(()) => self.passed += 1,
            Err(Failure(reason)) => {
                self.failed += 1;
                console::print(format_args!("FAILED {}::{name}: {reason}\n", self.suite));
            }
        }
    }
}

/// Runs the tests that `pattern` selects and ends the machine.
pub(crate) fn run(pattern: &str) -> ! {
    let (mut passed, mut failed) = (0, 0);
    for test in all() {
        let mut cases = Cases { suite: test.suite, pattern, passed: 0, failed: 0 };
        match test.run {
            Run::One(function) => cases.run(test.name, function),
            Run::Many(function) => function(&mut cases),
        }
        passed += cases.passed;
        failed += cases.failed;
    }
    if passed + failed == 0 {
        console::print(format_args!("no test matches `{pattern}`; the suites are:"));
        let mut last = "";
        for test in all() {
            if test.suite != last {
                console::print(format_args!(" {}", test.suite));
            }
            last = test.suite;
        }
        console::print(format_args!("\n"));
    }
    let seconds = time::monotonic() / 1_000_000;
    console::print(format_args!("{passed} passed, {failed} failed in {}.{:03} s\n", seconds / 1000, seconds % 1000));
    exit(if failed == 0 && passed > 0 { Outcome::Success } else { Outcome::Failure })
}
