//! Mounts, and how full they are.

use vfs::{Capabilities, Errno, Fd, MountFlags, StatFs, UmountFlags};

use super::abi::LinuxStatFs;
use super::{Answer, Caller, done, with_path};
use crate::init::namespace;
use crate::user::{UserPtr, UserString};

/// `MS_MGC_VAL`: a magic number that old programs put into the upper half of the flags.
const MAGIC: u64 = 0xc0ed_0000;
const MAGIC_MASK: u64 = 0xffff_0000;

/// `mount(2)`. Which of its texts may be null depends on the flags; null is read as empty.
pub(super) fn mount(
    caller: &mut Caller<'_>,
    source: UserString,
    target: UserString,
    fs_type: UserString,
    flags: u64,
    data: u64,
) -> Answer {
    if !caller.context.credentials.capable(Capabilities::CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let flags = if flags & MAGIC_MASK == MAGIC { flags & !MAGIC_MASK } else { flags };
    let flags = MountFlags::from_bits_retain(flags);
    let options = options(data)?;
    let context = &caller.context;
    done(with_optional(source, |source| {
        with_optional(fs_type, |fs_type| {
            with_path(target, |target| namespace().mount(context, source, target, fs_type, flags, &options))
        })
    }))
}

fn with_optional<R>(text: UserString, action: impl FnOnce(&[u8]) -> vfs::Result<R>) -> vfs::Result<R> {
    if text.is_null() { action(b"") } else { with_path(text, action) }
}

/// The options: up to a page of text, which may end where the program's memory does.
fn options(address: u64) -> vfs::Result<alloc::vec::Vec<u8>> {
    if address == 0 {
        return Ok(alloc::vec::Vec::new());
    }
    let text = UserString::new(address).read_long(boot::layout::PAGE_SIZE as usize - 1);
    text.map_err(|error| if error == Errno::E2BIG { Errno::EINVAL.into() } else { error })
}

/// `umount2(2)`.
pub(super) fn umount2(caller: &mut Caller<'_>, target: UserString, flags: u32) -> Answer {
    let flags = UmountFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    done(with_path(target, |target| namespace().umount(&caller.context, target, flags)))
}

/// `statfs(2)`.
pub(super) fn statfs(caller: &mut Caller<'_>, path: UserString, result: UserPtr<LinuxStatFs>) -> Answer {
    let (fs, flags) = with_path(path, |path| {
        let fs = namespace().statfs(&caller.context, path)?;
        let location = namespace().resolve(&caller.context, vfs::AT_FDCWD, path)?;
        Ok((fs, location.mount_flags()))
    })?;
    answer(&fs, flags, result)
}

/// `fstatfs(2)`.
pub(super) fn fstatfs(caller: &mut Caller<'_>, fd: Fd, result: UserPtr<LinuxStatFs>) -> Answer {
    let file = caller.context.file(fd)?;
    let flags = file.location().map_or(MountFlags::empty(), vfs::Location::mount_flags);
    answer(&file.statfs()?, flags, result)
}

fn answer(fs: &StatFs, flags: MountFlags, result: UserPtr<LinuxStatFs>) -> Answer {
    // `ST_*` has the values of `MS_*` for the first five, and its own for the access times.
    let mut shown = flags.bits() & 0xf;
    for (flag, value) in [
        (MountFlags::MS_SYNCHRONOUS, 0x10),
        (MountFlags::MS_NOATIME, 0x400),
        (MountFlags::MS_NODIRATIME, 0x800),
        (MountFlags::MS_RELATIME, 0x1000),
    ] {
        if flags.contains(flag) {
            shown |= value;
        }
    }
    done(result.write(&LinuxStatFs::new(fs, shown)))
}
