//! [`IrqMutex`]: a lock for what interrupt handlers touch too.
//!
//! Ordinary kernel code uses the locks of `base::sync`, which may be held over I/O. This one keeps interrupts off
//! while it is held, so that a handler never waits for the code it interrupted. It is held for
//! microseconds, never over I/O, and no lock is taken inside it.

use core::ops::{Deref, DerefMut};

use x86_64::instructions::interrupts;

/// A mutex that keeps interrupts off while it is held.
pub struct IrqMutex<T> {
    inner: spin::Mutex<T>,
}

impl<T> core::fmt::Debug for IrqMutex<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IrqMutex").finish_non_exhaustive()
    }
}

/// The guard of an [`IrqMutex`].
pub struct IrqMutexGuard<'a, T> {
    // `Option` so that the lock is released before interrupts come back.
    inner: Option<spin::MutexGuard<'a, T>>,
    enable: bool,
}

impl<T> IrqMutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { inner: spin::Mutex::new(value) }
    }

    /// Takes the lock.
    pub fn lock(&self) -> IrqMutexGuard<'_, T> {
        let enable = interrupts::are_enabled();
        interrupts::disable();
        IrqMutexGuard { inner: Some(self.inner.lock()), enable }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<IrqMutexGuard<'_, T>> {
        let enable = interrupts::are_enabled();
        interrupts::disable();
        let inner = self.inner.try_lock();
        if inner.is_none() && enable {
            interrupts::enable();
        }
        inner.map(|inner| IrqMutexGuard { inner: Some(inner), enable })
    }
}

impl<T> core::fmt::Debug for IrqMutexGuard<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("IrqMutexGuard").finish_non_exhaustive()
    }
}

impl<T> Deref for IrqMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.inner {
            Some(inner) => inner,
            None => unreachable!("the guard is empty only inside its drop"),
        }
    }
}

impl<T> DerefMut for IrqMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.inner {
            Some(inner) => inner,
            None => unreachable!("the guard is empty only inside its drop"),
        }
    }
}

impl<T> Drop for IrqMutexGuard<'_, T> {
    fn drop(&mut self) {
        self.inner = None;
        if self.enable {
            interrupts::enable();
        }
    }
}
