//! How to mount: what a mount may do, and the words of `mount(8)` that say so.

use alloc::string::String;
use core::fmt;

/// Whether a mount may change the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountMode {
    /// Changes are allowed, unless the device or a feature of the medium forbids them.
    #[default]
    ReadWrite,
    /// No change. A journal that needs it is replayed all the same, as Linux does.
    ReadOnly,
}

/// When the device is told of blocks that are free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Discard {
    /// When `FITRIM` asks for it.
    #[default]
    OnRequest,
    /// Also as soon as they have become free durably.
    OnFree,
}

/// How to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountOptions {
    /// Whether changes are allowed.
    pub mode: MountMode,
    /// Memory that the buffer cache aims to stay below, in bytes.
    pub cache_bytes: usize,
    /// Seconds after which a tick commits what was changed (`commit=`); 0 for the default.
    pub commit_interval: u32,
    /// `discard` or `nodiscard`.
    pub discard: Discard,
}

/// Linux's `JBD2_DEFAULT_MAX_COMMIT_AGE`, in seconds.
pub(crate) const COMMIT_INTERVAL: u32 = 5;
/// The longest interval between commits that may be asked for, in seconds: Linux's, where a second has 1,000 ticks.
const COMMIT_MAX: u32 = i32::MAX as u32 / 1000;

/// What other options of ext4 ask for, and what happens anyway.
const ANYWAY: [&[u8]; 7] =
    [b"errors=remount-ro", b"data=ordered", b"delalloc", b"barrier", b"barrier=1", b"acl", b"user_xattr"];

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            mode: MountMode::ReadWrite,
            cache_bytes: 16 << 20,
            commit_interval: COMMIT_INTERVAL,
            discard: Discard::OnRequest,
        }
    }
}

impl MountOptions {
    /// With what `text` says, options separated by commas as in `mount -o`; of several on one matter the last counts.
    ///
    /// # Errors
    /// The first option that is unknown, or asks for what is not supported.
    pub fn with(mut self, text: &[u8]) -> Result<Self, BadOption> {
        for option in text.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
            let bad = |reason| BadOption { option: String::from_utf8_lossy(option).into_owned(), reason };
            if let Some(value) = option.strip_prefix(b"commit=") {
                let seconds = core::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                let seconds = seconds.filter(|seconds| *seconds <= COMMIT_MAX);
                self.commit_interval = seconds.ok_or_else(|| bad("no number of seconds"))?;
            } else if option == b"discard" {
                self.discard = Discard::OnFree;
            } else if option == b"nodiscard" {
                self.discard = Discard::OnRequest;
            } else if !ANYWAY.contains(&option) {
                return Err(bad(match option {
                    _ if option.starts_with(b"errors=") => "errors make it read-only (errors=remount-ro)",
                    _ if option.starts_with(b"data=") => "data is written before what leads to it (data=ordered)",
                    _ => "unknown option",
                }));
            }
        }
        Ok(self)
    }
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadOption {
    option: String,
    reason: &'static str,
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ext4: {}: {}", self.option, self.reason)
    }
}

impl core::error::Error for BadOption {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn options_are_read_as_linux_reads_them() {
        let with = |text: &str| MountOptions::default().with(text.as_bytes());
        let plain = MountOptions::default();
        assert_eq!(with(""), Ok(plain));
        assert_eq!(
            with("commit=30,discard,"),
            Ok(MountOptions { commit_interval: 30, discard: Discard::OnFree, ..plain })
        );
        assert_eq!(with("commit=0").unwrap().commit_interval, 0);
        assert_eq!(with("discard,nodiscard,errors=remount-ro,data=ordered,barrier=1"), Ok(plain));
    }

    #[test]
    fn a_bad_option_is_named() {
        for (text, message) in [
            ("discard,comit=5", "ext4: comit=5: unknown option"),
            ("commit=soon", "ext4: commit=soon: no number of seconds"),
            ("commit=-1", "ext4: commit=-1: no number of seconds"),
            ("commit=99999999", "ext4: commit=99999999: no number of seconds"),
            ("errors=panic", "ext4: errors=panic: errors make it read-only (errors=remount-ro)"),
            ("data=journal", "ext4: data=journal: data is written before what leads to it (data=ordered)"),
        ] {
            assert_eq!(MountOptions::default().with(text.as_bytes()).unwrap_err().to_string(), message);
        }
    }
}
