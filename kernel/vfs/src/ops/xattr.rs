//! Extended attributes by path; by descriptor they are methods of [`crate::OpenFile`].

use alloc::vec::Vec;

use crate::acl::{self, Acl, Entry};
use crate::context::Context;
use crate::flags::{AtFlags, Fd, XattrFlags};
use crate::inode::Inode;
use crate::mount::Location;
use crate::namespace::Namespace;
use crate::path::only;
use crate::permission::{self, XattrAccess};
use crate::{Errno, Result, SetAttr, XattrMode};

/// The longest name of an extended attribute (`XATTR_NAME_MAX`).
const NAME_MAX: usize = 255;
/// The longest value (`XATTR_SIZE_MAX`).
const SIZE_MAX: usize = 65_536;

/// Flags of the calls by path.
const KNOWN: AtFlags = AtFlags::AT_SYMLINK_NOFOLLOW.union(AtFlags::AT_EMPTY_PATH);

impl Namespace {
    /// `setxattr(2)`, `lsetxattr(2)` (with `AT_SYMLINK_NOFOLLOW`), `setxattrat(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EEXIST`, `ENODATA`, `ERANGE`, `E2BIG`, `EPERM`,
    /// `EACCES`, `EOPNOTSUPP`, `EINVAL`, `EROFS`, `ENOSPC`, `EIO`.
    #[expect(clippy::too_many_arguments, reason = "they are the system call's")]
    pub fn setxattrat(
        &self,
        ctx: &Context,
        dirfd: Fd,
        path: &[u8],
        flags: AtFlags,
        name: &[u8],
        value: &[u8],
        how: XattrFlags,
    ) -> Result<()> {
        only(flags, KNOWN)?;
        check_set(name, value, how)?;
        set(ctx, &self.target(ctx, dirfd, path, flags)?, name, value, how)
    }

    /// `getxattr(2)`, `lgetxattr(2)`: the whole value; see [`fit`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `ENODATA`, `ERANGE`, `EACCES`, `EOPNOTSUPP`, `EIO`.
    pub fn getxattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags, name: &[u8]) -> Result<Vec<u8>> {
        only(flags, KNOWN)?;
        check_name(name)?;
        get(ctx, &self.target(ctx, dirfd, path, flags)?, name)
    }

    /// `listxattr(2)`, `llistxattr(2)`: the names, each ended by a NUL; see [`fit`].
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `EIO`.
    pub fn listxattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags) -> Result<Vec<u8>> {
        only(flags, KNOWN)?;
        list(ctx, &self.target(ctx, dirfd, path, flags)?)
    }

    /// `removexattr(2)`, `lremovexattr(2)`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`, `EBADF` of the path; `ENODATA`, `ERANGE`, `EPERM`, `EACCES`, `EOPNOTSUPP`,
    /// `EROFS`, `EIO`.
    pub fn removexattrat(&self, ctx: &Context, dirfd: Fd, path: &[u8], flags: AtFlags, name: &[u8]) -> Result<()> {
        only(flags, KNOWN)?;
        check_name(name)?;
        remove(ctx, &self.target(ctx, dirfd, path, flags)?, name)
    }
}

/// What `getxattr(2)` and `listxattr(2)` do with a buffer of `size` bytes: copy `value` (`Some`), or, for size 0, only tell
/// its length (`None`).
///
/// # Errors
/// `ERANGE` where it does not fit.
pub fn fit(value: &[u8], size: usize) -> Result<Option<&[u8]>> {
    match size {
        0 => Ok(None),
        size if size < value.len() => Err(Errno::ERANGE.into()),
        _ => Ok(Some(value)),
    }
}

fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX { Err(Errno::ERANGE.into()) } else { Ok(()) }
}

fn check_set(name: &[u8], value: &[u8], how: XattrFlags) -> Result<()> {
    if !XattrFlags::all().contains(how) {
        return Err(Errno::EINVAL.into());
    }
    check_name(name)?;
    if value.len() > SIZE_MAX { Err(Errno::E2BIG.into()) } else { Ok(()) }
}

pub(crate) fn set(ctx: &Context, place: &Location, name: &[u8], value: &[u8], how: XattrFlags) -> Result<()> {
    check_set(name, value, how)?;
    let writing = place.mount.want_write()?;
    let inode = place.inode()?;
    let entries = if acl::is_acl(name) { Some(Acl::read(value)?) } else { None };
    let _exclusive = inode.lock.write();
    permission::xattr(&ctx.credentials, &inode.triple_locked()?, name, XattrAccess::Write)?;
    let ops = inode.node.ops();
    if let Some(entries) = entries {
        set_list(ctx, inode, name, value, entries)?;
        return writing.changed(inode);
    }
    let both = XattrFlags::XATTR_CREATE | XattrFlags::XATTR_REPLACE;
    let mode = match how {
        // It must be missing and be there: refused either way, by what is the case.
        how if how == both => match ops.xattr(name)? {
            Some(_) => return Err(Errno::EEXIST.into()),
            None => return Err(Errno::ENODATA.into()),
        },
        XattrFlags::XATTR_CREATE => XattrMode::Create,
        XattrFlags::XATTR_REPLACE => XattrMode::Replace,
        _ => XattrMode::Set,
    };
    if name == permission::FILE_CAPABILITIES {
        inode.expect_capabilities();
    }
    ops.set_xattr(name, value, mode)?;
    writing.changed(inode)
}

/// Sets an access control list, whatever there was before (`set_posix_acl`); one without entries takes it away. Whether
/// the entries make a list is asked last, as on Linux. The caller holds the inode's lock.
fn set_list(ctx: &Context, inode: &Inode, name: &[u8], value: &[u8], entries: Vec<Entry>) -> Result<()> {
    if name == acl::DEFAULT && !inode.is_dir() {
        return if entries.is_empty() { Ok(()) } else { Err(Errno::EACCES.into()) };
    }
    permission::set_list(&ctx.credentials, &inode.triple_locked()?)?;
    let result = if entries.is_empty() {
        inode.node.ops().remove_xattr(name)
    } else {
        Acl::new(entries)?;
        inode.node.ops().set_xattr(name, value, XattrMode::Set)
    };
    inode.forget_triple();
    result?;
    if name == acl::ACCESS {
        let triple = inode.triple_locked()?;
        if let Some(mode) = permission::after_list(&ctx.credentials, &triple) {
            inode.set_attr_locked(&SetAttr { mode: Some(mode), ..SetAttr::default() })?;
        }
    }
    Ok(())
}

/// Takes an access control list away; a file that is no directory has no default one to take. The caller holds the inode's
/// lock.
fn remove_list(ctx: &Context, inode: &Inode, name: &[u8]) -> Result<()> {
    if name == acl::DEFAULT && !inode.is_dir() {
        return Ok(());
    }
    permission::set_list(&ctx.credentials, &inode.triple_locked()?)?;
    let result = inode.node.ops().remove_xattr(name);
    inode.forget_triple();
    result
}

pub(crate) fn get(ctx: &Context, place: &Location, name: &[u8]) -> Result<Vec<u8>> {
    check_name(name)?;
    let inode = place.inode()?;
    permission::xattr(&ctx.credentials, &inode.triple()?, name, XattrAccess::Read)?;
    inode.node.ops().xattr(name)?.ok_or_else(|| Errno::ENODATA.into())
}

pub(crate) fn list(ctx: &Context, place: &Location) -> Result<Vec<u8>> {
    let inode = place.inode()?;
    let mut names = Vec::new();
    let mut full = false;
    inode.node.ops().list_xattrs(&mut |name| {
        if !permission::xattr_is_listed(&ctx.credentials, name) {
            return;
        }
        if names.try_reserve(name.len() + 1).is_err() || names.len() + name.len() >= SIZE_MAX {
            full = true;
            return;
        }
        names.extend_from_slice(name);
        names.push(0);
    })?;
    if full { Err(Errno::E2BIG.into()) } else { Ok(names) }
}

pub(crate) fn remove(ctx: &Context, place: &Location, name: &[u8]) -> Result<()> {
    check_name(name)?;
    let writing = place.mount.want_write()?;
    let inode = place.inode()?;
    let _exclusive = inode.lock.write();
    permission::xattr(&ctx.credentials, &inode.triple_locked()?, name, XattrAccess::Write)?;
    if acl::is_acl(name) { remove_list(ctx, inode, name) } else { inode.node.ops().remove_xattr(name) }?;
    writing.changed(inode)
}
