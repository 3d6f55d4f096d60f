//! [`Bus`]: a device's registers, as a transport of `virtio-drivers`.
//!
//! Devices in memory use the crate's own transport. Devices on PCI have one of their own here: the crate's knows no
//! message-signalled interrupts, looks a queue's doorbell up at every notification, and measures every base address
//! register, for which it switches the device's memory off and on again: milliseconds each under an emulator.

use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioTransport, VirtIOHeader};
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{DeviceError, Place};
use crate::acpi::VirtioMmio;
use crate::pci::Configuration;
use crate::{apic, platform};

/// How many bytes of registers a device in memory has.
pub(super) const MMIO_BYTES: usize = 0x200;

/// How the device's interrupt arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As a message: there is nothing to acknowledge.
    Message,
    /// By a line that stays active until the device is told.
    Line,
}

/// A device's registers.
#[derive(Debug)]
pub enum Bus {
    /// On PCI.
    Pci(PciRegisters),
    /// In memory.
    Memory(MmioTransport<'static>),
}

impl Bus {
    /// Opens the device at `place`, its interrupt going to `vector`.
    ///
    /// # Errors
    ///
    /// See [`DeviceError`].
    pub fn open(place: Place, vector: u8) -> core::result::Result<(Self, Delivery), DeviceError> {
        match place {
            Place::Pci(function) => Ok((Self::Pci(PciRegisters::open(function, vector)?), Delivery::Message)),
            Place::Memory(device) => Ok((Self::Memory(open_mmio(&device, vector)?), Delivery::Line)),
        }
    }
}

fn open_mmio(device: &VirtioMmio, vector: u8) -> core::result::Result<MmioTransport<'static>, DeviceError> {
    let size = usize::try_from(device.size).unwrap_or(0).max(MMIO_BYTES);
    let registers =
        platform::get().and_then(|platform| platform.map_device(device.base, size)).ok_or(DeviceError::OutOfMemory)?;
    // SAFETY: `probe` found virtio's magic number here; the mapping is for good and the device has one driver.
    let transport =
        unsafe { MmioTransport::new(registers.cast::<VirtIOHeader>(), size) }.map_err(|_| DeviceError::Malformed)?;
    if transport.requires_legacy_layout() {
        return Err(DeviceError::Legacy);
    }
    apic::enable_input(device.input, device.signal, vector).map_err(|_| DeviceError::NoInterrupt)?;
    Ok(transport)
}

/// The common configuration structure (virtio 1.2, 4.1.4.3).
#[repr(C)]
struct Common {
    device_feature_select: u32,
    device_feature: u32,
    driver_feature_select: u32,
    driver_feature: u32,
    config_vector: u16,
    queues: u16,
    status: u8,
    config_generation: u8,
    queue_select: u16,
    queue_size: u16,
    queue_vector: u16,
    queue_enable: u16,
    queue_notify_offset: u16,
    queue_descriptors: [u32; 2],
    queue_driver: [u32; 2],
    queue_device: [u32; 2],
}

const _: () = assert!(size_of::<Common>() == 56);

/// The registers of a device on PCI.
#[derive(Debug)]
pub struct PciRegisters {
    kind: DeviceType,
    common: NonNull<Common>,
    notify: NonNull<u8>,
    notify_bytes: usize,
    notify_distance: usize,
    isr: NonNull<u8>,
    config: NonNull<u8>,
    config_bytes: usize,
    /// Of queue 0.
    doorbell: Option<NonNull<u16>>,
}

// SAFETY: the pointers are to registers of the one device that this value owns.
unsafe impl Send for PciRegisters {}

/// Reads a field of the common configuration.
macro_rules! get {
    ($registers:expr, $field:ident) => {
        // SAFETY: `open` mapped the whole structure for good.
        unsafe { (&raw const (*$registers.common.as_ptr()).$field).read_volatile() }
    };
}

/// Writes a field of the common configuration.
macro_rules! set {
    ($registers:expr, $field:ident, $value:expr) => {{
        let value = $value;
        // SAFETY: as above; addresses that are written are of the queue's memory.
        unsafe { (&raw mut (*$registers.common.as_ptr()).$field).write_volatile(value) }
    }};
}

const fn halves(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

impl PciRegisters {
    fn open(function: DeviceFunction, vector: u8) -> core::result::Result<Self, DeviceError> {
        let mut configuration = Configuration::find().ok_or(DeviceError::Malformed)?;
        configuration.enable(function);
        let id = (configuration.read_word(function, 0) >> 16) as u16;
        let kind = match id {
            0x1001 => DeviceType::Block,
            0x1005 => DeviceType::EntropySource,
            _ => id.checked_sub(0x1040).and_then(|id| DeviceType::try_from(id).ok()).ok_or(DeviceError::Malformed)?,
        };
        let region = |kind, length| Region::find(&configuration, function, kind, length);
        // A device without these structures is of before virtio 1.0.
        let common = region(1, size_of::<Common>()).ok_or(DeviceError::Legacy)?;
        let notify = region(2, 2).ok_or(DeviceError::Legacy)?;
        let isr = region(3, 1).ok_or(DeviceError::Legacy)?;
        let config = region(4, 1).ok_or(DeviceError::Malformed)?;
        if !configuration.enable_msix(function, vector) {
            return Err(DeviceError::NoInterrupt);
        }
        Ok(Self {
            kind,
            common: common.registers.cast(),
            notify: notify.registers,
            notify_bytes: notify.length,
            notify_distance: notify.extra as usize,
            isr: isr.registers,
            config: config.registers,
            config_bytes: config.length,
            doorbell: None,
        })
    }

    /// Finds the doorbell of the selected queue.
    fn find_doorbell(&self) -> Option<NonNull<u16>> {
        let offset = usize::from(get!(self, queue_notify_offset)).checked_mul(self.notify_distance)?;
        // SAFETY: the sum is within the structure, which is mapped.
        (offset + 2 <= self.notify_bytes).then(|| unsafe { self.notify.add(offset).cast() })
    }

    fn config_place<T>(&self, offset: usize) -> Result<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>()).ok_or(Error::ConfigSpaceTooSmall)?;
        if end > self.config_bytes || !offset.is_multiple_of(align_of::<T>()) {
            return Err(Error::ConfigSpaceTooSmall);
        }
        // SAFETY: within the structure, which is mapped.
        Ok(unsafe { self.config.add(offset).cast() })
    }
}

/// A virtio structure in a base address region.
struct Region {
    registers: NonNull<u8>,
    length: usize,
    /// The word behind the capability: for notifications, the doorbells' distance.
    extra: u32,
}

impl Region {
    /// Finds and maps the structure of kind `kind` (virtio 1.2, 4.1.4), at least `length` bytes long.
    fn find(configuration: &Configuration, function: DeviceFunction, kind: u8, length: usize) -> Option<Self> {
        /// A vendor's own capability.
        const VENDOR: u8 = 0x09;
        let (offset, _) = configuration.capabilities(function).find(|&(offset, id)| {
            id == VENDOR && offset < 0xec && (configuration.read_word(function, offset) >> 24) as u8 == kind
        })?;
        let bar = configuration.read_word(function, offset + 4) as u8;
        let start = configuration.read_word(function, offset + 8);
        let size = configuration.read_word(function, offset + 12) as usize;
        let base = configuration.base_address(function, bar)?;
        if size < length || size > 1 << 20 {
            return None;
        }
        let registers = platform::get()?.map_device(base + u64::from(start), size)?;
        let extra = if kind == 2 { configuration.read_word(function, offset + 16) } else { 0 };
        Some(Self { registers, length: size, extra })
    }
}

impl Transport for PciRegisters {
    fn device_type(&self) -> DeviceType {
        self.kind
    }

    fn read_device_features(&mut self) -> u64 {
        set!(self, device_feature_select, 0);
        let low = get!(self, device_feature);
        set!(self, device_feature_select, 1);
        u64::from(low) | u64::from(get!(self, device_feature)) << 32
    }

    fn write_driver_features(&mut self, features: u64) {
        set!(self, driver_feature_select, 0);
        set!(self, driver_feature, features as u32);
        set!(self, driver_feature_select, 1);
        set!(self, driver_feature, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        set!(self, queue_select, queue);
        get!(self, queue_size).into()
    }

    fn notify(&mut self, queue: u16) {
        let doorbell = match self.doorbell {
            Some(doorbell) if queue == 0 => Some(doorbell),
            _ => {
                set!(self, queue_select, queue);
                self.find_doorbell()
            }
        };
        if let Some(doorbell) = doorbell {
            // SAFETY: the queue's doorbell; the queue's memory is ready when its owner notifies.
            unsafe { doorbell.write_volatile(queue) };
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(get!(self, status).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        set!(self, status, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _size: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        set!(self, queue_select, queue);
        set!(self, queue_size, size as u16);
        set!(self, queue_vector, 0);
        set!(self, queue_descriptors, halves(descriptors));
        set!(self, queue_driver, halves(driver));
        set!(self, queue_device, halves(device));
        set!(self, queue_enable, 1);
        if queue == 0 {
            self.doorbell = self.find_doorbell();
        }
    }

    fn queue_unset(&mut self, _queue: u16) {
        // A queue on PCI is unset by a reset of the device only.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        set!(self, queue_select, queue);
        get!(self, queue_enable) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // SAFETY: mapped by `open`; reading the register clears it.
        InterruptStatus::from_bits_retain(unsafe { self.isr.read_volatile() }.into())
    }

    fn read_config_generation(&self) -> u32 {
        get!(self, config_generation).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        // SAFETY: a mapped, aligned place in the device's configuration; any bytes make a `T`.
        self.config_place(offset).map(|place| unsafe { place.read_volatile() })
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        // SAFETY: as above.
        self.config_place(offset).map(|place| unsafe { place.write_volatile(value) })
    }
}

impl Drop for PciRegisters {
    /// Resets the device, so that it does not use memory that is given back next.
    fn drop(&mut self) {
        set!(self, status, 0);
        // A reset is done when the status reads 0; a device that never says so is no reason to hang.
        for _ in 0..1_000_000 {
            if get!(self, status) == 0 {
                break;
            }
        }
    }
}

/// Calls a method of whichever transport it is.
macro_rules! either {
    ($bus:expr, $transport:ident => $call:expr) => {
        match $bus {
            Bus::Pci($transport) => $call,
            Bus::Memory($transport) => $call,
        }
    };
}

impl Transport for Bus {
    fn device_type(&self) -> DeviceType {
        either!(self, bus => bus.device_type())
    }

    fn read_device_features(&mut self) -> u64 {
        either!(self, bus => bus.read_device_features())
    }

    fn write_driver_features(&mut self, features: u64) {
        either!(self, bus => bus.write_driver_features(features));
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        either!(self, bus => bus.max_queue_size(queue))
    }

    fn notify(&mut self, queue: u16) {
        either!(self, bus => bus.notify(queue));
    }

    fn get_status(&self) -> DeviceStatus {
        either!(self, bus => bus.get_status())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        either!(self, bus => bus.set_status(status));
    }

    fn set_guest_page_size(&mut self, size: u32) {
        either!(self, bus => bus.set_guest_page_size(size));
    }

    fn requires_legacy_layout(&self) -> bool {
        either!(self, bus => bus.requires_legacy_layout())
    }

    fn queue_set(&mut self, queue: u16, size: u32, descriptors: PhysAddr, driver: PhysAddr, device: PhysAddr) {
        either!(self, bus => bus.queue_set(queue, size, descriptors, driver, device));
    }

    fn queue_unset(&mut self, queue: u16) {
        either!(self, bus => bus.queue_unset(queue));
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        either!(self, bus => bus.queue_used(queue))
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        either!(self, bus => bus.ack_interrupt())
    }

    fn read_config_generation(&self) -> u32 {
        either!(self, bus => bus.read_config_generation())
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        either!(self, bus => bus.read_config_space(offset))
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> Result<()> {
        either!(self, bus => bus.write_config_space(offset, value))
    }
}
