//! Records of `getdents(2)`; those of `getdents64(2)` are made by the namespace.

/// Bytes of a `linux_dirent64` before its name: inode, offset, record length, type.
pub(crate) const DIRENT_HEADER: usize = 19;

/// Writes a `linux_dirent`, whose type is its last byte; returns its length, a multiple of 8, or
/// `None` if it does not fit.
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
