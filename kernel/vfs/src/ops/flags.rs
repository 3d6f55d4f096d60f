//! The flags of an inode, through the `ioctl(2)` of a descriptor (`ioctl_iflags(2)`, `ioctl_xfs_fsgetxattr(2)`).

use crate::context::Context;
use crate::device::UserMemory;
use crate::mount::Location;
use crate::{Errno, InodeFlags, Result, permission};

/// A command of `ioctl(2)` about the flags of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagsCommand {
    /// `FS_IOC_GETFLAGS`. Its number says a `long`; as on Linux it is an `int` at the argument.
    GetFlags,
    /// `FS_IOC_SETFLAGS`.
    SetFlags,
    /// `FS_IOC_FSGETXATTR`: `struct fsxattr`, of which the flags alone mean something here.
    GetFsx,
    /// `FS_IOC_FSSETXATTR`.
    SetFsx,
}

impl FlagsCommand {
    /// The longest argument, in bytes: `struct fsxattr`, seven words and the flags are the first.
    pub const ARGUMENT_MAX: usize = 28;

    /// The command of this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0x8008_6601 => Self::GetFlags,
            0x4008_6602 => Self::SetFlags,
            0x801c_581f => Self::GetFsx,
            0x401c_5820 => Self::SetFsx,
            _ => return None,
        })
    }

    /// How many bytes are at its argument.
    #[must_use]
    pub const fn argument_len(self) -> usize {
        match self {
            Self::GetFlags | Self::SetFlags => 4,
            Self::GetFsx | Self::SetFsx => Self::ARGUMENT_MAX,
        }
    }

    /// Whether it asks.
    #[must_use]
    pub const fn gets(self) -> bool {
        matches!(self, Self::GetFlags | Self::GetFsx)
    }

    /// The argument that tells `flags`.
    #[must_use]
    pub fn answer(self, flags: InodeFlags) -> [u8; Self::ARGUMENT_MAX] {
        let bits = if self == Self::GetFlags { flags.bits() } else { flags.to_xflags() };
        let mut argument = [0; Self::ARGUMENT_MAX];
        argument[..4].copy_from_slice(&bits.to_ne_bytes());
        argument
    }

    /// The flags that this argument asks for, on an inode that has `old`.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for extent sizes, a project, or flags of neither; `EINVAL` for an argument that is too short.
    pub fn wanted(self, argument: &[u8], old: InodeFlags) -> Result<InodeFlags> {
        let (bits, rest) = argument.split_first_chunk().ok_or(Errno::EINVAL)?;
        let bits = u32::from_ne_bytes(*bits);
        if self == Self::SetFlags {
            return Ok(InodeFlags::from_bits_retain(bits));
        }
        // Behind the four other fields is padding.
        let others = rest.iter().take(16).any(|&byte| byte != 0);
        old.with_xflags(bits).filter(|_| !others).ok_or_else(|| Errno::EOPNOTSUPP.into())
    }
}

/// Gets or sets the flags of what is at a place.
pub(crate) fn ioctl(
    ctx: &Context,
    place: &Location,
    command: FlagsCommand,
    argument: u64,
    memory: &dyn UserMemory,
) -> Result<()> {
    let flags = || -> Result<InodeFlags> { Ok(place.attr()?.flags.ok_or(Errno::ENOTTY)?) };
    let len = command.argument_len();
    if command.gets() {
        return memory.copy_out(argument, &command.answer(flags()?)[..len]);
    }
    let mut bytes = [0; FlagsCommand::ARGUMENT_MAX];
    memory.copy_in(argument, &mut bytes[..len])?;
    let writing = place.mount.want_write()?;
    let inode = place.inode()?;
    let _exclusive = inode.lock.write();
    let old = flags()?;
    let wanted = command.wanted(&bytes[..len], old);
    // Whose it is counts first.
    let asked = *wanted.as_ref().unwrap_or(&old);
    permission::set_flags(&ctx.credentials, &inode.triple_locked()?, asked)?;
    inode.set_flags_locked(wanted?)?;
    writing.changed(inode)
}
