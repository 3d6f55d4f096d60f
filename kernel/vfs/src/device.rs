//! What stands behind device nodes: a table from number to driver.
//!
//! A filesystem keeps only the number. Opening a node asks the [`DeviceTable`], which the kernel fills at boot, and gets
//! an [`OpenDevice`], which then serves every call on the descriptor.

use alloc::sync::Arc;

use base::sync::RwLock;
use hashbrown::HashMap;

use crate::flags::{OpenFlags, PollEvents};
use crate::{DeviceNumber, Errno, Result};

/// The two name spaces of device numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceClass {
    /// A stream of bytes.
    Char,
    /// Addressable storage.
    Block,
}

/// A driver, as the namespace meets it at `open(2)`.
pub trait DeviceOps: Send + Sync {
    /// Opens the device.
    ///
    /// # Errors
    /// The driver's: `ENXIO`, `EBUSY`, `EROFS`, `EIO`.
    fn open(&self, number: DeviceNumber, flags: OpenFlags) -> Result<Arc<dyn OpenDevice>>;
}

/// Whether positions mean anything on an open device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeking {
    /// `lseek(2)` and `pread(2)` are `ESPIPE` (a terminal).
    No,
    /// `lseek(2)` does nothing and answers 0 (`/dev/null`, `/dev/zero`).
    Ignored,
    /// Positions up to this length in bytes (a disk).
    UpTo(u64),
}

/// An open device.
pub trait OpenDevice: Send + Sync {
    /// Reads; waits unless `flags` holds `O_NONBLOCK`. `offset` counts only where [`seeking`](Self::seeking) says so.
    ///
    /// # Errors
    /// `EAGAIN` where it would wait and may not; `EINTR`, `EIO`; `EINVAL` where the device cannot be read.
    fn read(&self, offset: u64, buf: &mut [u8], flags: OpenFlags) -> Result<usize>;

    /// Writes; as [`read`](Self::read).
    ///
    /// # Errors
    /// As `read`; `ENOSPC` at the end of a disk.
    fn write(&self, offset: u64, data: &[u8], flags: OpenFlags) -> Result<usize>;

    /// What positions mean.
    fn seeking(&self) -> Seeking {
        Seeking::No
    }

    /// `ioctl(2)`. `memory` is the caller's, for arguments that are addresses.
    ///
    /// # Errors
    /// `ENOTTY` for an unknown command; `EFAULT`, `EINVAL`, `EPERM`.
    fn ioctl(&self, _command: u32, _argument: u64, _memory: &dyn UserMemory) -> Result<u64> {
        Err(Errno::ENOTTY.into())
    }

    /// What would not wait now.
    fn poll(&self) -> PollEvents {
        PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::POLLRDNORM | PollEvents::POLLWRNORM
    }

    /// `bind(2)`: `name` makes the socket's name, which it can have once.
    ///
    /// # Errors
    /// `ENOTSOCK` for all that is no socket; `EINVAL` for one that has a name; those of `name`.
    fn bind(&self, _name: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        Err(Errno::ENOTSOCK.into())
    }

    /// `fsync(2)`.
    ///
    /// # Errors
    /// `EIO`; `EINVAL` for a device that keeps nothing.
    fn sync(&self) -> Result<()> {
        Err(Errno::EINVAL.into())
    }
}

/// The memory of the caller of an `ioctl(2)`.
pub trait UserMemory {
    /// Copies from `address` into `buf`.
    ///
    /// # Errors
    /// `EFAULT`.
    fn copy_in(&self, address: u64, buf: &mut [u8]) -> Result<()>;

    /// Copies `data` to `address`.
    ///
    /// # Errors
    /// `EFAULT`.
    fn copy_out(&self, address: u64, data: &[u8]) -> Result<()>;
}

/// Class, major number, and minor number unless it is for all of them.
type DriverKey = (DeviceClass, u32, Option<u32>);

/// Which driver serves a device number.
#[derive(Default)]
pub struct DeviceTable {
    drivers: RwLock<HashMap<DriverKey, Arc<dyn DeviceOps>>>,
}

impl DeviceTable {
    /// A table without drivers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the driver of one device, in place of one before.
    pub fn register(&self, class: DeviceClass, number: DeviceNumber, driver: Arc<dyn DeviceOps>) {
        self.drivers.write().insert((class, number.major, Some(number.minor)), driver);
    }

    /// Registers the driver of all minors of a major number that have none of their own.
    pub fn register_major(&self, class: DeviceClass, major: u32, driver: Arc<dyn DeviceOps>) {
        self.drivers.write().insert((class, major, None), driver);
    }

    /// Opens a device.
    ///
    /// # Errors
    /// `ENXIO` without a driver; the driver's.
    pub fn open(&self, class: DeviceClass, number: DeviceNumber, flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        let driver = {
            let drivers = self.drivers.read();
            let exact = drivers.get(&(class, number.major, Some(number.minor)));
            exact.or_else(|| drivers.get(&(class, number.major, None))).cloned()
        };
        driver.ok_or(Errno::ENXIO)?.open(number, flags)
    }
}
