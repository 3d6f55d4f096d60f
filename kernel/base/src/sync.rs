//! Locks that may be held over disk I/O: a waiter gives the processor away instead of burning it.
//!
//! They are `spin`'s locks with a relax strategy that calls [`set_relax`]'s function. The kernel
//! registers its scheduler's yield, host tests `std::thread::yield_now`; without one a waiter spins.
//! Nothing here is for interrupt handlers: those have their own cells in the kernel.
//!
//! Debug builds tell [`set_switch`]'s function wherever another thread could get the processor with an effect that these locks
//! allow: before one is taken or a [`OnceLock`] is looked at, and after a lock is let go. That is what a test needs that decides itself
//! which thread goes on. Release builds carry nothing of it.

use core::ops::{Deref, DerefMut};

use spin::RelaxStrategy;
use spin::once::Once;

static RELAX: Once<fn()> = Once::new();
#[cfg(debug_assertions)]
static SWITCH: Once<fn()> = Once::new();

/// Registers what a waiter does between two tries. The first call counts, later ones are ignored.
pub fn set_relax(relax: fn()) {
    RELAX.call_once(|| relax);
}

/// Registers what is done where another thread could get the processor. The first call counts. Only debug builds call it.
pub fn set_switch(switch: fn()) {
    #[cfg(debug_assertions)]
    SWITCH.call_once(|| switch);
    #[cfg(not(debug_assertions))]
    let _ = switch;
}

#[inline]
fn switch() {
    #[cfg(debug_assertions)]
    if let Some(switch) = SWITCH.get() {
        switch();
    }
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

/// Dropped after the guard beside it.
#[derive(Debug)]
struct LetGo;

#[cfg(debug_assertions)]
impl Drop for LetGo {
    fn drop(&mut self) {
        switch();
    }
}

/// A mutual-exclusion lock that may be held over I/O.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(spin::mutex::Mutex<T, Yield>);

/// A readers-writer lock that may be held over I/O.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(spin::rwlock::RwLock<T, Yield>);

/// A value that is computed once.
#[derive(Debug)]
pub struct OnceLock<T>(Once<T, Yield>);

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident, $of:ident::$inner:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "the lock is let go when its guard is dropped"]
        pub struct $name<'a, T: ?Sized> {
            guard: spin::$of::$inner<'a, T, Yield>,
            _let_go: LetGo,
        }

        impl<'a, T: ?Sized> $name<'a, T> {
            #[inline]
            fn of(guard: spin::$of::$inner<'a, T, Yield>) -> Self {
                Self { guard, _let_go: LetGo }
            }
        }

        impl<T: ?Sized> Deref for $name<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.guard
            }
        }
    };
}

guard!(
    /// The guard of a [`Mutex`].
    MutexGuard,
    mutex::MutexGuard
);
guard!(
    /// The shared guard of a [`RwLock`].
    RwLockReadGuard,
    rwlock::RwLockReadGuard
);
guard!(
    /// The exclusive guard of a [`RwLock`].
    RwLockWriteGuard,
    rwlock::RwLockWriteGuard
);

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Mutex<T> {
    /// An unlocked one.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(spin::mutex::Mutex::new(value))
    }

    /// The value.
    #[inline]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for the lock and takes it.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        switch();
        MutexGuard::of(self.0.lock())
    }

    /// Takes the lock if nobody holds it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        switch();
        self.0.try_lock().map(MutexGuard::of)
    }

    /// The value; nobody can hold the lock.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T> RwLock<T> {
    /// An unlocked one.
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(spin::rwlock::RwLock::new(value))
    }

    /// The value.
    #[inline]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits for whoever has it alone, and takes it shared.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        switch();
        RwLockReadGuard::of(self.0.read())
    }

    /// Waits until nobody has it, and takes it alone.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        switch();
        RwLockWriteGuard::of(self.0.write())
    }

    /// As [`write`](Self::write), where readers go on for as long as they come: those that come from now on wait.
    #[inline]
    pub fn write_next(&self) -> RwLockWriteGuard<'_, T> {
        switch();
        RwLockWriteGuard::of(self.0.try_write().unwrap_or_else(|| self.0.upgradeable_read().upgrade()))
    }

    /// Takes it shared, if nobody has it alone or is about to.
    #[inline]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        switch();
        self.0.try_read().map(RwLockReadGuard::of)
    }

    /// The value; nobody can hold the lock.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T> OnceLock<T> {
    /// One without a value.
    #[inline]
    pub const fn new() -> Self {
        Self(Once::new())
    }

    /// One that has its value.
    #[inline]
    pub const fn initialized(value: T) -> Self {
        Self(Once::initialized(value))
    }

    /// The value, if it is there.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        switch();
        self.0.get()
    }

    /// The value, which `make` gives where it is not there.
    #[inline]
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        switch();
        self.0.call_once(make)
    }

    /// The value, which `make` gives where it is not there.
    ///
    /// # Errors
    /// Those of `make`: there is no value then.
    #[inline]
    pub fn try_call_once<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        switch();
        self.0.try_call_once(make)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}
