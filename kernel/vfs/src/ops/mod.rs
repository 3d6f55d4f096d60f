//! The operations of [`Namespace`], by family. Each follows Linux in the order of its checks, for that is what decides which
//! errno a program sees.

mod anonymous;
pub(crate) mod attr;
mod create;
mod cwd;
pub(crate) mod flags;
mod mount;
mod open;
mod open_plan;
mod remove;
mod rename;
pub(crate) mod stat;
mod sync;
pub(crate) mod xattr;

use crate::credentials::Credentials;
use crate::flags::{AT_FDCWD, AtFlags, Fd};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::path::{follow_unless, location_of};
use crate::{Access, Context, Errno, FileType, Result, permission};

impl Namespace {
    /// What a call with `AT_SYMLINK_NOFOLLOW` and `AT_EMPTY_PATH` acts on.
    pub(crate) fn target(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Location> {
        if path.is_empty() && flags.contains(AtFlags::AT_EMPTY_PATH) && dirfd != AT_FDCWD {
            return location_of(ctx, dirfd);
        }
        self.lookup_at(ctx, dirfd, path, follow_unless(flags))
    }
}

/// Whether the caller may do this with what is at a place: `EROFS` before `EACCES`, as `inode_permission` has it. The
/// caller does not hold the inode's lock.
pub(crate) fn may(who: &Credentials, place: &Location, want: Access) -> Result<()> {
    let triple = place.inode()?.triple()?;
    let stored = matches!(triple.kind, FileType::File | FileType::Dir | FileType::Symlink);
    if want.contains(Access::WRITE) && stored && place.file_system().is_read_only() {
        return Err(Errno::EROFS.into());
    }
    permission::check(who, &triple, want)
}
