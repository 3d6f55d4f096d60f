//! Indexes of directories that lie: loops, depths, counts, blocks outside.

use super::{Case, Then};
use crate::common::raw::inode;

pub(super) const CASES: &[Case] = &[
    (
        "an index whose children are its root",
        |c| {
            let at = c.directory("crowd");
            for index in 0..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8 + 4, 0);
            }
        },
        Then::Ends,
    ),
    (
        "an index of two levels that has one",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1e] = 1;
        },
        Then::Ends,
    ),
    (
        "an index of 200 levels",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1e] = 200;
        },
        Then::Ends,
    ),
    (
        "an index of an unknown hash",
        |c| {
            let at = c.directory("crowd");
            c.raw.bytes[at + 0x1c] = 99;
        },
        Then::Ends,
    ),
    (
        "an index with more entries than room",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x22, 60_000);
        },
        Then::Ends,
    ),
    (
        "an index with no entry",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x22, 0);
        },
        Then::Ends,
    ),
    (
        "an index with a lying limit",
        |c| {
            let at = c.directory("crowd");
            c.raw.put16(at + 0x20, 60_000);
        },
        Then::Ends,
    ),
    (
        "an index past the end of its directory",
        |c| {
            let at = c.directory("crowd");
            for index in 0..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8 + 4, 0x00ff_0000 + index as u32);
            }
        },
        Then::Ends,
    ),
    (
        "an index with hashes out of order",
        |c| {
            let at = c.directory("crowd");
            for index in 1..usize::from(c.raw.u16(at + 0x22)) {
                c.raw.put32(at + 0x20 + index * 8, 0x1000_0000 - index as u32 * 2);
            }
        },
        Then::Ends,
    ),
    (
        "an index flag on a directory without one",
        |c| {
            let at = c.inode("dir") + inode::FLAGS;
            let flags = c.raw.u32(at) | 0x1000;
            c.raw.put32(at, flags);
        },
        Then::Ends,
    ),
];
