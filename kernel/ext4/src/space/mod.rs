//! Allocation of blocks and inodes.
//!
//! A block is free to be given out if its bit is clear on disk ([`bitmap`]) and it is not withheld: freed by the running
//! transaction, or reserved in a [`Window`] for a file that grows.

pub(crate) mod bitmap;
mod blocks;
mod inodes;
mod promised;
mod trim;
pub(crate) mod window;

use crate::group::Group;
use crate::superblock::Geometry;
pub(crate) use promised::{Promised, Share};
pub(crate) use window::Window;

/// Takes free blocks out of the allocator's sight.
pub(crate) fn withhold(groups: &mut [Group], geometry: &Geometry, start: u64, count: u64) {
    each_part(groups, geometry, start, count, |group, size, from, len| {
        let words = group.unavailable.get_or_insert_with(|| alloc::vec![0; size.div_ceil(64)].into_boxed_slice());
        bitmap::fill(words, from, len, true);
    });
}

/// Gives blocks back that were [withheld](withhold).
pub(crate) fn release(groups: &mut [Group], geometry: &Geometry, start: u64, count: u64) {
    each_part(groups, geometry, start, count, |group, _, from, len| {
        if let Some(words) = &mut group.unavailable {
            bitmap::fill(words, from, len, false);
        }
        group.longest_run = u32::MAX;
    });
}

/// Calls `each` with the group, its size, and first index and length of every group's part of a range.
fn each_part(
    groups: &mut [Group],
    geometry: &Geometry,
    mut start: u64,
    mut count: u64,
    mut each: impl FnMut(&mut Group, usize, u32, u32),
) {
    while count > 0 {
        let number = geometry.group_of(start);
        let from = (start - geometry.group_start(number)) as u32;
        let len = count.min(u64::from(geometry.blocks_per_group - from)) as u32;
        if let Some(group) = groups.get_mut(number as usize) {
            each(group, geometry.blocks_per_group as usize, from, len);
        }
        start += u64::from(len);
        count -= u64::from(len);
    }
}
