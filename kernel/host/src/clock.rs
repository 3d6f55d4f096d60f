//! The time of the host.

use std::time::SystemTime;

use vfs::{Clock, Timestamp};

/// The wall clock of the host.
pub struct HostClock;

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp { secs: since.as_secs().try_into().unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
    }
}
