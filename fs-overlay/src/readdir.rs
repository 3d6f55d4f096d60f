//! Listing of directories: what all layers show, each name once.
//!
//! A directory of one layer that can never merge (it is in the upper alone, or there is no upper) passes its layer's entries through.
//! Any other is listed whole, once, into a [`Listing`]: entries sorted by a hash of their name, the hash being the
//! cookie. So cookies need not be remembered: a listing can be dropped and made again, and an entry that is there
//! throughout is seen exactly once. Changes by the overlay are made in the listing; where it cannot take one it is dropped.
//! The last few listings are kept in memory, so a directory is not listed anew for every `getdents64`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::{ControlFlow, Range};

use vfs::{Cookie, DirEntry, DirOps, DirSink, Errno, Error, FileType, Name, Result};

use crate::identity::FsIndex;
use crate::listing::{Listing, Merge};
use crate::merge::{LayerEntry, Whiteouts, layer_entry};
use crate::node::OverlayDir;

/// How many entries are taken from a layer at a time.
const BATCH: usize = 128;

impl OverlayDir {
    /// [`DirOps::read_dir`](vfs::DirOps::read_dir).
    pub(crate) fn list(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        let fs = &*self.core.fs;
        match (self.upper(), &*self.lowers) {
            (Some(upper), []) => self.pass_through(&**upper, FsIndex::UPPER, Whiteouts::Devices, from, sink),
            (None, [lower]) if fs.upper.is_none() => {
                self.pass_through(&*lower.dir, fs.lower(lower.layer).fs, lower.whiteouts, from, sink)
            }
            (Some(_) | None, _) => {
                let listing = {
                    let _entries = self.entries.read();
                    self.listing()?
                };
                listing.emit(from, sink)
            }
        }
    }

    /// Drops the listing, for entries changed; the caller holds them.
    pub(crate) fn forget_listing(&self) {
        *self.listing.lock() = Weak::new();
    }

    /// Puts an entry that came into the listing; the caller holds the entries.
    pub(crate) fn add_entry(&self, name: Name<'_>, number: u64, kind: Result<FileType>) {
        let listing = self.listing.lock().upgrade();
        if let Some(listing) = listing
            && !kind.is_ok_and(|kind| listing.insert(name, number, kind))
        {
            self.forget_listing();
        }
    }

    /// Takes a removed entry out of the listing; the caller holds the entries.
    pub(crate) fn forget_entry(&self, name: Name<'_>) {
        let listing = self.listing.lock().upgrade();
        if let Some(listing) = listing {
            listing.remove(name);
        }
    }

    fn listing(&self) -> Result<Arc<Listing>> {
        let known = self.listing.lock().upgrade();
        if let Some(listing) = known {
            return Ok(listing);
        }
        let listing = Arc::new(self.merge()?);
        *self.listing.lock() = Arc::downgrade(&listing);
        self.core.fs.recent.keep(Arc::clone(&listing));
        Ok(listing)
    }

    /// Lists all layers; the caller holds the entries.
    fn merge(&self) -> Result<Listing> {
        let fs = &*self.core.fs;
        let mut merge = Merge::default();
        let below = self.lowers.len();
        if let Some(upper) = self.upper() {
            let added = merge.add(&**upper, below)?;
            for index in added {
                let draft = &merge.drafts[index];
                let name = Name::new(merge.name(draft))?;
                let ino = self.entry_number(&**upper, name, draft.kind, draft.ino)?;
                merge.settle(index, ino);
            }
        }
        for (index, lower) in self.lowers.iter().enumerate() {
            let filesystem = fs.lower(lower.layer).fs;
            let added = merge.add(&*lower.dir, below - index - 1)?;
            for index in added {
                let draft = &merge.drafts[index];
                let shown = !lower.whiteouts.may_be(draft.kind) || {
                    let entry = layer_entry(fs.names, &*lower.dir, Name::new(merge.name(draft))?, lower.whiteouts)?;
                    matches!(entry, Some(LayerEntry::Dir(_) | LayerEntry::Leaf(_)))
                };
                let ino = if shown { Some(fs.numbering.number(filesystem, draft.ino)?) } else { None };
                merge.settle(index, ino);
            }
        }
        merge.finish()
    }

    /// The number that an entry of the upper part has in the overlay; `None` if it is a whiteout.
    fn entry_number(&self, upper: &dyn DirOps, name: Name<'_>, kind: FileType, ino: u64) -> Result<Option<u64>> {
        let fs = &*self.core.fs;
        // Only a directory can merge without a mark on its parent, and only at its own name.
        let may_differ = self.is_impure()? || (kind == FileType::Dir && !self.lowers.is_empty());
        if may_differ {
            return match self.resolve(name) {
                Ok(found) => Ok(found.map(|found| found.number())),
                Err(error) if concerns_one_entry(&error) => {
                    log::warn!("overlay: \"{name}\" is listed, but cannot be looked up: {error}");
                    fs.numbering.number(FsIndex::UPPER, ino).map(Some)
                }
                Err(error) => Err(error),
            };
        }
        if Whiteouts::Devices.may_be(kind) {
            match layer_entry(fs.names, upper, name, Whiteouts::Devices)? {
                None | Some(LayerEntry::Whiteout) => return Ok(None),
                Some(LayerEntry::Dir(_) | LayerEntry::Leaf(_)) => {}
            }
        }
        fs.numbering.number(FsIndex::UPPER, ino).map(Some)
    }

    /// Gives the entries of the only layer, in its order and with its cookies.
    fn pass_through(
        &self,
        dir: &dyn DirOps,
        filesystem: FsIndex,
        whiteouts: Whiteouts,
        mut from: Cookie,
        sink: &mut dyn DirSink,
    ) -> Result<()> {
        let fs = &*self.core.fs;
        let mut batch = Batch::default();
        loop {
            // The layer must not be called back while it lists, so entries are taken first and looked at then.
            let end = batch.fill(dir, from)?;
            for entry in &batch.entries {
                let name = Name::new(&batch.names[entry.name.clone()])?;
                let number = if self.upper().is_some() {
                    let _entries = self.entries.read();
                    self.entry_number(dir, name, entry.kind, entry.ino)?
                } else if whiteouts.may_be(entry.kind) {
                    match layer_entry(fs.names, dir, name, whiteouts)? {
                        None | Some(LayerEntry::Whiteout) => None,
                        Some(LayerEntry::Dir(_) | LayerEntry::Leaf(_)) => {
                            Some(fs.numbering.number(filesystem, entry.ino)?)
                        }
                    }
                } else {
                    Some(fs.numbering.number(filesystem, entry.ino)?)
                };
                if let Some(ino) = number {
                    let entry = DirEntry { name, ino, kind: entry.kind, next: entry.next };
                    if sink.entry(&entry).is_break() {
                        return Ok(());
                    }
                }
                from = entry.next;
            }
            if end == End::Reached {
                return Ok(());
            }
        }
    }
}

/// Whether looking an entry up failed by what the entry itself is: a redirect that may not be followed or is none, a file whose
/// data is elsewhere (`metacopy=off`), the root of a layer. Its directory can be listed all the same.
#[must_use]
pub fn concerns_one_entry(error: &Error) -> bool {
    [Errno::EPERM, Errno::EINVAL, Errno::ELOOP, Errno::ESTALE].contains(&error.errno())
}

/// Some entries of a layer's directory.
#[derive(Default)]
struct Batch {
    names: Vec<u8>,
    entries: Vec<Taken>,
}

struct Taken {
    name: Range<usize>,
    ino: u64,
    kind: FileType,
    next: Cookie,
}

/// Whether a batch is the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Reached,
    NotYet,
}

impl Batch {
    fn fill(&mut self, dir: &dyn DirOps, from: Cookie) -> Result<End> {
        self.names.clear();
        self.entries.clear();
        let mut end = End::Reached;
        dir.read_dir(from, &mut |entry: &DirEntry<'_>| {
            if self.entries.len() == BATCH {
                end = End::NotYet;
                return ControlFlow::Break(());
            }
            let start = self.names.len();
            self.names.extend_from_slice(entry.name.as_bytes());
            let name = start..self.names.len();
            self.entries.push(Taken { name, ino: entry.ino, kind: entry.kind, next: entry.next });
            ControlFlow::Continue(())
        })?;
        Ok(end)
    }
}
