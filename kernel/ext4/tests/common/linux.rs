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
    image: PathBuf,
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
        let image = image.canonicalize().expect("it has just been mounted");
        Self { image, at, mounted: true }
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
        self.wait_for_the_loop_device();
    }

    /// A mount namespace that another process made while this was mounted has a copy of the mount. For as long as it lives Linux has the
    /// image mounted, writes to it behind our back, and answers the next mount with what it has in memory.
    fn wait_for_the_loop_device(&self) {
        for _ in 0..1200 {
            if !is_attached(&self.image) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{}: unmounted, and still in use by another mount namespace", self.image.display());
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

/// Whether a loop device has the image.
fn is_attached(image: &Path) -> bool {
    let Ok(devices) = std::fs::read_dir("/sys/block") else { return false };
    devices.flatten().any(|device| {
        let backing = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        Path::new(backing.trim_end()) == image
    })
}
