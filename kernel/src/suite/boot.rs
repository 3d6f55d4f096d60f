//! What the boot must have left: the image's protection, clocks that run, functions that the compiler calls.

use alloc::vec;

use drivers::hypervisor::Hypervisor;

use super::TestResult;
use crate::memory::paging;
use crate::{ensure, ensure_eq, runtime, test, time, wait};

test!(
    "boot",
    fn no_page_is_writable_and_executable() {
        ensure_eq!(paging::writable_and_executable(), None);
        Ok(())
    }
);

test!(
    "boot",
    fn nothing_is_mapped_at_low_addresses() {
        for address in [0_u64, 0x1000, 0x20_0000, 0x7fff_ffff_f000] {
            ensure_eq!(paging::kernel_physical(address), None);
        }
        Ok(())
    }
);

test!(
    "boot",
    fn the_monotonic_clock_runs_forwards_at_a_plausible_rate() {
        let start = time::monotonic();
        ensure!(start > 0 && start < 600_000_000_000, "{start} ns since the start");
        let mut last = start;
        for _ in 0..1000 {
            let now = time::monotonic();
            ensure!(now >= last, "{now} after {last}");
            last = now;
        }
        ensure!(last > start);
        Ok(())
    }
);

test!(
    "boot",
    fn the_wall_clock_is_in_this_century() {
        let now = time::now();
        ensure!((1_700_000_000..4_100_000_000).contains(&now.secs), "{now:?}");
        Ok(())
    }
);

test!(
    "boot",
    fn sleeping_takes_as_long_as_asked() {
        for wanted in [100_000_u64, 3_000_000, 20_000_000] {
            let start = time::monotonic();
            wait::until(&|| time::is_due(start + wanted));
            let slept = time::monotonic() - start;
            // An emulator may be late, never early.
            ensure!(slept >= wanted && slept < wanted + 500_000_000, "{slept} ns for {wanted}");
        }
        Ok(())
    }
);

test!(
    "boot",
    fn the_wall_clock_can_be_set() {
        let before = time::now();
        time::set_now(base::time::Timestamp { secs: 1_000_000_000, nanos: 999_999_999 });
        let set = time::now();
        time::set_now(before);
        ensure!((1_000_000_000..1_000_000_002).contains(&set.secs), "{set:?}");
        Ok(())
    }
);

/// Runs `check` with the ways of long copies and fills for each who may run the machine.
fn on_any_machine(check: fn() -> TestResult) -> TestResult {
    let outcome = [Hypervisor::Tcg, Hypervisor::None].into_iter().try_for_each(|hypervisor| {
        runtime::assume(hypervisor);
        check()
    });
    runtime::init();
    outcome
}

/// Distinct bytes, so that a byte from the wrong place is seen.
fn pattern(length: usize) -> alloc::vec::Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

test!(
    "boot",
    fn copies_of_every_length_and_alignment_are_exact() {
        on_any_machine(|| {
            for length in (0..140).chain([255, 256, 257, 511, 512, 513, 1000, 4096, 4099]) {
                for offset in [0, 1, 3, 8, 13] {
                    let source = pattern(length + offset);
                    let mut target = vec![0xee_u8; length + 32];
                    target[offset..offset + length].copy_from_slice(&source[offset..]);
                    ensure!(target[offset..offset + length] == source[offset..], "length {length}, offset {offset}");
                    let untouched = target[..offset].iter().chain(&target[offset + length..]).all(|&byte| byte == 0xee);
                    ensure!(untouched, "length {length}, offset {offset}: bytes around it changed");
                }
            }
            Ok(())
        })
    }
);

test!(
    "boot",
    fn copies_between_pages_that_collide_are_exact() {
        on_any_machine(|| {
            let source = pattern((1 << 20) + 16);
            let mut target = vec![0xee_u8; 1 << 20];
            for length in [512, 600, 1000, 4095, 8192, 8199] {
                // Large blocks begin at a multiple of a megabyte, so the same offset is the same place modulo that.
                for offset in [0, 5, 4096] {
                    target[..16384].fill(0xee);
                    target[offset..offset + length].copy_from_slice(&source[offset..offset + length]);
                    ensure!(target[offset..offset + length] == source[offset..offset + length], "{length} at {offset}");
                    let untouched =
                        target[..offset].iter().chain(&target[offset + length..16384]).all(|&byte| byte == 0xee);
                    ensure!(untouched, "{length} bytes at {offset}: bytes around it changed");
                }
            }
            Ok(())
        })
    }
);

test!(
    "boot",
    fn overlapping_moves_keep_the_bytes() {
        on_any_machine(|| {
            for length in (0..70).chain([100, 256, 513, 1001]) {
                for distance in [1, 2, 7, 8, 9, 31, 64] {
                    let original = pattern(length + distance);
                    let mut up = original.clone();
                    up.copy_within(..length, distance);
                    ensure!(up[distance..] == original[..length], "up: length {length}, distance {distance}");
                    let mut down = original.clone();
                    down.copy_within(distance.., 0);
                    ensure!(down[..length] == original[distance..], "down: length {length}, distance {distance}");
                }
            }
            Ok(())
        })
    }
);

test!(
    "boot",
    fn fills_and_comparisons_of_every_length_are_exact() {
        on_any_machine(|| {
            for length in (0..150).chain([511, 512, 513, 600]) {
                let mut bytes = vec![1_u8; length + 2];
                bytes[1..=length].fill(0xab);
                ensure!(bytes[0] == 1 && bytes[length + 1] == 1, "length {length}");
                ensure!(bytes[1..=length].iter().all(|&byte| byte == 0xab), "length {length}");
                let left = pattern(length);
                ensure!(left == pattern(length), "length {length}");
                for place in 0..length {
                    let mut right = left.clone();
                    right[place] = right[place].wrapping_add(1);
                    let expected = left[place].cmp(&right[place]);
                    ensure!(left.as_slice().cmp(right.as_slice()) == expected, "length {length}, place {place}");
                }
            }
            Ok(())
        })
    }
);
