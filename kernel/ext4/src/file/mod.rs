//! Regular files: reading with read-ahead, writing, cutting, and reserving space.

mod allocate;
mod cut;
pub(crate) mod delayed;
mod lost;
mod read;
mod seek;
mod write;

pub(crate) use seek::Seek;
pub(crate) use write::{Piece, Position};
