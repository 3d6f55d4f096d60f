//! `sync(2)`, `syncfs(2)`.

use crate::context::Context;
use crate::flags::Fd;
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `sync(2)`: every filesystem. The system call ignores the answer; a shutdown does not.
    ///
    /// # Errors
    /// The first failure; all are tried.
    pub fn sync(&self) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }

    /// `syncfs(2)`.
    ///
    /// # Errors
    /// `EBADF`, `EIO`.
    pub fn syncfs(&self, ctx: &Context, fd: Fd) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}
