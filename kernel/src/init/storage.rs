//! What takes the changes: the disk, memory, or nothing.

use alloc::string::String;
use alloc::sync::Arc;

use base::sync::Mutex;
use boot::{Options, OverlayMode};
use fs_overlay::Layer;
use vfs::{DirOps, Errno, FileSystem, Name, NewKind, NewNode, Node, Result};

use super::{fs_context, root};

/// What lies above the firmware.
pub(super) enum Upper {
    /// Nothing: the tree is read-only.
    None,
    /// A layer that takes changes.
    Writable {
        /// Where they go.
        upper: Layer,
        /// What Linux needs beside it.
        work: Layer,
        /// What it is, for people.
        what: String,
    },
    /// A layer of earlier changes that cannot take more.
    ReadOnly {
        /// They.
        changes: Layer,
    },
}

impl Upper {
    /// What it is, for the boot's line.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::None => "nothing above: read-only".into(),
            Self::Writable { what, .. } => what.clone(),
            Self::ReadOnly { .. } => "earlier changes: read-only".into(),
        }
    }
}

/// The filesystem of the disk under the root, and the disk's place.
static DISK: Mutex<Option<(usize, Arc<dyn FileSystem>)>> = Mutex::new(None);

/// Opens what the command line asks for, or the next best.
pub(super) fn open(options: &Options<'_>) -> Upper {
    match options.overlay {
        _ if options.failsafe => Upper::None,
        OverlayMode::ReadOnly => Upper::None,
        OverlayMode::Ram => in_memory(),
        OverlayMode::Disk => in_memory(),
    }
}

/// A layer in memory.
pub(super) fn in_memory() -> Upper {
    let made = root::temporary().and_then(|fs| layers(fs, "memory: changes are lost at power-off".into()));
    made.unwrap_or_else(|error| {
        log::error!("no layer in memory: {error}; the tree is read-only");
        Upper::None
    })
}

/// The layers `/upper` and `/work` of a filesystem, made if they are missing.
fn layers(fs: Arc<dyn FileSystem>, what: String) -> Result<Upper> {
    let top = fs.root();
    let upper = Layer { fs: fs.clone(), root: directory(&*top, b"upper", 0o755)? };
    let work = Layer { fs, root: directory(&*top, b"work", 0o700)? };
    Ok(Upper::Writable { upper, work, what })
}

fn directory(parent: &dyn DirOps, name: &[u8], mode: u16) -> Result<Arc<dyn DirOps>> {
    let name = Name::new(name)?;
    let node = match parent.lookup(name)? {
        Some(node) => node,
        None => parent.create(name, &NewNode::new(NewKind::Dir, mode))?,
    };
    match node {
        Node::Dir(dir) => Ok(dir),
        _ => Err(Errno::ENOTDIR.into()),
    }
}

/// Mounts the disk at a place among all for `mount(2)`.
///
/// # Errors
/// `EBUSY` where it is mounted already; `EINVAL` for what is no filesystem.
pub(super) fn mount_disk(index: usize, _read_only: bool) -> Result<Arc<dyn FileSystem>> {
    if let Some((mounted, fs)) = &*DISK.lock()
        && *mounted == index
    {
        // The same filesystem, shown at a second place.
        return Ok(fs.clone());
    }
    Err(Errno::ENODEV.into())
}

/// Unmounts the disk under the root.
///
/// # Errors
/// `EIO`.
pub(super) fn close() -> Result<()> {
    match DISK.lock().take() {
        Some((_, fs)) => fs.unmount(),
        None => Ok(()),
    }
}
