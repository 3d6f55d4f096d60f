//! virtio devices (virtio 1.2), found on PCI or in memory, by way of the `virtio-drivers` crate.
//!
//! [`probe`] finds every device and gives a [`Candidate`]; a driver is started on it with a vector for its interrupt.
//! The crate's queues and its transport for devices in memory are used as they are; the PCI side ([`transport`]) and the
//! block driver ([`block`]) are this project's own, for the reasons given there.

pub mod block;
mod hal;
pub mod rng;
pub mod transport;

use heapless::Vec;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::DeviceFunction;

use crate::acpi::{Signal, VirtioMmio};
use crate::{pci, platform};

/// The most devices that are found.
pub const MAX_DEVICES: usize = 32;

/// What a device is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Block,
    /// A source of random numbers.
    Entropy,
    /// Something that has no driver here.
    Other,
}

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A PCI function.
    Pci(DeviceFunction),
    /// Registers in memory.
    Memory(VirtioMmio),
}

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Pci(place) => write!(f, "pci {place}"),
            Self::Memory(device) => write!(f, "mmio {:#x}", device.base),
        }
    }
}

/// A device that no driver has started yet.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// What it is for.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
}

/// Why a device cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceError {
    /// Its registers are not as virtio has them.
    Malformed,
    /// It speaks only the protocol of before virtio 1.0.
    Legacy,
    /// It refused the features that were asked for.
    Refused,
    /// Its queue is shorter than the driver's.
    ShortQueue,
    /// No memory for its queue.
    OutOfMemory,
    /// Its interrupt cannot be delivered.
    NoInterrupt,
}

impl core::fmt::Display for DeviceError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "its registers are malformed",
            Self::Legacy => "it speaks only legacy virtio",
            Self::Refused => "it refused the driver's features",
            Self::ShortQueue => "its queue is too short",
            Self::OutOfMemory => "out of memory",
            Self::NoInterrupt => "its interrupt cannot be delivered",
        })
    }
}

/// Finds the devices: on PCI, and in memory where `listed` says. Disks come in the order of their addresses, so that
/// the first one on QEMU's command line is the first one here.
#[must_use]
pub fn probe(listed: impl Iterator<Item = VirtioMmio>) -> Vec<Candidate, MAX_DEVICES> {
    let mut found: Vec<Candidate, MAX_DEVICES> = Vec::new();
    if let Some(configuration) = pci::Configuration::find() {
        for function in configuration.functions() {
            if let Some(kind) = pci_kind(function.vendor, function.device) {
                let _ = found.push(Candidate { kind, place: Place::Pci(function.place) });
            }
        }
    }
    for device in listed {
        let known = found.iter().any(|other| matches!(other.place, Place::Memory(place) if place.base == device.base));
        if !known && let Some(kind) = mmio_kind(&device) {
            let _ = found.push(Candidate { kind, place: Place::Memory(device) });
        }
    }
    found
}

/// A device given by the kernel's command line.
#[must_use]
pub const fn from_command_line(base: u64, size: u64, irq: u32) -> VirtioMmio {
    VirtioMmio { base, size, input: irq, signal: Signal::ISA }
}

fn pci_kind(vendor: u16, device: u16) -> Option<Kind> {
    /// Virtio's.
    const VENDOR: u16 = 0x1af4;
    if vendor != VENDOR {
        return None;
    }
    match device {
        // Transitional devices have numbers of their own; the others are 0x1040 plus the type.
        0x1001 | 0x1042 => Some(Kind::Block),
        0x1005 | 0x1044 => Some(Kind::Entropy),
        0x1000..=0x107f => Some(Kind::Other),
        _ => None,
    }
}

fn mmio_kind(device: &VirtioMmio) -> Option<Kind> {
    /// "virt".
    const MAGIC: u32 = 0x7472_6976;
    let registers = platform::get()?.map_device(device.base, transport::MMIO_BYTES)?.cast::<u32>();
    // SAFETY: the firmware or the command line says that a virtio device's registers are here, and they are mapped;
    // the magic number and the type have no read effects.
    let (magic, kind) = unsafe { (registers.read_volatile(), registers.add(2).read_volatile()) };
    match kind {
        _ if magic != MAGIC => None,
        0 => None,
        kind if kind == DeviceType::Block as u32 => Some(Kind::Block),
        kind if kind == DeviceType::EntropySource as u32 => Some(Kind::Entropy),
        _ => Some(Kind::Other),
    }
}
