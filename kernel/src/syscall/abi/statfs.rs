//! `struct statfs`.

use linux_raw_sys::general as linux;
use vfs::StatFs;
use zerocopy::{Immutable, IntoBytes};

use super::same_layout;

/// `struct statfs` (`<asm/statfs.h>`), 120 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
pub(crate) struct LinuxStatFs {
    magic: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    files: u64,
    files_free: u64,
    id: u64,
    name_max: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}

same_layout!(LinuxStatFs, linux::statfs {
    magic = f_type, block_size = f_bsize, blocks = f_blocks, blocks_free = f_bfree, blocks_available = f_bavail,
    files = f_files, files_free = f_ffree, id = f_fsid, name_max = f_namelen, fragment_size = f_frsize, flags = f_flags,
});

/// `ST_VALID`: the flags mean something.
const ST_VALID: u64 = 0x20;

impl LinuxStatFs {
    /// The answer for a filesystem mounted with `mount_flags` (`ST_RDONLY` and its like).
    pub(crate) fn new(fs: &StatFs, mount_flags: u64) -> Self {
        Self {
            magic: fs.magic,
            block_size: fs.block_size.into(),
            blocks: fs.blocks,
            blocks_free: fs.blocks_free,
            blocks_available: fs.blocks_available,
            files: fs.files,
            files_free: fs.files_free,
            id: fs.id,
            name_max: fs.name_max.into(),
            fragment_size: fs.block_size.into(),
            flags: mount_flags | ST_VALID,
            spare: [0; 4],
        }
    }
}
