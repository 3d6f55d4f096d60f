//! Locks that may be held over disk I/O: a waiter gives the processor away instead of burning it.
//!
//! They are `spin`'s locks with a relax strategy that calls [`set_relax`]'s function. The kernel
//! registers its scheduler's yield, host tests `std::thread::yield_now`; without one a waiter spins.
//! Nothing here is for interrupt handlers: those have their own cells in the kernel.

use spin::RelaxStrategy;
use spin::once::Once;

static RELAX: Once<fn()> = Once::new();

/// Registers what a waiter does between two tries. The first call counts, later ones are ignored.
pub fn set_relax(relax: fn()) {
    RELAX.call_once(|| relax);
}

/// The relax strategy of [`Mutex`] and [`RwLock`].
#[derive(Debug)]
pub struct Yield;

impl RelaxStrategy for Yield {
    fn relax() {
        match RELAX.get() {
            Some(relax) => relax(),
            None => core::hint::spin_loop(),
        }
    }
}

/// A mutual-exclusion lock that may be held over I/O.
pub type Mutex<T> = spin::mutex::Mutex<T, Yield>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = spin::mutex::MutexGuard<'a, T, Yield>;
/// A readers-writer lock that may be held over I/O.
pub type RwLock<T> = spin::rwlock::RwLock<T, Yield>;
/// The shared guard of a [`RwLock`].
pub type RwLockReadGuard<'a, T> = spin::rwlock::RwLockReadGuard<'a, T, Yield>;
/// The exclusive guard of a [`RwLock`].
pub type RwLockWriteGuard<'a, T> = spin::rwlock::RwLockWriteGuard<'a, T, Yield>;
/// A value that is computed once.
pub type OnceLock<T> = spin::once::Once<T, Yield>;
