//! Power cuts: whatever the disk had of what was not flushed, the filesystem is whole afterwards and has what was synced.
//!
//! The disk is [`block::RecordingDisk`], under our filesystem and under Linux's. Random runs are replayed by `STRATA_SEED`, more cuts are made by `STRATA_CUTS`.

#[path = "../common/mod.rs"]
mod common;
mod exhaustive;
#[path = "../trace/generate.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod generate;
mod judge;
#[path = "../trace/linux.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod linux;
mod mounts;
mod of_linux;
#[path = "../trace/op.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod op;
#[path = "../trace/ours.rs"]
#[allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the comparison with Linux uses all of it")]
mod ours;
mod random;
mod served;

/// The clock of [`ours`].
const OUR_CLOCK: std::ops::Range<i64> = 1_000_000_000..1_100_000_000;
