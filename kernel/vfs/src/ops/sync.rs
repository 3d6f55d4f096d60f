//! `sync(2)`, `syncfs(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::sort;

use crate::Result;
use crate::context::Context;
use crate::flags::Fd;
use crate::mount::Superblock;
use crate::namespace::Namespace;

impl Namespace {
    /// `sync(2)`: every filesystem. The system call ignores the answer; a shutdown does not.
    ///
    /// # Errors
    /// The first failure; all are tried.
    pub fn sync(&self) -> Result<()> {
        let mut result = Ok(());
        for superblock in self.superblocks() {
            result = result.and(superblock.fs.sync());
        }
        result
    }

    /// `syncfs(2)`.
    ///
    /// # Errors
    /// As [`OpenFile::sync_file_system`](crate::OpenFile::sync_file_system).
    pub fn syncfs(&self, ctx: &Context, fd: Fd) -> Result<()> {
        ctx.files.get(fd)?.sync_file_system()
    }

    /// Every filesystem in the tree, the last mounted first.
    pub(crate) fn superblocks(&self) -> Vec<Arc<Superblock>> {
        let mut all: Vec<Arc<Superblock>> = {
            let topology = self.topology.read();
            topology.mounts().chain([self.root_mount()]).map(|mount| mount.superblock.clone()).collect()
        };
        sort::by_key(&mut all, |superblock| core::cmp::Reverse(superblock.id));
        all.dedup_by_key(|superblock| superblock.id);
        all
    }
}
