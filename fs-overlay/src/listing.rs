//! A merged directory's entries in memory: [`Merge`] takes them layer by layer, [`Listing`] is what comes of it.
//!
//! Entries are sorted by a hash of their name, and the hash is the cookie. So cookies need not be remembered: a listing can
//! be dropped and made again, and an entry that is there throughout is seen exactly once.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{ControlFlow, Range};
use core::sync::atomic::{AtomicBool, Ordering};

use base::sync::Mutex;
use hashbrown::HashTable;
use vfs::{Cookie, DirEntry, DirOps, DirSink, Errno, Error, FileType, Name, Result};

/// How many listings stay in memory without being used.
const RECENT: usize = 16;

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

    /// Gives `sink` the entries after `from`.
    ///
    /// # Errors
    /// `EINVAL`: never, for names were valid in the layer.
    pub(crate) fn emit(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
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

    /// Marks an entry dead.
    pub(crate) fn remove(&self, name: Name<'_>) {
        let hash = hash(name.as_bytes());
        let start = self.entries.partition_point(|entry| entry.cookie < hash);
        for entry in &self.entries[start..] {
            let other = self.name(entry);
            if other == name.as_bytes() {
                entry.is_there.store(false, Ordering::Relaxed);
                return;
            }
            if self::hash(other) > hash {
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
    /// Keeps a listing for a while.
    pub(crate) fn keep(&self, listing: Arc<Listing>) {
        let mut recent = self.0.lock();
        let next = recent.next;
        let old = recent.listings[next].replace(listing);
        recent.next = (next + 1) % RECENT;
        drop(recent);
        drop(old);
    }
}

/// A listing in the making.
#[derive(Default)]
pub(crate) struct Merge {
    names: Vec<u8>,
    pub(crate) drafts: Vec<Draft>,
    /// The drafts by name, as long as there are layers to come.
    index: HashTable<u32>,
}

pub(crate) struct Draft {
    hash: u64,
    /// As the layer lists it.
    pub(crate) ino: u64,
    name_at: u32,
    name_len: u8,
    pub(crate) kind: FileType,
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
    /// The name of a draft.
    pub(crate) fn name(&self, draft: &Draft) -> &[u8] {
        let at = draft.name_at as usize;
        &self.names[at..at + usize::from(draft.name_len)]
    }

    /// Adds the entries of a layer that no layer above has; `below` is how many layers are still to come.
    pub(crate) fn add(&mut self, dir: &dyn DirOps, below: usize) -> Result<Range<usize>> {
        let start = self.drafts.len();
        let mut result = Ok(());
        dir.read_dir(Cookie::START, &mut |entry: &DirEntry<'_>| {
            result = self.add_entry(entry, start);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result?;
        if below > 0 {
            let drafts = &self.drafts;
            self.index
                .try_reserve(drafts.len() - start, |&index| drafts[index as usize].hash)
                .map_err(|_| Errno::ENOMEM)?;
            for index in start..drafts.len() {
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
    pub(crate) fn settle(&mut self, index: usize, ino: Option<u64>) {
        let draft = &mut self.drafts[index];
        match ino {
            Some(ino) => draft.ino = ino,
            None => draft.fate = Fate::Hidden,
        }
    }

    /// Sorts what is shown.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn finish(mut self) -> Result<Listing> {
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
