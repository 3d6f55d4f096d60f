//! `unlink(2)` and `rmdir(2)`.

use crate::context::Context;
use crate::flags::{AtFlags, Fd};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `unlinkat(2)`; with `AT_REMOVEDIR`, `rmdir(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EISDIR`, `ENOTEMPTY`, `EBUSY`, `EPERM`, `EINVAL`,
    /// `EROFS`, `EIO`.
    pub fn unlinkat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}
