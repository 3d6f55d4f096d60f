//! Vectors on pipes, and what memory of a program may become while a call waits.

use alloc::vec::Vec;

use super::pointers::{call, get, map, put};
use super::{Failure, TestResult};
use crate::init::kernel_context;
use crate::task;
use crate::{ensure_eq, test};

const PAGE: u64 = 4096;
const PIPE: u64 = 65_536;

/// Puts a `struct iovec` for each segment there.
fn put_vector(at: u64, segments: &[(u64, u64)]) -> TestResult {
    let words: Vec<u8> =
        segments.iter().flat_map(|(base, len)| [base.to_le_bytes(), len.to_le_bytes()].concat()).collect();
    put(at, &words)
}

/// A pipe's ends: to read, to write.
fn pipe(flags: u64) -> Result<(u64, u64), Failure> {
    let ends = map(1);
    ensure_eq!(call(293, &[ends, flags]), 0);
    let bytes = get(ends, 8)?;
    Ok((bytes[0].into(), bytes[4].into()))
}

test!(
    "syscalls",
    fn a_vector_takes_from_a_pipe_what_is_there() {
        task::run_as_task(kernel_context(), || {
            let (reading, writing) = pipe(0)?;
            let memory = map(2);
            put(memory, b"12345")?;
            ensure_eq!(call(1, &[writing, memory, 5]), 5);
            // The first segment is full with it: the second does not wait for more.
            put_vector(memory + 512, &[(memory + 64, 5), (memory + 128, 100)])?;
            ensure_eq!(call(19, &[reading, memory + 512, 2]), 5);
            ensure_eq!(get(memory + 64, 5)?, b"12345");
            // Over both, an empty one between.
            ensure_eq!(call(1, &[writing, memory, 5]), 5);
            put_vector(memory + 512, &[(memory + 64, 2), (0, 0), (memory + 128, 100)])?;
            ensure_eq!(call(19, &[reading, memory + 512, 3]), 5);
            ensure_eq!(get(memory + 128, 3)?, b"345");
            // Up to a hole, and nothing is lost.
            ensure_eq!(call(1, &[writing, memory, 5]), 5);
            ensure_eq!(call(11, &[memory + PAGE, PAGE]), 0);
            put_vector(memory + 512, &[(memory + PAGE - 2, 5), (memory, 100)])?;
            ensure_eq!(call(19, &[reading, memory + 512, 2]), 2);
            ensure_eq!(call(0, &[reading, memory + 64, 100]), 3);
            ensure_eq!(get(memory + 64, 3)?, b"345");
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_small_vector_goes_into_a_pipe_whole_or_not_at_all() {
        task::run_as_task(kernel_context(), || {
            const NONBLOCK: u64 = 0o4000;
            let (reading, writing) = pipe(NONBLOCK)?;
            let memory = map(17);
            ensure_eq!(call(1, &[writing, memory, PIPE - 100]), PIPE as i64 - 100);
            put_vector(memory, &[(memory + 64, 60), (memory + 64, 60)])?;
            ensure_eq!(call(20, &[writing, memory, 2]), -11);
            put_vector(memory, &[(memory + 64, 60), (memory + 64, 40)])?;
            ensure_eq!(call(20, &[writing, memory, 2]), 100);
            // More than the pipe holds goes as far as there is room.
            ensure_eq!(call(0, &[reading, memory, PIPE]), PIPE as i64);
            put_vector(memory, &[(memory + 64, PIPE), (memory + 64, 40)])?;
            ensure_eq!(call(20, &[writing, memory, 2]), PIPE as i64);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_disk_tells_its_block_size_as_an_int() {
        task::run_as_task(kernel_context(), || {
            const BLKBSZGET: u64 = 0x8008_1270;
            let memory = map(1);
            put(memory, b"/dev/vda\0")?;
            let disk = call(2, &[memory, 0, 0]) as u64;
            put(memory, &[0xff; 8])?;
            ensure_eq!(call(16, &[disk, BLKBSZGET, memory]), 0);
            ensure_eq!(get(memory, 8)?, [0, 16, 0, 0, 0xff, 0xff, 0xff, 0xff]);
            Ok(())
        })?
    }
);
