//! Shared mappings and the calls that change the file behind them; what cannot be mapped.

use super::Failure;
use super::pointers::{call, get, map, put};
use crate::init::kernel_context;
use crate::task;
use crate::{ensure, ensure_eq, test};

const PAGE: u64 = 4096;

/// A file of two pages of `-` at this path, mapped shared: its descriptor, and where.
fn mapped(path: &[u8]) -> Result<(u64, u64), Failure> {
    let names = map(1);
    put(names, path)?;
    let fd = call(2, &[names, 0o1102, 0o644]) as u64;
    let content = map(2);
    put(content, &[b'-'; 2 * PAGE as usize])?;
    ensure_eq!(call(1, &[fd, content, 2 * PAGE]), 2 * PAGE as i64);
    let at = call(9, &[0, 2 * PAGE, 3, 1, fd, 0]);
    ensure!(at > 0, "mmap: {at}");
    Ok((fd, at as u64))
}

/// What the file holds there.
fn content(fd: u64, offset: u64, length: usize) -> Result<alloc::vec::Vec<u8>, Failure> {
    let buffer = map(2);
    let count = call(17, &[fd, buffer, length as u64, offset]);
    ensure!(count >= 0, "pread64: {count}");
    get(buffer, count as usize)
}

test!(
    "syscalls",
    fn text_that_is_made_anew_at_each_read_is_not_mapped() {
        task::run_as_task(kernel_context(), || {
            let names = map(1);
            for path in [&b"/proc/self/maps\0"[..], b"/proc/self/stat\0", b"/proc/meminfo\0"] {
                put(names, path)?;
                let fd = call(2, &[names, 0, 0]) as u64;
                for sharing in [1, 2] {
                    let at = call(9, &[0, PAGE, 1, sharing, fd, 0]);
                    if at > 0 {
                        // A kernel that maps it finds out here what that means.
                        get(at as u64, 1)?;
                    }
                    ensure_eq!(at, -5);
                }
            }
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_store_to_a_mapping_survives_truncate_by_path() {
        task::run_as_task(kernel_context(), || {
            let (fd, at) = mapped(b"/tmp/truncated\0")?;
            let names = map(1);
            put(names, b"/tmp/truncated\0")?;
            put(at + 10, b"X")?;
            ensure_eq!(call(76, &[names, 100]), 0);
            ensure_eq!(get(at + 9, 3)?, b"-X-");
            ensure_eq!(content(fd, 9, 3)?, b"-X-");
            ensure!(get(at + PAGE, 1).is_err());
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn what_was_stored_past_the_end_is_not_there_when_the_file_grows() {
        task::run_as_task(kernel_context(), || {
            let (fd, at) = mapped(b"/tmp/grown\0")?;
            ensure_eq!(call(77, &[fd, 100]), 0);
            put(at + 99, b"AB")?;
            ensure_eq!(call(77, &[fd, 2 * PAGE]), 0);
            ensure_eq!(content(fd, 99, 2)?, b"A\0");
            ensure_eq!(get(at + 99, 2)?, b"A\0");
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_mapping_made_before_the_copy_up_sees_what_is_written_after_by_any_name() {
        task::run_as_task(kernel_context(), || {
            let texts = map(1);
            let text = |at: u64, text: &[u8]| put(texts + at, text).map(|()| texts + at);
            for dir in [&b"/tmp/ov\0"[..], b"/tmp/ov/l\0", b"/tmp/ov/u\0", b"/tmp/ov/w\0", b"/tmp/ov/m\0"] {
                ensure_eq!(call(83, &[text(0, dir)?, 0o755]), 0);
            }
            let (fd, first) = mapped(b"/tmp/ov/l/f\0")?;
            ensure_eq!(call(11, &[first, 2 * PAGE]), 0);
            ensure_eq!(call(3, &[fd]), 0);
            ensure_eq!(call(86, &[text(0, b"/tmp/ov/l/f\0")?, text(64, b"/tmp/ov/l/g\0")?]), 0);
            let (kind, target) = (text(0, b"overlay\0")?, text(64, b"/tmp/ov/m\0")?);
            let options = text(128, b"lowerdir=/tmp/ov/l,upperdir=/tmp/ov/u,workdir=/tmp/ov/w,index=on\0")?;
            ensure_eq!(call(165, &[kind, target, kind, 0, options]), 0);

            let (path, other) = (text(0, b"/tmp/ov/m/f\0")?, text(256, b"/tmp/ov/m/g\0")?);
            let reader = call(2, &[path, 0, 0]) as u64;
            // Device, inode number and links.
            let identity = |path: u64| {
                ensure_eq!(call(4, &[path, texts + 1024]), 0);
                get(texts + 1024, 24)
            };
            let before = identity(path)?;
            ensure_eq!(before[16], 2);
            let mapping = call(9, &[0, 2 * PAGE, 1, 1, reader, 0]) as u64;
            // One page was touched before, the other was not.
            ensure_eq!(get(mapping + 10, 3)?, b"---");
            let writer = call(2, &[other, 2, 0]) as u64;
            ensure_eq!(identity(path)?, before);
            ensure_eq!(identity(other)?, before);
            for at in [10, PAGE + 10] {
                ensure_eq!(call(18, &[writer, text(512, b"new")?, 3, at]), 3);
                ensure_eq!(get(mapping + at - 1, 5)?, b"-new-");
            }
            // A store to a mapping made after it is seen, too.
            let stores = call(9, &[0, 2 * PAGE, 3, 1, writer, 0]) as u64;
            put(stores + 20, b"stored")?;
            ensure_eq!(get(mapping + 20, 6)?, b"stored");
            ensure_eq!(content(reader, 20, 6)?, b"stored");
            for at in [mapping, stores] {
                ensure_eq!(call(11, &[at, 2 * PAGE]), 0);
            }
            for fd in [reader, writer] {
                ensure_eq!(call(3, &[fd]), 0);
            }
            ensure_eq!(call(166, &[target, 0]), 0);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn every_way_to_open_and_cut_a_file_empties_its_mappings() {
        task::run_as_task(kernel_context(), || {
            let names = map(1);
            put(names, b"/tmp/cut\0")?;
            let how = names + 64;
            let ways: [&dyn Fn() -> i64; 3] =
                [&|| call(2, &[names, 0o1001, 0]), &|| call(85, &[names, 0o644]), &|| {
                    call(437, &[-100_i64 as u64, names, how, 24])
                }];
            for open in ways {
                let (fd, at) = mapped(b"/tmp/cut\0")?;
                put(names, b"/tmp/cut\0")?;
                put(how, &[0; 24])?;
                put(how, &0o1001_u64.to_le_bytes())?;
                put(at + 10, b"X")?;
                ensure!(open() > 0);
                ensure!(get(at, 1).is_err());
                ensure_eq!(call(77, &[fd, PAGE]), 0);
                put(at, b"Y")?;
                ensure_eq!(content(fd, 0, 12)?, b"Y\0\0\0\0\0\0\0\0\0\0\0");
                ensure_eq!(call(11, &[at, 2 * PAGE]), 0);
            }
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_heap_that_shrinks_over_a_mapping_keeps_what_was_stored_in_it() {
        task::run_as_task(kernel_context(), || {
            let (fd, at) = mapped(b"/tmp/heap\0")?;
            ensure_eq!(call(11, &[at, 2 * PAGE]), 0);
            let base = call(12, &[0]) as u64;
            ensure_eq!(call(12, &[base + 4 * PAGE]) as u64, base + 4 * PAGE);
            ensure_eq!(call(9, &[base + PAGE, PAGE, 3, 0x11, fd, 0]) as u64, base + PAGE);
            put(base + PAGE + 10, b"X")?;
            ensure_eq!(call(12, &[base]) as u64, base);
            ensure!(get(base + PAGE, 1).is_err());
            ensure_eq!(content(fd, 9, 3)?, b"-X-");
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_program_has_only_so_many_mappings() {
        task::run_as_task(kernel_context(), || {
            const MOST: u64 = 65_530;
            const BASE: u64 = 0x10_0000_0000;
            let mut made = 0;
            // Every second page.
            while made <= MOST && call(9, &[BASE + 2 * made * PAGE, PAGE, 3, 0x32, u64::MAX, 0]) > 0 {
                made += 1;
            }
            ensure!(made <= MOST, "there is no end to them");
            ensure_eq!(call(9, &[0, PAGE, 3, 0x22, u64::MAX, 0]), -12);
            // Those that are there can be changed and taken away.
            ensure_eq!(call(10, &[BASE, PAGE, 1]), 0);
            ensure_eq!(call(11, &[BASE, 2 * made * PAGE]), 0);
            let wide = map(8);
            put(wide, b"again")?;
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_program_that_takes_all_memory_leaves_the_kernel_enough_for_its_names() {
        task::run_as_task(kernel_context(), || {
            let total = crate::memory::frames::usage().total;
            let names = map(1);
            put(names, &[1])?;
            let area = map(total / PAGE);
            let taken = (0..total / PAGE).take_while(|page| put(area + page * PAGE, &[1]).is_ok()).count() as u64;
            ensure!(taken < total / PAGE);
            for number in 0..20_000_u32 {
                put(names, alloc::format!("/tmp/a-name-that-is-not-there-but-remembered-{number}\0").as_bytes())?;
                ensure_eq!(call(21, &[names, 0]), -2);
            }
            // The program goes on once it gave back what the names may take.
            ensure_eq!(call(28, &[area, 2048 * PAGE, 4]), 0);
            for page in 0..64 {
                put(area + page * PAGE, &[1])?;
            }
            Ok(())
        })?
    }
);
