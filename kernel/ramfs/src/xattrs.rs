//! The extended attributes of one inode: a list sorted by name, within Linux's limits.

use alloc::boxed::Box;
use alloc::vec::Vec;

use vfs::acl::{self, Acl};
use vfs::{Errno, Error, Result, XattrMode};

use crate::memory::{boxed, out_of_memory};

/// The longest name, in bytes (`XATTR_NAME_MAX` of `<linux/limits.h>`).
const NAME_MAX: usize = 255;
/// The longest value, in bytes (`XATTR_SIZE_MAX`).
const VALUE_MAX: usize = 65_536;
/// The longest list of names, each with its NUL (`XATTR_LIST_MAX`).
const LIST_MAX: usize = 65_536;
/// What one attribute is charged beside its name and value, in bytes.
const OVERHEAD: u64 = 64;

#[derive(Debug)]
struct Xattr {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// The extended attributes of an inode.
#[derive(Debug, Default)]
pub(crate) struct Xattrs(Vec<Xattr>);

/// Whether the filesystem keeps attributes of this name.
///
/// # Errors
/// `ERANGE` for an empty name or one over 255 bytes, `EINVAL` for a bare class, `EOPNOTSUPP` for an unknown one.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Error::new(Errno::ERANGE, "the name of an extended attribute has 1 to 255 bytes"));
    }
    if acl::is_acl(name) {
        return Ok(());
    }
    for class in [&b"user."[..], b"trusted.", b"security."] {
        match name.strip_prefix(class) {
            Some([]) => return Err(Error::new(Errno::EINVAL, "extended attribute without a name after its class")),
            Some(_) => return Ok(()),
            None => {}
        }
    }
    Err(Error::new(Errno::EOPNOTSUPP, "class of extended attribute"))
}

impl Xattrs {
    fn find(&self, name: &[u8]) -> core::result::Result<usize, usize> {
        self.0.binary_search_by(|xattr| (*xattr.name).cmp(name))
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.find(name).ok().map(|position| &*self.0[position].value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|xattr| &*xattr.name)
    }

    /// Bytes that the attributes are charged.
    pub(crate) fn charge(&self) -> u64 {
        self.0.iter().map(|xattr| OVERHEAD + xattr.name.len() as u64 + xattr.value.len() as u64).sum()
    }

    /// By how many bytes setting `name` to `value` raises the charge, zero if it lowers it.
    pub(crate) fn growth(&self, name: &[u8], value: &[u8]) -> u64 {
        match self.get(name) {
            Some(old) => (value.len() as u64).saturating_sub(old.len() as u64),
            None => OVERHEAD + name.len() as u64 + value.len() as u64,
        }
    }

    /// A copy, to be changed and put in this one's place: a change that fails half-way is forgotten with it.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let mut copy = Vec::new();
        copy.try_reserve(self.0.len() + 1).map_err(|_| out_of_memory())?;
        for xattr in &self.0 {
            copy.push(Xattr { name: boxed(&xattr.name)?, value: boxed(&xattr.value)? });
        }
        Ok(Self(copy))
    }

    /// Sets one, as [`vfs::NodeOps::set_xattr`]; on an error nothing has changed.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        check_name(name)?;
        if value.len() > VALUE_MAX {
            return Err(Error::new(Errno::E2BIG, "extended attribute over 64 KiB"));
        }
        match (self.find(name), mode) {
            (Ok(_), XattrMode::Create) => Err(Errno::EEXIST.into()),
            (Err(_), XattrMode::Replace) => Err(Errno::ENODATA.into()),
            (Ok(position), _) => {
                self.0[position].value = boxed(value)?;
                Ok(())
            }
            (Err(position), _) => {
                let listed: usize = self.0.iter().map(|xattr| xattr.name.len() + 1).sum();
                if listed + name.len() + 1 > LIST_MAX {
                    return Err(Error::new(Errno::ENOSPC, "list of extended attributes over 64 KiB"));
                }
                let xattr = Xattr { name: boxed(name)?, value: boxed(value)? };
                self.0.try_reserve(1).map_err(|_| out_of_memory())?;
                self.0.insert(position, xattr);
                Ok(())
            }
        }
    }

    /// Follows a change of the mode bits with the access control list, whose size stays the same.
    pub(crate) fn set_mode(&mut self, mode: u16) -> Result<()> {
        let Ok(position) = self.find(acl::ACCESS) else { return Ok(()) };
        if let Some(mut list) = Acl::parse(&self.0[position].value)? {
            list.set_mode(mode);
            self.0[position].value = list.to_value()?.into_boxed_slice();
        }
        Ok(())
    }

    /// Removes one, if it is there.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        if let Ok(position) = self.find(name) {
            self.0.remove(position);
        }
    }
}
