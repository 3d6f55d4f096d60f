//! A filesystem in memory
#![no_std]
#![forbid(unsafe_code)]
