//! Records of `getdents64(2)` and of the older `getdents(2)`.

/// Bytes of a `linux_dirent64` before its name: inode, offset, record length, type.
pub(crate) const DIRENT_HEADER: usize = 19;

/// Writes a `linux_dirent64` to the front of `out`; returns its length, a multiple of 8, or `None` if it does not fit.
pub(crate) fn encode_dirent(out: &mut [u8], ino: u64, next: u64, d_type: u8, name: &[u8]) -> Option<usize> {
    let length = (DIRENT_HEADER + name.len() + 1).next_multiple_of(8);
    let record = out.get_mut(..length)?;
    record[..8].copy_from_slice(&ino.to_le_bytes());
    record[8..16].copy_from_slice(&next.to_le_bytes());
    // A name has at most 255 bytes.
    record[16..18].copy_from_slice(&(length as u16).to_le_bytes());
    record[18] = d_type;
    let (text, rest) = record[DIRENT_HEADER..].split_at_mut(name.len());
    text.copy_from_slice(name);
    rest.fill(0);
    Some(length)
}

/// Writes a `linux_dirent`, whose type is its last byte; as [`encode_dirent`].
pub(crate) fn encode_old_dirent(out: &mut [u8], ino: u64, next: u64, d_type: u8, name: &[u8]) -> Option<usize> {
    let length = (18 + name.len() + 2).next_multiple_of(8);
    let record = out.get_mut(..length)?;
    record[..8].copy_from_slice(&ino.to_le_bytes());
    record[8..16].copy_from_slice(&next.to_le_bytes());
    record[16..18].copy_from_slice(&(length as u16).to_le_bytes());
    let (text, rest) = record[18..].split_at_mut(name.len());
    text.copy_from_slice(name);
    rest.fill(0);
    record[length - 1] = d_type;
    Some(length)
}
