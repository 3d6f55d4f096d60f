//! The dentry cache and the mount tree, under one readers-writer lock: a resolution holds it shared and walks by
//! reference; a miss lets go of it, asks the filesystem, and takes it exclusively for as long as an insertion lasts.
//!
//! The cache is a hash table keyed by (parent dentry, name) over an array of slots, bounded by a clock: a slot whose
//! dentry no one else holds is given up when the hand passes it twice without a use between. Dentries in use are
//! never given up, so that the bound yields to them.
//!
//! What a volatile filesystem says is never put in: its dentries live as long as their users.
//!
//! Nothing of a filesystem is called under this lock: dropped dentries are handed back as [`Discarded`].

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::dentry::{Caching, Dentry, Place};
use crate::mount::Mount;

/// Dentries to be dropped when no lock is held.
pub(crate) type Discarded = Vec<Arc<Dentry>>;

/// How far the clock hand goes in search of one slot to give up.
const HAND_STEPS: usize = 256;

struct Slot {
    hash: u64,
    parent: u64,
    name: Arc<[u8]>,
    dentry: Arc<Dentry>,
}

/// The cached part of the tree.
pub(crate) struct Topology {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    hand: usize,
    capacity: usize,
    /// By the mount and the dentry on which each sits.
    mounts: HashMap<(u64, u64), Arc<Mount>>,
}

impl Topology {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            hand: 0,
            capacity: capacity.max(1),
            mounts: HashMap::new(),
        }
    }

    #[inline]
    fn hash(&self, parent: u64, name: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(parent);
        hasher.write(name);
        hasher.finish()
    }

    #[inline]
    fn find(&self, hash: u64, parent: u64, name: &[u8]) -> Option<u32> {
        let is_it = |&at: &u32| {
            self.slots[at as usize]
                .as_ref()
                .is_some_and(|slot| slot.hash == hash && slot.parent == parent && *slot.name == *name)
        };
        self.table.find(hash, is_it).copied()
    }

    /// The dentry of a name, positive or negative, if it is cached.
    #[inline]
    pub(crate) fn lookup(&self, parent: &Dentry, name: &[u8]) -> Option<&Arc<Dentry>> {
        let at = self.find(self.hash(parent.id, name), parent.id, name)?;
        let slot = self.slots[at as usize].as_ref()?;
        slot.dentry.touch();
        Some(&slot.dentry)
    }

    /// Puts a dentry at its name, in place of what is there; gives up others where the cache is full.
    pub(crate) fn insert(&mut self, dentry: &Arc<Dentry>, discarded: &mut Discarded) {
        if dentry.caching == Caching::Asked {
            return;
        }
        let Some(parent) = dentry.parent() else { return };
        let name = dentry.name();
        let hash = self.hash(parent.id, &name);
        self.remove_key(hash, parent.id, &name, discarded);
        while self.table.len() >= self.capacity && self.give_up_one(discarded) {}
        let slot = Slot { hash, parent: parent.id, name, dentry: dentry.clone() };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = Some(slot);
                at
            }
            None => {
                self.slots.push(Some(slot));
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.table.insert_unique(hash, at, |&at| slots[at as usize].as_ref().map_or(0, |slot| slot.hash));
    }

    /// Takes a dentry out of the cache, if it is there.
    pub(crate) fn remove(&mut self, dentry: &Dentry, discarded: &mut Discarded) {
        if let Some(parent) = dentry.parent() {
            let name = dentry.name();
            let hash = self.hash(parent.id, &name);
            let at = self.find(hash, parent.id, &name);
            if at
                .and_then(|at| self.slots[at as usize].as_ref())
                .is_some_and(|slot| core::ptr::eq(&*slot.dentry, dentry))
            {
                self.remove_key(hash, parent.id, &name, discarded);
            }
        }
    }

    /// Moves a dentry to another name, in place of what is there.
    pub(crate) fn relocate(&mut self, dentry: &Arc<Dentry>, place: Place, discarded: &mut Discarded) {
        self.remove(dentry, discarded);
        discarded.extend(dentry.set_place(place).parent);
        self.insert(dentry, discarded);
    }

    /// Lets two dentries change places.
    pub(crate) fn exchange(&mut self, a: &Arc<Dentry>, b: &Arc<Dentry>, discarded: &mut Discarded) {
        self.remove(a, discarded);
        self.remove(b, discarded);
        let place_a = a.set_place(Place { parent: None, name: Arc::from(&b""[..]) });
        let place_b = b.set_place(place_a);
        a.set_place(place_b);
        self.insert(a, discarded);
        self.insert(b, discarded);
    }

    /// Takes every dentry of a filesystem out of the cache.
    pub(crate) fn purge(&mut self, superblock: u64, discarded: &mut Discarded) {
        for at in 0..self.slots.len() {
            if self.slots[at].as_ref().is_some_and(|slot| slot.dentry.superblock == superblock) {
                self.vacate(at, discarded);
            }
        }
    }

    /// Gives up every dentry that no one holds. One call frees one generation: parents follow their children.
    pub(crate) fn shrink(&mut self, discarded: &mut Discarded) {
        for at in 0..self.slots.len() {
            if self.slots[at].as_ref().is_some_and(|slot| Arc::strong_count(&slot.dentry) == 1) {
                self.vacate(at, discarded);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn remove_key(&mut self, hash: u64, parent: u64, name: &[u8], discarded: &mut Discarded) {
        if let Some(at) = self.find(hash, parent, name) {
            self.vacate(at as usize, discarded);
        }
    }

    fn vacate(&mut self, at: usize, discarded: &mut Discarded) {
        if let Some(slot) = self.slots[at].take() {
            if let Ok(entry) = self.table.find_entry(slot.hash, |&other| other as usize == at) {
                entry.remove();
            }
            self.free.push(at as u32);
            discarded.push(slot.dentry);
        }
    }

    /// Turns the clock hand until one slot is given up; not for longer than `HAND_STEPS`.
    fn give_up_one(&mut self, discarded: &mut Discarded) -> bool {
        for _ in 0..HAND_STEPS.min(2 * self.slots.len()) {
            self.hand = if self.hand + 1 < self.slots.len() { self.hand + 1 } else { 0 };
            let Some(slot) = &self.slots[self.hand] else { continue };
            if Arc::strong_count(&slot.dentry) == 1 && !slot.dentry.take_referenced() {
                self.vacate(self.hand, discarded);
                return true;
            }
        }
        false
    }

    /// What is mounted on a dentry of a mount.
    #[inline]
    pub(crate) fn mount_at(&self, mount: &Mount, dentry: &Dentry) -> Option<&Arc<Mount>> {
        if dentry.is_mounted_on() { self.mounts.get(&(mount.id, dentry.id)) } else { None }
    }

    pub(crate) fn add_mount(&mut self, on: (u64, u64), mount: Arc<Mount>) {
        self.mounts.insert(on, mount);
    }

    pub(crate) fn remove_mount(&mut self, on: (u64, u64)) -> Option<Arc<Mount>> {
        self.mounts.remove(&on)
    }

    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.mounts.values()
    }
}
