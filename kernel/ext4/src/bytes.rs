//! Little-endian fields of on-disk structures.
//!
//! Reads past the end of a slice give 0 and writes there do nothing: callers index structures of checked size, and a
//! mistake must not stop the system. Debug builds assert.

/// The 16-bit field at `at`.
#[inline]
pub(crate) fn le16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(field) => u16::from_le_bytes(*field),
        None => short(),
    }
}

/// The 32-bit field at `at`.
#[inline]
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(field) => u32::from_le_bytes(*field),
        None => short(),
    }
}

/// The 64-bit field at `at`.
#[inline]
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

/// The big-endian 32-bit field at `at` (jbd2's byte order).
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    le32(bytes, at).swap_bytes()
}

/// The big-endian 16-bit field at `at`.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    le16(bytes, at).swap_bytes()
}

/// Sets the byte at `at`.
#[inline]
pub(crate) fn put8(bytes: &mut [u8], at: usize, value: u8) {
    put(bytes, at, &[value]);
}

/// Sets the 16-bit field at `at`.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    put(bytes, at, &value.to_le_bytes());
}

/// Sets the 32-bit field at `at`.
#[inline]
pub(crate) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_le_bytes());
}

/// Sets the 64-bit field at `at`.
#[inline]
pub(crate) fn put64(bytes: &mut [u8], at: usize, value: u64) {
    put(bytes, at, &value.to_le_bytes());
}

/// Sets the big-endian 32-bit field at `at`.
#[inline]
pub(crate) fn put_be32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, &value.to_be_bytes());
}

/// Copies `field` to `at`.
#[inline]
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    match bytes.get_mut(at..).and_then(|rest| rest.get_mut(..field.len())) {
        Some(slot) => slot.copy_from_slice(field),
        None => short(),
    }
}

#[cold]
fn short<T: Default>() -> T {
    debug_assert!(false, "field past the end of its structure");
    T::default()
}
