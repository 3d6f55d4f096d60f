//! Every call on every kind of object in every state, on Linux's overlayfs and on the mount, compared call by call: what it answered,
//! and what is there after it.
//!
//! The program is test and subject in one. By itself it mounts both and compares; `prepare DIR`, `run DIR` and `count` are what it calls
//! itself with, and what an acceptance script calls in the guest. Behind `DIR` stand the cases: `EVERY FIRST`, of which the second
//! may be left out, or `only NAME`. Without them it takes as many as `STRATA_OPS` says, evenly.

mod calls;
mod cases;
mod run;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::env;
use std::io::Write as _;
use std::process::{Command, ExitCode};

use cases::Case;
use support::Place;

/// How many cases a run takes that says nothing else.
const CASES: usize = 800;
/// How many cases there is room for on a disk of a GiB.
const CASES_IN_A_GIBIBYTE: usize = 15_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["count"] => println!("{}", cases::all().len()),
        ["prepare", dir, ref which @ ..] => run::prepare(dir, &chosen(which)).expect("the lower layer can be made"),
        ["run", dir, ref which @ ..] => {
            let mut out = std::io::stdout().lock();
            for case in chosen(which) {
                out.write_all(run::run(dir, &case).as_bytes()).expect("whoever asked listens");
            }
        }
        // As it would be without a console to print much on: a number for each case.
        ["digest", dir, ref which @ ..] => {
            for case in chosen(which) {
                println!("{} {:016x}", case.name, digest(&run::run(dir, &case)));
            }
        }
        ["--list", ..] => println!("every_call_answers_as_on_linux: test"),
        _ => return test(),
    }
    ExitCode::SUCCESS
}

/// FNV-1a.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn chosen(which: &[&str]) -> Vec<Case> {
    let all = cases::all();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (every, first) = match which {
        ["only", name] => return all.into_iter().filter(|case| case.name == *name).collect(),
        [every, first] => (number(every), number(first)),
        [every] => (number(every), 0),
        _ => (1, 0),
    };
    all.into_iter().skip(first).step_by(every.max(1)).collect()
}

/// What came of each case, by its name.
fn by_case(text: &str) -> HashMap<&str, &str> {
    text.split("== ").filter(|it| !it.is_empty()).map(|it| it.split_once(' ').unwrap_or((it, ""))).collect()
}

fn of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("it can be run");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

fn test() -> ExitCode {
    let Some(place) = Place::new() else { return ExitCode::SUCCESS };
    let count = env::var("STRATA_OPS").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    let all = cases::all().len();
    let every = all.div_ceil(count).max(1);
    // Another part of them each time is not wanted: a failure should come again.
    let first = env::var("STRATA_SEED").ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0) % every;
    let mut failed = 0;
    for index in ["off", "on"] {
        failed += compare(&place, index, every, first);
    }
    println!("every_call_answers_as_on_linux: {failed} of 2 x {} cases differ (STRATA_SEED={first})", all / every);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the cases on both, under one setting of `index`, and tells how many differ.
fn compare(place: &Place, index: &str, every: usize, first: usize) -> usize {
    let layers = place.path(&format!("linux-{index}"));
    std::fs::create_dir(&layers).expect("a place");
    support::run("mount", &[&"-t", &"tmpfs", &"tmpfs", &layers]);
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(layers.join(name)).expect("a layer");
    }
    let text = |path: std::path::PathBuf| path.to_str().expect("a plain path").to_owned();
    let own = text(env::current_exe().expect("the test is a program"));
    let (lower, merged) = (text(layers.join("lower")), text(layers.join("merged")));
    let (step, every, first) = (every, every.to_string(), first.to_string());
    let cases = [every.as_str(), first.as_str()];
    of(&own, &["prepare", &lower, cases[0], cases[1]]);
    let archive = place.path("matrix.tar");
    support::run("tar", &[&"--format=posix", &"-cf", &archive, &"-C", &lower, &"."]);
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={},index={index},redirect_dir=on,xino=on",
        text(layers.join("upper")),
        text(layers.join("work"))
    );
    support::run("mount", &[&"-t", &"overlay", &"overlay", &"-o", &options, &merged]);
    let linux = of(&own, &["run", &merged, cases[0], cases[1]]);

    let image = place.path(&format!("matrix-{index}.img"));
    // Enough inodes for all that the cases make.
    let gibibytes = 1 + (cases::all().len() / step / CASES_IN_A_GIBIBYTE) as u64;
    std::fs::File::create(&image).and_then(|file| file.set_len(gibibytes << 30)).expect("an image");
    let option = format!("index={index}");
    let mount = || place.mount(&[&"--firmware", &archive, &"--disk", &image, &"-o", &option]);
    let mounted = mount();
    let ours = of(&own, &["run", &text(mounted.path("")), cases[0], cases[1]]);
    mounted.unmount();
    support::run("e2fsck", &[&"-fn", &image]);
    let (linux, ours) = (by_case(&linux), by_case(&ours));
    assert!(!linux.is_empty() && linux.len() == ours.len(), "no cases were run");
    let mut names: Vec<_> = linux.keys().copied().filter(|name| linux.get(name) != ours.get(name)).collect();
    names.sort_unstable();
    for name in names.iter().take(12) {
        println!("index={index} {name}");
        print_difference(linux[name], ours.get(name).copied().unwrap_or_default());
    }
    names.len()
}

/// Both, line by line, where they are not the same.
fn print_difference(linux: &str, ours: &str) {
    let (linux, ours): (Vec<_>, Vec<_>) = (linux.lines().collect(), ours.lines().collect());
    for line in 0..linux.len().max(ours.len()) {
        let (theirs, own) = (linux.get(line).unwrap_or(&""), ours.get(line).unwrap_or(&""));
        if theirs == own {
            println!("    {own}");
        } else {
            println!("  - {theirs}\n  + {own}");
        }
    }
}
