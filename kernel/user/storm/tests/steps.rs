//! The load on the host's own filesystem: what it does is what its model says, and where it stopped it goes on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("storm-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("make the test's directory");
        let place = Self(path);
        assert!(place.storm(&["prepare"], &[]).status.success());
        place
    }

    fn storm(&self, before: &[&str], after: &[u64]) -> Output {
        let after = after.iter().map(u64::to_string);
        Command::new(env!("CARGO_BIN_EXE_storm")).args(before).arg(&self.0).args(after).output().expect("run the load")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_tree_is_found_after_the_step_at_which_the_load_stopped() {
    for seed in 0..4 {
        let place = Place::new(&format!("found-{seed}"));
        let mut before = 0;
        for until in [1, 2, 40, 41, 150, 400] {
            let output = place.storm(&["run"], &[seed, before, until]);
            let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if errors.contains("(EPERM)") {
                println!("SKIPPED: the load sets owners, which needs root");
                return;
            }
            assert!(output.status.success(), "seed {seed}: {text}{errors}");
            assert!(text.starts_with(&format!("storm: found {before}\n")), "seed {seed}: {text}");
            assert!(text.ends_with(&format!("storm: done {until}\n")), "seed {seed}: {text}");
            before = until;
        }
    }
}

#[test]
fn a_tree_that_is_of_no_moment_is_refused_with_its_reason() {
    let place = Place::new("wrong");
    assert!(place.storm(&["run"], &[9, 0, 1]).status.code().is_some());
    std::fs::write(place.0.join("0/keep/extra"), "not of the load").expect("it is there");
    let output = place.storm(&["run"], &[9, 0, 1]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("the tree is of no moment between step 0 and"), "{errors}");
}
