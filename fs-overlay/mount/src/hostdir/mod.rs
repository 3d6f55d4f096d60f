//! A directory of the host as a read-only filesystem: [`HostDir`], for firmware that is not packed yet.
//!
//! Every node holds a descriptor of its inode (`O_PATH`), so nothing is ever looked up by a path again; whiteouts
//! and the overlay's extended attributes are seen as they are. Where the host allows it, the tree is a private copy of the
//! mount, without what is mounted further down; else such places answer `EXDEV`. `node` has the inodes. There are no locks.

mod node;

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use vfs::{DirOps, Errno, Error, FileSystem, FsContext, Result, StatFs};

use node::DirNode;

/// A mounted directory.
pub(crate) struct HostDir {
    root: Arc<DirNode>,
}

/// What all nodes share.
pub(crate) struct Shared {
    /// What they report as their device.
    dev: u64,
    /// The host's device of the root: what is on another is mounted there and no part of this.
    host_dev: (u32, u32),
}

impl HostDir {
    /// Takes a directory as a filesystem.
    ///
    /// # Errors
    /// What the host says.
    pub(crate) fn open(path: &Path, context: &FsContext) -> Result<Arc<Self>> {
        raise_descriptor_limit();
        let root = open_root(path.as_os_str().as_bytes()).map_err(from_host)?;
        let stat = node::stat(&root)?;
        let shared = Arc::new(Shared { dev: context.dev, host_dev: (stat.stx_dev_major, stat.stx_dev_minor) });
        Ok(Arc::new(Self { root: DirNode::new(shared, root, stat.stx_ino) }))
    }
}

fn open_root(path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let place = match rustix::mount::open_tree(CWD, path, flags) {
        Ok(clone) => clone,
        // Without the right to mount, or on a kernel without the call.
        Err(_) => return rustix::fs::openat(CWD, path, node::HOLD | OFlags::DIRECTORY, Mode::empty()),
    };
    rustix::fs::openat(&place, ".", node::HOLD | OFlags::DIRECTORY, Mode::empty())
}

/// A descriptor for each node in use: as many as may be.
fn raise_descriptor_limit() {
    /// `fs.nr_open` of `sysctl(8)`, unless it was changed.
    const MOST: u64 = 1 << 20;
    let now = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: Some(MOST), maximum: Some(MOST) }).is_err() {
        // Not privileged: as much as is granted. What is there will do otherwise.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
    }
}

/// The host's error as one of the contract.
fn from_host(error: rustix::io::Errno) -> Error {
    const KNOWN: [Errno; 16] = [
        Errno::EPERM,
        Errno::ENOENT,
        Errno::ENXIO,
        Errno::EAGAIN,
        Errno::ENOMEM,
        Errno::EACCES,
        Errno::ENOTDIR,
        Errno::EISDIR,
        Errno::EINVAL,
        Errno::ENFILE,
        Errno::EMFILE,
        Errno::ERANGE,
        Errno::ENAMETOOLONG,
        Errno::ELOOP,
        Errno::ESTALE,
        Errno::EOPNOTSUPP,
    ];
    let number = error.raw_os_error();
    let known = KNOWN.into_iter().find(|known| i32::from(known.number()) == number);
    Error::new(known.unwrap_or(Errno::EIO), "directory of the host")
}

impl FileSystem for HostDir {
    fn type_name(&self) -> &'static str {
        "hostdir"
    }

    fn root(&self) -> Arc<dyn DirOps> {
        self.root.clone()
    }

    fn statfs(&self) -> Result<StatFs> {
        let host = rustix::fs::fstatvfs(self.root.descriptor()).map_err(from_host)?;
        Ok(StatFs {
            magic: 0,
            block_size: u32::try_from(host.f_frsize).unwrap_or(4096),
            blocks: host.f_blocks,
            blocks_free: 0,
            blocks_available: 0,
            files: host.f_files,
            files_free: 0,
            name_max: u32::try_from(host.f_namemax).unwrap_or(255),
            id: host.f_fsid,
        })
    }

    fn is_read_only(&self) -> bool {
        true
    }
}
