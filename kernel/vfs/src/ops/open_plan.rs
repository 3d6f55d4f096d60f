//! The flags of `open(2)`, found consistent before any path is looked at.

use crate::file::Claim;
use crate::flags::{OpenFlags, OpenHow, ResolveFlags};
use crate::path::LookupFlags;
use crate::{Access, Errno, Result};

/// What `open(2)` is to do, its flags found consistent.
pub(super) struct Plan {
    pub(super) flags: OpenFlags,
    pub(super) mode: u16,
    pub(super) lookup: LookupFlags,
    /// What the caller must be allowed to do with a file that exists.
    pub(super) access: Access,
}

impl Plan {
    pub(super) fn new(how: &OpenHow) -> Result<Self> {
        let OpenHow { mut flags, mode, resolve } = *how;
        let tmpfile = flags.contains(OpenFlags::TMPFILE_BIT);
        let creates = flags.contains(OpenFlags::O_CREAT);
        let mut access = match flags.bits() & OpenFlags::O_ACCMODE.bits() {
            0 => Access::READ,
            1 => Access::WRITE,
            _ => Access::READ | Access::WRITE,
        };
        let scopes = ResolveFlags::RESOLVE_BENEATH | ResolveFlags::RESOLVE_IN_ROOT;
        let inconsistent = resolve.contains(scopes)
            || (creates && flags.contains(OpenFlags::O_DIRECTORY))
            || (tmpfile && (!flags.contains(OpenFlags::O_DIRECTORY) || !access.contains(Access::WRITE)));
        if inconsistent {
            return Err(Errno::EINVAL.into());
        }
        if flags.contains(OpenFlags::O_PATH) {
            let known = OpenFlags::O_PATH | OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW | OpenFlags::O_CLOEXEC;
            if !known.contains(flags) {
                return Err(Errno::EINVAL.into());
            }
            access = Access::empty();
        }
        let changes = OpenFlags::O_TRUNC | OpenFlags::O_CREAT | OpenFlags::TMPFILE_BIT;
        if resolve.contains(ResolveFlags::RESOLVE_CACHED) && flags.intersects(changes) {
            return Err(Errno::EAGAIN.into());
        }
        if flags.contains(OpenFlags::SYNC_ALL) {
            flags |= OpenFlags::O_DSYNC;
        }
        if flags.contains(OpenFlags::O_TRUNC) {
            access |= Access::WRITE;
        }
        if flags.contains(OpenFlags::O_CREAT | OpenFlags::O_EXCL) {
            flags |= OpenFlags::O_NOFOLLOW;
        }
        let mut lookup = LookupFlags::empty().with_resolve(resolve);
        lookup.set(LookupFlags::FOLLOW, !flags.contains(OpenFlags::O_NOFOLLOW));
        lookup.set(LookupFlags::DIRECTORY, flags.contains(OpenFlags::O_DIRECTORY));
        Ok(Self { flags, mode, lookup, access })
    }

    pub(super) fn has(&self, flags: OpenFlags) -> bool {
        self.flags.contains(flags)
    }

    pub(super) fn claim(&self) -> Claim {
        if self.flags.writes() { Claim::Write } else { Claim::None }
    }
}
