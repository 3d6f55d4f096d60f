//! The behaviour every filesystem owes, as tests that run on the host and in the guest
#![no_std]
#![forbid(unsafe_code)]
