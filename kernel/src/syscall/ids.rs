//! Who the caller is: user, group and process ids, groups, capabilities.

use alloc::vec::Vec;

use vfs::{Capabilities, Credentials, Errno, GROUPS_MAX, Result};

use super::{Answer, Caller, done, optional_id};
use crate::user::{UserArray, UserPtr};

/// `getuid(2)`.
pub(super) fn getuid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.context.credentials.uid().real as usize)
}

/// `geteuid(2)`.
pub(super) fn geteuid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.context.credentials.uid().effective as usize)
}

/// `getgid(2)`.
pub(super) fn getgid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.context.credentials.gid().real as usize)
}

/// `getegid(2)`.
pub(super) fn getegid(caller: &mut Caller<'_>) -> Answer {
    Ok(caller.context.credentials.gid().effective as usize)
}

/// Changes who the caller is, and tells others.
fn change(caller: &mut Caller<'_>, action: impl FnOnce(&mut Credentials) -> Result<()>) -> Answer {
    action(&mut caller.context.credentials)?;
    caller.publish();
    Ok(0)
}

/// `setuid(2)`.
pub(super) fn setuid(caller: &mut Caller<'_>, uid: u32) -> Answer {
    let uid = optional_id(uid).ok_or(Errno::EINVAL)?;
    change(caller, |credentials| credentials.set_uid(uid))
}

/// `setgid(2)`.
pub(super) fn setgid(caller: &mut Caller<'_>, gid: u32) -> Answer {
    let gid = optional_id(gid).ok_or(Errno::EINVAL)?;
    change(caller, |credentials| credentials.set_gid(gid))
}

/// `setreuid(2)`.
pub(super) fn setreuid(caller: &mut Caller<'_>, real: u32, effective: u32) -> Answer {
    change(caller, |credentials| credentials.set_reuid(optional_id(real), optional_id(effective)))
}

/// `setregid(2)`.
pub(super) fn setregid(caller: &mut Caller<'_>, real: u32, effective: u32) -> Answer {
    change(caller, |credentials| credentials.set_regid(optional_id(real), optional_id(effective)))
}

/// `setresuid(2)`.
pub(super) fn setresuid(caller: &mut Caller<'_>, real: u32, effective: u32, saved: u32) -> Answer {
    change(caller, |credentials| credentials.set_resuid([real, effective, saved].map(optional_id)))
}

/// `setresgid(2)`.
pub(super) fn setresgid(caller: &mut Caller<'_>, real: u32, effective: u32, saved: u32) -> Answer {
    change(caller, |credentials| credentials.set_resgid([real, effective, saved].map(optional_id)))
}

/// `getresuid(2)`.
pub(super) fn getresuid(
    caller: &mut Caller<'_>,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> Answer {
    let ids = *caller.context.credentials.uid();
    real.write(&ids.real)?;
    effective.write(&ids.effective)?;
    done(saved.write(&ids.saved))
}

/// `getresgid(2)`.
pub(super) fn getresgid(
    caller: &mut Caller<'_>,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> Answer {
    let ids = *caller.context.credentials.gid();
    real.write(&ids.real)?;
    effective.write(&ids.effective)?;
    done(saved.write(&ids.saved))
}

/// `setfsuid(2)`.
pub(super) fn setfsuid(caller: &mut Caller<'_>, uid: u32) -> Answer {
    Ok(caller.context.credentials.set_fsuid(uid) as usize)
}

/// `setfsgid(2)`.
pub(super) fn setfsgid(caller: &mut Caller<'_>, gid: u32) -> Answer {
    Ok(caller.context.credentials.set_fsgid(gid) as usize)
}

/// `getgroups(2)`.
pub(super) fn getgroups(caller: &mut Caller<'_>, size: i32, list: UserPtr<u32>) -> Answer {
    let groups = caller.context.credentials.groups();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size != 0 {
        if size < groups.len() {
            return Err(Errno::EINVAL.into());
        }
        UserArray::new(list, size).write(groups)?;
    }
    Ok(groups.len())
}

/// `setgroups(2)`.
pub(super) fn setgroups(caller: &mut Caller<'_>, size: i32, list: UserPtr<u32>) -> Answer {
    if !caller.context.credentials.capable(Capabilities::CAP_SETGID) {
        return Err(Errno::EPERM.into());
    }
    let size = usize::try_from(size).ok().filter(|&size| size <= GROUPS_MAX).ok_or(Errno::EINVAL)?;
    let groups: Vec<u32> = UserArray::new(list, size).read()?;
    change(caller, |credentials| credentials.set_groups(&groups))
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// `capget(2)` on oneself.
pub(super) fn capget(caller: &mut Caller<'_>, header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) -> Answer {
    capability_header(caller, header)?;
    let credentials = &caller.context.credentials;
    let (effective, permitted) = (credentials.effective().bits(), credentials.permitted().bits());
    if let Some(claim) = data.optional() {
        let half = |shift: u32| [(effective >> shift) as u32, (permitted >> shift) as u32, 0];
        claim.write(&[half(0), half(32)])?;
    }
    Ok(0)
}

/// `capset(2)` on oneself.
pub(super) fn capset(caller: &mut Caller<'_>, header: UserPtr<[u32; 2]>, data: UserPtr<[[u32; 3]; 2]>) -> Answer {
    capability_header(caller, header)?;
    let [low, high] = data.read()?;
    let whole = |index: usize| Capabilities::from_bits_truncate(u64::from(low[index]) | u64::from(high[index]) << 32);
    change(caller, |credentials| credentials.set_capabilities(whole(0), whole(1)))
}

/// Checks version and process; an unknown version is answered with the one that is known.
fn capability_header(caller: &Caller<'_>, header: UserPtr<[u32; 2]>) -> vfs::Result<()> {
    let [version, pid] = header.read()?;
    if version != CAPABILITY_VERSION {
        header.write(&[CAPABILITY_VERSION, pid])?;
        return Err(Errno::EINVAL.into());
    }
    if pid != 0 && pid != caller.pid() as u32 {
        return Err(Errno::EPERM.into());
    }
    Ok(())
}
