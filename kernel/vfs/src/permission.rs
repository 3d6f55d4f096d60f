//! Who may do what: every permission check of the namespace (`path_resolution(7)`, `inode(7)`, `capabilities(7)`,
//! `xattr(7)`, `acl(5)`, `ioctl_iflags(2)`). Filesystems check nothing.
//!
//! The functions judge a [`Triple`] (type, mode, owner, group) and a [`Credentials`] and change nothing. The caller holds the lock
//! under which it then acts.

use crate::acl::{self, Acl};
use crate::credentials::{Capabilities, Credentials};
use crate::inode::{Inode, Triple};
use crate::namespace::{Protection, Protections};
use crate::{Access, Errno, FileType, InodeFlags, Result, SetAttr, mode};

/// The extended attribute with the capabilities that a program gets by being executed (`capabilities(7)`).
pub(crate) const FILE_CAPABILITIES: &[u8] = b"security.capability";

/// Group execution: with it, the set-group-id bit means what it says.
const GROUP_EXECUTE: u16 = 0o010;

/// Whether the caller may do this with the inode (`generic_permission`).
///
/// `EACCES` if not, `EPERM` to write what is immutable; `EINVAL`, `EIO` of an access list that can't be read. Of several rights, all
/// are needed.
#[inline]
pub(crate) fn check(who: &Credentials, inode: &Triple<'_>, want: Access) -> Result<()> {
    if want.contains(Access::WRITE) {
        inode.flags.check_growth()?;
    }
    match judge(who, inode, want) {
        Verdict::Granted => Ok(()),
        Verdict::Refused => Err(Errno::EACCES.into()),
        Verdict::ByList(listed) => check_list(who, inode, listed.access_list()?.as_deref(), want),
    }
}

/// What remains of [`check`] after [`Verdict::ByList`]; `list` is the inode's.
pub(crate) fn check_list(who: &Credentials, inode: &Triple<'_>, list: Option<&Acl>, want: Access) -> Result<()> {
    let granted = match list {
        Some(list) => list.grants(who, inode.gid, want),
        None => class_bits(who, inode).contains(want),
    };
    if granted { Ok(()) } else { Err(Errno::EACCES.into()) }
}

/// What can be said without asking the filesystem.
pub(crate) enum Verdict<'a> {
    Granted,
    Refused,
    /// The inode's access control list decides, and the permission bits where it has none.
    ByList(&'a Inode),
}

/// As [`check`], as far as bits and capabilities decide.
#[inline]
pub(crate) fn judge<'a>(who: &Credentials, inode: &Triple<'a>, want: Access) -> Verdict<'a> {
    // Whether a list could say anything else than the bits: it is not for the owner, and a mask without rights leaves none to
    // those that it names (Linux's `acl_permission_check` looks no further either).
    let listed = inode.listed.filter(|_| inode.mode & 0o070 != 0 && who.uid().file_system != inode.uid);
    match listed {
        None if class_bits(who, inode).contains(want) => Verdict::Granted,
        _ if overrides(who, inode, want) => Verdict::Granted,
        None => Verdict::Refused,
        Some(listed) => Verdict::ByList(listed),
    }
}

/// What the permission bits grant to the caller: those of its class, and of no other.
#[inline]
fn class_bits(who: &Credentials, inode: &Triple<'_>) -> Access {
    let bits = if who.uid().file_system == inode.uid {
        inode.mode >> 6
    } else if (inode.mode >> 3 ^ inode.mode) & 7 != 0 && who.in_group(inode.gid) {
        inode.mode >> 3
    } else {
        inode.mode
    };
    Access::from_bits_truncate(bits as u8 & 7)
}

/// Whether capabilities grant what the bits refuse.
fn overrides(who: &Credentials, inode: &Triple<'_>, want: Access) -> bool {
    if inode.kind == FileType::Dir {
        let reads = !want.contains(Access::WRITE);
        return (reads && who.capable(Capabilities::CAP_DAC_READ_SEARCH))
            || who.capable(Capabilities::CAP_DAC_OVERRIDE);
    }
    if want == Access::READ && who.capable(Capabilities::CAP_DAC_READ_SEARCH) {
        return true;
    }
    let executable = inode.mode & 0o111 != 0;
    (!want.contains(Access::EXECUTE) || executable) && who.capable(Capabilities::CAP_DAC_OVERRIDE)
}

/// Whether the caller may do what is the owner's.
pub(crate) fn owns(who: &Credentials, inode: &Triple<'_>) -> bool {
    who.uid().file_system == inode.uid || who.capable(Capabilities::CAP_FOWNER)
}

/// Whether the caller may leave the set-group-id bit on an inode of this group.
pub(crate) fn keeps_set_gid(who: &Credentials, gid: u32) -> bool {
    who.in_group(gid) || who.capable(Capabilities::CAP_FSETID)
}

/// Whether an entry may be made in a directory.
pub(crate) fn may_create(who: &Credentials, dir: &Triple<'_>) -> Result<()> {
    check(who, dir, Access::WRITE | Access::EXECUTE)
}

/// Whether this entry may be taken out of a directory: `EACCES`; `EPERM` by the sticky bit, and by the flags of either.
pub(crate) fn may_delete(who: &Credentials, dir: &Triple<'_>, victim: &Inode) -> Result<()> {
    check(who, dir, Access::WRITE | Access::EXECUTE)?;
    dir.flags.check_change()?;
    let victim = victim.triple()?;
    victim.flags.check_change()?;
    let fsuid = who.uid().file_system;
    if dir.mode & mode::STICKY == 0 || dir.uid == fsuid || who.capable(Capabilities::CAP_FOWNER) {
        return Ok(());
    }
    if victim.uid == fsuid { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// `chmod(2)`: the mode that the inode gets; `EPERM`, and `EOPNOTSUPP` for a symbolic link.
pub(crate) fn chmod(who: &Credentials, inode: &Triple<'_>, mode: u16) -> Result<u16> {
    inode.flags.check_change()?;
    if !owns(who, inode) {
        return Err(Errno::EPERM.into());
    }
    if inode.kind == FileType::Symlink {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let lost = if keeps_set_gid(who, inode.gid) { 0 } else { mode::SET_GID };
    Ok(mode & mode::PERMISSIONS & !lost)
}

/// `chown(2)`: what changes, set-id bits that go included; `EPERM`.
pub(crate) fn chown(who: &Credentials, inode: &Triple<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<SetAttr> {
    inode.flags.check_change()?;
    let is_owner = who.uid().file_system == inode.uid;
    let privileged = who.capable(Capabilities::CAP_CHOWN);
    if !privileged && uid.is_some_and(|uid| !is_owner || uid != inode.uid) {
        return Err(Errno::EPERM.into());
    }
    if !privileged && gid.is_some_and(|gid| !is_owner || (gid != inode.gid && !who.in_group(gid))) {
        return Err(Errno::EPERM.into());
    }
    let mut change = SetAttr { uid, gid, ..SetAttr::default() };
    if inode.kind != FileType::Dir {
        let keeps = inode.mode & GROUP_EXECUTE == 0 && keeps_set_gid(who, inode.gid);
        let lost = if keeps { mode::SET_UID } else { mode::SET_UID | mode::SET_GID };
        if inode.mode & lost != 0 {
            if !owns(who, inode) {
                return Err(Errno::EPERM.into());
            }
            change.mode = Some(inode.mode & !lost);
        }
    }
    Ok(change)
}

/// The mode that a change of content leaves, if it takes set-id bits away.
#[inline]
pub(crate) fn after_write(who: &Credentials, inode: &Triple<'_>) -> Option<u16> {
    if inode.mode & (mode::SET_UID | mode::SET_GID) == 0 || inode.kind != FileType::File {
        return None;
    }
    let mut lost = mode::SET_UID;
    if inode.mode & mode::SET_GID != 0 && (inode.mode & GROUP_EXECUTE != 0 || !who.in_group(inode.gid)) {
        lost |= mode::SET_GID;
    }
    (inode.mode & lost != 0 && !who.capable(Capabilities::CAP_FSETID)).then_some(inode.mode & !lost)
}

/// The mode that a new access control list leaves, if it takes the set-group-id bit away (`posix_acl_update_mode`).
pub(crate) fn after_list(who: &Credentials, inode: &Triple<'_>) -> Option<u16> {
    let loses = inode.mode & mode::SET_GID != 0 && !keeps_set_gid(who, inode.gid);
    loses.then_some(inode.mode & !mode::SET_GID)
}

/// Whether the caller may set times: given ones are the owner's (`EPERM`), now is also a writer's (`EACCES`).
pub(crate) fn may_set_times(who: &Credentials, inode: &Triple<'_>, what: Times) -> Result<()> {
    match what {
        Times::Given => inode.flags.check_change()?,
        Times::Now => inode.flags.check_growth()?,
    }
    match what {
        _ if owns(who, inode) => Ok(()),
        Times::Given => Err(Errno::EPERM.into()),
        Times::Now => check(who, inode, Access::WRITE),
    }
}

/// What `utimensat(2)` is to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Both to now.
    Now,
    /// Anything else.
    Given,
}

/// What is to be done with an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XattrAccess {
    Read,
    Write,
}

/// Whether the caller may set or take away an access control list: its owner may (`EPERM`).
pub(crate) fn set_list(who: &Credentials, inode: &Triple<'_>) -> Result<()> {
    if owns(who, inode) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Whether the caller may use the extended attribute `name` (`xattr(7)`): `EPERM` or `ENODATA` by its class, `EACCES` by the bits,
/// `EOPNOTSUPP` for an unknown class; `EPERM` to change one of what is immutable or append-only. Of access control lists see [`set_list`].
pub(crate) fn xattr(who: &Credentials, inode: &Triple<'_>, name: &[u8], access: XattrAccess) -> Result<()> {
    if access == XattrAccess::Write {
        inode.flags.check_change()?;
    }
    let (refused, want) = match access {
        XattrAccess::Read => (Errno::ENODATA, Access::READ),
        XattrAccess::Write => (Errno::EPERM, Access::WRITE),
    };
    if name.starts_with(b"user.") {
        if !matches!(inode.kind, FileType::File | FileType::Dir) {
            return Err(refused.into());
        }
        let sticky = inode.kind == FileType::Dir && inode.mode & mode::STICKY != 0;
        if sticky && access == XattrAccess::Write && !owns(who, inode) {
            return Err(Errno::EPERM.into());
        }
        return check(who, inode, want);
    }
    if name.starts_with(b"trusted.") {
        return if who.capable(Capabilities::CAP_SYS_ADMIN) { Ok(()) } else { Err(refused.into()) };
    }
    if acl::is_acl(name) {
        // Links have none. Whose a list is to set is asked where it is known to be one that the inode can have.
        return if inode.kind == FileType::Symlink { Err(Errno::EOPNOTSUPP.into()) } else { Ok(()) };
    }
    if access == XattrAccess::Read && (name.starts_with(b"security.") || name.starts_with(b"system.")) {
        return Ok(());
    }
    if name == FILE_CAPABILITIES {
        return if who.capable(Capabilities::CAP_SETFCAP) { Ok(()) } else { Err(Errno::EPERM.into()) };
    }
    if name.starts_with(b"security.") {
        return if who.capable(Capabilities::CAP_SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM.into()) };
    }
    if name.starts_with(b"system.") {
        return Ok(());
    }
    check(who, inode, want)?;
    Err(Errno::EOPNOTSUPP.into())
}

/// Whether the caller may give the inode these flags: its owner may, but those that protect it are for `CAP_LINUX_IMMUTABLE` alone
/// (`EPERM`).
pub(crate) fn set_flags(who: &Credentials, inode: &Triple<'_>, flags: InodeFlags) -> Result<()> {
    let protects = (inode.flags ^ flags).intersects(InodeFlags::PROTECTION);
    if !owns(who, inode) || (protects && !who.capable(Capabilities::CAP_LINUX_IMMUTABLE)) {
        return Err(Errno::EPERM.into());
    }
    Ok(())
}

/// Whether the name of an extended attribute is shown to the caller.
pub(crate) fn xattr_is_listed(who: &Credentials, name: &[u8]) -> bool {
    !name.starts_with(b"trusted.") || who.capable(Capabilities::CAP_SYS_ADMIN)
}

/// `fs.protected_symlinks`: whether a link at the end of a path is followed; `dir` holds it.
pub(crate) fn may_follow(on: Protections, who: &Credentials, dir: &Triple<'_>, link: &Triple<'_>) -> Result<()> {
    if on.symlinks == Protection::Off || who.uid().file_system == link.uid || !is_shared(dir) || dir.uid == link.uid {
        Ok(())
    } else {
        Err(Errno::EACCES.into())
    }
}

/// `fs.protected_fifos` and `fs.protected_regular`: whether `O_CREAT` opens what is there already. No setting lets it open others'
/// devices and sockets in a sticky directory.
pub(crate) fn may_open_existing(
    on: Protections,
    who: &Credentials,
    dir: &Triple<'_>,
    inode: &Triple<'_>,
) -> Result<()> {
    let protected = match inode.kind {
        FileType::Fifo => on.fifos,
        FileType::File => on.regular,
        _ => Protection::On,
    };
    let fsuid = who.uid().file_system;
    if protected == Protection::Off || !is_shared(dir) || inode.uid == dir.uid || inode.uid == fsuid {
        Ok(())
    } else {
        Err(Errno::EACCES.into())
    }
}

/// `fs.protected_hardlinks`: whether the caller may give the file one more name; `EPERM`.
pub(crate) fn may_link(on: Protections, who: &Credentials, inode: &Triple<'_>) -> Result<()> {
    let set_gid = mode::SET_GID | GROUP_EXECUTE;
    let safe = inode.kind == FileType::File
        && inode.mode & mode::SET_UID == 0
        && inode.mode & set_gid != set_gid
        && check(who, inode, Access::READ | Access::WRITE).is_ok();
    if on.hardlinks == Protection::Off || safe || owns(who, inode) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// A directory where anyone makes entries that only their owners remove.
fn is_shared(dir: &Triple<'_>) -> bool {
    dir.mode & (mode::STICKY | 0o002) == mode::STICKY | 0o002
}
