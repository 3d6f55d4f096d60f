//! Listing of directories: what all layers show, each name once.
//!
//! A directory of one layer that can never merge (it is in the upper alone, or there is no upper) passes its layer's entries through.
//! Any other is listed whole, once, into a [`Listing`]: entries sorted by a hash of their name, the hash being the
//! cookie. So cookies need not be remembered: a listing can be dropped and made again, and an entry that is there
//! throughout is seen exactly once. A removal marks the entry dead in place; other changes drop the listing.
//! The last few listings are kept in memory, so a directory is not listed anew for every `getdents64`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::{ControlFlow, Range};
use core::sync::atomic::{AtomicBool, Ordering};

use base::sync::Mutex;
use hashbrown::HashTable;
use vfs::{Cookie, DirEntry, DirOps, DirSink, Errno, Error, FileType, Name, Result};

use crate::identity::FsIndex;
use crate::merge::{LayerEntry, Whiteouts, layer_entry};
use crate::node::OverlayDir;

/// How many listings stay in memory without being used.
const RECENT: usize = 16;

/// How many entries are taken from a layer at a time.
const BATCH: usize = 128;

/// All entries of a merged directory, in the order of their cookies.
pub(crate) struct Listing {
    names: Vec<u8>,
    entries: Vec<Listed>,
}

struct Listed {
    cookie: u64,
    ino: u64,
    name_at: u32,
    name_len: u8,
    kind: FileType,
    /// Cleared by a removal.
    is_there: AtomicBool,
}

impl Listing {
    fn name(&self, entry: &Listed) -> &[u8] {
        let at = entry.name_at as usize;
        &self.names[at..at + usize::from(entry.name_len)]
    }

    fn emit(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let start = self.entries.partition_point(|entry| entry.cookie <= from.0);
        for entry in &self.entries[start..] {
            if !entry.is_there.load(Ordering::Relaxed) {
                continue;
            }
            let name = Name::new(self.name(entry))?;
            let entry = DirEntry { name, ino: entry.ino, kind: entry.kind, next: Cookie(entry.cookie) };
            if sink.entry(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&self, name: Name<'_>) {
        let hash = hash(name.as_bytes());
        let start = self.entries.partition_point(|entry| entry.cookie < hash);
        for entry in &self.entries[start..] {
            let other = self.name(entry);
            if other == name.as_bytes() {
                entry.is_there.store(false, Ordering::Relaxed);
                return;
            }
            if crate::readdir::hash(other) > hash {
                return;
            }
        }
    }
}

/// The listings that were made last, so that they stay.
#[derive(Default)]
pub(crate) struct RecentListings(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    listings: [Option<Arc<Listing>>; RECENT],
    next: usize,
}

impl RecentListings {
    fn keep(&self, listing: Arc<Listing>) {
        let mut recent = self.0.lock();
        let next = recent.next;
        let old = recent.listings[next].replace(listing);
        recent.next = (next + 1) % RECENT;
        drop(recent);
        drop(old);
    }
}

impl OverlayDir {
    /// [`DirOps::read_dir`].
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
            return Ok(self.resolve(name)?.map(|found| found.number()));
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

/// A listing in the making.
#[derive(Default)]
struct Merge {
    names: Vec<u8>,
    drafts: Vec<Draft>,
    /// The drafts by name, as long as there are layers to come.
    index: HashTable<u32>,
}

struct Draft {
    hash: u64,
    ino: u64,
    name_at: u32,
    name_len: u8,
    kind: FileType,
    fate: Fate,
}

/// What becomes of an entry of a layer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Shown,
    /// A whiteout: it only hides its name in the layers below.
    Hidden,
}

impl Merge {
    fn name(&self, draft: &Draft) -> &[u8] {
        let at = draft.name_at as usize;
        &self.names[at..at + usize::from(draft.name_len)]
    }

    /// Adds the entries of a layer that no layer above has; `below` is how many layers are still to come.
    fn add(&mut self, dir: &dyn DirOps, below: usize) -> Result<Range<usize>> {
        let start = self.drafts.len();
        let mut result = Ok(());
        dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
            result = self.add_entry(entry, start);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result?;
        if below > 0 {
            let (names, drafts) = (&self.names, &self.drafts);
            self.index
                .try_reserve(drafts.len() - start, |&index| drafts[index as usize].hash)
                .map_err(|_| Errno::ENOMEM)?;
            for index in start..drafts.len() {
                debug_assert!(!names.is_empty());
                self.index.insert_unique(drafts[index].hash, index as u32, |&index| drafts[index as usize].hash);
            }
        }
        Ok(start..self.drafts.len())
    }

    fn add_entry(&mut self, entry: &DirEntry<'_>, start: usize) -> Result<()> {
        let bytes = entry.name.as_bytes();
        let hash = hash(bytes);
        let is_known =
            start > 0 && self.index.find(hash, |&index| self.name(&self.drafts[index as usize]) == bytes).is_some();
        if is_known {
            return Ok(());
        }
        let no_memory = |_| Error::from(Errno::ENOMEM);
        self.names.try_reserve(bytes.len()).map_err(no_memory)?;
        self.drafts.try_reserve(1).map_err(no_memory)?;
        // Both arenas are indexed by 32 bits; names are longer in sum than there are entries.
        let name_at = u32::try_from(self.names.len()).map_err(|_| Errno::ENOMEM)?;
        let name_len = u8::try_from(bytes.len()).map_err(|_| Errno::ENAMETOOLONG)?;
        self.names.extend_from_slice(bytes);
        self.drafts.push(Draft { hash, ino: entry.ino, name_at, name_len, kind: entry.kind, fate: Fate::Shown });
        Ok(())
    }

    /// Says what becomes of a draft: shown with this number, or hidden.
    fn settle(&mut self, index: usize, ino: Option<u64>) {
        let draft = &mut self.drafts[index];
        match ino {
            Some(ino) => draft.ino = ino,
            None => draft.fate = Fate::Hidden,
        }
    }

    fn finish(mut self) -> Result<Listing> {
        self.drafts.retain(|draft| draft.fate == Fate::Shown);
        let names = &self.names;
        let name = |draft: &Draft| {
            let at = draft.name_at as usize;
            &names[at..at + usize::from(draft.name_len)]
        };
        self.drafts.sort_unstable_by(|a, b| (a.hash, name(a)).cmp(&(b.hash, name(b))));
        // The names in the order of the entries, so that a listing reads memory forwards.
        let total = self.drafts.iter().map(|draft| usize::from(draft.name_len)).sum();
        let (mut sorted, mut entries) = (Vec::new(), Vec::new());
        sorted.try_reserve_exact(total).map_err(|_| Errno::ENOMEM)?;
        entries.try_reserve_exact(self.drafts.len()).map_err(|_| Errno::ENOMEM)?;
        let mut last = 0;
        for draft in &self.drafts {
            // Names of one hash follow each other.
            let cookie = draft.hash.max(last + 1);
            last = cookie;
            let name_at = u32::try_from(sorted.len()).map_err(|_| Errno::ENOMEM)?;
            sorted.extend_from_slice(name(draft));
            entries.push(Listed {
                cookie,
                ino: draft.ino,
                name_at,
                name_len: draft.name_len,
                kind: draft.kind,
                is_there: AtomicBool::new(true),
            });
        }
        Ok(Listing { names: sorted, entries })
    }
}

/// The cookie of a name: FNV-1a, finished as `splitmix64`, in 62 bits above those that are taken. Not a guard against
/// names made to collide: these cost their owner a slower listing of a directory that is theirs.
fn hash(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in name {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 2).max(Cookie::FIRST)
}
