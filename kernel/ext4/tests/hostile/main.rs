//! Hostile images: 2,000 with flipped bytes in their metadata ([`flipped`]), and such as somebody would make who knows the
//! format ([`crafted`]). Mounted, walked, read and written to, each gives errors or success: never a panic, never a
//! hang, never memory without bound, never an overflow of a small stack.
//!
//! `STRATA_SEED` replays one flipped image, `STRATA_IMAGES` is their number for each kind of filesystem.
#![expect(unreachable_pub, reason = "the modules of a test have no outside")]

#[path = "../common/mod.rs"]
mod common;
mod crafted;
mod exercise;
mod flipped;
mod limits;
mod populate;
