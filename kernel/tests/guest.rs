//! Boots the kernel in QEMU: the suites on every machine type, and what it says when it fails.
//!
//! One emulator runs at a time: they would only take each other's processors.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
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
    run_with(Command::new("timeout").arg("900").arg(script()).arg(env!("CARGO_BIN_EXE_kernel")).args(arguments), "")
}

/// Runs `command` with `input` on its standard input.
fn run_with(command: &mut Command, input: &str) -> Guest {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the script and `timeout` are there");
    let mut pipe = child.stdin.take().expect("it is piped");
    // The child may have ended without reading.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the child was started");
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

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strata-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary directory takes directories");
        Self(path)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/bash\n{text}\n")).expect("just made");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("just written");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `PATH` with what the script needs, save QEMU, and a user of number `user`.
fn without_qemu(name: &str, user: u32) -> Scratch {
    let path = Scratch::new(name);
    for tool in [
        "bash", "env", "dirname", "od", "tr", "grep", "cat", "mktemp", "rm", "truncate", "stat", "head", "sleep",
        "find",
    ] {
        let place =
            ["/usr/bin", "/bin"].map(|place| Path::new(place).join(tool)).into_iter().find(|path| path.exists());
        symlink(place.expect("every system has it"), path.0.join(tool)).expect("an empty directory");
    }
    path.program("id", &format!("echo {user}"));
    path
}

fn run_in(path: &Scratch) -> Guest {
    let mut command = Command::new(script());
    command.arg(env!("CARGO_BIN_EXE_kernel")).args(["--suite", "x"]).env("PATH", &path.0);
    run_with(&mut command, "")
}

#[test]
fn a_missing_qemu_is_installed_by_the_systems_package_manager_after_saying_so() {
    let path = without_qemu("installs", 0);
    let fake = path.0.join("qemu-system-x86_64");
    // The package's program passes every suite.
    path.program(
        "apt-get",
        &format!(
            "[[ $1 == install ]] && {{ printf '#!/bin/bash\\nexit 33\\n' >{0}; /bin/chmod 755 {0}; }}",
            fake.display()
        ),
    );
    let guest = run_in(&path);
    assert_eq!(guest.status, 0, "{}", guest.errors);
    let said = "installing it: apt-get install -y --no-install-recommends qemu-system-x86";
    assert!(guest.errors.contains(said), "{}", guest.errors);
}

#[test]
fn a_missing_qemu_that_may_not_be_installed_is_an_error_with_the_command() {
    let path = without_qemu("may-not", 1000);
    path.program("apt-get", "exit 1");
    let guest = run_in(&path);
    assert_eq!(guest.status, 2, "{}", guest.errors);
    let command = "Install it with: sudo apt-get install -y --no-install-recommends qemu-system-x86";
    assert!(guest.errors.contains(command), "{}", guest.errors);
}

/// The demonstration firmware, made if need be.
fn firmware() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_kernel")).ancestors().nth(2).expect("target/profile/kernel");
    let tar = target.join("firmware.tar");
    let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("user/mkfirmware.sh"))
        .arg(&tar)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("the script is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    tar
}

/// Boots the demonstration with `input` at its console.
fn converse(input: &str, arguments: &[&str]) -> Guest {
    firmware();
    let mut command = Command::new("timeout");
    command.arg("60").arg(script()).arg(env!("CARGO_BIN_EXE_kernel")).args(arguments);
    run_with(&mut command, input)
}

#[test]
fn commands_from_a_pipe_are_carried_out_to_the_last_and_its_end_powers_off() {
    for machine in MACHINES {
        // Many more bytes than the serial port holds, sent before the kernel listens, and no new line at the end.
        let mut input: String = (0..40).map(|line| format!("echo line {line} of a script\n")).collect();
        input.push_str("echo the very end");
        let guest = converse(&input, &["--ram-upper", "--machine", machine]);
        assert_eq!(guest.status, 0, "{machine}:\n{}\n{}", guest.output, guest.errors);
        for line in 0..40 {
            assert!(guest.output.contains(&format!("\nline {line} of a script\n")), "{machine}:\n{}", guest.output);
        }
        assert!(guest.output.contains("\nthe very end\n"), "{machine}:\n{}", guest.output);
    }
}

#[test]
fn the_demonstration_boots_in_32_mib() {
    let guest = converse("ls /etc\n", &["--ram-upper", "--memory", "32"]);
    assert_eq!(guest.status, 0, "{}\n{}", guest.output, guest.errors);
    assert!(guest.output.contains("os-release"), "{}", guest.output);
}

#[test]
fn archives_are_layers_the_first_one_topmost() {
    let scratch = Scratch::new("layers");
    let mut arguments: Vec<String> = vec!["--ram-upper".into()];
    for layer in ["top", "middle"] {
        let tree = scratch.0.join(layer);
        fs::create_dir_all(&tree).expect("a directory of our own");
        fs::write(tree.join("shared"), format!("of {layer}\n")).expect("just made");
        fs::write(tree.join(layer), "here\n").expect("just made");
        let tar = scratch.0.join(format!("{layer}.tar"));
        // One block a record: the archive ends right after its end mark.
        let made = Command::new("tar").args(["-b1", "-C"]).arg(&tree).arg("-cf").arg(&tar).arg(".").status();
        assert!(made.expect("tar is there").success());
        arguments.extend(["--firmware".into(), tar.display().to_string()]);
    }
    arguments.extend(["--firmware".into(), firmware().display().to_string()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let guest = converse("cat /shared /top /middle\n", &arguments);
    assert_eq!(guest.status, 0, "{}\n{}", guest.output, guest.errors);
    assert!(guest.output.contains("\nof top\nhere\nhere\n"), "{}", guest.output);
}

#[test]
fn a_dry_run_prints_the_command_and_boots_nothing() {
    let guest = run(&["--dry-run", "--suite", "*", "--machine", "pc", "--memory", "99"]);
    assert_eq!(guest.status, 0, "{}", guest.errors);
    assert!(guest.output.starts_with("qemu-system-x86_64 "), "{}", guest.output);
    assert!(guest.output.contains("-m 99") && guest.output.contains("virtio-blk-pci"), "{}", guest.output);
}

#[test]
fn the_name_of_a_disks_file_says_nothing_about_the_machine() {
    let place = Scratch::new("disk-names");
    let disk = place.0.join("microvm");
    fs::write(&disk, [0; 512]).expect("the directory is new");
    let guest = run(&["--dry-run", "--machine", "q35", "--disk", &disk.display().to_string()]);
    assert_eq!(guest.status, 0, "{}", guest.errors);
    assert!(guest.output.contains("virtio-blk-pci") && !guest.output.contains("virtio-blk-device"), "{}", guest.output);
}

/// Nobody asks for it and nothing runs: the disk has it all the same.
#[test]
fn what_was_written_reaches_the_disk_while_everybody_sleeps() {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    firmware();
    let place = Scratch::new("idle");
    let disk = place.0.join("disk.img");
    fs::File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("the directory is new");
    let mut child = Command::new("timeout")
        .args([
            "120".as_ref(),
            script().as_os_str(),
            env!("CARGO_BIN_EXE_kernel").as_ref(),
            "--disk".as_ref(),
            disk.as_os_str(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the script and `timeout` are there");
    let mut console = child.stdin.take().expect("it is piped");
    // Not as it is typed: what the terminal shows is not what is looked for.
    console.write_all(b"write /etc/idle still\\ here\n").expect("the guest reads");
    let found = (0..60).any(|_| {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let image = fs::read(&disk).expect("it is there");
        image.windows(11).any(|bytes| bytes == b"still here\n")
    });
    console.write_all(b"poweroff\n").expect("the guest reads");
    drop(console);
    let Output { status, stdout, .. } = child.wait_with_output().expect("the child was started");
    assert!(found && status.success(), "{status}\n{}", String::from_utf8_lossy(&stdout));
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
