//! The texts of `/proc`, in Linux's formats (`proc(5)`).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use vfs::{Credentials, DeviceNumber, Location, MountEntry};

use crate::init::namespace;
use crate::memory::frames;
use crate::syscall::{RELEASE, VERSION, host_name};
use crate::task::process::{self, Process};
use crate::task::space::{Backing, Rights, Role};
use crate::time;

/// A file about the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemText {
    Cmdline,
    CpuInfo,
    Devices,
    FileSystems,
    LoadAvg,
    MemInfo,
    Partitions,
    Stat,
    Swaps,
    Uptime,
    Version,
    // Under sys/kernel.
    HostName,
    OsRelease,
    OsType,
}

impl SystemText {
    pub(super) const ALL: [Self; 14] = [
        Self::Cmdline,
        Self::CpuInfo,
        Self::Devices,
        Self::FileSystems,
        Self::LoadAvg,
        Self::MemInfo,
        Self::Partitions,
        Self::Stat,
        Self::Swaps,
        Self::Uptime,
        Self::Version,
        Self::HostName,
        Self::OsRelease,
        Self::OsType,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cmdline => "cmdline",
            Self::CpuInfo => "cpuinfo",
            Self::Devices => "devices",
            Self::FileSystems => "filesystems",
            Self::LoadAvg => "loadavg",
            Self::MemInfo => "meminfo",
            Self::Partitions => "partitions",
            Self::Stat => "stat",
            Self::Swaps => "swaps",
            Self::Uptime => "uptime",
            Self::Version => "version",
            Self::HostName => "hostname",
            Self::OsRelease => "osrelease",
            Self::OsType => "ostype",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|text| text.name() == name)
    }

    /// Whether it is under `sys/kernel`.
    pub(super) const fn is_setting(self) -> bool {
        matches!(self, Self::HostName | Self::OsRelease | Self::OsType)
    }

    pub(super) fn make(self) -> Vec<u8> {
        let text = match self {
            Self::Cmdline => format!("{}\n", crate::init::command_line()),
            Self::CpuInfo => cpu_info(),
            Self::Devices => {
                String::from("Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n\nBlock devices:\n254 virtblk\n")
            }
            Self::FileSystems => crate::init::file_system_list(),
            Self::LoadAvg => {
                let count = process::all().len();
                format!("0.00 0.00 0.00 1/{count} {}\n", process::all().last().map_or(0, |process| process.pid()))
            }
            Self::MemInfo => memory_info(),
            Self::Partitions => partitions(),
            Self::Stat => {
                let ticks = time::monotonic() / 10_000_000;
                let boot = time::now().secs - (time::monotonic() / 1_000_000_000) as i64;
                format!(
                    "cpu  {ticks} 0 0 0 0 0 0 0 0 0\ncpu0 {ticks} 0 0 0 0 0 0 0 0 0\nbtime {boot}\nprocesses {}\n",
                    process::all().len()
                )
            }
            Self::Swaps => String::from("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
            Self::Uptime => {
                let hundredths = time::monotonic() / 10_000_000;
                format!("{}.{:02} 0.00\n", hundredths / 100, hundredths % 100)
            }
            Self::Version => format!("Linux version {RELEASE} ({VERSION})\n"),
            Self::HostName => format!("{}\n", String::from_utf8_lossy(&host_name())),
            Self::OsRelease => format!("{RELEASE}\n"),
            Self::OsType => String::from("Linux\n"),
        };
        text.into_bytes()
    }
}

fn memory_info() -> String {
    let usage = frames::usage();
    let (total, free) = (usage.total / 1024, usage.free / 1024);
    let mut text = String::new();
    for (name, value) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", free),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Shmem", 0),
        ("SReclaimable", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
    ] {
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{:<15} {value:>8} kB", format!("{name}:"));
    }
    text
}

fn cpu_info() -> String {
    use core::arch::x86_64::__cpuid;
    let mut brand = Vec::new();
    if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
        for leaf in 0x8000_0002..=0x8000_0004 {
            let words = __cpuid(leaf);
            for word in [words.eax, words.ebx, words.ecx, words.edx] {
                brand.extend(word.to_le_bytes());
            }
        }
    }
    let vendor = __cpuid(0);
    let vendor: Vec<u8> = [vendor.ebx, vendor.edx, vendor.ecx].iter().flat_map(|word| word.to_le_bytes()).collect();
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or(bytes)).trim().into();
    let (vendor, brand): (String, String) = (text(&vendor), text(&brand));
    format!("processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: {brand}\ncpu cores\t: 1\nsiblings\t: 1\n\n")
}

fn partitions() -> String {
    use block::BlockDevice;
    let mut text = String::from("major minor  #blocks  name\n\n");
    for (index, disk) in crate::disks::all().enumerate() {
        let number = crate::dev::disk_number(index);
        let blocks = disk.capabilities().sectors / 2;
        // Writing to a `String` does not fail.
        let _ = writeln!(text, "{:4}  {:7} {blocks:10} {}", number.major, number.minor, disk.name());
    }
    text
}

/// A file about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessText {
    Cmdline,
    Comm,
    Maps,
    MountInfo,
    Mounts,
    Stat,
    StatM,
    Status,
}

impl ProcessText {
    pub(super) const ALL: [Self; 8] =
        [Self::Cmdline, Self::Comm, Self::Maps, Self::MountInfo, Self::Mounts, Self::Stat, Self::StatM, Self::Status];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cmdline => "cmdline",
            Self::Comm => "comm",
            Self::Maps => "maps",
            Self::MountInfo => "mountinfo",
            Self::Mounts => "mounts",
            Self::Stat => "stat",
            Self::StatM => "statm",
            Self::Status => "status",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|text| text.name() == name)
    }

    pub(super) fn make(self, process: &Process) -> Vec<u8> {
        match self {
            Self::Cmdline => process.title().arguments,
            Self::Comm => {
                let mut name = process.title().name;
                name.push(b'\n');
                name
            }
            Self::Maps => maps(process),
            Self::MountInfo => mounts(process, mount_info_line),
            Self::Mounts => mounts(process, mounts_line),
            Self::Stat => stat(process),
            Self::StatM => {
                let (mapped, resident) = sizes(process);
                format!("{mapped} {resident} 0 0 0 0 0\n").into_bytes()
            }
            Self::Status => status(process),
        }
    }
}

/// Pages mapped and pages in memory.
fn sizes(process: &Process) -> (u64, u64) {
    let space = process.shown().map(|shown| shown.space);
    space.map_or((0, 0), |space| {
        let space = space.lock();
        let mapped = space.areas().iter().map(|(start, area)| (area.end - start) / boot::layout::PAGE_SIZE).sum();
        (mapped, space.resident().0)
    })
}

fn state(process: &Process) -> char {
    if process.ended().is_some() { 'Z' } else { 'R' }
}

fn stat(process: &Process) -> Vec<u8> {
    let kinship = process.kinship();
    let (own, children) = process.times();
    let (mapped, resident) = sizes(process);
    let ticks = |nanos: u64| nanos / 10_000_000;
    let mut text = format!("{} (", process.pid()).into_bytes();
    text.extend(process.title().name);
    text.extend(
        format!(
            ") {} {} {} {} 1281 {} 0 0 0 0 0 {} 0 {} 0 20 0 1 0 0 {} {resident} 18446744073709551615{}\n",
            state(process),
            kinship.parent,
            kinship.group,
            kinship.session,
            kinship.group,
            ticks(own),
            ticks(children),
            mapped * boot::layout::PAGE_SIZE,
            " 0".repeat(27),
        )
        .into_bytes(),
    );
    text
}

fn status(process: &Process) -> Vec<u8> {
    let (mapped, resident) = sizes(process);
    let ids = process.shown().map(|shown| shown.ids).unwrap_or_default();
    let mut text = b"Name:\t".to_vec();
    text.extend(process.title().name);
    text.extend(
        format!(
            "\nState:\t{} ({})\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{}\nUid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\n\
             VmSize:\t{:8} kB\nVmRSS:\t{:8} kB\nThreads:\t1\n",
            state(process),
            if process.ended().is_some() { "zombie" } else { "running" },
            process.kinship().parent,
            ids.uid[0],
            ids.uid[1],
            ids.uid[2],
            ids.uid[3],
            ids.gid[0],
            ids.gid[1],
            ids.gid[2],
            ids.gid[3],
            mapped * 4,
            resident * 4,
            pid = process.pid(),
        )
        .into_bytes(),
    );
    text
}

fn maps(process: &Process) -> Vec<u8> {
    let Some(shown) = process.shown() else { return Vec::new() };
    let space = shown.space.lock();
    let mut text = Vec::new();
    for (start, area) in space.areas().iter() {
        let right = |right: Rights, letter: char| if area.rights.contains(right) { letter } else { '-' };
        let (open, offset) = area.backing.file().unzip();
        let offset = offset.unwrap_or(0);
        let sharing = if matches!(area.backing, Backing::Shared { .. }) { 's' } else { 'p' };
        let attr = open.and_then(|open| open.stat().ok()).map(|stat| stat.attr);
        let dev = attr.map_or(DeviceNumber::default(), |attr| DeviceNumber::decode(attr.dev));
        text.extend(
            format!(
                "{start:08x}-{:08x} {}{}{}{sharing} {offset:08x} {:02x}:{:02x} {:<10}",
                area.end,
                right(Rights::READ, 'r'),
                right(Rights::WRITE, 'w'),
                right(Rights::EXECUTE, 'x'),
                dev.major,
                dev.minor,
                attr.map_or(0, |attr| attr.ino),
            )
            .into_bytes(),
        );
        match (area.role, open.and_then(|open| open.location())) {
            (_, Some(location)) => {
                text.extend(b"                 ");
                text.extend(path_of(location));
            }
            (Role::Heap, _) => text.extend(b"                 [heap]"),
            (Role::Stack, _) => text.extend(b"                 [stack]"),
            _ => {}
        }
        text.push(b'\n');
    }
    text
}

/// The mounts that a process sees, a line each.
fn mounts(process: &Process, line: fn(&mut Vec<u8>, &MountEntry)) -> Vec<u8> {
    let mut context = namespace().context(Credentials::root(), process.pid());
    if let Some(shown) = process.shown() {
        context.fs = shown.fs;
    }
    let mut text = Vec::new();
    for entry in namespace().mounts(&context) {
        line(&mut text, &entry);
    }
    text
}

/// A path as `/proc/mounts` writes it: blanks, tabs, new lines and backslashes in octal.
fn escaped(text: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => text.extend(format!("\\{byte:03o}").into_bytes()),
            _ => text.push(byte),
        }
    }
}

fn mounts_line(text: &mut Vec<u8>, entry: &MountEntry) {
    escaped(text, if entry.source.is_empty() { b"none" } else { &entry.source });
    text.push(b' ');
    escaped(text, &entry.target);
    text.extend(format!(" {} ", entry.fs_type).into_bytes());
    text.extend(entry.options());
    text.extend(b" 0 0\n");
}

fn mount_info_line(text: &mut Vec<u8>, entry: &MountEntry) {
    let dev = DeviceNumber::decode(entry.dev);
    text.extend(format!("{} {} {}:{} / ", entry.id, entry.parent, dev.major, dev.minor).into_bytes());
    escaped(text, &entry.target);
    text.push(b' ');
    let options = entry.options();
    text.extend(&options);
    text.extend(format!(" - {} ", entry.fs_type).into_bytes());
    escaped(text, if entry.source.is_empty() { b"none" } else { &entry.source });
    text.push(b' ');
    text.extend(if options.starts_with(b"ro") { b"ro\n" } else { b"rw\n" });
}

/// The path of a place, from the root of the tree.
pub(super) fn path_of(location: &Location) -> Vec<u8> {
    let context = namespace().context(Credentials::root(), 0);
    namespace().path_of(&context, location)
}
