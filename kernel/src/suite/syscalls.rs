//! Numbers, memory, descriptors, processes: what system calls answer, asked from inside the kernel in the name of a program.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::pointers::{call, get, map, put};
use crate::init::kernel_context;
use crate::syscall::{self, HIGHEST};
use crate::task;
use crate::{ensure, ensure_eq, test};

const PAGE: u64 = 4096;
const ENOSYS: i64 = -38;

test!(
    "syscalls",
    fn a_number_without_a_call_is_enosys() {
        let level = log::max_level();
        log::set_max_level(log::LevelFilter::Off);
        let outcome = task::run_as_task(kernel_context(), || {
            for number in (0..=HIGHEST as u64 + 100).chain([1 << 31, u64::MAX, 0x4000_0000]) {
                if syscall::name_of(number as usize).is_none() {
                    ensure_eq!(call(number, &[]), ENOSYS);
                }
            }
            Ok(())
        });
        log::set_max_level(level);
        outcome?
    }
);

test!(
    "syscalls",
    fn proc_self_is_each_program_itself() {
        let own = || {
            task::run_as_task(kernel_context(), || {
                let area = map(1);
                put(area, b"/proc/self\0")?;
                let length = call(89, &[area, area + 100, 100]);
                ensure!(length > 0, "readlink: {length}");
                let target = get(area + 100, length as usize)?;
                ensure_eq!(String::from_utf8_lossy(&target), call(39, &[]).to_string());
                Ok(target)
            })
        };
        let first = own()??;
        ensure!(own()?? != first);
        // Who is gone is not found any more.
        task::run_as_task(kernel_context(), || {
            let area = map(1);
            put(area, b"/proc/")?;
            put(area + 6, &first)?;
            ensure_eq!(call(21, &[area, 0]), -2);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_socket_gets_a_name_once() {
        task::run_as_task(kernel_context(), || {
            let (area, path) = (map(1), b"/tmp/a socket's name\0");
            put(area, &[1, 0])?;
            put(area + 2, path)?;
            let length = 2 + path.len() as u64;
            let (socket, other) = (call(41, &[1, 1, 0]) as u64, call(41, &[1, 2 | 0o2_000_000, 0]) as u64);
            ensure_eq!(call(41, &[2, 1, 0]), -97);
            ensure_eq!(call(41, &[1, 9, 0]), -94);
            ensure_eq!(call(49, &[socket, area, 1]), -22);
            ensure_eq!(call(49, &[socket, area, length]), 0);
            ensure_eq!(call(49, &[socket, area, length]), -22);
            ensure_eq!(call(49, &[other, area, length]), -98);
            ensure_eq!(call(1, &[socket, area, 1]), -107);
            ensure_eq!(call(4, &[area + 2, area + 1000]), 0);
            // `st_mode` of `struct stat`.
            let mode = get(area + 1024, 4)?;
            ensure_eq!(u32::from_ne_bytes([mode[0], mode[1], mode[2], mode[3]]) & 0o170_000, 0o140_000);
            ensure_eq!(call(2, &[area + 2, 2]), -6);
            ensure_eq!(call(87, &[area + 2]), 0);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn memory_is_mapped_split_moved_and_forgotten() {
        task::run_as_task(kernel_context(), || {
            let area = map(8);
            ensure!(area.is_multiple_of(PAGE) && area > 0);
            ensure_eq!(get(area, 16)?, [0; 16]);
            put(area + 3 * PAGE, b"third")?;
            put(area + 5 * PAGE, b"fifth")?;
            // A hole in the middle.
            ensure_eq!(call(11, &[area + 4 * PAGE, PAGE]), 0);
            ensure!(get(area + 4 * PAGE, 1).is_err());
            ensure_eq!(get(area + 3 * PAGE, 5)?, b"third");
            // Not touchable, then as it was.
            ensure_eq!(call(10, &[area + 3 * PAGE, PAGE, 0]), 0);
            ensure!(get(area + 3 * PAGE, 1).is_err());
            ensure_eq!(call(10, &[area + 3 * PAGE, PAGE, 3]), 0);
            ensure_eq!(get(area + 3 * PAGE, 5)?, b"third");
            // Not writable.
            ensure_eq!(call(10, &[area + 3 * PAGE, PAGE, 1]), 0);
            ensure!(put(area + 3 * PAGE, b"x").is_err());
            // Over the hole: what is mapped before it stays unchanged.
            ensure_eq!(call(10, &[area, 8 * PAGE, 1]), -12);
            // Moved, content and all, and grown.
            let moved = call(25, &[area + 5 * PAGE, PAGE, 4 * PAGE, 1, 0]);
            ensure!(moved > 0 && moved as u64 != area + 5 * PAGE, "{moved}");
            ensure_eq!(get(moved as u64, 5)?, b"fifth");
            ensure_eq!(get(moved as u64 + 3 * PAGE, 4)?, [0; 4]);
            ensure!(get(area + 5 * PAGE, 1).is_err());
            // Forgotten: zeros again.
            ensure_eq!(call(28, &[moved as u64, PAGE, 4]), 0);
            ensure_eq!(get(moved as u64, 5)?, [0; 5]);
            // There, and only if free.
            ensure_eq!(call(9, &[moved as u64, PAGE, 3, 0x10_0022, u64::MAX, 0]), -17);
            ensure_eq!(call(9, &[area + 4 * PAGE, PAGE, 3, 0x10_0022, u64::MAX, 0]) as u64, area + 4 * PAGE);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn memory_comes_back_when_a_program_ends() {
        let free = || crate::memory::frames::usage().free;
        let round = || {
            task::run_as_task(kernel_context(), || {
                let area = map(512);
                for page in 0..512 {
                    put(area + page * PAGE, &[1])?;
                }
                ensure_eq!(call(10, &[area, 100 * PAGE, 0]), 0);
                Ok(())
            })
        };
        round()??;
        let before = free();
        for _ in 0..4 {
            round()??;
        }
        let after = free();
        ensure!(after + 64 * PAGE >= before, "{} KiB are missing", (before - after) / 1024);
        Ok(())
    }
);

test!(
    "syscalls",
    fn more_memory_than_there_is_is_refused_and_harms_nobody() {
        task::run_as_task(kernel_context(), || {
            let total = crate::memory::frames::usage().total;
            let area = map(total / PAGE + 1024);
            ensure!(area as i64 > 0);
            let mut failed = false;
            for page in 0..total / PAGE + 1024 {
                if put(area + page * PAGE, &[1]).is_err() {
                    failed = true;
                    break;
                }
            }
            ensure!(failed);
            ensure_eq!(call(11, &[area, total + 1024 * PAGE]), 0);
            let again = map(16);
            put(again, b"still here")?;
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_private_mapping_of_a_file_shows_it_and_keeps_changes_to_itself() {
        task::run_as_task(kernel_context(), || {
            let names = map(1);
            put(names, b"/tmp/mapped\0")?;
            let fd = call(2, &[names, 0o102, 0o644]) as u64;
            let content: Vec<u8> = (0..5000_u32).map(|index| (index / 7) as u8).collect();
            let buffer = map(2);
            put(buffer, &content)?;
            ensure_eq!(call(1, &[fd, buffer, 5000]), 5000);
            let mapped = call(9, &[0, 3 * PAGE, 3, 2, fd, 0]) as u64;
            ensure_eq!(get(mapped, 5000)?, content);
            // After the end of the file: zeros to the end of the page, then nothing.
            ensure_eq!(get(mapped + 5000, 100)?, [0; 100]);
            ensure!(get(mapped + 2 * PAGE, 1).is_err());
            put(mapped, b"mine")?;
            ensure_eq!(call(17, &[fd, buffer, 4, 0]), 4);
            ensure_eq!(get(buffer, 4)?, content[..4]);
            // From an offset, and after the descriptor is closed.
            let second = call(9, &[0, PAGE, 1, 2, fd, PAGE]) as u64;
            ensure_eq!(call(3, &[fd]), 0);
            ensure_eq!(get(second, 904)?, content[4096..]);
            ensure!(put(second, b"x").is_err());
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_shared_mapping_and_its_file_are_one() {
        task::run_as_task(kernel_context(), || {
            let names = map(1);
            put(names, b"/tmp/shared\0")?;
            let fd = call(2, &[names, 0o102, 0o644]) as u64;
            ensure_eq!(call(77, &[fd, 2 * PAGE]), 0);
            let first = call(9, &[0, 2 * PAGE, 3, 1, fd, 0]) as u64;
            let second = call(9, &[0, PAGE, 1, 1, fd, PAGE]) as u64;
            let buffer = map(1);
            // Stores reach other mappings at once, and whoever reads the file.
            put(first + PAGE + 10, b"stored")?;
            ensure_eq!(get(second + 10, 6)?, b"stored");
            ensure_eq!(call(17, &[fd, buffer, 6, PAGE + 10]), 6);
            ensure_eq!(get(buffer, 6)?, b"stored");
            // Writes reach the mappings.
            put(buffer, b"written")?;
            ensure_eq!(call(18, &[fd, buffer, 7, PAGE + 20]), 7);
            ensure_eq!(get(second + 20, 7)?, b"written");
            // A page that the file no longer has is gone, and comes back empty.
            ensure_eq!(call(77, &[fd, 100]), 0);
            ensure!(get(second, 1).is_err());
            ensure_eq!(call(77, &[fd, 2 * PAGE]), 0);
            ensure_eq!(get(first + PAGE, 100)?, [0; 100]);
            // The last mapping writes what it has when it goes.
            put(first + 50, b"kept")?;
            ensure_eq!(call(26, &[first, PAGE, 4]), 0);
            put(first + 60, b"too")?;
            ensure_eq!(call(11, &[first, 2 * PAGE]), 0);
            ensure_eq!(call(11, &[second, PAGE]), 0);
            ensure_eq!(call(17, &[fd, buffer, 20, 50]), 20);
            ensure_eq!(get(buffer, 4)?, b"kept");
            ensure_eq!(get(buffer + 10, 3)?, b"too");
            // Not without the right to write the file.
            let reader = call(2, &[names, 0, 0]) as u64;
            ensure_eq!(call(9, &[0, PAGE, 3, 1, reader, 0]), -13);
            let mapped = call(9, &[0, PAGE, 1, 1, reader, 0]) as u64;
            ensure_eq!(call(10, &[mapped, PAGE, 3]), -13);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn the_heap_grows_shrinks_and_stays_within_its_bounds() {
        task::run_as_task(kernel_context(), || {
            let start = call(12, &[0]) as u64;
            ensure_eq!(call(12, &[start + 2 * PAGE + 5]) as u64, start + 2 * PAGE + 5);
            put(start + 2 * PAGE, b"heap")?;
            ensure_eq!(call(12, &[start + 10]) as u64, start + 10);
            ensure!(get(start + 2 * PAGE, 1).is_err());
            ensure_eq!(call(12, &[start + 3 * PAGE]) as u64, start + 3 * PAGE);
            ensure_eq!(get(start + 2 * PAGE, 4)?, [0; 4]);
            // What cannot be is answered with the end as it is.
            for bad in [start - 1, 1 << 50, u64::MAX] {
                ensure_eq!(call(12, &[bad]) as u64, start + 3 * PAGE);
            }
            // Not over another mapping.
            ensure_eq!(call(9, &[start + 8 * PAGE, PAGE, 3, 0x32, u64::MAX, 0]) as u64, start + 8 * PAGE);
            ensure_eq!(call(12, &[start + 9 * PAGE]) as u64, start + 3 * PAGE);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn descriptors_are_the_lowest_free_and_close_once() {
        task::run_as_task(kernel_context(), || {
            let names = map(1);
            put(names, b"/dev/null\0")?;
            for fd in 0..4 {
                ensure_eq!(call(2, &[names, 2, 0]), fd);
            }
            ensure_eq!(call(3, &[1]), 0);
            ensure_eq!(call(3, &[1]), -9);
            ensure_eq!(call(32, &[3]), 1);
            ensure_eq!(call(33, &[3, 100]), 100);
            ensure_eq!(call(292, &[3, 3, 0]), -22);
            ensure_eq!(call(72, &[100, 1, 0]), 0);
            ensure_eq!(call(72, &[100, 2, 1]), 0);
            ensure_eq!(call(72, &[100, 1, 0]), 1);
            ensure_eq!(call(436, &[2, u64::from(u32::MAX), 0]), 0);
            ensure_eq!(call(72, &[100, 1, 0]), -9);
            for bad in [2, -1_i64 as u64, 1 << 31, 5000] {
                ensure_eq!(call(0, &[bad, names, 1]), -9);
                ensure_eq!(call(16, &[bad, 0x5401, names]), -9);
            }
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn the_character_devices_do_what_they_are_for() {
        task::run_as_task(kernel_context(), || {
            let memory = map(2);
            let open = |path: &[u8]| {
                put(memory, path)?;
                Ok::<_, super::Failure>(call(2, &[memory, 2, 0]) as u64)
            };
            let null = open(b"/dev/null\0")?;
            ensure_eq!(call(1, &[null, memory, 4096]), 4096);
            ensure_eq!(call(0, &[null, memory, 4096]), 0);
            let zero = open(b"/dev/zero\0")?;
            put(memory, &[7; 64])?;
            ensure_eq!(call(0, &[zero, memory, 64]), 64);
            ensure_eq!(get(memory, 64)?, [0; 64]);
            let full = open(b"/dev/full\0")?;
            ensure_eq!(call(1, &[full, memory, 1]), -28);
            let random = open(b"/dev/urandom\0")?;
            ensure_eq!(call(0, &[random, memory, 64]), 64);
            let first = get(memory, 64)?;
            ensure_eq!(call(318, &[memory, 64, 0]), 64);
            ensure!(first != [0; 64] && get(memory, 64)? != first);
            let console = open(b"/dev/console\0")?;
            ensure_eq!(call(16, &[console, 0x5401, memory]), 0);
            ensure_eq!(call(16, &[console, 0x5413, memory]), 0);
            ensure_eq!(get(memory, 4)?, [24, 0, 80, 0]);
            ensure_eq!(call(16, &[console, 0x1234, memory]), -25);
            ensure_eq!(call(8, &[console, 0, 0]), -29);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn proc_tells_of_mounts_memory_and_the_process_itself() {
        task::run_as_task(kernel_context(), || {
            let memory = map(3);
            let read = |path: &str| {
                put(memory, path.as_bytes())?;
                put(memory + path.len() as u64, &[0])?;
                let fd = call(2, &[memory, 0, 0]);
                ensure!(fd >= 0, "{path}: {fd}");
                let length = call(0, &[fd as u64, memory, 8192]);
                call(3, &[fd as u64]);
                ensure!(length >= 0, "{path}: {length}");
                get(memory, length as usize)
            };
            let has = |text: &[u8], word: &str| text.windows(word.len()).any(|window| window == word.as_bytes());
            let mounts = read("/proc/mounts")?;
            for word in [" / ", "/proc proc ", "/dev ", "/tmp tmpfs "] {
                ensure!(has(&mounts, word), "no `{word}` in /proc/mounts");
            }
            ensure!(has(&read("/proc/self/mountinfo")?, " - proc proc "));
            ensure!(has(&read("/proc/meminfo")?, "MemTotal:"));
            ensure!(has(&read("/proc/version")?, "Strata"));
            ensure!(has(&read("/proc/filesystems")?, "\text4\n"));
            ensure!(has(&read("/proc/self/maps")?, "rw-p"));
            ensure!(has(&read("/proc/self/status")?, "Uid:\t0\t0\t0\t0\n"));
            for name in ["uptime", "cpuinfo", "stat", "loadavg", "cmdline", "partitions", "self/stat", "self/statm"] {
                ensure!(!read(&alloc::format!("/proc/{name}"))?.is_empty(), "{name} is empty");
            }
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn a_descriptors_link_in_proc_leads_to_the_file_itself() {
        task::run_as_task(kernel_context(), || {
            const TMPFILE_FOR_BOTH: u64 = 0o20_200_002;
            const AT_FDCWD: u64 = -100_i64 as u64;
            const AT_SYMLINK_FOLLOW: u64 = 0x400;
            let memory = map(3);
            let (named, link, result) = (memory, memory + PAGE, memory + 2 * PAGE);
            put(link, b"/tmp\0")?;
            let file = call(2, &[link, TMPFILE_FOR_BOTH, 0o644]);
            ensure!(file >= 0, "{file}");
            ensure_eq!(call(1, &[file as u64, link, 4]), 4);
            put(named, b"/tmp/linked\0")?;
            put(link, alloc::format!("/proc/self/fd/{file}\0").as_bytes())?;
            // The link itself is of another filesystem.
            ensure_eq!(call(265, &[AT_FDCWD, link, AT_FDCWD, named, 0]), -18);
            ensure_eq!(call(265, &[AT_FDCWD, link, AT_FDCWD, named, AT_SYMLINK_FOLLOW]), 0);
            ensure_eq!(call(4, &[named, result]), 0);
            ensure_eq!(get(result + 48, 8)?, 4_u64.to_le_bytes());
            // Without a name once more, it is still behind its link.
            ensure_eq!(call(87, &[named]), 0);
            put(link, alloc::format!("/dev/fd/{file}\0").as_bytes())?;
            let again = call(2, &[link, 2, 0]);
            ensure!(again >= 0, "{again}");
            ensure_eq!(call(0, &[again as u64, result, 16]), 4);
            ensure_eq!(get(result, 4)?, *b"/tmp");
            call(3, &[again as u64]);
            call(3, &[file as u64]);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn what_proc_shows_of_a_process_is_its_users() {
        task::run_as_task(kernel_context(), || {
            let memory = map(2);
            let (path, result) = (memory, memory + PAGE);
            put(path, b"/tmp/input\0")?;
            ensure_eq!(call(2, &[path, 0o102, 0o644]), 0);
            ensure_eq!(call(117, &[1000, 1000, 1000]), 0);
            for name in [&b"/proc/self/fd\0"[..], b"/proc/self/fd/0\0", b"/proc/self/status\0"] {
                put(path, name)?;
                ensure_eq!(call(4, &[path, result]), 0);
                let whole = call(2, &[path, 0, 0]);
                ensure!(whole > 0, "{}: {whole}", String::from_utf8_lossy(&name[..name.len() - 1]));
                call(3, &[whole as u64]);
            }
            // The last is the process's own: st_uid.
            ensure_eq!(get(result + 28, 4)?, 1000_u32.to_le_bytes());
            put(path, b"/proc/meminfo\0")?;
            ensure_eq!(call(4, &[path, result]), 0);
            ensure_eq!(get(result + 28, 4)?, [0; 4]);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn clocks_run_and_sleeping_takes_its_time() {
        task::run_as_task(kernel_context(), || {
            let memory = map(1);
            let clock = |clock: u64| {
                ensure_eq!(call(228, &[clock, memory]), 0);
                let bytes = get(memory, 16)?;
                let word = |at: usize| i64::from_le_bytes(core::array::from_fn(|byte| bytes[at + byte]));
                Ok::<_, super::Failure>(word(0) * 1_000_000_000 + word(8))
            };
            let before = clock(1)?;
            put(memory, &0_i64.to_le_bytes())?;
            put(memory + 8, &5_000_000_i64.to_le_bytes())?;
            ensure_eq!(call(35, &[memory, 0]), 0);
            ensure!(clock(1)? - before >= 5_000_000);
            ensure!(clock(0)? > 1_600_000_000_000_000_000);
            put(memory + 8, &1_000_000_000_i64.to_le_bytes())?;
            ensure_eq!(call(35, &[memory, 0]), -22);
            ensure_eq!(call(228, &[77, memory]), -22);
            Ok(())
        })?
    }
);

test!(
    "syscalls",
    fn ids_follow_the_rules_of_setuid() {
        task::run_as_task(kernel_context(), || {
            ensure_eq!(call(102, &[]), 0);
            ensure_eq!(call(117, &[1000, 1000, 0]), 0);
            ensure_eq!(call(107, &[]), 1000);
            ensure_eq!(call(105, &[5]), -1);
            let memory = map(1);
            put(memory, b"/\0")?;
            ensure_eq!(call(161, &[memory]), -1);
            ensure_eq!(call(117, &[u64::from(u32::MAX), 0, u64::from(u32::MAX)]), 0);
            ensure_eq!(call(107, &[]), 0);
            Ok(())
        })?
    }
);
