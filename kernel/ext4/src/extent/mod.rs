//! Extents: which blocks a file has where.
//!
//! The map of a file is a tree whose root is in the inode ([`node`]). [Lookup](map) walks it through the buffer cache;
//! [changes](edit) replace what a range of the file maps to, one leaf at a time. Files of old filesystems have a
//! [block map](indirect) instead, which is read as it is and turned into extents before it would change.

mod edit;
mod indirect;
mod map;
pub(crate) mod node;
mod truncate;

pub(crate) use edit::Removed;
pub(crate) use map::Mapping;
pub(crate) use node::check_root;
pub(crate) use truncate::Progress;

/// The most blocks of a written extent; an unwritten one has one less.
pub(crate) const MAX_LEN: u32 = 32768;
/// The deepest tree that is valid.
pub(crate) const MAX_DEPTH: u16 = 5;

/// Whether an extent's blocks have been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Written,
    /// Reserved; reads as zeros.
    Unwritten,
}

/// Blocks of a file in a row, in a row on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First block in the file.
    pub(crate) block: u32,
    pub(crate) len: u32,
    /// First block on the disk.
    pub(crate) start: u64,
    pub(crate) state: State,
}

impl Extent {
    /// The block of the file behind the extent.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.block) + u64::from(self.len)
    }

    pub(crate) fn max_len(state: State) -> u32 {
        match state {
            State::Written => MAX_LEN,
            State::Unwritten => MAX_LEN - 1,
        }
    }

    /// Both in one, if they are neighbours on both sides and fit.
    pub(crate) fn joined(&self, next: &Self) -> Option<Self> {
        let fits = self.state == next.state
            && self.end() == u64::from(next.block)
            && self.start + u64::from(self.len) == next.start
            && self.len + next.len <= Self::max_len(self.state);
        fits.then_some(Self { len: self.len + next.len, ..*self })
    }
}
