//! Memory of programs, seen from the kernel: claims that mean nothing until they are copied.
//!
//! - [`UserPtr`] and [`UserArray`] are addresses that a program named, typed by what it says is there. Reading and writing
//!   them goes through [`copy`], which survives any address.
//! - [`UserBytes`] is a range for bulk data. [`UserBytes::with`] and [`UserBytes::with_mut`] make its pages present and
//!   lend them to a filesystem as one slice, so that data are copied once.
//! - [`UserString`] is text that ends with a zero: [`PathBuffer`] takes a path.
//!
//! Nothing here panics or trusts: whatever cannot be had is `EFAULT`.
//!
//! Neighbours: [`crate::task`] has the current program's [`crate::task::UserSpace`], which brings missing pages.

mod bytes;
mod copy;
mod pointer;
mod string;

pub(crate) use bytes::{MAX_TRANSFER, UserBytes, is_lent};
pub(crate) use copy::init;
pub(crate) use pointer::{UserArray, UserPtr};
pub(crate) use string::{PathBuffer, TextBuffer, UserString};
