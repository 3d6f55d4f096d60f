//! The entropy device (virtio 1.2, 5.4).

use alloc::boxed::Box;

use virtio_drivers::device::rng::VirtIORng;

use super::hal::KernelHal;
use super::transport::Bus;
use super::{DeviceError, Place};

/// Reads a seed of 64 bytes from the device at `place` and leaves it alone again. Its interrupt goes to `vector`,
/// where nobody need listen.
///
/// # Errors
///
/// See [`DeviceError`].
pub fn read_seed(place: Place, vector: u8) -> Result<[u8; 64], DeviceError> {
    let (bus, _) = Bus::open(place, vector)?;
    let mut device = VirtIORng::<KernelHal, _>::new(bus).map_err(|_| DeviceError::Refused)?;
    device.disable_interrupts();
    // In the heap, where memory is contiguous for the device.
    let mut seed = Box::new([0; 64]);
    let mut filled = 0;
    while filled < seed.len() {
        match device.request_entropy(&mut seed[filled..]) {
            Ok(length) if length > 0 => filled += length.min(64 - filled),
            _ => return Err(DeviceError::Malformed),
        }
    }
    Ok(*seed)
}
