use std::vec;

use super::*;

struct Image(std::vec::Vec<u8>);

impl PhysicalMemory for Image {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(address).ok()?;
        self.0.get(start..start.checked_add(length)?)
    }
}

impl Image {
    fn table(&mut self, address: usize, name: &[u8; 4], body: &[u8]) {
        let length = 36 + body.len();
        let table = &mut self.0[address..address + length];
        table.fill(0);
        table[..4].copy_from_slice(name);
        table[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        table[36..].copy_from_slice(body);
        table[9] = 0_u8.wrapping_sub(sum(table));
    }
}

fn machine() -> Image {
    let mut image = Image(vec![0; 0x10000]);
    image.0[0x100..0x108].copy_from_slice(b"RSD PTR ");
    image.0[0x110..0x114].copy_from_slice(&0x200_u32.to_le_bytes());
    image.0[0x108] = 0_u8.wrapping_sub(sum(&image.0[0x100..0x114]));
    image.table(0x200, b"RSDT", &[0x00, 0x03, 0, 0, 0x00, 0x04, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let mut madt = vec![0; 8];
    madt[..4].copy_from_slice(&0xfee0_0000_u32.to_le_bytes());
    madt.extend([1, 12, 0, 0, 0x00, 0x00, 0xc0, 0xfe, 24, 0, 0, 0]);
    madt.extend([2, 10, 0, 9, 20, 0, 0, 0, 0x0f, 0]);
    image.table(0x300, b"APIC", &madt);
    let mut fadt = vec![0; 268 - 36];
    fadt[40 - 36..44 - 36].copy_from_slice(&0x800_u32.to_le_bytes());
    fadt[64 - 36..68 - 36].copy_from_slice(&0x604_u32.to_le_bytes());
    fadt[76 - 36..80 - 36].copy_from_slice(&0x608_u32.to_le_bytes());
    fadt[108 - 36] = 0x32;
    fadt[112 - 36..116 - 36].copy_from_slice(&(1_u32 << 10).to_le_bytes());
    fadt[116 - 36] = 1;
    fadt[120 - 36..122 - 36].copy_from_slice(&0xcf9_u16.to_le_bytes());
    fadt[128 - 36] = 0x0f;
    image.table(0x400, b"FACP", &fadt);
    let mut dsdt = b"noise_S5_\x12\x08\x04\x0a\x05\x00\x00\x00".to_vec();
    dsdt.extend(b"_HID\x0dLNRO0005\0\x08_CRS\x11\x1c\x0a\x19");
    dsdt.extend([0x86, 9, 0, 1, 0x00, 0x02, 0xb0, 0xfe, 0x00, 0x02, 0, 0]);
    dsdt.extend([0x89, 6, 0, 0x01, 1, 25, 0, 0, 0, 0x79, 0]);
    image.table(0x800, b"DSDT", &dsdt);
    image
}

#[test]
fn the_tables_of_a_machine_are_read() {
    let acpi = Acpi::read(&machine(), Some(0x100));
    assert_eq!(acpi.local_apic, Some(0xfee0_0000));
    assert_eq!(acpi.io_apics.as_slice(), [IoApic { address: 0xfec0_0000, first_input: 24 }]);
    let signal = Signal { trigger: Trigger::Level, polarity: Polarity::Low };
    assert_eq!(acpi.overrides.as_slice(), [Override { irq: 9, input: 20, signal }]);
    assert_eq!(acpi.pm_timer, Some(PmTimer { port: 0x608, bits: 24 }));
    assert_eq!(acpi.century, Some(0x32));
    assert_eq!(acpi.reset, Some((Register::Port(0xcf9), 0x0f)));
    assert_eq!(acpi.power_off, Some(PowerOff::Pm1 { a: 0x604, b: None, types: (5, 0), enable: None }));
    let signal = Signal { trigger: Trigger::Level, polarity: Polarity::High };
    assert_eq!(acpi.virtio.as_slice(), [VirtioMmio { base: 0xfeb0_0200, size: 512, input: 25, signal }]);
}

#[test]
fn a_table_with_a_wrong_sum_is_left_out() {
    let mut image = machine();
    image.0[0x300 + 40] ^= 1;
    let acpi = Acpi::read(&image, Some(0x100));
    assert_eq!(acpi.local_apic, None);
    assert!(acpi.pm_timer.is_some());
}

#[test]
fn without_tables_nothing_is_known() {
    let acpi = Acpi::read(&Image(vec![]), None);
    assert!(acpi.local_apic.is_none() && acpi.power_off.is_none() && acpi.virtio.is_empty());
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let pristine = machine();
    let mut state = 7_u64;
    for _ in 0..3000 {
        let mut image = Image(pristine.0.clone());
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1442695040888963407);
            let at = 0x100 + (state >> 33) as usize % 0x800;
            image.0[at] = (state >> 20) as u8;
        }
        // Sums are made right again, so that the damage is read.
        for address in [0x200, 0x300, 0x400, 0x800] {
            let length = get32(&image.0, address + 4).unwrap_or(0) as usize;
            if let Some(table) = image.0.get_mut(address..address.saturating_add(length))
                && table.len() > 9
            {
                table[9] = table[9].wrapping_sub(sum(table));
            }
        }
        let _ = Acpi::read(&image, Some(0x100));
    }
}
