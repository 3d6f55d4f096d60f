//! Memory as a kernel has it: mapped once and for all, in large pages.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the C library looks at when a program starts: large pages, and what is freed is kept.
const TUNABLES: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296",
);

/// Starts the program again, once, with a C library that gives memory in large pages and keeps what is freed. For benchmarks: what
/// a page fault costs on the host is nothing of a filesystem's.
///
/// # Panics
/// If it cannot be started again.
pub fn keep_what_is_freed() {
    let (variable, value) = TUNABLES;
    if std::env::var_os(variable).is_none() {
        let program = std::env::current_exe().expect("a running program has a path");
        let error = Command::new(program).args(std::env::args_os().skip(1)).env(variable, value).exec();
        panic!("it does not start again: {error}");
    }
}

/// Has so many bytes touched and freed, after [`keep_what_is_freed`]: what is allocated next is there already.
pub fn touch(bytes: usize) {
    const PIECE: usize = 128 << 10;
    drop((0..bytes / PIECE).map(|_| vec![1; PIECE]).collect::<Vec<Vec<u8>>>());
}
