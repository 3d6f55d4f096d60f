//! PCI: configuration space through ports 0xcf8 and 0xcfc, enumeration, and message-signalled interrupts.
//!
//! The ports are on every PC, old and new, and reach the 256 bytes that drivers need; firmware has placed the base
//! addresses. Behind bridges the buses are walked too.

use core::ptr::NonNull;

use heapless::Vec;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

use crate::{IrqMutex, apic, platform, port};

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// The most functions that are listed.
pub const MAX_FUNCTIONS: usize = 64;

/// Address and data port belong together.
static PORTS: IrqMutex<()> = IrqMutex::new(());

/// Access to configuration space.
#[derive(Debug, Clone, Copy)]
pub struct Configuration {
    // Only `find` makes one.
    _private: (),
}

impl Configuration {
    /// The machine's, if it has PCI.
    #[must_use]
    pub fn find() -> Option<Self> {
        let _guard = PORTS.lock();
        // SAFETY: the address register of the host bridge keeps what is written, and has no effect by itself; where
        // there is none, nothing answers.
        let kept = unsafe {
            port::write32(ADDRESS, ENABLE);
            port::read32(ADDRESS)
        };
        (kept == ENABLE).then_some(Self { _private: () })
    }

    /// Every function of every device.
    #[must_use]
    pub fn functions(&self) -> Vec<Function, MAX_FUNCTIONS> {
        let mut found = Vec::new();
        self.walk(0, 0, &mut found);
        found
    }

    fn walk(&self, bus: u8, depth: u8, found: &mut Vec<Function, MAX_FUNCTIONS>) {
        for device in 0..32 {
            for function in 0..8 {
                let place = DeviceFunction { bus, device, function };
                let id = self.read_word(place, 0);
                if id & 0xffff == 0xffff {
                    if function == 0 {
                        break;
                    }
                    continue;
                }
                let header = self.read_word(place, 0x0c) >> 16 & 0xff;
                let _ = found.push(Function { place, vendor: id as u16, device: (id >> 16) as u16 });
                if header & 0x7f == 1 && depth < 8 {
                    let secondary = (self.read_word(place, 0x18) >> 8) as u8;
                    if secondary > bus {
                        self.walk(secondary, depth + 1, found);
                    }
                }
                if function == 0 && header & 0x80 == 0 {
                    break;
                }
            }
        }
    }

    /// Lets a function reach memory and answer there, and silences its interrupt pin, which is not used.
    pub fn enable(&mut self, place: DeviceFunction) {
        const WANTED: u32 = 0x0406;
        let command = self.read_word(place, 4) & 0xffff;
        if command & WANTED != WANTED {
            self.write_word(place, 4, command | WANTED);
        }
    }

    /// The offset of a capability of kind `id`.
    fn capability(&self, place: DeviceFunction, id: u8) -> Option<u8> {
        self.capabilities(place).find(|&(_, kind)| kind == id).map(|(offset, _)| offset)
    }

    /// Offsets and kinds of a function's capabilities.
    pub(crate) fn capabilities(&self, place: DeviceFunction) -> impl Iterator<Item = (u8, u8)> {
        let configuration = *self;
        let listed = configuration.read_word(place, 4) & 1 << 20 != 0;
        let mut next = if listed { configuration.read_word(place, 0x34) as u8 & 0xfc } else { 0 };
        // A list that goes in circles ends.
        (0..48).map_while(move |_| {
            if next < 0x40 {
                return None;
            }
            let offset = next;
            let header = configuration.read_word(place, offset);
            next = (header >> 8) as u8 & 0xfc;
            Some((offset, header as u8))
        })
    }

    /// The physical address in base address register `index`; `None` for one in I/O space or without an address.
    pub(crate) fn base_address(&self, place: DeviceFunction, index: u8) -> Option<u64> {
        if index > 5 {
            return None;
        }
        let low = self.read_word(place, 0x10 + 4 * index);
        if low & 1 != 0 {
            return None;
        }
        let high = if low & 6 == 4 && index < 5 { self.read_word(place, 0x14 + 4 * index) } else { 0 };
        Some(u64::from(low & !0xf) | u64::from(high) << 32).filter(|&address| address != 0)
    }

    /// Sends the function's first message-signalled interrupt (MSI-X) to `vector`; false when it has none.
    pub fn enable_msix(&mut self, place: DeviceFunction, vector: u8) -> bool {
        /// MSI-X.
        const CAPABILITY: u8 = 0x11;
        let Some(offset) = self.capability(place, CAPABILITY) else { return false };
        let table = self.read_word(place, offset + 4);
        let Some(base) = self.base_address(place, table as u8 & 7) else { return false };
        let entry = platform::get().and_then(|platform| platform.map_device(base + u64::from(table & !7), 16));
        let Some(entry) = entry.map(NonNull::cast::<u32>) else { return false };
        let (address, data) = apic::message(vector);
        // SAFETY: the first entry of the function's table, just mapped: address, data, and a control word whose
        // lowest bit masks it. The message only makes this processor take `vector`, which has a handler.
        unsafe {
            entry.write_volatile(address as u32);
            entry.add(1).write_volatile((address >> 32) as u32);
            entry.add(2).write_volatile(data);
            entry.add(3).write_volatile(0);
        }
        let control = self.read_word(place, offset);
        self.write_word(place, offset, (control | 1 << 31) & !(1 << 30));
        true
    }
}

/// A function that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// Where.
    pub place: DeviceFunction,
    /// The vendor.
    pub vendor: u16,
    /// The vendor's number for it.
    pub device: u16,
}

impl ConfigurationAccess for Configuration {
    fn read_word(&self, place: DeviceFunction, register: u8) -> u32 {
        let _guard = PORTS.lock();
        // SAFETY: there is PCI, or there would be no `Configuration`; the registers that are read have no read effects.
        unsafe {
            port::write32(ADDRESS, address(place, register));
            port::read32(DATA)
        }
    }

    fn write_word(&mut self, place: DeviceFunction, register: u8, value: u32) {
        let _guard = PORTS.lock();
        // SAFETY: as above; what drivers write here moves and enables their own device.
        unsafe {
            port::write32(ADDRESS, address(place, register));
            port::write32(DATA, value);
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        *self
    }
}

fn address(place: DeviceFunction, register: u8) -> u32 {
    ENABLE
        | u32::from(place.bus) << 16
        | u32::from(place.device & 31) << 11
        | u32::from(place.function & 7) << 8
        | u32::from(register & 0xfc)
}
