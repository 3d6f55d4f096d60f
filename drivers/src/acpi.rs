//! ACPI's tables (ACPI specification 6.5, chapters 5 and 6), as far as a kernel without an AML interpreter needs
//! them: interrupt controllers, timers, how to switch off.
//!
//! [`Acpi::read`] copies what it finds, so the tables' memory is not needed afterwards. Every table is checked for
//! length and sum; a bad one is left out. Two facts are only in AML: the sleep type of power-off and the places
//! of virtio devices in memory. Both are constant packages that compilers write in one form, so they are found
//! by their names and decoded; if that fails they are missing, nothing worse.

use heapless::Vec;

/// How physical memory is read.
pub trait PhysicalMemory {
    /// The bytes at `address`, or `None` when they cannot be read.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;
}

/// A register in a generic address structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Of a device in memory.
    Memory(u64),
    /// At an I/O port.
    Port(u16),
}

/// An I/O APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// Its first input's number among all.
    pub first_input: u32,
}

/// An ISA interrupt that arrives elsewhere or in another way than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// The ISA interrupt.
    pub irq: u8,
    /// The global input that it arrives at.
    pub input: u32,
    /// How it is signalled.
    pub signal: Signal,
}

/// How an interrupt line speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// When it counts.
    pub trigger: Trigger,
    /// Which level is active.
    pub polarity: Polarity,
}

/// When an interrupt line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// When it becomes active.
    Edge,
    /// As long as it is active.
    Level,
}

/// The active level of an interrupt line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polarity {
    /// High.
    High,
    /// Low.
    Low,
}

impl Signal {
    /// What ISA devices do.
    pub const ISA: Self = Self { trigger: Trigger::Edge, polarity: Polarity::High };
}

/// A virtio device whose registers are in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtioMmio {
    /// Physical address of the registers.
    pub base: u64,
    /// Their size in bytes.
    pub size: u64,
    /// The global input of its interrupt.
    pub input: u32,
    /// How it is signalled.
    pub signal: Signal,
}

/// The power management timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmTimer {
    /// Where it is read.
    pub port: u16,
    /// Its width: 24 or 32 bits.
    pub bits: u32,
}

/// How the power is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerOff {
    /// By the sleep type in the control registers of chapter 4.8.
    Pm1 {
        /// The first control port.
        a: u16,
        /// The second, on machines that have two.
        b: Option<u16>,
        /// The sleep types of state S5 for each.
        types: (u8, u8),
        /// The port and value that switch ACPI mode on, where the firmware has not.
        enable: Option<(u16, u8)>,
    },
    /// By the sleep control register of machines with reduced hardware.
    Reduced {
        /// The register.
        register: Register,
        /// The sleep type of state S5.
        sleep_type: u8,
    },
}

/// What the tables say. A machine without them gives the default: nothing.
#[derive(Debug, Default)]
pub struct Acpi {
    /// Physical address of the local APIC.
    pub local_apic: Option<u64>,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic, 4>,
    /// ISA interrupts that are not as usual.
    pub overrides: Vec<Override, 16>,
    /// The power management timer.
    pub pm_timer: Option<PmTimer>,
    /// Physical address of the HPET.
    pub hpet: Option<u64>,
    /// How the power is switched off.
    pub power_off: Option<PowerOff>,
    /// The register and the value that reset the machine.
    pub reset: Option<(Register, u8)>,
    /// The real-time clock's register for the century.
    pub century: Option<u8>,
    /// virtio devices in memory.
    pub virtio: Vec<VirtioMmio, 32>,
}

/// Where PCs without a loader that tells keep the root pointer.
const BIOS_AREA: core::ops::Range<u64> = 0xe_0000..0x10_0000;

impl Acpi {
    /// Reads the tables behind `root`, or behind the root pointer in the BIOS's area.
    #[must_use]
    pub fn read<M: PhysicalMemory>(memory: &M, root: Option<u64>) -> Self {
        let mut acpi = Self::default();
        let Some(root) = root.or_else(|| search_root(memory)) else { return acpi };
        let Some(tables) = root_tables(memory, root) else { return acpi };
        for address in tables {
            let Some(table) = table(memory, address) else { continue };
            match &table[..4] {
                b"APIC" => acpi.read_madt(table),
                b"FACP" => acpi.read_fadt(memory, table),
                b"HPET" => acpi.hpet = get64(table, 44),
                _ => {}
            }
        }
        acpi
    }

    fn read_madt(&mut self, table: &[u8]) {
        self.local_apic = get32(table, 36).map(u64::from);
        let mut rest = table.get(44..).unwrap_or(&[]);
        while let [kind, length, ..] = *rest {
            let Some((entry, next)) = rest.split_at_checked(usize::from(length).max(2)) else { break };
            rest = next;
            // More entries than there is room for are left out.
            match kind {
                1 => {
                    if let (Some(address), Some(first_input)) = (get32(entry, 4), get32(entry, 8)) {
                        let _ = self.io_apics.push(IoApic { address: address.into(), first_input });
                    }
                }
                2 => {
                    if let (Some(&irq), Some(input), Some(flags)) = (entry.get(3), get32(entry, 4), get16(entry, 8)) {
                        let polarity = if flags & 3 == 3 { Polarity::Low } else { Polarity::High };
                        let trigger = if flags >> 2 & 3 == 3 { Trigger::Level } else { Trigger::Edge };
                        let signal = Signal { trigger, polarity };
                        let _ = self.overrides.push(Override { irq, input, signal });
                    }
                }
                5 => self.local_apic = get64(entry, 4).or(self.local_apic),
                _ => {}
            }
        }
    }

    fn read_fadt<M: PhysicalMemory>(&mut self, memory: &M, fadt: &[u8]) {
        let flags = get32(fadt, 112).unwrap_or(0);
        let dsdt_address = get64(fadt, 140).filter(|&address| address != 0).or(get32(fadt, 40).map(u64::from));
        let dsdt = dsdt_address.and_then(|address| table(memory, address)).unwrap_or(&[]);
        let sleep_types = find_s5(dsdt);

        self.century = fadt.get(108).copied().filter(|&register| register != 0);
        if flags & 1 << 10 != 0 {
            self.reset = register(fadt, 116).zip(fadt.get(128).copied());
        }
        if flags & 1 << 20 != 0 {
            self.power_off = register(fadt, 244)
                .zip(sleep_types)
                .map(|(register, types)| PowerOff::Reduced { register, sleep_type: types.0 });
        } else {
            let port = |offset| get32(fadt, offset).and_then(|port| u16::try_from(port).ok()).filter(|&port| port != 0);
            self.pm_timer = port(76).map(|port| PmTimer { port, bits: if flags & 1 << 8 != 0 { 32 } else { 24 } });
            let enable = port(48).zip(fadt.get(52).copied());
            self.power_off =
                port(64).zip(sleep_types).map(|(a, types)| PowerOff::Pm1 { a, b: port(68), types, enable });
        }
        find_virtio(dsdt, &mut self.virtio);
    }
}

fn search_root<M: PhysicalMemory>(memory: &M) -> Option<u64> {
    let area = memory.bytes(BIOS_AREA.start, (BIOS_AREA.end - BIOS_AREA.start) as usize)?;
    let place = area.chunks_exact(16).position(|line| line.starts_with(b"RSD PTR "))?;
    Some(BIOS_AREA.start + place as u64 * 16)
}

/// The addresses of all tables: through the 64-bit root where there is one.
fn root_tables<M: PhysicalMemory>(memory: &M, root: u64) -> Option<impl Iterator<Item = u64>> {
    let pointer = memory.bytes(root, 20)?;
    if !pointer.starts_with(b"RSD PTR ") || sum(pointer) != 0 {
        return None;
    }
    let extended = (pointer[15] >= 2)
        .then(|| memory.bytes(root, 36))
        .flatten()
        .and_then(|pointer| get64(pointer, 24))
        .and_then(|address| table(memory, address))
        .filter(|table| table.starts_with(b"XSDT"));
    let (entries, size) = match extended {
        Some(table) => (table, 8),
        None => (table(memory, u64::from(get32(pointer, 16)?)).filter(|table| table.starts_with(b"RSDT"))?, 4),
    };
    Some(
        entries[36..]
            .chunks_exact(size)
            .filter_map(move |entry| if size == 8 { get64(entry, 0) } else { get32(entry, 0).map(u64::from) }),
    )
}

/// The table at `address`, header included, if its length and sum are right.
fn table<M: PhysicalMemory>(memory: &M, address: u64) -> Option<&[u8]> {
    /// No table of a virtual machine comes near.
    const LONGEST: u32 = 4 << 20;
    let header = memory.bytes(address, 36)?;
    let length = get32(header, 4).filter(|length| (36..LONGEST).contains(length))?;
    let table = memory.bytes(address, length as usize)?;
    (sum(table) == 0).then_some(table)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fn register(table: &[u8], offset: usize) -> Option<Register> {
    let address = get64(table, offset + 4).filter(|&address| address != 0)?;
    match table.get(offset)? {
        0 => Some(Register::Memory(address)),
        1 => u16::try_from(address).ok().map(Register::Port),
        _ => None,
    }
}

/// `Name (_S5, Package () {a, b, …})`: the two sleep types.
fn find_s5(aml: &[u8]) -> Option<(u8, u8)> {
    let at = find(aml, b"_S5_\x12")? + 5;
    // The package's length takes one byte and as many more as its top two bits say; then comes the count.
    let length_bytes = 1 + usize::from(*aml.get(at)? >> 6);
    let mut rest = aml.get(at + length_bytes + 1..)?;
    let mut next = || {
        let (value, used) = match *rest {
            [0x0a, value, ..] => (value, 2),
            [0x0b | 0x0c, value, ..] => (value, if rest[0] == 0x0b { 3 } else { 5 }),
            [value @ (0 | 1), ..] => (value, 1),
            _ => return None,
        };
        rest = rest.get(used..)?;
        Some(value)
    };
    let first = next()?;
    Some((first, next().unwrap_or(first)))
}

/// The virtio devices in memory: `_HID` is `LNRO0005`, and the resources that follow are a fixed range of memory
/// (small descriptor 0x86) and an interrupt (0x89).
fn find_virtio<const N: usize>(aml: &[u8], devices: &mut Vec<VirtioMmio, N>) {
    const NAME: &[u8] = b"LNRO0005\0";
    /// How far behind the name the resources begin at most.
    const NEAR: usize = 160;
    let mut rest = aml;
    while let Some(at) = find(rest, NAME) {
        rest = &rest[at + NAME.len()..];
        let until = find(rest, NAME).unwrap_or(rest.len()).min(NEAR);
        let Some(device) = virtio_resources(&rest[..until]) else { continue };
        if devices.push(device).is_err() {
            break;
        }
    }
}

fn virtio_resources(aml: &[u8]) -> Option<VirtioMmio> {
    let memory = aml.get(find(aml, &[0x86, 0x09, 0x00])?..)?;
    let interrupt = memory.get(12..)?;
    let [0x89, _, _, flags, 1, ..] = *interrupt else { return None };
    let trigger = if flags & 0x02 != 0 { Trigger::Edge } else { Trigger::Level };
    let polarity = if flags & 0x04 != 0 { Polarity::Low } else { Polarity::High };
    Some(VirtioMmio {
        base: get32(memory, 4)?.into(),
        size: get32(memory, 8)?.into(),
        input: get32(interrupt, 5)?,
        signal: Signal { trigger, polarity },
    })
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    // The tables are small; what matters is to look at each first byte once.
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|&byte| byte == pattern[0])?;
        if bytes[at..].starts_with(pattern) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn get16(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn get32(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn get64(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

#[cfg(test)]
mod tests;
