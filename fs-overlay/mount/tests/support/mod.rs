//! A tree mounted by the program, in a place and a mount namespace of the test's own, and `None` where that cannot be.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod mapping;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_strata-mount");

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place for firmware, image and mount point.
pub(crate) struct Place {
    root: PathBuf,
}

impl Place {
    /// A place, with a mount namespace for this thread; `None` says why not.
    pub(crate) fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() || fs::metadata("/dev/fuse").is_err() {
            println!("SKIPPED: mounting needs root and /dev/fuse");
            return None;
        }
        #[expect(deprecated, reason = "only the mount namespace is unshared, which no other thread relies on")]
        let unshared = rustix::thread::unshare(UnshareFlags::NEWNS);
        // Not where `/` is no mount point, in a chroot: what is mounted would be seen outside.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        if let Err(error) = unshared.and_then(|()| rustix::mount::mount_change("/", private)) {
            println!("SKIPPED: no mount namespace to mount in: {error}");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("strata-mount-{}-{count}", std::process::id()));
        for dir in ["firmware", "mnt"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        Some(Self { root })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory that becomes firmware.
    pub(crate) fn firmware(&self) -> PathBuf {
        self.path("firmware")
    }

    pub(crate) fn mountpoint(&self) -> PathBuf {
        self.path("mnt")
    }

    /// A blank image.
    pub(crate) fn image(&self, mib: u64) -> PathBuf {
        let image = self.path("disk.img");
        if !image.exists() {
            fs::File::create(&image).unwrap().set_len(mib << 20).unwrap();
        }
        image
    }

    /// The firmware as an archive.
    pub(crate) fn archive(&self) -> PathBuf {
        let archive = self.path("firmware.tar");
        run("tar", &[&"--format=posix", &"--xattrs", &"-cf", &archive, &"-C", &self.firmware(), &"."]);
        archive
    }

    /// Mounts with these arguments, or gives what the program said.
    pub(crate) fn try_mount(&self, arguments: &[&dyn AsRef<OsStr>]) -> Result<Mounted, String> {
        let mountpoint = self.mountpoint();
        let mut child = Command::new(PROGRAM)
            .args(arguments.iter().map(|argument| argument.as_ref()))
            .arg("--foreground")
            .arg(&mountpoint)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !is_mounted(&mountpoint) {
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            assert!(began.elapsed() < PATIENCE, "the mount does not appear");
            sleep(Duration::from_millis(5));
        }
        Ok(Mounted { mountpoint, child: Some(child) })
    }

    /// Mounts with these arguments.
    pub(crate) fn mount(&self, arguments: &[&dyn AsRef<OsStr>]) -> Mounted {
        self.try_mount(arguments).unwrap()
    }

    /// Mounts the firmware's archive and the image.
    pub(crate) fn mount_disk(&self) -> Mounted {
        let archive = self.path("firmware.tar");
        let archive = if archive.exists() { archive } else { self.archive() };
        self.mount(&[&"--firmware", &archive, &"--disk", &self.image(128)])
    }

    /// Judges the image by `e2fsck`.
    pub(crate) fn check_image(&self) {
        run("e2fsck", &[&"-fn", &self.path("disk.img")]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A mounted tree.
pub(crate) struct Mounted {
    mountpoint: PathBuf,
    child: Option<Child>,
}

impl Mounted {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.mountpoint.join(name)
    }

    /// Interrupts the program, which must end well.
    pub(crate) fn interrupt(mut self) {
        let child = self.child.take().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Unmounts and waits until the program has ended, well.
    pub(crate) fn unmount(mut self) {
        run("umount", &[&self.mountpoint]);
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = rustix::mount::unmount(self.mountpoint.to_str().unwrap(), UnmountFlags::DETACH);
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) && began.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Whether something is mounted here: its device is not its parent's.
fn is_mounted(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| fs::metadata(path).map(|it| it.dev()).ok();
    device(path) != path.parent().and_then(device)
}

/// Runs a program that must succeed, and gives its standard output.
pub(crate) fn run(program: &str, arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = output(program, arguments);
    assert!(
        output.status.success(),
        "{program} {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn output(program: &str, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    Command::new(program).args(arguments.iter().map(|argument| argument.as_ref())).output().unwrap()
}
