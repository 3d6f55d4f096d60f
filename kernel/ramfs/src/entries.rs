//! The entries of a directory: found by name through a hash table, listed in the order of their creation.
//!
//! Every entry has a cookie that is never given out twice, so a listing can go on from any of them however the
//! directory changed meanwhile. What takes an entry's place keeps its cookie: a name that is there throughout is listed once. Slots
//! of removed entries are dropped from both ends at once, and from the middle when they are the majority; that
//! keeps a listing's cost in proportion to what it lists.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use vfs::{Cookie, Errno, Error, Name, Result};

use crate::memory::{boxed, out_of_memory};
use crate::node::RamNode;

/// Removed slots that a directory may keep whatever its size.
const SLACK: usize = 16;

#[derive(Debug)]
struct Live {
    name: Box<[u8]>,
    node: RamNode,
}

#[derive(Debug)]
pub(crate) struct Slot {
    cookie: u64,
    live: Option<Live>,
}

impl Slot {
    /// The node, if the entry was not removed.
    pub(crate) fn into_node(self) -> Option<RamNode> {
        self.live.map(|live| live.node)
    }
}

/// The slots of entries, in the order of their cookies.
pub(crate) type Slots = VecDeque<Slot>;

/// Whether the directory itself still has a name, or will get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    /// Nothing can be created in it.
    Removed,
}

/// The entries.
#[derive(Debug)]
pub(crate) struct Entries {
    slots: Slots,
    /// Position of the first slot: positions of the rest stay when it is dropped.
    base: usize,
    /// Positions by the hash of the name.
    index: HashTable<usize>,
    next_cookie: u64,
    state: State,
    hasher: DefaultHashBuilder,
}

/// Room for one entry, so that putting it in cannot fail.
pub(crate) struct Room {
    name: Box<[u8]>,
    hash: u64,
}

impl Entries {
    pub(crate) fn new(hasher: DefaultHashBuilder) -> Self {
        Self {
            slots: VecDeque::new(),
            base: 0,
            index: HashTable::new(),
            next_cookie: Cookie::FIRST,
            state: State::Live,
            hasher,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether nothing but whiteouts is in it.
    pub(crate) fn holds_only_whiteouts(&self) -> bool {
        self.slots.iter().all(|slot| slot.live.as_ref().is_none_or(|live| live.node.is_whiteout()))
    }

    /// Checks that something can be created here.
    ///
    /// # Errors
    /// `ENOENT` in a removed directory.
    pub(crate) fn check_live(&self) -> Result<()> {
        match self.state {
            State::Live => Ok(()),
            State::Removed => Err(Error::new(Errno::ENOENT, "directory was removed")),
        }
    }

    /// Marks the directory removed and takes out what is left in it.
    pub(crate) fn bury(&mut self) -> Slots {
        self.state = State::Removed;
        self.take_all()
    }

    /// Takes out all entries.
    pub(crate) fn take_all(&mut self) -> Slots {
        self.index = HashTable::new();
        core::mem::take(&mut self.slots)
    }

    fn position(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let is_it =
            |&position: &usize| self.slots[position - self.base].live.as_ref().is_some_and(|live| *live.name == *name);
        self.index.find(hash, is_it).copied()
    }

    /// The node behind `name`.
    pub(crate) fn get(&self, name: Name<'_>) -> Option<&RamNode> {
        let position = self.position(self.hasher.hash_one(name.as_bytes()), name.as_bytes())?;
        self.slots[position - self.base].live.as_ref().map(|live| &live.node)
    }

    /// Makes room for `name`, which is not there.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn room(&mut self, name: Name<'_>) -> Result<Room> {
        if self.next_cookie >= i64::MAX as u64 {
            return Err(Error::new(Errno::ENOSPC, "directory gave out all its cookies"));
        }
        let Self { slots, base, index, hasher, .. } = self;
        slots.try_reserve(1).map_err(|_| out_of_memory())?;
        index.try_reserve(1, |&position| hash_of(hasher, slots, *base, position)).map_err(|_| out_of_memory())?;
        Ok(Room { hash: hasher.hash_one(name.as_bytes()), name: boxed(name.as_bytes())? })
    }

    /// Puts `node` where room was made for it; nothing else was put in since.
    pub(crate) fn insert(&mut self, room: Room, node: RamNode) {
        let Self { slots, base, index, hasher, .. } = self;
        let position = *base + slots.len();
        slots.push_back(Slot { cookie: self.next_cookie, live: Some(Live { name: room.name, node }) });
        index.insert_unique(room.hash, position, |&position| hash_of(hasher, slots, *base, position));
        self.next_cookie += 1;
    }

    /// Puts `node` in the place of the one behind `name`, which it returns; `None`, and `node` dropped, if none is.
    pub(crate) fn replace(&mut self, name: Name<'_>, node: RamNode) -> Option<RamNode> {
        let position = self.position(self.hasher.hash_one(name.as_bytes()), name.as_bytes())?;
        let live = self.slots[position - self.base].live.as_mut()?;
        Some(core::mem::replace(&mut live.node, node))
    }

    /// Takes out the entry of `name`.
    pub(crate) fn remove(&mut self, name: Name<'_>) -> Option<RamNode> {
        let hash = self.hasher.hash_one(name.as_bytes());
        let position = self.position(hash, name.as_bytes())?;
        self.index.find_entry(hash, |&candidate| candidate == position).ok()?.remove();
        let live = self.slots[position - self.base].live.take()?;
        self.tidy();
        Some(live.node)
    }

    fn tidy(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.live.is_none()) {
            self.slots.pop_front();
            self.base += 1;
        }
        while self.slots.back().is_some_and(|slot| slot.live.is_none()) {
            self.slots.pop_back();
        }
        if self.slots.len() > 2 * self.index.len() + SLACK {
            self.compact();
        }
        if self.index.is_empty() {
            self.slots = VecDeque::new();
            self.index = HashTable::new();
        }
    }

    /// Drops the slots of removed entries, and gives memory back where there is some to move to.
    fn compact(&mut self) {
        let mut smaller = VecDeque::new();
        if smaller.try_reserve_exact(self.index.len() + SLACK).is_ok() {
            smaller.extend(self.slots.drain(..).filter(|slot| slot.live.is_some()));
            self.slots = smaller;
        } else {
            self.slots.retain(|slot| slot.live.is_some());
        }
        let mut table = HashTable::new();
        let Self { slots, hasher, index, .. } = self;
        if table.try_reserve(slots.len(), |&position| hash_of(hasher, slots, 0, position)).is_err() {
            table = core::mem::take(index);
            table.clear();
        }
        for position in 0..slots.len() {
            let hash = hash_of(hasher, slots, 0, position);
            table.insert_unique(hash, position, |&position| hash_of(hasher, slots, 0, position));
        }
        *index = table;
        self.base = 0;
    }

    /// The entries after `from`: name, node, and the cookie after it.
    pub(crate) fn after(&self, from: Cookie) -> impl Iterator<Item = (&[u8], &RamNode, Cookie)> {
        let first = self.slots.partition_point(|slot| slot.cookie <= from.0);
        self.slots
            .range(first..)
            .filter_map(|slot| slot.live.as_ref().map(|live| (&*live.name, &live.node, Cookie(slot.cookie))))
    }
}

fn hash_of(hasher: &DefaultHashBuilder, slots: &Slots, base: usize, position: usize) -> u64 {
    hasher.hash_one(slots[position - base].live.as_ref().map_or(&[][..], |live| &live.name))
}
