//! What every crate of Strata shares: [`Errno`] and [`Error`], the [`sync`] locks, [`time`], and [`sort`].
//!
//! It depends on nothing of the project and knows no filesystem and no hardware.
#![no_std]
#![forbid(unsafe_code)]

mod errno;
mod error;
pub mod sort;
pub mod sync;
pub mod time;

pub use errno::Errno;
pub use error::{Error, Result};
