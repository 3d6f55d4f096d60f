//! Power cuts: whatever the disk had of what was not flushed, the filesystem is whole afterwards and has what was synced.
//!
//! The disk is [`block::RecordingDisk`]. Cuts are replayed by `STRATA_SEED`, more are made by `STRATA_CUTS`.

#[path = "../common/mod.rs"]
mod common;
mod exhaustive;
mod judge;
