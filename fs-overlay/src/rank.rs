//! The overlay's locks with their ranks, so that debug builds can check the order in which they are taken.
//!
//! [`Rank`] lists the locks outermost first; an overlay over another takes all its locks before any of the other's. The crate has no
//! threads of its own to tell who holds what: tests hand in what keeps the account ([`watch_locks`]). Release builds carry nothing of it.

use base::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::identity::Depth;

/// A lock's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Rank {
    /// `Core::copying` of one node.
    Copying = 1,
    /// `Shared::rename`.
    Rename = 2,
    /// `OverlayDir::entries`; several at once, the directory above first.
    Entries = 3,
    /// `Index::inodes`.
    Inodes = 4,
    /// `Index::links`.
    Links = 5,
}

/// How far the ranks of two overlays, one over the other, are apart.
const APART: u8 = 16;

/// Told of every lock: its number when it is wanted, and when it is let go. Numbers rise inwards, and [`SHARED_RANK`] alone may be
/// taken while it is held.
type Watch = (fn(u8), fn(u8));

static WATCH: OnceLock<Watch> = OnceLock::new();

/// The rank, whatever the overlay, of which a thread may hold several: `number % 16`.
#[doc(hidden)]
pub const SHARED_RANK: u8 = Rank::Entries as u8;

/// Has every lock of every overlay told to `wanted` before it is waited for, and to `released` when it is let go. The first call counts. Only
/// debug builds tell.
#[doc(hidden)]
pub fn watch_locks(wanted: fn(u8), released: fn(u8)) {
    WATCH.call_once(|| (wanted, released));
}

/// A lock of this crate.
pub(crate) struct Ranked<L> {
    lock: L,
    #[cfg(debug_assertions)]
    number: u8,
}

/// A guard of a [`Ranked`] lock.
pub(crate) struct Held<G> {
    _guard: G,
    #[cfg(debug_assertions)]
    number: u8,
}

impl<L: Default> Ranked<L> {
    pub(crate) fn new(rank: Rank, depth: Depth) -> Self {
        let outer = match depth {
            Depth::Two => 0,
            Depth::One => APART,
        };
        let _number = outer + rank as u8;
        Self {
            lock: L::default(),
            #[cfg(debug_assertions)]
            number: _number,
        }
    }
}

impl<L> Ranked<L> {
    fn hold<'a, G>(&'a self, wait: impl FnOnce(&'a L) -> G) -> Held<G> {
        #[cfg(debug_assertions)]
        if let Some((wanted, _)) = WATCH.get() {
            wanted(self.number);
        }
        Held {
            _guard: wait(&self.lock),
            #[cfg(debug_assertions)]
            number: self.number,
        }
    }
}

impl Ranked<Mutex<()>> {
    pub(crate) fn lock(&self) -> Held<MutexGuard<'_, ()>> {
        self.hold(Mutex::lock)
    }
}

impl Ranked<RwLock<()>> {
    pub(crate) fn read(&self) -> Held<RwLockReadGuard<'_, ()>> {
        self.hold(RwLock::read)
    }

    pub(crate) fn write(&self) -> Held<RwLockWriteGuard<'_, ()>> {
        self.hold(RwLock::write)
    }
}

#[cfg(debug_assertions)]
impl<G> Drop for Held<G> {
    fn drop(&mut self) {
        if let Some((_, released)) = WATCH.get() {
            released(self.number);
        }
    }
}
