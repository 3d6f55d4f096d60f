//! Inode flags as programs set and see them.

use super::pointers::{call, get, map, put};
use crate::init::kernel_context;
use crate::task;
use crate::{ensure, test};

const GETFLAGS: u64 = 0x8008_6601;
const SETFLAGS: u64 = 0x4008_6602;
const AT_FDCWD: u64 = -100_i64 as u64;
const EPERM: i64 = -1;

test!(
    "syscalls",
    fn flags_that_ioctl_sets_are_told_by_statx_and_obeyed() {
        task::run_as_task(kernel_context(), || {
            let (path, word, statx) = (map(1), map(1), map(1));
            put(path, b"/flagged\0")?;
            let fd = call(2, &[path, 0o102, 0o644]) as u64;
            let shown = || -> Result<u64, super::Failure> {
                ensure!(call(332, &[AT_FDCWD, path, 0, 0x7ff, statx]) == 0);
                let attributes = u64::from_le_bytes(get(statx + 8, 8)?.try_into().unwrap_or_default());
                let mask = u64::from_le_bytes(get(statx + 56, 8)?.try_into().unwrap_or_default());
                ensure!(mask & 0x70 == 0x70, "stx_attributes_mask {mask:#x}");
                Ok(attributes & 0x70)
            };
            ensure!(shown()? == 0);
            // Immutable, and no dump.
            ensure!(call(16, &[fd, GETFLAGS, word]) == 0);
            let flags = u32::from_le_bytes(get(word, 4)?.try_into().unwrap_or_default());
            put(word, &(flags | 0x50).to_le_bytes())?;
            ensure!(call(16, &[fd, SETFLAGS, word]) == 0);
            ensure!(shown()? == 0x50);
            ensure!(call(1, &[fd, path, 4]) == EPERM && call(87, &[path]) == EPERM);
            ensure!(call(2, &[path, 1, 0]) == EPERM && call(90, &[path, 0o600]) == EPERM);
            put(word, &flags.to_le_bytes())?;
            ensure!(call(16, &[fd, SETFLAGS, word]) == 0);
            ensure!(shown()? == 0 && call(87, &[path]) == 0 && call(3, &[fd]) == 0);
            Ok(())
        })?
    }
);
