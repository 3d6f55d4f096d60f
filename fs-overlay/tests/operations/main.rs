//! The overlay's behaviour, row by row, over layers in memory.

mod attributes;
mod beneath;
mod copy_up;
mod costs;
mod crash;
mod faults;
mod flags;
mod full;
mod index;
mod layers;
mod listing;
mod lost;
mod metacopy;
mod names;
mod rename;
mod sample;
#[path = "../support/mod.rs"]
mod support;
