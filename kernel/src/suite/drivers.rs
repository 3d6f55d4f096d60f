//! Disks, random numbers, the clock's timer. The script attaches a disk named `strata-scratch`, which may be
//! written, and one named `strata-readonly`, whose sectors begin with `sector N`. A disk with another name is never written.

use alloc::vec;
use alloc::vec::Vec;

use base::Errno;
use block::{BlockDevice, Io, SECTOR_SIZE};

use crate::disks::{self, VirtioDisk};
use crate::suite::Failure;
use crate::{ensure, ensure_eq, random, test};

fn disk(label: &str) -> Result<&'static VirtioDisk, Failure> {
    disks::all()
        .find(|disk| disk.label() == label.as_bytes())
        .ok_or_else(|| Failure::new(format_args!("no disk named {label} is attached")))
}

fn scratch() -> Result<&'static VirtioDisk, Failure> {
    disk("strata-scratch")
}

/// Bytes that differ from sector to sector and from round to round.
fn pattern(sector: u64, sectors: usize, round: u8) -> Vec<u8> {
    let mut bytes = vec![round; sectors * SECTOR_SIZE];
    for (index, chunk) in bytes.chunks_exact_mut(SECTOR_SIZE).enumerate() {
        chunk[..8].copy_from_slice(&(sector + index as u64).to_le_bytes());
    }
    bytes
}

test!(
    "drivers",
    fn what_is_written_is_read_back() {
        let disk = scratch()?;
        for (sector, sectors) in [(0, 1), (7, 3), (100, 64), (2048, 2048)] {
            let data = pattern(sector, sectors, 1);
            disk.write(sector, &data)?;
            let mut read = vec![0; data.len()];
            disk.read(sector, &mut read)?;
            ensure!(read == data, "{sectors} sectors from {sector} on differ");
        }
        disk.flush()?;
        Ok(())
    }
);

test!(
    "drivers",
    fn a_batch_larger_than_the_queue_is_carried_out_whole() {
        let disk = scratch()?;
        const BASE: u64 = 8192;
        const COUNT: usize = 600;
        // Every other page, so that nothing can be joined.
        let pages: Vec<Vec<u8>> = (0..COUNT).map(|index| pattern(BASE + index as u64 * 16, 8, 2)).collect();
        let mut batch: Vec<_> = pages
            .iter()
            .enumerate()
            .map(|(index, data)| Io::Write { sector: BASE + index as u64 * 16, data })
            .collect();
        disk.transfer(&mut batch)?;
        let mut read = vec![vec![0_u8; 8 * SECTOR_SIZE]; COUNT];
        let mut batch: Vec<_> = read
            .iter_mut()
            .enumerate()
            .rev()
            .map(|(index, buf)| Io::Read { sector: BASE + index as u64 * 16, buf })
            .collect();
        disk.transfer(&mut batch)?;
        drop(batch);
        ensure!(read == pages, "pages differ");
        Ok(())
    }
);

test!(
    "drivers",
    fn neighbouring_requests_are_joined_without_mixing_them_up() {
        let disk = scratch()?;
        const BASE: u64 = 40_000;
        let pages: Vec<Vec<u8>> = (0..200).map(|index| pattern(BASE + index * 8, 8, 3)).collect();
        let mut batch: Vec<_> =
            pages.iter().zip(0_u64..).map(|(data, index)| Io::Write { sector: BASE + index * 8, data }).collect();
        disk.transfer(&mut batch)?;
        let mut whole = vec![0; 200 * 8 * SECTOR_SIZE];
        disk.read(BASE, &mut whole)?;
        ensure!(whole == pages.concat(), "the pages are not one after the other");
        Ok(())
    }
);

test!(
    "drivers",
    fn buffers_on_the_stack_and_at_odd_addresses_work() {
        let disk = scratch()?;
        let data = pattern(3, 4, 4);
        disk.write(3, &data)?;
        let mut on_stack = [0_u8; 4 * SECTOR_SIZE + 1];
        disk.read(3, &mut on_stack[1..])?;
        ensure!(on_stack[1..] == data[..], "stack");
        let mut odd = vec![0; 4 * SECTOR_SIZE + 3];
        disk.read(3, &mut odd[3..])?;
        ensure!(odd[3..] == data[..], "heap");
        Ok(())
    }
);

test!(
    "drivers",
    fn discard_is_accepted_where_it_is_offered() {
        let disk = scratch()?;
        if !disk.capabilities().discard {
            ensure_eq!(disk.discard(60_000, 64).err().map(|error| error.errno()), Some(Errno::EOPNOTSUPP));
            return Ok(());
        }
        disk.write(60_000, &pattern(60_000, 64, 5))?;
        disk.discard(60_000, 64)?;
        let past = disk.capabilities().sectors;
        ensure_eq!(disk.discard(past, 1).err().map(|error| error.errno()), Some(Errno::EIO));
        Ok(())
    }
);

test!(
    "drivers",
    fn wrong_requests_are_refused_before_anything_is_sent() {
        let disk = scratch()?;
        let sectors = disk.capabilities().sectors;
        let errno = |result: base::Result<()>| result.err().map(|error| error.errno());
        ensure_eq!(errno(disk.read(0, &mut [])), Some(Errno::EINVAL));
        ensure_eq!(errno(disk.read(0, &mut [0; 100])), Some(Errno::EINVAL));
        ensure_eq!(errno(disk.read(sectors, &mut [0; SECTOR_SIZE])), Some(Errno::EIO));
        ensure_eq!(errno(disk.read(u64::MAX, &mut [0; SECTOR_SIZE])), Some(Errno::EIO));
        ensure_eq!(errno(disk.write(sectors - 1, &[0; 2 * SECTOR_SIZE])), Some(Errno::EIO));
        let kept = pattern(9, 1, 6);
        disk.write(9, &kept)?;
        let mut batch =
            [Io::Write { sector: 9, data: &[0; SECTOR_SIZE] }, Io::Write { sector: sectors, data: &[0; SECTOR_SIZE] }];
        ensure_eq!(errno(disk.transfer(&mut batch)), Some(Errno::EIO));
        let mut read = [0; SECTOR_SIZE];
        disk.read(9, &mut read)?;
        ensure!(read[..] == kept[..], "a batch with a wrong request was begun");
        Ok(())
    }
);

test!(
    "drivers",
    fn a_read_only_disk_is_read_and_refuses_writes() {
        let disk = disk("strata-readonly")?;
        ensure!(disk.capabilities().read_only);
        let mut sector = [0; SECTOR_SIZE];
        for number in [0, 1, 17] {
            disk.read(number, &mut sector)?;
            let expected = alloc::format!("sector {number}");
            ensure!(sector.starts_with(expected.as_bytes()), "sector {number}: {:?}", &sector[..12]);
        }
        ensure_eq!(disk.write(0, &sector).err().map(|error| error.errno()), Some(Errno::EROFS));
        Ok(())
    }
);

test!(
    "drivers",
    fn a_disk_that_is_not_there_is_simply_missing() {
        ensure!(disk("no such disk").is_err());
        ensure!(disks::all().count() >= 2, "{} disks", disks::all().count());
        Ok(())
    }
);

test!(
    "drivers",
    fn every_disk_says_whether_it_flushes() {
        for disk in disks::all() {
            disk.flush()?;
            ensure!(disk.capabilities().sectors > 0);
        }
        ensure!(scratch()?.capabilities().flush);
        Ok(())
    }
);

test!(
    "drivers",
    fn random_bytes_differ_and_are_spread() {
        let mut bytes = [0_u8; 4096];
        random::fill(&mut bytes);
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        ensure!((15_500..17_300).contains(&ones), "{ones} of 32768 bits are set");
        let mut others = [0_u8; 32];
        random::fill(&mut others);
        ensure!(bytes[..32] != others);
        Ok(())
    }
);
