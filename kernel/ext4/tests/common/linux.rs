//! Linux's own ext4, by loop mount. It needs root; without, [`may_mount`] says so once and loudly, and the test ends.

use std::path::{Path, PathBuf};

use super::disk::{arg, run, run_ok};

/// Whether this process may mount. If not, prints what is skipped.
pub fn may_mount(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    let loops = Path::new("/dev/loop-control").exists();
    if root && loops {
        return true;
    }
    let lacks = if root { "there are no loop devices" } else { "this is not root" };
    eprintln!("\n*** SKIPPED: {what}: needs loop mounts, and {lacks} ***\n");
    false
}

/// Runs a program, again and again if it fails.
fn retry(times: u32, program: &str, args: &[&str]) {
    for _ in 1..times {
        if run(program, args).status.success() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    run_ok(program, args);
}

/// A mounted image; unmounted at the end.
pub struct Mount {
    at: PathBuf,
    mounted: bool,
}

impl Mount {
    /// Mounts `image` at `at`, which is made, with `options` beside `loop`.
    pub fn new(image: &Path, at: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&at).expect("a mount point can be made");
        let options = format!("loop,{options}");
        // Another process may snatch the loop device that `mount` has found free.
        retry(50, "mount", &["-t", "ext4", "-o", &options, arg(image), arg(&at)]);
        Self { at, mounted: true }
    }

    /// Where.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// A path below.
    pub fn join(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Writes everything to the image, without unmounting.
    pub fn sync(&self) {
        run_ok("sync", &["-f", arg(&self.at)]);
    }

    /// Unmounts.
    pub fn unmount(mut self) {
        self.mounted = false;
        // Another process's mount namespace, copied while this was mounted, keeps the filesystem alive behind our back.
        self.sync();
        // A child that another test is starting may hold one of our files until it runs its program.
        retry(100, "umount", &[arg(&self.at)]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            // The test has failed already.
            run("umount", &["-l", arg(&self.at)]);
        }
    }
}
