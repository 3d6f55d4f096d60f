//! The ext4 filesystem, read and write
#![no_std]
#![forbid(unsafe_code)]
