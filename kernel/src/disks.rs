//! The machine's disks: virtio block devices as [`BlockDevice`]s.

use alloc::boxed::Box;
use core::fmt;

use base::{Errno, Error, Result};
use block::{BlockDevice, Capabilities, Io};
use drivers::virtio::block::{BlockError, Disk, Request};
use drivers::virtio::{Candidate, DeviceError, Kind, MAX_DEVICES};
use spin::Once;

use crate::traps::irq;

/// In order, without gaps.
static DISKS: [Once<VirtioDisk>; MAX_DEVICES] = [const { Once::new() }; MAX_DEVICES];

/// A disk of the machine.
pub(crate) struct VirtioDisk {
    device: Disk,
    number: usize,
    label: Once<heapless::Vec<u8, 20>>,
}

/// Starts every disk among `devices`. One that cannot be started is reported and left out.
pub(crate) fn init(devices: &[Candidate]) {
    let mut number = 0;
    for candidate in devices.iter().filter(|candidate| candidate.kind == Kind::Block) {
        let started = irq::register(on_interrupt, number)
            .ok_or(DeviceError::NoInterrupt)
            .and_then(|vector| Disk::start(candidate.place, vector));
        match started {
            Ok(device) => {
                // The first request interrupts, and the handler must find the device.
                let disk = DISKS[number].call_once(|| VirtioDisk { device, number, label: Once::new() });
                // A device without a name is no worse.
                disk.label.call_once(|| disk.device.identify().unwrap_or_default());
                number += 1;
            }
            Err(error) => log::warn!("disk at {}: {error}", candidate.place),
        }
    }
}

fn on_interrupt(number: usize) {
    if let Some(disk) = DISKS.get(number).and_then(Once::get) {
        disk.device.on_interrupt();
    }
}

/// Every disk, in the order of the machine's addresses: QEMU's first is the first.
pub(crate) fn all() -> impl Iterator<Item = &'static VirtioDisk> {
    DISKS.iter().map_while(Once::get)
}

impl VirtioDisk {
    /// `vda`, `vdb`, …
    pub(crate) fn name(&self) -> DiskName {
        DiskName(self.number)
    }

    /// What the machine's owner calls it (`serial=`); may be empty. Only the suites ask: whether they may write to it.
    #[cfg(any(debug_assertions, feature = "suites"))]
    pub(crate) fn label(&self) -> &[u8] {
        self.label.get().map_or(&[], |label| label)
    }
}

/// A disk's name, as Linux makes it.
pub(crate) struct DiskName(usize);

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There are at most 32 devices, so at most two letters.
        f.write_str("vd")?;
        if self.0 >= 26 {
            write!(f, "{}", char::from(b'a' + (self.0 / 26 - 1) as u8))?;
        }
        write!(f, "{}", char::from(b'a' + (self.0 % 26) as u8))
    }
}

impl fmt::Display for VirtioDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Capabilities { sectors, read_only, flush, discard } = self.capabilities();
        write!(f, "{} {} MiB", self.name(), sectors >> 11)?;
        for (shown, word) in [(read_only, " read-only"), (flush, " flush"), (discard, " discard")] {
            if shown {
                f.write_str(word)?;
            }
        }
        Ok(())
    }
}

impl BlockDevice for VirtioDisk {
    fn capabilities(&self) -> Capabilities {
        let info = self.device.info();
        Capabilities {
            sectors: info.sectors,
            read_only: info.read_only,
            flush: info.flush,
            discard: info.max_discard > 0 && !info.read_only,
        }
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.capabilities().check(batch)?;
        let requests = batch.iter_mut().map(|io| match io {
            Io::Read { sector, buf } => Request::Read { sector: *sector, buf },
            Io::Write { sector, data } => Request::Write { sector: *sector, data },
        });
        self.device.transfer(requests).map_err(|error| as_error(error, "disk transfer"))
    }

    fn flush(&self) -> Result<()> {
        self.device.flush().map_err(|error| as_error(error, "disk flush"))
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.device.discard(sector, sectors).map_err(|error| as_error(error, "disk discard"))
    }
}

fn as_error(error: BlockError, context: &'static str) -> Error {
    match error {
        BlockError::Failed => Error::fault(Errno::EIO, context),
        BlockError::Length => Error::new(Errno::EINVAL, context),
        BlockError::OutOfRange => Error::new(Errno::EIO, context),
        BlockError::ReadOnly => Error::new(Errno::EROFS, context),
        BlockError::Unsupported => Error::new(Errno::EOPNOTSUPP, context),
        BlockError::OutOfMemory => Error::new(Errno::ENOMEM, context),
    }
}

/// A disk on the heap, for whoever keeps devices by counted reference.
impl VirtioDisk {
    /// The disk as a trait object that lives for ever.
    pub(crate) fn as_device(&'static self) -> Box<dyn BlockDevice> {
        Box::new(Shared(self))
    }
}

struct Shared(&'static VirtioDisk);

impl BlockDevice for Shared {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn transfer(&self, batch: &mut [Io<'_>]) -> Result<()> {
        self.0.transfer(batch)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.0.discard(sector, sectors)
    }
}
