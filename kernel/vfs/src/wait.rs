//! How an operation waits: pipes, and record locks with `F_SETLKW`. The kernel brings its scheduler, tests theirs.

use crate::{Errno, Result};

/// Lets the calling task sleep until something is ready.
pub trait Wait: Send + Sync {
    /// Returns when `ready` says so. It is asked anew after each [`wake`](Self::wake), and must not sleep itself.
    ///
    /// # Errors
    /// `EINTR` for a signal; `EAGAIN` or another errno where waiting can never end.
    fn wait(&self, ready: &dyn Fn() -> bool) -> Result<()>;

    /// Something may be ready now.
    fn wake(&self);
}

/// For a system with a single task, where no one else could make anything ready: waiting is `EDEADLK`'s neighbour
/// `EAGAIN` at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NeverWait;

impl Wait for NeverWait {
    fn wait(&self, ready: &dyn Fn() -> bool) -> Result<()> {
        if ready() { Ok(()) } else { Err(Errno::EAGAIN.into()) }
    }

    fn wake(&self) {}
}
