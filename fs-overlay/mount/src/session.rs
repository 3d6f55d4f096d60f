//! A mount from beginning to end: layers are opened, the kernel is served by several threads, changes are written every few
//! seconds, and all of them when the tree is unmounted.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ext4::Ext4;
use fuser::{Config, MountOption, Session, SessionACL};
use host::Access;
use nix::sys::signal::{SigSet, Signal};
use rustix::mount::UnmountFlags;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::arguments::{Mount, Upper};
use crate::background;
use crate::image::try_lock;
use crate::layers::{self, Tree};
use crate::serve::Server;

/// How often what was written reaches the disk by itself: the kernel's interval, which is Linux's.
const WRITE_BACK_EVERY: Duration = Duration::from_secs(5);
/// How many threads serve at least: one may wait for the disk.
const THREADS_MIN: usize = 4;
/// And at most.
const THREADS_MAX: usize = 16;

/// Mounts, and serves until the tree is unmounted.
///
/// # Errors
/// In words.
pub(crate) fn run(mount: &Mount) -> Result<(), String> {
    // Before the directory changes.
    let mountpoint = fs::canonicalize(&mount.mountpoint).map_err(|error| named(&mount.mountpoint, error))?;
    if !mountpoint.is_dir() {
        return Err(named(&mountpoint, "not a directory"));
    }
    let mount = absolute(mount)?;
    let tree = layers::open(&mount)?;
    background::detach();
    base::sync::set_relax(relax);
    let served = serve(&mount, &mountpoint, &tree);
    let written = tree.unmount();
    served.and(written)
}

/// The paths of a mount, whatever the current directory will be.
fn absolute(mount: &Mount) -> Result<Mount, String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|error| named(path, error));
    let upper = match &mount.upper {
        Upper::Disk(image) => Upper::Disk(absolute(image)?),
        Upper::ReadOnly(Some(image)) => Upper::ReadOnly(Some(absolute(image)?)),
        other @ (Upper::Memory | Upper::ReadOnly(None)) => other.clone(),
    };
    Ok(Mount { upper, ..mount.clone() })
}

fn named(path: &Path, why: impl std::fmt::Display) -> String {
    format!("{}: {why}", path.display())
}

fn serve(mount: &Mount, mountpoint: &Path, tree: &Tree) -> Result<(), String> {
    // Every thread made from here on leaves these signals to the one that waits for them.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().map_err(|error| format!("signals: {error}"))?;
    let session = Session::new(Server::new(tree.overlay.clone()), mountpoint, &config(mount, mountpoint)?)
        .map_err(|error| named(mountpoint, error))?;
    background::mounted().map_err(|error| format!("the terminal is not let go: {error}"))?;
    let target = mountpoint.to_path_buf();
    let waits = thread::Builder::new().name("signals".into()).spawn(move || {
        while signals.wait().is_ok() {
            // Who has files open keeps them until then; new requests for names end now.
            if let Err(error) = rustix::mount::unmount(target.as_os_str().as_bytes(), UnmountFlags::DETACH) {
                log::error!("{}: not unmounted: {error}", target.display());
            }
        }
    });
    waits.map_err(|error| format!("no thread for signals: {error}"))?;
    let write_back =
        tree.disk.clone().map(start_write_back).transpose().map_err(|error| format!("no thread: {error}"))?;
    let result = session.run().map_err(|error| format!("the connection to the kernel broke: {error}"));
    if let Some((stop, thread)) = write_back {
        drop(stop);
        // It has ended, or will not say more.
        let _ = thread.join();
    }
    result
}

fn config(mount: &Mount, mountpoint: &Path) -> Result<Config, String> {
    let source = match &mount.upper {
        Upper::Disk(image) | Upper::ReadOnly(Some(image)) => {
            fs::canonicalize(image).map_err(|error| named(image, error))?.to_string_lossy().into_owned()
        }
        Upper::Memory | Upper::ReadOnly(None) => "strata".to_owned(),
    };
    let mut options =
        vec![MountOption::FSName(source), MountOption::DefaultPermissions, MountOption::Dev, MountOption::Suid];
    if matches!(mount.upper, Upper::ReadOnly(_)) {
        options.push(MountOption::RO);
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        log::warn!("{}: mounted for its owner alone, as who is not root can", mountpoint.display());
    }
    let mut config = Config::default();
    config.mount_options = options;
    config.acl = if is_root { SessionACL::All } else { SessionACL::Owner };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    config.n_threads = Some(processors.clamp(THREADS_MIN, THREADS_MAX));
    config.clone_fd = true;
    Ok(config)
}

/// Writes changes every few seconds until the sender is dropped.
fn start_write_back(disk: Arc<Ext4>) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let thread = thread::Builder::new().name("write-back".into()).spawn(move || {
        while stopped.recv_timeout(WRITE_BACK_EVERY) == Err(RecvTimeoutError::Timeout) {
            // A failure was logged where it happened; the next `fsync` tells the program.
            let _ = disk.tick();
        }
    })?;
    Ok((stop, thread))
}

/// What a thread does that waits for a lock: gives way, and sleeps when the wait is for the disk and not for a few instructions.
fn relax() {
    use std::cell::Cell;
    thread_local! {
        static WAIT: Cell<Option<(Instant, Instant)>> = const { Cell::new(None) };
    }
    /// Two calls further apart belong to different waits.
    const APART: Duration = Duration::from_millis(1);
    /// After this long a wait is for the disk.
    const LONG: Duration = Duration::from_micros(200);
    let now = Instant::now();
    let began = match WAIT.get() {
        Some((began, last)) if now.duration_since(last) < APART => began,
        _ => now,
    };
    if now.duration_since(began) > LONG {
        thread::sleep(Duration::from_micros(50));
        WAIT.set(Some((began, Instant::now())));
    } else {
        thread::yield_now();
        WAIT.set(Some((began, now)));
    }
}

/// Unmounts a tree, and waits until its image is given free.
///
/// # Errors
/// In words.
pub(crate) fn unmount(mountpoint: &Path) -> Result<(), String> {
    let mountpoint = fs::canonicalize(mountpoint).map_err(|error| named(mountpoint, error))?;
    let source =
        source_of(&mountpoint)?.ok_or_else(|| named(&mountpoint, "nothing of strata-mount is mounted here"))?;
    let image = fs::File::open(&source).ok();
    rustix::mount::unmount(mountpoint.as_os_str().as_bytes(), UnmountFlags::empty())
        .map_err(|error| named(&mountpoint, error))?;
    let Some(image) = image else { return Ok(()) };
    while !try_lock(&image, Access::ReadOnly).map_err(|error| named(&source, error))? {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What is mounted at a place, if it is of type `fuse`: the last line of `/proc/self/mounts` for it.
fn source_of(mountpoint: &Path) -> Result<Option<PathBuf>, String> {
    let mounts = fs::read("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
    let mut found = None;
    for line in mounts.split(|&byte| byte == b'\n') {
        let mut fields = line.split(|&byte| byte == b' ');
        let (Some(source), Some(target), Some(kind)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if unescape(target) == mountpoint.as_os_str().as_bytes() {
            let is_fuse = kind == b"fuse" || kind.starts_with(b"fuse.");
            found = is_fuse.then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(source))));
        }
    }
    Ok(found)
}

/// Undoes the octal escapes of that file: `\040` for a blank.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        if let Some(digits) = octal {
            plain.push(digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
            rest = &after[3..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_blanks_in_the_list_of_mounts_are_read() {
        assert_eq!(unescape(b"/a\\040b\\134c\\9"), b"/a b\\c\\9");
    }
}
