//! Layers and overlays over them, ours and Linux's.

use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ext4::Ext4;
use fs_overlay::{Layer, Layers, MetacopyMode, Options, OverlayFs};
use host::beside::Side;
use host::worker::{Linux, Ours, Worker};
use host::{Access, FileDisk, HostClock};
use ramfs::RamFs;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change, move_mount, unmount,
};
use rustix::thread::UnshareFlags;
use vfs::{FileSystem, FsContext, Name, NewKind, NewNode};

use crate::path_of;

/// Memory of our disk's cache: what the kernel gives it by default.
const CACHE: usize = 16 << 20;

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn context() -> FsContext {
    static DEV: AtomicU64 = AtomicU64::new(0x100);
    FsContext { dev: DEV.fetch_add(1, Ordering::Relaxed), clock: Arc::new(HostClock) }
}

fn ram() -> Arc<RamFs> {
    let context = context();
    let mut uuid = [0xee; 16];
    uuid[..8].copy_from_slice(&context.dev.to_le_bytes());
    RamFs::new(context, &ramfs::Options { uuid, ..Default::default() }).expect("there is memory")
}

/// A tmpfs in a mount namespace of this program's.
pub(crate) struct Scratch {
    pub(crate) at: PathBuf,
    numbers: AtomicUsize,
}

impl Scratch {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        #[expect(deprecated, reason = "only the mount namespace is unshared, and there is one thread")]
        rustix::thread::unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let at = std::env::temp_dir().join(format!("strata-overlay-bench-{}", std::process::id()));
        fs::create_dir_all(&at).expect("a directory for what is temporary");
        mount("tmpfs", bytes(&at), "tmpfs", MountFlags::empty(), Some(c"size=12g"))?;
        Ok(Self { at, numbers: AtomicUsize::new(0) })
    }

    /// An empty directory.
    fn dir(&self, name: &str) -> PathBuf {
        let path = path_of(&self.at, name, self.numbers.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(&path).expect("a tmpfs has room");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The namespace ends with the program, and the tmpfs with it; what is left behind is an empty directory.
        let _ = unmount(bytes(&self.at), UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.at);
    }
}

/// Lower layers of one side.
pub(crate) enum Lowers {
    Ours(Vec<Arc<RamFs>>),
    Linux(Vec<PathBuf>),
}

/// What the upper layer is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upper {
    Memory,
    /// ext4 of so many MiB.
    Disk(u64),
}

impl Lowers {
    /// `count` layers, topmost first; each is filled by `build`, which is given its number.
    pub(crate) fn new(scratch: &Scratch, side: Side, count: usize, build: impl Fn(usize, &mut dyn Worker)) -> Self {
        match side {
            Side::Ours => Self::Ours(
                (0..count)
                    .map(|number| {
                        let layer = ram();
                        build(number, &mut Ours::new(layer.clone()));
                        layer
                    })
                    .collect(),
            ),
            Side::Linux => Self::Linux(
                (0..count)
                    .map(|number| {
                        let layer = scratch.dir("lower");
                        build(number, &mut Linux::new(&layer));
                        layer
                    })
                    .collect(),
            ),
        }
    }

    /// Mounts an overlay over them and a new upper layer.
    pub(crate) fn mount(&self, scratch: &Scratch, upper: Upper, metacopy: MetacopyMode) -> Merged {
        match self {
            Self::Ours(lowers) => mount_ours(scratch, lowers, upper, metacopy),
            Self::Linux(lowers) => mount_linux(scratch, lowers, upper, metacopy),
        }
    }
}

/// A mounted overlay; unmounted at the end.
pub(crate) struct Merged {
    worker: Option<Box<dyn Worker>>,
    /// From the top.
    mounts: Vec<PathBuf>,
    disk: Option<Arc<Ext4>>,
    image: Option<PathBuf>,
}

impl Merged {
    pub(crate) fn worker(&mut self) -> &mut dyn Worker {
        &mut **self.worker.as_mut().expect("it is there until this is dropped")
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        self.worker = None;
        for at in &self.mounts {
            unmount(bytes(at), UnmountFlags::empty()).expect("nothing is open there");
        }
        if let Some(disk) = &self.disk {
            disk.unmount().expect("an image is written");
        }
        if let Some(image) = &self.image {
            fs::remove_file(image).expect("an image is removed");
        }
    }
}

fn make_image(scratch: &Scratch, mib: u64) -> PathBuf {
    let image = scratch.dir("disk").join("image");
    File::create(&image).and_then(|file| file.set_len(mib << 20)).expect("a tmpfs has room");
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let made = Command::new("mkfs.ext4").env("PATH", path).args(["-q", "-F"]).arg(&image).status();
    assert!(made.expect("mkfs.ext4 runs").success(), "mkfs.ext4 {}", image.display());
    image
}

fn mount_ours(scratch: &Scratch, lowers: &[Arc<RamFs>], upper: Upper, metacopy: MetacopyMode) -> Merged {
    let (mut image, mut disk) = (None, None);
    let (upper, work) = match upper {
        Upper::Memory => (Layer::of(ram()), None),
        Upper::Disk(mib) => {
            let path = make_image(scratch, mib);
            let file = OpenOptions::new().read(true).write(true).open(&path).expect("an image opens");
            let device = Arc::new(FileDisk::over(file, Access::ReadWrite).expect("an image has a size"));
            let options = ext4::MountOptions { cache_bytes: CACHE, ..ext4::MountOptions::default() };
            let fs = Ext4::mount(device, context(), options).unwrap_or_else(|error| panic!("{error}"));
            (image, disk) = (Some(path), Some(fs.clone()));
            let layer = |name: &str| {
                let new = NewNode::new(NewKind::Dir, 0o755);
                let made = fs.root().create(Name::new(name.as_bytes()).expect("a name"), &new).expect("a directory");
                Layer { fs: fs.clone(), root: made.as_dir().expect("a directory").clone() }
            };
            (layer("upper"), Some(layer("work")))
        }
    };
    let lowers = lowers.iter().map(|fs| Layer::of(fs.clone())).collect();
    let layers = Layers { upper: Some(upper), work, lowers };
    let options = Options { metacopy, ..Options::default() };
    let fs: Arc<dyn FileSystem> = OverlayFs::mount(context(), layers, options).expect("it is mounted");
    Merged { worker: Some(Box::new(Ours::new(fs))), mounts: Vec::new(), disk, image }
}

fn mount_linux(scratch: &Scratch, lowers: &[PathBuf], upper: Upper, metacopy: MetacopyMode) -> Merged {
    let merged = scratch.dir("merged");
    let mut mounts = vec![merged.clone()];
    let mut image = None;
    let base = match upper {
        Upper::Memory => scratch.dir("changes"),
        Upper::Disk(mib) => {
            let path = make_image(scratch, mib);
            let at = scratch.dir("ext4-");
            let mounted = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&path).arg(&at).status();
            assert!(mounted.expect("mount runs").success(), "a loop mount of {}", path.display());
            mounts.push(at.clone());
            image = Some(path);
            at
        }
    };
    for dir in ["upper", "work"] {
        fs::create_dir(base.join(dir)).expect("a directory");
    }
    let overlay = || {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for lower in lowers {
            fsconfig_set_string(&fs, "lowerdir+", bytes(lower))?;
        }
        fsconfig_set_string(&fs, "upperdir", bytes(&base.join("upper")))?;
        fsconfig_set_string(&fs, "workdir", bytes(&base.join("work")))?;
        fsconfig_set_string(&fs, "redirect_dir", "on")?;
        fsconfig_set_string(&fs, "metacopy", if metacopy == MetacopyMode::Create { "on" } else { "off" })?;
        fsconfig_create(&fs)?;
        let mounted = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        move_mount(&mounted, "", rustix::fs::CWD, bytes(&merged), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    overlay().unwrap_or_else(|error| panic!("Linux does not mount an overlay of {} layers: {error}", lowers.len()));
    Merged { worker: Some(Box::new(Linux::new(&merged))), mounts, disk: None, image }
}
