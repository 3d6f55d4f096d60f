//! The pages of a file: a radix tree that is as high as the file needs, and stores nothing for holes.
//!
//! A [`Page`] keeps its bytes up to the last one that was written; the rest of its 4 KiB reads as zeros. One without
//! any byte is reserved but unwritten, and a hole to who looks for data. Nodes grow as they are filled: a small file pays
//! for a small page and no node at all.

use alloc::vec::Vec;

use vfs::Result;

use crate::memory::out_of_memory;

/// Size of a page in bytes.
pub(crate) const PAGE: usize = 4096;
/// A node has `1 << BITS` slots.
const BITS: u32 = 6;
const FANOUT: usize = 1 << BITS;
/// The smallest memory that a page of a small file takes, in bytes.
const SMALLEST: usize = 64;

/// One page: the bytes up to the last one that was written.
#[derive(Debug, Default)]
pub(crate) struct Page(Vec<u8>);

impl Page {
    /// A page with memory for all its bytes, none of them written.
    pub(crate) fn reserved() -> Result<Self> {
        let mut page = Self::default();
        page.grow_to(PAGE)?;
        Ok(page)
    }

    fn grow_to(&mut self, capacity: usize) -> Result<()> {
        let missing = capacity.saturating_sub(self.0.len());
        self.0.try_reserve_exact(missing).map_err(|_| out_of_memory())
    }

    /// Makes sure that the bytes up to `end` can be written; a page that `may_stay_small` takes only what it needs.
    pub(crate) fn prepare(&mut self, end: usize, may_stay_small: bool) -> Result<()> {
        if end <= self.0.capacity() {
            return Ok(());
        }
        self.grow_to(if may_stay_small { end.next_power_of_two().clamp(SMALLEST, PAGE) } else { PAGE })
    }

    /// Writes `data` at `offset`: the page was [prepared](Self::prepare) for it.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        if self.0.len() < offset {
            self.0.resize(offset, 0);
        }
        let (over, beyond) = data.split_at(data.len().min(self.0.len() - offset));
        self.0[offset..offset + over.len()].copy_from_slice(over);
        self.0.extend_from_slice(beyond);
    }

    /// Reads from `offset` into `buf`, zeros past what was written.
    pub(crate) fn read(&self, offset: usize, buf: &mut [u8]) {
        let have = self.0.get(offset..).unwrap_or_default();
        let (filled, rest) = buf.split_at_mut(have.len().min(buf.len()));
        filled.copy_from_slice(&have[..filled.len()]);
        rest.fill(0);
    }

    /// Makes the bytes of `start..end` zeros.
    pub(crate) fn zero(&mut self, start: usize, end: usize) {
        if end >= self.0.len() {
            self.0.truncate(start);
        } else {
            self.0[start..end].fill(0);
        }
    }

    const fn is_written(&self) -> bool {
        !self.0.is_empty()
    }
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Page(Page),
    /// At most [`FANOUT`] slots; those past the end are empty.
    Node(Vec<Slot>),
}

/// The tree. A page's index is its offset in the file divided by [`PAGE`].
#[derive(Debug, Default)]
pub(crate) struct PageTree {
    root: Slot,
    /// Levels of nodes above the pages.
    height: u32,
    /// Pages, written or reserved.
    count: u64,
}

/// How many pages a slot at `height` spans; `None` where that is every index there is.
const fn span(height: u32) -> Option<u64> {
    1u64.checked_shl(height * BITS)
}

/// Which slot of a node at `height` leads to `index`.
const fn digit(index: u64, height: u32) -> usize {
    (index >> ((height - 1) * BITS)) as usize & (FANOUT - 1)
}

impl PageTree {
    /// Pages in the tree, written or reserved.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    fn covers(&self, index: u64) -> bool {
        span(self.height).is_none_or(|span| index < span)
    }

    /// The page at `index`.
    pub(crate) fn get(&self, index: u64) -> Option<&Page> {
        if !self.covers(index) {
            return None;
        }
        let mut slot = &self.root;
        for height in (1..=self.height).rev() {
            let Slot::Node(slots) = slot else { return None };
            slot = slots.get(digit(index, height))?;
        }
        match slot {
            Slot::Page(page) => Some(page),
            _ => None,
        }
    }

    /// The page at `index`, to change it.
    pub(crate) fn get_mut(&mut self, index: u64) -> Option<&mut Page> {
        if !self.covers(index) {
            return None;
        }
        let mut slot = &mut self.root;
        for height in (1..=self.height).rev() {
            let Slot::Node(slots) = slot else { return None };
            slot = slots.get_mut(digit(index, height))?;
        }
        match slot {
            Slot::Page(page) => Some(page),
            _ => None,
        }
    }

    /// Puts `page` at `index`, where none is.
    ///
    /// # Errors
    /// `ENOMEM`: the page is dropped, the tree holds what it held.
    pub(crate) fn insert(&mut self, index: u64, page: Page) -> Result<()> {
        while !self.covers(index) {
            self.raise()?;
        }
        let mut slot = &mut self.root;
        for height in (1..=self.height).rev() {
            if let Slot::Empty = slot {
                *slot = Slot::Node(Vec::new());
            }
            let Slot::Node(slots) = slot else { unreachable!("a page above the lowest level") };
            let position = digit(index, height);
            if slots.len() <= position {
                slots.try_reserve(position + 1 - slots.len()).map_err(|_| out_of_memory())?;
                slots.resize_with(position + 1, Slot::default);
            }
            slot = &mut slots[position];
        }
        debug_assert!(matches!(slot, Slot::Empty), "a page over a page");
        *slot = Slot::Page(page);
        self.count += 1;
        Ok(())
    }

    /// One more level above the root.
    fn raise(&mut self) -> Result<()> {
        if !matches!(self.root, Slot::Empty) {
            let mut slots = Vec::new();
            slots.try_reserve_exact(1).map_err(|_| out_of_memory())?;
            slots.push(core::mem::take(&mut self.root));
            self.root = Slot::Node(slots);
        }
        self.height += 1;
        Ok(())
    }

    /// Removes the pages of `start..end`; returns how many there were.
    pub(crate) fn remove(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let removed = remove(&mut self.root, self.height, start, end - 1);
        self.count -= removed;
        self.lower();
        removed
    }

    /// Gives up levels that hold nothing but the first slot.
    fn lower(&mut self) {
        while self.height > 0 {
            match &mut self.root {
                Slot::Node(slots) if slots.len() == 1 => {
                    self.root = slots.pop().unwrap_or_default();
                    self.height -= 1;
                }
                Slot::Empty => self.height = 0,
                _ => return,
            }
        }
    }

    /// How many pages of `start..end` are there.
    pub(crate) fn count_in(&self, start: u64, end: u64) -> u64 {
        if start >= end { 0 } else { count(&self.root, self.height, start, end - 1) }
    }

    /// The first written page at or after `index`.
    pub(crate) fn next_written(&self, index: u64) -> Option<u64> {
        if self.covers(index) { next_written(&self.root, self.height, index) } else { None }
    }

    /// The first index at or after `index` without a written page.
    pub(crate) fn next_hole(&self, index: u64) -> u64 {
        if !self.covers(index) {
            return index;
        }
        next_hole(&self.root, self.height, index).or(span(self.height)).unwrap_or(u64::MAX)
    }
}

/// The part of `first..=last` that lies under slot `position` of a node at `height`, relative to it.
fn part(position: usize, height: u32, first: u64, last: u64) -> Option<(u64, u64)> {
    // A node at this height exists, so what its slots span is a number.
    let size = 1u64 << ((height - 1) * BITS);
    let base = position as u64 * size;
    let (low, high) = (first.max(base), last.min(base + (size - 1)));
    (low <= high).then(|| (low - base, high - base))
}

fn remove(slot: &mut Slot, height: u32, first: u64, last: u64) -> u64 {
    match slot {
        Slot::Empty => 0,
        Slot::Page(_) => {
            if first > 0 {
                return 0;
            }
            *slot = Slot::Empty;
            1
        }
        Slot::Node(slots) => {
            let mut removed = 0;
            for (position, child) in slots.iter_mut().enumerate() {
                if let Some((low, high)) = part(position, height, first, last) {
                    removed += remove(child, height - 1, low, high);
                }
            }
            while matches!(slots.last(), Some(Slot::Empty)) {
                slots.pop();
            }
            if slots.is_empty() {
                *slot = Slot::Empty;
            }
            removed
        }
    }
}

fn count(slot: &Slot, height: u32, first: u64, last: u64) -> u64 {
    match slot {
        Slot::Empty => 0,
        Slot::Page(_) => u64::from(first == 0),
        Slot::Node(slots) => slots
            .iter()
            .enumerate()
            .filter_map(|(position, child)| {
                part(position, height, first, last).map(|(low, high)| count(child, height - 1, low, high))
            })
            .sum(),
    }
}

fn next_written(slot: &Slot, height: u32, from: u64) -> Option<u64> {
    match slot {
        Slot::Empty => None,
        Slot::Page(page) => page.is_written().then_some(0),
        Slot::Node(slots) => slots.iter().enumerate().skip(digit(from, height)).find_map(|(position, child)| {
            let (low, _) = part(position, height, from, u64::MAX)?;
            next_written(child, height - 1, low).map(|found| found + ((position as u64) << ((height - 1) * BITS)))
        }),
    }
}

fn next_hole(slot: &Slot, height: u32, from: u64) -> Option<u64> {
    match slot {
        Slot::Empty => Some(from),
        Slot::Page(page) => (!page.is_written()).then_some(0),
        Slot::Node(slots) => (digit(from, height)..FANOUT).find_map(|position| {
            let (low, _) = part(position, height, from, u64::MAX)?;
            let child = slots.get(position).unwrap_or(&Slot::Empty);
            next_hole(child, height - 1, low).map(|found| found + ((position as u64) << ((height - 1) * BITS)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn written() -> Page {
        let mut page = Page::reserved().unwrap();
        page.write(0, b"x");
        page
    }

    #[test]
    fn a_tree_answers_as_a_sorted_set_does() {
        let mut state = 7u64;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for reach in [1u64, 60, 70, 5_000, 300_000] {
            let (mut tree, mut set) = (PageTree::default(), BTreeSet::new());
            for _ in 0..2_000 {
                let index = random(reach);
                match random(8) {
                    0 => {
                        let end = index + random(reach / 4 + 2);
                        let expected = set.range(index..end).count() as u64;
                        assert_eq!(tree.count_in(index, end), expected);
                        assert_eq!(tree.remove(index, end), expected);
                        set.retain(|&page| page < index || page >= end);
                    }
                    _ => {
                        if set.insert(index) {
                            tree.insert(index, written()).unwrap();
                        }
                    }
                }
                let probe = random(reach + 10);
                assert_eq!(tree.get(probe).is_some(), set.contains(&probe));
                assert_eq!(tree.next_written(probe), set.range(probe..).next().copied());
                assert_eq!(tree.next_hole(probe), (probe..).find(|page| !set.contains(page)).unwrap());
                assert_eq!(tree.count(), set.len() as u64);
            }
            tree.remove(0, u64::MAX);
            assert_eq!((tree.count(), tree.height), (0, 0));
        }
    }

    #[test]
    fn the_last_page_of_the_largest_file_has_a_place() {
        let mut tree = PageTree::default();
        let last = i64::MAX as u64 / PAGE as u64;
        tree.insert(last, written()).unwrap();
        tree.insert(0, written()).unwrap();
        assert_eq!(tree.next_written(1), Some(last));
        assert_eq!(tree.next_hole(last), last + 1);
        assert_eq!(tree.remove(1, u64::MAX), 1);
        assert_eq!(tree.next_written(1), None);
    }

    #[test]
    fn bytes_past_the_last_written_one_are_zeros() {
        let mut page = Page::default();
        page.prepare(10, true).unwrap();
        page.write(6, b"abcd");
        let mut buf = [9; 16];
        page.read(4, &mut buf);
        assert_eq!(&buf, b"\0\0abcd\0\0\0\0\0\0\0\0\0\0");
        page.zero(7, 4096);
        page.prepare(12, true).unwrap();
        page.write(11, b"z");
        page.read(4, &mut buf);
        assert_eq!(&buf, b"\0\0a\0\0\0\0z\0\0\0\0\0\0\0\0");
    }
}
