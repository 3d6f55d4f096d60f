//! `rename(2)`.

use crate::context::Context;
use crate::flags::{Fd, RenameFlags};
use crate::namespace::Namespace;
use crate::{Errno, Result};

impl Namespace {
    /// `renameat2(2)`, and with no flags `rename` and `renameat`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `EISDIR`, `ENOTEMPTY`, `EBUSY`, `EXDEV`,
    /// `EINVAL`, `EPERM`, `EMLINK`, `EROFS`, `ENOSPC`, `EIO`.
    pub fn renameat2(
        &self,
        ctx: &Context,
        old_dirfd: Fd,
        old_path: &[u8],
        new_dirfd: Fd,
        new_path: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        Err(Errno::ENOSYS.into())
    }
}
