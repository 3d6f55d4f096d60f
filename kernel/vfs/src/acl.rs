//! POSIX access control lists (`acl(5)`), in the form that the system calls use (`posix_acl_xattr_header`, version 2).
//!
//! A list lies in the extended attribute [`ACCESS`] of an inode, and in [`DEFAULT`] of a directory for what is made there. A filesystem
//! keeps an inode's list and its nine permission bits in step, each change of either in one step: [`Acl::mode_bits`] are set with a list
//! ([`Acl::is_minimal`] ones are nothing but mode bits and not kept), and [`Acl::set_mode`] follows a change of the mode. The
//! namespace judges by a list and hands default lists down.

use alloc::vec::Vec;

use crate::credentials::Credentials;
use crate::{Access, Errno, Error, NodeOps, Result};

/// The attribute of an inode's own list.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute of the list that a directory hands down.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
/// Where an entry has no id.
const NO_ID: u32 = u32::MAX;

/// Whether an extended attribute is an access control list.
#[must_use]
pub fn is_acl(name: &[u8]) -> bool {
    name == ACCESS || name == DEFAULT
}

/// Whom an entry is about, in the order of the entries of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Tag {
    /// The owner.
    UserObj = 0x01,
    /// The user with this id.
    User = 0x02,
    /// The owning group.
    GroupObj = 0x04,
    /// The group with this id.
    Group = 0x08,
    /// The most that named users and all groups get.
    Mask = 0x10,
    /// Everyone else.
    Other = 0x20,
}

impl Tag {
    /// The tag of this number.
    #[must_use]
    pub const fn from_raw(raw: u16) -> Option<Self> {
        Some(match raw {
            0x01 => Self::UserObj,
            0x02 => Self::User,
            0x04 => Self::GroupObj,
            0x08 => Self::Group,
            0x10 => Self::Mask,
            0x20 => Self::Other,
            _ => return None,
        })
    }

    /// Whether entries of this tag name someone.
    #[must_use]
    pub const fn is_named(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is about.
    pub tag: Tag,
    /// Read 4, write 2, execute 1.
    pub perm: u16,
    /// The user or group of a named entry.
    pub id: u32,
}

/// A valid list: one owner, one owning group, one entry for others, sorted by tag; a mask where anyone is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl(Vec<Entry>);

fn invalid() -> Error {
    Error::new(Errno::EINVAL, "access control list")
}

impl Acl {
    /// From the value of an extended attribute; `None` for a list without entries, which stands for none.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for another version, `EINVAL` for what is no list.
    pub fn parse(value: &[u8]) -> Result<Option<Self>> {
        let entries = Self::read(value)?;
        if entries.is_empty() { Ok(None) } else { Self::new(entries).map(Some) }
    }

    /// The entries that the value of an extended attribute has, whether or not they make a valid list (`posix_acl_from_xattr`).
    ///
    /// # Errors
    /// `EOPNOTSUPP` for another version; `EINVAL` for a length that entries cannot have, a tag that there is not, and a named entry
    /// that names nobody.
    pub(crate) fn read(value: &[u8]) -> Result<Vec<Entry>> {
        let Some((version, body)) = value.split_first_chunk::<4>() else {
            return if value.is_empty() { Ok(Vec::new()) } else { Err(invalid()) };
        };
        if u32::from_le_bytes(*version) != VERSION {
            return Err(Error::new(Errno::EOPNOTSUPP, "version of an access control list"));
        }
        let (raw, rest) = body.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(invalid());
        }
        let mut entries = Vec::new();
        entries.try_reserve_exact(raw.len()).map_err(|_| Error::from(Errno::ENOMEM))?;
        for &[t0, t1, p0, p1, ref id @ ..] in raw {
            let tag = Tag::from_raw(u16::from_le_bytes([t0, t1])).ok_or_else(invalid)?;
            let id = if tag.is_named() { u32::from_le_bytes(*id) } else { NO_ID };
            if tag.is_named() && id == NO_ID {
                return Err(invalid());
            }
            entries.push(Entry { tag, perm: u16::from_le_bytes([p0, p1]), id });
        }
        Ok(entries)
    }

    /// The list that an inode has in an extended attribute: [`ACCESS`] or [`DEFAULT`].
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `EIO`, `ENOMEM`.
    pub fn of(ops: &dyn NodeOps, name: &[u8]) -> Result<Option<Self>> {
        match ops.xattr(name) {
            Ok(Some(value)) => Self::parse(&value),
            Ok(None) => Ok(None),
            Err(error) if error.errno() == Errno::EOPNOTSUPP => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From entries.
    ///
    /// # Errors
    /// `EINVAL` if they make no valid list.
    pub fn new(entries: Vec<Entry>) -> Result<Self> {
        let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
        let complete = [Tag::UserObj, Tag::GroupObj, Tag::Other].into_iter().all(|tag| count(tag) == 1);
        let named = entries.iter().any(|entry| entry.tag.is_named());
        let masked = count(Tag::Mask) == 1 || (!named && count(Tag::Mask) == 0);
        let sorted = entries.is_sorted_by_key(|entry| entry.tag);
        let sound = entries.iter().all(|entry| entry.perm <= 7 && !(entry.tag.is_named() && entry.id == NO_ID));
        if complete && masked && sorted && sound { Ok(Self(entries)) } else { Err(invalid()) }
    }

    /// The entries, sorted by tag.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The value of the extended attribute.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn to_value(&self) -> Result<Vec<u8>> {
        let mut value = Vec::new();
        value.try_reserve_exact(4 + 8 * self.0.len()).map_err(|_| Error::from(Errno::ENOMEM))?;
        value.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.0 {
            value.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            value.extend_from_slice(&entry.perm.to_le_bytes());
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
        Ok(value)
    }

    /// Whether mode bits say all of it.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        self.0.len() <= 3
    }

    fn perm(&self, tag: Tag) -> Option<u16> {
        self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.perm)
    }

    /// The nine permission bits that go with the list: owner; mask, or the owning group where there is no mask; others.
    #[must_use]
    pub fn mode_bits(&self) -> u16 {
        let group = self.perm(Tag::Mask).or_else(|| self.perm(Tag::GroupObj));
        self.perm(Tag::UserObj).unwrap_or(0) << 6 | group.unwrap_or(0) << 3 | self.perm(Tag::Other).unwrap_or(0)
    }

    /// Follows a change of the mode bits.
    pub fn set_mode(&mut self, mode: u16) {
        let masked = self.perm(Tag::Mask).is_some();
        for entry in &mut self.0 {
            entry.perm = match entry.tag {
                Tag::UserObj => mode >> 6 & 7,
                Tag::Mask => mode >> 3 & 7,
                Tag::GroupObj if !masked => mode >> 3 & 7,
                Tag::Other => mode & 7,
                _ => continue,
            };
        }
    }

    /// What a new inode gets of a directory's default list, and the mode that it is made with: no more than was
    /// `asked` (`posix_acl_create`). The umask has no part in it.
    #[must_use]
    pub fn inherit(&self, asked: u16) -> (Self, u16) {
        let mut list = self.clone();
        let masked = list.perm(Tag::Mask).is_some();
        for entry in &mut list.0 {
            entry.perm &= match entry.tag {
                Tag::UserObj => asked >> 6 & 7,
                Tag::Mask => asked >> 3 & 7,
                Tag::GroupObj if !masked => asked >> 3 & 7,
                Tag::Other => asked & 7,
                _ => continue,
            };
        }
        let mode = asked & !0o777 | list.mode_bits();
        (list, mode)
    }

    /// What the list grants to a caller who is not the owner (`acl(5)`, "access check algorithm"); `gid` is the inode's group.
    pub(crate) fn grants(&self, who: &Credentials, gid: u32, want: Access) -> bool {
        let want = u16::from(want.bits());
        let has = |perm: u16| perm & want == want;
        let masked = |perm: u16| has(perm & self.perm(Tag::Mask).unwrap_or(7));
        let uid = who.uid().file_system;
        if let Some(user) = self.0.iter().find(|entry| entry.tag == Tag::User && entry.id == uid) {
            return masked(user.perm);
        }
        let mut groups = self
            .0
            .iter()
            .filter(|entry| match entry.tag {
                Tag::GroupObj => who.in_group(gid),
                Tag::Group => who.in_group(entry.id),
                _ => false,
            })
            .peekable();
        if groups.peek().is_some() {
            return groups.any(|entry| masked(entry.perm));
        }
        self.perm(Tag::Other).is_some_and(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(Tag, u16, u32)]) -> Acl {
        Acl::new(entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect()).unwrap()
    }

    fn sample() -> Acl {
        list(&[
            (Tag::UserObj, 7, NO_ID),
            (Tag::User, 5, 1000),
            (Tag::User, 6, 1001),
            (Tag::GroupObj, 6, NO_ID),
            (Tag::Group, 1, 50),
            (Tag::Mask, 4, NO_ID),
            (Tag::Other, 1, NO_ID),
        ])
    }

    #[test]
    fn a_list_survives_its_value() {
        let value = sample().to_value().unwrap();
        assert_eq!(Acl::parse(&value).unwrap(), Some(sample()));
        assert_eq!(Acl::parse(&value[..4]).unwrap(), None);
        assert_eq!(Acl::parse(b"").unwrap(), None);
        for cut in [1, 3, 5, 12, value.len() - 1] {
            assert_eq!(Acl::parse(&value[..cut]).unwrap_err(), Errno::EINVAL, "{cut} bytes");
        }
        assert_eq!(Acl::parse(b"\x01\0\0\0").unwrap_err(), Errno::EOPNOTSUPP);
    }

    #[test]
    fn the_mask_stands_for_the_group_in_the_mode() {
        let mut acl = sample();
        assert_eq!(acl.mode_bits(), 0o741);
        acl.set_mode(0o620);
        assert_eq!(acl.mode_bits(), 0o620);
        assert_eq!(acl.perm(Tag::GroupObj), Some(6));
        let mut minimal = list(&[(Tag::UserObj, 6, NO_ID), (Tag::GroupObj, 4, NO_ID), (Tag::Other, 0, NO_ID)]);
        assert!(minimal.is_minimal());
        minimal.set_mode(0o751);
        assert_eq!(minimal.mode_bits(), 0o751);
    }

    #[test]
    fn the_first_entry_that_fits_decides_and_the_mask_limits_it() {
        let acl = sample();
        let grants = |who: &Credentials, want| acl.grants(who, 60, want);
        let named = Credentials::user(1000, 1, &[50, 60]);
        assert!(grants(&named, Access::READ));
        assert!(!grants(&named, Access::EXECUTE), "the mask takes it");
        assert!(!grants(&Credentials::user(7, 7, &[50]), Access::EXECUTE), "a group's right is masked too");
        assert!(grants(&Credentials::user(7, 60, &[50]), Access::READ), "one group that grants it is enough");
        assert!(!grants(&Credentials::user(7, 50, &[]), Access::READ), "a member of a group is not of the others");
        assert!(grants(&Credentials::user(7, 7, &[]), Access::EXECUTE));
        assert!(!grants(&Credentials::user(7, 7, &[]), Access::READ));
    }

    #[test]
    fn what_is_inherited_is_no_more_than_was_asked() {
        let (acl, mode) = sample().inherit(0o640);
        assert_eq!(mode, 0o640);
        assert_eq!(acl.perm(Tag::Mask), Some(4));
        assert_eq!(acl.perm(Tag::User), Some(5), "named ones are limited by the mask alone");
        let (_, mode) = sample().inherit(0o4777);
        assert_eq!(mode, 0o4741);
    }

    #[test]
    fn impossible_lists_are_refused() {
        let ids = |tag: Tag| if tag.is_named() { 5 } else { NO_ID };
        for bad in [
            &[Tag::UserObj][..],
            &[Tag::UserObj, Tag::User, Tag::GroupObj, Tag::Other],
            &[Tag::Other, Tag::GroupObj, Tag::UserObj],
            &[Tag::UserObj, Tag::GroupObj, Tag::Mask, Tag::Mask, Tag::Other],
        ] {
            let entries = bad.iter().map(|&tag| Entry { tag, perm: 6, id: ids(tag) }).collect();
            assert_eq!(Acl::new(entries).unwrap_err(), Errno::EINVAL);
        }
    }
}
