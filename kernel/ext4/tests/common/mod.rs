//! What the tests of ext4 share: [`disk`] makes and judges images, [`linux`] mounts them by loop, [`snapshot`] tells two
//! trees apart, [`raw`] edits the bytes of an image, [`short`] abbreviates calls of the contract,
//! [`steps`] are what an overlay asks.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test uses its part")]

pub mod disk;
pub mod linux;
pub mod raw;
pub mod short;
pub mod snapshot;
pub mod steps;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use block::BlockDevice;
use ext4::{Ext4, MountError, MountMode, MountOptions};
use vfs::{FsContext, Timestamp};

/// A number from the environment, for `STRATA_SEED` and `STRATA_OPS`.
pub fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

/// A context with the wall clock.
pub fn context() -> FsContext {
    FsContext { dev: 0x801, clock: Arc::new(now) }
}

/// Mounts for reading and writing.
pub fn mount(disk: Arc<dyn BlockDevice>) -> Arc<Ext4> {
    try_mount(disk, MountMode::ReadWrite).unwrap_or_else(|error| panic!("mount: {error}"))
}

/// Mounts read-only.
pub fn mount_read_only(disk: Arc<dyn BlockDevice>) -> Arc<Ext4> {
    try_mount(disk, MountMode::ReadOnly).unwrap_or_else(|error| panic!("read-only mount: {error}"))
}

/// Mounts, or tells why not.
pub fn try_mount(disk: Arc<dyn BlockDevice>, mode: MountMode) -> Result<Arc<Ext4>, MountError> {
    Ext4::mount(disk, context(), MountOptions { mode, ..MountOptions::default() })
}
