//! Random operations on a filesystem and on a model of one, compared after every step.
//!
//! `state` is the model: maps and vectors, plain enough to be believed. `run` draws an operation, asks the model what
//! must come of it, does it on the filesystem, and compares result, attributes, times, content and listings. A failure tells
//! seed, number of the operation, and what was done last; the same seed does the same again.

mod compare;
mod contents;
mod names;
mod run;
mod state;

use alloc::format;

use crate::fixture::{Env, Fixture};
use crate::{Features, Outcome};

/// Does `ops` random operations, drawn from `seed`, on a filesystem of the fixture's. A read-only one passes.
///
/// # Errors
/// The first difference from the model.
pub fn run(fixture: &dyn Fixture, seed: u64, ops: u64) -> Outcome {
    if !fixture.features().contains(Features::WRITE) {
        return Ok(());
    }
    let env = Env::new(fixture);
    run::Run::start(&env, seed)?.go(ops).map_err(|failure| failure.while_doing(format!("seed {seed}")))?;
    env.finish().map_err(|failure| failure.while_doing(format!("seed {seed}, examined at the end")))
}
