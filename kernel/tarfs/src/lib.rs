//! A read-only filesystem over the bytes of a tar archive
#![no_std]
#![forbid(unsafe_code)]
