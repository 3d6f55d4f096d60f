//! Path resolution (`path_resolution(7)`, `openat2(2)`): from bytes to a [`Location`], or to a directory and a last component.
//!
//! [`Walker`] does it in two parts: `scan` follows what the cache knows, by reference, under the shared topology lock;
//! where the cache does not know, the walk lets go of the lock, asks the filesystem, and goes on from there.

mod cursor;
mod lookup;
mod walk;

pub(crate) use walk::Walker;

use alloc::sync::Arc;

use crate::context::Context;
use crate::flags::{AtFlags, Fd, PATH_LEN_MAX, ResolveFlags};
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::{Errno, Result};

bitflags::bitflags! {
    /// How a path is resolved.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct LookupFlags: u32 {
        /// A symbolic link at the end is followed.
        const FOLLOW = 1;
        /// The end must be a directory.
        const DIRECTORY = 2;
        /// An empty path is the starting place.
        const EMPTY = 4;
        const BENEATH = 8;
        const IN_ROOT = 16;
        const NO_XDEV = 32;
        const NO_SYMLINKS = 64;
        const CACHED = 128;
        /// No use of the mounts on the way, as `MNT_EXPIRE` counts.
        const EXPIRING = 256;
        const NO_MAGIC = 512;
    }
}

impl LookupFlags {
    pub(crate) fn with_resolve(mut self, resolve: ResolveFlags) -> Self {
        for (theirs, ours) in [
            (ResolveFlags::RESOLVE_BENEATH, Self::BENEATH),
            (ResolveFlags::RESOLVE_IN_ROOT, Self::IN_ROOT),
            (ResolveFlags::RESOLVE_NO_XDEV, Self::NO_XDEV),
            (ResolveFlags::RESOLVE_NO_SYMLINKS, Self::NO_SYMLINKS),
            (ResolveFlags::RESOLVE_NO_MAGICLINKS, Self::NO_MAGIC),
            (ResolveFlags::RESOLVE_CACHED, Self::CACHED),
        ] {
            self.set(ours, resolve.contains(theirs));
        }
        self
    }
}

/// The last component of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// A name: [`Walker::last_name`].
    Name(TrailingSlash),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// None: the path is all slashes.
    Root,
}

impl Namespace {
    /// What a path leads to; it exists.
    pub(crate) fn lookup_at(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: LookupFlags) -> Result<Location> {
        let mut walker = Walker::new(self, ctx, dirfd, path, flags)?;
        walker.walk()?;
        walker.into_end()
    }

    /// The directory where a path ends, and its last component.
    pub(crate) fn parent_at<'a>(
        &'a self,
        ctx: &'a Context,
        dirfd: Fd,
        path: &'a [u8],
    ) -> Result<(Location, Last, Walker<'a>)> {
        let mut walker = Walker::new(self, ctx, dirfd, path, LookupFlags::empty())?;
        let last = walker.walk_to_last()?;
        Ok((walker.location()?, last, walker))
    }
}

/// How a call that follows symbolic links unless `AT_SYMLINK_NOFOLLOW` resolves its path.
pub(crate) fn follow_unless(flags: AtFlags) -> LookupFlags {
    let mut lookup = LookupFlags::empty();
    lookup.set(LookupFlags::FOLLOW, !flags.contains(AtFlags::AT_SYMLINK_NOFOLLOW));
    lookup.set(LookupFlags::EMPTY, flags.contains(AtFlags::AT_EMPTY_PATH));
    lookup
}

/// `EINVAL` for flags that a call does not know.
pub(crate) fn only(flags: AtFlags, known: AtFlags) -> Result<()> {
    if known.contains(flags) { Ok(()) } else { Err(Errno::EINVAL.into()) }
}

/// What is wrong with a path before any of it is resolved.
pub(crate) fn check_text(path: &[u8], flags: AtFlags) -> Result<()> {
    match path.len() {
        0 if !flags.contains(AtFlags::AT_EMPTY_PATH) => Err(Errno::ENOENT.into()),
        len if len > PATH_LEN_MAX => Err(Errno::ENAMETOOLONG.into()),
        _ => Ok(()),
    }
}

/// Where a descriptor stands in the tree: `EBADF`; `ENOTDIR` for what has no place there.
pub(crate) fn location_of(ctx: &Context, dirfd: Fd) -> Result<Location> {
    let file = ctx.files.get(dirfd)?;
    Ok(file.location().ok_or(Errno::ENOTDIR)?.clone())
}

/// What a path without a name at its end means to those who must make or remove one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrailingSlash {
    No,
    Yes,
}

pub(crate) type Bytes = Arc<[u8]>;
