//! An overlay filesystem in the format of Linux overlayfs, over any filesystem of the vfs contract
#![no_std]
#![forbid(unsafe_code)]
