//! Extended attributes, in the inode behind its fields and in one block more.
//!
//! [`codec`] knows the entries, [`store`] where they lie, [`acl`] the two forms of POSIX access control lists.

mod acl;
mod codec;
mod store;

use vfs::{Errno, Error, Result};

/// Prefixes that entries keep as a number (`EXT4_XATTR_INDEX_*`).
const PREFIXES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];

/// Index of the access control list, which has no further name.
const ACL_ACCESS: u8 = 2;
/// Index of a directory's default access control list.
const ACL_DEFAULT: u8 = 3;
const ACL_ACCESS_NAME: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT_NAME: &[u8] = b"system.posix_acl_default";

/// A name as entries keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttrName<'a> {
    index: u8,
    rest: &'a [u8],
}

impl<'a> AttrName<'a> {
    /// Splits a full name.
    fn parse(name: &'a [u8]) -> Result<Self> {
        if name.len() > 255 {
            return Err(Error::new(Errno::ERANGE, "name of an attribute"));
        }
        match name {
            ACL_ACCESS_NAME => return Ok(Self { index: ACL_ACCESS, rest: b"" }),
            ACL_DEFAULT_NAME => return Ok(Self { index: ACL_DEFAULT, rest: b"" }),
            _ => {}
        }
        for (index, prefix) in PREFIXES {
            if let Some(rest) = name.strip_prefix(prefix)
                && !rest.is_empty()
            {
                return Ok(Self { index, rest });
            }
        }
        Err(Error::new(Errno::EOPNOTSUPP, "class of an attribute"))
    }

    fn is_acl(&self) -> bool {
        matches!(self.index, ACL_ACCESS | ACL_DEFAULT)
    }
}

/// The prefix that a number stands for, or the full name of a list.
fn prefix(index: u8) -> Option<&'static [u8]> {
    match index {
        ACL_ACCESS => Some(ACL_ACCESS_NAME),
        ACL_DEFAULT => Some(ACL_DEFAULT_NAME),
        _ => PREFIXES.iter().find(|(number, _)| *number == index).map(|(_, prefix)| *prefix),
    }
}
