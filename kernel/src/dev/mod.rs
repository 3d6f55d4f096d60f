//! Devices, as programs open them: the terminal on the serial console ([`terminal`]), the character devices that every system has
//! ([`memory`]), disks ([`disk`]). [`register`] puts the drivers behind their numbers, [`fill`] makes the nodes of `/dev`.

mod disk;
mod memory;
mod terminal;

use alloc::format;
use alloc::sync::Arc;

use vfs::{DeviceClass, DeviceNumber, DirOps, Name, Namespace, NewKind, NewNode, Result};

pub(crate) use disk::{claim as claim_disk, find as find_disk, release as release_disk};
pub(crate) use terminal::look_for_interrupt;

use crate::disks;

/// `/dev/console`.
pub(crate) const CONSOLE: DeviceNumber = DeviceNumber::new(5, 1);
/// `/dev/tty`: the terminal of the one who opens it, and there is one.
const TTY: DeviceNumber = DeviceNumber::new(5, 0);
/// `/dev/ttyS0`: the serial port.
const SERIAL: DeviceNumber = DeviceNumber::new(4, 64);
/// `/dev/null`.
const NULL: DeviceNumber = DeviceNumber::new(1, 3);
/// `/dev/zero`.
pub(crate) const ZERO: DeviceNumber = DeviceNumber::new(1, 5);
/// `/dev/full`.
const FULL: DeviceNumber = DeviceNumber::new(1, 7);
/// `/dev/random`.
const RANDOM: DeviceNumber = DeviceNumber::new(1, 8);
/// `/dev/urandom`.
const URANDOM: DeviceNumber = DeviceNumber::new(1, 9);
/// `/dev/kmsg`.
const KMSG: DeviceNumber = DeviceNumber::new(1, 11);
/// The major number of virtio disks: the first that Linux gives away at run time.
const DISK_MAJOR: u32 = 254;
/// Minor numbers of a disk: itself and fifteen partitions.
const DISK_MINORS: u32 = 16;

/// The node of a character device in `/dev`.
struct Entry {
    name: &'static str,
    number: DeviceNumber,
    mode: u16,
}

const CHARACTERS: [Entry; 9] = [
    Entry { name: "console", number: CONSOLE, mode: 0o600 },
    Entry { name: "tty", number: TTY, mode: 0o666 },
    Entry { name: "ttyS0", number: SERIAL, mode: 0o600 },
    Entry { name: "null", number: NULL, mode: 0o666 },
    Entry { name: "zero", number: ZERO, mode: 0o666 },
    Entry { name: "full", number: FULL, mode: 0o666 },
    Entry { name: "random", number: RANDOM, mode: 0o666 },
    Entry { name: "urandom", number: URANDOM, mode: 0o666 },
    Entry { name: "kmsg", number: KMSG, mode: 0o644 },
];

const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The number of the disk at this place among [`disks::all`].
pub(crate) fn disk_number(index: usize) -> DeviceNumber {
    DeviceNumber::new(DISK_MAJOR, index as u32 * DISK_MINORS)
}

/// Puts the drivers behind their numbers.
pub(crate) fn register(namespace: &Namespace) {
    let devices = namespace.devices();
    let terminal = Arc::new(terminal::Driver);
    for number in [CONSOLE, TTY, SERIAL] {
        devices.register(DeviceClass::Char, number, terminal.clone());
    }
    devices.register_major(DeviceClass::Char, NULL.major, Arc::new(memory::Driver));
    devices.register_major(DeviceClass::Block, DISK_MAJOR, Arc::new(disk::Driver));
}

/// Makes the nodes of `/dev` in an empty directory.
///
/// # Errors
/// `ENOSPC`, `ENOMEM`.
pub(crate) fn fill(root: &dyn DirOps) -> Result<()> {
    for Entry { name, number, mode } in CHARACTERS {
        root.create(Name::new(name.as_bytes())?, &NewNode::new(NewKind::CharDevice(number), mode))?;
    }
    for (index, disk) in disks::all().enumerate() {
        let name = format!("{}", disk.name());
        root.create(Name::new(name.as_bytes())?, &NewNode::new(NewKind::BlockDevice(disk_number(index)), 0o600))?;
    }
    for (name, target) in LINKS {
        root.create(Name::new(name.as_bytes())?, &NewNode::new(NewKind::Symlink(target.as_bytes()), 0o777))?;
    }
    root.create(Name::new(b"shm")?, &NewNode::new(NewKind::Dir, 0o1777))?;
    Ok(())
}
