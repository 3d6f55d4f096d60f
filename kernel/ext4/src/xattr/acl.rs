//! POSIX access control lists on the disk: [`vfs::acl`]'s entries, where only those of named users and groups have an id. The list
//! of a file and its mode bits are kept in step: setting the list sets the bits, a change of the bits changes the list.

use alloc::vec::Vec;

use vfs::acl::{Acl as List, Entry, Tag};
use vfs::{Errno, Error, Result};

use crate::bytes::{le16, le32};

const DISK_VERSION: u32 = 1;
const NO_ID: u32 = u32::MAX;

/// Reads the form on disk; `EUCLEAN` for what is none.
fn parse(disk: &[u8]) -> Result<List> {
    let corrupt = || Error::fault(Errno::EUCLEAN, "ext4: corrupt access control list");
    if disk.len() < 4 || le32(disk, 0) != DISK_VERSION {
        return Err(corrupt());
    }
    let mut entries = Vec::new();
    let mut at = 4;
    while at < disk.len() {
        let head = disk.get(at..at + 4).ok_or_else(corrupt)?;
        let tag = Tag::from_raw(le16(head, 0)).ok_or_else(corrupt)?;
        at += 4;
        let mut id = NO_ID;
        if tag.is_named() {
            id = le32(disk.get(at..at + 4).ok_or_else(corrupt)?, 0);
            at += 4;
        }
        entries.push(Entry { tag, perm: le16(head, 2), id });
    }
    List::new(entries).map_err(|_| corrupt())
}

/// The form on disk.
fn encode(list: &List) -> Vec<u8> {
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for entry in list.entries() {
        disk.extend_from_slice(&(entry.tag as u16).to_le_bytes());
        disk.extend_from_slice(&entry.perm.to_le_bytes());
        if entry.tag.is_named() {
            disk.extend_from_slice(&entry.id.to_le_bytes());
        }
    }
    disk
}

/// Turns the form on disk into that of system calls.
pub(super) fn from_disk(disk: &[u8]) -> Result<Vec<u8>> {
    parse(disk)?.to_value()
}

/// A list in both its uses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acl {
    /// The form on disk; `None` where mode bits say all of it.
    pub(super) disk: Option<Vec<u8>>,
    /// The nine permission bits that it stands for; `None` for an empty list.
    pub(super) bits: Option<u16>,
}

/// Turns the form of system calls into that on disk.
pub(super) fn to_disk(value: &[u8]) -> Result<Acl> {
    Ok(match List::parse(value)? {
        None => Acl { disk: None, bits: None },
        Some(list) => Acl { disk: (!list.is_minimal()).then(|| encode(&list)), bits: Some(list.mode_bits()) },
    })
}

/// As [`to_disk`] for a directory's default list, which is kept even if it is minimal.
pub(super) fn default_to_disk(value: &[u8]) -> Result<Option<Vec<u8>>> {
    Ok(List::parse(value)?.as_ref().map(encode))
}

/// A list on disk after a change of the permission bits.
pub(super) fn with_mode(disk: &[u8], mode: u16) -> Result<Vec<u8>> {
    let mut list = parse(disk)?;
    list.set_mode(mode);
    Ok(encode(&list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(entries: &[(Tag, u16, u32)]) -> Vec<u8> {
        let entries = entries.iter().map(|&(tag, perm, id)| Entry { tag, perm, id }).collect();
        List::new(entries).unwrap().to_value().unwrap()
    }

    #[test]
    fn a_list_survives_the_disk_and_gives_the_mode() {
        let list = |owner, mask, other| {
            value(&[
                (Tag::UserObj, owner, NO_ID),
                (Tag::User, 5, 1000),
                (Tag::GroupObj, 6, NO_ID),
                (Tag::Mask, mask, NO_ID),
                (Tag::Other, other, NO_ID),
            ])
        };
        let acl = to_disk(&list(7, 4, 1)).unwrap();
        assert_eq!(acl.bits, Some(0o741));
        let disk = acl.disk.unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&disk).unwrap(), list(7, 4, 1));
        assert_eq!(from_disk(&with_mode(&disk, 0o620).unwrap()).unwrap(), list(6, 2, 0));
    }

    #[test]
    fn a_minimal_list_is_only_a_mode() {
        let minimal = value(&[(Tag::UserObj, 6, NO_ID), (Tag::GroupObj, 4, NO_ID), (Tag::Other, 0, NO_ID)]);
        assert_eq!(to_disk(&minimal).unwrap(), Acl { disk: None, bits: Some(0o640) });
        assert!(default_to_disk(&minimal).unwrap().is_some());
        assert_eq!(to_disk(b"\x02\0\0\0").unwrap(), Acl { disk: None, bits: None });
    }

    #[test]
    fn a_damaged_list_is_told() {
        let whole =
            default_to_disk(&value(&[(Tag::UserObj, 6, NO_ID), (Tag::GroupObj, 4, NO_ID), (Tag::Other, 0, NO_ID)]));
        let whole = whole.unwrap().unwrap();
        for bad in [&whole[..3], &whole[..6], &whole[..8], &whole[4..]] {
            assert_eq!(from_disk(bad).unwrap_err(), Errno::EUCLEAN);
        }
    }
}
