//! Copies that answer `ENOMEM` instead of stopping the system: their sizes come from callers.

use alloc::boxed::Box;
use alloc::vec::Vec;

use vfs::{Errno, Error, Result};

/// No memory for what the caller asked to keep.
pub(crate) fn out_of_memory() -> Error {
    Error::new(Errno::ENOMEM, "ramfs: out of memory")
}

/// An owned copy of `bytes`.
pub(crate) fn copy(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| out_of_memory())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// An owned copy of `bytes` without spare capacity.
pub(crate) fn boxed(bytes: &[u8]) -> Result<Box<[u8]>> {
    copy(bytes).map(Vec::into_boxed_slice)
}
