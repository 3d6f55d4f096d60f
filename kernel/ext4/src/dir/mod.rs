//! Directories: blocks of entries, in order of arrival or, with an htree, in order of hashes.
//!
//! [`block`] knows one block, [`linear`] and [`index`] find and insert, [`list`] reads in an order that survives change,
//! [`names`] has the operations: create, link, remove; [`rename`] the one that takes two directories. [`missed`] saves a walk between
//! a lookup and a creation.

pub(crate) mod block;
mod create;
mod index;
mod linear;
mod list;
mod missed;
pub(crate) mod names;
pub(crate) mod rename;
mod split;

pub(crate) use create::Creation;
pub(crate) use missed::Missed;
pub(crate) use names::Entry;
