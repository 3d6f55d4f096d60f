//! The namespace through system calls: paths, names, links, permissions, on the tree that is mounted.

use alloc::format;

use super::pointers::{call, get, map, put};
use super::{Failure, TestResult};
use crate::init::kernel_context;
use crate::task;
use crate::{ensure, ensure_eq, test};

const PAGE: u64 = 4096;

/// Runs a test as a program in a fresh directory of its own, which is its current one, with two pages for paths.
fn in_a_directory(name: &str, test: impl FnOnce(&Program) -> TestResult) -> TestResult {
    task::run_as_task(kernel_context(), || {
        let program = Program { memory: map(3) };
        let path = format!("/tmp/{name}");
        ensure_eq!(program.path1(83, &path, &[0o755]), 0);
        ensure_eq!(program.path1(80, &path, &[]), 0);
        test(&program)
    })?
}

/// A program that makes calls with paths.
struct Program {
    memory: u64,
}

impl Program {
    fn text(&self, page: u64, text: &str) -> u64 {
        let at = self.memory + page * PAGE;
        // The page was just mapped, and the text is short.
        let written = put(at, text.as_bytes()).and_then(|()| put(at + text.len() as u64, &[0]));
        if written.is_ok() { at } else { 0 }
    }

    /// A call whose first argument is a path.
    fn path1(&self, number: u64, path: &str, rest: &[u64]) -> i64 {
        let mut arguments = alloc::vec![self.text(0, path)];
        arguments.extend(rest);
        call(number, &arguments)
    }

    /// A call whose first two arguments are paths.
    fn path2(&self, number: u64, first: &str, second: &str) -> i64 {
        call(number, &[self.text(0, first), self.text(1, second)])
    }

    fn create(&self, path: &str) -> i64 {
        let fd = self.path1(2, path, &[0o101, 0o644]);
        if fd >= 0 { call(3, &[fd as u64]) } else { fd }
    }

    /// Mode, links and size.
    fn stat(&self, path: &str) -> Result<(u32, u64, u64), Failure> {
        let out = self.memory + 2 * PAGE;
        ensure_eq!(self.path1(6, path, &[out]), 0);
        let bytes = get(out, 144)?;
        let word = |at: usize| u64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
        Ok((word(24) as u32, word(16), word(48)))
    }
}

test!(
    "vfs",
    fn paths_resolve_as_posix_says() {
        in_a_directory("paths", |program| {
            ensure_eq!(program.path1(83, "d", &[0o755]), 0);
            ensure_eq!(program.create("d/f"), 0);
            for good in
                ["d/f", "./d/./f", "d/../d/f", "/tmp/paths/d//f", "../paths/d/f", "/../tmp/paths/d/f", "d/", "d/."]
            {
                ensure!(program.path1(21, good, &[0]) == 0, "{good}");
            }
            for (bad, errno) in [("d/f/", -20), ("d/f/x", -20), ("d/f/..", -20), ("no/f", -2), ("", -2), ("no/", -2)] {
                let result = program.path1(21, bad, &[0]);
                ensure!(result == errno, "{bad}: {result}");
            }
            let long = "x".repeat(256);
            ensure_eq!(program.path1(21, &long, &[0]), -36);
            ensure_eq!(program.create(&long[..255]), 0);
            Ok(())
        })
    }
);

test!(
    "vfs",
    fn symbolic_links_are_followed_forty_times() {
        in_a_directory("links", |program| {
            ensure_eq!(program.create("l0"), 0);
            for link in 1..=41 {
                ensure_eq!(program.path2(88, &format!("l{}", link - 1), &format!("l{link}")), 0);
            }
            ensure_eq!(program.path1(21, "l40", &[0]), 0);
            ensure_eq!(program.path1(21, "l41", &[0]), -40);
            ensure_eq!(program.path2(88, "loop", "loop"), 0);
            ensure_eq!(program.path1(21, "loop", &[0]), -40);
            ensure_eq!(program.path1(2, "l1", &[0o400_000, 0]), -40);
            let out = program.memory + 2 * PAGE;
            ensure_eq!(program.path1(89, "l1", &[out, 100]), 2);
            ensure_eq!(get(out, 2)?, b"l0");
            Ok(())
        })
    }
);

test!(
    "vfs",
    fn names_are_made_linked_renamed_and_removed() {
        in_a_directory("names", |program| {
            ensure_eq!(program.create("a"), 0);
            ensure_eq!(program.path1(2, "a", &[0o301, 0o644]), -17);
            ensure_eq!(program.path2(86, "a", "b"), 0);
            ensure_eq!(program.stat("a")?.1, 2);
            ensure_eq!(program.path1(83, "d", &[0o755]), 0);
            ensure_eq!(program.path1(83, "d", &[0o755]), -17);
            ensure_eq!(program.path1(83, "d/e", &[0o755]), 0);
            ensure_eq!(program.path1(84, "d", &[]), -39);
            ensure_eq!(program.path1(84, "a", &[]), -20);
            ensure_eq!(program.path1(87, "d", &[]), -21);
            ensure_eq!(program.path2(82, "d", "d/e/f"), -22);
            ensure_eq!(program.path2(82, "a", "d"), -21);
            ensure_eq!(program.path2(82, "d", "a"), -20);
            ensure_eq!(program.path2(82, "a", "c"), 0);
            ensure_eq!(program.path1(21, "a", &[0]), -2);
            ensure_eq!(program.path2(82, "d/e", "e"), 0);
            ensure_eq!(program.path1(84, "d", &[]), 0);
            for name in ["b", "c"] {
                ensure_eq!(program.path1(87, name, &[]), 0);
            }
            ensure_eq!(program.path1(87, "c", &[]), -2);
            Ok(())
        })
    }
);

test!(
    "vfs",
    fn an_open_file_outlives_its_name() {
        in_a_directory("unlinked", |program| {
            let fd = program.path1(2, "f", &[0o102, 0o600]) as u64;
            ensure_eq!(call(1, &[fd, program.text(1, "content"), 7]), 7);
            ensure_eq!(program.path1(87, "f", &[]), 0);
            let out = program.memory + 2 * PAGE;
            ensure_eq!(call(17, &[fd, out, 100, 0]), 7);
            ensure_eq!(get(out, 7)?, b"content");
            ensure_eq!(call(5, &[fd, out]), 0);
            ensure_eq!(get(out + 16, 8)?, [0; 8]);
            Ok(())
        })
    }
);

test!(
    "vfs",
    fn permissions_are_checked_for_others_than_root() {
        in_a_directory("permissions", |program| {
            for (name, mode) in [("open", 0o644), ("closed", 0o600)] {
                ensure_eq!(program.create(name), 0);
                ensure_eq!(program.path1(90, name, &[mode]), 0);
            }
            ensure_eq!(program.path1(83, "private", &[0o700]), 0);
            ensure_eq!(program.create("private/f"), 0);
            ensure_eq!(call(119, &[1000, 1000, 1000]), 0);
            ensure_eq!(call(117, &[1000, 1000, 1000]), 0);
            ensure_eq!(program.path1(2, "closed", &[0, 0]), -13);
            ensure_eq!(program.path1(2, "open", &[1, 0]), -13);
            ensure!(program.path1(2, "open", &[0, 0]) >= 0);
            ensure_eq!(program.path1(21, "private/f", &[0]), -13);
            ensure_eq!(program.create("mine"), -13);
            ensure_eq!(program.path1(87, "open", &[]), -13);
            ensure_eq!(program.path1(90, "open", &[0o777]), -1);
            Ok(())
        })
    }
);

test!(
    "vfs",
    fn mounts_hide_what_is_below_and_show_it_again() {
        in_a_directory("mounts", |program| {
            ensure_eq!(program.path1(83, "m", &[0o755]), 0);
            ensure_eq!(program.create("m/below"), 0);
            let none = program.text(0, "none");
            let (target, kind) = (program.text(1, "m"), program.text(2, "tmpfs"));
            ensure_eq!(call(165, &[none, target, kind, 0, 0]), 0);
            ensure_eq!(program.path1(21, "m/below", &[0]), -2);
            ensure_eq!(program.create("m/above"), 0);
            ensure_eq!(program.path2(82, "m/above", "above"), -18);
            let fd = program.path1(2, "m/above", &[0, 0]) as u64;
            ensure_eq!(program.path1(166, "m", &[0]), -16);
            ensure_eq!(call(3, &[fd]), 0);
            ensure_eq!(program.path1(166, "m", &[0]), 0);
            ensure_eq!(program.path1(21, "m/below", &[0]), 0);
            ensure_eq!(program.path1(166, "m", &[0]), -22);
            let (none, target) = (program.text(0, "none"), program.text(1, "m"));
            let kind = program.text(2, "nothing");
            ensure_eq!(call(165, &[none, target, kind, 0, 0]), -19);
            Ok(())
        })
    }
);
