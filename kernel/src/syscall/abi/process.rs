//! Structures about processes and the system: limits, usage, names, signal state.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{TimeVal, same_layout};

/// `struct rlimit64`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub(crate) struct RLimit {
    /// The limit in force.
    pub(crate) current: u64,
    /// How far it may be raised.
    pub(crate) maximum: u64,
}

same_layout!(RLimit, linux::rlimit64 { current = rlim_cur, maximum = rlim_max });

/// `struct rusage`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
pub(crate) struct RUsage {
    /// Time in the program.
    pub(crate) user: TimeVal,
    /// Time in the kernel.
    pub(crate) system: TimeVal,
    /// Most memory ever resident, in KiB.
    pub(crate) max_rss: i64,
    /// Four counts that Linux does not keep either, and the counts of minor and major page faults among them.
    pub(crate) rest: [i64; 13],
}

same_layout!(RUsage, linux::rusage { user = ru_utime, system = ru_stime, max_rss = ru_maxrss, rest = ru_ixrss });

/// `struct tms`, in ticks of 1/100 s.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
pub(crate) struct Tms {
    /// User and system time of the caller and of its children.
    pub(crate) ticks: [i64; 4],
}

/// `struct new_utsname`.
#[repr(C)]
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
pub(crate) struct UtsName {
    fields: [[u8; 65]; 6],
}

impl UtsName {
    /// The answer of `uname(2)` from its six texts, cut to 64 bytes each.
    pub(crate) fn new(texts: [&[u8]; 6]) -> Self {
        let mut fields = [[0; 65]; 6];
        for (field, text) in fields.iter_mut().zip(texts) {
            let length = text.len().min(64);
            field[..length].copy_from_slice(&text[..length]);
        }
        Self { fields }
    }
}

/// `struct sysinfo`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
pub(crate) struct SysInfo {
    /// Seconds since boot.
    pub(crate) uptime: i64,
    /// Load averages.
    pub(crate) loads: [u64; 3],
    /// Memory in all, in units of `unit` bytes.
    pub(crate) total_ram: u64,
    /// Free memory.
    pub(crate) free_ram: u64,
    /// Shared, buffers, swap, free swap.
    pub(crate) other: [u64; 4],
    /// Processes, and nothing.
    pub(crate) processes: [u16; 4],
    /// High memory, and free high memory.
    pub(crate) high: [u64; 2],
    /// The unit, in bytes.
    pub(crate) unit: u32,
    /// Nothing.
    pub(crate) pad: u32,
}

const _: () = assert!(size_of::<SysInfo>() == 112);

/// The kernel's `struct sigaction`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
pub(crate) struct SigAction {
    /// Address of the handler, or 0 for the default, or 1 to ignore.
    pub(crate) handler: u64,
    /// `SA_*`.
    pub(crate) flags: u64,
    /// Where the handler returns to.
    pub(crate) restorer: u64,
    /// Signals blocked while it runs.
    pub(crate) mask: u64,
}

const _: () = assert!(size_of::<SigAction>() == 32);

/// `struct sigaltstack`.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable)]
pub(crate) struct SigAltStack {
    /// Its lowest address.
    pub(crate) base: u64,
    /// `SS_*`.
    pub(crate) flags: i32,
    /// Nothing.
    pub(crate) pad: i32,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl SigAltStack {
    /// Whether a program with stack pointer `rsp` runs on it.
    pub(crate) const fn contains(&self, rsp: u64) -> bool {
        self.size != 0 && rsp > self.base && rsp - self.base <= self.size
    }
}

same_layout!(SigAltStack, linux::sigaltstack { base = ss_sp, flags = ss_flags, size = ss_size });
