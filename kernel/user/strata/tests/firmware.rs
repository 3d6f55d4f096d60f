//! The archive that `mkfirmware.sh` makes, and the shell as the first process of it.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::Place;

fn make(output: &Path) -> std::process::Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mkfirmware.sh");
    Command::new(script).arg(output).output().expect("run mkfirmware.sh")
}

#[test]
fn the_archive_is_reproducible_and_made_only_when_needed() {
    let place = Place::new();
    let (first, second) = (place.join("first.tar"), place.join("sub dir/second.tar"));
    for output in [&first, &second, &first] {
        let made = make(output);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        assert_eq!(String::from_utf8_lossy(&made.stdout), "");
    }
    assert!(fs::read(&first).expect("it was made") == fs::read(&second).expect("it was made"), "the archives differ");
    // A source that somebody saves at this moment is a reason to make it again, but not every time.
    let is_left_alone = || {
        let time = || fs::metadata(&first).and_then(|found| found.modified()).expect("it has a time");
        let before = time();
        make(&first).status.success() && time() == before
    };
    assert!((0..5).any(|_| is_left_alone()), "the archive is made anew each time");

    let list = Command::new("tar").arg("-tvf").arg(&first).output().expect("list the archive");
    let list = String::from_utf8(list.stdout).expect("plain text");
    for (start, end) in [
        ("-rwxr-xr-x 0/0", " ./bin/strata"),
        ("-rwxr-xr-x 0/0", " ./bin/treesum"),
        ("drwxrwxrwt 0/0", " ./tmp/"),
        ("drwx------ 0/0", " ./root/"),
        ("dr-xr-xr-x 0/0", " ./proc/"),
        ("-rw-r--r-- 0/0", " ./etc/passwd"),
        ("lrwxrwxrwx 0/0", " ./init -> bin/strata"),
    ] {
        assert!(
            list.lines().any(|line| line.starts_with(start) && line.ends_with(end)),
            "{start} {end} is not in {list}"
        );
    }
    assert!(list.lines().all(|line| line.contains(" 2026-01-01 00:00 ")), "{list}");
    let strata = list.lines().find(|line| line.ends_with(" ./bin/strata")).expect("the shell is there");
    let size: u64 = strata.split_whitespace().nth(2).and_then(|size| size.parse().ok()).expect("a size");
    assert!(size <= 300 * 1024, "the shell has grown to {size} bytes");
}

#[test]
fn wrong_use_of_the_maker_is_an_error() {
    let made = make(Path::new("--help"));
    assert_eq!(made.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&made.stderr).starts_with("usage: "));
    let made = make(Path::new("/proc/none/firmware.tar"));
    assert_eq!(made.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&made.stderr).contains("mkfirmware.sh: cannot make the directory of"));
}

#[test]
fn the_first_process_prompts_and_switches_off_at_the_end_of_its_input() {
    let place = Place::new();
    place.write("commands", "echo hello\nexit 3\n");
    let input = || Stdio::from(fs::File::open(place.join("commands")).expect("open the commands"));
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--user", "--map-root-user", "--kill-child"]).current_dir("/");
    let output = command.arg(env!("CARGO_BIN_EXE_strata")).stdin(input()).output().expect("run unshare");
    if String::from_utf8_lossy(&output.stderr).contains("unshare failed") {
        // No namespaces here: the guest's own suites show the same.
        return;
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("strata:/# hello\nstrata:/# "), "{printed}");
    // A namespace that is switched off kills its first process, which the kernel reports as an interrupt.
    assert_ne!(output.status.code(), Some(3));
}
