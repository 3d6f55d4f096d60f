//! State that a program keeps for itself, without a lock.
//!
//! Key type: [`SingleThread`]. It is sound because a program of this runtime has one thread: the runtime offers no way to
//! start another, and `vfork` suspends the parent until the child has left its memory.

use core::cell::RefCell;

/// A value in a `static`, borrowed by the program's only thread.
pub struct SingleThread<T>(RefCell<T>);

// SAFETY: no second thread exists in a program of this runtime (see the module's text), so the cell is never used from two
// at once. A borrow that is still alive is refused by the `RefCell` itself.
unsafe impl<T> Sync for SingleThread<T> {}

impl<T> SingleThread<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Runs `action` with the value, or gives `None` when it is in use further up the stack.
    pub fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut value| action(&mut value))
    }
}
