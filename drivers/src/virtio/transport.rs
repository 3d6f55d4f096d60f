//! [`Bus`]: a `virtio-drivers` transport with interrupts.
//!
//! The crate's PCI transport does not know message-signalled interrupts and looks a queue's doorbell up at every
//! notification. This wrapper sets the queue's message before the queue is enabled, and remembers the doorbell.

use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, SomeTransport, Transport};
use virtio_drivers::{PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::hal::KernelHal;
use super::{DeviceError, Place};
use crate::acpi::VirtioMmio;
use crate::pci::Configuration;
use crate::{apic, platform};

/// How many bytes of registers a device in memory has.
pub(super) const MMIO_BYTES: usize = 0x200;

/// Offsets in the common configuration of PCI devices (virtio 1.2, 4.1.4.3).
mod common {
    pub(super) const QUEUE_SELECT: usize = 22;
    pub(super) const QUEUE_VECTOR: usize = 26;
    pub(super) const QUEUE_NOTIFY: usize = 30;
    pub(super) const BYTES: usize = 56;
}

/// How the device's interrupt arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As a message: there is nothing to acknowledge.
    Message,
    /// By a line that stays active until the device is told.
    Line,
}

/// A device's registers.
pub struct Bus {
    inner: SomeTransport<'static>,
    pci: Option<PciExtra>,
}

struct PciExtra {
    common: NonNull<u8>,
    notify: NonNull<u8>,
    multiplier: u32,
    doorbell: Option<NonNull<u16>>,
}

// SAFETY: the pointers are to registers of the one device that this value owns.
unsafe impl Send for Bus {}

impl core::fmt::Debug for Bus {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Bus {
    /// Opens the device at `place`, its interrupt going to `vector`.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`].
    pub fn open(place: Place, vector: u8) -> core::result::Result<(Self, Delivery), DeviceError> {
        match place {
            Place::Pci(function) => Ok((Self::open_pci(function, vector)?, Delivery::Message)),
            Place::Memory(device) => Ok((Self::open_mmio(&device, vector)?, Delivery::Line)),
        }
    }

    fn open_pci(function: DeviceFunction, vector: u8) -> core::result::Result<Self, DeviceError> {
        let mut configuration = Configuration::find().ok_or(DeviceError::Malformed)?;
        configuration.enable(function);
        let transport =
            PciTransport::new::<KernelHal, _>(&mut PciRoot::new(configuration), function).map_err(|error| {
                log::debug!("pci {function}: {error}");
                DeviceError::Legacy
            })?;
        if !configuration.enable_msix(function, vector) {
            return Err(DeviceError::NoInterrupt);
        }
        let common = region(&configuration, function, 1, common::BYTES).ok_or(DeviceError::Malformed)?;
        let notify = region(&configuration, function, 2, 4).ok_or(DeviceError::Malformed)?;
        let extra =
            PciExtra { common: common.registers, notify: notify.registers, multiplier: notify.extra, doorbell: None };
        Ok(Self { inner: transport.into(), pci: Some(extra) })
    }

    fn open_mmio(device: &VirtioMmio, vector: u8) -> core::result::Result<Self, DeviceError> {
        let size = usize::try_from(device.size).unwrap_or(0).max(MMIO_BYTES);
        let registers = platform::get()
            .and_then(|platform| platform.map_device(device.base, size))
            .ok_or(DeviceError::OutOfMemory)?;
        // SAFETY: `probe` found virtio's magic number here; the mapping is for good and the device has one driver.
        let transport = unsafe { MmioTransport::new(registers.cast::<VirtIOHeader>(), size) }
            .map_err(|_| DeviceError::Malformed)?;
        if transport.requires_legacy_layout() {
            return Err(DeviceError::Legacy);
        }
        apic::enable_input(device.input, device.signal, vector).map_err(|_| DeviceError::NoInterrupt)?;
        Ok(Self { inner: transport.into(), pci: None })
    }
}

/// A virtio structure in a base address region.
struct Region {
    registers: NonNull<u8>,
    /// The word behind the capability: for notifications, the doorbells' distance.
    extra: u32,
}

/// Maps the structure of kind `kind` (virtio 1.2, 4.1.4).
fn region(configuration: &Configuration, function: DeviceFunction, kind: u8, length: usize) -> Option<Region> {
    /// A vendor's own capability.
    const VENDOR: u8 = 0x09;
    let (offset, _) = configuration.capabilities(function).find(|&(offset, id)| {
        id == VENDOR && offset < 0xec && (configuration.read_word(function, offset) >> 24) as u8 == kind
    })?;
    let bar = configuration.read_word(function, offset + 4) as u8;
    let start = configuration.read_word(function, offset + 8);
    let size = configuration.read_word(function, offset + 12) as usize;
    let base = configuration.base_address(function, bar)?;
    if size < length {
        return None;
    }
    let registers = platform::get()?.map_device(base + u64::from(start), size)?;
    Some(Region { registers, extra: configuration.read_word(function, offset + 16) })
}

impl PciExtra {
    /// Gives the selected queue its message and finds its doorbell.
    fn prepare(&mut self, queue: u16) {
        // SAFETY: `region` mapped the whole structure; these fields are 16 bits wide and aligned.
        let offset = unsafe {
            self.common.add(common::QUEUE_SELECT).cast::<u16>().write_volatile(queue);
            self.common.add(common::QUEUE_VECTOR).cast::<u16>().write_volatile(0);
            self.common.add(common::QUEUE_NOTIFY).cast::<u16>().read_volatile()
        };
        if queue == 0 {
            let distance = usize::from(offset) * self.multiplier as usize;
            // SAFETY: the device places the doorbells of its queues within the notification structure, which is mapped.
            self.doorbell = Some(unsafe { self.notify.add(distance).cast() });
        }
    }
}

impl Transport for Bus {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.inner.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        match self.pci.as_ref().and_then(|pci| pci.doorbell) {
            // SAFETY: the doorbell of queue 0, mapped for good.
            Some(doorbell) if queue == 0 => unsafe { doorbell.write_volatile(0) },
            _ => self.inner.notify(queue),
        }
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.inner.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        if let Some(pci) = &mut self.pci {
            pci.prepare(queue);
        }
        self.inner.queue_set(queue, size, descriptors, driver, device);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.inner.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        self.inner.write_config_space(offset, value)
    }
}
