//! From the loader's jump to the kernel's main: entry, first page tables, boot information
#![no_std]

