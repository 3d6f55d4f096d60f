//! Finding out what the machine is: the phases of the boot that know hardware.

use boot::layout::{EARLY_MAPPED, direct};
use boot::{BootInfo, Options};
use drivers::acpi::{Acpi, PhysicalMemory};
use drivers::clock::Calibration;
use drivers::virtio;
use drivers::{apic, platform, serial};
use heapless::Vec;

use crate::logging::phase;
use crate::platform::Kernel;
use crate::traps::irq;
use crate::{console, disks, random, time};

/// The memory that the entry code has mapped.
struct EarlyMap;

impl PhysicalMemory for EarlyMap {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(length as u64)?;
        if end > EARLY_MAPPED {
            return None;
        }
        // SAFETY: the entry code mapped the first four gigabytes, and the firmware's tables in it are not written to.
        Some(unsafe { core::slice::from_raw_parts(direct(address) as *const u8, length) })
    }
}

/// Reads the firmware's tables, wherever in memory they are: before the kernel has a map of its own, which shows
/// only what is memory.
pub(crate) fn read_tables(info: &BootInfo) -> Acpi {
    Acpi::read(&EarlyMap, info.rsdp)
}

/// Sets up the interrupt controllers, takes the console's input, and begins to measure the clock.
pub(crate) fn start_interrupts(acpi: &Acpi) -> Calibration {
    platform::set(&Kernel);
    if let Err(error) = apic::init(acpi, irq::SPURIOUS) {
        panic!("interrupt controller: {error:?}");
    }
    let listening = irq::register(|_| console::on_interrupt(), 0)
        .is_some_and(|vector| apic::enable_isa(serial::COM1_IRQ, vector).is_ok());
    if listening {
        console::listen();
    } else {
        log::warn!("the console's interrupt cannot be delivered: no input");
    }
    let calibration = time::begin(acpi);
    x86_64::instructions::interrupts::enable();
    calibration
}

/// Finds devices, starts the disks, seeds the random numbers.
pub(crate) fn start_devices(acpi: &Acpi, options: &Options<'_>) {
    let given =
        options.mmio_devices.iter().map(|device| virtio::from_command_line(device.base, device.size, device.irq));
    let devices: Vec<_, { virtio::MAX_DEVICES }> = virtio::probe(acpi.virtio.iter().copied().chain(given));
    disks::init(&devices);
    for disk in disks::all() {
        phase("disk", format_args!("{disk}"));
    }
    let source = random::init(&devices);
    log::info!("random numbers seeded by {source:?}");
}
