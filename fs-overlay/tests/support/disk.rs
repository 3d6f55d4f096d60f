//! A disk in memory with ext4 on it.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use block::{BlockDevice, MemoryDisk};
use ext4::{Ext4, FormatOptions};
use fs_overlay::Layer;
use vfs::{FileSystem, FsContext, NewKind, NewNode, Timestamp};

use super::name;

/// Formatted, with the directories `u` and `w`.
pub(crate) struct Disk(Arc<MemoryDisk>);

impl Disk {
    pub(crate) fn new(bytes: u64, seed: u8, context: FsContext) -> Self {
        let disk = Arc::new(MemoryDisk::new(bytes));
        let mut random = [seed; 32];
        random[5] = !seed;
        ext4::format(&*disk, &FormatOptions::new(random, Timestamp::from_secs(1_600_000_000))).unwrap();
        let disk = Self(disk);
        let fs = disk.mount(context);
        for dir in ["u", "w"] {
            fs.root().create(name(dir), &NewNode::new(NewKind::Dir, 0o755)).unwrap();
        }
        fs.unmount().unwrap();
        disk
    }

    /// The disk that an image is of.
    pub(crate) fn load(image: &Path) -> Self {
        Self(Arc::new(MemoryDisk::from_image(&std::fs::read(image).unwrap())))
    }

    /// A disk with the same bytes, that goes its own way.
    pub(crate) fn snapshot(&self) -> Self {
        Self(Arc::new(self.0.snapshot()))
    }

    /// The device below.
    pub(crate) fn device(&self) -> &Arc<MemoryDisk> {
        &self.0
    }

    /// Writes the image, its zeros as holes.
    pub(crate) fn store(&self, image: &Path) {
        let file = std::fs::File::create(image).unwrap();
        file.set_len(self.0.capabilities().sectors * 512).unwrap();
        self.0.for_each_written(|at, bytes| {
            for (index, piece) in bytes.chunks(4096).enumerate() {
                if piece.iter().any(|&byte| byte != 0) {
                    file.write_all_at(piece, at + index as u64 * 4096).unwrap();
                }
            }
        });
    }

    pub(crate) fn mount(&self, context: FsContext) -> Arc<dyn FileSystem> {
        Self::mount_device(self.0.clone(), context)
    }

    /// Mounts what is on a device.
    pub(crate) fn mount_device(device: Arc<dyn BlockDevice>, context: FsContext) -> Arc<dyn FileSystem> {
        Ext4::mount(device, context, ext4::MountOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A directory of the mounted filesystem.
    pub(crate) fn layer(fs: &Arc<dyn FileSystem>, dir: &str) -> Layer {
        let root = fs.root().lookup(name(dir)).unwrap().unwrap();
        Layer { fs: fs.clone(), root: root.as_dir().unwrap().clone() }
    }

    /// What `e2fsck -fn` finds wrong, if anything; `None` for nothing, or where it is not installed, which is said.
    pub(crate) fn damage(&self) -> Option<String> {
        let shared_memory = Path::new("/dev/shm");
        let base = if shared_memory.is_dir() { shared_memory.into() } else { std::env::temp_dir() };
        let image = base.join(format!("strata-overlay-{}-{:p}.img", std::process::id(), self.0));
        self.store(&image);
        let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let output = Command::new("e2fsck").env("PATH", path).arg("-fn").arg(&image).output();
        let _ = std::fs::remove_file(&image);
        match output {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
            Err(error) => {
                println!("SKIPPED: e2fsck does not run: {error}");
                None
            }
        }
    }
}
