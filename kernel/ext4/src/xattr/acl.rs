//! POSIX access control lists: ext4's form on disk, and the form that system calls use (`posix_acl_xattr_header`).
//!
//! On disk only named users and groups have an id. The list of a file and its mode bits are kept in step: setting the list sets
//! the bits, a change of the bits changes the list.

use alloc::vec::Vec;

use vfs::{Errno, Error, Result};

use crate::bytes::{le16, le32, put16};

const DISK_VERSION: u32 = 1;
const XATTR_VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;

fn invalid() -> Error {
    Error::new(Errno::EINVAL, "access control list")
}

/// Turns the form on disk into that of system calls.
pub(super) fn from_disk(disk: &[u8]) -> Result<Vec<u8>> {
    let corrupt = || Error::fault(Errno::EUCLEAN, "ext4: corrupt access control list");
    if disk.len() < 4 || le32(disk, 0) != DISK_VERSION {
        return Err(corrupt());
    }
    let mut out = XATTR_VERSION.to_le_bytes().to_vec();
    let mut at = 4;
    while at < disk.len() {
        let entry = disk.get(at..at + 4).ok_or_else(corrupt)?;
        let tag = le16(entry, 0);
        out.extend_from_slice(entry);
        at += 4;
        let id = match tag {
            USER | GROUP => {
                let id = disk.get(at..at + 4).ok_or_else(corrupt)?;
                at += 4;
                le32(id, 0)
            }
            USER_OBJ | GROUP_OBJ | MASK | OTHER => NO_ID,
            _ => return Err(corrupt()),
        };
        out.extend_from_slice(&id.to_le_bytes());
    }
    Ok(out)
}

/// The entries of the form of system calls, checked as `posix_acl_valid` does.
fn entries(value: &[u8]) -> Result<Vec<(u16, u16, u32)>> {
    let body = value.get(4..).ok_or_else(invalid)?;
    if le32(value, 0) != XATTR_VERSION {
        return Err(Error::new(Errno::EOPNOTSUPP, "version of an access control list"));
    }
    if !body.len().is_multiple_of(8) {
        return Err(invalid());
    }
    let all: Vec<_> = body.chunks_exact(8).map(|e| (le16(e, 0), le16(e, 2), le32(e, 4))).collect();
    let count = |tag| all.iter().filter(|entry| entry.0 == tag).count();
    let named = count(USER) + count(GROUP);
    let sorted = all.windows(2).all(|pair| {
        let ((a, _, a_id), (b, _, b_id)) = (pair[0], pair[1]);
        a < b || (a == b && matches!(a, USER | GROUP) && a_id != b_id)
    });
    let complete = count(USER_OBJ) == 1 && count(GROUP_OBJ) == 1 && count(OTHER) == 1;
    let masked = count(MASK) == 1 || (named == 0 && count(MASK) == 0);
    let known = all
        .iter()
        .all(|&(tag, perm, _)| perm <= 7 && matches!(tag, USER_OBJ | USER | GROUP_OBJ | GROUP | MASK | OTHER));
    let valid = sorted && complete && masked && known;
    if all.is_empty() || valid { Ok(all) } else { Err(invalid()) }
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
    let all = entries(value)?;
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    let mut bits = 0;
    let mut masked = None;
    for &(tag, perm, id) in &all {
        disk.extend_from_slice(&tag.to_le_bytes());
        disk.extend_from_slice(&perm.to_le_bytes());
        match tag {
            USER | GROUP => disk.extend_from_slice(&id.to_le_bytes()),
            USER_OBJ => bits |= perm << 6,
            GROUP_OBJ => bits |= perm << 3,
            OTHER => bits |= perm,
            _ => masked = Some(perm),
        }
    }
    if let Some(mask) = masked {
        bits = (bits & 0o707) | mask << 3;
    }
    let minimal = all.len() <= 3;
    Ok(Acl { disk: (!minimal).then_some(disk), bits: (!all.is_empty()).then_some(bits) })
}

/// As [`to_disk`] for a directory's default list, which is kept even if it is minimal.
pub(super) fn default_to_disk(value: &[u8]) -> Result<Option<Vec<u8>>> {
    let all = entries(value)?;
    if all.is_empty() {
        return Ok(None);
    }
    let mut disk = DISK_VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in all {
        disk.extend_from_slice(&tag.to_le_bytes());
        disk.extend_from_slice(&perm.to_le_bytes());
        if matches!(tag, USER | GROUP) {
            disk.extend_from_slice(&id.to_le_bytes());
        }
    }
    Ok(Some(disk))
}

/// Changes a list on disk to new permission bits: owner, mask (or group) and others.
pub(super) fn change_mode(disk: &mut [u8], mode: u16) {
    let has_mask = tags(disk).any(|(_, tag)| tag == MASK);
    let places: Vec<(usize, u16)> = tags(disk).collect();
    for (at, tag) in places {
        let perm = match tag {
            USER_OBJ => mode >> 6 & 7,
            MASK => mode >> 3 & 7,
            GROUP_OBJ if !has_mask => mode >> 3 & 7,
            OTHER => mode & 7,
            _ => continue,
        };
        put16(disk, at + 2, perm);
    }
}

/// Offsets and tags of the entries of a list on disk.
fn tags(disk: &[u8]) -> impl Iterator<Item = (usize, u16)> {
    let mut at = 4;
    core::iter::from_fn(move || {
        let entry = disk.get(at..at + 4)?;
        let (offset, tag) = (at, le16(entry, 0));
        at += if matches!(tag, USER | GROUP) { 8 } else { 4 };
        Some((offset, tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&perm.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    #[test]
    fn a_list_survives_the_disk_and_gives_the_mode() {
        let value =
            xattr(&[(USER_OBJ, 7, NO_ID), (USER, 5, 1000), (GROUP_OBJ, 6, NO_ID), (MASK, 4, NO_ID), (OTHER, 1, NO_ID)]);
        let acl = to_disk(&value).unwrap();
        assert_eq!(acl.bits, Some(0o741));
        let mut disk = acl.disk.unwrap();
        assert_eq!(disk.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&disk).unwrap(), value);
        change_mode(&mut disk, 0o620);
        let changed = from_disk(&disk).unwrap();
        let want = [(USER_OBJ, 6, NO_ID), (USER, 5, 1000), (GROUP_OBJ, 6, NO_ID), (MASK, 2, NO_ID), (OTHER, 0, NO_ID)];
        assert_eq!(changed, xattr(&want));
    }

    #[test]
    fn a_minimal_list_is_only_a_mode() {
        let value = xattr(&[(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)]);
        assert_eq!(to_disk(&value).unwrap(), Acl { disk: None, bits: Some(0o640) });
        assert_eq!(to_disk(&xattr(&[])).unwrap(), Acl { disk: None, bits: None });
    }

    #[test]
    fn impossible_lists_are_refused() {
        for bad in [
            xattr(&[(USER_OBJ, 6, NO_ID)]),
            xattr(&[(USER_OBJ, 6, NO_ID), (USER, 6, 5), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)]),
            xattr(&[(OTHER, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (USER_OBJ, 0, NO_ID)]),
        ] {
            assert_eq!(to_disk(&bad).unwrap_err(), Errno::EINVAL);
        }
    }
}
