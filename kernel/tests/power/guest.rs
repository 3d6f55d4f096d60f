//! A machine that is started, watched and killed.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::disk::{Scratch, arg, run_ok};

/// Emulators would only take each other's processors.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A running machine. Dropped, it is killed.
pub(crate) struct Machine {
    child: Child,
    console: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    _archive: Scratch,
    _turn: MutexGuard<'static, ()>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The kernel: `STRATA_KERNEL`, or the one that was built with this test.
fn kernel() -> PathBuf {
    std::env::var_os("STRATA_KERNEL").map_or_else(|| env!("CARGO_BIN_EXE_kernel").into(), PathBuf::from)
}

/// The target directory, where the programs of the firmware are built as for the demonstration.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kernel")).ancestors().nth(2).expect("target/profile/kernel")
}

/// The load and the tree that it begins with, above the demonstration firmware.
pub(crate) fn firmware() -> Vec<u8> {
    let scratch = Scratch::new();
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--profile", "firmware", "--package", "storm"])
        .env("CARGO_TARGET_DIR", target())
        .current_dir(root())
        .status();
    assert!(built.expect("cargo started this test").success(), "the load cannot be built");
    let tree = scratch.join("tree");
    for dir in ["bin", "storm"] {
        std::fs::create_dir_all(tree.join(dir)).expect("a new directory");
    }
    let program = target().join("firmware/storm");
    std::fs::copy(&program, tree.join("bin/storm")).expect("it was just built");
    run_ok(arg(&program), &["prepare", arg(&tree.join("storm"))]);
    let owner = ["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
    let (upper, lower) = (scratch.join("storm.tar"), target().join("firmware.tar"));
    run_ok("tar", &[&owner[..], &["--format=ustar", "-C", arg(&tree), "-cf", arg(&upper), "."]].concat());
    let made = Command::new(root().join("user/mkfirmware.sh")).arg(&lower).env("CARGO_TARGET_DIR", target()).status();
    assert!(made.expect("the script is there").success(), "the demonstration firmware cannot be made");
    [upper, lower].iter().flat_map(|tar| std::fs::read(tar).expect("it was just made")).collect()
}

/// The options that make the load the first program: from where it was at `least`, to `until` if it shall end.
pub(crate) fn load(seed: u64, least: u64, until: Option<u64>) -> Vec<String> {
    let mut words: Vec<String> = ["--init", "/bin/storm", "--", "run", "/storm"].map(Into::into).into();
    words.extend([seed, least].iter().chain(&until).map(u64::to_string));
    words
}

impl Machine {
    /// Starts QEMU as the script would with `options`, and `program` at their end; `change` may change its command line.
    pub(crate) fn start(
        options: &[&str],
        firmware: &[u8],
        program: &[String],
        change: impl Fn(String) -> String,
    ) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = Scratch::new();
        let tar = archive.join("firmware.tar");
        std::fs::write(&tar, firmware).expect("an archive fits");
        let mut words = vec![arg(&kernel()).to_owned(), "--dry-run".into(), "--firmware".into(), arg(&tar).into()];
        words.extend(options.iter().map(|&word| word.to_owned()));
        words.extend_from_slice(program);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The script quotes with backslashes for the shell, what of a file's name it quotes is not in ours.
        let command = run_ok(arg(&root().join("../qemu-run.sh")), &words).replace("\\,", ",");
        let command = change(command);
        let mut child = Command::new("bash")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bash is there");
        let mut output = child.stdout.take().expect("it is piped");
        let console = Arc::new(Mutex::new(Vec::new()));
        let seen = console.clone();
        let reader = spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let text = buffer[..count].iter().filter(|&&byte| byte != b'\r');
                seen.lock().unwrap_or_else(PoisonError::into_inner).extend(text);
            }
        });
        Self { child, console, reader: Some(reader), _archive: archive, _turn: turn }
    }

    /// What the console showed so far.
    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Types at the console.
    pub(crate) fn type_in(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("the emulator reads");
    }

    /// Waits until the console shows `text`.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.console().contains(text) {
            assert!(Instant::now() < deadline, "`{text}` does not come:\n{}", self.console());
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the machine's end, and gives what its console showed.
    #[track_caller]
    pub(crate) fn wait(mut self, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        while self.child.try_wait().expect("it is ours").is_none() {
            assert!(Instant::now() < deadline, "the machine does not end:\n{}", self.console());
            sleep(Duration::from_millis(5));
        }
        self.end()
    }

    /// Cuts the power, and gives what the console showed.
    pub(crate) fn kill(mut self) -> String {
        self.end()
    }

    fn end(&mut self) -> String {
        // It may have ended by itself, which the console tells.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.console()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}
