//! `struct stat` and `struct statx`.

use linux_raw_sys::general as linux;
use vfs::{Attr, DeviceNumber, InodeFlags, Timestamp};
use zerocopy::{Immutable, IntoBytes};

use super::same_layout;

/// `struct stat` (`<asm/stat.h>`), 144 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
pub(crate) struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    pad: u32,
    rdev: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    atime: i64,
    atime_nanos: u64,
    mtime: i64,
    mtime_nanos: u64,
    ctime: i64,
    ctime_nanos: u64,
    unused: [i64; 3],
}

same_layout!(Stat, linux::stat {
    dev = st_dev, ino = st_ino, nlink = st_nlink, mode = st_mode, uid = st_uid, gid = st_gid, rdev = st_rdev,
    size = st_size, block_size = st_blksize, blocks = st_blocks, atime = st_atime, atime_nanos = st_atime_nsec,
    mtime = st_mtime, mtime_nanos = st_mtime_nsec, ctime = st_ctime, ctime_nanos = st_ctime_nsec,
});

impl From<&Attr> for Stat {
    fn from(attr: &Attr) -> Self {
        Self {
            dev: attr.dev,
            ino: attr.ino,
            nlink: attr.nlink.into(),
            mode: attr.st_mode(),
            uid: attr.uid,
            gid: attr.gid,
            pad: 0,
            rdev: attr.rdev.encode(),
            size: attr.size as i64,
            block_size: attr.block_size.into(),
            blocks: attr.blocks as i64,
            atime: attr.atime.secs,
            atime_nanos: attr.atime.nanos.into(),
            mtime: attr.mtime.secs,
            mtime_nanos: attr.mtime.nanos.into(),
            ctime: attr.ctime.secs,
            ctime_nanos: attr.ctime.nanos.into(),
            unused: [0; 3],
        }
    }
}

/// `struct statx_timestamp`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
pub(crate) struct StatxTimestamp {
    secs: i64,
    nanos: u32,
    reserved: i32,
}

impl From<Timestamp> for StatxTimestamp {
    fn from(time: Timestamp) -> Self {
        Self { secs: time.secs, nanos: time.nanos, reserved: 0 }
    }
}

/// `struct statx` (`<linux/stat.h>`), 256 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
pub(crate) struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare0: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: StatxTimestamp,
    btime: StatxTimestamp,
    ctime: StatxTimestamp,
    mtime: StatxTimestamp,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    mount_id: u64,
    dio_mem_align: u32,
    dio_offset_align: u32,
    spare3: [u64; 12],
}

same_layout!(Statx, linux::statx {
    mask = stx_mask, block_size = stx_blksize, attributes = stx_attributes, nlink = stx_nlink, uid = stx_uid,
    gid = stx_gid, mode = stx_mode, ino = stx_ino, size = stx_size, blocks = stx_blocks,
    attributes_mask = stx_attributes_mask, atime = stx_atime, btime = stx_btime, ctime = stx_ctime, mtime = stx_mtime,
    rdev_major = stx_rdev_major, rdev_minor = stx_rdev_minor, dev_major = stx_dev_major, dev_minor = stx_dev_minor,
    mount_id = stx_mnt_id, dio_mem_align = stx_dio_mem_align, dio_offset_align = stx_dio_offset_align,
});

/// The flags that `statx(2)` shows.
const SHOWN: u64 = (linux::STATX_ATTR_IMMUTABLE | linux::STATX_ATTR_APPEND | linux::STATX_ATTR_NODUMP) as u64;
const _: () = assert!(SHOWN == InodeFlags::PROTECTION.union(InodeFlags::NODUMP).bits() as u64);

impl Statx {
    /// The answer for an inode on the mount numbered `mount_id`; `is_mount_root` where it is the root of that mount.
    pub(crate) fn new(attr: &Attr, mount: Option<MountPlace>) -> Self {
        let dev = DeviceNumber::decode(attr.dev);
        let mut mask = linux::STATX_BASIC_STATS;
        let (mut attributes, mut attributes_mask) = (0, u64::from(linux::STATX_ATTR_MOUNT_ROOT));
        if let Some(flags) = attr.flags {
            // Immutable, append-only and "no dump" have the bits that they have as flags.
            attributes_mask |= SHOWN;
            attributes |= u64::from(flags.bits()) & SHOWN;
        }
        if attr.btime.is_some() {
            mask |= linux::STATX_BTIME;
        }
        if let Some(mount) = mount {
            mask |= linux::STATX_MNT_ID;
            if mount.is_root {
                attributes |= u64::from(linux::STATX_ATTR_MOUNT_ROOT);
            }
        }
        Self {
            mask,
            block_size: attr.block_size,
            attributes,
            nlink: attr.nlink,
            uid: attr.uid,
            gid: attr.gid,
            // The type and permission bits fill sixteen bits exactly.
            mode: attr.st_mode() as u16,
            spare0: 0,
            ino: attr.ino,
            size: attr.size,
            blocks: attr.blocks,
            attributes_mask,
            atime: attr.atime.into(),
            btime: attr.btime.map(Into::into).unwrap_or_default(),
            ctime: attr.ctime.into(),
            mtime: attr.mtime.into(),
            rdev_major: attr.rdev.major,
            rdev_minor: attr.rdev.minor,
            dev_major: dev.major,
            dev_minor: dev.minor,
            mount_id: mount.map_or(0, |mount| mount.id),
            dio_mem_align: 0,
            dio_offset_align: 0,
            spare3: [0; 12],
        }
    }
}

/// Where a file lies among the mounts, as `statx(2)` tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountPlace {
    /// The mount's number.
    pub(crate) id: u64,
    /// Whether the file is the root of the mount.
    pub(crate) is_root: bool,
}
