//! Block devices: the trait, the buffer cache, and disks for tests
#![no_std]
#![forbid(unsafe_code)]
