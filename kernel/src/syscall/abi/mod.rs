//! The structures that cross the system-call boundary, in Linux's layout for x86_64.
//!
//! Each is written here as plain words without padding (checked by `zerocopy`'s derive), and its size and the places of
//! its fields are asserted against `linux-raw-sys`, which is generated from Linux's own headers.

mod dirent;
mod exec;
mod io;
mod process;
mod signal;
mod stat;
mod statfs;
mod terminal;
mod time;

pub(crate) use dirent::{DIRENT_HEADER, encode_old_dirent};
pub(crate) use exec::{Auxv, auxv};
pub(crate) use io::{Flock, IoVec, OpenHow, PollFd};
pub(crate) use process::{RLimit, RUsage, SigAction, SigAltStack, SysInfo, Tms, UtsName};
pub(crate) use signal::{ITimerVal, SigContext, SigInfo, UContext};
pub(crate) use stat::{MountPlace, Stat, Statx};
pub(crate) use statfs::LinuxStatFs;
pub(crate) use terminal::{Termios, WinSize};
pub(crate) use time::{TimeSpec, TimeVal, TimeZone, Utimbuf};

/// Asserts that a structure has the size of Linux's and its fields their places.
macro_rules! same_layout {
    ($ours:ty, $linux:ty { $($field:ident = $theirs:ident),* $(,)? }) => {
        const _: () = {
            assert!(size_of::<$ours>() == size_of::<$linux>());
            $(assert!(core::mem::offset_of!($ours, $field) == core::mem::offset_of!($linux, $theirs));)*
        };
    };
}
use same_layout;
