//! What is mapped where: the areas of an address space, by address, never overlapping.
//!
//! Key types: [`Area`], [`Areas`]. No page tables here.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Bound;

use boot::layout::PAGE_SIZE;
use vfs::{FileOps, OpenFile};

use super::shared::Shared;

bitflags::bitflags! {
    /// What a program may do with its memory (`PROT_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Rights: u8 {
        /// `PROT_READ`.
        const READ = 1;
        /// `PROT_WRITE`.
        const WRITE = 2;
        /// `PROT_EXEC`.
        const EXECUTE = 4;
    }
}

/// Where the content of an area's pages comes from.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Zeros.
    Anonymous,
    /// A file, copied when a page is first touched.
    File(FileRange),
    /// Pages that others show too.
    Shared {
        /// Whose they are.
        object: Arc<Shared>,
        /// The index in it of the area's first page.
        first: u64,
    },
}

impl Backing {
    /// The open file behind it, and the offset of its first byte there.
    pub(crate) fn file(&self) -> Option<(&Arc<OpenFile>, u64)> {
        match self {
            Self::Anonymous => None,
            Self::File(range) => Some((&range.file.open, range.offset)),
            Self::Shared { object, first } => object.file().map(|file| (&file.open, first * PAGE_SIZE)),
        }
    }

    /// Where the backing of a part that begins `distance` bytes later begins.
    pub(super) fn advance(&mut self, distance: u64) {
        match self {
            Self::Anonymous => {}
            Self::File(range) => range.offset += distance,
            Self::Shared { first, .. } => *first += distance / PAGE_SIZE,
        }
    }
}

/// A file that is mapped: its content, and the open file that keeps it (and, for a program, keeps writers out).
#[derive(Clone)]
pub(crate) struct MappedFile {
    /// As it was opened.
    pub(crate) open: Arc<OpenFile>,
    /// What its pages hold.
    pub(crate) content: Arc<dyn FileOps>,
}

/// The part of a file behind an area.
#[derive(Clone)]
pub(crate) struct FileRange {
    /// The file.
    pub(crate) file: MappedFile,
    /// Offset in the file of the area's first byte, a multiple of the page size.
    pub(crate) offset: u64,
    /// Where the file's part of the area ends, as an offset in the file: zeros follow, as after a program's
    /// initialised data. `None`: at the end of the file, and whole pages past it are a bus error, as `mmap(2)` says.
    pub(crate) end: Option<u64>,
}

/// What an area is for: the rules that follow, and its name in `/proc/self/maps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// An ordinary mapping.
    Plain,
    /// What `brk` moves.
    Heap,
    /// The first stack.
    Stack,
    /// Never touchable: below the stack.
    Guard,
}

/// What becomes of an area in a child (`madvise(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFork {
    /// The child has it.
    Copied,
    /// The child has zeros there (`MADV_WIPEONFORK`).
    Wiped,
    /// The child has nothing there (`MADV_DONTFORK`).
    Left,
}

/// One mapping.
#[derive(Clone)]
pub(crate) struct Area {
    /// The first address after it.
    pub(crate) end: u64,
    /// What the program may do.
    pub(crate) rights: Rights,
    /// What `mprotect` may give at most.
    pub(crate) allowed: Rights,
    /// What it holds.
    pub(crate) backing: Backing,
    /// What it is for.
    pub(crate) role: Role,
    /// What becomes of it in a child.
    pub(crate) on_fork: OnFork,
}

impl Area {
    /// The same area, cut so that it begins `distance` bytes later.
    fn tail(&self, distance: u64) -> Self {
        let mut tail = self.clone();
        tail.backing.advance(distance);
        tail
    }

    fn continues_as(&self, next: &Self) -> bool {
        matches!((&self.backing, &next.backing), (Backing::Anonymous, Backing::Anonymous))
            && self.rights == next.rights
            && self.allowed == next.allowed
            && self.role == next.role
            && self.on_fork == next.on_fork
    }
}

/// The areas of a space by their first address.
#[derive(Clone, Default)]
pub(crate) struct Areas {
    by_start: BTreeMap<u64, Area>,
}

impl Areas {
    /// The area around `address`, with where it starts.
    pub(crate) fn find(&self, address: u64) -> Option<(u64, &Area)> {
        self.by_start
            .range(..=address)
            .next_back()
            .filter(|(_, area)| address < area.end)
            .map(|(&start, area)| (start, area))
    }

    /// All areas, lowest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Area)> {
        self.by_start.iter().map(|(&start, area)| (start, area))
    }

    /// Areas that reach into `start..end`, lowest first.
    pub(crate) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, &Area)> {
        let first = self.find(start).map_or(start, |(start, _)| start);
        self.by_start.range(first..end).map(|(&start, area)| (start, area))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }

    /// How many more there are once `start` and `end` are borders: 0 to 2.
    pub(crate) fn splits(&self, start: u64, end: u64) -> usize {
        let is_inside = |address| self.find(address).is_some_and(|(first, _)| first < address);
        usize::from(is_inside(start)) + usize::from(is_inside(end))
    }

    /// Whether nothing is mapped in `start..end`.
    pub(crate) fn is_free(&self, start: u64, end: u64) -> bool {
        self.within(start, end).next().is_none()
    }

    /// Whether every byte of `start..end` is mapped.
    pub(crate) fn covers(&self, start: u64, end: u64) -> bool {
        let mut at = start;
        for (first, area) in self.within(start, end) {
            if first > at {
                return false;
            }
            at = area.end;
        }
        at >= end
    }

    /// The highest free range of `length` bytes below `top` and not below `bottom`.
    pub(crate) fn highest_gap(&self, length: u64, bottom: u64, top: u64) -> Option<u64> {
        let mut ceiling = top;
        for (&start, area) in self.by_start.range(..top).rev() {
            if area.end < ceiling && ceiling - area.end >= length {
                break;
            }
            ceiling = ceiling.min(start);
        }
        ceiling.checked_sub(length).filter(|&start| start >= bottom)
    }

    /// Adds an area where nothing is, joined to its neighbour below where the two are one.
    pub(crate) fn insert(&mut self, start: u64, area: Area) {
        if let Some((_, below)) = self.by_start.range_mut(..start).next_back()
            && below.end == start
            && below.continues_as(&area)
        {
            below.end = area.end;
            return;
        }
        self.by_start.insert(start, area);
    }

    /// Makes `address` a border between areas, if it is inside one.
    pub(crate) fn split(&mut self, address: u64) {
        if let Some((&start, area)) = self.by_start.range_mut(..address).next_back()
            && address < area.end
        {
            let tail = area.tail(address - start);
            area.end = address;
            self.by_start.insert(address, tail);
        }
    }

    /// Takes everything in `start..end` away and gives it to `each`.
    pub(crate) fn remove(&mut self, start: u64, end: u64, mut each: impl FnMut(u64, Area)) {
        self.split(start);
        self.split(end);
        while let Some((&first, _)) = self.by_start.range((Bound::Included(start), Bound::Excluded(end))).next() {
            if let Some(area) = self.by_start.remove(&first) {
                each(first, area);
            }
        }
    }

    /// Calls `change` with each area inside `start..end`, split at the borders first.
    pub(crate) fn update(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Area)) {
        self.split(start);
        self.split(end);
        self.by_start.range_mut(start..end).for_each(|(_, area)| change(area));
    }

    /// The area that starts at `start`.
    pub(crate) fn at(&mut self, start: u64) -> Option<&mut Area> {
        self.by_start.get_mut(&start)
    }
}
