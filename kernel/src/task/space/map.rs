//! `mmap`, `munmap`, `mprotect`, `mremap`, `madvise`, `brk`.

use boot::layout::{PAGE_SIZE, USER_END};
use vfs::{Errno, Error, Result};

use super::fault::check_memory;
use super::{Area, Backing, Heap, LOWEST, MAP_TOP, OnFork, Rights, Role, UserSpace, page_rights, page_up};

/// The most areas that a program may have (`vm.max_map_count`).
const AREAS_MAX: usize = 65_530;

/// Where a mapping is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Anywhere.
    Any,
    /// There if free, else anywhere.
    Hint(u64),
    /// There, whatever is there now (`MAP_FIXED`).
    Fixed(u64),
    /// There, or not at all (`MAP_FIXED_NOREPLACE`).
    FixedIfFree(u64),
}

/// What `mremap` may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remap {
    /// Grow or shrink where it is.
    InPlace,
    /// Move it if it must (`MREMAP_MAYMOVE`).
    MayMove,
    /// Move it there (`MREMAP_FIXED`).
    To(u64),
}

/// Addresses and lengths that no program can have.
fn range_end(start: u64, length: u64) -> Option<u64> {
    start.checked_add(length).filter(|&end| end <= USER_END)
}

impl UserSpace {
    /// Maps `length` bytes (rounded up to pages) and returns where.
    ///
    /// # Errors
    /// `EINVAL` for no length or a fixed address inside a page; `ENOMEM` for no room; `EPERM` below the lowest
    /// address; `EEXIST` where `FixedIfFree` finds something.
    pub(crate) fn map(
        &mut self,
        place: Place,
        length: u64,
        rights: Rights,
        allowed: Rights,
        backing: Backing,
    ) -> Result<u64> {
        if length == 0 {
            return Err(Errno::EINVAL.into());
        }
        let length = page_up(length).filter(|&length| length <= USER_END).ok_or(Errno::ENOMEM)?;
        self.check_areas(1)?;
        let start = match place {
            Place::Any => self.free_range(length)?,
            Place::Hint(address) => {
                let hint = page_up(address).unwrap_or(USER_END).max(LOWEST);
                match range_end(hint, length).filter(|&end| end <= MAP_TOP && self.areas.is_free(hint, end)) {
                    Some(_) => hint,
                    None => self.free_range(length)?,
                }
            }
            Place::Fixed(address) | Place::FixedIfFree(address) => {
                let end = self.fixed_range(address, length)?;
                if matches!(place, Place::Fixed(_)) {
                    self.unmap(address, length)?;
                } else if !self.areas.is_free(address, end) {
                    return Err(Errno::EEXIST.into());
                }
                address
            }
        };
        self.add(
            start,
            Area { end: start + length, rights, allowed, backing, role: Role::Plain, on_fork: OnFork::Copied },
        )?;
        Ok(start)
    }

    fn fixed_range(&self, address: u64, length: u64) -> Result<u64> {
        if !address.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL.into());
        }
        let end = range_end(address, length).ok_or(Errno::ENOMEM)?;
        if address < LOWEST {
            return Err(Error::new(Errno::EPERM, "mapping below the lowest address"));
        }
        Ok(end)
    }

    fn free_range(&self, length: u64) -> Result<u64> {
        self.areas.highest_gap(length, LOWEST, MAP_TOP).ok_or(Error::new(Errno::ENOMEM, "no room in the address space"))
    }

    /// Has the pages of a mapping there at once (`MAP_POPULATE`), as far as memory lasts.
    pub(crate) fn populate(&mut self, start: u64, length: u64) {
        // Populating is a favour: what fails now fails at the first touch.
        let _ = self.prefault(start, length as usize, Rights::READ);
    }

    /// Whether there may be `more` areas.
    ///
    /// # Errors
    /// `ENOMEM`: the program has as many as it may, or memory is out.
    fn check_areas(&self, more: usize) -> Result<()> {
        if more == 0 {
            return Ok(());
        }
        if self.areas.len() + more > AREAS_MAX {
            return Err(Error::new(Errno::ENOMEM, "a program has too many mappings"));
        }
        check_memory()
    }

    /// Takes every mapping in the range away.
    ///
    /// # Errors
    /// `EINVAL` for an address inside a page, no length, or past the end of user addresses; `ENOMEM` where what is left would be
    /// too many mappings.
    pub(crate) fn unmap(&mut self, start: u64, length: u64) -> Result<()> {
        let end = self.page_range(start, length)?;
        if start == end {
            return Err(Errno::EINVAL.into());
        }
        // Only a hole in one area makes more of them.
        self.check_areas(self.areas.splits(start, end) / 2)?;
        self.settle_shared(start, end);
        self.drop_pages(start, end);
        self.areas.remove(start, end, |_, _| {});
        Ok(())
    }

    /// The end of a page-aligned range of any length.
    fn page_range(&self, start: u64, length: u64) -> Result<u64> {
        if !start.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL.into());
        }
        page_up(length).and_then(|length| range_end(start, length)).ok_or_else(|| Errno::EINVAL.into())
    }

    pub(super) fn drop_pages(&mut self, start: u64, end: u64) {
        let mut dropped = 0;
        self.pages.for_each_page(start, end, |pages, page| {
            pages.unmap(page);
            dropped += 1;
        });
        self.resident -= dropped;
    }

    /// Changes what the program may do with a range.
    ///
    /// # Errors
    /// `EINVAL` for an address inside a page; `ENOMEM` where something in the range is not mapped; `EACCES` for more
    /// than the file behind it was opened for.
    pub(crate) fn protect(&mut self, start: u64, length: u64, rights: Rights) -> Result<()> {
        let end = self.page_range(start, length).map_err(|error| match error.errno() {
            // An end that no address can have is one that is not mapped.
            Errno::EINVAL if start.is_multiple_of(PAGE_SIZE) => Errno::ENOMEM.into(),
            _ => error,
        })?;
        if start == end {
            return Ok(());
        }
        if !self.areas.covers(start, end) {
            return Err(Errno::ENOMEM.into());
        }
        if self.areas.within(start, end).any(|(_, area)| !area.allowed.contains(rights)) {
            return Err(Errno::EACCES.into());
        }
        self.check_areas(self.areas.splits(start, end))?;
        self.areas.update(start, end, |area| area.rights = rights);
        if rights.is_empty() {
            // The processor has no page that is there and not readable.
            self.pages.hide_range(start, end);
        } else {
            self.pages.protect_range(start, end, page_rights(rights));
        }
        Ok(())
    }

    /// Resizes or moves a mapping and returns where it is then.
    ///
    /// # Errors
    /// `EINVAL` for bad addresses, lengths or an overlap of old and new; `EFAULT` where the old range is not one
    /// mapping; `ENOMEM` where it cannot grow.
    pub(crate) fn remap(&mut self, old: u64, old_length: u64, new_length: u64, how: Remap) -> Result<u64> {
        let old_end = self.page_range(old, old_length)?;
        let new_length = page_up(new_length).filter(|&length| length > 0).ok_or(Errno::EINVAL)?;
        let old_length = old_end - old;
        if old_length == 0 {
            // Duplicates a shared mapping on Linux; nobody is known to ask for it.
            return Err(Errno::EINVAL.into());
        }
        let (first, area) = self.areas.find(old).ok_or(Errno::EFAULT)?;
        if area.end < old_end {
            return Err(Errno::EFAULT.into());
        }
        let (area_end, mut moved) = (area.end, area.clone());
        moved.backing.advance(old - first);
        if let Remap::To(target) = how {
            let target_end = self.page_range(target, new_length)?;
            if target < LOWEST || (target < old_end && old < target_end) {
                return Err(Errno::EINVAL.into());
            }
            self.unmap(target, new_length)?;
            return self.relocate(old, old_length.min(new_length), old_length, target, new_length, moved);
        }
        if new_length <= old_length {
            if new_length < old_length {
                self.unmap(old + new_length, old_length - new_length)?;
            }
            return Ok(old);
        }
        let wanted_end = range_end(old, new_length);
        if area_end == old_end
            && let Some(end) = wanted_end.filter(|&end| self.areas.is_free(old_end, end))
        {
            if let Some(area) = self.areas.at(first) {
                area.end = end;
            }
            return Ok(old);
        }
        if how == Remap::InPlace {
            return Err(Errno::ENOMEM.into());
        }
        let target = self.free_range(new_length)?;
        self.relocate(old, old_length, old_length, target, new_length, moved)
    }

    /// Makes a mapping of `new_length` bytes at `target`, moves the pages of the first `kept` bytes there and takes the old
    /// range away.
    fn relocate(
        &mut self,
        old: u64,
        kept: u64,
        old_length: u64,
        target: u64,
        new_length: u64,
        mut area: Area,
    ) -> Result<u64> {
        area.end = target + new_length;
        self.areas.insert(target, area);
        let mut outcome = Ok(());
        self.pages.for_each_page(old, old + kept, |pages, page| {
            if outcome.is_ok() {
                outcome = pages.move_page(page, target + (page - old));
            }
        });
        if outcome.is_err() {
            // Pages that were not moved are still at the old place, and those that were stay: neither is lost, but the
            // program is out of memory for its own tables and will hear of it.
            return Err(Errno::ENOMEM.into());
        }
        self.unmap(old, old_length)?;
        Ok(target)
    }

    /// Forgets the content of a range (`MADV_DONTNEED`): zeros or the file again at the next touch.
    ///
    /// # Errors
    /// `EINVAL` for bad addresses; `ENOMEM` where something in the range is not mapped: the rest is done.
    pub(crate) fn forget(&mut self, start: u64, length: u64) -> Result<()> {
        let end = self.page_range(start, length)?;
        self.settle_shared(start, end);
        self.drop_pages(start, end);
        if start < end && !self.areas.covers(start, end) {
            return Err(Errno::ENOMEM.into());
        }
        Ok(())
    }

    /// Says what becomes of a range in children (`MADV_DONTFORK`, `MADV_WIPEONFORK` and their opposites).
    ///
    /// # Errors
    /// `EINVAL` for bad addresses, and to wipe what is not a program's own anonymous memory; `ENOMEM` where something in the range is not
    /// mapped, or there would be too many mappings.
    pub(crate) fn set_on_fork(&mut self, start: u64, length: u64, on_fork: OnFork) -> Result<()> {
        let end = self.page_range(start, length)?;
        self.check_mapped(start, length)?;
        let is_own = |area: &Area| matches!(area.backing, Backing::Anonymous);
        if on_fork == OnFork::Wiped && !self.areas.within(start, end).all(|(_, area)| is_own(area)) {
            return Err(Errno::EINVAL.into());
        }
        if start < end {
            self.check_areas(self.areas.splits(start, end))?;
            self.areas.update(start, end, |area| area.on_fork = on_fork);
        }
        Ok(())
    }

    /// Whether the whole range is mapped: what advice without effect still has to say.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    pub(crate) fn check_mapped(&self, start: u64, length: u64) -> Result<()> {
        let end = self.page_range(start, length)?;
        if start < end && !self.areas.covers(start, end) {
            return Err(Errno::ENOMEM.into());
        }
        Ok(())
    }

    /// Moves the end of the heap to `address`, if that can be, and returns where the end is.
    pub(crate) fn set_heap_end(&mut self, address: u64) -> u64 {
        let Heap { start, end } = self.heap;
        if address < start || address > MAP_TOP {
            return end;
        }
        let (Some(old), Some(new)) = (page_up(end), page_up(address)) else { return end };
        if new < old {
            // Whatever was mapped over it goes, too, and what was stored in it stays stored.
            if self.unmap(new, old - new).is_err() {
                return end;
            }
        } else if new > old {
            let rights = Rights::READ | Rights::WRITE;
            let area = Area {
                end: new,
                rights,
                allowed: Rights::all(),
                backing: Backing::Anonymous,
                role: Role::Heap,
                on_fork: OnFork::Copied,
            };
            // A page stays free above, so that the heap never touches another mapping.
            if !self.areas.is_free(old, new + PAGE_SIZE) || self.add(old, area).is_err() {
                return end;
            }
        }
        self.heap.end = address;
        address
    }

    /// Adds the first stack, with the guard below it, and returns the address above it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn add_stack(&mut self, executable: bool) -> Result<u64> {
        let mut rights = Rights::READ | Rights::WRITE;
        rights.set(Rights::EXECUTE, executable);
        let bottom = USER_END - super::STACK_BYTES;
        let stack = Area {
            end: USER_END,
            rights,
            allowed: Rights::all(),
            backing: Backing::Anonymous,
            role: Role::Stack,
            on_fork: OnFork::Copied,
        };
        self.add(bottom, stack)?;
        let guard = Area {
            end: bottom,
            rights: Rights::empty(),
            allowed: Rights::empty(),
            backing: Backing::Anonymous,
            role: Role::Guard,
            on_fork: OnFork::Copied,
        };
        self.add(bottom - PAGE_SIZE, guard)?;
        Ok(USER_END)
    }
}
