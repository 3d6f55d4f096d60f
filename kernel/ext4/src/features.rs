//! Feature flags of the superblock: what is known by name, and what this filesystem does with each.

use alloc::string::String;
use bitflags::bitflags;

bitflags! {
    /// Features that one may ignore (`s_feature_compat`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Compat: u32 {
        const DIR_PREALLOC = 0x1;
        const IMAGIC_INODES = 0x2;
        const HAS_JOURNAL = 0x4;
        const EXT_ATTR = 0x8;
        const RESIZE_INODE = 0x10;
        const DIR_INDEX = 0x20;
        const SPARSE_SUPER2 = 0x200;
        const FAST_COMMIT = 0x400;
        const STABLE_INODES = 0x800;
        const ORPHAN_FILE = 0x1000;
        const _ = !0;
    }

    /// Features without which the medium cannot be understood (`s_feature_incompat`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Incompat: u32 {
        const COMPRESSION = 0x1;
        const FILETYPE = 0x2;
        const RECOVER = 0x4;
        const JOURNAL_DEV = 0x8;
        const META_BG = 0x10;
        const EXTENTS = 0x40;
        const BIT64 = 0x80;
        const MMP = 0x100;
        const FLEX_BG = 0x200;
        const EA_INODE = 0x400;
        const DIRDATA = 0x1000;
        const CSUM_SEED = 0x2000;
        const LARGEDIR = 0x4000;
        const INLINE_DATA = 0x8000;
        const ENCRYPT = 0x1_0000;
        const CASEFOLD = 0x2_0000;
        const _ = !0;
    }

    /// Features without which the medium must not be written (`s_feature_ro_compat`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct RoCompat: u32 {
        const SPARSE_SUPER = 0x1;
        const LARGE_FILE = 0x2;
        const BTREE_DIR = 0x4;
        const HUGE_FILE = 0x8;
        const GDT_CSUM = 0x10;
        const DIR_NLINK = 0x20;
        const EXTRA_ISIZE = 0x40;
        const HAS_SNAPSHOT = 0x80;
        const QUOTA = 0x100;
        const BIGALLOC = 0x200;
        const METADATA_CSUM = 0x400;
        const REPLICA = 0x800;
        const READONLY = 0x1000;
        const PROJECT = 0x2000;
        const SHARED_BLOCKS = 0x4000;
        const VERITY = 0x8000;
        const ORPHAN_PRESENT = 0x1_0000;
        const _ = !0;
    }
}

impl Incompat {
    pub(crate) const SUPPORTED: Self = Self::FILETYPE
        .union(Self::RECOVER)
        .union(Self::META_BG)
        .union(Self::EXTENTS)
        .union(Self::BIT64)
        .union(Self::FLEX_BG)
        .union(Self::CSUM_SEED);
}

impl RoCompat {
    pub(crate) const SUPPORTED: Self = Self::SPARSE_SUPER
        .union(Self::LARGE_FILE)
        .union(Self::HUGE_FILE)
        .union(Self::GDT_CSUM)
        .union(Self::DIR_NLINK)
        .union(Self::EXTRA_ISIZE)
        .union(Self::METADATA_CSUM)
        .union(Self::ORPHAN_PRESENT);
}

/// The features of one filesystem.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Features {
    pub(crate) compat: Compat,
    pub(crate) incompat: Incompat,
    pub(crate) ro_compat: RoCompat,
}

impl Features {
    /// Names of the features without which it cannot be mounted, `None` if there are none.
    pub(crate) fn refused(&self) -> Option<String> {
        names(self.incompat.difference(Incompat::SUPPORTED), self.incompat_bits())
    }

    /// Names of the features that forbid writing, `None` if there are none.
    pub(crate) fn read_only(&self) -> Option<String> {
        let unknown = self.ro_compat.difference(RoCompat::SUPPORTED);
        names(unknown, unknown.bits())
    }

    fn incompat_bits(&self) -> u32 {
        self.incompat.difference(Incompat::SUPPORTED).bits()
    }

    pub(crate) fn has_checksums(&self) -> bool {
        self.ro_compat.contains(RoCompat::METADATA_CSUM)
    }

    pub(crate) fn has_dir_index(&self) -> bool {
        self.compat.contains(Compat::DIR_INDEX)
    }
}

/// Lower-case names of flags, numbers for those that have none.
fn names<F: bitflags::Flags<Bits = u32>>(flags: F, bits: u32) -> Option<String> {
    if bits == 0 {
        return None;
    }
    let mut text = String::new();
    let mut left = bits;
    for (name, flag) in flags.iter_names() {
        left &= !flag.bits();
        push(&mut text, &name.to_ascii_lowercase());
    }
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left &= !bit;
        push(&mut text, &alloc::format!("{bit:#x}"));
    }
    Some(text)
}

fn push(text: &mut String, word: &str) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    text.push_str(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_features_are_named_or_numbered() {
        let features = Features {
            compat: Compat::empty(),
            incompat: Incompat::EXTENTS | Incompat::ENCRYPT | Incompat::from_bits_retain(0x8000_0000),
            ro_compat: RoCompat::BIGALLOC | RoCompat::SPARSE_SUPER,
        };
        assert_eq!(features.refused().as_deref(), Some("encrypt, 0x80000000"));
        assert_eq!(features.read_only().as_deref(), Some("bigalloc"));
    }
}
