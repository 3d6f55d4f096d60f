//! From the loader's jump to the kernel's main.
//!
//! [`entry`] is the code that the loader jumps to: 32-bit protected mode, paging off. It builds the first
//! page tables, enters long mode at the kernel's linked address, turns SSE on and calls `start`, which
//! turns what the loader left into a [`BootInfo`] and calls the kernel's `kernel_main`.
//! [`layout`] says where everything lives in the address space, [`command_line`] splits and checks the
//! kernel's parameters. A new boot protocol is a module beside [`pvh`] that fills the same [`BootInfo`].
//!
//! Neighbours: the kernel binary links this crate by `linker.ld` beside it and is its only user.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod command_line;
pub mod entry;
pub mod info;
pub mod layout;
pub mod pvh;

pub use command_line::{Options, OverlayMode, Warning};
pub use info::{BootInfo, MemoryKind, MemoryRegion, Module, Protocol};
