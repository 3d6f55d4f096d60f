//! Text that ends with a zero: paths, names of attributes, arguments of programs.

use alloc::vec::Vec;
use core::mem::MaybeUninit;

use vfs::{Errno, Error, Result};

use super::copy;

/// The longest path with its zero, in bytes (`PATH_MAX`).
pub(crate) const PATH_MAX: usize = 4096;

/// The address of a text in a program's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserString {
    address: u64,
}

impl UserString {
    /// A claim.
    pub(crate) const fn new(address: u64) -> Self {
        Self { address }
    }

    /// Whether the pointer is null, which a few calls allow.
    pub(crate) const fn is_null(self) -> bool {
        self.address == 0
    }

    /// A copy of up to `N` bytes, zero included.
    ///
    /// # Errors
    /// `EFAULT`; `too_long` where it does not end in time.
    pub(crate) fn read<const N: usize>(self, buffer: &mut TextBuffer<N>, too_long: Errno) -> Result<&[u8]> {
        // SAFETY: the buffer has `N` bytes.
        let length = unsafe { copy::string_from_user(buffer.bytes.as_mut_ptr().cast(), self.address, N)? };
        let length = length.ok_or(Error::new(too_long, "text from a program"))?;
        // SAFETY: the copy filled as many.
        Ok(unsafe { core::slice::from_raw_parts(buffer.bytes.as_ptr().cast(), length) })
    }

    /// A copy on the heap, of at most `limit` bytes without the zero.
    ///
    /// # Errors
    /// `EFAULT`; `E2BIG` over the limit; `ENOMEM`.
    pub(crate) fn read_long(self, limit: usize) -> Result<Vec<u8>> {
        let mut text: Vec<u8> = Vec::new();
        loop {
            let room = (limit + 1 - text.len()).min(if text.is_empty() { 64 } else { text.len() });
            text.try_reserve(room).map_err(|_| Errno::ENOMEM)?;
            let address = self.address.wrapping_add(text.len() as u64);
            let spare = text.spare_capacity_mut();
            // SAFETY: `room` bytes were reserved.
            let found = unsafe { copy::string_from_user(spare.as_mut_ptr().cast(), address, room)? };
            let length = text.len() + found.unwrap_or(room);
            // SAFETY: the copy filled as many.
            unsafe { text.set_len(length) };
            if found.is_some() {
                return Ok(text);
            }
            if length > limit {
                return Err(Errno::E2BIG.into());
            }
        }
    }
}

/// Room for a text on the kernel's stack; not filled until it is used.
pub(crate) struct TextBuffer<const N: usize> {
    bytes: [MaybeUninit<u8>; N],
}

impl<const N: usize> TextBuffer<N> {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self { bytes: [MaybeUninit::uninit(); N] }
    }
}

/// Room for a path.
pub(crate) type PathBuffer = TextBuffer<PATH_MAX>;

impl PathBuffer {
    /// The path that a program names.
    ///
    /// # Errors
    /// `EFAULT`; `ENAMETOOLONG` over 4,095 bytes.
    pub(crate) fn path(&mut self, path: UserString) -> Result<&[u8]> {
        path.read(self, Errno::ENAMETOOLONG)
    }
}
