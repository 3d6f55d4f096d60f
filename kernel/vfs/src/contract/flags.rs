//! Inode flags: what `chattr(1)` sets and `lsattr(1)` shows (`ioctl_iflags(2)`).
//!
//! Filesystems keep them and hand them down; who may do what despite them is the business of who checks permissions, through
//! [`InodeFlags::check_growth`] and [`InodeFlags::check_change`].

use crate::{Errno, Result};

bitflags::bitflags! {
    /// The flags of an inode, each at the bit that `FS_IOC_GETFLAGS` has for it (`<linux/fs.h>`), which is ext4's in `i_flags`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct InodeFlags: u32 {
        /// `S`: what is written is durable when the call returns; of a directory, its changes.
        const SYNC = 0x8;
        /// `i`: nothing of it changes.
        const IMMUTABLE = 0x10;
        /// `a`: content is added at the end, of a directory entries are made; all else stays.
        const APPEND = 0x20;
        /// `d`: backups leave it out. Nothing here looks at it.
        const NODUMP = 0x40;
        /// `A`: reading leaves the access time alone.
        const NOATIME = 0x80;
        /// `D`: a directory's changes are durable when the call returns.
        const DIRSYNC = 0x1_0000;
        // Flags of one filesystem alone, which programs are shown and give back: `FS_EXTENT_FL` and others.
        const _ = !0;
    }
}

/// `FS_XFLAG_*` of `<linux/fs.h>`, the other encoding of the same flags.
const XFLAGS: [(InodeFlags, u32); 5] = [
    (InodeFlags::IMMUTABLE, 0x8),
    (InodeFlags::APPEND, 0x10),
    (InodeFlags::SYNC, 0x20),
    (InodeFlags::NOATIME, 0x40),
    (InodeFlags::NODUMP, 0x80),
];

impl InodeFlags {
    /// Those that protect an inode: only `CAP_LINUX_IMMUTABLE` changes them.
    pub const PROTECTION: Self = Self::IMMUTABLE.union(Self::APPEND);
    /// Those that have a meaning beyond one filesystem.
    pub const COMMON: Self =
        Self::PROTECTION.union(Self::SYNC).union(Self::NODUMP).union(Self::NOATIME).union(Self::DIRSYNC);
    /// Those that a new inode takes over from its directory, as far as its filesystem has them.
    pub const INHERITED: Self = Self::SYNC.union(Self::NODUMP).union(Self::NOATIME).union(Self::DIRSYNC);

    /// Refuses what adds to an inode that takes nothing: content, entries of a directory, "now" as a time.
    ///
    /// # Errors
    /// `EPERM`.
    #[inline]
    pub fn check_growth(self) -> Result<()> {
        if self.contains(Self::IMMUTABLE) { Err(Errno::EPERM.into()) } else { Ok(()) }
    }

    /// Refuses what changes an inode otherwise: content that is there, attributes, names, the removal of entries.
    ///
    /// # Errors
    /// `EPERM`.
    #[inline]
    pub fn check_change(self) -> Result<()> {
        if self.intersects(Self::PROTECTION) { Err(Errno::EPERM.into()) } else { Ok(()) }
    }

    /// As `FS_IOC_FSGETXATTR` tells them (`fsx_xflags`), which has no bit for the rest.
    #[must_use]
    pub fn to_xflags(self) -> u32 {
        XFLAGS.iter().filter(|(flag, _)| self.contains(*flag)).fold(0, |bits, (_, bit)| bits | bit)
    }

    /// These, with what `FS_IOC_FSSETXATTR` says of them; `None` for bits that are unknown.
    #[must_use]
    pub fn with_xflags(self, bits: u32) -> Option<Self> {
        let (mut flags, mut rest) = (self, bits);
        for (flag, bit) in XFLAGS {
            flags.set(flag, bits & bit != 0);
            rest &= !bit;
        }
        (rest == 0).then_some(flags)
    }
}

/// A change of one extended attribute that belongs to another change.
#[derive(Debug, Clone, Copy)]
pub struct XattrSet<'a> {
    /// Full name.
    pub name: &'a [u8],
    /// The new value; `None` removes it, if there.
    pub value: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_carry_the_same_flags() {
        let common = InodeFlags::COMMON - InodeFlags::DIRSYNC;
        for flags in [InodeFlags::empty(), InodeFlags::IMMUTABLE, InodeFlags::NODUMP | InodeFlags::SYNC, common] {
            assert_eq!(InodeFlags::empty().with_xflags(flags.to_xflags()), Some(flags));
        }
        let kept = InodeFlags::DIRSYNC | InodeFlags::from_bits_retain(0x8_0000);
        assert_eq!((kept | InodeFlags::APPEND).with_xflags(0x8), Some(kept | InodeFlags::IMMUTABLE));
        assert_eq!(kept.with_xflags(0x8000_0000), None);
    }

    #[test]
    fn an_append_only_inode_grows_and_an_immutable_one_does_not() {
        assert!(InodeFlags::APPEND.check_growth().is_ok());
        assert!(InodeFlags::APPEND.check_change().is_err());
        assert!(InodeFlags::IMMUTABLE.check_growth().is_err());
        assert!((InodeFlags::COMMON - InodeFlags::PROTECTION).check_change().is_ok());
    }
}
