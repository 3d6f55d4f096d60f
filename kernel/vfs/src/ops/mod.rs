//! The operations of [`Namespace`](crate::Namespace), by family. Each follows Linux in the order of its checks, for that is what decides which errno a
//! program sees.

pub(crate) mod attr;
mod create;
mod cwd;
mod mount;
mod open;
mod remove;
mod rename;
pub(crate) mod stat;
mod sync;
pub(crate) mod xattr;
