//! Switching off and starting again.

use crate::acpi::{PowerOff, Register};
use crate::{platform, port};

/// Switches the power off as ACPI says. Returns if the machine does not obey.
pub fn off(how: PowerOff) {
    match how {
        PowerOff::Pm1 { a, b, types, enable } => {
            // SAFETY: the ports are the firmware's power management registers, and the end is wanted.
            unsafe {
                if let Some((port, value)) = enable
                    && port::read16(a) & 1 == 0
                {
                    port::write8(port, value);
                }
                port::write16(a, u16::from(types.0) << 10 | 1 << 13);
                if let Some(b) = b {
                    port::write16(b, u16::from(types.1) << 10 | 1 << 13);
                }
            }
        }
        PowerOff::Reduced { register, sleep_type } => write(register, sleep_type << 2 | 1 << 5),
    }
}

/// Resets the machine: as ACPI says, through the chip set, through the keyboard controller. Returns if none of them
/// does it.
pub fn reset(how: Option<(Register, u8)>) {
    if let Some((register, value)) = how {
        write(register, value);
    }
    // SAFETY: the reset control register of PC chip sets, then the keyboard controller's command to pulse the reset
    // line; where neither is, nothing happens.
    unsafe {
        port::write8(0xcf9, 0x02);
        port::write8(0xcf9, 0x06);
        port::write8(0x64, 0xfe);
    }
}

fn write(register: Register, value: u8) {
    match register {
        Register::Memory(address) => {
            if let Some(place) = platform::get().and_then(|platform| platform.map_device(address, 1)) {
                // SAFETY: the firmware's register for this very purpose, just mapped.
                unsafe { place.write_volatile(value) };
            }
        }
        // SAFETY: as above.
        Register::Port(port) => unsafe { port::write8(port, value) },
    }
}
