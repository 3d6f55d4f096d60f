//! Typed claims: a value, or a row of values, that a program says is at an address.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;

use alloc::vec::Vec;
use vfs::{Errno, Error, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::copy;

/// The address of a `T` in a program's memory, or 0.
pub(crate) struct UserPtr<T> {
    address: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> fmt::Debug for UserPtr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

impl<T> UserPtr<T> {
    /// A claim.
    pub(crate) const fn new(address: u64) -> Self {
        Self { address, kind: PhantomData }
    }

    /// The address.
    pub(crate) const fn address(self) -> u64 {
        self.address
    }

    /// The pointer, if it is not null: for arguments that may be left out.
    pub(crate) fn optional(self) -> Option<Self> {
        (self.address != 0).then_some(self)
    }
}

impl<T: FromBytes> UserPtr<T> {
    /// The value.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub(crate) fn read(self) -> Result<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the destination is a whole `T`.
        unsafe { copy::from_user(value.as_mut_ptr().cast(), self.address, size_of::<T>())? };
        // SAFETY: every byte was copied, and any bytes are a `T` (`FromBytes`).
        Ok(unsafe { value.assume_init() })
    }
}

impl<T: IntoBytes + Immutable> UserPtr<T> {
    /// Puts a value there.
    ///
    /// # Errors
    /// `EFAULT`.
    #[inline]
    pub(crate) fn write(self, value: &T) -> Result<()> {
        copy::to_user(self.address, value.as_bytes())
    }
}

/// A row of `T`s in a program's memory.
pub(crate) struct UserArray<T> {
    first: UserPtr<T>,
    count: usize,
}

impl<T> Clone for UserArray<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserArray<T> {}

impl<T> UserArray<T> {
    /// A claim of `count` values.
    pub(crate) const fn new(first: UserPtr<T>, count: usize) -> Self {
        Self { first, count }
    }
}

impl<T: FromBytes> UserArray<T> {
    /// All of them.
    ///
    /// # Errors
    /// `EFAULT`; `ENOMEM`.
    pub(crate) fn read(self) -> Result<Vec<T>> {
        let size = self.count.checked_mul(size_of::<T>()).ok_or(Errno::EFAULT)?;
        let mut values: Vec<T> = Vec::new();
        values.try_reserve_exact(self.count).map_err(|_| Error::new(Errno::ENOMEM, "copying from a program"))?;
        // SAFETY: there is room for `count` values.
        unsafe { copy::from_user(values.as_mut_ptr().cast(), self.first.address, size)? };
        // SAFETY: all were copied, and any bytes are a `T`.
        unsafe { values.set_len(self.count) };
        Ok(values)
    }

    /// All of them, into a place that the caller has, which is returned as far as it is filled.
    ///
    /// # Errors
    /// `EFAULT`; `EINVAL` where they do not fit.
    pub(crate) fn read_into(self, place: &mut [MaybeUninit<T>]) -> Result<&mut [T]> {
        let place = place.get_mut(..self.count).ok_or(Errno::EINVAL)?;
        // SAFETY: the place holds `count` values.
        unsafe { copy::from_user(place.as_mut_ptr().cast(), self.first.address, size_of_val(place))? };
        // SAFETY: all were copied, and any bytes are a `T`.
        Ok(unsafe { &mut *(core::ptr::from_mut(place) as *mut [T]) })
    }
}

impl<T: IntoBytes + Immutable> UserArray<T> {
    /// Puts values there, as many as were claimed at most.
    ///
    /// # Errors
    /// `EFAULT`.
    pub(crate) fn write(self, values: &[T]) -> Result<()> {
        copy::to_user(self.first.address, values[..values.len().min(self.count)].as_bytes())
    }
}
