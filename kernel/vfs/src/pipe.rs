//! The bytes between the writers and the readers of a pipe or FIFO (`pipe(7)`).

pub(crate) struct Pipe;
