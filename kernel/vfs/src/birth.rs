//! What a new inode starts with: [`Birth`], the one rule for mode, group and access control lists that a directory has for what is made
//! in it (`posix_acl_create`, `inode_init_owner` of Linux). The namespace follows it, and so does who makes inodes without one.

use alloc::vec::Vec;

use crate::acl::{self, Acl};
use crate::{FileType, Result, mode};

/// A directory, as far as what is made in it is concerned.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// Its mode, permission bits and set-id bits.
    pub mode: u16,
    /// Its group.
    pub gid: u32,
    /// The list that it hands down, if it has one.
    pub default: Option<&'a Acl>,
}

/// What was asked for, and by whom.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The kind of the inode.
    pub kind: FileType,
    /// The mode, before the umask has its part. A symbolic link's is not changed.
    pub mode: u16,
    /// The caller's umask.
    pub umask: u16,
    /// The caller's group.
    pub gid: u32,
}

/// What a new inode starts with beside its owner.
pub struct Birth {
    /// Its mode.
    pub mode: u16,
    /// Its group.
    pub gid: u32,
    access: Option<Vec<u8>>,
    default: Option<Vec<u8>>,
}

impl Birth {
    /// What an inode gets in a directory: the group of a set-group-id directory, and the bit where it is a directory itself; a
    /// default list, or the umask where there is none. `keeps_set_gid` tells, where it matters, whether the caller may
    /// give a file of that group the bit.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(parent: &Parent<'_>, asked: &Asked, keeps_set_gid: impl FnOnce() -> bool) -> Result<Self> {
        const GROUP_EXECUTE: u16 = 0o010;
        const BOTH: u16 = mode::SET_GID | GROUP_EXECUTE;
        let (is_link, is_dir) = (asked.kind == FileType::Symlink, asked.kind == FileType::Dir);
        let mut born = Self { mode: asked.mode, gid: asked.gid, access: None, default: None };
        match parent.default {
            _ if is_link => {}
            None => born.mode &= !asked.umask,
            Some(list) => {
                let (own, inherited) = list.inherit(asked.mode);
                born.mode = inherited;
                born.access = if own.is_minimal() { None } else { Some(own.to_value()?) };
                born.default = if is_dir { Some(list.to_value()?) } else { None };
            }
        }
        if parent.mode & mode::SET_GID != 0 {
            born.gid = parent.gid;
            if is_dir {
                born.mode |= mode::SET_GID;
            } else if asked.mode & BOTH == BOTH && !keeps_set_gid() {
                // Judged by the mode that was asked for, before the umask takes its part.
                born.mode &= !mode::SET_GID;
            }
        }
        Ok(born)
    }

    /// The lists as extended attributes.
    #[must_use]
    pub fn xattrs(&self) -> heapless::Vec<(&[u8], &[u8]), 2> {
        let lists = [(acl::ACCESS, &self.access), (acl::DEFAULT, &self.default)];
        lists.into_iter().filter_map(|(name, list)| Some((name, list.as_deref()?))).collect()
    }

    /// Whether the inode has a list of its own.
    pub(crate) fn is_listed(&self) -> bool {
        self.access.is_some()
    }
}
