//! The runtime of Strata's own programs.
//!
//! A program of the firmware is an ordinary static Linux executable for x86_64: it runs on Strata and on any Linux host
//! alike. It has no C library. This crate gives it what is left to want: the entry point ([`entry!`]), a heap, a panic
//! handler, `memcpy` and its family, buffered output ([`print!`], [`println!`], [`eprintln!`]), the names of error numbers
//! ([`errno`]), directories ([`dir`]), whole-file helpers ([`mod@file`]), clocks and dates ([`clock`]), and the one way to start
//! another program ([`process`]). System calls come from `rustix`; [`sys`] has the few that `rustix` lacks.
//!
//! Every program has exactly one thread, and nothing here is meant for more: see [`cell::SingleThread`].
//!
//! Neighbours: the programs `strata`, `treesum` and `hello` above, the kernel's system-call table below.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arguments;
pub mod cell;
pub mod clock;
pub mod dir;
pub mod errno;
pub mod file;
#[cfg(not(test))]
mod heap;
mod memory;
pub mod output;
#[cfg(not(test))]
mod panic;
pub mod process;
pub mod start;
pub mod sys;
pub mod text;

pub use arguments::Arguments;
pub use rustix::io::Errno;
