//! Boots the kernel in QEMU: the suites on every machine type, and what it says when it fails.
//!
//! One emulator runs at a time: they would only take each other's processors.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

const MACHINES: [&str; 3] = ["microvm", "q35", "pc"];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Guest {
    status: i32,
    output: String,
    errors: String,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../qemu-run.sh")
}

fn run(arguments: &[&str]) -> Guest {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Output { status, stdout, stderr } = Command::new("timeout")
        .arg("120")
        .arg(script())
        .arg(env!("CARGO_BIN_EXE_kernel"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the script and `timeout` are there");
    Guest {
        status: status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&stdout).replace('\r', ""),
        errors: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Guest {
    #[track_caller]
    fn must_pass(&self, what: &str) {
        assert_eq!(self.status, 0, "{what}:\n{}\n{}", self.output, self.errors);
        assert!(self.output.contains(" passed, 0 failed"), "{what}:\n{}", self.output);
    }
}

#[test]
fn all_suites_pass_on_every_machine() {
    for machine in MACHINES {
        run(&["--suite", "*", "--machine", machine]).must_pass(machine);
    }
}

#[test]
fn all_suites_pass_in_64_mib_and_with_a_plain_processor() {
    run(&["--suite", "*", "--memory", "64"]).must_pass("64 MiB");
    run(&["--suite", "*", "--cpu", "qemu64", "--machine", "q35"]).must_pass("qemu64");
}

#[test]
fn more_disks_and_an_entropy_device_are_found() {
    let guest = run(&[
        "--suite",
        "drivers",
        "--machine",
        "q35",
        "--scratch",
        "--scratch",
        "--cpu",
        "qemu64",
        "--append",
        "log=info",
        "--qemu-arg",
        "-device",
        "--qemu-arg",
        "virtio-rng-pci",
    ]);
    guest.must_pass("drivers");
    assert!(guest.output.contains("vdd"), "{}", guest.output);
    assert!(guest.output.contains("seeded by Device"), "{}", guest.output);
}

#[test]
fn memory_above_four_gigabytes_is_used() {
    let guest = run(&["--suite", "memory", "--memory", "5120", "--machine", "q35"]);
    guest.must_pass("5 GiB");
    let megabytes = guest.output.split_once("memory ").and_then(|(_, rest)| rest.split_whitespace().next());
    let megabytes: u32 = megabytes.and_then(|text| text.parse().ok()).expect("the memory's size is printed");
    assert!((5000..=5120).contains(&megabytes), "{}", guest.output);
}

#[test]
fn a_pattern_without_a_test_is_a_failure() {
    let guest = run(&["--suite", "no-such-suite"]);
    assert_eq!(guest.status, 1);
    assert!(guest.output.contains("0 passed, 0 failed"), "{}", guest.output);
    assert!(guest.output.contains("no test matches `no-such-suite`"), "{}", guest.output);
}

#[test]
fn every_way_to_crash_is_reported_and_ends_with_a_status() {
    let ways = [
        ("reading_a_null_pointer", "page fault in the kernel at 0x", "reading 0x8: not mapped"),
        ("writing_to_read_only_data", "page fault", "not allowed"),
        ("writing_to_text_through_the_direct_map", "page fault", "not allowed"),
        ("executing_data", "page fault", "executing"),
        ("overflowing_the_stack", "page fault", "the kernel's stack overflowed"),
        ("an_undefined_instruction", "invalid opcode in the kernel", "rax"),
        ("an_address_that_is_not_canonical", "general protection fault", "rip"),
        ("a_panic", "panicked at", "on purpose"),
        ("an_allocation_that_cannot_fail", "panicked at", "memory allocation of 35184372088832 bytes failed"),
    ];
    for (test, kind, detail) in ways {
        let guest = run(&["--suite", &format!("crash::{test}")]);
        assert_eq!(guest.status, 3, "{test}:\n{}\n{}", guest.output, guest.errors);
        assert!(guest.output.contains("panic: "), "{test}:\n{}", guest.output);
        assert!(guest.output.contains(kind), "{test}:\n{}", guest.output);
        assert!(detail == "rip" || guest.output.contains(detail), "{test}:\n{}", guest.output);
    }
}

#[test]
fn every_machine_switches_off_and_starts_again() {
    for machine in MACHINES {
        for test in ["switching_off", "starting_again"] {
            // The script lets a machine that resets end, and misses the suites' result.
            let guest = run(&["--suite", &format!("power::{test}"), "--machine", machine]);
            assert_eq!(guest.status, 2, "{machine} {test}:\n{}\n{}", guest.output, guest.errors);
            assert!(guest.errors.contains("stopped without a result"), "{machine} {test}: {}", guest.errors);
            assert!(!guest.output.contains("panic"), "{machine} {test}:\n{}", guest.output);
        }
    }
}

#[test]
fn the_command_line_is_checked_and_the_boot_goes_on() {
    let guest = run(&["--suite", "boot", "--append", "quiet overlay=rum"]);
    guest.must_pass("boot");
    assert!(guest.output.contains("warning: command line: unknown parameter `quiet`"), "{}", guest.output);
    assert!(guest.output.contains("`overlay=rum` ignored: expected disk, ram or ro"), "{}", guest.output);
}

#[test]
fn wrong_options_of_the_script_are_named() {
    for (arguments, complaint) in [
        (&["--machine", "vax"][..], "--machine takes pc, q35 or microvm, not vax"),
        (&["--memory", "lots"], "--memory takes a number of MiB, not lots"),
        (&["--firmware", "/no/such.tar"], "--firmware: cannot read /no/such.tar"),
        (&["--disk", "/no/such.img"], "--disk: cannot read /no/such.img"),
        (&["--init", "bin/sh"], "--init takes an absolute path"),
        (&["--suite"], "--suite needs a value"),
        (&["--frobnicate"], "unknown option --frobnicate"),
        (&["--memory=64"], "write the value as a word of its own: --memory 64"),
    ] {
        let guest = run(arguments);
        assert_eq!(guest.status, 2, "{arguments:?}: {}", guest.errors);
        assert!(guest.errors.contains(complaint), "{arguments:?}: {}", guest.errors);
    }
}

#[test]
fn a_dry_run_prints_the_command_and_boots_nothing() {
    let guest = run(&["--dry-run", "--suite", "*", "--machine", "pc", "--memory", "99"]);
    assert_eq!(guest.status, 0, "{}", guest.errors);
    assert!(guest.output.starts_with("qemu-system-x86_64 "), "{}", guest.output);
    assert!(guest.output.contains("-m 99") && guest.output.contains("virtio-blk-pci"), "{}", guest.output);
}

/// A hole in the read, write and execute rights of the image would be a hole in all of the kernel's protection.
#[test]
fn no_segment_of_the_image_is_writable_and_executable() {
    let image = std::fs::read(env!("CARGO_BIN_EXE_kernel")).expect("the kernel was built");
    let word = |at: usize, bytes: usize| {
        image[at..at + bytes].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let (table, entries) = (word(32, 8) as usize, word(56, 2) as usize);
    let mut loads = 0;
    for at in (0..entries).map(|index| table + 56 * index) {
        let (kind, flags) = (word(at, 4), word(at + 4, 4));
        assert_ne!(flags & 3, 3, "segment {at:#x} is writable and executable");
        loads += u32::from(kind == 1);
    }
    assert_eq!(loads, 3, "text, read-only data and data");
}
