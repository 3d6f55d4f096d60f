//! The behaviour that every filesystem owes, as tests: on the host under `cargo test`, in the guest as a suite.
//!
//! - [`Fixture`] is what a filesystem brings: how to mount it with a declared [`tree`], and its [`Features`].
//! - [`GROUPS`] are the tests, each a sentence; [`tests`] goes through them all.
//! - [`model`] does random operations on a filesystem and on a simple model of one, and compares.
//! - [`fault`] wraps a filesystem: counts its calls, and lets chosen ones fail.
//! - [`stress`] has scenarios for several threads.
//!
//! # On the host
//!
//! A test file of the filesystem's crate, `contract` being a dev-dependency:
//!
//! ```
//! use contract::{Features, Fixture, Mounted, Setup};
//! use vfs::FileSystem;
//!
//! struct Ram;
//!
//! impl Fixture for Ram {
//!     fn features(&self) -> Features {
//!         Features::COMPLETE | Features::LIMITED_SPACE
//!     }
//!
//!     fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
//!         let options = ramfs::Options { size_limit: setup.space, ..Default::default() };
//!         let fs = ramfs::RamFs::new(setup.context.clone(), &options)?;
//!         contract::tree::build(&fs.root(), setup.tree)?;
//!         Ok(Mounted::new(fs))
//!     }
//! }
//!
//! contract::contract_tests!(Ram); // a #[test] for each group, and the model
//! contract::stress_tests!(Ram);   // threads
//! # contract::run_group(&Ram, "link", "").verdict().unwrap();
//! ```
//!
//! A disk's filesystem makes a directory on a fresh image, gives it as [`Mounted::base`], and checks the image in
//! [`Fixture::examine`]. An overlay builds the tree in a lower layer: every test of a change is then one of
//! copy-up, too; a second fixture that builds it in the upper is worth its time. A read-only filesystem makes its image of the
//! tree, and has few features: it runs the `read` group.
//!
//! # In the guest
//!
//! Go through [`tests`], leave out those that do not [apply](Test::applies_to), [`run`](Test::run) the rest, print
//! the [`Failure`]s.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod cases;
pub mod dsl;
mod failure;
pub mod fault;
mod fixture;
pub mod model;
pub mod random;
pub mod stress;
mod suite;
pub mod tree;

pub use base::sync::set_relax;
pub use failure::{Failure, Outcome, expect_errno};
pub use fixture::{Env, Features, Fixture, Mounted, Setup, TestClock};
pub use suite::{GROUPS, Group, Report, Test, run_all, run_group, tests};
pub use vfs;

#[doc(hidden)]
pub use alloc::format as __format;
