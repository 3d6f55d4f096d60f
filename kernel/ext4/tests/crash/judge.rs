//! What a tree after a power cut may be.

use std::sync::Arc;

use block::MemoryDisk;
use ext4::{Ext4, MountMode};
use vfs::{FileSystem, FileType};

use crate::common::disk::{Scratch, fsck_file, load, recover_file, store};
use crate::common::snapshot::{Tree, difference, of_fs};
use crate::common::{mount, try_mount};

/// The tree, as far as a crash must keep it: what mounts and tries change does not count.
pub(crate) fn tree(fs: &Ext4) -> Tree {
    let mut tree = of_fs(fs).unwrap_or_else(|error| panic!("the tree is not read: {error:?}"));
    normal(&mut tree);
    tree
}

/// Takes out of a tree what a crash need not keep.
pub(crate) fn normal(tree: &mut Tree) {
    for (path, entry) in tree {
        (entry.atime, entry.mtime) = Default::default();
        if entry.kind() == FileType::CharDevice && entry.rdev == (0, 0) {
            entry.nlink = 1;
            entry.first.clone_from(path);
        }
    }
}

/// `found` with everything taken from `expected` that may be ahead or behind: data of files that one of `states` has
/// otherwise, so that were written since the last sync.
fn lenient(found: &Tree, expected: &Tree, states: &[Tree]) -> Tree {
    let mut found = found.clone();
    for (path, entry) in &mut found {
        let Some(wanted) = expected.get(path) else { continue };
        let stable = states.iter().all(|state| {
            // By the inode, which may have had another name.
            state.get(path).is_some_and(|other| (other.size, other.content) == (wanted.size, wanted.content))
        });
        if !stable && entry.kind() == FileType::File && wanted.kind() == FileType::File {
            (entry.size, entry.content) = (wanted.size, wanted.content);
        }
    }
    found
}

/// Which of `states`, the trees after each operation from the last sync on, `found` is; told if none.
pub(crate) fn which(found: &Tree, states: &[Tree]) -> Result<usize, String> {
    let mut nearest = String::new();
    for (index, state) in states.iter().enumerate() {
        match difference(&lenient(found, state, states), state) {
            None => return Ok(index),
            Some(text) if nearest.is_empty() || text.len() < nearest.len() => {
                nearest = format!("nearest is state {index} of {}: {text}", states.len());
            }
            Some(_) => {}
        }
    }
    Err(nearest)
}

/// Who recovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doctor {
    /// Our mount; what it leaves is not looked at by others.
    Ours,
    /// Our mount, and `e2fsck -fn` finds nothing after its unmount.
    OursChecked,
    /// `e2fsck -fy`, then `-fn`, then our mount reads.
    E2fsck,
}

/// The tree that is found on a disk after a recovery.
pub(crate) fn recovered(disk: &Arc<MemoryDisk>, by: Doctor) -> Result<Tree, String> {
    if by == Doctor::E2fsck {
        let mut found = cured_by_e2fsck(disk, &Scratch::new())?;
        normal(&mut found);
        return Ok(found);
    }
    let fs = mount(disk.clone());
    if fs.is_read_only() {
        return Err("mounted read-only".into());
    }
    let found = tree(&fs);
    if by == Doctor::OursChecked {
        fs.unmount().map_err(|error| format!("unmount: {error:?}"))?;
        drop(fs);
        let scratch = Scratch::new();
        let image = scratch.join("image");
        store(disk, &image);
        fsck_file(&image)?;
    }
    Ok(found)
}

/// What our read-only mount finds on a copy of a disk after `e2fsck -fy`, which had nothing to repair but what a power cut leaves,
/// and after which `e2fsck -fn` finds nothing.
pub(crate) fn cured_by_e2fsck(disk: &MemoryDisk, scratch: &Scratch) -> Result<Tree, String> {
    let image = scratch.join("by e2fsck");
    store(disk, &image);
    recover_file(&image)?;
    let fs = try_mount(load(&image), MountMode::ReadOnly).map_err(|error| format!("after e2fsck: {error}"))?;
    of_fs(&*fs).map_err(|error| format!("after e2fsck: {error:?}"))
}
