//! The contract every filesystem implements, and the namespace above it
#![no_std]
#![forbid(unsafe_code)]
