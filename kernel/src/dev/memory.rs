//! `/dev/null`, `/dev/zero`, `/dev/full`, `/dev/random`, `/dev/urandom`, `/dev/kmsg`.

use alloc::string::String;
use alloc::sync::Arc;

use vfs::{DeviceNumber, DeviceOps, Errno, OpenDevice, OpenFlags, Result, Seeking};

use super::{FULL, KMSG, NULL, RANDOM, URANDOM, ZERO};

/// Serves the major number 1.
pub(super) struct Driver;

impl DeviceOps for Driver {
    fn open(&self, number: DeviceNumber, _flags: OpenFlags) -> Result<Arc<dyn OpenDevice>> {
        Ok(Arc::new(match number {
            NULL => Memory::Null,
            ZERO => Memory::Zero,
            FULL => Memory::Full,
            RANDOM | URANDOM => Memory::Random,
            KMSG => Memory::Log,
            _ => return Err(Errno::ENXIO.into()),
        }))
    }
}

/// An open one.
enum Memory {
    Null,
    Zero,
    Full,
    Random,
    Log,
}

impl OpenDevice for Memory {
    fn read(&self, _offset: u64, buf: &mut [u8], _flags: OpenFlags) -> Result<usize> {
        match self {
            Self::Null => return Ok(0),
            Self::Zero | Self::Full => buf.fill(0),
            Self::Random => crate::random::fill(buf),
            // What the kernel said is on the console; it is not kept.
            Self::Log => return Err(Errno::EAGAIN.into()),
        }
        Ok(buf.len())
    }

    fn write(&self, _offset: u64, data: &[u8], _flags: OpenFlags) -> Result<usize> {
        match self {
            Self::Null | Self::Zero | Self::Random => {}
            Self::Full => return Err(Errno::ENOSPC.into()),
            Self::Log => {
                let line = String::from_utf8_lossy(data);
                log::info!(target: "program", "{}", line.trim_end());
            }
        }
        Ok(data.len())
    }

    fn seeking(&self) -> Seeking {
        Seeking::Ignored
    }
}
