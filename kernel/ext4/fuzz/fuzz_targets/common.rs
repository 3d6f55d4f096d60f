//! What the tests of hostile images share with the fuzzer.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "the tests use all of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use vfs::{FsContext, Timestamp};

#[path = "../../tests/common/raw.rs"]
pub mod raw;
#[path = "../../tests/common/short.rs"]
pub mod short;

/// A context whose clock is the same in every run.
pub fn context() -> FsContext {
    let clock = AtomicI64::new(1_700_000_000);
    let now = move || Timestamp { secs: clock.fetch_add(1, Ordering::Relaxed), nanos: 5 };
    FsContext { dev: 0x801, clock: Arc::new(now) }
}
