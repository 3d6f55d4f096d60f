//! Pages that programs share: `MAP_SHARED` of files, and of nothing.
//!
//! A [`Shared`] object is made when a file is first mapped so and lives as long as a mapping does; every mapping of the file
//! finds the same one by the file's identity and shows its frames. The processor notes in a page's entry that the page was
//! written; [`Shared::flush`] gathers those notes from all spaces and writes the pages to the file.
//!
//! Mappings and the calls that read and write the file see each other: before a read what was stored is written to the file,
//! after a write the pages are read again ([`before_read`], [`after_write`]); what changes a file's size goes through
//! [`changing`], or is followed by [`after_truncating`]. While nobody maps anything, each of these is one load.
//!
//! Locks: [`TABLE`] → (released) → a space's → an object's pages → the filesystem's. No lock of this module is held when a
//! space is locked.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use base::sync::Mutex;
use boot::layout::PAGE_SIZE;
use vfs::{Errno, FileOps, ObjectId, OpenFile, Result};

use super::fault::{Fault, new_frame};
use super::{Backing, MappedFile, UserSpace};
use crate::memory::frames::Frame;
use crate::task::process;

/// What is shared: a file's pages, or pages of nothing's.
pub(crate) struct Shared {
    /// `None`: anonymous memory, which only children inherit.
    file: Option<SharedFile>,
    pages: Mutex<BTreeMap<u64, Page>>,
}

struct SharedFile {
    id: ObjectId,
    mapped: MappedFile,
}

struct Page {
    frame: Frame,
    /// Written to since it was last the file's.
    dirty: bool,
}

/// Shared files by identity.
static TABLE: Mutex<BTreeMap<ObjectId, Weak<Shared>>> = Mutex::new(BTreeMap::new());
/// How many there are.
static FILES: AtomicUsize = AtomicUsize::new(0);

impl Shared {
    /// The object of a file, made if there is none.
    pub(crate) fn of_file(id: ObjectId, mapped: MappedFile) -> Arc<Self> {
        let mut table = TABLE.lock();
        if let Some(shared) = table.get(&id).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(Self { file: Some(SharedFile { id, mapped }), pages: Mutex::default() });
        table.insert(id, Arc::downgrade(&shared));
        FILES.fetch_add(1, Ordering::Relaxed);
        shared
    }

    /// An object of zeros.
    pub(crate) fn anonymous() -> Arc<Self> {
        Arc::new(Self { file: None, pages: Mutex::default() })
    }

    /// The file behind it.
    pub(crate) fn file(&self) -> Option<&MappedFile> {
        self.file.as_ref().map(|file| &file.mapped)
    }

    /// The physical address of the frame of page `index`, which stays until it is discarded or the object
    /// goes.
    pub(super) fn frame(&self, index: u64) -> Result<u64, Fault> {
        let mut pages = self.pages.lock();
        if let Some(page) = pages.get(&index) {
            return Ok(page.frame.address());
        }
        let mut frame = new_frame().map_err(|_| Fault::OutOfMemory)?;
        match &self.file {
            None => frame.bytes_mut().fill(0),
            Some(file) => match read_page(&*file.mapped.content, index, &mut frame) {
                Ok(0) => return Err(Fault::PastEnd),
                Ok(_) => {}
                Err(_) => return Err(Fault::Unreadable),
            },
        }
        let address = frame.address();
        pages.insert(index, Page { frame, dirty: false });
        Ok(address)
    }

    /// Notes that a page was written.
    pub(super) fn mark_dirty(&self, index: u64) {
        if let Some(page) = self.pages.lock().get_mut(&index) {
            page.dirty = true;
        }
    }

    /// Writes what was stored in the mappings to the file.
    ///
    /// # Errors
    /// `ENOSPC`, `EIO`: what was not written stays.
    pub(crate) fn flush(self: &Arc<Self>) -> Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        for space in spaces() {
            // A space in use is that of a program that is inside a fault of its own: it will be asked again.
            if let Some(mut space) = space.try_lock() {
                space.gather_dirty(self);
            }
        }
        self.write_dirty()
    }

    fn write_dirty(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let content = &file.mapped.content;
        let mut pages = self.pages.lock();
        if !pages.values().any(|page| page.dirty) {
            return Ok(());
        }
        let size = content.attr()?.size;
        for (index, page) in pages.iter_mut().filter(|(_, page)| page.dirty) {
            let offset = index * PAGE_SIZE;
            let length = size.saturating_sub(offset).min(PAGE_SIZE) as usize;
            let mut rest = &page.frame.bytes_mut()[..length];
            let mut at = offset;
            while !rest.is_empty() {
                let written = content.write_at(at, rest)?;
                at += written as u64;
                rest = &rest[written..];
            }
            page.dirty = false;
        }
        Ok(())
    }

    /// Reads pages again that a write changed.
    fn refresh(&self, from: u64, to: u64) {
        let Some(file) = &self.file else { return };
        let range = from / PAGE_SIZE..to.div_ceil(PAGE_SIZE);
        for (index, page) in self.pages.lock().range_mut(range) {
            // A page that cannot be read keeps what it has.
            let _ = read_page(&*file.mapped.content, *index, &mut page.frame);
        }
    }

    /// Shows the file as it is now: takes the pages past its end away from everybody, and reads the others again.
    fn resized(self: &Arc<Self>, size: u64) {
        let first_gone = size.div_ceil(PAGE_SIZE);
        for space in spaces() {
            if let Some(mut space) = space.try_lock() {
                space.drop_shared(self, first_gone);
            }
        }
        let gone = self.pages.lock().split_off(&first_gone);
        drop(gone);
        self.refresh(0, size);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            FILES.fetch_sub(1, Ordering::Relaxed);
            let mut table = TABLE.lock();
            if table.get(&file.id).is_some_and(|shared| shared.strong_count() == 0) {
                table.remove(&file.id);
            }
            drop(table);
            // The last mapping is gone; a failure was logged where it happened.
            let _ = self.write_dirty();
        }
    }
}

/// Reads a page of a file, zeros after its end; returns how much the file has of it.
fn read_page(content: &dyn FileOps, index: u64, frame: &mut Frame) -> Result<usize> {
    let bytes = frame.bytes_mut();
    let length = content.read_at(index * PAGE_SIZE, bytes)?;
    bytes[length..].fill(0);
    Ok(length)
}

/// The memory of every process that lives.
fn spaces() -> Vec<crate::task::SharedSpace> {
    process::all().iter().filter_map(|process| process.shown()).map(|shown| shown.space).collect()
}

/// The object of an open file, if it is mapped by anybody.
fn of(file: &OpenFile) -> Option<Arc<Shared>> {
    if FILES.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let id = file.location()?.object().ok()?;
    TABLE.lock().get(&id).and_then(Weak::upgrade)
}

/// Called before a file is read, written or synced by a call: what was stored in mappings is its content.
///
/// # Errors
/// As [`Shared::flush`].
#[inline]
pub(crate) fn before_read(file: &OpenFile) -> Result<()> {
    if FILES.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    of(file).map_or(Ok(()), |shared| shared.flush())
}

/// Whether any file is mapped so that programs share it.
#[inline]
pub(crate) fn is_any() -> bool {
    FILES.load(Ordering::Relaxed) != 0
}

/// Called after `count` bytes of a file were written at `offset`: mappings show them.
#[inline]
pub(crate) fn after_write(file: &OpenFile, offset: u64, count: u64) {
    if FILES.load(Ordering::Relaxed) != 0
        && let Some(shared) = of(file)
    {
        shared.refresh(offset, offset.saturating_add(count));
    }
}

/// Changes a file by `change`, its size perhaps: what was stored in mappings is its content before, and they show what it is
/// after, whether that succeeds or not.
///
/// # Errors
/// As [`Shared::flush`]; those of `change`.
pub(crate) fn changing<R>(file: &OpenFile, change: impl FnOnce() -> Result<R>) -> Result<R> {
    before_read(file)?;
    let outcome = change();
    after_truncating(file);
    outcome
}

/// Called after a file was opened with `O_TRUNC`: what was stored in mappings is gone with all else.
#[inline]
pub(crate) fn after_truncating(file: &OpenFile) {
    if FILES.load(Ordering::Relaxed) != 0
        && let Some(shared) = of(file)
        && let Some(Ok(attr)) = shared.file().map(|file| file.content.attr())
    {
        shared.resized(attr.size);
    }
}

/// Writes what was stored in mappings of any file.
///
/// # Errors
/// The first failure; all are tried.
pub(crate) fn flush_all() -> Result<()> {
    if FILES.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let all: Vec<_> = TABLE.lock().values().filter_map(Weak::upgrade).collect();
    // All of them are flushed, whatever the first failure.
    let mut outcome = Ok(());
    for shared in &all {
        outcome = outcome.and(shared.flush());
    }
    outcome
}

impl UserSpace {
    /// Tells `shared` which of its pages were written through this space since it was last asked.
    fn gather_dirty(&mut self, shared: &Arc<Shared>) {
        let areas: Vec<_> = self.shared_areas(shared).collect();
        for (start, end, first) in areas {
            self.pages.for_each_page(start, end, |pages, page| {
                if pages.take_dirty(page) {
                    shared.mark_dirty(first + (page - start) / PAGE_SIZE);
                }
            });
        }
    }

    /// Unmaps the pages of `shared` from index `from` on.
    fn drop_shared(&mut self, shared: &Arc<Shared>, from: u64) {
        let areas: Vec<_> = self.shared_areas(shared).collect();
        for (start, end, first) in areas {
            let begin = start + from.saturating_sub(first).saturating_mul(PAGE_SIZE).min(end - start);
            self.drop_pages(begin, end);
        }
    }

    /// Where `shared` is mapped: first and last address, and the index of the first page.
    fn shared_areas(&self, shared: &Arc<Shared>) -> impl Iterator<Item = (u64, u64, u64)> {
        self.areas.iter().filter_map(move |(start, area)| match &area.backing {
            Backing::Shared { object, first } if Arc::ptr_eq(object, shared) => Some((start, area.end, *first)),
            _ => None,
        })
    }

    /// Tells every shared object in a range which of its pages were written: before they are unmapped.
    pub(super) fn settle_shared(&mut self, start: u64, end: u64) {
        let areas: Vec<_> = self
            .areas
            .within(start, end)
            .filter_map(|(begin, area)| match &area.backing {
                Backing::Shared { object, first } => Some((begin, area.end, object.clone(), *first)),
                _ => None,
            })
            .collect();
        for (begin, area_end, object, first) in areas {
            self.pages.for_each_page(begin.max(start), area_end.min(end), |pages, page| {
                if pages.take_dirty(page) {
                    object.mark_dirty(first + (page - begin) / PAGE_SIZE);
                }
            });
        }
    }

    /// Writes what was stored in a range of shared mappings to the files (`msync(2)`).
    ///
    /// # Errors
    /// As [`Shared::flush`].
    pub(crate) fn sync_shared(&mut self, start: u64, end: u64) -> Result<()> {
        self.settle_shared(start, end);
        let objects: Vec<_> = self
            .areas
            .within(start, end)
            .filter_map(|(_, area)| match &area.backing {
                Backing::Shared { object, .. } => Some(object.clone()),
                _ => None,
            })
            .collect();
        let mut outcome = Ok(());
        for object in &objects {
            outcome = outcome.and(object.write_dirty());
        }
        outcome
    }
}

/// The object for a new shared mapping of an open file.
///
/// # Errors
/// `ENODEV` for a file without a place in the tree.
pub(crate) fn map_file(mapped: MappedFile) -> Result<Arc<Shared>> {
    let id = mapped.open.location().ok_or(Errno::ENODEV)?.object()?;
    Ok(Shared::of_file(id, mapped))
}
