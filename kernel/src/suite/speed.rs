//! How fast the disk is: not judged, printed. Runs when asked for by name (`suite=speed`), since numbers are no tests.

use alloc::vec;
use alloc::vec::Vec;

use block::{BlockDevice, Io, SECTOR_SIZE};

use crate::suite::Failure;
use crate::{console, disks, test, time};

const PAGE: usize = 8 * SECTOR_SIZE;

/// Times `operation` over `count` rounds.
fn measure(
    what: &str,
    count: u64,
    bytes: usize,
    mut operation: impl FnMut(u64) -> base::Result<()>,
) -> Result<(), Failure> {
    let start = time::monotonic();
    for round in 0..count {
        operation(round)?;
    }
    let nanos = (time::monotonic() - start).max(1);
    let micros = nanos / count / 1000;
    let rate = count * bytes as u64 * 1000 / nanos;
    console::print(format_args!("{what:<40} {micros:6} us each {rate:6} MB/s\n"));
    Ok(())
}

test!(
    "speed",
    fn the_memory() {
        let from = vec![1_u8; 1 << 20];
        let mut to = vec![2_u8; 1 << 20];
        measure("copy 1 MiB", 64, 1 << 20, |_| {
            core::hint::black_box(&mut to).copy_from_slice(core::hint::black_box(&from));
            Ok(())
        })?;
        let apart = vec![1_u8; (1 << 20) + 8192];
        measure("copy 1 MiB, pages apart", 64, 1 << 20, |_| {
            core::hint::black_box(&mut to).copy_from_slice(core::hint::black_box(&apart[8192..]));
            Ok(())
        })?;
        measure("fill 1 MiB", 64, 1 << 20, |round| {
            core::hint::black_box(&mut to).fill(round as u8);
            Ok(())
        })?;
        for size in [24, 200, 1000, 4096, 65536] {
            measure(&alloc::format!("1000 times allocate and free {size} bytes"), 20, 0, |_| {
                for _ in 0..1000 {
                    core::hint::black_box(Vec::<u8>::with_capacity(size));
                }
                Ok(())
            })?;
        }
        measure("1000 times a frame", 20, 0, |_| {
            for _ in 0..1000 {
                core::hint::black_box(crate::memory::frames::Frame::new());
            }
            Ok(())
        })?;
        measure("1000 times the clock", 20, 0, |_| {
            for _ in 0..1000 {
                core::hint::black_box(time::monotonic());
            }
            Ok(())
        })?;
        Ok(())
    }
);

test!(
    "speed",
    fn the_disk() {
        let disk = disks::all()
            .find(|disk| disk.label() == b"strata-scratch")
            .ok_or_else(|| Failure::new("no disk named strata-scratch is attached"))?;
        let page = vec![1_u8; PAGE];
        let mut large = vec![2_u8; 1 << 20];
        measure("write 1 MiB", 32, 1 << 20, |round| disk.write(round * 2048, &large))?;
        measure("read 1 MiB", 32, 1 << 20, |round| disk.read(round * 2048, &mut large))?;
        measure("write 4 KiB", 500, PAGE, |round| disk.write(round * 7919 % 16000 * 8, &page))?;
        measure("write 4 KiB and flush", 200, PAGE, |round| {
            disk.write(round * 7919 % 16000 * 8, &page)?;
            disk.flush()
        })?;
        let mut buffer = vec![0; PAGE];
        measure("read 4 KiB", 500, PAGE, |round| disk.read(round * 7919 % 16000 * 8, &mut buffer))?;
        let mut pages = vec![vec![0_u8; PAGE]; 256];
        measure("read 256 neighbouring pages in a batch", 16, 256 * PAGE, |round| {
            let mut batch: Vec<_> = pages
                .iter_mut()
                .zip(0..)
                .map(|(buf, index)| Io::Read { sector: (round * 256 + index) * 8, buf })
                .collect();
            disk.transfer(&mut batch)
        })?;
        measure("read 256 scattered pages in a batch", 16, 256 * PAGE, |round| {
            let mut batch: Vec<_> = pages
                .iter_mut()
                .zip(0..)
                .map(|(buf, index)| Io::Read { sector: (round * 256 + index) * 7919 % 16000 * 8, buf })
                .collect();
            disk.transfer(&mut batch)
        })?;
        Ok(())
    }
);
