//! A merged directory's entries in memory: [`Merge`] takes them layer by layer, [`Listing`] is what comes of it.
//!
//! Entries are sorted by a hash of their name, and the hash is the cookie. So cookies need not be remembered: a listing can
//! be dropped and made again, and an entry that is there throughout is seen exactly once. A name that comes is put beside the sorted
//! ones, one that goes is marked, so that a change of a large directory does not cost listing it anew.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::{ControlFlow, Range};
use core::sync::atomic::{AtomicBool, Ordering};

use base::sort;
use base::sync::Mutex;
use hashbrown::HashTable;
use vfs::{Cookie, DirEntry, DirOps, DirSink, Errno, Error, FileType, Name, NameBuf, Result};

/// How many listings stay in memory without being used.
const RECENT: usize = 16;
/// How many names they have together, those of the newest not counted.
const RECENT_NAMES: usize = 1 << 16;

/// How many names that came a listing takes before it is better made anew: these, and a share of its size.
const ADDED_MAX: usize = 64;
const ADDED_SHARE: usize = 8;

/// All entries of a merged directory, in the order of their cookies.
pub(crate) struct Listing {
    names: Vec<u8>,
    entries: Vec<Listed>,
    /// What came since, in the order of the cookies. A leaf lock.
    added: Mutex<Vec<Added>>,
}

#[derive(Clone)]
struct Added {
    cookie: u64,
    ino: u64,
    kind: FileType,
    name: NameBuf,
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
    /// `EINVAL`: never, for names were valid in the layer; `ENOMEM`.
    pub(crate) fn emit(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        let start = self.entries.partition_point(|entry| entry.cookie <= from.0);
        let added = self.added_after(from)?;
        let mut added = added.iter().peekable();
        // A name is given when the next sorted one is behind it, the last ones at the end.
        for entry in self.entries[start..].iter().map(Some).chain([None]) {
            let bound = entry.map_or(u64::MAX, |entry| entry.cookie);
            while let Some(new) = added.next_if(|new| new.cookie <= bound) {
                let next = Cookie(new.cookie);
                let entry = DirEntry { name: new.name.as_name(), ino: new.ino, kind: new.kind, next };
                if sink.entry(&entry).is_break() {
                    return Ok(());
                }
            }
            let Some(entry) = entry.filter(|entry| entry.is_there.load(Ordering::Relaxed)) else { continue };
            let name = Name::new(self.name(entry))?;
            let entry = DirEntry { name, ino: entry.ino, kind: entry.kind, next: Cookie(entry.cookie) };
            if sink.entry(&entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn added_after(&self, from: Cookie) -> Result<Vec<Added>> {
        let added = self.added.lock();
        let after = &added[added.partition_point(|new| new.cookie <= from.0)..];
        let mut copy = Vec::new();
        copy.try_reserve_exact(after.len()).map_err(|_| Errno::ENOMEM)?;
        copy.extend_from_slice(after);
        Ok(copy)
    }

    /// Takes in an entry that came. `false` where it cannot: the listing must be dropped.
    pub(crate) fn insert(&self, name: Name<'_>, ino: u64, kind: FileType) -> bool {
        let cookie = hash(name.as_bytes());
        if let Ok(at) = self.entries.binary_search_by_key(&cookie, |entry| entry.cookie) {
            let entry = &self.entries[at];
            if self.name(entry) != name.as_bytes() || entry.is_there.load(Ordering::Relaxed) {
                return false;
            }
        }
        let mut added = self.added.lock();
        if added.len() >= ADDED_MAX + self.entries.len() / ADDED_SHARE || added.try_reserve(1).is_err() {
            return false;
        }
        match added.binary_search_by_key(&cookie, |new| new.cookie) {
            Ok(_) => false,
            Err(at) => {
                added.insert(at, Added { cookie, ino, kind, name: name.to_owned() });
                true
            }
        }
    }

    /// Marks an entry dead.
    pub(crate) fn remove(&self, name: Name<'_>) {
        let hash = hash(name.as_bytes());
        {
            let mut added = self.added.lock();
            if let Ok(at) = added.binary_search_by_key(&hash, |new| new.cookie)
                && added[at].name.as_bytes() == name.as_bytes()
            {
                added.remove(at);
                return;
            }
        }
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
        let mut gone: [Option<Arc<Listing>>; RECENT] = Default::default();
        let mut recent = self.0.lock();
        let newest = recent.next;
        gone[newest] = recent.listings[newest].replace(listing);
        recent.next = (newest + 1) % RECENT;
        let mut names = 0;
        for age in 1..RECENT {
            let place = (newest + RECENT - age) % RECENT;
            names += recent.listings[place].as_ref().map_or(0, |listing| listing.entries.len());
            if names > RECENT_NAMES {
                gone[place] = recent.listings[place].take();
            }
        }
        drop(recent);
        drop(gone);
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
        let order = self.order()?;
        // The names in the order of the entries, so that a listing reads memory forwards.
        let total = self.drafts.iter().map(|draft| usize::from(draft.name_len)).sum();
        let (mut sorted, mut entries) = (Vec::new(), Vec::new());
        sorted.try_reserve_exact(total).map_err(|_| Errno::ENOMEM)?;
        entries.try_reserve_exact(self.drafts.len()).map_err(|_| Errno::ENOMEM)?;
        let mut last = 0;
        for index in order {
            let draft = &self.drafts[index as usize];
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
        Ok(Listing { names: sorted, entries, added: Mutex::default() })
    }

    /// The drafts in the order of hash and name. Hashes are spread evenly: each falls near its place by its upper bits, and what
    /// falls together is sorted.
    fn order(&self) -> Result<Vec<u32>> {
        let count = self.drafts.len();
        let bits = count.next_power_of_two().trailing_zeros();
        let place = |draft: &Draft| (draft.hash >> (HASH_BITS - bits)) as usize;
        let (mut ends, mut order) = (Vec::new(), Vec::new());
        ends.try_reserve_exact(1 << bits).map_err(|_| Errno::ENOMEM)?;
        ends.resize(1 << bits, 0u32);
        order.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        order.resize(count, 0u32);
        for draft in &self.drafts {
            ends[place(draft)] += 1;
        }
        let mut end = 0;
        for slot in &mut ends {
            end += *slot;
            *slot = end;
        }
        // From the back, so that each end becomes a start. Drafts are counted by 32 bits: `add_entry` sees to it.
        for (index, draft) in self.drafts.iter().enumerate() {
            let slot = &mut ends[place(draft)];
            *slot -= 1;
            order[*slot as usize] = index as u32;
        }
        let key = |&index: &u32| {
            let draft = &self.drafts[index as usize];
            (draft.hash, self.name(draft))
        };
        for (slot, &start) in ends.iter().enumerate() {
            let end = ends.get(slot + 1).map_or(count, |&next| next as usize);
            let together = &mut order[start as usize..end];
            if together.len() > 1 {
                sort::by_key(together, key);
            }
        }
        Ok(order)
    }
}

/// Bits of a cookie.
const HASH_BITS: u32 = 62;

/// The cookie of a name, above those that are taken: eight bytes at a time, each step mixed as in `splitmix64`. Not a guard against
/// names made to collide: these cost their owner a slower listing of a directory that is theirs.
fn hash(name: &[u8]) -> u64 {
    let mut hash = name.len() as u64;
    let mut take = |word: u64| {
        hash = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^= hash >> 32;
    };
    let (words, rest) = name.as_chunks::<8>();
    for word in words {
        take(u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        take(rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> (64 - HASH_BITS)).max(Cookie::FIRST)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::String;

    use super::*;

    fn made_of(names: &[&str]) -> Listing {
        let mut merge = Merge::default();
        for (index, name) in names.iter().enumerate() {
            let name = Name::new(name.as_bytes()).unwrap();
            let entry = DirEntry { name, ino: index as u64, kind: FileType::File, next: Cookie(0) };
            merge.add_entry(&entry, 0).unwrap();
        }
        merge.finish().unwrap()
    }

    fn all(listing: &Listing, from: Cookie) -> Vec<(String, Cookie)> {
        let mut found = Vec::new();
        let mut sink = |entry: &DirEntry<'_>| {
            found.push((String::from_utf8_lossy(entry.name.as_bytes()).into_owned(), entry.next));
            ControlFlow::Continue(())
        };
        listing.emit(from, &mut sink).unwrap();
        found
    }

    #[test]
    fn names_that_come_and_go_leave_the_listing_that_would_be_made_anew() {
        let names: Vec<_> = (0..500).map(|index| format!("name-{index}")).collect();
        let old: Vec<&str> = names[..400].iter().map(|name| &**name).collect();
        let listing = made_of(&old);
        let name = |text: &str| Name::new(text.as_bytes()).unwrap().to_owned();
        for gone in &names[..50] {
            listing.remove(name(gone).as_name());
        }
        for new in &names[400..] {
            assert!(listing.insert(name(new).as_name(), 7, FileType::File));
            assert!(!listing.insert(name(new).as_name(), 7, FileType::File), "it is there");
        }
        for gone in &names[450..] {
            listing.remove(name(gone).as_name());
        }
        assert!(listing.insert(name(&names[3]).as_name(), 7, FileType::File), "one that was removed comes back");
        let left: Vec<&str> = names[50..450].iter().chain([&names[3]]).map(|name| &**name).collect();
        let anew = made_of(&left);
        assert_eq!(all(&listing, Cookie::START), all(&anew, Cookie::START));
        for (_, cookie) in all(&anew, Cookie::START) {
            assert_eq!(all(&listing, cookie), all(&anew, cookie));
        }
    }

    #[test]
    fn a_listing_takes_so_many_names_and_then_wants_to_be_made_anew() {
        let listing = made_of(&[]);
        let taken = (0..1000)
            .take_while(|index| listing.insert(Name::new(format!("{index}").as_bytes()).unwrap(), 7, FileType::File));
        assert_eq!(taken.count(), ADDED_MAX);
    }

    #[test]
    fn listings_of_any_size_are_in_order() {
        for count in [0, 1, 2, 3, 17, 1000] {
            let names: Vec<_> = (0..count).map(|index| format!("{index}")).collect();
            let listing = made_of(&names.iter().map(|name| &**name).collect::<Vec<_>>());
            let listed = all(&listing, Cookie::START);
            assert_eq!(listed.len(), count);
            assert!(listed.is_sorted_by(|a, b| a.1 < b.1));
        }
    }

    #[test]
    fn listings_of_large_directories_do_not_pile_up() {
        let listing = |count: u64| {
            let entry = |cookie| Listed {
                cookie,
                ino: cookie,
                name_at: 0,
                name_len: 1,
                kind: FileType::File,
                is_there: AtomicBool::new(true),
            };
            Arc::new(Listing {
                names: b"x".to_vec(),
                entries: (0..count).map(entry).collect(),
                added: Mutex::new(Vec::new()),
            })
        };
        let recent = RecentListings::default();
        let kept: Vec<_> = [100, 100_000, 40_000, 20_000, 90_000]
            .map(|count| {
                let listing = listing(count);
                recent.keep(listing.clone());
                Arc::downgrade(&listing)
            })
            .into_iter()
            .collect();
        let there: Vec<bool> = kept.iter().map(|listing| listing.upgrade().is_some()).collect();
        assert_eq!(there, [false, false, true, true, true]);
    }
}
