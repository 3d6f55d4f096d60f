//! Current and root directory, and the way back from a place to its path.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::context::Context;
use crate::credentials::Capabilities;
use crate::flags::{AT_FDCWD, Fd};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::ops::may;
use crate::path::{LookupFlags, location_of};
use crate::{Access, Errno, Result};

impl Namespace {
    /// `chdir(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path.
    pub fn chdir(&self, ctx: &Context, path: &[u8]) -> Result<()> {
        let place = self.lookup_at(ctx, AT_FDCWD, path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
        may(&ctx.credentials, &place, Access::EXECUTE)?;
        ctx.fs.set_cwd(place);
        Ok(())
    }

    /// `fchdir(2)`.
    ///
    /// # Errors
    /// `EBADF`, `ENOTDIR`, `EACCES`.
    pub fn fchdir(&self, ctx: &Context, fd: Fd) -> Result<()> {
        let place = location_of(ctx, fd)?;
        if !place.inode()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        may(&ctx.credentials, &place, Access::EXECUTE)?;
        ctx.fs.set_cwd(place);
        Ok(())
    }

    /// `chroot(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EPERM`.
    pub fn chroot(&self, ctx: &Context, path: &[u8]) -> Result<()> {
        let place = self.lookup_at(ctx, AT_FDCWD, path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)?;
        may(&ctx.credentials, &place, Access::EXECUTE)?;
        if !ctx.credentials.capable(Capabilities::CAP_SYS_CHROOT) {
            return Err(Errno::EPERM.into());
        }
        ctx.fs.set_root(place);
        Ok(())
    }

    /// `getcwd(2)`, without the terminating NUL. What is not below the caller's root begins with `(unreachable)`.
    ///
    /// # Errors
    /// `ENOENT` where the directory was removed.
    pub fn getcwd(&self, ctx: &Context) -> Result<Vec<u8>> {
        let places = ctx.fs.places();
        if places.cwd.dentry.is_unlinked() {
            return Err(Errno::ENOENT.into());
        }
        let (path, reach) = self.path_from(&places.root, &places.cwd);
        Ok(match reach {
            Reach::Root => path,
            Reach::Beyond => [b"(unreachable)", &path[..]].concat(),
        })
    }

    /// The path of a location as seen from the caller's root (`/proc/self/fd/N`), as [`getcwd`](Self::getcwd) writes it; a removed
    /// name ends in ` (deleted)`.
    #[must_use]
    pub fn path_of(&self, ctx: &Context, location: &Location) -> Vec<u8> {
        let (mut path, reach) = self.path_from(&ctx.fs.places().root, location);
        if reach == Reach::Beyond {
            path = [b"(unreachable)", &path[..]].concat();
        }
        if location.dentry.is_unlinked() {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }

    /// The names from `root`, or from the farthest place above, to a location.
    pub(crate) fn path_from(&self, root: &Location, location: &Location) -> (Vec<u8>, Reach) {
        // The names stand still under the topology's lock.
        let _names = self.topology.read();
        let mut names = Vec::new();
        let mut at = location.clone();
        let reach = loop {
            if at.is(root) {
                break Reach::Root;
            }
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                match at.mount.on() {
                    Some(below) => at = below,
                    None => break Reach::Beyond,
                }
                continue;
            }
            let Some(parent) = at.dentry.parent() else { break Reach::Beyond };
            names.push(at.dentry.name());
            at.dentry = parent;
        };
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        (path, reach)
    }
}

/// Whether the way up from a place ends at the root that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Root,
    Beyond,
}
